//! What an operator may have done: attach, detach, reload, look.
//!
//! In: requests of the control socket, whose peer was looked at. Out: the same for everybody who asks: things done and
//! journaled, or an error that names the fix.

use std::collections::{BTreeSet, HashSet};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use super::attachment::{Attachment, Parts, Terms, tables};
use super::commands::Rest;
use super::{Warden, WardenError, names, people};
use crate::audit::event::{self, Event};
use crate::audit::journal::Disk;
use crate::bridge::{AttachmentInfo, Question};
use crate::capture::existing::{self, OpenConnection};
use crate::capture::gaps::{self, Gap};
use crate::capture::links;
use crate::chain::chain;
use crate::config::is_name;
use crate::control::access::Rights;
use crate::control::check::{CheckWanted, Checked};
use crate::control::service::{
    AttachRequest, Attached, AttachmentStatus, Caller, ConfigurationShown, Decision, Detached, Ending, ExecRequest,
    ExistingConnections, Moved, Operator, OperatorError, Status, WindowWanted, Work,
};
use crate::control::setup::{TestWanted, Tested};
use crate::control::{SOCKET, socket};
use crate::host::cgroup::{Cgroup, contains};
use crate::host::netns::Netns;
use crate::host::process::Process;
use crate::id::TicketId;
use crate::identity;

/// Ports that listeners are looked for on. Below the ephemeral range, so that no client is given one by chance.
const FIRST_PORT: u16 = 15_001;
const LAST_PORT: u16 = 15_099;

/// What the engine knows of an attachment.
pub(super) fn info(request: &AttachRequest) -> AttachmentInfo {
    AttachmentInfo {
        name: request.name.clone(),
        groups: request.groups.clone(),
        observe: request.observe,
        token_file: request.token_file.clone(),
    }
}

impl Warden {
    /// Puts an attachment in force.
    ///
    /// # Errors
    /// Where the subtree cannot be enforced, and says why; nothing is in force then.
    pub async fn attach(self: &Arc<Self>, request: AttachRequest) -> Result<Attached, WardenError> {
        self.attach_for(request, None).await
    }

