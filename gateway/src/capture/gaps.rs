//! Ways around us that no hook closes (G1, G7): found, named, and refused unless the operator accepts them by name.
//!
//! In: the processes of a subtree. Out: gaps, each with a name for `accept_gaps` and a sentence for people. What is
//! found here is how things stand now; `health` looks again.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::host::process::{self, Process};
use crate::host::terminal;

/// Sockets of services that start processes elsewhere on behalf of who may write to them. Paths as the process sees
/// them; `{uid}` is its user.
const LAUNCHERS: [(&str, &str); 10] = [
    ("docker_socket", "run/docker.sock"),
    ("podman_socket", "run/podman/podman.sock"),
    ("podman_socket", "run/user/{uid}/podman/podman.sock"),
    ("containerd_socket", "run/containerd/containerd.sock"),
    ("crio_socket", "run/crio/crio.sock"),
    ("systemd_socket", "run/systemd/private"),
    ("systemd_socket", "run/user/{uid}/systemd/private"),
    ("dbus_socket", "run/user/{uid}/bus"),
    ("libvirt_socket", "run/libvirt/libvirt-sock"),
    ("lxd_socket", "var/lib/lxd/unix.socket"),
];

/// Linux where each socket has its cgroup and its net_cls/net_prio data beside each other (8520e224f547): before, a
/// task that joined a non-root group of either v1 controller made all hooks pass its sockets by.
const SEPARATE_CGROUP_DATA: (u32, u32) = (5, 15);

/// The name of the gap that an approver's uid inside is.
pub const APPROVER_UID: &str = "approver_uid";

/// The name of the gap that a kernel without LSM hooks is. No attach is refused for it: to use what it leaves open somebody
/// outside has to hand a socket in or to serve one. The exception is a name of its own, that of the capability.
const NO_LSM_HOOKS: &str = "no_lsm_hooks";
/// Refused for neither: it is the cgroup that was asked for.
const NEW_CGROUP_ON_RESTART: &str = "new_cgroup_on_restart";
const NET_RAW: &str = "cap_net_raw";

/// A way around.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gap {
    /// For `accept_gaps`.
    pub name: String,
    /// What is the matter, and how to close it.
    pub detail: String,
}

/// Names of users who approve held requests, by uid.
pub type Approvers = BTreeMap<u32, String>;

/// The gaps of the host and its configuration, whatever is attached.
#[must_use]
pub fn of_host(config: &Config) -> Vec<Gap> {
    let mut found = Vec::new();
    let mut gap = |name: &str, detail: String| found.push(Gap { name: name.to_owned(), detail });
    if config.clickhouse.is_none() {
        let detail =
            "the record is on this host alone: who takes the host over can remove it; copy it with [audit.clickhouse]";
        gap("record_on_this_host", detail.to_owned());
    }
    if let Some(unread) = config.egress.passthrough.first() {
        let detail = format!(
            "connections to {}:{} and what else [egress] passthrough lists are neither judged nor read; declare a target instead",
            unread.network,
            unread.port.unwrap_or_default()
        );
        gap("passthrough", detail);
    }
    let by_name = config.targets.iter().filter(|target| !target.names.is_empty());
    if let Some(target) = by_name.clone().next().filter(|_| config.egress.allow_by_default) {
        let detail = format!(
            "the target `{}` is declared by name while [egress] allows all else: who has its address from elsewhere reaches it undeclared, and ports of it that no protocol protects unseen; declare its addresses, or set default = \"deny\"",
            target.name
        );
        gap("target_by_name", detail);
    }
    found
}

/// What is left open where there are no LSM hooks, and why there are none.
#[must_use]
pub fn without_lsm(reason: &str) -> String {
    format!(
        "{reason}; without them nothing refuses sockets that are passed in from outside, unix sockets of programs outside, nor packet sockets (they need cap_net_raw), vsock and other address families"
    )
}

