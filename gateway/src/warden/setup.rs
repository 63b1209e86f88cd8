//! Whether an attachment is set up well, tried from inside.
//!
//! In: its name. Out: one step after the other, with what to do where one failed. A process of ours goes to the attachment's cgroup and
//! does what clients there do; a request that is to be refused goes out only where policies permit it to nobody, and does nothing even if it
//! were carried out. It reads nothing that a server said, and hands no secret out.

mod trust;

use std::collections::BTreeMap;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gateway_common::Verdict;

use super::attachment::Attachment;
use super::{Warden, errand};
use crate::audit::event::{AttachmentTested, Event};
use crate::bridge::Question;
use crate::chain::chain;
use crate::config::Target;
use crate::control::service::OperatorError;
use crate::control::setup::{Attempt, DENIED, Outcome, Spoken, Step, TestWanted, Tested};
use crate::host::network::Network;
use crate::host::readable::Anchors;
use crate::trust::ca::Authority;
use crate::trust::ssh::SshKey;

/// How long one target may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Targets that are tried.
const MAX_TARGETS: usize = 32;
/// What a process inside may tell of.
const NAMES: [&str; 3] = ["answers", "permits", "denies"];
/// The longest text that it says, in characters.
const MAX_SAID: usize = 500;
const CAPTURE: &str = "capture";
const CLIENTS: &str = "clients";

/// Which actions policies permit to nobody, by target.
type Closed = BTreeMap<String, Vec<String>>;

impl Warden {
    /// Tries an attachment.
    pub(super) async fn test(self: &Arc<Self>, uid: u32, wanted: TestWanted) -> Result<Tested, OperatorError> {
        let TestWanted { attachment: name, database } = wanted;
        let Some(attachment) = self.all().into_iter().find(|attachment| attachment.name() == name) else {
            return Ok(Tested { attachment: name, is_known: false, steps: Vec::new() });
        };
        let actions = DENIED.iter().map(|(_, action, _)| (*action).to_owned()).collect();
        let closed = self.engine.ask(Question::Closed(actions)).await.map_err(OperatorError::Refused)?;
        let closed: Closed =
            serde_json::from_value(closed).map_err(|error| OperatorError::Refused(error.to_string()))?;
        let warden = Arc::clone(self);
        let trying = tokio::task::spawn_blocking(move || warden.tried(&attachment, (&closed, &database)));
        let (steps, pids) = trying.await.map_err(|error| OperatorError::Refused(error.to_string()))?;
        let ended = |outcome: Outcome| {
            let of = steps.iter().filter(|step| step.outcome == outcome);
            of.map(|step| format!("{}/{}", step.about, step.name)).collect()
        };
        let event = Event::AttachmentTested(AttachmentTested {
            attachment: name.clone(),
            person: self.person(uid).name,
            pids,
            passed: ended(Outcome::Passed),
            failed: ended(Outcome::Failed),
            skipped: ended(Outcome::Skipped),
        });
        self.record_first(&event).map_err(|error| OperatorError::Refused(error.to_string()))?;
        Ok(Tested { attachment: name, is_known: true, steps })
    }

    /// What came of it, and the processes that tried. It blocks.
    fn tried(
        self: &Arc<Self>,
        attachment: &Arc<Attachment>,
        (closed, database): (&Closed, &str),
    ) -> (Vec<Step>, Vec<u32>) {
        let (mut steps, mut pids) = (vec![self.caught(attachment)], Vec::new());
        let targets = self.config.lock().targets.clone();
        for target in targets.iter().take(MAX_TARGETS) {
            match self.attempt(attachment, target, (closed, database)) {
                Ok(attempt) => match sent(&attempt) {
                    Ok((of_target, pid)) => {
                        pids.push(pid);
                        steps.extend(of_target);
                    }
                    Err(error) => steps.push(Step::failed(
                        &target.name,
                        "answers",
                        format!("nothing could be tried from inside: {error}"),
                        "`gateway status` says whether its gate is open; a frozen cgroup lets nothing run",
                    )),
                },
                Err(why) => steps.push(Step::skipped(&target.name, "answers", why)),
            }
        }
        if targets.len() > MAX_TARGETS {
            let why = format!("of {} targets the first {MAX_TARGETS} were tried", targets.len());
            steps.push(Step::skipped(CAPTURE, "targets", why));
        }
        steps.extend(self.known_to(attachment, &targets));
        (steps, pids)
    }

    /// Whether clients of those who run there know us.
    fn known_to(&self, attachment: &Attachment, targets: &[Target]) -> Vec<Step> {
        let anchors = match self.anchors() {
            Ok(anchors) => anchors,
            Err(why) => {
                return vec![Step::failed(CLIENTS, "trusts", why, "the log says what became of the state directory")];
            }
        };
        let is_spoken = |client| targets.iter().any(|target| spoken(target).is_some_and(|it| trust::of(it) == client));
        let looked = self.knowing(attachment, &anchors);
        if looked.is_empty() {
            return vec![Step::skipped(
                CLIENTS,
                "trusts",
                "nobody runs in it now: what clients there know is not known",
            )];
        }
        let mut steps = Vec::new();
        for (uid, known) in looked {
            let about = format!("uid {uid}");
            match known {
                Ok(known) => {
                    let known = known.into_iter().filter(|known| is_spoken(known.client));
                    steps.extend(known.map(|known| trust::step(&about, &known)));
                }
                Err(error) => steps.push(Step::skipped(&about, "trusts", format!("nobody could look: {error}"))),
            }
        }
        steps
    }

