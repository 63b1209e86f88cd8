//! What the path of a cgroup says of who is in it.
//!
//! In: the levels of a cgroup v2 path that root named. Out: the systemd unit, the pod and the container that they stand
//! for, first match from the top. What lies below a container, a service or a scope is named by whoever runs in it, so
//! nothing there is read, but for the services of container engines. A level that nobody knows says nothing.

/// How engines begin the name of a container's level, and how the engine is called. With the systemd driver the level is
/// `PREFIX-ID.scope`, with the cgroupfs driver `PREFIX-ID` or the id alone, and where the two are mixed
/// `SLICE:PREFIX:ID`.
const ENGINES: [(&str, &str); 5] = [
    ("docker", "docker"),
    ("libpod", "podman"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
];
/// Services below which engines make the levels of their containers, where systemd does not make them.
const ENGINE_SERVICES: [&str; 8] = [
    "containerd.service",
    "crio.service",
    "docker.service",
    "k3s-agent.service",
    "k3s.service",
    "kubelet.service",
    "podman.service",
    "rke2-server.service",
];
/// Digits of a container id.
const CONTAINER_ID: usize = 64;

/// What a path says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The systemd service.
    pub unit: Option<String>,
    /// The uid of the Kubernetes pod.
    pub pod: Option<String>,
    /// Engine and id of the container.
    pub container: Option<(&'static str, String)>,
}

impl Names {
    /// Reads a path, or the part of one that root named.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let mut names = Self::default();
        let mut parent = "";
        for level in path.split('/').filter(|level| !level.is_empty()) {
            names.pod = names.pod.or_else(|| pod(level, path));
            names.container = container_in(level, parent);
            if names.container.is_some() {
                // The engine's own service is not what runs in its container.
                names.unit = None;
                return names;
            }
            if level.ends_with(".scope") {
                return names;
            }
            if level.ends_with(".service") {
                // A user's manager names what lies below it as that user likes.
                let is_unit = names.unit.is_none() && !level.starts_with("user@");
                names.unit = names.unit.or_else(|| is_unit.then(|| level.to_owned()));
                if !is_unit || !ENGINE_SERVICES.contains(&level) {
                    return names;
                }
            }
            parent = level;
        }
        names
    }
}

/// Engine and id of the container whose cgroup has this name. What watches a container, such as podman's
/// `libpod-conmon-ID.scope`, is not it.
#[must_use]
pub fn container(level: &str) -> Option<(&'static str, String)> {
    container_in(level, "")
}

fn container_in(level: &str, parent: &str) -> Option<(&'static str, String)> {
    if let Some(name) = level.strip_prefix("lxc.payload.") {
        return Some(("lxc", name.to_owned()));
    }
    if is_id(level) {
        let engine = ENGINES.iter().find(|(prefix, _)| *prefix == parent);
        return Some((engine.map_or("unknown", |(_, name)| name), level.to_owned()));
    }
    if let Some((slice, rest)) = level.split_once(':') {
        let (prefix, id) = rest.split_once(':')?;
        let engine = ENGINES.iter().find(|(known, _)| *known == prefix)?;
        return (slice.ends_with(".slice") && is_id(id)).then(|| (engine.1, id.to_owned()));
    }
    let name = level.strip_suffix(".scope").unwrap_or(level);
    let (prefix, id) = name.rsplit_once('-').filter(|(_, id)| is_id(id))?;
    ENGINES.iter().find(|(known, _)| *known == prefix).map(|(_, engine)| (*engine, id.to_owned()))
}

