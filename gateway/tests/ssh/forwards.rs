//! Connections through a server: each is a session of its own, judged as if it had come by itself, and ends with the one
//! around it.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::behind::{Behind, Database, INNER, WEB};
use crate::host::{Host, Ran, SERVER, USER, ran};
use crate::wait;

/// An ssh that forwards, until it is dropped.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Host {
    /// `ssh -N` with these options; the local port answers.
    fn forwarding(&self, options: &[&str], port: u16) -> Forwarding {
        let ssh = self.ssh_command(&[&["-N", "-o", "ExitOnForwardFailure=yes"][..], options, &["--"]].concat());
        let forwarding = Forwarding({ ssh }.spawn().unwrap());
        wait::until("the local port", || self.world.sh(&format!("ss -Hltn sport = :{port}")).contains("LISTEN"));
        forwarding
    }

    /// psql inside over a local port.
    fn psql(&self, port: u16, statement: &str) -> Ran {
        ran(&mut self.psql_command(port, &["timeout", "60"], statement))
    }

    fn psql_command(&self, port: u16, before: &[&str], statement: &str) -> std::process::Command {
        let place = format!("host=127.0.0.1 port={port} user=agent dbname=postgres");
        self.command(&[before, &["psql", "-XAtqw", "-c", statement, &place]].concat())
    }

    /// The one session to a target, and the one that it is inside of.
    fn nested(&self, target: &str) -> (Value, Value) {
        let to = |body: &Value, name: &str| body["destination"]["target"] == name;
        let child = self.world.events("session.start").into_iter().find(|event| to(&event["body"], target));
        let child = child.unwrap_or_else(|| panic!("no session to {target}"));
        let parent = self.world.events("session.start").into_iter();
        let parent = parent.into_iter().find(|event| event["session"] == child["body"]["parent"]);
        (parent.unwrap_or_else(|| panic!("no session around {child}")), child)
    }

    fn ends(&self, session: &Value) -> Vec<Value> {
        let ends = self.world.events("session.end").into_iter();
        ends.filter(|event| event["session"] == *session).map(|event| event["body"].clone()).collect()
    }
}

#[test]
fn a_database_behind_a_server_is_judged_masked_and_logged_in_to() {
    let host = Host::new();
    let database = Database::new(&host);
    let _gateway = host.attach_with(&(host.target() + &database.target(&host, "", "")), &[]);
    let _forwarding = host.forwarding(&["-L", &format!("5433:{}:5432", database.address)], 5433);
    let ran = host.psql(5433, "SELECT current_user, '4242' || '424242424242', inet_client_addr()");
    let from = database.address.replace(".2", ".1");
    assert_eq!(ran.out.trim(), format!("scram_tls|•••4242|{from}"), "{ran:?}");
    let denied = host.psql(5433, "DROP TABLE t");
    assert!(denied.err.contains("denied by policy guard.postgres.destructive"), "{denied:?}");
    let (parent, child) = host.nested("db");
    assert_eq!(parent["body"]["destination"]["target"], "web");
    assert_eq!(parent["body"]["who"]["workload"], child["body"]["who"]["workload"]);
    assert_eq!(child["body"]["destination"]["address"], database.address.as_str());
    let used = host.world.event("credential.used", |body| body["target"] == "db");
    assert_eq!(used["login"], "scram_tls");
}

#[test]
fn a_credential_for_servers_that_nobody_verified_is_not_used_through_another() {
    let host = Host::new();
    let database = Database::new(&host);
    let target = database.target(&host, "mode = \"require\"", "allow_unverified = true");
    let _gateway = host.attach_with(&(host.target() + &target), &[]);
    let _forwarding = host.forwarding(&["-L", &format!("5433:{}:5432", database.address)], 5433);
    let ran = host.psql(5433, "SELECT 1");
    assert!(ran.code != Some(0) && ran.err.contains("verified"), "{ran:?}");
}

