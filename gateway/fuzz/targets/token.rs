//! Tokens and keys of issuers.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gateway::identity::token::fuzz(bytes));
