//! Destinations by name: who may be asked for what, and what an answer opens.

use std::process::Output;
use std::time::Duration;

use rustix::io::Errno;

use crate::dns_server::DnsServer;
use crate::server::{SERVER, Server};
use crate::wait;
use crate::world::{As, World, cgroup_mount};

const BY_NAME: &str = r#"
version = 1
[egress]
default = "deny"
allow = ["api.example.com:443", "*.wild.example.com:8080", "alias.example.com:443", "big.example.com:443",
    "rebound.example.com:443", "metadata.example.com:443", "half.example.com:*"]
"#;

/// A world whose agent may reach these names alone, with a server for names beside the server.
struct Setting {
    world: World,
    server: Server,
    dns: DnsServer,
}

impl Setting {
    fn new() -> Self {
        let world = World::new();
        let server = world.server();
        let mut records: Vec<String> = [
            "--host-record=api.example.com,10.77.0.2,fd77::2",
            "--host-record=a.b.wild.example.com,10.77.0.2",
            "--host-record=wild.example.com,10.77.0.2",
            "--host-record=other.example.com,10.77.0.2",
            "--host-record=db.example.com,10.77.0.2",
            "--cname=alias.example.com,other.example.com",
            "--address=/rebound.example.com/127.0.0.1",
            "--address=/metadata.example.com/169.254.169.254",
            "--host-record=half.example.com,10.77.0.2",
            "--host-record=half.example.com,127.0.0.1",
        ]
        .map(str::to_owned)
        .into();
        records.extend((1..=100).map(|last| format!("--host-record=big.example.com,198.51.100.{last}")));
        let records: Vec<_> = records.iter().map(String::as_str).collect();
        let dns = DnsServer::start(&world, &server, &records);
        Self { world, server, dns }
    }

    fn config(&self) -> String {
        self.world.file("gateway.toml", BY_NAME).display().to_string()
    }

    /// Runs a program inside.
    fn inside(&self, program: &[&str]) -> Output {
        let cgroup = self.world.cgroup();
        let mut command = self.world.command_as(As { cgroup: Some(&cgroup), ..As::default() });
        command.args(program).output().unwrap()
    }

    /// What the C library finds for a name; nothing where it finds none.
    fn look_up(&self, database: &str, name: &str) -> Vec<String> {
        let output = String::from_utf8(self.inside(&["getent", database, name]).stdout).unwrap();
        let stream = output.lines().filter(|line| line.contains("STREAM"));
        stream.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
    }

    /// What dig prints.
    fn dig(&self, arguments: &[&str]) -> String {
        let output = self.inside(&[&["dig", "+tries=1", "+timeout=5"], arguments].concat());
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_allowed_name_connects_at_its_first_try_and_opens_its_port_alone() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let agent = setting.world.agent();
    assert_eq!(agent.connect("10.77.0.2:443"), Err(Errno::CONNREFUSED), "nobody has asked for its name");
    assert_eq!(setting.look_up("ahostsv4", "api.example.com"), [SERVER]);
    agent.connect("10.77.0.2:443").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    assert_eq!(agent.connect("[fd77::2]:443"), Err(Errno::CONNREFUSED), "its other address was not asked for");
    assert_eq!(setting.look_up("ahostsv6", "api.example.com"), ["fd77::2"]);
    agent.connect("[fd77::2]:443").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server");
    for port in [8080, 2379] {
        assert_eq!(agent.connect(&format!("{SERVER}:{port}")), Err(Errno::CONNREFUSED), "{port}");
    }
    agent.connect(&format!("{SERVER}:22")).unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n", "what is protected stays so");
    let event = setting.world.event("network.connect", |body| body["destination"]["port"] == 443);
    assert_eq!(event["destination"]["name"], "api.example.com");
    let admitted = setting.world.event("dns.admitted", |body| body["addresses"][0] == SERVER);
    assert_eq!((&admitted["name"], &admitted["seconds"]), (&"api.example.com".into(), &60.into()));
}

#[test]
fn a_name_that_is_not_on_the_list_is_asked_of_nobody_and_journaled() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    for name in ["other.example.com", "wild.example.com", "secret.api.example.com", "api.example.com.evil.example"] {
        assert_eq!(setting.look_up("ahosts", name), Vec::<String>::new(), "{name}");
        assert_eq!(setting.dns.asked(name), 0, "{name}");
        let event = setting.world.event("dns.refused", |body| body["question"] == name);
        assert_eq!(event["reason"], "not_allowed");
        let cgroup = format!("/{}", setting.world.cgroup().strip_prefix(cgroup_mount()).unwrap().display());
        assert_eq!((&event["who"]["uid"], &event["who"]["cgroup"]), (&setting.world.uid().into(), &cgroup.into()));
        assert_eq!(event["destination"]["address"], SERVER);
    }
    let said = setting.dig(&["other.example.com", "A"]);
    assert!(said.contains("status: NXDOMAIN") && said.contains("this name is not on the list"), "{said}");
    let card = setting.look_up("ahosts", "4242424242424242.example.com");
    assert_eq!(card, Vec::<String>::new());
    setting.world.event("dns.refused", |body| body["question"] == "•••4242.example.com");
}

