//! Terminals: shells wait for a person, what is let through is recorded, masked and replayed.

use crate::console::People;
use crate::host::{Host, ran};

const PERMIT: &str = "@id(\"all\") permit (principal, action in [Action::\"session\", Action::\"run\"], resource);";
const CARD: &str = "4242424242424242";

impl Host {
    /// With shells that nobody has to approve.
    fn attach_shells(&self) -> crate::gateway::Gateway<'_> {
        let file = self.world.file("policies/test.cedar", PERMIT);
        let directory = file.parent().unwrap().display().to_string();
        let config = self.target() + "[policy]\ndisable = [\"guard.ssh.shell\"]\n";
        self.attach_with(&config, &["--policies", &directory])
    }

    /// An interactive shell on a terminal of its own, fed with lines.
    fn typed(&self, lines: &str) -> crate::host::Ran {
        let script = format!(
            "printf %b '{lines}' | timeout 60 script -qec 'stty cols 90 rows 31; exec ssh -tt {} deploy@10.77.0.2' /dev/null",
            Host::options().join(" ")
        );
        ran(&mut self.command(&["sh", "-c", &script]))
    }
}

#[test]
fn a_shell_waits_for_a_person() {
    let host = Host::new();
    let _gateway = host.attach();
    let config = host.ssh(&["-T", "--"]);
    assert_eq!(config.code, Some(126), "{config:?}");
    assert!(config.err.contains("guard.ssh.shell") && config.err.contains("one at a time"), "{config:?}");
    assert_eq!(host.requests("shell")[0]["decision"]["verdict"], "hold");
}

#[test]
fn a_shell_that_is_let_through_is_masked_recorded_and_replayed() {
    let host = Host::new();
    let _gateway = host.attach_shells();
    let seen = host.typed("stty size; echo 4242 4242; printf %s%s 42424242 42424242; echo; tty; exit 5\\n");
    assert!(seen.out.contains("31 90") && seen.out.contains("/dev/pts/"), "{seen:?}");
    assert!(!seen.out.contains(CARD), "{seen:?}");
    let outcome = host.world.event("ssh.outcome", |body| body["exit_status"] == 5);
    assert!(outcome["masked"]["card"].as_u64() > Some(0), "{outcome}");
    let frames = host.world.events("ssh.frames");
    let text = serde_json::to_string(&frames).unwrap();
    assert!(!text.contains(CARD) && text.contains("31 90") && text.contains("\"in\""), "{text}");
    let session = frames[0]["session"].as_str().unwrap().to_owned();
    let played = host.world.cli(&["replay", &session, "--play", "--speed", "50", "--idle", "0.2"]);
    assert!(played.status.success() && played.out.contains("31 90"), "{played:?}");
    for version in ["v2", "v3"] {
        let cast = host.world.cli(&["replay", &session, "--cast", version]).out;
        let mut lines = cast.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let head = lines.next().unwrap();
        assert_eq!(head["version"].to_string(), version[1..]);
        let shown: String =
            lines.filter(|line| line[1] == "o").map(|line| line[2].as_str().unwrap().to_owned()).collect();
        assert!(shown.contains("31 90"), "{shown}");
    }
    let page = host.world.cli(&["replay", &session]).out;
    assert!(page.contains("an interactive shell") && page.contains("exit status 5"), "{page}");
}

/// Plays a recording as somebody does who looks for a word in it.
const STEPS: &str = r#"
export default async ({ page, login, press, go, picture, text, fits, phone }) => {
  await login('viola', '/sessions');
  await go('/sessions?target=web');
  await press('tbody a');
  await press('a[href*="/terminal"]');
  const shown = () => text('.xterm-accessibility-tree');
  await page.waitForFunction(() => document.querySelector('#clock').textContent.includes('/'));
  await page.select('#speed', '16');
  await page.click('#play');
  await page.waitForFunction(() => /^(0:0[1-9]|0:[1-9]|[1-9])/.test(document.querySelector('#clock').textContent) && document.querySelector('#play').textContent === 'Play');
  console.log('end', await shown());
  await picture('terminal');
  await page.type('input[name=text]', '31 90');
  await page.click('#find button');
  console.log('said', await text('#said'));
  await page.waitForFunction(() => document.querySelector('.xterm-accessibility-tree').textContent.includes('31 90'));
  console.log('found', await shown());
  await page.$eval('input[name=text]', (input) => (input.value = 'not there'));
  await page.click('#find button');
  console.log('said', await text('#said'));
  await phone();
  await page.reload();
  await fits();
  await picture('terminal-phone');
};
"#;

