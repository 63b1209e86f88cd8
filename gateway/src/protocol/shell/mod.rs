//! What a command line would run, before any shell sees it.
//!
//! In: the text of an exec request, of SSH or of Kubernetes. Out: [`Facts`]: each command that may run, with arguments,
//! redirections and what is known of its kind, and the reasons why something cannot be read. The facts are those of POSIX
//! shells and bash; an account whose login shell has another grammar is out of their reach. It must never name less than
//! a shell would run: whoever is in doubt says so with a [`Reason`], and it does no I/O.

pub mod reason;
pub mod facts;
mod scan;
mod word;
mod tokens;
mod grammar;
mod second;
mod reader;
mod wrap;
mod code;
mod builtin;
mod effects;
mod paths;
mod words;
mod asked;

pub use facts::{Argument, Certainty, Command, Facts, Kind, facts};
pub use paths::is_startup;
pub use reason::Reason;
pub use words::facts_of_words;

#[cfg(test)]
mod tests;
