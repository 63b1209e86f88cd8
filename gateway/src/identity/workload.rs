//! A workload by its cgroup path.

use std::sync::Arc;

use crate::audit::event;
use crate::bridge::{AttachmentInfo, Connection};
use crate::identity::Verified;
use crate::identity::path::Names;
use crate::policy::{Principal, WorkloadFacts};

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Stable over runs: the attachment, and the unit in it where there is one.
    pub name: String,
    /// This run of it: the container id, else the innermost cgroup.
    pub instance: String,
    /// What root named its cgroup.
    names: Names,
    attachment: AttachmentInfo,
    token: Option<Arc<Verified>>,
}

impl Workload {
    /// From what the kernel noted.
    #[must_use]
    pub fn of(connection: &Connection, attachment: &AttachmentInfo) -> Self {
        let names = Names::of(&connection.named_by_root);
        let name = match &names.unit {
            Some(unit) => format!("{}/{unit}", attachment.name),
            None => attachment.name.clone(),
        };
        let instance = match &names.container {
            Some((_, id)) => id.clone(),
            None => connection.cgroup.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        Self { name, instance, names, attachment: attachment.clone(), token: None }
    }

    /// The same, who carries a token.
    ///
    /// # Errors
    /// Where the token was made for another pod than its cgroup is of.
    pub fn with_token(self, token: Arc<Verified>) -> Result<Self, String> {
        match &token.pod {
            Some(pod) if self.names.pod.as_deref() != Some(&*pod.uid) => {
                Err(format!("the token was made for the pod {}, and this is another", pod.name))
            }
            _ => Ok(Self { token: Some(token), ..self }),
        }
    }

    /// The token that it carries.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<Verified>> {
        self.token.as_ref()
    }

    /// The attachment that it runs in.
    #[must_use]
    pub fn attachment(&self) -> &AttachmentInfo {
        &self.attachment
    }

    /// As policies see it. Without a policy directory every workload is of the group that the `open` pack permits.
    #[must_use]
    pub fn principal(&self, extra_groups: &[&str]) -> Principal {
        let groups = self.groups().chain(extra_groups.iter().copied());
        let container = self.names.container.as_ref().map(|(runtime, id)| crate::policy::principal::Container {
            runtime: (*runtime).into(),
            id: id.as_str().into(),
            name: None,
            image: None,
        });
        Principal::new(WorkloadFacts {
            name: self.name.as_str().into(),
            attachment: self.attachment.name.as_str().into(),
            groups: groups.map(Into::into).collect(),
            unit: self.names.unit.as_deref().map(Into::into),
            container,
            pod: self.token.as_ref().and_then(|token| token.pod.clone()),
            token: self.token.as_ref().map(|token| token.token.clone()),
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
            container: self.container(),
            uid: connection.uid,
            pid: connection.pid,
            executable: connection.executable.clone(),
            token: self.token.as_ref().map(|token| token.event()),
            groups: self.groups().map(str::to_owned).collect(),
        }
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        let of_token = self.token.iter().flat_map(|token| token.groups.iter().map(AsRef::as_ref));
        self.attachment.groups.iter().map(String::as_str).chain(of_token)
    }

    fn container(&self) -> Option<event::Container> {
        let Names { pod, container, .. } = &self.names;
        let id = container.as_ref().map(|(_, id)| id.clone());
        (id.is_some() || pod.is_some()).then(|| event::Container {
            id: id.unwrap_or_default(),
            pod_uid: pod.clone().unwrap_or_default(),
            ..Default::default()
        })
    }

    /// Whether policies decide without blocking.
    #[must_use]
    pub fn observed(&self) -> bool {
        self.attachment.observe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(cgroup: &str) -> Workload {
        let connection = Connection {
            attachment: "agents".into(),
            cgroup: cgroup.into(),
            named_by_root: cgroup.into(),
            cgroup_id: 1,
            netns: 1,
            original: "10.0.0.5:5432".parse().unwrap(),
            client: "127.0.0.1:40000".parse().unwrap(),
            pid: 1,
            uid: 1,
            executable: "psql".into(),
            verdict: 3,
        };
        let attachment = AttachmentInfo { name: "agents".into(), groups: Vec::new(), observe: false, token_file: None };
        Workload::of(&connection, &attachment)
    }

    #[test]
    fn names_the_systemd_unit() {
        let found = workload("/agents.slice/claude.service");
        assert_eq!((found.name.as_str(), found.instance.as_str()), ("agents/claude.service", "claude.service"));
    }

    #[test]
    fn events_tell_container_and_pod() {
        let id = "0123456789abcdef".repeat(4);
        let pod = "2f1c4d1e_9a5b_4c7d_8e6f_0a1b2c3d4e5f";
        let found = workload(&format!("/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{id}.scope"));
        assert_eq!((found.name.as_str(), &found.instance), ("agents", &id));
        let container = found.container().unwrap();
        assert_eq!((container.id, container.pod_uid), (id, pod.replace('_', "-")));
    }

    #[test]
    fn a_cgroup_that_is_gone_leaves_the_attachment() {
        assert_eq!(workload("").name, "agents");
    }
}