#[test]
fn names_below_an_allowed_one_and_aliases_open_what_they_lead_to() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let agent = setting.world.agent();
    assert_eq!(setting.look_up("ahostsv4", "A.b.WILD.example.com"), [SERVER]);
    agent.connect("10.77.0.2:8080").unwrap();
    assert_eq!(agent.connect("10.77.0.2:443"), Err(Errno::CONNREFUSED));
    assert_eq!(setting.look_up("ahostsv4", "alias.example.com"), [SERVER]);
    agent.connect("10.77.0.2:443").unwrap();
    assert_eq!(
        setting.look_up("ahostsv4", "other.example.com"),
        Vec::<String>::new(),
        "the alias is allowed, not this"
    );
}

#[test]
fn whichever_server_is_meant_the_question_comes_to_us_and_the_answer_from_there() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    for server in ["198.51.100.7", "127.0.0.1", "2001:db8::53", "169.254.169.254"] {
        let at = format!("@{server}");
        for transport in ["+notcp", "+tcp"] {
            let said = setting.dig(&[&at, transport, "api.example.com", "A"]);
            assert!(said.contains("status: NOERROR") && said.contains("\t10.77.0.2\n"), "{server} {transport}: {said}");
            let said = setting.dig(&[&at, transport, "other.example.com", "A"]);
            assert!(said.contains("status: NXDOMAIN"), "{server} {transport}: {said}");
        }
    }
    let agent = setting.world.agent();
    agent.ask("udp four").unwrap();
    agent.ask("udp six 6").unwrap();
    for (socket, server) in [
        ("four", "198.51.100.8:53"),
        ("four", "198.51.100.9:53"),
        ("six", "[2001:db8::53]:53"),
        ("six", "[::ffff:198.51.100.8]:53"),
    ] {
        let answer = agent.ask(&format!("ask_name {socket} {server} api.example.com")).unwrap();
        assert_eq!(answer, format!("1 records by {server}: No Error"), "not connected to it");
    }
    agent.ask("udp old").unwrap();
    assert_eq!(setting.dns.asked("other.example.com"), 0);
}

#[test]
fn records_that_bring_addresses_unseen_are_left_out() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    for kind in ["HTTPS", "SVCB", "ANY"] {
        let said = setting.dig(&["+notcp", "api.example.com", kind]);
        assert!(said.contains("status: NOERROR") && said.contains("ANSWER: 0"), "{kind}: {said}");
    }
    assert_eq!(setting.dns.asked("api.example.com"), 0);
}

#[test]
fn an_answer_too_long_for_a_datagram_comes_by_tcp() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    assert_eq!(setting.look_up("ahostsv4", "big.example.com").len(), 100);
    setting.world.event("dns.admitted", |body| body["addresses"].as_array().unwrap().len() == 100);
}

