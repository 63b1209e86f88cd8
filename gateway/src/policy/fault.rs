//! What is wrong with a set of policies, and where.
//!
//! In: what loading found. Out: one [`Fault`] for each mistake, with file, line, column and the likely fix. It must never
//! stop at the first.

use std::fmt;

/// A place in a file; lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The start of `file`.
    #[must_use]
    pub fn start(file: &str) -> Self {
        Self { file: file.to_owned(), line: 1, column: 1 }
    }

    /// The character at byte `offset` of `text`.
    #[must_use]
    pub fn at(file: &str, text: &str, offset: usize) -> Self {
        let before = text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, character)| character);
        let (line, column) = before.fold((1, 1), |(line, column), character| match character {
            '\n' => (line + 1, 1),
            _ => (line, column + 1),
        });
        Self { file: file.to_owned(), line, column }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A mistake in a set of policies or in a table of tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, and what to do.
    pub reason: Reason,
}

impl Fault {
    pub(super) fn new(place: Place, reason: Reason) -> Self {
        Self { place, reason }
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Reason {
    /// A file or folder cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The folder holds nothing to load.
    #[error(
        "holds no `*.cedar` file, so every request would be denied: add a policy, or leave `dir` out for the shipped ones"
    )]
    NoPolicies,
    /// There is a folder in the folder.
    #[error("is a folder, which is not read: move its policies up")]
    Folder,
    /// Too much.
    #[error("is larger than {limit} bytes: split it")]
    TooLarge {
        /// What a file may have.
        limit: usize,
    },
    /// Too many.
    #[error("holds more than {limit} files: merge some")]
    TooMany {
        /// How many a folder may have.
        limit: usize,
    },
    /// It does not parse.
    #[error("{what}{}", hint(.help))]
    Syntax {
        /// The parser's words.
        what: String,
        /// The parser's hint.
        help: Option<String>,
    },
    /// It parses and does not fit the schema.
    #[error("`{policy}`: {what}{}", hint(.help))]
    Type {
        /// The policy.
        policy: String,
        /// The validator's words.
        what: String,
        /// The validator's hint.
        help: Option<String>,
    },
    /// A policy without a name.
    #[error("a policy without an id: write `@id(\"…\")` above it")]
    NoId,
    /// Two policies of one name.
    #[error("the id `{id}` is used already at {first}: choose another")]
    DuplicateId {
        /// The id.
        id: String,
        /// Where it stands first.
        first: Place,
    },
    /// An annotation that means nothing.
    #[error(
        "`{policy}`: unknown annotation `@{name}`: known are @id, @message, @approval, @approvers, @reason, @expires, @hours, @max_rows, @max_affected, @record_rows, @record_bytes and @doc"
    )]
    UnknownAnnotation {
        /// The policy.
        policy: String,
        /// The annotation.
        name: String,
    },
    /// An annotation without its text.
    #[error("`{policy}`: `@{name}` is empty: write `@{name}(\"…\")`, or leave it out")]
    EmptyAnnotation {
        /// The policy.
        policy: String,
        /// The annotation.
        name: String,
    },
    /// A permit asks for approval of nothing but more rows.
    #[error(
        "`{policy}`: `@approval` on a permit is for changes of more rows than its `@max_affected`, which is missing: permit it, and hold it by a forbid with `@approval`"
    )]
    ApprovalOnPermit {
        /// The policy.
        policy: String,
    },
    /// A number of what nothing keeps.
    #[error("`{policy}`: `@{name}` needs a whole number from 1 to {most}, on a permit or beside an `@approval`")]
    Recorded {
        /// The policy.
        policy: String,
        /// The annotation.
        name: String,
        /// The largest number.
        most: u64,
    },
    /// A cap that bounds nothing.
    #[error("`{policy}`: `@{name}` needs a whole number, on a permit or beside an `@approval`")]
    Cap {
        /// The policy.
        policy: String,
        /// The annotation.
        name: String,
    },
    /// The number of approvers makes no sense.
    #[error("`{policy}`: `@approvers` needs an `@approval` beside it and a number from 1 to 9")]
    Approvers {
        /// The policy.
        policy: String,
    },
    /// A term of approval that makes no sense.
    #[error("`{policy}`: `@{name}` needs {needs}")]
    Term {
        /// The policy.
        policy: String,
        /// The annotation.
        name: String,
        /// What it needs.
        needs: String,
    },
    /// It would permit everything, the sight of labelled values too.
    #[error(
        "`{policy}`: a permit of any action would unmask every data class: name the actions, `action in [Action::\"read\"]`"
    )]
    PermitOfAnything {
        /// The policy.
        policy: String,
    },
    /// A template is not a policy.
    #[error("a template (`?principal`, `?resource`) is never linked to anything here: write the id out")]
    Template,
    /// An id that nothing will ever have.
    #[error("`{policy}`: the configuration has no {kind} `{id}`: {known}")]
    UnknownId {
        /// The policy.
        policy: String,
        /// What kind of thing.
        kind: &'static str,
        /// Its id.
        id: String,
        /// What there is.
        known: String,
    },
    /// A disabled id that the guard pack does not have.
    #[error(
        "[policy] disable names `{id}`, which is no policy of the guard pack: see `policies/guard.cedar` for its ids"
    )]
    UnknownDisabled {
        /// The id.
        id: String,
    },
    /// A fault of this build.
    #[error("{0}")]
    Build(String),
    /// A table of tests that cannot be read as one.
    #[error("{0}")]
    Table(String),
}

fn hint(help: &Option<String>) -> String {
    help.as_ref().map(|help| format!(": {help}")).unwrap_or_default()
}
