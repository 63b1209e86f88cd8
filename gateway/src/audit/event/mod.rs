//! What is recorded: the kinds of events and their fields.
//!
//! In: facts from the other steps, texts only as `Kept`. Out: a kind and the JSON object that stands as `body` in a
//! line of the journal. Fields are only ever added, with a default, so that old lines stay readable; a field never
//! changes its meaning. An event never holds a raw value, a secret or a payload.

use serde::Serialize;

mod frame;
mod host;
mod kubernetes;
mod session;
mod request;
mod ssh;

pub use frame::{FramedStatement, StatementFrame};
pub use host::{
    Attachment, DnsAdmitted, EngineDied, EngineStarted, Gap, GatewayStarted, JournalBroken, JournalOpened,
    JournalSealed, Mode, NetworkBypass, PolicyLoaded, PolicyRejected, Reason, Role,
};
pub use kubernetes::{KubernetesFrame, KubernetesFrames, KubernetesOutcome, KubernetesPreview, KubernetesRequest};
pub use request::{
    ApprovalDecided, ApprovalEnded, ApprovalFiled, ApprovalRequested, AttachmentTested, CredentialUsed, Phase,
    PostgresOutcome, PostgresStatement, ResultShown, Status, TargetChecked, WindowClosed, WindowOpened,
};
pub use session::{
    ConsoleLogin, ConsoleLoginFailed, Container, Counters, Decision, Destination, DnsRefused, EndCause, NetworkConnect,
    NetworkDecision, NetworkRefused, SessionEnd, SessionStart, Token, TokenRefused, TokenVerified, Verdict, Who,
};
pub use ssh::{Direction, FrameStream, SshFrame, SshFrames, SshOutcome, SshPhase, SshRequest, SshTransfer};

/// What a line of the journal holds.
pub trait Body {
    /// The name of its kind.
    fn kind(&self) -> &'static str;

    /// What policy said, where it is a decision.
    fn verdict(&self) -> Option<Verdict> {
        None
    }

    /// Writes it as a JSON object.
    ///
    /// # Errors
    /// Where it has no JSON.
    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()>;
}

impl Body for Event {
    fn kind(&self) -> &'static str {
        Self::kind(self)
    }

    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::NetworkDecision(event) => Some(event.decision.verdict),
            Self::PostgresStatement(event) => Some(event.decision.verdict),
            Self::KubernetesRequest(event) => Some(event.decision.verdict),
            Self::SshRequest(event) => Some(event.decision.verdict),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }
}

/// Declares the kinds: variant, name in the journal, body.
macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $kind:literal => $body:ty,)*) => {
        /// One thing that happened. Serializes as its body alone; the kind stands in the line's head.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Event {
            $($(#[$doc])* $variant($body),)*
        }

        impl Event {
            /// Every kind that this version writes.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// The name of the kind in the journal, as in `session.start`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind,)* }
            }
        }
    };
}

