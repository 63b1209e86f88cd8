//! What the engine may do: the process that reads hostile bytes.

use std::fs;

use crate::world::World;

#[test]
fn the_engine_has_a_user_of_its_own_no_capability_and_a_filter() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.engine_pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let ids: Vec<u32> = field("Uid").split(' ').map(|id| id.parse().unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && *id != 0 && *id != world.uid()), "{ids:?}");
    assert!(!field("Gid").split(' ').any(|id| id == "0"));
    assert_eq!(field("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn all_threads_of_the_engine_are_filtered() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.engine_pid())).unwrap();
    let mut threads = 0;
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2") && status.contains("CapEff:\t0000000000000000"), "{status}");
        threads += 1;
    }
    assert!(threads > 1);
}

#[test]
fn the_engine_holds_no_file_but_its_journal() {
    let world = World::new();
    let gateway = world.attach(&[]);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", gateway.engine_pid())).unwrap();
    let links = descriptors.map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    let files: Vec<String> =
        links.map(|link| link.display().to_string()).filter(|link| link.starts_with('/')).collect();
    let (journals, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.ends_with(".jsonl"));
    assert_eq!(journals.len(), 1, "{files:?}");
    assert!(others.iter().all(|file| file.starts_with("/dev/null") || file.contains("err-")), "{others:?}");
}

#[test]
fn the_engine_is_not_started_by_hand() {
    let world = World::new();
    let mut command = world.command_as(crate::world::As::default());
    let output = command.args(["/run/it/gateway", "engine"]).stdin(std::process::Stdio::null()).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_journal_can_be_added_to_and_not_changed_even_by_root() {
    let world = World::new();
    let _gateway = world.attach(&[]);
    let files = world.sh("ls /var/lib/gateway/journal/*/*.jsonl");
    assert!(files.lines().count() >= 2, "the warden's and the engine's: {files}");
    for file in files.lines() {
        for change in [
            format!("truncate -s 0 {file}"),
            format!("dd if=/dev/zero of={file} conv=notrunc bs=1 count=1"),
            format!("rm -f {file}"),
        ] {
            let output = world.command("sh").args(["-c", &change]).output().unwrap();
            assert!(!output.status.success(), "{change}");
        }
    }
    assert!(world.cli(&["audit", "verify"]).status.success());
}
