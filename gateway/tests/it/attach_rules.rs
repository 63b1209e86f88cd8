//! What may be attached, and what is said of the rest.

use std::os::unix::fs::chown;

use crate::world::{As, NAME, World};

#[test]
fn a_subtree_has_one_attachment_and_a_name_one_subtree() {
    let world = World::new();
    let other = world.top().join("other");
    let below = world.cgroup().join("below");
    std::fs::create_dir(&other).unwrap();
    std::fs::create_dir(&below).unwrap();
    let _gateway = world.attach(&[]);
    for overlapping in [&world.cgroup(), &below, world.top()] {
        let said = world.cli(&["attach", "--cgroup", overlapping.to_str().unwrap(), "--name", "second"]);
        assert!(!said.status.success() && said.err.contains("overlaps"), "{said:?}");
        assert!(said.err.contains(NAME), "{said:?}");
    }
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", NAME]);
    assert!(!said.status.success() && said.err.contains("is attached already"), "{said:?}");
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "a b"]);
    assert!(!said.status.success() && said.err.contains("is no name"), "{said:?}");
    let said = world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "second"]);
    assert!(said.status.success(), "{said:?}");
    let status = world.cli_json(&["status"]);
    assert_eq!(status["attachments"].as_array().unwrap().len(), 2, "{status}");
}

#[test]
fn the_gateway_does_not_attach_around_itself() {
    let world = World::new();
    let home = world.top().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut daemon = world.command_as(As { cgroup: Some(&home), root: true, ..As::default() });
    let mut daemon = daemon.args(["/run/it/gateway", "run"]).spawn().unwrap();
    crate::wait::until("the daemon", || world.cli(&["--json", "status"]).out.contains("engine_runs"));
    let said = world.cli(&["attach", "--cgroup", world.top().to_str().unwrap()]);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert!(!said.status.success() && said.err.contains("the gateway itself runs in"), "{said:?}");
}

#[test]
fn a_terminal_that_is_shared_with_a_process_outside_is_a_gap() {
    // Where nobody types, since Linux 6.2 if so configured, it is none.
    let is_gap = !std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|types| types.trim() == "0");
    let world = World::new();
    let cgroup = world.cgroup().display().to_string();
    let outcome = |inside: &str| {
        let script = format!(
            "{inside} & inside=$!; echo $inside > {cgroup}/cgroup.procs
             /run/it/gateway attach --cgroup {cgroup} --accept-gap root_process & gateway=$!
             for _ in $(seq 200); do kill -0 $gateway 2>/dev/null || break
                 test -n \"$(ls /sys/fs/bpf/gateway/v1 2>/dev/null)\" && break; sleep 0.1; done
             kill $gateway $inside; wait"
        );
        let script = world.file("script.sh", &script);
        let words = ["--quiet", "--command", &format!("sh {}", script.display()), "/dev/null"];
        let output = world.command("script").args(words).stdin(std::process::Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shared = outcome("sleep 60");
    assert_eq!(shared.contains("shared_terminal: "), is_gap, "{shared}");
    let own = outcome("setsid sleep 60");
    assert!(!own.contains("shared_terminal"), "{own}");
}

#[test]
fn a_subtree_that_its_user_can_leave_is_refused() {
    let world = World::new();
    let id = world.uid();
    for writable in [world.cgroup(), world.cgroup().join("cgroup.procs"), world.top().to_owned()] {
        chown(&writable, Some(id), Some(id)).unwrap();
        let said = world.cli(&["attach", "--cgroup", world.cgroup().to_str().unwrap()]);
        chown(&writable, Some(0), Some(0)).unwrap();
        assert!(!said.status.success(), "{said:?}");
        assert!(said.err.contains(&format!("uid {id} can leave")) && said.err.contains("gateway exec"), "{said:?}");
    }
    assert_eq!(world.pins(), "");
}

#[test]
fn ways_around_are_named_and_refused_until_they_are_accepted() {
    let world = World::new();
    let cgroup = world.cgroup();
    let inside = world.start(As { cgroup: Some(&cgroup), root: true, ..As::default() }, "agent");
    let said = world.cli(&["attach", "--cgroup", cgroup.to_str().unwrap(), "--name", NAME]);
    assert!(!said.status.success(), "{said:?}");
    let detail = format!("root_process: process {} is root", inside.pid());
    assert!(said.err.contains(&detail) && said.err.contains("accept_gaps"), "{said:?}");
    assert_eq!(world.pins(), "");
    let _gateway = world.attach(&["--accept-gap", "root_process"]);
    world.event("gap", |body| body["name"] == "root_process" && body["attachment"] == NAME);
    let status = world.cli_json(&["status"]);
    assert_eq!(status["attachments"][0]["gaps"][0]["name"], "root_process");
    assert!(world.cli(&["status"]).out.contains("root_process"));
}

/// Each of them alone undoes the hooks, or makes a user of this host its root.
const LEADING_OUT: [&str; 17] = [
    "bpf",
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "mknod",
    "net_admin",
    "perfmon",
    "setfcap",
    "setgid",
    "setuid",
    "sys_admin",
    "sys_boot",
    "sys_chroot",
    "sys_module",
    "sys_ptrace",
    "sys_rawio",
];

#[test]
fn capabilities_and_sockets_that_lead_out_are_gaps() {
    let world = World::new();
    let cgroup = world.cgroup();
    world.sh("touch /run/docker.sock; chmod 666 /run/docker.sock");
    let capabilities = LEADING_OUT.map(|name| format!("+{name}")).join(",");
    let _inside = world.start(As { cgroup: Some(&cgroup), capabilities: &capabilities, ..As::default() }, "agent");
    let said = world.cli(&["attach", "--cgroup", cgroup.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("docker_socket: "), "{said:?}");
    for name in LEADING_OUT {
        assert!(said.err.contains(&format!("cap_{name}: ")), "{name}: {said:?}");
    }
}

#[test]
fn one_gateway_runs_on_a_host() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let said = world.cli(&["run"]);
    assert!(!said.status.success() && said.err.contains("a gateway runs on this host already"), "{said:?}");
}

#[test]
fn a_cgroup_that_is_not_there_is_an_error_that_names_it() {
    let world = World::new();
    let said = world.cli(&["attach", "--cgroup", "/no/such/cgroup"]);
    assert!(!said.status.success() && said.err.contains("no/such/cgroup"), "{said:?}");
}
