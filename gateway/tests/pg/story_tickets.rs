//! Tickets: what waits for people is one in Jira and in ServiceNow, found again where an answer was lost, and told what became of it.
//!
//! In: a server that takes what the REST APIs of both take, and refuses what they refuse; neither can be had here. Out: one ticket
//! in each for a request, its name where people decide and in the journal; nobody waits for one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::shop::Shop;
use crate::wait;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("asked") @approval("local:approvers") @message("changes wait for a person")
forbid (principal, action == Postgres::Action::"update", resource);
"#;

/// Both systems.
struct Systems<'s> {
    shop: &'s Shop,
    server: Child,
    _output: BufReader<ChildStdout>,
}

impl<'s> Systems<'s> {
    fn new(shop: &'s Shop) -> Self {
        let at = shop.world.directory().display().to_string();
        let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=t -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        shop.world.sh(&format!("{make} -keyout {at}/key.pem -out {at}/cert.pem 2>&1"));
        shop.world.file("login", "Basic dXNlcjp0b2tlbg==\n");
        let script = shop.world.file("tickets.mjs", include_str!("tickets.mjs"));
        let mut command = shop.world.command("node");
        command.arg(script).args([&at, "9557"]).stdout(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let (mut ready, mut output) = (String::new(), BufReader::new(server.stdout.take().unwrap()));
        while !ready.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut ready).unwrap(), 0, "the server ended: {ready}");
        }
        Self { shop, server, _output: output }
    }

    fn config(&self, with_now: bool) -> String {
        let at = self.shop.world.directory().display().to_string();
        self.shop.world.file("policies/tickets.cedar", POLICIES);
        let one = |name: &str, path: &str, more: &str| {
            format!(
                "[[approval.tickets]]\nname = \"{name}\"\nurl = \"https://127.0.0.1:9557/{path}\"\nca = \"{at}/cert.pem\"\n\
                 authorization = {{ file = \"{at}/login\" }}\n{more}\n"
            )
        };
        let jira = one("ops", "jira", "system = \"jira\"\nproject = \"OPS\"");
        let now = if with_now { one("desk", "now/", "system = \"servicenow\"") } else { String::new() };
        let text = format!(
            "version = 1\n[policy]\ndir = \"{at}/policies\"\n[approval]\nhost = {{ root = [\"local:approvers\"] }}\n{jira}{now}"
        );
        self.shop.world.file("gateway.toml", &text).display().to_string()
    }

    fn tickets(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.shop.world.directory().join("tickets")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn of(&self, system: &str) -> Value {
        wait::for_some("a ticket", || self.tickets().into_iter().find(|ticket| ticket["system"] == system))
    }

    fn set(&self, name: &str, there: bool) {
        let file = self.shop.world.directory().join(name);
        if there { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
    }

    /// The comments of a ticket, once there are so many.
    fn comments(&self, system: &str, count: usize) -> Vec<String> {
        wait::for_some("comments", || {
            let comments = self.of(system)["comments"].as_array().unwrap().clone();
            let texts: Vec<_> = comments.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
            (texts.len() >= count).then_some(texts)
        })
    }
}

impl Drop for Systems<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn what_waits_is_a_ticket_in_both_and_is_told_how_it_went() {
    let shop = Shop::new();
    let systems = Systems::new(&shop);
    let _gateway = shop.world.attach(&["--config", &systems.config(true)]);
    let psql = shop.start_psql("UPDATE orders SET item = 'by {ticket}' WHERE id = 9");
    let id = shop.world.event("approval.requested", |_| true)["ticket"].as_str().unwrap().to_owned();
    let (jira, now) = (systems.of("jira"), systems.of("now"));
    assert_eq!(jira["fields"]["labels"][0], format!("gateway-{id}"));
    assert_eq!(now["fields"]["correlation_id"], format!("gateway-{id}"));
    for text in [&jira["fields"]["description"], &now["fields"]["description"]].map(|text| text.as_str().unwrap()) {
        assert!(
            text.contains("UPDATE orders SET item") && text.contains(&format!("gateway approvals show {id}")),
            "{text}"
        );
        assert!(!text.contains("by {"), "a constant: {text}");
    }
    let filed = wait::for_some("their names in the journal", || {
        let filed = shop.world.events("approval.filed");
        (filed.len() == 2).then_some(filed)
    });
    for event in filed {
        let body = &event["body"];
        assert!(
            body["ticket"] == id.as_str() && body["url"].as_str().unwrap().contains("https://127.0.0.1:9557/"),
            "{body}"
        );
    }
    let shown = shop.world.cli(&["approvals", "show", &id]).out;
    let named = [&jira, &now].map(|ticket| ticket["key"].as_str().unwrap().to_owned());
    for name in &named {
        assert!(shown.contains(name), "{name} in {shown}");
    }
    assert!(shown.contains(&format!("https://127.0.0.1:9557/jira/browse/{}", named[0])), "{shown}");
    assert!(shop.world.cli(&["approve", &id, "--reason", "fine [x]"]).status.success());
    assert!(psql.wait_with_output().unwrap().status.success());
    assert_eq!(
        systems.comments("jira", 2),
        [r"root said yes in cli: fine \[x\]", r"The request was sent: its approval is used up."]
    );
    assert_eq!(systems.comments("now", 2)[0], "root said yes in cli: fine (x)");
    assert_eq!(systems.tickets().len(), 2);
}

#[test]
fn an_answer_that_is_lost_makes_no_second_ticket_and_a_system_that_is_away_keeps_nobody_waiting() {
    let shop = Shop::new();
    let systems = Systems::new(&shop);
    systems.set("lost", true);
    let mut gateway = shop.world.attach(&["--config", &systems.config(false)]);
    let psql = shop.start_psql("UPDATE orders SET item = 'lost' WHERE id = 9");
    let id = shop.world.event("approval.requested", |_| true)["ticket"].as_str().unwrap().to_owned();
    systems.of("jira");
    systems.set("lost", false);
    shop.world.event("approval.filed", |body| body["key"] == "OPS-1");
    systems.set("down", true);
    assert!(shop.world.cli(&["approve", &id]).status.success());
    assert!(psql.wait_with_output().unwrap().status.success());
    wait::until("the status says so", || shop.world.cli(&["status"]).out.contains("503"));
    // By another process, which has to look for it.
    assert!(gateway.stop().success());
    systems.set("down", false);
    let at = shop.world.directory().join("gateway.toml");
    let _gateway = shop.world.attach(&["--config", at.to_str().unwrap()]);
    assert_eq!(systems.comments("jira", 2)[0], "root said yes in cli");
    assert_eq!(systems.tickets().len(), 1);
}
