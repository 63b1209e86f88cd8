//! The line editor of the shell of lines. In: keys. Lines are plain, and a terminal is told to draw them and nothing else.
#![no_main]

use gateway::protocol::ssh::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::editor(bytes));
