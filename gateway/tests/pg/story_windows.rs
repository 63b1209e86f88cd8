//! Windows: a workload may do more at a target until a time, since people said so, and no longer.

use std::process::Child;

use serde_json::Value;

use crate::gateway::{Gateway, Said};
use crate::shop::{ENDLESS, Ran, Shop};
use crate::wait;
use crate::world::{As, NAME};

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"session"], resource);
@id("repair") permit (principal, action in Action::"write", resource)
when { context.session.grants.contains("repair") };
"#;
const SETTINGS: &str = r#"
[approval]
host = { alice = ["local:dba"], bob = ["local:dba"], agent = ["local:oncall"], root = [] }
[[window]]
name = "repair"
approval = "local:dba"
targets = ["shop"]
longest = "30m"
break_glass = ["local:oncall"]
"#;

/// Attaches with a target whose credential waits for the window, or does not.
fn attach<'s>(shop: &'s Shop, window: &str) -> Gateway<'s> {
    let file = shop.world.file("policies/windows.cedar", POLICIES);
    let folder = file.parent().unwrap().display();
    let target = shop.target("mode = \"verify-full\"", &format!("{}\n{window}", shop.password_of("scram_tls")));
    let text =
        format!("version = 1\naccept_gaps = [\"approver_uid\"]\n[policy]\ndir = \"{folder}\"\n{SETTINGS}{target}");
    let file = shop.world.file("gateway.toml", &text);
    shop.world.attach(&["--config", file.to_str().unwrap()])
}

fn says(shop: &Shop, user: &str, words: &[&str]) -> Said {
    shop.world.cli_as(As { user, ..As::default() }, words)
}

fn asks(shop: &Shop, user: &str, more: &[&str]) -> Said {
    let words = ["request", "repair", "--workload", NAME, "--target", "shop", "--reason", "order 7 is broken"];
    says(shop, user, &[&words, more].concat())
}

fn refused(said: &Said, why: &str) {
    assert!(!said.status.success() && said.err.contains(why), "{said:?}");
}

/// The id in what a request was answered with.
fn id(said: &Said) -> String {
    assert!(said.status.success(), "{said:?}");
    said.out.split_whitespace().nth(1).unwrap().to_owned()
}

fn open(shop: &Shop, more: &[&str]) -> String {
    let id = id(&asks(shop, "alice", more));
    let said = says(shop, "bob", &["approve", &id]);
    assert!(said.status.success() && said.out.contains("open"), "{said:?}");
    id
}

