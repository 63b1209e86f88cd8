//! `gateway` sits between the runtimes of this host and production. See ARCHITECTURE.md for the way of a connection.
#![forbid(unsafe_code)]

// On top: processes and what operators ask.
pub mod cli;
pub mod control;
pub mod console;
pub mod metrics;
pub mod warden;
pub mod engine;
pub mod shipper;
pub mod session;

// The base: usable by all, imports no step.
pub mod id;
pub mod chain;
pub mod budget;
pub mod conn;
pub mod http;
pub mod secret;
pub mod config;
pub mod bridge;
pub mod sandbox;
pub mod host;
pub mod trust;
pub mod state;

// The steps, in the order of a connection.
pub mod capture;
pub mod listener;
pub mod identity;
pub mod protocol;
pub mod upstream;
pub mod policy;
pub mod approval;
pub mod masking;
pub mod recording;
pub mod audit;

#[cfg(test)]
mod instructions;
