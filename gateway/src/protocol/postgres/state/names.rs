//! What the names of prepared statements and portals mean, as the next message of the client will find them.
//!
//! In: definitions as they are sent, confirmations and failures as the server reports them. Out: what a name means now.
//! A server that fails a message skips the rest of the pipeline, so that a name is certain within its own pipeline and
//! after its confirmation; in between it is [`Lookup::Unsettled`], and the reader waits. In doubt a name is unknown,
//! never something else than the server has.

use std::collections::HashMap;

/// More names than this are refused: each keeps what a judge knows of its statement.
pub(super) const MAX_NAMES: usize = 8_192;

/// One meaning of a name.
#[derive(Debug)]
pub(super) struct Meaning<T> {
    value: T,
    pipeline: u64,
    serial: u64,
    settled: bool,
}

/// A definition on its way to the server.
#[derive(Debug)]
pub(super) struct Defined<T> {
    serial: u64,
    before: Option<Meaning<T>>,
}

/// The names of one kind.
#[derive(Debug)]
pub(super) struct Names<T> {
    unnamed: Option<Meaning<T>>,
    named: HashMap<Box<str>, Meaning<T>>,
    /// Counts definitions: a name may have several in one pipeline.
    serial: u64,
}

/// What a name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<'a, T> {
    Known(&'a T),
    Unknown,
    /// Sent in an earlier pipeline that the server has not answered.
    Unsettled,
}

impl<T> Names<T> {
    pub(super) fn new() -> Self {
        Self { unnamed: None, named: HashMap::new(), serial: 0 }
    }

    fn meaning(&self, name: &str) -> Option<&Meaning<T>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) }
    }

    pub(super) fn look_up(&self, name: &str, pipeline: u64) -> Lookup<'_, T> {
        match self.meaning(name) {
            None => Lookup::Unknown,
            Some(meaning) if meaning.settled || meaning.pipeline == pipeline => Lookup::Known(&meaning.value),
            Some(_) => Lookup::Unsettled,
        }
    }

    /// Whether this name can be given a meaning now. The unnamed one always can: the server drops what it was first.
    pub(super) fn is_free(&self, name: &str, pipeline: u64) -> bool {
        name.is_empty() || !matches!(self.look_up(name, pipeline), Lookup::Unsettled)
    }

    pub(super) fn is_full(&self) -> bool {
        self.named.len() >= MAX_NAMES
    }

    /// Gives a name a meaning, which the server has yet to confirm.
    pub(super) fn define(&mut self, name: &str, value: T, pipeline: u64) -> Defined<T> {
        self.serial += 1;
        let serial = self.serial;
        let meaning = Meaning { value, pipeline, serial, settled: false };
        let before = if name.is_empty() {
            let before = self.unnamed.replace(meaning);
            // What an unanswered pipeline made of it is not gone back to: the server may have neither.
            before.filter(|before| before.settled || before.pipeline == pipeline)
        } else {
            self.named.insert(name.into(), meaning)
        };
        Defined { serial, before }
    }

    /// Takes a name away, and returns what it meant.
    pub(super) fn remove(&mut self, name: &str) -> Option<Meaning<T>> {
        if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) }
    }

    /// The server confirmed this definition; the name may have got another since.
    pub(super) fn settle(&mut self, name: &str, defined: &Defined<T>) {
        let meaning = if name.is_empty() { self.unnamed.as_mut() } else { self.named.get_mut(name) };
        if let Some(meaning) = meaning.filter(|meaning| meaning.serial == defined.serial) {
            meaning.settled = true;
        }
    }

    /// The server failed this definition.
    pub(super) fn fail(&mut self, name: &str, pipeline: u64, defined: Defined<T>) {
        // It drops what the unnamed one was before it reads the new one (exec_parse_message, exec_bind_message).
        let before = if name.is_empty() { None } else { defined.before };
        self.undo(name, pipeline, before);
    }

    /// The server skipped this definition.
    pub(super) fn skip(&mut self, name: &str, pipeline: u64, defined: Defined<T>) {
        self.undo(name, pipeline, defined.before);
    }

    /// The server did not do what this pipeline sent: the name means `before` again, unless a later one redefined it.
    /// To be called from the last message to the first.
    pub(super) fn undo(&mut self, name: &str, pipeline: u64, before: Option<Meaning<T>>) {
        if self.meaning(name).is_some_and(|meaning| meaning.pipeline > pipeline) {
            return;
        }
        match before {
            None => drop(self.remove(name)),
            Some(mut before) => {
                // What came before the failure was confirmed; if it is undone too, that comes next.
                before.settled = true;
                if name.is_empty() {
                    self.unnamed = Some(before);
                } else {
                    self.named.insert(name.into(), before);
                }
            }
        }
    }

    /// Forgets all that was sent up to this pipeline.
    pub(super) fn forget_until(&mut self, pipeline: u64) {
        if self.unnamed.as_ref().is_some_and(|meaning| meaning.pipeline <= pipeline) {
            self.unnamed = None;
        }
        if !self.named.is_empty() {
            self.named.retain(|_, meaning| meaning.pipeline > pipeline);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_certain_in_its_own_pipeline_and_after_its_confirmation() {
        let mut names = Names::new();
        let defined = names.define("a", 1, 7);
        assert_eq!(names.look_up("a", 7), Lookup::Known(&1));
        assert_eq!(names.look_up("a", 8), Lookup::Unsettled);
        names.settle("a", &defined);
        assert_eq!(names.look_up("a", 8), Lookup::Known(&1));
    }

    #[test]
    fn a_confirmation_settles_its_own_definition_alone() {
        let mut names = Names::new();
        let first = names.define("a", 1, 1);
        let closed = names.remove("a");
        let second = names.define("a", 2, 1);
        names.settle("a", &first);
        assert_eq!(names.look_up("a", 2), Lookup::Unsettled);
        // The server fails between the first definition and the Close: the first is what it has.
        names.skip("a", 1, second);
        names.undo("a", 1, closed);
        assert_eq!(names.look_up("a", 2), Lookup::Known(&1));
    }

    #[test]
    fn a_skipped_close_brings_the_name_back() {
        let mut names = Names::new();
        let defined = names.define("a", 1, 1);
        names.settle("a", &defined);
        let before = names.remove("a");
        assert_eq!(names.look_up("a", 2), Lookup::Unknown);
        names.undo("a", 2, before);
        assert_eq!(names.look_up("a", 3), Lookup::Known(&1));
    }

    #[test]
    fn an_undo_leaves_what_a_later_pipeline_defined() {
        let mut names = Names::new();
        let defined = names.define("", 1, 1);
        names.define("", 2, 2);
        names.skip("", 1, defined);
        assert_eq!(names.look_up("", 2), Lookup::Known(&2));
    }

    #[test]
    fn an_unnamed_meaning_in_doubt_is_never_gone_back_to() {
        let mut names = Names::new();
        names.define("", 1, 1);
        let defined = names.define("", 2, 2);
        names.skip("", 2, defined);
        assert_eq!(names.look_up("", 3), Lookup::Unknown);
    }
}
