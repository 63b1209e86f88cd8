//! A directory of policies that changes under running sessions.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::shop::{ENDLESS, Shop, Side};
use crate::wait;

const PERMIT: &str = r#"@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"ddl",
    Action::"session", Action::"run", Action::"tunnel"], resource);"#;
const NO_READS: &str = r#"@id("no-reads") @message("reading is closed") forbid (principal, action == Postgres::Action::"select", resource);"#;
const NO_CONNECTIONS: &str = r#"@id("closed") @message("closed for the night") forbid (principal, action == Network::Action::"connect", resource);"#;

/// A psql that is told one line after the other.
struct Talk {
    child: Child,
    input: ChildStdin,
    said: Receiver<String>,
}

impl Talk {
    fn start(shop: &Shop) -> Self {
        let script = "exec psql -XAtqw 2>&1";
        let mut command = shop.command(Side::Inside, &[], &["sh", "-c", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, said) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = child.stdin.take().unwrap();
        Self { child, input, said }
    }

    /// What comes back up to this text, or up to the end.
    fn says(&mut self, statement: &str, until: &str) -> String {
        let mut seen = String::new();
        let _ = writeln!(self.input, "{statement}");
        wait::for_some(&format!("`{until}` in answer to `{statement}`"), || {
            while let Ok(line) = self.said.try_recv() {
                seen += &(line + "\n");
            }
            seen.contains(until).then_some(())
        });
        seen
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_new_forbid_denies_the_next_statement_and_a_broken_one_leaves_it_in_force() {
    let shop = Shop::new();
    let file = shop.world.file("policies/a.cedar", PERMIT);
    let mut gateway = shop.world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()]);
    let mut talk = Talk::start(&shop);
    talk.says("SELECT 'first', count(*) FROM orders;", "first|100");
    let loaded = shop.world.events("policy.loaded").len();
    fs::write(&file, format!("{PERMIT}\n{NO_READS}")).unwrap();
    wait::until("new policies", || shop.world.events("policy.loaded").len() > loaded);
    talk.says("SELECT 'second', count(*) FROM orders;", "denied by policy no-reads: reading is closed");
    fs::write(&file, format!("{PERMIT}\nforbid (principal, action,")).unwrap();
    let event = shop.world.event("policy.rejected", |_| true);
    assert!(event["faults"][0].as_str().unwrap().contains("a.cedar"), "{event}");
    gateway.says("the old policies stay in force");
    talk.says("SELECT 'third', count(*) FROM orders;", "denied by policy no-reads: reading is closed");
    talk.says("UPDATE orders SET item = 'x' WHERE id = 1 AND false; \\echo done", "done");
    assert_eq!(shop.reached("'second'") + shop.reached("'third'"), 0);
}

#[test]
fn a_forbid_of_the_connection_ends_the_session_and_what_it_runs() {
    let shop = Shop::new();
    let file = shop.world.file("policies/a.cedar", PERMIT);
    let _gateway = shop.world.attach(&["--policies", file.parent().unwrap().to_str().unwrap()]);
    let psql = shop.start_psql(&format!("BEGIN; INSERT INTO orders VALUES (3001, 'gone'); {ENDLESS} AS marker_policy"));
    shop.runs("marker_policy");
    fs::write(&file, format!("{PERMIT}\n{NO_CONNECTIONS}")).unwrap();
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the gateway ended this session") && said.contains("closed for the night"), "{said}");
    wait::until("the end of the statement at the server", || !shop.is_running("marker_policy"));
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE id = 3001"), "0");
    shop.world.event("session.end", |body| body["cause"] == "policy");
    let ran = shop.psql(&["SELECT 1"]);
    assert!(!ran.ok && ran.err.contains("closed for the night"), "{ran:?}");
}
