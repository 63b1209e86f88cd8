//! SQL facts, and what the journal keeps of a text. In: any text. Statements must lie one behind another in it.
#![no_main]

use gateway::protocol::postgres::sql::{Caps, read, redact};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(facts) = read(text, &Caps::default()) else { return };
    let mut end = 0;
    for statement in &facts.statements {
        assert!(statement.span.start >= end && statement.span.end <= text.len(), "statements lie one behind another");
        end = statement.span.end;
    }
    let _ = redact(text, &facts, |_| false);
    let _ = redact(text, &facts, |_| true);
});
