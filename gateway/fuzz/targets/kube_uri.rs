//! Request lines of the Kubernetes API. In: a method and a target. It must never take one part for two.
#![no_main]

use gateway::protocol::kubernetes::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::uri(bytes));
