//! Questions for names and what a server makes of them. In: a question, and an answer behind it. It must never take an
//! address from an answer to something else, nor write what it would not read.
#![no_main]

use gateway::protocol::dns::{Instead, Question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, bytes)) = bytes.split_first() else { return };
    let (asked, answer) = bytes.split_at(usize::from(length).min(bytes.len()));
    let Ok(question) = Question::read(asked) else { return };
    let Ok(own) = question.ask() else { return };
    let again = Question::read(&own.bytes).expect("our own question");
    assert_eq!((again.name(), again.record_type()), (question.name(), question.record_type()));
    for instead in [Instead::NoName, Instead::NoRecords, Instead::Failure] {
        let said = question.answer(&own, &with_number(&question.instead(instead), &own.bytes));
        assert!(said.is_ok_and(|answer| answer.addresses.is_empty()));
    }
    if let Ok(taken) = question.answer(&own, &with_number(answer, &own.bytes)) {
        assert_eq!(taken.bytes.get(..2), asked.get(..2));
        assert!(taken.addresses.is_empty() || matches!(question.record_type().as_str(), "A" | "AAAA"));
    }
    assert!(question.answer(&own, &own.bytes).is_err(), "a question is no answer");
});

/// The message with the number of another one, which chance would find once in 65,536 times.
fn with_number(message: &[u8], other: &[u8]) -> Vec<u8> {
    let numbered = other.iter().take(2).chain(message.iter().skip(2));
    numbered.take(message.len()).copied().collect()
}
