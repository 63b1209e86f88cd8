//! What the file means, and how its faults read.

use gateway_common::Verdict;

use super::*;

pub(super) const WHOLE: &str = r#"
version = 1
state_dir = "/srv/gateway"
accept_gaps = ["root_process"]

[policy]
dir = "/etc/gateway/policies"
disable = ["guard.administer"]

[audit.journal]
durability = "disk"
segment_bytes = 65536
low_bytes = 2000
critical_bytes = 1000
max_bytes = 1048576
max_age_days = 90

[approval]
timeout = "5m"
host = { alice = ["local:dba", "local:sre"], "1042" = ["local:dba"], root = [] }

[exec]
users = ["alice"]

[egress]
default = "deny"
allow = ["10.0.0.0/8:443", "192.0.2.7:*", "[2001:db8::/32]:80"]
unix = ["/run/x.sock", "/run/x/", "@x"]

[undeclared]
postgres = { login = "ask" }

[[attach]]
name = "claude"
cgroup = "/agents.slice"
groups = ["local:developers"]

[[target]]
name = "shop"
protocol = "postgres"
addresses = ["10.9.0.0/16", "2001:db8::5"]
ports = [5432, 6432]
environment = "staging"
  [target.tls]
  mode = "verify-full"
  ca = "/etc/gateway/ca.pem"
  [target.credential]
  user = "agent"
  password = { file = "/etc/gateway/secrets/agent" }

[[target]]
name = "scratch"
protocol = "postgres"
addresses = ["10.9.0.5"]
within = ["ci"]
"#;

#[test]
fn reads_a_whole_file() {
    let config = Config::parse("gateway.toml", WHOLE).unwrap();
    assert_eq!(
        config.journal,
        JournalSection {
            durability: Durability::Disk,
            segment_bytes: 65_536,
            low_bytes: 2_000,
            critical_bytes: 1_000,
            max_bytes: Some(1 << 20),
            max_age: Some(Duration::from_secs(90 * 86_400)),
        }
    );
    assert_eq!(config.undeclared.postgres, Login::Ask);
    assert_eq!(config.approval.host["alice"].iter().collect::<Vec<_>>(), ["local:dba", "local:sre"]);
    assert!(config.approval.host["1042"].contains("local:dba") && config.approval.host["root"].is_empty());
    assert!(config.exec_users.contains("alice"));
    assert_eq!(config.egress.allow.len(), 3);
    assert_eq!(config.egress.allow[1].port, None);
    assert_eq!(config.egress.unix.len(), 3);
    let shop = &config.targets[0];
    assert_eq!((shop.protocol, shop.ports.as_slice()), (Verdict::Postgres, [5432, 6432].as_slice()));
    assert_eq!(shop.credential.as_ref().unwrap().for_users, ["agent"]);
    assert_eq!(config.targets[1].tls.mode, TlsMode::VerifyFull, "strict unless it says otherwise");
}

#[test]
fn the_longest_network_of_the_attachment_names_the_target() {
    let config = Config::parse("gateway.toml", WHOLE).unwrap();
    let target = |attachment: &str, destination: &str| {
        config.target_of(destination.parse().unwrap(), attachment).map(|target| target.name.as_str())
    };
    assert_eq!(target("claude", "10.9.0.5:5432"), Some("shop"));
    assert_eq!(target("ci", "10.9.0.5:5432"), Some("scratch"));
    assert_eq!(target("claude", "10.9.0.5:22"), None);
    assert_eq!(target("claude", "10.8.0.5:5432"), None);
}

#[test]
fn no_credential_has_an_address_that_is_another_machine_in_each_namespace() {
    let everywhere = WHOLE.replace("10.9.0.0/16", "0.0.0.0/0");
    let config = Config::parse("gateway.toml", &everywhere).unwrap();
    let target = |destination: &str| config.target_of(destination.parse().unwrap(), "claude").map(|found| &found.name);
    assert!(target("10.1.2.3:5432").is_some());
    for local in ["127.0.0.1:5432", "127.9.9.9:5432", "0.0.0.0:5432", "169.254.1.1:5432", "[::ffff:127.0.0.1]:5432"] {
        assert_eq!(target(local), None, "{local}");
    }
    let local = WHOLE.replace("10.9.0.0/16", "127.0.0.1");
    let report = Config::parse("gateway.toml", &local).unwrap_err().to_string();
    assert!(report.contains("`target[1].addresses`: `127.0.0.1` is another machine"), "{report}");
    let scratch = WHOLE.replace("10.9.0.5", "127.0.0.0/8");
    let config = Config::parse("gateway.toml", &scratch).unwrap();
    let found = config.target_of("127.0.0.1:5432".parse().unwrap(), "ci").map(|found| found.name.as_str());
    assert_eq!(found, Some("scratch"), "without a credential it is a name for policies");
}

