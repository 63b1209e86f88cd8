//! What of credentials a runtime can read by itself, as `gateway target check` tells it.

use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::world::{As, NAME, World};

const HUSH: &str = "hush-hush-hush";

/// Puts a user on the access list of a file (acl(5), linux/posix_acl_xattr.h).
const LET_READ: &str = r#"
import os, struct, sys
none = 2 ** 32 - 1
entries = [(1, 6, none), (2, 4, int(sys.argv[2])), (4, 0, none), (16, 4, none), (32, 0, none)]
os.setxattr(sys.argv[1], "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries))
"#;

/// A process in the attached cgroup that waits, with these variables.
fn sleeper(world: &World, how: As<'_>, variables: &[&str]) -> Child {
    let cgroup = world.cgroup();
    let mut command: Command = world.command_as(As { cgroup: Some(&cgroup), ..how });
    command.args(["env", "-i", "PATH=/usr/bin:/bin", "HOME=/run/home"]).args(variables).args(["sleep", "600"]);
    command.stdin(Stdio::null()).spawn().unwrap()
}

fn check(world: &World) -> (Option<i32>, Value) {
    let said = world.cli(&["--json", "target", "check"]);
    assert!(!said.out.contains(HUSH) && !said.err.contains(HUSH), "{said:?}");
    let checked: Value = serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    (said.status.code(), checked["runtimes"][0].clone())
}

/// What is open to a user: kind and path.
fn open_to(seen: &Value, uid: u32) -> Vec<(String, String)> {
    let eyes = seen["eyes"].as_array().unwrap().iter().find(|eyes| eyes["uid"] == uid);
    let eyes = eyes.unwrap_or_else(|| panic!("{uid}: {seen:#}"));
    assert_eq!(eyes["error"], Value::Null, "{seen:#}");
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    eyes["open"].as_array().unwrap().iter().map(|one| (text(one, "kind"), text(one, "path"))).collect()
}

fn waits(world: &World, count: usize) {
    crate::wait::until("processes inside", || {
        let said = world.cli_json(&["status"]);
        said["attachments"][0]["processes"].as_u64() >= Some(count as u64)
            && world.sh("pgrep -x sleep | wc -l").trim().parse::<usize>().unwrap() >= count
    });
}

#[test]
fn what_a_runtime_can_read_is_told_by_path_and_what_it_cannot_is_not() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let (agent, alice) = (world.uid(), world.uid_of("alice"));
    world.sh(&format!(
        "cd /run/home; mkdir -p .ssh .kube .aws closed; echo {HUSH} > .pgpass; echo {HUSH} > .kube/config; echo {HUSH} > .aws/credentials
         ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519; ssh-keygen -q -t ed25519 -N '{HUSH}' -f .ssh/deploy
         echo {HUSH} > closed/netrc; echo {HUSH} > .netrc; echo {HUSH} > by-list; echo {HUSH} > .vault-token
         chown -R {agent} .; chmod 600 .pgpass .ssh/* .kube/config; chown root .netrc .vault-token closed; chmod 600 .netrc .vault-token
         chmod 700 closed; ln -s /run/home/closed/netrc .git-credentials
         chown root by-list; chmod 600 by-list"
    ));
    world.sh(&format!("python3 -c '{LET_READ}' /run/home/by-list {agent}"));
    let socket = UnixListener::bind(world.directory().join("agent.sock")).unwrap();
    let socket_path = world.directory().join("agent.sock");
    world.sh(&format!("chmod 777 {}; chmod 711 {}", socket_path.display(), world.directory().display()));
    let variables = [
        format!("GITHUB_TOKEN={HUSH}"),
        "PGPASSFILE=/run/home/by-list".to_owned(),
        format!("SSH_AUTH_SOCK={}", socket_path.display()),
    ];
    let variables: Vec<_> = variables.iter().map(String::as_str).collect();
    let mut children = vec![sleeper(&world, As::default(), &variables)];
    children.push(sleeper(&world, As { user: "alice", ..As::default() }, &[]));
    waits(&world, 2);
    let (code, seen) = check(&world);
    assert_eq!((code, &seen["attachment"]), (Some(1), &NAME.into()));
    let path = |name: &str| format!("/run/home/{name}");
    let wanted = [
        ("agent_socket", socket_path.display().to_string()),
        ("cloud", path(".aws/credentials")),
        ("kubeconfig", path(".kube/config")),
        ("pgpass", path(".pgpass")),
        ("pgpass", path("by-list")),
        ("ssh_key", path(".ssh/deploy")),
        ("ssh_key", path(".ssh/id_ed25519")),
        ("variable", "GITHUB_TOKEN".to_owned()),
    ];
    assert_eq!(open_to(&seen, agent), wanted.map(|(kind, path)| (kind.to_owned(), path)), "{seen:#}");
    let said = seen.to_string();
    assert!(said.contains("which nothing protects") && said.contains("which a passphrase protects"), "{said}");
    // Of the same home, what is closed to another user is not told of them.
    assert_eq!(open_to(&seen, alice), [("cloud".to_owned(), path(".aws/credentials"))], "{seen:#}");
    let page = world.cli(&["target", "check"]);
    assert!(page.out.contains("/run/home/.pgpass: passwords of Postgres servers"), "{page:?}");
    drop(socket);
    children.iter_mut().for_each(|child| _ = child.kill());
    children.iter_mut().for_each(|child| _ = child.wait());
}

#[test]
fn who_looks_sees_the_mounts_that_the_runtime_sees() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let agent = world.uid();
    // A mount of its own hides one file and shows another.
    let hide = "mkdir -p /run/other; cp -a /run/home/. /run/other; rm /run/other/.pgpass; echo x > /run/other/.my.cnf; mount --bind /run/other /run/home; exec \"$@\"";
    world.sh(&format!("echo {HUSH} > /run/home/.pgpass; chown -R {agent} /run/home"));
    let mut hidden =
        sleeper(&world, As { through: &["unshare", "--mount", "sh", "-ec", hide, "sh"], ..As::default() }, &[]);
    waits(&world, 1);
    let (_, seen) = check(&world);
    assert_eq!(open_to(&seen, agent), [("mysql".to_owned(), "/run/home/.my.cnf".to_owned())], "{seen:#}");
    let _ = hidden.kill();
    let _ = hidden.wait();
}
