//! Namespace `Shell`: a command that may run on a server or in a container.
//!
//! In: facts of one command. Out: the record that policies see, and why commands cannot be read. It must never read a
//! command line.

use std::sync::Arc;

use crate::policy::request::{Fields, Question, Value};

/// What is known of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandFacts {
    /// The program, without its directory, where it is known.
    pub name: Option<Arc<str>>,
    /// The program as it is written, where that has a directory.
    pub path: Option<Arc<str>>,
    /// Words that begin with `-`.
    pub options: Vec<Arc<str>>,
    /// All others.
    pub operands: Vec<Arc<str>>,
    /// Files that redirections read.
    pub reads: Vec<Arc<str>>,
    /// Files that it is known to write.
    pub writes: Vec<Arc<str>>,
    /// Run as root.
    pub as_root: bool,
    /// What it is known to do.
    pub kinds: Vec<Arc<str>>,
    /// Why what it does cannot all be read.
    pub opaque: Vec<Arc<str>>,
}

impl CommandFacts {
    /// The record that policies see.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let texts = |items: &[Arc<str>]| Value::Texts(items.into());
        let mut fields: Fields = vec![
            ("options", texts(&self.options)),
            ("operands", texts(&self.operands)),
            ("reads", texts(&self.reads)),
            ("writes", texts(&self.writes)),
            ("asRoot", self.as_root.into()),
            ("kinds", texts(&self.kinds)),
            ("opaque", texts(&self.opaque)),
        ];
        fields.extend(self.name.clone().map(|name| ("name", Value::Text(name))));
        fields.extend(self.path.clone().map(|path| ("path", Value::Text(path))));
        Value::Record(fields)
    }
}

/// Why the commands of a request cannot all be read.
#[must_use]
pub fn opaque(questions: &[Arc<Question>]) -> Vec<String> {
    let commands = questions.iter().flat_map(|question| question.context());
    let reasons = commands.filter_map(|(_, value)| match value {
        Value::Record(fields) => fields.iter().find(|(name, _)| *name == "opaque"),
        _ => None,
    });
    let mut all = Vec::new();
    for (_, value) in reasons {
        if let Value::Texts(texts) = value {
            all.extend(texts.iter().map(ToString::to_string));
        }
    }
    all.sort();
    all.dedup();
    all
}
