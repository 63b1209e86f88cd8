//! The facts of a command line.
//!
//! In: its text. Out: its commands. It must never hold a command that was not in the text, or leave out one that may run
//! without a reason that says so.

use std::collections::BTreeSet;

use super::reader::read;
use super::reason::Reason;
use super::scan::readable;
pub use super::word::Certainty;

/// What a command is known to do, beside being run. Each is a field of a policy's `command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Removes files or directories.
    Removes,
    /// Destroys more than files of its own: whole trees, devices, machines, services.
    Destructive,
    /// Gains or gives rights.
    Privilege,
    /// A way on to another host.
    Relay,
    /// Writes what runs later by itself: profiles, authorized keys, cron, units.
    Startup,
    /// Copies files over this connection: `scp -t`, `rsync --server`, git's packs.
    Transfer,
    /// Talks to a cloud or cluster.
    Cloud,
    /// Changes or hands out identities and rights of a cloud or cluster.
    Iam,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Removes,
        Self::Destructive,
        Self::Privilege,
        Self::Relay,
        Self::Startup,
        Self::Transfer,
        Self::Cloud,
        Self::Iam,
    ];

    /// Its name in policies and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Removes => "removes",
            Self::Destructive => "destructive",
            Self::Privilege => "privilege",
            Self::Relay => "relay",
            Self::Startup => "startup",
            Self::Transfer => "transfer",
            Self::Cloud => "cloud",
            Self::Iam => "iam",
        }
    }
}

/// An argument, and how sure it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// What the program gets, where that is known; else the word as written.
    pub text: String,
    /// Whether it is.
    pub certainty: Certainty,
}

impl Argument {
    /// The text, where it is exactly what the program gets.
    #[must_use]
    pub fn known(&self) -> Option<&str> {
        (self.certainty == Certainty::Known).then_some(self.text.as_str())
    }

    pub(super) fn unknown(text: &str) -> Self {
        Self { text: text.to_owned(), certainty: Certainty::Unknown }
    }
}

/// A command that may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program or builtin, without its folder. None: not known before it runs.
    pub name: Option<String>,
    /// The program as it was called, where a folder was named.
    pub path: Option<String>,
    /// Its arguments, in order.
    pub arguments: Vec<Argument>,
    /// It runs as root by `sudo` and kin.
    pub as_root: bool,
    /// Files that redirections read.
    pub reads: Vec<String>,
    /// Files that redirections, and the arguments of programs that are known to, write.
    pub writes: Vec<String>,
    /// What it is known to do.
    pub kinds: BTreeSet<Kind>,
    /// Why what it does cannot all be read; empty where it can.
    pub opaque: BTreeSet<Reason>,
}

impl Command {
    /// A command of which nothing is known but that it cannot be read.
    #[must_use]
    pub fn unread(reason: Reason) -> Self {
        Self { opaque: BTreeSet::from([reason]), ..Self::default() }
    }

    /// Arguments that begin with a dash, up to `--`.
    pub fn options(&self) -> impl Iterator<Item = &str> {
        let before = self.arguments.iter().take_while(|argument| argument.text != "--");
        before.map(|argument| argument.text.as_str()).filter(|text| text.len() > 1 && text.starts_with('-'))
    }

    /// The other arguments.
    pub fn operands(&self) -> impl Iterator<Item = &str> {
        let end = self.arguments.iter().position(|argument| argument.text == "--").unwrap_or(self.arguments.len());
        let is_operand =
            move |(at, text): &(usize, &str)| *at > end || (*at < end && !(text.len() > 1 && text.starts_with('-')));
        self.arguments
            .iter()
            .map(|argument| argument.text.as_str())
            .enumerate()
            .filter(is_operand)
            .map(|(_, text)| text)
    }

    /// The command on a line, as far as it is known.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = self.path.as_deref().or(self.name.as_deref()).unwrap_or("?").to_owned();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&argument.text);
        }
        line
    }
}

/// What a command line would run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Every command that may run, in the order of the text; a wrapper stands before what it wraps. A line that cannot be
    /// read at all is one command without a name.
    pub commands: Vec<Command>,
}

impl Facts {
    /// Every reason of every command.
    #[must_use]
    pub fn opaque(&self) -> BTreeSet<Reason> {
        self.commands.iter().flat_map(|command| command.opaque.iter().copied()).collect()
    }
}

/// The facts of a command line, as its bytes came from the client.
#[must_use]
pub fn facts(command: impl AsRef<[u8]>) -> Facts {
    match readable(command.as_ref()) {
        Ok(text) => Facts { commands: read(text) },
        Err(reason) => Facts { commands: vec![Command::unread(reason)] },
    }
}