fn is_id(text: &str) -> bool {
    text.len() == CONTAINER_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The uid of the pod whose cgroup has this name: `…-podUID.slice`, in which `_` stands for `-`, or `podUID` below
/// `kubepods`. Pods of files have the 32 digits of a hash.
fn pod(level: &str, path: &str) -> Option<String> {
    if !path.split(['/', '-']).any(|part| part == "kubepods" || part == "kubepods.slice") {
        return None;
    }
    let slice = level.split_once(':').map_or(level, |(slice, _)| slice);
    let uid = match slice.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        None => level.strip_prefix("pod")?.to_owned(),
    };
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_uid = digits == 32 && uid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const UID: &str = "2f1c4d1e-9a5b-4c7d-8e6f-0a1b2c3d4e5f";
    const FILE: &str = "7b1f0c2a9d8e4f6071a2b3c4d5e6f708";

    /// Real paths, ID and UID (UID_ with `_` for `-`) left out: unit, pod, engine. `-` is none.
    ///
    /// Docker: docs.docker.com, "Runtime metrics". Podman: podman-run(1), `--cgroups` and libpod's `libpod-` prefix.
    /// Kubernetes: kubelet, `cgroup_manager_linux.go` (escaping of `-`); containerd, `cri-containerd` prefix of its CRI
    /// plugin; CRI-O, `crio-` prefix of its cgroup managers. LXC: lxc.container.conf(5), `lxc.cgroup.dir`.
    const PATHS: &str = "
        /agents.slice/claude.service                                                        claude.service  -    -
        /system.slice/system-agent.slice/agent@7.service                                    agent@7.service -    -
        /user.slice/user-1000.slice/session-3.scope                                         -               -    -
        /user.slice/user-1000.slice/user@1000.service/app.slice/claude.service              -               -    -
        /system.slice/docker-ID.scope                                                       -               -    docker
        /docker/ID                                                                          -               -    docker
        /system.slice/docker.service                                                        docker.service  -    -
        /machine.slice/libpod-ID.scope/container                                            -               -    podman
        /machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope                          -               -    podman
        /machine.slice/libpod-conmon-ID.scope                                               -               -    -
        /libpod_parent/libpod-ID                                                            -               -    podman
        /user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope            -               -    -
        /system.slice/nerdctl-ID.scope                                                      -               -    containerd
        /default/ID                                                                         -               -    unknown
        /kubepods.slice/kubepods-podUID_.slice/cri-containerd-ID.scope                      -               UID  containerd
        /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope   - UID containerd
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podFILE.slice/crio-ID.scope           - FILE cri-o
        /kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID_.slice/docker-ID.scope         - UID docker
        /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/crio-conmon-ID.scope      - UID -
        /kubepods/burstable/podUID/ID                                                       -               UID  unknown
        /kubepods/besteffort/podUID/crio-ID                                                 -               UID  cri-o
        /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope        - UID containerd
        /system.slice/containerd.service/kubepods-burstable-podUID_.slice:cri-containerd:ID -               UID  containerd
        /system.slice/k3s.service/kubepods/podUID/ID                                        -               UID  unknown
        /docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope - - docker
        /lxc.payload.build7/system.slice/runner.service                                     -               -    lxc
        /system.slice/systemd-nspawn@box.service/payload/system.slice/x.service             systemd-nspawn@box.service - -
        /gateway.slice/exec-1                                                               -               -    -
        /                                                                                   -               -    -
    ";

    #[test]
    fn real_paths_are_named_right() {
        for line in PATHS.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let path = fields[0].replace("UID_", &UID.replace('-', "_")).replace("UID", UID);
            let path = path.replace("FILE", FILE).replace("ID", ID);
            // A user's own levels are not of root's making, and the path ends before them.
            let path = path.split_once("user@1000.service/").map_or(path.as_str(), |(before, _)| before);
            let some = |field: &str| (field != "-").then(|| field.replace("UID", UID).replace("FILE", FILE));
            let names = Names::of(path);
            let engine = names.container.as_ref().map(|(engine, _)| (*engine).to_owned());
            assert_eq!((names.unit, names.pod, engine), (some(fields[1]), some(fields[2]), some(fields[3])), "{line}");
            assert!(names.container.is_none_or(|(_, id)| id == ID || id == "build7"), "{line}");
        }
    }

    #[test]
    fn what_a_runtime_makes_inside_names_nothing() {
        let inner = ID.replace('0', "f");
        let inside = format!("/system.slice/docker-{ID}.scope/docker-{inner}.scope/trusted.service");
        let names = Names::of(&inside);
        assert_eq!((names.unit, names.container), (None, Some(("docker", ID.to_owned()))));
        let names = Names::of(&format!("/agents.slice/claude.service/trusted.service/docker-{ID}.scope"));
        assert_eq!((names.unit.as_deref(), names.container), (Some("claude.service"), None));
        let names = Names::of("/user.slice/user-1000.slice/session-3.scope/trusted.service");
        assert_eq!(names, Names::default());
        let names = Names::of("/user.slice/user-1000.slice/user@1000.service/app.slice/trusted.service");
        assert_eq!(names, Names::default());
    }

    #[test]
    fn what_only_looks_like_a_name_is_none() {
        for path in [
            format!("/system.slice/docker-{}.scope", &ID[1..]),
            format!("/system.slice/mydocker-{ID}.scope"),
            format!("/system.slice/x:docker:{ID}"),
            format!("/system.slice/x.slice:evil:{ID}"),
            format!("/agents/pod{UID}"),
            "/kubepods/podzz".to_owned(),
        ] {
            assert_eq!(Names::of(&path), Names::default(), "{path}");
        }
    }
}