#[test]
fn a_name_that_leads_to_this_host_or_its_metadata_opens_nothing() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let agent = setting.world.agent();
    for name in ["rebound.example.com", "metadata.example.com", "half.example.com"] {
        assert_eq!(setting.look_up("ahostsv4", name), Vec::<String>::new(), "{name}");
        let event = setting.world.event("dns.refused", |body| body["question"] == name);
        assert_eq!(event["reason"], "rebinding");
        assert!(setting.dns.asked(name) > 0);
    }
    for address in ["127.0.0.1:443", "169.254.169.254:443", "10.77.0.2:443"] {
        assert_eq!(agent.connect(address), Err(Errno::CONNREFUSED), "{address}");
    }
}

#[test]
fn an_address_closes_when_its_time_is_over_and_what_is_connected_goes_on() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let agent = setting.world.agent();
    assert_eq!(setting.look_up("ahostsv4", "api.example.com"), [SERVER]);
    agent.connect_as("open", "10.77.0.2:443").unwrap();
    assert_eq!(agent.ask("recv open").unwrap(), "hello from the server");
    wait::for_some_within(Duration::from_secs(100), "the end of its time", || {
        agent.connect("10.77.0.2:443").err().map(|error| assert_eq!(error, Errno::CONNREFUSED))
    });
    agent.ask("send open again").unwrap();
    assert_eq!(agent.ask("recv open").unwrap(), "again");
    assert_eq!(setting.look_up("ahostsv4", "api.example.com"), [SERVER]);
    agent.connect("10.77.0.2:443").unwrap();
}

#[test]
fn a_datagram_that_no_hook_sent_to_us_is_not_answered() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let outsider = setting.world.outsider();
    outsider.ask("udp u").unwrap();
    assert_eq!(outsider.ask("ask_name u 127.0.0.1:15001 api.example.com"), Err(Errno::AGAIN));
    setting.world.refused("no_record");
    assert_eq!(setting.dns.asked("api.example.com"), 0);
    let agent = setting.world.agent();
    agent.ask("udp u").unwrap();
    assert_eq!(agent.attempt("sendto u 127.0.0.1:15001"), Err(Errno::CONNREFUSED));
}

#[test]
fn where_everything_passes_and_nothing_is_named_questions_go_where_they_want() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&[]);
    assert_eq!(setting.look_up("ahostsv4", "other.example.com"), [SERVER]);
    assert_eq!(setting.dns.asked("other.example.com"), 1);
    let event = setting.world.event("network.connect", |body| body["destination"]["port"] == 53);
    assert_eq!((&event["destination"]["address"], &event["destination"]["protocol"]), (&SERVER.into(), &"udp".into()));
    assert_eq!(setting.server.seen("tcp 53"), 0);
}

const TARGET: &str = r#"
version = 1
[egress]
default = "deny"
[[target]]
name = "shop"
protocol = "ssh"
addresses = ["db.example.com"]
ports = [6432]
"#;

#[test]
fn a_target_by_name_is_protected_at_the_addresses_of_its_name() {
    let setting = Setting::new();
    let config = setting.world.file("gateway.toml", TARGET).display().to_string();
    let _gateway = setting.world.attach(&["--config", &config]);
    let agent = setting.world.agent();
    assert_eq!(agent.connect("10.77.0.2:6432"), Err(Errno::CONNREFUSED), "nobody has asked for its name");
    assert_eq!(setting.look_up("ahostsv4", "db.example.com"), [SERVER]);
    agent.connect("10.77.0.2:6432").unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    let start = setting.world.event("session.start", |body| body["destination"]["port"] == 6432);
    assert_eq!(start["destination"]["target"], "shop");
    assert_eq!(agent.connect("10.77.0.2:443"), Err(Errno::CONNREFUSED));
    assert_eq!((setting.server.seen("tcp 6432"), setting.server.seen("tcp 443")), (0, 0));
}