#[test]
fn reports_all_faults_at_once_with_line_and_key() {
    let text = r#"
version = 2
colour = "red"
[approval.host]
alice = ["dba"]
bob = "local:dba"
carol = []
[egress]
default = "maybe"
allow = ["10.0.0.5"]
[[attach]]
name = "a b"
[[target]]
name = "shop"
protocol = "mysql"
addresses = ["10.0.0.300", "*.db.example.com"]
  [target.credential]
  user = "agent"
  password = { file = "/x", env = "Y" }
  [target.tls]
  mode = "require"
"#;
    let error = Config::parse("gateway.toml", text).unwrap_err();
    let report = error.to_string();
    for expected in [
        "line 2: `version`",
        "line 3: `colour`: is no key here",
        "line 4: `approval.host`: `dba`: a group of the configuration is written `local:NAME`",
        "line 6: `approval.host.bob`: expected an array",
        "line 4: `approval.host`: `carol` is in no group",
        "line 9: `egress.default`: `maybe` is not one of `allow`, `deny`",
        "line 10: `egress.allow`: `10.0.0.5` has no port",
        "`attach[1].cgroup`: is missing",
        "line 12: `attach[1].name`",
        "line 15: `target[1].protocol`: `mysql` is not one of",
        "line 16: `target[1].addresses`: `10.0.0.300` is no address",
        "line 16: `target[1].addresses`: `*.db.example.com` is many names",
        "line 19: `target[1].credential.password`: write one of",
        "`target[1].credential.allow_unverified`: a credential goes only to a server that was verified",
    ] {
        assert!(report.contains(expected), "missing: {expected}\nin: {report}");
    }
}

