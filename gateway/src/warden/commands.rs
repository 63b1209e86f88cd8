//! Commands of users: each in an attached cgroup of its own, which goes when the command has ended.
//!
//! In: a caller whom the control socket has looked at. Out: the same process, inside. It gives a caller no right: who is
//! moved has given up new privileges before, and stays who they are.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Warden, WardenError, people};
use crate::config::is_name;
use crate::control::service::{AttachRequest, Caller, ExecRequest, Moved};
use crate::host::cgroup::{self, COMMANDS, Cgroup, CgroupError};
use crate::host::process;
use crate::policy::vocabulary::OPEN_GROUP;
use crate::trust;

/// Commands of one user at once: each has a port of the host for its listeners.
const MAX_COMMANDS: usize = 16;
/// How often a process is looked at that has to end, and a cgroup that has to become empty.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What becomes of those who are left in a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// They end with the command.
    Killed,
    /// They go on, intercepted, and the attachment with them.
    Waited,
}

impl Warden {
    /// Moves a caller into a fresh attached cgroup.
    ///
    /// # Errors
    /// Where the caller is not fit for it or the cgroup cannot be enforced.
    pub(super) async fn exec(self: &Arc<Self>, caller: &Caller, request: ExecRequest) -> Result<Moved, WardenError> {
        if let Some(fault) = process::unfit_for_a_command(caller.pid) {
            return Err(WardenError::UnfitCaller { fault });
        }
        let commands = self.all().iter().filter(|attachment| attachment.runs_as() == Some(caller.uid)).count();
        if commands >= MAX_COMMANDS {
            return Err(WardenError::TooManyCommands { limit: MAX_COMMANDS });
        }
        let ExecRequest { name, may_number } = request;
        if !is_name(&name) {
            return Err(WardenError::InvalidName { name });
        }
        let path = self.hierarchy.mount().join(COMMANDS).join(format!("exec-{name}-{}", caller.pid));
        fs::create_dir_all(&path).map_err(|source| CgroupError::Io { what: "make", path: path.clone(), source })?;
        let mut attached = self.attach_command(caller, &name, &path).await;
        if may_number && matches!(attached, Err(WardenError::NameTaken { .. })) {
            attached = self.attach_command(caller, &format!("{name}-{}", caller.pid), &path).await;
        }
        match attached {
            Ok(name) => self.move_in(caller, &name),
            Err(error) => {
                let _ = cgroup::remove(&path);
                Err(error)
            }
        }
    }

    async fn attach_command(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        cgroup: &Path,
    ) -> Result<String, WardenError> {
        let request = AttachRequest {
            name: name.to_owned(),
            cgroup: cgroup.to_owned(),
            groups: vec![OPEN_GROUP.to_owned()],
            runs_as: Some(caller.uid),
            ..AttachRequest::default()
        };
        Ok(self.attach_for(request, Some(people::name(caller.uid))).await?.name)
    }

    fn move_in(self: &Arc<Self>, caller: &Caller, name: &str) -> Result<Moved, WardenError> {
        let attachment = self.attachments.lock().get(name).cloned();
        let attached = attachment.as_ref().and_then(|attachment| Some((attachment, attachment.cgroup()?)));
        let Some((attachment, cgroup)) = attached else {
            return Err(WardenError::NoSuchAttachment { name: name.to_owned() });
        };
        // Before the move: where that fails, the attachment goes with the caller too.
        self.tie(name, cgroup.clone(), caller, Rest::Killed);
        let list = self.hierarchy.full_path(&cgroup).join("cgroup.procs");
        fs::write(&list, caller.pid.to_string()).map_err(|source| CgroupError::Io {
            what: "move the caller to",
            path: list,
            source,
        })?;
        let is_inside = self.hierarchy.of_process(caller.pid).is_some_and(|path| path == cgroup.path);
        if !process::is_alive(&caller.held) || !is_inside {
            return Err(WardenError::UnfitCaller { fault: "is gone" });
        }
        // What the caller brought with it.
        self.cut_existing(attachment, false);
        attachment.tend_namespaces(self);
        attachment.look_for_gaps(self);
        let gaps = attachment.gaps();
        let trusted = trust::is_installed(&self.config.lock().state_dir);
        Ok(Moved { name: name.to_owned(), cgroup: cgroup.path, gaps, trusted })
    }

    /// Ends an attachment and its cgroup once a process has ended and nobody is left inside.
    pub(super) fn tie(self: &Arc<Self>, name: &str, cgroup: Cgroup, caller: &Caller, rest: Rest) {
        let (warden, name, held) = (Arc::clone(self), name.to_owned(), Arc::clone(&caller.held));
        tokio::spawn(async move {
            while process::is_alive(&held) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let path = warden.hierarchy.full_path(&cgroup);
            if rest == Rest::Killed {
                cgroup::end_all(&path).await;
            }
            // Removed before its hooks are: nobody can come in between the last look and the end of the attachment.
            while warden.hierarchy.path_of(cgroup.id).is_some() && cgroup::remove(&path).is_err() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let attached = warden.attachments.lock().get(&name).and_then(|attachment| attachment.cgroup());
            if attached.is_some_and(|attached| attached.id == cgroup.id)
                && let Err(error) = warden.detach(&name, "its command ended").await
            {
                let error = &error as &dyn std::error::Error;
                tracing::error!(attachment = name, error, "cannot detach what nobody is in any more");
            }
        });
    }
}