#[test]
fn a_jump_ends_in_a_session_of_its_own_at_the_second_server() {
    let host = Host::new();
    let behind = Behind::new(&host);
    let _gateway = host.attach_with(&(host.target() + &behind.target), &[]);
    let jump = format!("{USER}@{SERVER}");
    let inner = |to: &str, command: &str| {
        let place = format!("{USER}@{to}");
        ran(&mut host
            .command(&[&["timeout", "60", "ssh"][..], &Host::options(), &["-J", &jump, &place, command]].concat()))
    };
    let ran = inner(INNER, "echo $SSH_CONNECTION; exit 3");
    assert!(ran.code == Some(3) && ran.out.starts_with("10.78.0.1 "), "{ran:?}");
    assert!(ran.out.trim().ends_with(&format!("{INNER} 22")), "{ran:?}");
    let denied = inner(INNER, "nc 10.0.0.9 22");
    assert!(denied.code == Some(126) && denied.err.contains("guard.ssh.relay"), "{denied:?}");
    let (parent, child) = host.nested("inner");
    assert_eq!(parent["body"]["destination"]["target"], "web");
    let requests = host.world.events("ssh.request");
    let commands = requests.iter().filter(|event| event["session"] == child["session"]);
    assert!(commands.into_iter().any(|event| event["body"]["phase"] == "exec"), "{requests:#?}");
    let decision = host.world.event("network.decision", |body| body["destination"]["target"] == "inner");
    assert!(decision.to_string().contains("\"via\""), "{decision}");
    // By the name that the target has, which the server at the far end cannot find.
    let named = inner("inner.test", "true");
    assert_eq!(named.code, Some(255), "{named:?}");
    let start = host.world.event("session.start", |body| body["destination"]["name"] == "inner.test");
    assert_eq!(start["destination"]["target"], "inner");
}

#[test]
fn sessions_nest_no_deeper_than_anybody_needs() {
    let host = Host::new();
    let _gateway = host.attach();
    let hops: String = (0..7)
        .map(|hop| {
            let jump = if hop == 0 { String::new() } else { format!("  ProxyJump hop{}\n", hop - 1) };
            format!("Host hop{hop}\n  HostName {SERVER}\n  User {USER}\n  BatchMode yes\n{jump}")
        })
        .collect();
    let config = host.world.file("hops", &hops).display().to_string();
    let jumps = |count: usize| {
        let place = format!("hop{count}");
        ran(&mut host.command(&["timeout", "100", "ssh", "-F", &config, &place, "echo here"]))
    };
    let deep = jumps(4);
    assert_eq!(deep.out, "here\n", "{deep:?}");
    let deeper = jumps(5);
    assert!(deeper.code == Some(255) && deeper.err.contains("administratively prohibited"), "{deeper:?}");
    let refused = host.requests("unreadable");
    assert!(refused.iter().any(|body| body.to_string().contains("4 deep and no deeper")), "{refused:?}");
}

#[test]
fn a_socks_proxy_leads_to_engines_and_where_egress_says() {
    let host = Host::new();
    let (behind, database) = (Behind::new(&host), Database::new(&host));
    let config = format!(
        "{}{}{}[egress]\nallow = [\"{INNER}:{WEB}\"]\n",
        host.target(),
        behind.target,
        database.target(&host, "", "")
    );
    let _gateway = host.attach_with(&config, &[]);
    let _forwarding = host.forwarding(&["-D", "1080"], 1080);
    let page = |place: &str| {
        let url = format!("http://{place}/page");
        ran(&mut host.command(&["curl", "-sS", "--max-time", "60", "--socks5-hostname", "127.0.0.1:1080", &url]))
    };
    wait::until("the web server", || page(&format!("{INNER}:{WEB}")).out == "served\n");
    let end = host.world.event("session.start", |body| body["destination"]["protocol"] == "tcp");
    assert_eq!(end["destination"]["port"], WEB);
    // Another port of the same server, which is declared; a name that nobody declared; a metadata service.
    for place in [format!("{INNER}:{}", WEB + 1), "elsewhere.test:80".to_owned(), "169.254.169.254:80".to_owned()] {
        assert_ne!(page(&place).code, Some(0), "{place}");
    }
    let address = &database.address;
    let mut socat = host.command(&["socat", "TCP-LISTEN:5434,fork,bind=127.0.0.1"]);
    let socat = socat.arg(format!("SOCKS4A:127.0.0.1:{address}:5432,socksport=1080")).stdout(Stdio::null());
    let _socat = Forwarding(socat.spawn().unwrap());
    wait::until("socat", || host.world.sh("ss -Hltn sport = :5434").contains("LISTEN"));
    let ran = host.psql(5434, "SELECT current_user, '4242' || '424242424242'");
    assert_eq!(ran.out.trim(), "scram_tls|•••4242", "{ran:?}");
}

