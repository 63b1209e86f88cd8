//! Where the fields of each kind of event go.
//!
//! In: the name of a kind. Out: for each of its fields that has a column, path and shape. What is not listed here goes
//! into `facts`, so a field that this table does not know is kept all the same.

/// What a column takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// Strings.
    Texts,
    /// A number from 0.
    Number,
    /// Numbers by name.
    Counts,
    /// A time of the journal.
    Time,
    /// An id.
    Id,
    /// An IP address.
    Address,
}

/// A field of a body, dots between the levels; its column; what that takes.
pub(super) type Field = (&'static str, &'static str, Shape);

use Shape::{Address, Counts, Id, Number, Text, Texts, Time};

// TABLE: fields of the bodies in `audit/event`.
const WHO: &[Field] = &[
    ("who.attachment", "attachment", Text),
    ("who.workload", "workload", Text),
    ("who.workload_instance", "workload_instance", Text),
    ("who.cgroup", "cgroup", Text),
    ("who.container.id", "container_id", Text),
    ("who.container.image", "container_image", Text),
    ("who.container.pod_namespace", "k8s_pod_namespace", Text),
    ("who.container.pod_name", "k8s_pod_name", Text),
    ("who.container.pod_uid", "k8s_pod_uid", Text),
    ("who.uid", "user_id", Number),
    ("who.pid", "process_pid", Number),
    ("who.executable", "process_executable", Text),
    ("who.token.issuer", "token_issuer", Text),
    ("who.token.subject", "token_subject", Text),
    ("who.token.expires", "token_expires", Time),
    ("who.groups", "groups", Texts),
];

const DESTINATION: &[Field] = &[
    ("destination.address", "server_address", Address),
    ("destination.port", "server_port", Number),
    ("destination.protocol", "protocol", Text),
    ("destination.target", "target", Text),
    ("destination.environment", "environment", Text),
    ("destination.name", "server_name", Text),
];

const DECISION: &[Field] = &[
    ("decision.verdict", "decision", Text),
    ("decision.policies", "policies", Texts),
    ("decision.policy_set", "policy_set", Text),
    ("decision.epoch", "policy_epoch", Number),
    ("decision.message", "message", Text),
    ("decision.ticket", "approval_id", Id),
    ("decision.grants", "grants", Texts),
];

const STATEMENT: &[Field] = &[
    ("database", "db_namespace", Text),
    ("login", "login", Text),
    ("phase", "phase", Text),
    ("command", "db_operation_name", Text),
    ("actions", "actions", Texts),
    ("relations_read", "relations_read", Texts),
    ("relations_written", "relations_written", Texts),
    ("data_classes", "data_classes", Texts),
    ("text", "db_query_text", Text),
    ("parameters", "db_query_parameters", Texts),
    ("fingerprint", "db_query_hash", Text),
];

const OUTCOME: &[Field] = &[
    ("request", "request_seq", Number),
    ("status", "status", Text),
    ("sqlstate", "status_code", Text),
    ("rows_returned", "rows_returned", Number),
    ("rows_affected", "rows_affected", Number),
    ("duration_us", "duration_us", Number),
    ("held_us", "held_us", Number),
    ("masked", "masked", Counts),
    ("shown", "shown", Counts),
];

const KUBERNETES: &[Field] = &[
    ("verb", "db_operation_name", Text),
    ("actions", "actions", Texts),
    ("namespace", "db_namespace", Text),
    ("data_classes", "data_classes", Texts),
    ("text", "db_query_text", Text),
];

const PREVIEW: &[Field] = &[("request", "request_seq", Number), ("text", "db_query_text", Text)];

const SSH_REQUEST: &[Field] = &[("login", "login", Text), ("phase", "phase", Text), ("actions", "actions", Texts)];