    /// The same for a person.
    pub(super) async fn attach_for(
        self: &Arc<Self>,
        request: AttachRequest,
        person: Option<String>,
    ) -> Result<Attached, WardenError> {
        let warden = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || warden.attach_now(request, person));
        let (mut attached, attachment) =
            work.await.map_err(|error| WardenError::Thread(std::io::Error::other(error)))??;
        match self.tell_engine().await {
            // The engine has just answered: the gate need not wait for its next heartbeat.
            Ok(()) => {
                attachment.open();
                super::engine_process::beat(self, &BTreeSet::new());
            }
            Err(reason) => {
                tracing::error!(%reason, "the engine does not know the new attachment: its connections are refused");
                attached.closed = Some(reason);
            }
        }
        Ok(attached)
    }

    fn attach_now(
        self: &Arc<Self>,
        request: AttachRequest,
        person: Option<String>,
    ) -> Result<(Attached, Arc<Attachment>), WardenError> {
        let _alone = self.attaching.lock();
        let cgroup = self.hierarchy.at(&request.cgroup)?;
        self.refuse_unfit(&request.name, &cgroup)?;
        let pids = self.hierarchy.processes(&cgroup)?;
        let approvers = self.approver_names();
        let mut found = self.gaps(&cgroup, &pids, request.runs_as);
        let future = request.runs_as.and_then(|uid| gaps::of_future_approver(uid, &approvers));
        found.extend(future.filter(|gap| !found.contains(gap)));
        let mut accepted = self.config.lock().accept_gaps.clone();
        accepted.extend(request.accept_gaps.iter().cloned());
        let open: Vec<_> = gaps::not_accepted(&found, &accepted).into_iter().cloned().collect();
        if !open.is_empty() {
            return Err(WardenError::Gaps { path: cgroup.path, gaps: open });
        }
        let tables = tables(&self.config.lock(), &request.name);
        let info = info(&request);
        let terms = Terms {
            accepted_gaps: request.accept_gaps.into_iter().collect(),
            runs_as: request.runs_as,
            keep_existing: request.keep_existing,
        };
        let port = self.shelf.port_of(&request.name).map_or_else(free_port, Ok)?;
        let parts = Parts { info, cgroup: cgroup.clone(), port, tables, gaps: found.clone(), terms };
        let attachment = Attachment::put_in_force(self, parts)?;
        let cut = self.cut_existing(&attachment, request.keep_existing);
        let described = event::Attachment { person, ..attachment.describe(&self.hierarchy, "attached".into()) };
        if let Err(error) = self.record_first(&Event::AttachmentAttached(described)) {
            attachment.detach()?;
            return Err(error);
        }
        for gap in &found {
            let (name, detail) = (gap.name.clone(), gap.detail.clone());
            self.record(&Event::Gap(event::Gap { name, detail, attachment: Some(request.name.clone()) }));
        }
        let kept = names::Kept { name: request.name.clone(), cgroup: cgroup.path, cgroup_id: cgroup.id };
        if let Err(error) = names::keep(&kept) {
            tracing::warn!(%error, "the attachment's name is not kept: without a gateway it can only be purged");
        }
        self.attachments.lock().insert(request.name.clone(), Arc::clone(&attachment));
        Ok((Attached { name: request.name, gaps: found, existing: cut, closed: None }, attachment))
    }

    fn refuse_unfit(&self, name: &str, cgroup: &Cgroup) -> Result<(), WardenError> {
        if !is_name(name) {
            return Err(WardenError::InvalidName { name: name.to_owned() });
        }
        for other in self.all() {
            let Some(theirs) = other.cgroup() else { continue };
            if other.name() == name {
                return Err(WardenError::NameTaken { name: name.to_owned(), cgroup: theirs.path });
            }
            if contains(&theirs.path, &cgroup.path) || contains(&cgroup.path, &theirs.path) {
                let (path, other_name) = (cgroup.path.clone(), other.name().to_owned());
                return Err(WardenError::Overlap { path, name: other_name, other: theirs.path });
            }
        }
        // Not by our own path: in a cgroup namespace it does not begin at the root of the hierarchy (cgroup_namespaces(7)).
        let ours = rustix::process::getpid().as_raw_nonzero().get();
        if self.hierarchy.processes(cgroup)?.contains(&ours) {
            let own = self.hierarchy.of_process(ours).unwrap_or_default();
            return Err(WardenError::AroundOurselves { path: cgroup.path.clone(), own });
        }
        match self.hierarchy.delegated(cgroup)? {
            Some((writable, uid)) => Err(WardenError::Delegated { path: cgroup.path.clone(), uid, writable }),
            None => Ok(()),
        }
    }

    /// Ends connections that were open before the hooks, or tells of them.
    pub(super) fn cut_existing(&self, attachment: &Attachment, keep: bool) -> ExistingConnections {
        let mut found = ExistingConnections::default();
        let Some(cgroup) = attachment.cgroup() else { return found };
        let pids = self.hierarchy.processes(&cgroup).unwrap_or_default();
        let inodes = existing::socket_inodes(&pids);
        let cgroups = self.hierarchy.ids(&cgroup);
        let tables = tables(&self.config.lock(), attachment.name());
        let mut seen = HashSet::new();
        for pid in pids {
            let Ok(netns) = Netns::of_process(pid) else { continue };
            if !netns.inode().is_ok_and(|inode| seen.insert(inode)) {
                continue;
            }
            match existing::protected(&self.namespaces, &netns, &tables, &cgroups, &inodes) {
                Ok(open) => {
                    found.destinations.extend(open.iter().map(|connection: &OpenConnection| connection.remote));
                    if !keep {
                        found.cut += existing::destroy(&self.namespaces, &netns, open).unwrap_or(0);
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "cannot list open connections: the backstop drops their packets"
                    );
                }
            }
        }
        attachment.look_for_foreign_sockets(self);
        if found.cut < found.destinations.len() {
            let left = found.destinations.len() - found.cut;
            let detail = format!(
                "{left} connections to protected destinations were open before; the backstop drops their packets"
            );
            let gap =
                event::Gap { name: "existing_connections".into(), detail, attachment: Some(attachment.name().into()) };
            self.record(&Event::Gap(gap));
        }
        found
    }

    /// Opens an attachment's gate for good.
    ///
    /// # Errors
    /// Where nothing has the name, or a hook cannot be removed.
    pub async fn detach(&self, name: &str, reason: &str) -> Result<Detached, WardenError> {
        let attachment = self.attachments.lock().get(name).cloned();
        let Some(attachment) = attachment else {
            return Err(WardenError::NoSuchAttachment { name: name.to_owned() });
        };
        // Before the hooks go: what is not recorded does not happen.
        self.record_first(&Event::AttachmentDetached(attachment.describe(&self.hierarchy, reason.to_owned())))?;
        self.attachments.lock().remove(name);
        let cgroup = attachment.cgroup();
        self.flush_events_of(&attachment);
        names::forget(name);
        attachment.detach()?;
        self.shelf.forget(name, None);
        self.engine.close_lane(name);
        if let Err(reason) = self.tell_engine().await {
            tracing::warn!(%reason, "the engine still knows the attachment");
        }
        Ok(Detached { name: name.to_owned(), cgroup: cgroup.map(|cgroup| cgroup.path).unwrap_or_default() })
    }

    /// Lets those reach the control socket whom the configuration names.
    pub fn admit_people(&self) {
        let config = self.config.lock().clone();
        for user in people::unknown(&config) {
            tracing::warn!(
                "the configuration names `{user}`, whom /etc/passwd does not have: use the name that it has, or a number"
            );
        }
        let named = people::approvers(&config).into_keys().chain(people::exec_users(&config));
        let uids = named.filter(|uid| *uid != 0).collect();
        if let Err(error) = socket::let_in(Path::new(SOCKET), &uids) {
            tracing::error!(%error, "cannot let users reach {SOCKET}: they have to use sudo, and vote as root then");
        }
    }

    /// Who approves here, by uid.
    pub(super) fn approver_names(&self) -> gaps::Approvers {
        let approvers = people::approvers(&self.config.lock());
        approvers.into_iter().map(|(uid, approver)| (uid, approver.name)).collect()
    }

    /// The gaps of a subtree with these processes; `runs_as`: it is a command's, by `exec`.
    pub(super) fn gaps(&self, cgroup: &Cgroup, pids: &[i32], runs_as: Option<u32>) -> Vec<Gap> {
        let lsm = self.lsm.as_ref().map(drop).map_err(|error| chain(error));
        let mut found = gaps::find(pids, &self.approver_names(), lsm.as_ref().err().map(String::as_str));
        found.extend(links::gap(&self.namespaces, pids));
        if runs_as.is_none() {
            found.extend(gaps::of_terminal(pids));
        }
        let last = cgroup.path.rsplit('/').next().unwrap_or_default();
        if last.ends_with(".service") || identity::container(last).is_some() {
            found.push(gaps::of_restarts(&cgroup.path));
        }
        found
    }

    /// The attachment in which a process runs as this user, unless that is an accepted gap.
    pub(super) fn runs_inside(&self, uid: u32) -> Option<String> {
        let accepted = self.config.lock().accept_gaps.contains(gaps::APPROVER_UID);
        let runs_in = |attachment: &Arc<Attachment>| {
            let pids =
                attachment.cgroup().and_then(|cgroup| self.hierarchy.processes(&cgroup).ok()).unwrap_or_default();
            let theirs = |pid: i32| Process::read(pid).is_some_and(|process| process.uids.contains(&uid));
            !attachment.accepted_gaps().contains(gaps::APPROVER_UID) && pids.into_iter().any(theirs)
        };
        let found = self.all().into_iter().filter(|_| uid != 0 && !accepted).find(runs_in);
        found.map(|attachment| attachment.name().to_owned())
    }

    /// Makes the cgroup of an attachment of the configuration unless it is there, which is for whoever starts in it: they are
    /// intercepted from their first step. Returns whether it was not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn make_cgroup(&self, request: &AttachRequest) -> Result<bool, WardenError> {
        Ok(self.hierarchy.make(&request.cgroup)?)
    }

    /// The attachments of the configuration.
    #[must_use]
    pub fn configured(&self) -> Vec<AttachRequest> {
        let request = |attach: &crate::config::Attach| AttachRequest {
            name: attach.name.clone(),
            cgroup: attach.cgroup.clone(),
            groups: attach.groups.clone(),
            observe: attach.observe,
            token_file: attach.token_file.clone(),
            ..AttachRequest::default()
        };
        self.config.lock().attachments.iter().map(request).collect()
    }

    /// How everything stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let attachments = self.all().iter().map(|attachment| self.status_of(attachment)).collect();
        let shipping = self.shipper.status();
        let mut gaps = gaps::of_host(&self.config.lock());
        if let (Disk::Low | Disk::Critical, left) = self.journal.disk() {
            let detail = format!("the disk of the journal has {left} bytes left: no session begins; free disk space");
            gaps.push(Gap { name: "disk_low".into(), detail });
        }
        Status {
            engine_runs: self.engine.runs(),
            attachments,
            accepted_gaps: self.config.lock().accept_gaps.clone(),
            gaps,
            shipping,
            feeds: self.feeds.status(),
            work: None,
            configuration: Vec::new(),
        }
    }

    /// The same with what the engine has to say, and where the configuration comes from.
    pub(super) async fn whole_status(&self) -> Status {
        let work = self.engine_counts().await.map(|counts| {
            let mut work = Work { approvals: counts.approvals, windows: counts.windows, ..Work::default() };
            for (attachment, _, running) in counts.sessions {
                *work.sessions.entry(attachment).or_default() += running;
            }
            for count in counts.events.values() {
                for ((_, word), decided) in event::Verdict::ALL.iter().zip(count.verdicts) {
                    *work.decisions.entry((*word).to_owned()).or_default() += decided;
                }
            }
            work
        });
        let ConfigurationShown { file, since, notes, .. } = self.configuration();
        let file = file.map_or_else(|| "no file: defaults".to_owned(), |file| file.display().to_string());
        let since = since.map(|since| format!(", in force since {since}")).unwrap_or_default();
        let configuration = std::iter::once(format!("{file}{since}")).chain(notes).collect();
        Status { work, configuration, ..self.status() }
    }

    fn status_of(&self, attachment: &Attachment) -> AttachmentStatus {
        let described = attachment.describe(&self.hierarchy, String::new());
        let (looked_secs, degraded) = attachment.health();
        AttachmentStatus {
            name: described.attachment,
            cgroup: described.cgroup,
            observe: attachment.info().observe,
            processes: described.processes,
            gaps: attachment.gaps(),
            counts: attachment.counts().into_iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            looked_secs,
            degraded,
        }
    }
}

