//! Commands in containers: judged, masked, recorded, by WebSocket and by SPDY.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::site::{Front, Kubectl, Ran, Site, ran};
use crate::wait;

const RUN: &str = r#"
@id("all") permit (principal, action in [Action::"read", Action::"write", Action::"destructive", Action::"run", Action::"tunnel"], resource);
@id("no-env") @message("no printenv") forbid (principal, action == Kubernetes::Action::"exec", resource)
when { context has command && context.command has name && context.command.name == "env" };
@id("no-removal") @message("nothing is removed") forbid (principal, action == Kubernetes::Action::"exec", resource)
when { context has command && context.command.kinds.contains("removes") };
"#;

/// The guard pack holds commands: these stories are about what comes after.
const LIFTED: &str = "[policy]\ndisable = [\"guard.kubernetes.commands\"]\n";

/// By each protocol that clients have.
const WAYS: [(Kubectl, &str); 3] = [(Kubectl::Today, "true"), (Kubectl::Today, "false"), (Kubectl::Old, "true")];

/// 140 kB, and 1 MB: more than any buffer on the way.
const LINES: [usize; 2] = [20_000, 150_000];

fn exec(site: &Site, (which, websockets): (Kubectl, &str), input: &str, words: &[&str]) -> Ran {
    let variable = format!("KUBECTL_REMOTE_COMMAND_WEBSOCKETS={websockets}");
    let mut command = site.kubectl_with(which, &variable, &[&["exec", "worker"], words].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Both ways at once: what is typed and comes back is larger than pipes are. A program may end before it read all.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn commands_run_masked_and_recorded_by_every_protocol() {
    let site = Site::new();
    let _gateway = site.attach_with(LIFTED, Some(RUN));
    site.pod("worker");
    for way in WAYS {
        let ran = exec(&site, way, "", &["--", "sh", "-c", "echo out card 4111111111111111; echo err >&2; exit 3"]);
        assert_eq!(ran.out, "out card ****************\n", "{way:?} {ran:?}");
        assert!(!ran.ok && ran.err.starts_with("err\n") && ran.err.contains("exit code 3"), "{way:?} {ran:?}");
        // Standard input, to its end and half-closed: cat ends when it does, and says all of it.
        for lines in LINES {
            let text = "a line\n".repeat(lines);
            let ran = exec(&site, way, &text, &["-i", "--", "cat"]);
            assert!(ran.ok && ran.out == text, "{way:?}: {} bytes of {}, {}", ran.out.len(), text.len(), ran.err);
        }
    }
    let seen = site.request(|body| body["actions"][0] == "Kubernetes::exec");
    let asked = seen["decision"]["input"]["questions"].as_array().unwrap();
    let names: Vec<_> = asked.iter().map(|question| &question["context"]["command"]["name"]).collect();
    assert_eq!(names, ["sh", "echo", "echo", "exit"], "{seen}");
    let outcome = site.world.event("kubernetes.outcome", |body| body["exit_status"] == 3);
    assert_eq!(outcome["status"], "ok", "{outcome}");
    let bytes = (WAYS.len() * "a line\n".len() * LINES.iter().sum::<usize>()) as u64;
    wait::until("the recording of every way", || {
        let frames = site.world.events("kubernetes.frames");
        let shown: Vec<_> =
            frames.iter().flat_map(|event| event["body"]["frames"].as_array().unwrap().clone()).collect();
        let of = |stream: &str, text: &str| {
            shown
                .iter()
                .filter(|frame| {
                    frame["stream"] == stream && frame["text"].as_str().is_some_and(|shown| shown.contains(text))
                })
                .count()
        };
        assert_eq!(of("out", "4111111111111111"), 0);
        let typed: u64 =
            shown.iter().filter(|frame| frame["stream"] == "in").filter_map(|frame| frame["bytes"].as_u64()).sum();
        of("out", "card ****************") == WAYS.len() && of("err", "err") == WAYS.len() && typed == bytes
    });
    let session = site.world.events("kubernetes.frames")[0]["session"].as_str().unwrap().to_owned();
    let told = site.world.cli(&["replay", &session]);
    assert!(told.out.contains("pods/exec") && told.out.contains("exit status 3"), "{}", told.out);
    let played = site.world.cli(&["replay", &session, "--play", "--speed", "1000"]);
    assert!(played.out.contains("card ****************"), "{}", played.out);
    assert!(site.world.cli(&["audit", "verify"]).status.success());
}

#[test]
fn a_terminal_is_as_large_as_the_clients_and_grows_with_it() {
    let site = Site::new();
    let _gateway = site.attach_with(LIFTED, Some(RUN));
    site.pod("worker");
    let script = site.world.file("terminal.py", include_str!("clients/terminal.py")).display().to_string();
    for (which, websockets) in WAYS {
        let variable = format!("KUBECTL_REMOTE_COMMAND_WEBSOCKETS={websockets}");
        let program = which.program();
        let kubectl = [program.to_str().unwrap(), "--namespace", &site.namespace, "exec", "-it", "worker", "--", "sh"];
        let words = [&["env", &variable, "timeout", "60", "/usr/bin/python3", &script][..], &kubectl].concat();
        let ran = ran(&mut site.command(&words));
        assert!(ran.out.contains("\n31 101\r") && ran.out.contains("\n41 121"), "{which:?} {websockets}: {ran:?}");
    }
    wait::until("the sizes in the recording", || {
        let frames = site.world.events("kubernetes.frames");
        let shown = frames.iter().flat_map(|event| event["body"]["frames"].as_array().unwrap());
        let sizes: Vec<_> = shown.map(|frame| &frame["size"]).collect();
        [[101, 31], [121, 41]].iter().all(|size| sizes.iter().filter(|one| **one == &json!(size)).count() >= WAYS.len())
    });
}

#[test]
fn commands_and_forwards_go_by_what_servers_of_today_speak() {
    let site = Site::new();
    let front = Front::start(&site);
    let target = site.target(&site.token()).replace("environment", &format!("ports = [{}]\nenvironment", front.port));
    let _gateway = site.attach_to(&format!("{LIFTED}{target}"), Some(RUN));
    site.pod("worker");
    let ran = exec(&site, WAYS[0], "", &["--", "sh", "-c", "echo out card 4111111111111111; echo err >&2; exit 3"]);
    assert_eq!(ran.out, "out card ****************\n", "{ran:?}");
    assert!(!ran.ok && ran.err.starts_with("err\n") && ran.err.contains("exit code 3"), "{ran:?}");
    // The end of standard input is a message of its own there.
    for lines in LINES {
        let text = "a line\n".repeat(lines);
        let ran = exec(&site, WAYS[0], &text, &["-i", "--", "cat"]);
        assert!(ran.ok && ran.out == text, "{} bytes of {}, {}", ran.out.len(), text.len(), ran.err);
    }
    let ran = exec(&site, WAYS[0], "", &["--", "/bin/env"]);
    assert!(!ran.ok && ran.err.contains("no printenv"), "{ran:?}");
    forwards(&site, Kubectl::Today, 18_090);
    let said = front.said();
    let of = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    // Two ways of `cat`, the first command, and the one that the forward begins with.
    assert_eq!((of("exec websocket [v5.channel.k8s.io"), of("exec")), (4, 4), "{said}");
    assert!(of("portforward ") >= 1, "{said}");
    site.world.event("kubernetes.outcome", |body| body["exit_status"] == 3);
}

#[test]
fn a_command_that_policy_denies_is_denied_by_every_protocol() {
    let site = Site::new();
    let _gateway = site.attach_with(LIFTED, Some(RUN));
    site.pod("worker");
    for way in WAYS {
        let ran = exec(&site, way, "", &["--", "/bin/env"]);
        assert!(!ran.ok && ran.err.contains("no printenv"), "{way:?} {ran:?}");
    }
    // What a shell is handed is read like a line of SSH.
    let ran = exec(&site, WAYS[0], "", &["--", "sh", "-c", "true && r\\m -f /tmp/x"]);
    assert!(!ran.ok && ran.err.contains("nothing is removed"), "{ran:?}");
    // However it is asked for, also where the server would take it for a mere read.
    let path = format!("/api/v1/namespaces/{}/pods/worker/exec?command=env&stdout=1", site.namespace);
    for arguments in
        [&["-X", "GET"][..], &["-X", "POST"], &["-H", "upgrade: websocket", "-H", "connection: upgrade", "--http1.1"]]
    {
        let ran = site.curl(arguments, &path);
        assert!(ran.out.contains("no printenv"), "{arguments:?} {ran:?}");
    }
    assert!(
        site.noted("command=env").iter().all(|event| !event["requestURI"].as_str().unwrap().contains(&site.namespace))
    );
}

#[test]
fn a_token_in_a_subprotocol_names_nobody() {
    let site = Site::new();
    let front = Front::start(&site);
    let target = site.target(&site.token()).replace("environment", &format!("ports = [{}]\nenvironment", front.port));
    let _gateway = site.attach_to(&format!("{LIFTED}{target}"), Some(RUN));
    site.pod("worker");
    let path = format!("/api/v1/namespaces/{}/pods/worker/exec?command=id&stdout=1", site.namespace);
    let encoded = "base64url.bearer.authorization.k8s.io.dG9rZW4tb2Ytbm9ib2R5";
    let ran = site.curl_at(
        front.port,
        &[
            "--http1.1",
            "--max-time",
            "5",
            "-H",
            "connection: upgrade",
            "-H",
            "upgrade: websocket",
            "-H",
            "sec-websocket-version: 13",
            "-H",
            "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
            "-H",
            &format!("sec-websocket-protocol: {encoded}, v4.channel.k8s.io"),
            "-o",
            "/dev/null",
        ],
        &path,
    );
    assert!(!ran.err.contains("40"), "{ran:?}");
    // A server that has both goes by the header, so that its audit log would not tell.
    let said = wait::for_some("the request", || Some(front.said()).filter(|said| said.contains("exec websocket")));
    assert!(said.contains("[v4.channel.k8s.io]") && !said.contains("base64url"), "{said}");
}

#[test]
fn files_are_copied_and_ports_forwarded() {
    let site = Site::new();
    let _gateway = site.attach_with(LIFTED, Some(RUN));
    site.pod("worker");
    let bytes: String = (0..60_000).map(|number| format!("{number}\n")).collect();
    site.world.file("copied", &bytes);
    let from = site.world.directory().join("copied").display().to_string();
    for (number, which) in Kubectl::BOTH.into_iter().enumerate() {
        let there = format!("worker:/tmp/copied-{number}");
        let ran = site.kubectl_of(which, &["cp", &from, &there]);
        assert!(ran.ok, "{which:?} {ran:?}");
        let back = format!("/run/home/back-{number}");
        let ran = site.kubectl_of(which, &["cp", &there, &back]);
        assert!(ran.ok, "{which:?} {ran:?}");
        assert_eq!(site.world.sh(&format!("cat {back}")), bytes);
        forwards(&site, which, 18_080 + u16::try_from(number).unwrap());
    }
}

fn forwards(site: &Site, which: Kubectl, port: u16) {
    let ran = site.kubectl_of(
        which,
        &["exec", "worker", "--", "sh", "-c", &format!("echo hello > /tmp/index.html; httpd -p {port} -h /tmp")],
    );
    assert!(ran.ok, "{ran:?}");
    let mut child = site
        .kubectl_command(which, &["port-forward", "pod/worker", &format!("{port}:{port}")])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait::until("an answer through the forwarded port", || {
        let ran = crate::site::ran(&mut site.command(&[
            "curl",
            "-sS",
            "--max-time",
            "5",
            &format!("http://127.0.0.1:{port}/index.html"),
        ]));
        ran.out == "hello"
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