const SSH_OUTCOME: &[Field] = &[
    ("request", "request_seq", Number),
    ("status", "status", Text),
    ("bytes_sent", "bytes_sent", Number),
    ("bytes_received", "bytes_received", Number),
    ("duration_us", "duration_us", Number),
    ("held_us", "held_us", Number),
    ("masked", "masked", Counts),
];

const SESSION_END: &[Field] = &[
    ("duration_us", "duration_us", Number),
    ("bytes_sent", "bytes_sent", Number),
    ("bytes_received", "bytes_received", Number),
    ("rows_returned", "rows_returned", Number),
];

/// What `sessions` has beside that.
const SESSION_MORE: &[Field] = &[
    ("parent", "parent_session_id", Id),
    ("mode", "mode", Text),
    ("cause", "end_cause", Text),
    ("requests", "requests", Number),
    ("denied", "denied", Number),
    ("held", "held", Number),
];

const APPROVAL: &[Field] = &[
    ("ticket", "approval_id", Id),
    ("request", "request_seq", Number),
    ("workload", "workload", Text),
    ("policies", "policies", Texts),
    ("groups", "approver_groups", Texts),
    ("verdict", "decision", Text),
    ("person", "person", Text),
    ("uid", "user_id", Number),
    ("reason", "reason", Text),
];

const WINDOW: &[Field] = &[
    ("window", "approval_id", Id),
    ("workload", "workload", Text),
    ("target", "target", Text),
    ("person", "person", Text),
    ("reason", "reason", Text),
];

const CREDENTIAL: &[Field] = &[
    ("credential", "credential", Text),
    ("target", "target", Text),
    ("login", "login", Text),
    ("server_identity", "server_identity", Text),
];

const TOKEN: &[Field] =
    &[("issuer", "token_issuer", Text), ("subject", "token_subject", Text), ("expires", "token_expires", Time)];

const POLICY: &[Field] = &[("policy_set", "policy_set", Text), ("epoch", "policy_epoch", Number)];

const ATTACHMENT: &[Field] = &[
    ("attachment", "attachment", Text),
    ("cgroup", "cgroup", Text),
    ("policy_set", "policy_set", Text),
    ("person", "person", Text),
    ("reason", "reason", Text),
];

/// The fields with a column in `events`, by kind.
pub(super) fn of_event(kind: &str) -> &'static [&'static [Field]] {
    match kind {
        "session.start" => &[WHO, DESTINATION],
        "session.end" => &[SESSION_END],
        "network.connect" | "network.refused" | "dns.refused" => &[WHO, DESTINATION],
        "network.decision" => &[DESTINATION, DECISION],
        "postgres.statement" => &[STATEMENT, DECISION],
        "postgres.outcome" | "kubernetes.outcome" | "kubernetes.frames" => &[OUTCOME],
        "kubernetes.request" => &[KUBERNETES, DECISION],
        "kubernetes.preview" => &[PREVIEW],
        "ssh.request" => &[SSH_REQUEST, DECISION],
        "ssh.outcome" | "ssh.frames" | "ssh.transfer" => &[SSH_OUTCOME],
        "credential.used" => &[CREDENTIAL],
        "target.checked" => &[CREDENTIAL, ATTACHMENT],
        "token.verified" | "console.login" => &[ATTACHMENT, TOKEN],
        kind if kind.starts_with("approval.") => &[APPROVAL],
        kind if kind.starts_with("window.") => &[WINDOW],
        kind if kind.starts_with("policy.") => &[POLICY],
        "network.bypass" | "dns.admitted" | "gap" | "gateway.stopped" | "token.refused" => &[ATTACHMENT],
        kind if kind.starts_with("attachment.") => &[ATTACHMENT],
        _ => &[],
    }
}

/// The fields with a column in `sessions`; none for kinds that are not kept there.
pub(super) fn of_session(kind: &str) -> &'static [&'static [Field]] {
    match kind {
        "session.start" | "session.end" => &[WHO, DESTINATION, SESSION_END, SESSION_MORE],
        _ => &[],
    }
}
