//! Answers of the Kubernetes API. In: how they are cut, and bytes. It must never show more for another cut.
#![no_main]

use gateway::protocol::kubernetes::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::object(bytes));
