//! Real parts to try things on, each started and stopped by one command. In: what to start. Out: how to reach it.
//! It must never start anything that listens beyond this host.

pub(crate) mod clickhouse;
pub(crate) mod kube;
mod postgres;

use anyhow::Result;
use clap::{Subcommand, ValueEnum};

/// A part of the lab.
#[derive(Subcommand)]
pub(crate) enum Part {
    /// A throwaway ClickHouse on 127.0.0.1
    Clickhouse {
        /// Start or stop
        action: Action,
        /// Where it listens; by default out of the way of a server on 8123
        #[arg(long, default_value_t = 18123)]
        port: u16,
    },
    /// A throwaway Kubernetes node in a network of its own
    Kube {
        /// Start or stop
        action: Action,
    },
    /// A throwaway PostgreSQL on 127.0.0.1
    Postgres {
        /// Start or stop
        action: Action,
        /// The major version: 15 is Debian's, 18 is from npm
        #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16))]
        version: u16,
    },
}

/// What to do with a part.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Action {
    /// Start it
    Up,
    /// Stop it, and remove what it kept
    Down,
}

/// Starts or stops a part.
pub(crate) fn perform(part: Part) -> Result<()> {
    match part {
        Part::Clickhouse { action: Action::Up, port } => clickhouse::up(port),
        Part::Clickhouse { action: Action::Down, port } => clickhouse::down(port),
        Part::Kube { action: Action::Up } => kube::up(),
        Part::Kube { action: Action::Down } => kube::down(),
        Part::Postgres { action: Action::Up, version } => postgres::up(version),
        Part::Postgres { action: Action::Down, version } => postgres::down(version),
    }
}