#[test]
fn who_masks_is_said_of_targets_that_are_databases() {
    let text = |protocol: &str, masking: &str| {
        format!(
            "version = 1\n[[target]]\nname = \"a\"\nprotocol = \"{protocol}\"\naddresses = [\"10.0.0.5\"]\n{masking}\n"
        )
    };
    let read = |text: &str| Config::parse("gateway.toml", text).map(|config| config.targets[0].masking);
    assert_eq!(read(&text("postgres", "")).unwrap(), MaskedBy::Rows);
    assert_eq!(read(&text("postgres", "masking = \"source\"")).unwrap(), MaskedBy::Server);
    for (protocol, masking, reason) in [
        ("postgres", "masking = \"views\"", "`views` is not one of `rows`, `source`"),
        ("ssh", "masking = \"source\"", "is for `protocol = \"postgres\"`"),
    ] {
        let error = read(&text(protocol, masking)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn what_is_no_toml_is_a_fault_with_its_line() {
    let error = Config::parse("gateway.toml", "version = 1\nstate_dir = \n").unwrap_err();
    assert_eq!(error.faults[0].line, 2, "{error}");
}

#[test]
fn an_empty_file_asks_for_its_version() {
    let error = Config::parse("gateway.toml", "").unwrap_err();
    assert!(error.to_string().contains("write `version = 1`"), "{error}");
}

const STORE: &str = r#"
version = 1
[audit.clickhouse]
url = "https://10.0.0.9"
user = "gateway_ship"
password = { file = "/etc/gateway/secrets/clickhouse" }
tls = { ca = "/etc/gateway/store-ca.pem", name = "store.example" }
"#;

#[test]
fn reads_where_the_journal_is_copied_to() {
    let store = Config::parse("gateway.toml", STORE).unwrap().clickhouse.unwrap();
    assert_eq!(store.place(), "https://10.0.0.9:8443/gateway");
    assert_eq!(store.tls.unwrap().name.as_deref(), Some("store.example"));
    assert_eq!((store.batch, store.password.is_some()), (10_000, true));
    for (url, place) in [
        ("http://127.0.0.1", "http://127.0.0.1:8123/gateway"),
        ("http://[::1]:9000/", "http://[::1]:9000/gateway"),
        ("http://[::1]", "http://[::1]:8123/gateway"),
    ] {
        let text = STORE.replace("https://10.0.0.9", url).replace("tls =", "# tls =");
        assert_eq!(Config::parse("gateway.toml", &text).unwrap().clickhouse.unwrap().place(), place);
    }
}

#[test]
fn a_cluster_has_a_name_and_a_path_and_any_of_its_servers_can_be_turned_to() {
    let text = STORE.replace("user =", "cluster = { name = \"audit\" }\nuser =");
    let mut store = Config::parse("gateway.toml", &text).unwrap().clickhouse.unwrap();
    let cluster = store.cluster.clone().unwrap();
    assert_eq!((cluster.name.as_str(), cluster.keeper_path.as_str()), ("audit", "/clickhouse/tables/{shard}"));
    store.turn_to("https://10.0.0.10", Some("store-2.example".into())).unwrap();
    assert_eq!(store.place(), "https://10.0.0.10:8443/gateway");
    let tls = store.tls.clone().unwrap();
    assert_eq!(tls.name.as_deref(), Some("store-2.example"));
    assert_eq!(tls.ca, Some("/etc/gateway/store-ca.pem".into()));
    assert!(store.turn_to("http://10.0.0.10", None).unwrap_err().contains("in clear"));
    assert!(store.turn_to("http://127.0.0.1", Some("a".into())).is_err());
    assert_eq!(store.place(), "https://10.0.0.10:8443/gateway", "as it was");
}

#[test]
fn a_place_that_cannot_be_trusted_or_found_is_a_fault() {
    for (from, to, reason) in [
        ("https://10.0.0.9", "http://10.0.0.9", "would travel in clear"),
        ("https://10.0.0.9", "https://store.example", "names are not resolved"),
        ("https://10.0.0.9", "http://127.0.0.1", "says how a server proves itself"),
        ("https://10.0.0.9", "10.0.0.9", "write `https://"),
        ("user =", "database = \"a`b\"\nuser =", "is made of letters"),
        ("user =", "batch = 0\nuser =", "0 is not between"),
        ("user =", "require_remote_within = \"1m\"\nuser =", "is no key here"),
        ("user =", "# user =", "is missing"),
        ("user =", "cluster = {}\nuser =", "is missing"),
        ("user =", "cluster = { name = \"a'b\" }\nuser =", "in `remote_servers`"),
        ("user =", "cluster = { name = \"a\", keeper_path = \"/a'{shard}\" }\nuser =", "a path as"),
        ("user =", "cluster = { name = \"a\", keeper_path = \"/a/{replica}\" }\nuser =", "holds no `{shard}`"),
    ] {
        let error = Config::parse("gateway.toml", &STORE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

const NAMED: &str = r#"
version = 1
[egress]
allow = ["db.example.com:443", "*.example.com:8080"]
[[target]]
name = "shop"
protocol = "postgres"
addresses = ["db.example.com", "10.9.0.5"]
ports = [6432]
within = ["ci"]
"#;

#[test]
fn a_name_says_what_all_say_who_name_it() {
    let config = Config::parse("gateway.toml", NAMED).unwrap();
    let allowed = [(Some(443), Verdict::Allow), (Some(8080), Verdict::Allow)];
    let declared = [(Some(6432), Verdict::Postgres), (None, Verdict::Refuse)];
    assert_eq!(config.of_name("db.example.com", "claude"), allowed);
    assert_eq!(config.of_name("db.example.com", "ci"), [allowed, declared].concat());
    assert_eq!(config.of_name("example.com", "ci"), []);
    assert_eq!(config.target_named("db.example.com", 6432, "ci").unwrap().name, "shop");
    assert!(config.target_named("db.example.com", 5432, "ci").is_none());
    assert!(config.target_named("db.example.com", 6432, "claude").is_none());
}

#[test]
fn a_name_opens_no_protected_port_and_no_server_for_names_is_asked_directly() {
    for (allow, reason) in [
        ("api.example.com:5432", "port 5432 is protected at every address"),
        ("api.example.com:53", "port 53 is protected"),
        ("10.0.0.53:53", "port 53: names are asked through the gateway"),
        ("*.com:443", "stands for a whole top-level domain"),
        ("10.0.0.300:443", "is no address, network or name"),
    ] {
        let text = format!("version = 1\n[egress]\ndefault = \"deny\"\nallow = [\"{allow}\"]\n");
        let error = Config::parse("gateway.toml", &text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let open = "version = 1\n[egress]\nallow = [\"10.0.0.53:53\"]\n";
    assert!(Config::parse("gateway.toml", open).is_ok(), "nobody looks at names there");
}