/// The gaps of a subtree with these processes. `no_lsm`: why it has no LSM hooks, where it has none.
#[must_use]
pub fn find(pids: &[i32], approvers: &Approvers, no_lsm: Option<&str>) -> Vec<Gap> {
    let inside: Vec<Process> = pids.iter().copied().filter_map(Process::read).collect();
    let mut found = BTreeMap::new();
    for process in &inside {
        of_credentials(process, &mut found);
        of_launchers(process, &mut found);
        for (uid, name) in approvers.iter().filter(|(uid, _)| process.uids.contains(uid)) {
            of_approver(*uid, name, &mut found);
        }
    }
    if no_lsm.is_some() {
        of_packet_sockets(&inside, &mut found);
    }
    of_same_user(&inside, pids, &mut found);
    of_old_controllers(&mut found);
    let noted = no_lsm.map(|reason| Gap { name: NO_LSM_HOOKS.to_owned(), detail: without_lsm(reason) });
    found.into_iter().map(|(name, detail)| Gap { name, detail }).chain(noted).collect()
}

/// The gaps that a process of a user would have, before there is one.
#[must_use]
pub fn of_user(uid: u32, groups: &[u32]) -> Vec<Gap> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Some(process) = Process::read(own).map(|process| process.as_user(uid, groups)) else { return Vec::new() };
    let mut found = BTreeMap::new();
    of_credentials(&process, &mut found);
    of_launchers(&process, &mut found);
    of_same_user(&[process], &[], &mut found);
    found.into_iter().map(|(name, detail)| Gap { name, detail }).collect()
}

/// The gap of a terminal that a subtree with these processes shares with a process outside: `exec` takes typing away.
#[must_use]
pub fn of_terminal(pids: &[i32]) -> Option<Gap> {
    let (pid, other) = terminal::shared(pids)?;
    let detail = format!(
        "process {pid} shares its terminal with process {other} outside and can type what that one reads, such as commands: start it in a terminal of its own, by `gateway exec`, or set dev.tty.legacy_tiocsti to 0"
    );
    Some(Gap { name: "shared_terminal".to_owned(), detail })
}

/// The gap of a cgroup that its service manager or engine removes, and makes anew for what starts again.
#[must_use]
pub fn of_restarts(path: &str) -> Gap {
    let detail = format!(
        "what runs in `{path}` gets a new cgroup when it starts again, and is not intercepted until that is noticed: attach to the cgroup above it, or name it in `[[attach]]`"
    );
    Gap { name: NEW_CGROUP_ON_RESTART.to_owned(), detail }
}

/// The gap of a process that is to run as an approver.
#[must_use]
pub fn of_future_approver(uid: u32, approvers: &Approvers) -> Option<Gap> {
    let mut found = BTreeMap::new();
    of_approver(uid, approvers.get(&uid)?, &mut found);
    found.into_iter().map(|(name, detail)| Gap { name, detail }).next()
}

/// Those that the operator has not accepted, and that have to be.
#[must_use]
pub fn not_accepted<'g>(gaps: &'g [Gap], accepted: &BTreeSet<String>) -> Vec<&'g Gap> {
    // Who attaches to a service's or container's own cgroup has said so.
    let noted = |gap: &Gap| gap.name == NO_LSM_HOOKS || gap.name == NEW_CGROUP_ON_RESTART;
    gaps.iter().filter(|gap| !noted(gap) && !accepted.contains(&gap.name)).collect()
}

fn of_credentials(process: &Process, found: &mut BTreeMap<String, String>) {
    let pid = process.pid;
    if process.is_root() {
        let detail = format!("process {pid} is root of this host and can undo anything: run it as a user of its own");
        found.entry("root_process".into()).or_insert(detail);
        if can_do_all(process) {
            return;
        }
    }
    for capability in process.escaping_capabilities() {
        let detail = format!("process {pid} holds {capability} on this host and can get around the hooks: drop it");
        found.entry(capability.into()).or_insert(detail);
    }
}

/// Root with CAP_SYS_ADMIN needs no other capability. Root of a container has some of them alone: who accepts it has not
/// accepted more than what the files of root give.
fn can_do_all(process: &Process) -> bool {
    process.is_root() && process.escaping_capabilities().contains(&"cap_sys_admin")
}

