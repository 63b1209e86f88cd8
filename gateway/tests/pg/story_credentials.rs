//! Declared targets: who is let in as whom, over what, and where the password never is (G5).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cluster::{NAME, PASSWORD};
use crate::shop::{ENDLESS, Shop, Side};
use crate::wait;

const WHO: &str = "SELECT current_user, (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())";

impl Shop {
    /// The configuration that declares its server, with this login.
    pub fn target(&self, tls: &str, credential: &str) -> String {
        let ca = self.world.file("ca.pem", &self.cluster.ca);
        format!(
            "[[target]]\nname = \"shop\"\nprotocol = \"postgres\"\naddresses = [\"{}\"]\n\
             [target.tls]\nca = \"{}\"\nname = \"{NAME}\"\n{tls}\n[target.credential]\n{credential}\n",
            self.address,
            ca.display()
        )
    }

    /// A credential with the common password.
    pub fn password_of(&self, user: &str) -> String {
        let file = self.world.file("secret/password", &format!("{PASSWORD}\n"));
        format!(
            "user = \"{user}\"\nfor_users = [\"agent\", \"{user}\"]\npassword = {{ file = \"{}\" }}",
            file.display()
        )
    }
}

#[test]
fn the_client_is_let_in_without_a_password_and_the_password_is_nowhere_near_it() {
    let shop = Shop::new();
    let mut gateway = shop.attach_with(&shop.target("mode = \"verify-full\"", &shop.password_of("scram_tls")));
    assert_eq!(shop.psql(&[WHO]).out, "scram_tls|t");
    let wrong = shop.psql_on(Side::Inside, &[("PGUSER", "postgres")], &["SELECT 1"]);
    assert!(wrong.err.contains("no login for user `postgres`") && wrong.err.contains("for_users"), "{wrong:?}");
    let mut psql = shop.start_psql(&format!("{ENDLESS} AS marker_memory"));
    shop.runs("marker_memory");
    let holds = |path: String| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
    };
    let pid = psql.id();
    assert!(!holds(format!("/proc/{pid}/environ")) && !holds(format!("/proc/{pid}/cmdline")));
    assert!(!in_memory(pid), "the password is in the client's memory");
    psql.kill().unwrap();
    psql.wait().unwrap();
    assert!(gateway.stop().success());
    let state = shop.world.directory().join("state").display().to_string();
    let found = shop.world.sh(&format!("grep -rl {PASSWORD} {state} /run/gateway || true"));
    assert_eq!(found, "", "neither journal nor state nor runtime directory");
    assert!(!gateway.output().contains(PASSWORD), "the log");
    let used = shop.world.events("credential.used");
    let ours = used.iter().find(|event| event["body"]["login"] == "scram_tls" && event["body"]["target"] == "shop");
    assert_eq!(ours.unwrap()["body"]["server_identity"], format!("verify-full {NAME}"));
    assert!(shop.world.cli(&["audit", "verify"]).status.success());
}

/// Whether the password is in a process's writable memory.
fn in_memory(pid: u32) -> bool {
    use std::os::unix::fs::FileExt;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut looked = 0;
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            looked += bytes.len();
            if bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()) {
                return true;
            }
        }
    }
    assert!(looked > 100_000, "too little was read: {looked} bytes");
    false
}

#[test]
fn every_way_to_log_in_works_over_a_verified_connection() {
    for user in ["md5_user", "password_user", "scram_user"] {
        let shop = Shop::new();
        let _gateway = shop.attach_with(&shop.target("mode = \"verify-full\"", &shop.password_of(user)));
        assert_eq!(shop.psql(&[WHO]).out, format!("{user}|t"));
    }
}

#[test]
fn a_client_certificate_of_the_gateway_logs_in() {
    let shop = Shop::new();
    let chain = shop.world.file("client.pem", &shop.cluster.client_chain);
    let key = shop.world.file("client.key", &shop.cluster.client_key);
    let tls = format!("mode = \"verify-full\"\ncertificate = \"{}\"\nkey = \"{}\"", chain.display(), key.display());
    let target = shop.target(&tls, "user = \"cert_user\"\nfor_users = [\"agent\"]");
    let _gateway = shop.attach_with(&target);
    assert_eq!(shop.psql(&[WHO]).out, "cert_user|t");
}

