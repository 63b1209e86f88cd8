//! The one binary: warden, engine and the commands of operators.
//!
//! In: arguments. Out: an exit status. It decides nothing.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::cli::main()
}