fn of_packet_sockets(inside: &[Process], found: &mut BTreeMap<String, String>) {
    if let Some(process) = inside.iter().find(|process| !can_do_all(process) && process.holds_net_raw()) {
        let detail = format!(
            "process {} holds {NET_RAW}, and nothing here refuses packet sockets, which no other hook sees: drop it",
            process.pid
        );
        found.insert(NET_RAW.into(), detail);
    }
}

/// The control socket refuses whoever is inside, and knows a person by the uid alone: what cron, at or ssh starts
/// outside for a process inside is that person.
fn of_approver(uid: u32, name: &str, found: &mut BTreeMap<String, String>) {
    // Root's is the gap of a root process.
    if uid != 0 {
        let detail = format!(
            "a process runs as {name} (uid {uid}), who approves held requests, and could have its own approved from outside, by cron, at or ssh: run it as a user of its own"
        );
        found.insert(APPROVER_UID.into(), detail);
    }
}

fn of_launchers(process: &Process, found: &mut BTreeMap<String, String>) {
    if process.is_root() {
        return;
    }
    for (name, path) in LAUNCHERS {
        let path = path.replace("{uid}", &process.uid.to_string());
        if may_write(process, &PathBuf::from(format!("/proc/{}/root/{path}", process.pid))) {
            let detail = format!(
                "process {} (uid {}) can write to /{path} and have a process started outside: hide it or take the right away",
                process.pid, process.uid
            );
            found.entry(name.into()).or_insert(detail);
        }
    }
}

fn may_write(process: &Process, path: &std::path::Path) -> bool {
    let Ok(socket) = fs::metadata(path) else { return false };
    let mode = socket.mode();
    (mode & 0o200 != 0 && socket.uid() == process.uid)
        || (mode & 0o020 != 0 && process.groups.contains(&socket.gid()))
        || mode & 0o002 != 0
}

/// A process outside with the same user can be driven by ptrace(2), unless Yama forbids it.
fn of_same_user(inside: &[Process], pids: &[i32], found: &mut BTreeMap<String, String>) {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if matches!(scope.trim(), "1" | "2" | "3") {
        return;
    }
    let uids: HashSet<u32> = inside.iter().filter(|process| !process.is_root()).map(|process| process.uid).collect();
    let pids: HashSet<i32> = pids.iter().copied().collect();
    let outside = process::all().filter(|pid| !pids.contains(pid)).filter_map(Process::read);
    if let Some(other) = outside.into_iter().find(|other| uids.contains(&other.uid)) {
        let detail = format!(
            "process {} outside has the same uid {} and may be traced from inside: use a user of its own, or set kernel.yama.ptrace_scope to 1",
            other.pid, other.uid
        );
        found.insert("same_uid_process".into(), detail);
    }
}

fn of_old_controllers(found: &mut BTreeMap<String, String>) {
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    if !separates_cgroup_data() && uses_old_network_controllers(&table) {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let detail = format!(
            "Linux {release} lets sockets pass every hook while net_cls or net_prio (cgroup v1) is in use: disable both"
        );
        found.insert("net_prio_cgroup".into(), detail);
    }
}

/// Whether a socket keeps its cgroup when net_cls or net_prio marks it.
#[must_use]
pub fn separates_cgroup_data() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= SEPARATE_CGROUP_DATA
}

