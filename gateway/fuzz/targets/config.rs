//! The configuration file. In: any text. Each fault must name a place, and no text must end the process.
#![no_main]

use gateway::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = Config::parse("gateway.toml", text) {
        assert!(!error.to_string().is_empty());
    }
});