impl Operator for Arc<Warden> {
    async fn attach(&self, caller: &Caller, request: AttachRequest) -> Result<Attached, OperatorError> {
        let tied = request.tied;
        let attached = Warden::attach(self, request).await?;
        let attachment = self.attachments.lock().get(&attached.name).cloned();
        if let Some(cgroup) = attachment.filter(|_| tied).and_then(|attachment| attachment.cgroup()) {
            self.tie(&attached.name, cgroup, caller, Rest::Waited);
        }
        Ok(attached)
    }

    async fn exec(&self, caller: &Caller, request: ExecRequest) -> Result<Moved, OperatorError> {
        Ok(Warden::exec(self, caller, request).await?)
    }

    async fn detach(&self, name: &str) -> Result<Detached, OperatorError> {
        Ok(Warden::detach(self, name, "asked to").await?)
    }

    async fn reload(&self) -> Result<(), OperatorError> {
        Warden::reload(self).await.map_err(OperatorError::Refused)
    }

    async fn sessions(&self) -> Result<serde_json::Value, OperatorError> {
        self.engine.ask(Question::Sessions).await.map_err(OperatorError::Refused)
    }

    async fn approvals(&self, uid: u32) -> Result<serde_json::Value, OperatorError> {
        self.waiting(uid).await
    }