/// Reads `/proc/cgroups`: name, hierarchy, number of groups, enabled. Hierarchy 0 is cgroup v2, where a controller that
/// nobody mounted is listed with the groups of v2.
fn uses_old_network_controllers(table: &str) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let is_one = matches!(fields.next(), Some("net_cls" | "net_prio"));
        let mut numbers = fields.map(|number| number.parse::<u32>().unwrap_or(u32::MAX));
        is_one && numbers.next() != Some(0) && numbers.next().is_none_or(|groups| groups > 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_network_controllers_count_where_a_v1_hierarchy_has_groups() {
        let table = |line: &str| format!("#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t3\t40\t1\n{line}\n");
        for (line, used) in [
            ("net_prio\t7\t2\t1", true),
            ("net_cls\t7\t9\t1", true),
            ("net_prio\t7\t1\t1", false),
            ("net_prio\t0\t54\t1", false),
            ("net_prio", true),
        ] {
            assert_eq!(uses_old_network_controllers(&table(line)), used, "{line}");
        }
    }

    #[test]
    fn names_a_root_process_and_wants_it_accepted() {
        let own = i32::try_from(std::process::id()).unwrap();
        let gaps = find(&[own], &Approvers::new(), None);
        assert!(gaps.iter().any(|gap| gap.name == "root_process"), "{gaps:?}");
        assert!(!not_accepted(&gaps, &BTreeSet::new()).is_empty());
        let accepted = gaps.iter().map(|gap| gap.name.clone()).collect();
        assert!(not_accepted(&gaps, &accepted).is_empty());
    }

    #[test]
    fn a_kernel_without_lsm_hooks_is_named_and_refuses_only_who_may_make_packet_sockets() {
        let mut child = std::process::Command::new("setpriv")
            .args(["--reuid=61235", "--clear-groups", "--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw"])
            .args(["sleep", "60"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while process::executable(pid).is_none_or(|path| !path.ends_with("sleep")) {
            std::thread::yield_now();
        }
        let refused = |no_lsm| {
            let gaps = find(&[pid], &Approvers::new(), no_lsm);
            assert_eq!(gaps.iter().any(|gap| gap.name == NO_LSM_HOOKS && gap.detail.contains("why")), no_lsm.is_some());
            let refused = not_accepted(&gaps, &BTreeSet::new());
            refused.into_iter().map(|gap| gap.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!((refused(Some("why")), refused(None)), (vec![NET_RAW.to_owned()], vec![]));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn names_the_capabilities_of_a_root_that_has_some_of_them() {
        let gaps_of = |capabilities: &[&str]| {
            let kept = capabilities.iter().fold("-all".to_owned(), |all, one| format!("{all},+{one}"));
            let mut child = std::process::Command::new("setpriv")
                .args([format!("--bounding-set={kept}"), "sleep".into(), "60".into()])
                .spawn()
                .unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            while !process::executable(pid).is_some_and(|program| program.ends_with("sleep")) {
                std::thread::yield_now();
            }
            let gaps = find(&[pid], &Approvers::new(), Some("why"));
            child.kill().unwrap();
            child.wait().unwrap();
            gaps.into_iter().filter(|gap| gap.name != NO_LSM_HOOKS).map(|gap| gap.name).collect::<Vec<_>>()
        };
        // What engines give to root of a container by default, some of it.
        assert_eq!(gaps_of(&["chown", "dac_override", "setuid"]), ["root_process"]);
        assert_eq!(
            gaps_of(&["dac_override", "net_admin", "net_raw"]),
            ["cap_net_admin", "cap_net_raw", "root_process"]
        );
        assert_eq!(gaps_of(&["net_admin", "sys_admin"]), ["root_process"], "which is all of it");
    }

    #[test]
    fn names_a_process_of_an_approver_but_not_of_root() {
        let mut child = std::process::Command::new("setpriv")
            .args(["--reuid=61235", "--clear-groups", "sleep", "60"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while Process::read(pid).unwrap().uid != 61_235 {
            std::thread::yield_now();
        }
        let has = |gaps: Vec<Gap>| gaps.iter().any(|gap| gap.name == APPROVER_UID && gap.detail.contains("alice"));
        let approvers = |uid| Approvers::from([(uid, "alice".to_owned())]);
        assert!(has(find(&[pid], &approvers(61_235), None)));
        assert!(!has(find(&[pid], &approvers(61_236), None)));
        assert!(!has(find(&[i32::try_from(std::process::id()).unwrap()], &approvers(0), None)));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn finds_a_socket_that_the_user_may_write_to() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut process = Process::read(i32::try_from(child.id()).unwrap()).unwrap();
        process.uid = 61_234;
        process.groups.clear();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let set = |mode: u32| {
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            may_write(&process, &path)
        };
        assert!(set(0o666));
        assert!(!set(0o660));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
