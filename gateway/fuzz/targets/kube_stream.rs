//! Frames of exec and attach. In: how they are cut, and bytes. It must never pass on what it did not understand.
#![no_main]

use gateway::protocol::kubernetes::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::stream(bytes));