events! {
    /// First line of every journal.
    JournalOpened = "journal.opened" => JournalOpened,
    /// The warden sealed a journal up to a line.
    JournalSealed = "journal.sealed" => JournalSealed,
    /// The warden found a journal that was changed under its eyes.
    JournalBroken = "journal.broken" => JournalBroken,
    /// The gateway is ready to attach.
    GatewayStarted = "gateway.started" => GatewayStarted,
    /// The gateway ends in good order.
    GatewayStopped = "gateway.stopped" => Reason,
    /// The warden started an engine.
    EngineStarted = "engine.started" => EngineStarted,
    /// An engine ended; sessions of its journal without an end were lost with it.
    EngineDied = "engine.died" => EngineDied,
    /// A subtree is intercepted from here on.
    AttachmentAttached = "attachment.attached" => Attachment,
    /// Still in force; silence is a gap too.
    AttachmentHeartbeat = "attachment.heartbeat" => Attachment,
    /// A health check failed.
    AttachmentDegraded = "attachment.degraded" => Attachment,
    /// A failed health check was put right.
    AttachmentRepaired = "attachment.repaired" => Attachment,
    /// An operator ended the interception.
    AttachmentDetached = "attachment.detached" => Attachment,
    /// Something is not enforced.
    Gap = "gap" => Gap,
    /// The kernel reports a connect to a destination that nobody protects.
    NetworkConnect = "network.connect" => Box<NetworkConnect>,
    /// The kernel refused a connect, a datagram or a packet.
    NetworkRefused = "network.refused" => Box<NetworkRefused>,
    /// Addresses of an allowed name may be reached.
    DnsAdmitted = "dns.admitted" => DnsAdmitted,
    /// A question for a name was not answered.
    DnsRefused = "dns.refused" => Box<DnsRefused>,
    /// Packets and calls that tried to go around, since the last such event.
    NetworkBypass = "network.bypass" => NetworkBypass,
    /// May this workload reach this destination at all.
    NetworkDecision = "network.decision" => Box<NetworkDecision>,
    /// A connection was accepted.
    SessionStart = "session.start" => Box<SessionStart>,
    /// It is over. Exactly one for each start.
    SessionEnd = "session.end" => SessionEnd,
    /// A statement was read and decided; written before it is sent on.
    PostgresStatement = "postgres.statement" => Box<PostgresStatement>,
    /// What came of a statement.
    PostgresOutcome = "postgres.outcome" => PostgresOutcome,
    /// A request to a Kubernetes API server was read and decided; written before it is sent on.
    KubernetesRequest = "kubernetes.request" => Box<KubernetesRequest>,
    /// What came of it.
    KubernetesOutcome = "kubernetes.outcome" => KubernetesOutcome,
    /// A held change is tried at the server, for the people who decide.
    KubernetesPreview = "kubernetes.preview" => KubernetesPreview,
    /// What went over an exec or attach since the last such event.
    KubernetesFrames = "kubernetes.frames" => KubernetesFrames,
    /// A request on an SSH connection was read and decided; written before it is sent on.
    SshRequest = "ssh.request" => Box<SshRequest>,
    /// What came of it.
    SshOutcome = "ssh.outcome" => Box<SshOutcome>,
    /// What went over a terminal since the last such event.
    SshFrames = "ssh.frames" => SshFrames,
    /// A file went over a channel.
    SshTransfer = "ssh.transfer" => Box<SshTransfer>,
    /// A request is held for a person.
    ApprovalRequested = "approval.requested" => Box<ApprovalRequested>,
    /// It is a ticket in another system, too.
    ApprovalFiled = "approval.filed" => ApprovalFiled,
    /// A person voted.
    ApprovalDecided = "approval.decided" => ApprovalDecided,
    /// The approved request was sent; the ticket is used up.
    ApprovalConsumed = "approval.consumed" => ApprovalEnded,
    /// Nobody decided in time, or a side was lost.
    ApprovalExpired = "approval.expired" => ApprovalEnded,
    /// A workload may do what policies say of a window, until its end.
    WindowOpened = "window.opened" => Box<WindowOpened>,
    /// It may no longer.
    WindowClosed = "window.closed" => WindowClosed,
    /// A policy set is in force.
    PolicyLoaded = "policy.loaded" => PolicyLoaded,
    /// A policy set was refused; the one before stays in force.
    PolicyRejected = "policy.rejected" => PolicyRejected,
    /// A credential that we hold was supplied to a server.
    CredentialUsed = "credential.used" => CredentialUsed,
    /// An operator had an attachment tried from inside.
    AttachmentTested = "attachment.tested" => AttachmentTested,
    /// An operator asked what a credential may do at its server.
    TargetChecked = "target.checked" => TargetChecked,
    /// A token was verified and bound.
    TokenVerified = "token.verified" => TokenVerified,
    /// A token does not count, or no longer.
    TokenRefused = "token.refused" => TokenRefused,
    /// A person logged in at the console.
    ConsoleLogin = "console.login" => ConsoleLogin,
    /// Some did not get in, counted.
    ConsoleLoginFailed = "console.login_failed" => ConsoleLoginFailed,
}
