//! The shell that we offer: each line is judged like a command that came alone.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

use crate::gateway::Gateway;
use crate::host::{Host, Ran, ran};
use crate::wait;

const PROMPT: &str = "deploy@web:";

/// Somebody at a terminal.
struct Typist {
    ssh: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Host {
    fn attach_lines(&self, more: &str) -> Gateway<'_> {
        let target = self.target().replace("[target.ssh]\n", "[target.ssh]\nshell = \"line\"\n");
        self.attach_with(&(target + more), &[])
    }

    fn typist(&self) -> Typist {
        // One stream, so that errors stand where they were shown.
        let script = format!("exec ssh {} -tt deploy@10.77.0.2 2>&1", Self::options().join(" "));
        let mut ssh = self.command(&["timeout", "60", "sh", "-c", &script]);
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, seen) = (ssh.stdin.take().unwrap(), Arc::<Mutex<Vec<u8>>>::default());
        let (mut output, shown) = (ssh.stdout.take().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut chunk = [0; 4_096];
            while let Ok(length @ 1..) = output.read(&mut chunk) {
                shown.lock().unwrap().extend(&chunk[..length]);
            }
        });
        let mut typist = Typist { ssh, keys, seen };
        typist.prompted("~");
        typist
    }

    /// Without a terminal.
    fn fed(&self, lines: &[u8]) -> Ran {
        let mut ssh =
            self.command(&[&["timeout", "60", "ssh", "-T"], &Self::options()[..], &["deploy@10.77.0.2"]].concat());
        let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut input, lines) = (ssh.stdin.take().unwrap(), lines.to_vec());
        let writer = std::thread::spawn(move || input.write_all(&lines));
        let output = ssh.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Typist {
    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
    }

    /// What was shown since the last time, up to this.
    fn until(&mut self, text: &str) -> String {
        wait::for_some(&format!("{text:?}"), || {
            let mut seen = self.seen.lock().unwrap();
            let at = seen.windows(text.len()).position(|window| window == text.as_bytes())?;
            let shown: Vec<u8> = seen.drain(..at + text.len()).collect();
            Some(String::from_utf8_lossy(&shown).into_owned())
        })
    }

    /// The next prompt with nothing behind it, in this directory.
    fn prompted(&mut self, directory: &str) -> String {
        self.until(&format!("{PROMPT}{directory}$ \x1b[K"))
    }

    /// Types a line; returns what is shown until the next prompt, without the line itself.
    fn line(&mut self, line: &str, directory: &str) -> String {
        self.press(line.as_bytes());
        // The whole line is drawn: what comes from here on is its output.
        self.until(line);
        self.press(b"\r");
        self.prompted(directory)
    }

    fn ends(mut self) -> Option<i32> {
        self.ssh.wait().unwrap().code()
    }
}

#[test]
fn each_line_is_judged_and_a_directory_and_variables_last() {
    let host = Host::new();
    let _gateway = host.attach_lines("");
    let mut typist = host.typist();
    assert!(typist.line("help", "~").contains("Not kept"));
    typist.line("cd /run", "/run");
    typist.line("cd deploy", "/run/deploy");
    assert!(typist.line("cd /nowhere", "/run/deploy").contains("/nowhere"));
    assert!(typist.line("pwd; echo $((40 + 2))", "/run/deploy").contains("/run/deploy\r\n42\r\n"));
    let took = typist.line("export A=\"x  y\" B=z", "/run/deploy");
    assert!(!took.contains("gateway:"), "{took:?}");
    let exported = typist.line("echo \"<$A|$B>\"", "/run/deploy");
    assert!(exported.contains("<x  y|z>"), "{exported:?}");
    typist.line("unset B; C=1", "/run/deploy");
    typist.line("unset B", "/run/deploy");
    assert!(typist.line("echo \"<$B|$C>\"", "/run/deploy").contains("<|>"));
    assert!(typist.line("tty; stty size", "/run/deploy").contains("/dev/pts/"));
    assert!(typist.line("printf '%s%s\\n' 4242 424242424242", "/run/deploy").contains("****************"));
    let denied = typist.line("nc 10.0.0.9 22", "/run/deploy");
    assert!(denied.contains("denied by policy guard.ssh.relay"), "{denied}");
    typist.press(b"exit 5\r");
    assert_eq!(typist.ends(), Some(5));
    let texts: Vec<String> =
        host.requests("exec").iter().map(|body| body["text"].as_str().unwrap().to_owned()).collect();
    let last = texts.iter().find(|text| text.contains("nc 10.0.0.9")).unwrap();
    assert_eq!(last, "cd -- '/run/deploy' && export A='x  y' && {\nnc 10.0.0.9 22\n}");
    assert_eq!(host.requests("shell")[0]["decision"]["verdict"], "allow");
    let frames = host.world.events("ssh.frames");
    let session = frames[0]["session"].as_str().unwrap().to_owned();
    let played = host.world.cli(&["replay", &session, "--play", "--speed", "50", "--idle", "0.1"]).out;
    assert!(played.contains("tty; stty size"), "{played}");
    assert!(played.contains("/dev/pts/") && !played.contains("4242424242424242"), "{played}");
}

