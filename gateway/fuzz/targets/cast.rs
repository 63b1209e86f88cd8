//! Recordings as asciicast. In: frames. Each version shows what the recording has, in order.
#![no_main]

use gateway::cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::cast(bytes));
