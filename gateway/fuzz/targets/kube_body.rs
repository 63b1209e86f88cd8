//! Bodies of the Kubernetes API. In: a choice of form, and bytes. It must never send on what reads differently.
#![no_main]

use gateway::protocol::kubernetes::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::body(bytes));
