//! Recordings that are played. In: what a terminal showed. The reader's own is told to draw, and nothing else.
#![no_main]

use gateway::cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::played(bytes));