    async fn approval(&self, uid: u32, ticket: TicketId) -> Result<serde_json::Value, OperatorError> {
        Warden::approval(self, uid, ticket).await
    }

    async fn decide(&self, uid: u32, decision: Decision) -> Result<serde_json::Value, OperatorError> {
        self.vote(uid, decision).await
    }

    async fn window(&self, uid: u32, wanted: WindowWanted) -> Result<serde_json::Value, OperatorError> {
        Warden::window(self, uid, wanted).await
    }

    async fn windows(&self) -> Result<serde_json::Value, OperatorError> {
        self.engine.ask(Question::Windows).await.map_err(OperatorError::Refused)
    }

    async fn revoke(&self, uid: u32, ending: Ending) -> Result<serde_json::Value, OperatorError> {
        Warden::revoke(self, uid, ending).await
    }

    async fn check_targets(&self, uid: u32, wanted: CheckWanted) -> Result<Checked, OperatorError> {
        Warden::check_targets(self, uid, wanted).await
    }

    async fn test(&self, uid: u32, wanted: TestWanted) -> Result<Tested, OperatorError> {
        Warden::test(self, uid, wanted).await
    }

    async fn status(&self) -> Status {
        self.whole_status().await
    }

    fn configuration(&self) -> ConfigurationShown {
        Warden::configuration(self)
    }

    fn rights(&self, uid: u32) -> Rights {
        let config = self.config.lock();
        Rights {
            approve: people::approvers(&config).contains_key(&uid),
            exec: people::exec_users(&config).contains(&uid),
        }
    }

    fn attached_as(&self, cgroup: &str) -> Option<String> {
        let inside = |attachment: &Arc<Attachment>| {
            attachment
                .cgroup()
                .is_some_and(|theirs| contains(&theirs.path, cgroup))
                .then(|| attachment.name().to_owned())
        };
        self.all().iter().find_map(inside)
    }

    fn cgroup_of(&self, pid: i32) -> Option<String> {
        self.hierarchy.of_process(pid)
    }
}

/// A port that nobody listens on here.
fn free_port() -> Result<u16, WardenError> {
    (FIRST_PORT..=LAST_PORT)
        .find(|port| {
            let here = (Ipv4Addr::LOCALHOST, *port);
            TcpListener::bind(here).is_ok() && UdpSocket::bind(here).is_ok()
        })
        .ok_or(WardenError::NoPort { first: FIRST_PORT, last: LAST_PORT })
}
