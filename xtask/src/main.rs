//! The project's own tooling: subcommands only. In: arguments. Out: an exit status, and one line that says what failed.
//! It must never need more than Rust's standard tools to be built.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool talks to the terminal")]

mod bench;
mod book;
mod chaos;
mod ci;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod guard;
mod lab;
mod mutate;
mod reference;
mod run;
mod setup;
mod soak;
mod tidy;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set-up, checks and tests of gateway")]
enum Arguments {
    /// Install what build and tests need, from package registries
    Setup {
        /// Print what is missing, with the command that gets it, and install nothing
        #[arg(long)]
        check: bool,
    },
    /// Set up, then see the gateway at work on real servers
    Demo(demo::Options),
    /// Set up, then run every check and test
    Test {
        /// Run this stage alone
        #[arg(long)]
        only: Option<ci::Stage>,
    },
    /// Check the rules of the tree that no other tool knows
    Tidy,
    /// Build the eBPF object and print its path
    Ebpf,
    /// Make the packages
    Dist(dist::Options),
    /// Write docs/events.md anew, from the source of the events
    Reference,
    /// Make a book of the documentation, and print its first page
    Book,
    /// Take each mechanism of a guarantee out of a copy of the tree, and see its tests fail
    Mutate {
        /// These alone
        names: Vec<String>,
    },
    /// Kill the gateway's processes at random moments under load, cut a host's power too, and count what stands where
    Chaos {
        /// How often, over SQL, SSH and Kubernetes together
        #[arg(long, default_value_t = 510)]
        kills: u64,
        /// How often a host loses its power
        #[arg(long, default_value_t = 5)]
        cuts: u64,
    },
    /// Tests on another kernel, in an emulated machine
    Vm(vm::Choice),
    /// What takes hours: every kernel, kills and power cuts, every mutation, fuzzing, benchmarks, with the seconds of each
    Soak(soak::Extent),
    /// Real parts to try things on
    #[command(subcommand)]
    Lab(lab::Part),
    /// What it costs, beside other ways to the same server
    #[command(subcommand)]
    Bench(bench::Subject),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments {
        Arguments::Test { .. } if !guard::guarded() => guard::perform(),
        other => perform(other).map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(arguments: Arguments) -> Result<()> {
    match arguments {
        Arguments::Setup { check: true } => setup::check(),
        Arguments::Setup { check: false } => setup::install(),
        Arguments::Demo(options) => demo::perform(&options),
        Arguments::Test { only } => ci::test(only),
        Arguments::Tidy => tidy::check(run::checkout()?),
        Arguments::Dist(options) => dist::perform(&options),
        Arguments::Reference => reference::perform(),
        Arguments::Book => {
            println!("{}", book::build()?.display());
            Ok(())
        }
        Arguments::Mutate { names } => mutate::check(&names),
        Arguments::Chaos { kills, cuts } => chaos::perform(kills, cuts),
        Arguments::Vm(choice) => vm::perform(&choice),
        Arguments::Soak(extent) => soak::perform(&extent),
        Arguments::Lab(part) => lab::perform(part),
        Arguments::Bench(subject) => bench::perform(subject),
        Arguments::Ebpf => {
            println!("{}", ebpf::build(run::checkout()?, std::env::consts::ARCH)?.display());
            Ok(())
        }
    }
}