#[test]
fn a_terminal_is_played_in_a_browser_as_it_was_and_does_nothing_else_there() {
    let host = Host::new();
    let people = People::new(&host.world);
    let file = host.world.file("policies/test.cedar", PERMIT);
    let directory = file.parent().unwrap().display().to_string();
    let config = host.target() + &people.config() + "[policy]\ndisable = [\"guard.ssh.shell\"]\n";
    let _gateway = host.attach_with(&config, &["--policies", &directory]);
    let link = "printf \"\\\\033]8;;https://evil.example\\\\007link\\\\033]8;;\\\\007\"";
    let seen =
        host.typed(&format!("stty size; echo 42424242''42424242; {link}; sleep 2; seq 40; echo the end; exit 5\\n"));
    assert!(seen.out.contains("evil.example") && seen.out.contains("the end"), "{seen:?}");
    host.world.event("session.end", |_| true);
    let said = people.browse(STEPS, &[]);
    let line = |name: &str| said.split(name).nth(1).unwrap_or_else(|| panic!("{name}: {said}"));
    assert!(line("end ").contains("the end") && !said.contains(CARD), "{said}");
    assert!(line("said ").contains("Found at 0:00") && said.contains("nowhere in this recording"), "{said}");
    let frames = host.world.events("ssh.frames");
    let session = frames[0]["session"].as_str().unwrap();
    let recording = format!("/api/v1/sessions/{session}/recording");
    let raw = host.world.cli(&["replay", session, "--cast", "v2"]).out;
    assert!(raw.contains("\\u001b]8;"), "{raw}");
    people.log_in("viola", "/");
    let cast = people.get("viola", &recording);
    assert!(cast.status == 200 && cast.body.contains("link") && !cast.body.contains("\\u001b]8;"), "{cast:?}");
    people.log_in("alice", "/");
    assert_eq!(people.get("alice", &recording).status, 409, "she is no viewer");
}

#[test]
fn output_and_errors_of_commands_are_masked_with_their_length() {
    let host = Host::new();
    let _gateway = host.attach();
    let command = format!(
        "printf 'a %s b\\n' 4242{}; printf 'c %s d\\n' {CARD} >&2; printf 42424242; sleep 0.01; echo 42424242",
        &CARD[4..]
    );
    let ran = host.ssh(&[&command]);
    let stars = "*".repeat(16);
    assert_eq!(ran.out, format!("a {stars} b\n{stars}\n"), "{ran:?}");
    assert_eq!(ran.err, format!("c {stars} d\n"));
    let outcome = host.world.event("ssh.outcome", |_| true);
    assert_eq!(outcome["masked"]["card"], 3);
    let text = serde_json::to_string(&host.world.events("ssh.request")).unwrap();
    assert!(!text.contains(CARD), "the command line is masked too: {text}");
}

#[test]
fn binary_output_is_never_edited_and_is_stopped_where_it_holds_a_value() {
    let host = Host::new();
    let _gateway = host.attach();
    host.world.sh(&format!(
        "head -c 3000000 /dev/urandom > /run/deploy/noise; printf 'PK\\003\\004\\000%s' {CARD} > /run/deploy/zip; chmod 644 /run/deploy/*"
    ));
    let whole = host
        .command(&["sh", "-c", "ssh -o BatchMode=yes deploy@10.77.0.2 'cat /run/deploy/noise' | sha256sum"])
        .output()
        .unwrap();
    let real = host.world.sh("sha256sum < /run/deploy/noise");
    assert_eq!(String::from_utf8(whole.stdout).unwrap(), real);
    let stopped = host.ssh(&["cat /run/deploy/zip"]);
    assert_ne!(stopped.code, Some(0));
    assert!(stopped.err.contains("class card") && !stopped.out.contains(CARD), "{stopped:?}");
}

#[test]
fn a_prompt_without_a_newline_appears_at_once() {
    let host = Host::new();
    let _gateway = host.attach_shells();
    // `read -p` writes its prompt to standard error where that is a terminal.
    let seen = host.typed("read -p name: x; echo got $x\\nme\\nexit\\n");
    assert!(seen.out.contains("name:") && seen.out.contains("got me"), "{seen:?}");
}
