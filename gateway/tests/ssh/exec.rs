//! Commands: what they print, how they end, what is kept of them.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::host::Host;
use crate::wait;

#[test]
fn a_command_prints_ends_and_is_kept_as_it_would_without_us() {
    let host = Host::new();
    let _gateway = host.attach();
    let ran = host.ssh(&["echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(7), "out\n", "err\n"), "{ran:?}");
    let event = &host.requests("exec")[0];
    assert_eq!(event["login"], "deploy");
    assert_eq!(event["text"], "echo out; echo err >&2; exit 7");
    assert_eq!(event["decision"]["verdict"], "allow");
    let outcome = host.world.event("ssh.outcome", |body| body["exit_status"] == 7);
    assert_eq!((&outcome["status"], &outcome["bytes_received"]), (&"error".into(), &8.into()));
    let used = host.world.event("credential.used", |_| true);
    assert!(used["server_identity"].as_str().unwrap().starts_with("host key SHA256:"), "{used}");
}

#[test]
fn a_signal_that_ends_a_command_is_told() {
    let host = Host::new();
    let _gateway = host.attach();
    let ran = host.ssh(&["kill -TERM $$"]);
    // As ssh does: no status came.
    assert_eq!(ran.code, Some(255), "{ran:?}");
    let outcome = host.world.event("ssh.outcome", |body| body["signal"] == "TERM");
    assert_eq!(outcome["status"], "error");
}

#[test]
fn input_reaches_a_command_and_its_end_too() {
    let host = Host::new();
    let _gateway = host.attach();
    let mut child = host.ssh_command(&["cat; echo done"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text = "line\n".repeat(2_000_000);
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let sent = text.clone();
    let writer = std::thread::spawn(move || input.write_all(sent.as_bytes()).unwrap());
    let mut seen = String::new();
    output.read_to_string(&mut seen).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(seen.len(), text.len() + 5);
    assert!(seen.ends_with("line\ndone\n"));
}

#[test]
fn a_command_that_reads_nothing_does_not_fill_our_memory_and_can_be_stopped() {
    let host = Host::new();
    let mut gateway = host.attach();
    let mut child = host.ssh_command(&["sleep 4713"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let (send, sent) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        while input.write_all(&block).is_ok() && send.send(()).is_ok() {}
    });
    let mut blocks = 0;
    while sent.recv_timeout(std::time::Duration::from_secs(3)).is_ok() {
        blocks += 1;
        assert!(blocks < 64, "it goes on and on");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.engine_pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 200_000, "{resident} kB");
    // Other connections are served all the while.
    assert_eq!(host.ssh(&["echo here"]).out, "here\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(gateway.stop().success());
    // sshd lets a command run on whose client is gone.
    host.world.sh("kill $(pgrep -fx 'sleep 4713') 2>/dev/null || true");
}

#[test]
fn several_channels_share_a_connection() {
    let host = Host::new();
    let _gateway = host.attach();
    let master = ["-o", "ControlMaster=auto", "-o", "ControlPath=/run/home/master", "-o", "ControlPersist=30", "--"];
    let first = host.ssh(&[&master[..], &["echo 1"]].concat());
    assert_eq!(first.out, "1\n", "{first:?}");
    let more: Vec<_> = (0..5)
        .map(|number| {
            let command = format!("sleep 0.2; echo {number}");
            let mut ssh = host.ssh_command(&[&master[..], &[command.as_str()]].concat());
            ssh.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, child) in more.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{number}\n"));
    }
    assert_eq!(host.requests("login").len(), 1, "one login serves all");
    wait::until("all in the journal", || host.requests("exec").len() == 6);
    let _ = host.ssh(&["-o", "ControlPath=/run/home/master", "-O", "exit", "--"]);
}

#[test]
fn variables_of_the_short_list_reach_a_command_and_no_others() {
    let host = Host::new();
    let _gateway = host.attach();
    let set = ["-o", "SetEnv=LC_MESSAGES=C BASH_ENV=/tmp/x FOO=bar", "--"];
    let ran = host.ssh(&[&set[..], &["echo $LC_MESSAGES:$BASH_ENV:$FOO:"]].concat());
    assert_eq!(ran.out, "C:::\n", "{ran:?}");
}

#[test]
fn a_command_that_closes_its_output_early_still_tells_its_status() {
    let host = Host::new();
    let _gateway = host.attach();
    let ran = host.ssh(&["exec >&- 2>&-; sleep 1; exit 7"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(7), ""), "{ran:?}");
}