fn end(mut psql: Child) -> Ran {
    // One that goes on would go on for ever.
    wait::until("psql ends", || psql.try_wait().unwrap().is_some());
    let output = psql.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

const UPDATE: &str = "UPDATE orders SET item = 'repaired' WHERE id = 7";

#[test]
fn what_policy_lets_a_window_do_is_done_while_it_is_open_and_sessions_end_with_it() {
    let shop = Shop::new();
    let mut gateway = attach(&shop, "");
    let write = || shop.psql(&[UPDATE]);
    assert!(write().err.contains("no policy permits"), "before");
    let request = id(&asks(&shop, "alice", &["--for", "20m"]));
    refused(&says(&shop, "alice", &["approve", &request]), "alice is who asks for it");
    let listed = says(&shop, "bob", &["approvals", "show", &request]);
    assert!(listed.out.contains("open the window repair for 20 minutes: order 7 is broken"), "{listed:?}");
    assert!(write().err.contains("no policy permits"), "a request is no window");
    assert!(says(&shop, "bob", &["approve", &request]).out.contains("open"));
    let ran = write();
    assert!(ran.ok, "{ran:?}");
    shop.world.event("network.decision", |body| body["decision"]["grants"][0] == "repair");
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_window"));
    shop.runs("marker_window");
    // It outlives the gateway, and its sessions do not outlive it.
    gateway.kill();
    assert!(!end(psql).ok);
    let _gateway = attach(&shop, "");
    let listed = says(&shop, "bob", &["windows"]);
    assert!(listed.out.contains(&request) && listed.out.contains("approved by bob"), "{listed:?}");
    assert!(write().ok);
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_revoked"));
    shop.runs("marker_revoked");
    refused(&says(&shop, "agent", &["revoke", &request]), "did not ask for it");
    assert!(says(&shop, "bob", &["revoke", &request, "--reason", "done"]).status.success());
    let ran = end(psql);
    assert!(!ran.ok && ran.err.contains("the window repair is not open any more"), "{ran:?}");
    wait::until("the end of what it ran", || !shop.is_running("marker_revoked"));
    shop.world.event("session.end", |body| body["cause"] == "approval");
    assert!(write().err.contains("no policy permits"), "after");
    let closed = shop.world.event("window.closed", |body| body["window"] == request.as_str());
    assert_eq!((&closed["person"], &closed["reason"]), (&"bob".into(), &"done".into()), "{closed}");
    assert!(shop.world.cli(&["audit", "verify"]).status.success());
    // What was decided with a window, and without, is decided so again.
    shop.world.event("postgres.statement", |body| body["decision"]["grants"][0] == "repair");
    let file = shop.world.directory().join("gateway.toml");
    let again = shop.world.cli_json(&["policy", "replay", "--config", file.to_str().unwrap()]);
    assert_eq!((&again["changes"], &again["not_decided"]), (&serde_json::json!([]), &serde_json::json!({})), "{again}");
}

#[test]
fn a_window_ends_by_itself_and_with_it_the_sessions_that_rest_on_it() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "");
    let window = open(&shop, &["--for", "8s"]);
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_short"));
    let ran = end(psql);
    assert!(!ran.ok && ran.err.contains("the window repair is not open any more"), "{ran:?}");
    let closed = shop.world.event("window.closed", |body| body["window"] == window.as_str());
    assert_eq!(closed["reason"], "its time is over");
    assert!(says(&shop, "bob", &["windows"]).out.contains("no window is open"));
}

#[test]
fn a_credential_is_supplied_only_while_its_window_is_open() {
    let shop = Shop::new();
    let _gateway = attach(&shop, "window = \"repair\"");
    let read = || shop.psql(&["SELECT count(*) FROM orders"]);
    let ran = read();
    assert!(!ran.ok && ran.err.contains("only while the window repair is open"), "{ran:?}");
    assert!(shop.world.events("credential.used").is_empty());
    let window = open(&shop, &[]);
    assert_eq!(read().out, "100");
    assert!(says(&shop, "alice", &["revoke", &window]).status.success(), "who asked for it may end it");
    assert!(read().err.contains("only while the window repair is open"));
    assert_eq!(shop.world.events("credential.used").len(), 1);
}

#[test]
fn only_what_the_configuration_has_can_be_asked_for_and_glass_breaks_loudly() {
    let shop = Shop::new();
    let gateway = attach(&shop, "");
    let ask = |words: &[&str]| says(&shop, "alice", &[&["request"], words].concat());
    let with = |name, workload, target, time| {
        ask(&[name, "--workload", workload, "--target", target, "--for", time, "--reason", "why"])
    };
    refused(&with("other", NAME, "shop", "5m"), "no [[window]] is called `other`");
    refused(&with("repair", "nobody", "shop", "5m"), "nothing is attached as `nobody`");
    refused(&with("repair", NAME, "elsewhere", "5m"), "there is no target `elsewhere`");
    refused(&with("repair", NAME, "shop", "31m"), "30 minutes at most");
    refused(&ask(&["repair", "--workload", NAME, "--target", "shop", "--reason", " "]), "a window needs a reason");
    refused(&asks(&shop, "alice", &["--break-glass"]), "may not open it alone");
    assert!(shop.psql(&[UPDATE]).err.contains("no policy permits"));
    let said = asks(&shop, "agent", &["--break-glass", "--for", "5m"]);
    assert!(said.status.success() && said.out.contains("is open until"), "{said:?}");
    assert!(shop.psql(&[UPDATE]).ok);
    let opened: Value = shop.world.event("window.opened", |body| body["break_glass"] == true);
    assert_eq!((&opened["person"], &opened["reason"]), (&"agent".into(), &"order 7 is broken".into()), "{opened}");
    assert!(says(&shop, "bob", &["windows"]).out.contains("BREAK GLASS"));
    wait::until("a loud word in the log", || gateway.output().contains("BREAK GLASS"));
}
