//! A workload by its cgroup path.

use crate::audit::event;
use crate::bridge::{AttachmentInfo, Connection};
use crate::policy::{Principal, WorkloadFacts};

/// Prefixes of a level that a container engine makes on cgroup v2 with the systemd driver, and the engine's name.
const SCOPES: [(&str, &str); 4] =
    [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "crio")];
/// Digits of a container id.
const CONTAINER_ID: usize = 64;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Stable over runs: the attachment, and the unit in it where there is one.
    pub name: String,
    /// This run of it: the container id, else the innermost cgroup.
    pub instance: String,
    /// The systemd unit, of the first level from the top that is one.
    pub unit: Option<String>,
    /// Engine and id of the container.
    pub container: Option<(&'static str, String)>,
    attachment: AttachmentInfo,
}

impl Workload {
    /// From what the kernel noted.
    #[must_use]
    pub fn of(connection: &Connection, attachment: &AttachmentInfo) -> Self {
        let levels = || connection.cgroup.split('/').filter(|level| !level.is_empty());
        let unit = levels().find(|level| is_unit(level)).map(str::to_owned);
        let container = levels().find_map(container);
        let name = match &unit {
            Some(unit) => format!("{}/{unit}", attachment.name),
            None => attachment.name.clone(),
        };
        let instance = match &container {
            Some((_, id)) => id.clone(),
            None => levels().next_back().unwrap_or_default().to_owned(),
        };
        Self { name, instance, unit, container, attachment: attachment.clone() }
    }

    /// As policies see it. Without a policy directory every workload is of the group that the `open` pack permits.
    #[must_use]
    pub fn principal(&self, extra_groups: &[&str]) -> Principal {
        let groups = self.attachment.groups.iter().map(String::as_str).chain(extra_groups.iter().copied());
        let container = self.container.as_ref().map(|(runtime, id)| crate::policy::principal::Container {
            runtime: (*runtime).into(),
            id: id.as_str().into(),
            name: None,
            image: None,
        });
        Principal::new(WorkloadFacts {
            name: self.name.as_str().into(),
            attachment: self.attachment.name.as_str().into(),
            groups: groups.map(Into::into).collect(),
            unit: self.unit.as_deref().map(Into::into),
            container,
            ..WorkloadFacts::default()
        })
    }

    /// As events tell it.
    #[must_use]
    pub fn who(&self, connection: &Connection) -> event::Who {
        event::Who {
            attachment: self.attachment.name.clone(),
            workload: self.name.clone(),
            workload_instance: self.instance.clone(),
            cgroup: connection.cgroup.clone(),
            container: self.container.as_ref().map(|(_, id)| event::Container { id: id.clone(), ..Default::default() }),
            uid: connection.uid,
            pid: connection.pid,
            executable: connection.executable.clone(),
            token: None,
            groups: self.attachment.groups.clone(),
        }
    }

    /// Whether policies decide without blocking.
    #[must_use]
    pub fn observed(&self) -> bool {
        self.attachment.observe
    }
}

fn is_unit(level: &str) -> bool {
    level.ends_with(".service") && !level.starts_with("user@")
}

/// Engine and id of the container whose cgroup has this name. What watches a container, such as podman's
/// `libpod-conmon-ID.scope`, is not it.
#[must_use]
pub fn container(level: &str) -> Option<(&'static str, String)> {
    let is_id = |text: &str| text.len() == CONTAINER_ID && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id(level) {
        return Some(("unknown", level.to_owned()));
    }
    let scope = level.strip_suffix(".scope")?;
    SCOPES.iter().find_map(|(prefix, runtime)| {
        let id = scope.strip_prefix(prefix)?;
        is_id(id).then(|| (*runtime, id.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn workload(cgroup: &str) -> Workload {
        let connection = Connection {
            attachment: "agents".into(),
            cgroup: cgroup.into(),
            cgroup_id: 1,
            netns: 1,
            original: "10.0.0.5:5432".parse().unwrap(),
            client: "127.0.0.1:40000".parse().unwrap(),
            pid: 1,
            uid: 1,
            executable: "psql".into(),
            verdict: 3,
        };
        let attachment = AttachmentInfo { name: "agents".into(), groups: Vec::new(), observe: false };
        Workload::of(&connection, &attachment)
    }

    #[test]
    fn names_the_systemd_unit() {
        let found = workload("/agents.slice/claude.service");
        assert_eq!((found.name.as_str(), found.unit.as_deref()), ("agents/claude.service", Some("claude.service")));
        assert_eq!(found.instance, "claude.service");
    }

    #[test]
    fn names_containers_of_each_engine() {
        for (level, runtime) in [
            (format!("/system.slice/docker-{ID}.scope"), "docker"),
            (format!("/machine.slice/libpod-{ID}.scope/container"), "podman"),
            (format!("/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope"), "containerd"),
            (format!("/docker/{ID}"), "unknown"),
        ] {
            assert_eq!(workload(&level).container, Some((runtime, ID.to_owned())), "{level}");
        }
    }

    #[test]
    fn the_outermost_name_wins_over_what_a_runtime_makes_inside() {
        let inner = ID.replace('0', "f");
        let found = workload(&format!("/system.slice/docker-{ID}.scope/docker-{inner}.scope/evil.service"));
        assert_eq!(found.container.unwrap().1, ID);
    }

    #[test]
    fn a_cgroup_that_is_gone_leaves_the_attachment() {
        assert_eq!(workload("").name, "agents");
    }
}
