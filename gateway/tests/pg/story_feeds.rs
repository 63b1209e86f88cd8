//! Webhooks: who listens is told what happens, once the gateway runs again too, and nobody waits for them.
//!
//! In: a server of HTTPS that verifies signatures, or takes nothing. Out: each event that was wanted, in the words that were
//! wanted; a status that says what was not told yet.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::shop::Shop;
use crate::wait;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("asked") @approval("local:approvers") @message("changes wait for a person")
forbid (principal, action == Postgres::Action::"update", resource);
"#;

/// Who listens.
pub struct Hook<'s> {
    shop: &'s Shop,
    server: Child,
    _output: BufReader<ChildStdout>,
}

impl<'s> Hook<'s> {
    /// Starts it, with the certificate that is there, or with one of its own.
    pub fn new(shop: &'s Shop) -> Self {
        let at = shop.world.directory().display().to_string();
        let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hook -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        shop.world.sh(&format!("test -e {at}/cert.pem || {make} -keyout {at}/key.pem -out {at}/cert.pem 2>&1; printf 'a secret' > {at}/secret; printf 'Bearer x' > {at}/bearer"));
        let script = shop.world.file("hook.mjs", include_str!("hook.mjs"));
        let mut command = shop.world.command("node");
        command.arg(script).args([&at, "9555", "a secret"]).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let (mut ready, mut output) = (String::new(), BufReader::new(server.stdout.take().unwrap()));
        while !ready.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut ready).unwrap(), 0, "the receiver ended: {ready}");
        }
        Self { shop, server, _output: output }
    }

    /// Arguments of a gateway that tells it of these.
    fn config(&self, webhooks: &[(&str, &str)]) -> String {
        let at = self.shop.world.directory().display().to_string();
        self.shop.world.file("policies/hooks.cedar", POLICIES);
        let one = |(name, more): &(&str, &str)| {
            format!(
                "[[audit.webhook]]\nname = \"{name}\"\nurl = \"https://127.0.0.1:9555/{name}\"\nca = \"{at}/cert.pem\"\n\
                 secret = {{ file = \"{at}/secret\" }}\n{more}\n"
            )
        };
        let webhooks: String = webhooks.iter().map(one).collect();
        let text = format!(
            "version = 1\n[policy]\ndir = \"{at}/policies\"\n[approval]\nhost = {{ root = [\"local:approvers\"] }}\n{webhooks}"
        );
        self.shop.world.file("gateway.toml", &text).display().to_string()
    }

    /// Has the gateway read its configuration anew, as each attach does.
    fn reload(&self) {
        let other = self.shop.world.top().join("other");
        fs::create_dir_all(&other).unwrap();
        let said = self.shop.world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
        assert!(said.status.success(), "{said:?}");
        assert!(self.shop.world.cli(&["detach", "other"]).status.success());
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.shop.world.directory().join(name)).unwrap_or_default()
    }

    /// What came below a path.
    pub fn taken(&self, name: &str) -> Vec<Value> {
        let taken: Vec<Value> = self.file("taken").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        taken.into_iter().filter(|request| request["path"] == format!("/{name}").as_str()).collect()
    }

    /// The kinds of all events that a receiver of JSON was told.
    fn kinds(&self, name: &str) -> Vec<String> {
        let events =
            self.taken(name).into_iter().flat_map(|request| request["body"]["events"].as_array().unwrap().clone());
        events.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Hook<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn who_listens_hears_of_what_waits_and_what_became_of_it_in_their_own_words() {
    let shop = Shop::new();
    let hook = Hook::new(&shop);
    let at = shop.world.directory().display().to_string();
    let config = hook.config(&[
        ("approvals", "kinds = [\"approval.\"]"),
        ("chat", "kinds = [\"approval.requested\"]\nformat = \"slack\""),
        (
            "siem",
            &format!(
                "verdicts = [\"deny\", \"hold\"]\nformat = \"ocsf\"\nauthorization = {{ file = \"{at}/bearer\" }}"
            ),
        ),
        ("logs", "kinds = [\"postgres.\"]\nformat = \"otlp\""),
    ]);
    let _gateway = shop.world.attach(&["--config", &config]);
    let psql = shop.start_psql("UPDATE orders SET item = 'told' WHERE id = 9");
    wait::until("the request is told", || !hook.taken("approvals").is_empty());
    let told = hook.taken("approvals")[0]["body"]["events"][0].clone();
    let ticket = told["body"]["ticket"].as_str().unwrap().to_owned();
    assert_eq!(
        (told["kind"].as_str(), told["body"]["summary"].as_str()),
        (Some("approval.requested"), Some("UPDATE orders SET item = '?' WHERE id = ?"))
    );
    assert!(shop.world.cli(&["approve", &ticket, "--reason", "fine"]).status.success());
    assert!(psql.wait_with_output().unwrap().status.success());
    wait::until("all of it is told", || hook.kinds("approvals").len() >= 3);
    assert_eq!(hook.kinds("approvals"), ["approval.requested", "approval.decided", "approval.consumed"]);
    wait::until("the chat", || !hook.taken("chat").is_empty());
    let text = hook.taken("chat")[0]["body"]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("UPDATE orders") && text.contains(&format!("gateway approvals show {ticket}")), "{text}");
    wait::until("the siem", || hook.taken("siem").iter().any(|request| request["body"].to_string().contains("6005")));
    let siem = hook.taken("siem");
    assert!(siem.iter().all(|request| request["authorization"] == "Bearer x"), "{siem:?}");
    let statement =
        siem.iter().flat_map(|request| request["body"].as_array().unwrap()).find(|event| event["class_uid"] == 6005);
    assert_eq!(statement.unwrap()["action_id"], 2, "{statement:?}");
    wait::until("the logs", || {
        hook.taken("logs").iter().any(|request| request["body"].to_string().contains("postgres.outcome"))
    });
    // None of it has what decisions rest on, nor what the journal has not.
    assert!(!hook.file("taken").contains("\"input\""));
    let feeds = shop.world.cli_json(&["status"])["feeds"].clone();
    assert_eq!(feeds.as_array().unwrap().len(), 4, "{feeds}");
    assert!(shop.world.cli(&["status"]).out.contains("events are told to siem: https://127.0.0.1:9555/…"), "{feeds}");
}