#[test]
fn a_target_by_name_where_all_else_passes_is_a_gap_that_is_said() {
    let setting = Setting::new();
    let config = setting.world.file("gateway.toml", &TARGET.replace("deny", "allow")).display().to_string();
    let _gateway = setting.world.attach(&["--config", &config]);
    let gap = setting.world.event("gap", |body| body["name"] == "target_by_name");
    assert!(gap["detail"].as_str().unwrap().contains("`shop`"), "{gap}");
    let status = setting.world.cli_json(&["status"]);
    assert!(status["gaps"].as_array().unwrap().iter().any(|gap| gap["name"] == "target_by_name"), "{status}");
    let agent = setting.world.agent();
    assert_eq!(setting.look_up("ahostsv4", "other.example.com"), [SERVER], "what nobody named is forwarded");
    agent.connect("10.77.0.2:6432").unwrap();
    assert_eq!(agent.recv().unwrap(), "hello from the server", "the gap");
    assert_eq!(setting.look_up("ahostsv4", "db.example.com"), [SERVER]);
    agent.connect("10.77.0.2:6432").unwrap();
    assert_eq!(agent.recv().unwrap(), "SSH-2.0-gateway\\r\\n");
    assert_eq!(agent.connect("10.77.0.2:443"), Err(Errno::CONNREFUSED), "other ports of a declared address");
}

/// A namespace of its own each time: its first question, then its first connect. Without an address but 127.0.0.1 the C
/// library asks nobody; a question that is lost it asks again after five seconds.
const FRESH: &str = r#"
for _ in $(seq "$1"); do unshare --net sh -ec 'ip link set lo up; ip addr add 192.0.2.7/32 dev lo
    exec setpriv --reuid "$0" --regid "$0" --clear-groups bash -c "timeout 4 getent ahostsv4 api.example.com | head -1
        exec 3<>/dev/tcp/10.77.0.2/22; read -r -t 20 line <&3; echo \$line"' "$USER_ID"; done
"#;

#[test]
fn a_hundred_new_namespaces_are_answered_at_their_first_question_and_connect_at_their_first_try() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let cgroup = setting.world.cgroup();
    let mut command = setting.world.command_as(As { cgroup: Some(&cgroup), root: true, ..As::default() });
    command.args(["bash", "-c", FRESH, "bash", "100"]).env("USER_ID", setting.world.uid().to_string());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let count = |start: &str| said.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        (count(SERVER), count("SSH-2.0-gateway")),
        (100, 100),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(setting.dns.asked("api.example.com") >= 100);
}

#[test]
fn every_question_that_is_not_answered_is_in_the_journal() {
    const ASKED: u64 = 2_000;
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    let agent = setting.world.agent();
    setting.dns.stop();
    agent.ask("udp u").unwrap();
    agent.ask(&format!("ask_many u 10.77.0.2:53 api.example.com {ASKED}")).unwrap();
    let refused = |reason: &str| {
        let counts = setting.world.events("network.bypass").into_iter();
        counts.filter_map(|event| event["body"]["refused"][reason].as_u64()).sum::<u64>()
    };
    let unanswered = || {
        let counts = setting.world.events("dns.refused").into_iter();
        counts.filter_map(|event| event["body"]["count"].as_u64()).sum::<u64>()
    };
    let all = || refused("too_many_questions") + refused("questions_lost") + unanswered();
    wait::for_some_within(Duration::from_secs(40), "all questions in the journal", || (all() == ASKED).then_some(()));
    assert!(refused("too_many_questions") + refused("questions_lost") > 0);
    agent.ask("sendto_long u 10.77.0.2:53 5000").unwrap();
    setting.world.refused("questions_too_long");
    agent.connect("10.77.0.2:53").unwrap();
    // As a length: 16705.
    agent.ask("send s AA").unwrap();
    setting.world.event("dns.refused", |body| body["reason"] == "too_long");
}

#[test]
fn changed_servers_for_names_are_asked_from_the_next_second_on() {
    let setting = Setting::new();
    let _gateway = setting.world.attach(&["--config", &setting.config()]);
    assert_eq!(setting.look_up("ahostsv4", "api.example.com"), [SERVER]);
    setting.world.file("resolv.conf", "nameserver 10.77.0.9\n");
    wait::until("nobody to ask", || setting.dig(&["@10.77.0.2", "api.example.com"]).contains("SERVFAIL"));
    setting.world.file("resolv.conf", "nameserver 10.77.0.2\n");
    wait::until("the server", || setting.look_up("ahostsv4", "api.example.com") == [SERVER]);
}