    /// What clients may know us by.
    fn anchors(&self) -> Result<Anchors, String> {
        let state = self.config.lock().state_dir.clone();
        let authority = Authority::open(&state).map_err(|error| chain(&error))?.certificate_pem().to_owned();
        let lines =
            [SshKey::host(&state), SshKey::host_authority(&state)].map(|key| key.and_then(|key| key.public_line()));
        let mut host_keys = Vec::new();
        for line in lines {
            let line = line.map_err(|error| chain(&error))?;
            host_keys.extend(line.split_whitespace().nth(1).map(str::to_owned));
        }
        Ok(Anchors { authority, host_keys })
    }

    /// Whether what is connected inside comes to us.
    fn caught(self: &Arc<Self>, attachment: &Attachment) -> Step {
        let repair =
            "`gateway status` and `gateway doctor` say what is in its way; `gateway detach` and attach it anew";
        if !attachment.is_open() {
            let why = "the gate is closed: nothing goes through";
            return Step::failed(
                CAPTURE,
                "caught",
                why,
                "the log and `gateway status` say why no engine holds it open",
            );
        }
        match attachment.send_canary(&self.hierarchy) {
            Ok(()) => Step::passed(CAPTURE, "caught", "a connection from inside comes to the gateway"),
            Err(unhealthy) => Step::failed(CAPTURE, "caught", chain(&unhealthy), repair),
        }
    }

    /// What to try at a target; why not, where that is.
    fn attempt(
        &self,
        attachment: &Attachment,
        target: &Target,
        (closed, database): (&Closed, &str),
    ) -> Result<Attempt, String> {
        let credential = target.credential.as_ref();
        let credential = credential.ok_or("the gateway holds no credential for it: clients log in with their own")?;
        if let Some(window) = &credential.window {
            return Err(format!("its credential is supplied only while the window `{window}` is open for a workload"));
        }
        let address = target.addresses.iter().find_map(Network::host_address).map(|address| address.to_string());
        let host = address.or_else(|| target.names.first().map(ToString::to_string));
        let host = host.ok_or("it is declared by networks alone, which are many servers")?;
        let state = self.config.lock().state_dir.clone();
        let protocol = spoken(target).ok_or("nothing is tried with this protocol")?;
        let trust = match protocol {
            Spoken::Ssh => {
                let line = SshKey::host(&state).and_then(|key| key.public_line());
                line.map_err(|error| chain(&error))?
            }
            _ => Authority::open(&state).map_err(|error| chain(&error))?.certificate_pem().to_owned(),
        };
        let cgroup = attachment.cgroup().ok_or("its cgroup is gone")?;
        let (denied, undenied) = denied(attachment, target, closed);
        Ok(Attempt {
            cgroup: self.hierarchy.full_path(&cgroup),
            target: target.name.clone(),
            protocol,
            host,
            port: target.ports.first().copied().ok_or("a target has a port")?,
            user: credential.for_users.first().unwrap_or(&credential.user).clone(),
            database: database.to_owned(),
            trust,
            denied,
            undenied,
        })
    }
}

fn spoken(target: &Target) -> Option<Spoken> {
    match target.protocol {
        Verdict::Postgres => Some(Spoken::Postgres),
        Verdict::Ssh => Some(Spoken::Ssh),
        Verdict::Kubernetes => Some(Spoken::Kubernetes),
        _ => None,
    }
}

/// A request that nobody may make there, or why none is sent.
fn denied(attachment: &Attachment, target: &Target, closed: &Closed) -> (Option<String>, String) {
    if attachment.observes() {
        return (None, "the attachment observes: what policies deny goes through all the same".to_owned());
    }
    let closed = closed.get(&target.name);
    let ours = DENIED.iter().filter(|(protocol, ..)| Some(*protocol) == spoken(target)).map(|(_, action, _)| *action);
    let ours: Vec<_> = ours.collect();
    let chosen = ours.iter().find(|action| closed.is_some_and(|closed| closed.iter().any(|known| known == *action)));
    let why = match ours.as_slice() {
        [] => "no request is known that does nothing and that policies judge by its action alone".to_owned(),
        ours => format!("policies permit {} to somebody, and nothing else is known that does nothing", ours.join(", ")),
    };
    (chosen.map(|action| (*action).to_owned()), why)
}

/// Sends a process inside.
fn sent(attempt: &Attempt) -> io::Result<(Vec<Step>, u32)> {
    let mut command = Command::new(std::env::current_exe()?);
    let said = errand::send(command.arg("inside"), &serde_json::to_vec(attempt)?, PATIENCE);
    crate::capture::canary::leave(&attempt.cgroup);
    let said = said?;
    if !said.is_done {
        return Err(io::Error::other("the process could not go there, or was ended"));
    }
    let steps: Vec<Step> = serde_json::from_slice(&said.answer)?;
    let known = steps.into_iter().filter(|step| NAMES.contains(&step.name.as_str())).take(NAMES.len());
    let ours = known.map(|step| Step {
        about: attempt.target.clone(),
        said: step.said.chars().take(MAX_SAID).collect(),
        ..step
    });
    Ok((ours.collect(), said.pid))
}