#[test]
fn clients_that_ask_for_tls_get_the_gateways_and_verify_it() {
    let shop = Shop::new();
    let _gateway = shop.attach_with(&shop.target("mode = \"verify-full\"", &shop.password_of("scram_tls")));
    for mode in ["disable", "allow", "prefer", "require"] {
        let ran = shop.psql_on(Side::Inside, &[("PGSSLMODE", mode)], &[WHO]);
        assert_eq!(ran.out, "scram_tls|t", "{mode}: {ran:?}");
    }
    let ca = shop.world.cli(&["trust", "--ca"]).out;
    let ca = shop.world.file("gateway-ca.pem", &ca);
    let verified = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", ca.to_str().unwrap())];
    let ran = shop.psql_on(Side::Inside, &verified, &[WHO]);
    assert_eq!(ran.out, "scram_tls|t", "{ran:?}");
    let other = shop.world.directory().join("ca.pem");
    let unverified = [("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", other.to_str().unwrap())];
    let ran = shop.psql_on(Side::Inside, &unverified, &[WHO]);
    assert!(ran.err.contains("certificate verify failed"), "{ran:?}");
}

#[test]
fn a_credential_never_reaches_a_server_that_was_not_verified() {
    let shop = Shop::new();
    let server = GreedyServer::start(&shop);
    let strict = shop.target("mode = \"verify-full\"", &shop.password_of("scram_tls"));
    let greedy = strict.replace("\"shop\"", "\"greedy\"").replacen("\"]\n", "\"]\nports = [6432]\n", 1);
    let other = strict.replace("\"shop\"", "\"other\"").replace(NAME, "other.test");
    let _gateway = shop.attach_with(&format!("{greedy}{other}"));
    let ran = shop.psql_on(Side::Inside, &[("PGPORT", "6432")], &["SELECT 1"]);
    assert!(!ran.ok && ran.err.contains("the server has no tls"), "{ran:?}");
    let seen = server.seen();
    // psql tries twice.
    let rest = seen.replace(r"\x00\x00\x00\x08\x04\xd2\x16/", "");
    assert!(seen != rest && rest == "up ", "questions for TLS and nothing more: {seen}");
    // A real server whose certificate is for another name.
    let ran = shop.psql(&["SELECT 1"]);
    assert!(ran.err.contains("tls handshake with the server failed"), "{ran:?}");
}

#[test]
fn a_credential_for_an_unverified_server_is_a_configuration_error() {
    let shop = Shop::new();
    let text = format!("version = 1\n{}", shop.target("mode = \"require\"", &shop.password_of("scram_tls")));
    let file = shop.world.file("gateway.toml", &text);
    let cgroup = shop.world.cgroup();
    let said = shop.world.cli(&["attach", "--cgroup", cgroup.to_str().unwrap(), "--config", file.to_str().unwrap()]);
    assert!(!said.status.success() && said.err.contains("allow_unverified"), "{said:?}");
}

/// A server without TLS that asks whoever logs in for the password in clear, and keeps all bytes.
const GREEDY: &str = r"
import socket, sys
listener = socket.create_server((sys.argv[1], 6432))
seen = open(sys.argv[2], 'wb', buffering=0)
seen.write(b'up ')
while True:
    client, _ = listener.accept()
    while data := client.recv(4096):
        seen.write(data)
        client.sendall(b'N' if len(data) == 8 else b'R\0\0\0\x08\0\0\0\x03')
";

struct GreedyServer {
    file: PathBuf,
    process: Child,
}

impl GreedyServer {
    /// At the shop's address, on port 6432.
    fn start(shop: &Shop) -> Self {
        let file = shop.world.directory().join("seen");
        let process = Command::new("nsenter")
            .args(["--target", &shop.cluster.pid().to_string(), "--net", "python3", "-c", GREEDY, &shop.address])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { file, process };
        wait::until("the greedy server", || server.seen().starts_with("up"));
        server
    }

    fn seen(&self) -> String {
        fs::read(&self.file).unwrap_or_default().escape_ascii().to_string()
    }
}

impl Drop for GreedyServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