#[test]
fn who_does_not_listen_keeps_nobody_waiting_and_hears_of_all_later() {
    let shop = Shop::new();
    let hook = Hook::new(&shop);
    let at = shop.world.directory();
    let config = hook.config(&[("all", "kinds = [\"session.\"]")]);
    fs::write(at.join("down"), "").unwrap();
    let gateway = shop.world.attach(&["--config", &config]);
    assert!(shop.psql(&["SELECT 1"]).ok);
    let error = || shop.world.cli_json(&["status"])["feeds"][0]["error"].as_str().unwrap_or_default().to_owned();
    wait::until("it is tried", || hook.file("asked").len() > 1 && error().contains("503"));
    assert!(hook.taken("all").is_empty());
    // What a gateway that is gone did not tell, the next one does.
    drop(gateway);
    let before = shop.world.events("session.start").len();
    let gateway = shop.world.attach(&["--config", &config]);
    assert!(shop.psql(&["SELECT 2"]).ok);
    fs::remove_file(at.join("down")).unwrap();
    let starts = || hook.kinds("all").iter().filter(|kind| *kind == "session.start").count();
    wait::until("all is told", || starts() > before && error().is_empty());
    // Another secret is another's.
    let told = hook.kinds("all").len();
    fs::write(at.join("secret"), "other").unwrap();
    hook.reload();
    assert!(shop.psql(&["SELECT 3"]).ok);
    wait::until("it is refused", || error().contains("401"));
    assert_eq!(hook.kinds("all").len(), told);
    // What is no event is a fault, and what was told before goes on.
    hook.config(&[("all", "kinds = [\"statement\"]")]);
    hook.reload();
    wait::until("the fault", || gateway.output().contains("no event is called `statement`"));
    assert_eq!(shop.world.cli_json(&["status"])["feeds"].as_array().unwrap().len(), 1);
    // Without it nobody is told, nor tried.
    hook.config(&[]);
    hook.reload();
    assert_eq!(shop.world.cli_json(&["status"])["feeds"], serde_json::json!([]));
}

#[test]
fn a_record_made_anew_by_root_is_told_by_the_seals_that_a_webhook_heard_of() {
    let shop = Shop::new();
    let hook = Hook::new(&shop);
    let config = hook.config(&[("seals", "kinds = [\"journal.sealed\"]")]);
    let mut gateway = shop.world.attach(&["--config", &config]);
    assert_eq!(shop.psql(&["SELECT 'marker_sealed'"]).out, "marker_sealed");
    let heard = || hook.taken("seals").len();
    wait::for_some_within(Duration::from_secs(40), "a seal at the receiver", || (heard() > 0).then_some(()));
    // The seal of the note itself brings no other: where nothing happens, nothing is sealed any more.
    wait::for_some_within(Duration::from_secs(120), "no seal for two of its turns", || {
        let old = shop.world.sh("find /var/lib/gateway/journal/seals.jsonl -mmin +0.35");
        (!old.trim().is_empty()).then_some(())
    });
    gateway.stop();
    let noted = shop.world.directory().join("taken").display().to_string();
    let verified = || shop.world.cli(&["audit", "verify", "--noted", &noted]);
    let said = verified();
    assert!(said.status.success() && said.out.contains("noted elsewhere: "), "{said:?}");
    shop.world.sh("chattr -R -a /var/lib/gateway/journal 2>/dev/null || true; rm -r /var/lib/gateway/journal");
    let mut gateway = shop.world.attach(&[]);
    gateway.stop();
    assert!(shop.world.cli(&["audit", "verify"]).status.success(), "nothing here tells");
    let said = verified();
    assert!(!said.status.success() && said.out.contains("was noted elsewhere"), "{said:?}");
}
