//! What a client's requests would do, and what ends a session.
//!
//! In: nothing. Out: operations with the paths that the client names, and faults. They hold no handles: what those stand
//! for is the session's matter.

use super::packet::{self, Attributes};

/// More requests without a reply, or open files, than a client has: OpenSSH's has 64 requests under way, others some
/// hundreds.
pub(super) const MOST: usize = 4_096;

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A packet that is empty or longer than any server takes.
    #[error("an sftp packet of {length} bytes: they have 1 to {most}", most = packet::LONGEST)]
    Length {
        /// What it says.
        length: usize,
    },
    /// A packet with too few or too many bytes, or of no known type.
    #[error("an sftp packet that is malformed")]
    Malformed,
    /// The peers do not begin with their versions.
    #[error("the sftp session does not begin with the versions of both sides")]
    Version,
    /// A server that does not speak version 3.
    #[error("the server speaks sftp version {0}, and only version 3 is read")]
    OtherVersion(u32),
    /// Two requests with one id.
    #[error("the client uses the sftp request id {0} twice")]
    IdInUse(u32),
    /// A reply that nobody waits for, or of a type that its request does not have.
    #[error("the server sent an sftp reply with id {0} that fits no request")]
    Reply(u32),
    /// More open files or requests than a client has.
    #[error("more than {MOST} sftp requests or files are open")]
    TooMany,
}

/// What a request would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Open a file.
    Open {
        /// The file.
        path: String,
        /// To read it.
        reads: bool,
        /// To write it, or to make or empty it.
        writes: bool,
        /// What is written goes behind what is there.
        appends: bool,
        /// Of the file, where it is new.
        attributes: Attributes,
    },
    /// List a folder.
    List {
        /// The folder.
        path: String,
    },
    /// Look at what is there: its attributes, where a link leads, what a path is in full.
    Look {
        /// The path.
        path: String,
    },
    /// Change attributes.
    Attributes {
        /// The file.
        path: String,
        /// What is changed.
        attributes: Attributes,
    },
    /// Remove a file.
    Remove {
        /// The file.
        path: String,
    },
    /// Remove a folder.
    RemoveDirectory {
        /// The folder.
        path: String,
    },
    /// Make a folder.
    MakeDirectory {
        /// The folder.
        path: String,
        /// Of the folder.
        attributes: Attributes,
    },
    /// Rename, whether or not something is there already.
    Rename {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
    /// Make a symbolic link. Servers differ in which of the two comes first: both may be the link.
    Symlink {
        /// The first path.
        target: String,
        /// The second path.
        link: String,
    },
    /// Make a second name for a file.
    Hardlink {
        /// The file.
        target: String,
        /// Its new name.
        link: String,
    },
}

impl Operation {
    /// Its path, and the second one.
    #[must_use]
    pub fn paths(&self) -> (&str, Option<&str>) {
        match self {
            Self::Open { path, .. }
            | Self::List { path }
            | Self::Look { path }
            | Self::Attributes { path, .. }
            | Self::Remove { path }
            | Self::RemoveDirectory { path }
            | Self::MakeDirectory { path, .. } => (path, None),
            Self::Rename { from: path, to: other }
            | Self::Symlink { target: path, link: other }
            | Self::Hardlink { target: path, link: other } => (path, Some(other)),
        }
    }
}
