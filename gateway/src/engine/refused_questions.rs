//! Questions for names that were not answered, counted until they are journaled.
//!
//! In: who asked for what, and why there was no answer. Out: an event for each name, kind and reason, a bounded number
//! of them. A name is the client's own text, so that what detectors find in it is masked.

use std::collections::HashMap;

use crate::audit::Kept;
use crate::audit::event::{Destination, DnsRefused, Event, Who};
use crate::bridge::Connection;
use crate::masking::detect::Detectors;
use crate::masking::masked::Masked;
use crate::protocol::dns::Question;

/// Questions that are told apart between two flushes; the rest is counted by attachment.
const LIMIT: usize = 1_024;

/// Collects until somebody takes.
#[derive(Debug, Default)]
pub(super) struct RefusedQuestions(HashMap<Key, DnsRefused>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    attachment: String,
    cgroup: u64,
    name: String,
    record_type: String,
    reason: String,
}

impl RefusedQuestions {
    /// Adds one; there is no question where it could not be read.
    pub(super) fn add(
        &mut self,
        who: Who,
        connection: &Connection,
        (question, reason): (Option<&Question>, &str),
        detectors: &Detectors,
    ) {
        let mut key = Key {
            attachment: connection.attachment.clone(),
            cgroup: connection.cgroup_id,
            name: question.map(|question| question.name().to_owned()).unwrap_or_default(),
            record_type: question.map(Question::record_type).unwrap_or_default(),
            reason: reason.to_owned(),
        };
        if self.0.len() >= LIMIT && !self.0.contains_key(&key) {
            let (cgroup, name, record_type, reason) = (0, String::new(), String::new(), "not_told_apart".to_owned());
            key = Key { cgroup, name, record_type, reason, ..key };
        }
        let destination = Destination::of(connection.original, "dns");
        let event = DnsRefused {
            who,
            destination,
            question: Kept::after_redaction(Masked::new(&key.name, detectors).to_string()),
            record_type: key.record_type.clone(),
            reason: key.reason.clone(),
            count: 0,
        };
        self.0.entry(key).or_insert(event).count += 1;
    }

    pub(super) fn take(&mut self) -> Vec<Event> {
        self.0.drain().map(|(_, refused)| Event::DnsRefused(Box::new(refused))).collect()
    }
}
