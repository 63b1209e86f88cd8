//! What `gateway test` is asked and answers, and what its process inside an attachment is told, in the words of the wire.
//!
//! In: a name. Out: plain data for people and programs. No secret stands in any of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestWanted {
    /// The name of an attachment.
    pub attachment: String,
    /// Of Postgres servers: the database to enter.
    pub database: String,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tested {
    /// Its name.
    pub attachment: String,
    /// Whether there is one of that name: where not, nothing was tried.
    pub is_known: bool,
    /// In the order in which they were tried.
    pub steps: Vec<Step>,
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is about: `capture`, or the name of a target.
    pub about: String,
    /// For programs: `permits`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub said: String,
    /// What to do where it failed.
    pub fix: Option<String>,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Passed,
    /// Otherwise.
    Failed,
    /// It was not tried.
    Skipped,
}

/// What a process inside tries at a target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attempt {
    /// The cgroup that it goes to.
    pub cgroup: PathBuf,
    /// Name of the target.
    pub target: String,
    /// What is spoken there.
    pub protocol: Spoken,
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The user that a client asks for.
    pub user: String,
    /// Of Postgres: the database.
    pub database: String,
    /// What it trusts of the gateway: an authority in PEM, or a line of known hosts without its names.
    pub trust: String,
    /// Which of `DENIED` policies permit to nobody.
    pub denied: Option<String>,
    /// Why none of these is sent.
    pub undenied: String,
}

/// A protocol that is spoken inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoken {
    /// PostgreSQL's.
    Postgres,
    /// SSH.
    Ssh,
    /// The Kubernetes API.
    Kubernetes,
}

/// Requests that do nothing even where they are carried out, and the action of policies that each is. None is sent but one that
/// policies permit to nobody.
pub const DENIED: [(Spoken, &str, &str); 6] = [
    (Spoken::Postgres, "Postgres::copy_program", "COPY (SELECT 1) TO PROGRAM 'true'"),
    (Spoken::Postgres, "Postgres::run_code", "DO $$BEGIN END$$"),
    (Spoken::Postgres, "Postgres::listen", "LISTEN gateway_test"),
    (
        Spoken::Kubernetes,
        "Kubernetes::exec",
        "/api/v1/namespaces/default/pods/gateway-test-nobody/exec?command=true&stdout=true",
    ),
    (Spoken::Kubernetes, "Kubernetes::proxy", "/api/v1/namespaces/default/services/gateway-test-nobody/proxy/"),
    (Spoken::Kubernetes, "Kubernetes::list", "/api/v1/namespaces/gateway-test-nobody/configmaps"),
];

impl Tested {
    /// Whether something is to be done.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.steps.iter().any(|step| step.outcome == Outcome::Failed)
    }
}

impl Step {
    /// One that ended as it should.
    pub fn passed(about: &str, name: &str, said: impl Into<String>) -> Self {
        Self::of(about, name, Outcome::Passed, said.into(), None)
    }

    /// One that did not.
    pub fn failed(about: &str, name: &str, said: impl Into<String>, fix: &str) -> Self {
        Self::of(about, name, Outcome::Failed, said.into(), Some(fix.to_owned()))
    }

    /// One that was not tried.
    pub fn skipped(about: &str, name: &str, said: impl Into<String>) -> Self {
        Self::of(about, name, Outcome::Skipped, said.into(), None)
    }

    fn of(about: &str, name: &str, outcome: Outcome, said: String, fix: Option<String>) -> Self {
        Self { about: about.to_owned(), name: name.to_owned(), outcome, said, fix }
    }
}
