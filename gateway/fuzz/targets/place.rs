//! What the shell of lines carries. In: lines of a client, and where a server says that it is. They never run by themselves.
#![no_main]

use gateway::protocol::ssh::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::place(bytes));
