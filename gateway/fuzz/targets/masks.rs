//! Masks in a stream. In: any bytes, cut anywhere, and when its caller waited long enough. As many bytes come out, in order;
//! without a wait, the same however they are cut.
#![no_main]

use gateway::masking::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::stream(bytes));
