//! What is spoken on a connection.
//!
//! In: the verdict of the destination. Out: the engine that reads it, or the refusal that its clients understand. What
//! no engine here can read is refused, never relayed.

pub mod dns;
pub mod forward;
pub mod kubernetes;
pub mod postgres;
pub mod scp;
pub mod sftp;
pub mod shell;
pub mod ssh;
pub mod refusal;

use gateway_common::Verdict;

/// A protocol that connections are intercepted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Frontend/Backend Protocol 3, PostgreSQL.
    Postgres,
    /// RFC 4253.
    Ssh,
    /// The Kubernetes API over TLS.
    Kubernetes,
    /// Anything else, forwarded inside a session to where the operator lets it go unread.
    Tcp,
}

impl Protocol {
    /// By declared target and port, as the kernel side decided; content only confirms.
    #[must_use]
    pub fn of(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Postgres => Some(Self::Postgres),
            Verdict::Ssh => Some(Self::Ssh),
            Verdict::Kubernetes => Some(Self::Kubernetes),
            // Questions for names are no session: `engine::forwarder` answers them.
            Verdict::Unknown | Verdict::Allow | Verdict::Refuse | Verdict::Dns => None,
        }
    }

    /// The name in events and policies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Ssh => "ssh",
            Self::Kubernetes => "kubernetes",
            Self::Tcp => "tcp",
        }
    }
}
