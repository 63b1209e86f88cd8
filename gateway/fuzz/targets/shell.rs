//! Facts of command lines. In: any bytes. There is always a command or a reason, and `sh -c` of a line names at least what
//! the line does.
#![no_main]

use gateway::protocol::shell::{Facts, Reason, facts};
use libfuzzer_sys::fuzz_target;

/// A line that runs nothing is one `:`.
fn names(facts: &Facts) -> Vec<&str> {
    facts.commands.iter().map(|command| command.name.as_deref().unwrap_or("?")).filter(|name| *name != ":").collect()
}

fuzz_target!(|bytes: &[u8]| {
    let plain = facts(bytes);
    assert!(!plain.commands.is_empty(), "something runs, or there is a reason");
    for command in &plain.commands {
        assert!(command.name.is_some() || !command.opaque.is_empty(), "a command without a name has a reason");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let wrapped = facts(format!("sh -c '{}'", text.replace('\'', "'\\''")));
    let is_cut = |facts: &Facts| facts.opaque().contains(&Reason::TooDeep) || facts.opaque().contains(&Reason::TooLong);
    if is_cut(&plain) || is_cut(&wrapped) || wrapped.opaque().contains(&Reason::Encoding) || wrapped.opaque().contains(&Reason::Control) {
        return;
    }
    assert_eq!(names(&wrapped).get(1..), Some(names(&plain).as_slice()), "a shell in a shell runs the same");
});