#[test]
fn keys_end_what_runs_and_the_shell() {
    let host = Host::new();
    let _gateway = host.attach_lines("");
    let mut typist = host.typist();
    let runs = || host.world.sh("ps ax -o args").contains("sleep 4712\n");
    typist.press(b"echo up; sleep 4712\r");
    typist.until("up\r\n");
    // Between bash's fork and exec, a SIGINT is lost.
    wait::until("the command", runs);
    typist.press(b"\x03");
    typist.prompted("~");
    wait::until("the command's end", || !runs());
    // The line before, edited.
    typist.press(b"\x1b[A");
    typist.until("sleep 4712");
    typist.press(b"\x15");
    typist.prompted("~");
    assert!(typist.line("echo X | tr X Y", "~").contains("Y\r\n"));
    typist.press(b"half\x03");
    typist.prompted("~");
    typist.press(b"\x04");
    assert_eq!(typist.ends(), Some(130));
}

#[test]
fn a_line_that_waits_for_a_person_runs_after_the_approval_or_is_given_up() {
    let host = Host::new();
    let _gateway = host.attach_lines("[approval]\nhost = { root = [\"local:approvers\"] }\n");
    let mut typist = host.typist();
    typist.press(b"eval \"$X\" echo yes\r");
    let held = host.world.event("approval.requested", |_| true);
    let ticket = held["ticket"].as_str().unwrap().to_owned();
    assert!(host.world.cli(&["approve", &ticket]).status.success());
    typist.until("yes\r\n");
    typist.prompted("~");
    typist.press(b"eval \"$X\" echo no\r");
    host.world.event("approval.requested", |body| body["ticket"] != ticket.as_str());
    typist.until("waits as request");
    typist.press(b"\x03");
    typist.prompted("~");
    host.world.event("approval.expired", |body| body["reason"].as_str().unwrap().contains("gave up"));
    typist.press(b"\x04");
    typist.ends();
}

#[test]
fn lines_without_a_terminal_run_one_by_one() {
    let host = Host::new();
    let _gateway = host.attach_lines("");
    let ran = host.fed(b"cd /usr\npwd\ncat\nnc 10.0.0.9 22\nexport A=b\necho $A; (exit 3)\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), "/usr\nb\n"), "{ran:?}");
    assert!(ran.err.starts_with("gateway: denied by policy guard.ssh.relay"), "{ran:?}");
    let last = host.fed(b"echo one\necho two");
    assert_eq!(last.out, "one\ntwo\n", "{last:?}");
}

#[test]
fn hostile_input_runs_nothing_and_ends_nothing_else() {
    let host = Host::new();
    let _gateway = host.attach_lines("");
    let long = [b"touch /run/deploy/long; true ".as_slice(), &vec![b'x'; 300_000], b"\necho on\n"].concat();
    let fed = host.fed(&long);
    assert!(fed.out.ends_with("on\n"), "{fed:?}");
    let odd = host.fed(b"touch /run/deploy/odd \xff\x1b[2J\0\n\x03\x04\necho on\n");
    assert!(odd.out.ends_with("on\n") && !odd.err.contains('\u{1b}'), "{odd:?}");
    let mut typist = host.typist();
    let mut noise = Vec::new();
    let mut state = 4_711_u64;
    while noise.len() < 200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Neither the end of a line nor of the shell.
        noise.extend(state.to_le_bytes().iter().filter(|byte| !matches!(**byte, b'\r' | b'\n' | 3 | 4)));
    }
    typist.press(&noise);
    typist.press(b"\x1b[0~\x05\x15exit 4\r");
    assert_eq!(typist.ends(), Some(4));
    assert_eq!(host.world.sh("ls /run/deploy"), "");
    assert_eq!(ran(&mut host.ssh_command(&["echo here"])).out, "here\n");
}
