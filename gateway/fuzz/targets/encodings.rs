//! Encodings of sessions. In: any bytes, the first says in which encoding. What is read of them has every quote and NUL of
//! theirs, is read again when it is written, and a message stays a message.
#![no_main]

use gateway::protocol::postgres::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| fuzzing::spoken(bytes));