#[test]
fn what_nothing_can_read_is_not_forwarded_unless_egress_says_so() {
    let host = Host::new();
    let _behind = Behind::new(&host);
    let _gateway = host.attach();
    let through = |place: &str| host.ssh(&["-W", place, "--"]);
    let unread = through(&format!("{INNER}:{WEB}"));
    assert!(unread.err.contains("administratively prohibited"), "{unread:?}");
    let decision = host.world.event("network.decision", |body| body["destination"]["port"] == WEB);
    assert_eq!(decision["decision"]["policies"][0], "guard.network.forward");
    // Loopback is the server itself, of which other ports are nobody's.
    for place in ["127.0.0.1:8080", "localhost:8080", "0x0a4e0002:8080", "10.77.0.2:2379", "unknown.test:22"] {
        let ran = through(place);
        assert!(ran.err.contains("administratively prohibited"), "{ran:?}");
        wait::until(&format!("{place} as unreadable"), || {
            host.requests("unreadable").iter().any(|body| body["text"].as_str().unwrap().contains(place))
        });
    }
    // Read as what its port speaks, and refused in those words.
    let undeclared = ran(&mut host.command(
        &[&["ssh"][..], &Host::options(), &["-J", &format!("{USER}@{SERVER}"), &format!("{USER}@{INNER}"), "true"]]
            .concat(),
    ));
    assert!(undeclared.err.contains("declare the target"), "{undeclared:?}");
}

#[test]
fn a_session_ends_with_the_one_around_it() {
    let host = Host::new();
    let database = Database::new(&host);
    let permit = "@id(\"all\") permit (principal, action in [Action::\"session\", Action::\"read\"], resource);
        @id(\"calls\") permit (principal, action == Postgres::Action::\"execute\", resource);";
    let policies = host.world.file("policies/test.cedar", permit).parent().unwrap().display().to_string();
    let sleeps = "[policy]\ndisable = [\"guard.postgres.opaque-functions\"]\n";
    let config = host.target() + &database.target(&host, "", "") + sleeps;
    let _gateway = host.attach_with(&config, &["--policies", &policies]);
    let forwards = format!("5433:{}:5432", database.address);
    let forwarding = host.forwarding(&["-L", &forwards], 5433);
    let sleeping = |seconds: u32| {
        let like = format!("query LIKE '%pg_sleep({seconds})%' AND pid <> pg_backend_pid() AND state = 'active'");
        database.cluster.admin(&format!("SELECT count(*) FROM pg_stat_activity WHERE {like}")) != "0"
    };
    let mut psql = host.psql_command(5433, &[], "SELECT pg_sleep(601)").spawn().unwrap();
    wait::until("the statement", || sleeping(601));
    drop(forwarding);
    wait::until("the statement's end", || !sleeping(601));
    psql.wait().unwrap();
    let (parent, child) = host.nested("db");
    wait::until("two ends", || !host.ends(&parent["session"]).is_empty() && !host.ends(&child["session"]).is_empty());
    // The same where a policy ends the one around: the one inside is told why.
    let _forwarding = host.forwarding(&["-L", &forwards], 5433);
    let mut psql = host.psql_command(5433, &[], "SELECT pg_sleep(602)");
    let psql = psql.stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the statement", || sleeping(602));
    let over = "@id(\"over\") forbid (principal, action == Network::Action::\"connect\", resource in Target::\"web\");";
    host.world.file("policies/test.cedar", &format!("{permit}\n{over}"));
    wait::until("the statement's end", || !sleeping(602));
    let said = String::from_utf8(psql.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("the session around it ended"), "{said}");
}
