//! What browsers send to the console, and what it shows of others. In: any bytes. Out: no panic, and text that stays text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gateway::console::fuzz(bytes));
