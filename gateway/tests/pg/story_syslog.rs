//! Events told to a syslog server, a real rsyslogd: in the words that were wanted, over TLS that was verified, each of them
//! also where the server is away, or takes no more than a connection.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::shop::Shop;
use crate::wait;

/// A collector, whose messages stand in a file as they came.
struct Collector<'s> {
    shop: &'s Shop,
    config: PathBuf,
    server: Option<Child>,
}

impl<'s> Collector<'s> {
    /// On loopback; encrypted where it is asked to be.
    fn new(shop: &'s Shop, port: u16, is_encrypted: bool) -> Self {
        let at = shop.world.directory().display().to_string();
        let make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=collector -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        shop.world.sh(&format!("{make} -keyout {at}/key.pem -out {at}/cert.pem 2>&1"));
        let (global, module) = match is_encrypted {
            true => (
                format!(
                    "defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{at}/cert.pem\" defaultNetstreamDriverCertFile=\"{at}/cert.pem\" defaultNetstreamDriverKeyFile=\"{at}/key.pem\""
                ),
                "StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\"",
            ),
            false => (String::new(), ""),
        };
        let text = format!(
            "global(workDirectory=\"{at}\" {global})\nmodule(load=\"imtcp\" {module})\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\naction(type=\"omfile\" file=\"{at}/collected\" template=\"raw\")\n"
        );
        let config = shop.world.file("rsyslog.conf", &text);
        Self { shop, config, server: None }
    }

    fn start(&mut self) {
        let mut command = self.shop.world.command("rsyslogd");
        command.args(["-n", "-i", "NONE", "-f"]).arg(&self.config).stdout(Stdio::null());
        self.server = Some(command.spawn().unwrap());
    }

    /// Waits until it wrote what it has.
    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            self.shop.world.sh(&format!("kill -TERM {}", server.id()));
            server.wait().unwrap();
        }
    }

    fn messages(&self) -> Vec<String> {
        let text = fs::read_to_string(self.shop.world.directory().join("collected")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What it was told of a kind, in JSON.
    fn told(&self, kind: &str) -> Vec<Value> {
        let word = format!(" {kind} - ");
        let messages = self.messages().into_iter();
        messages
            .filter_map(|message| Some(serde_json::from_str(message.split_once(&word)?.1).expect("it is JSON")))
            .collect()
    }

    /// Arguments of a gateway that tells it.
    fn config(&self, feed: &str) -> String {
        let text = format!("version = 1\n[[audit.feed]]\nname = \"collector\"\n{feed}\n");
        self.shop.world.file("gateway.toml", &text).display().to_string()
    }

    fn error(&self) -> String {
        self.shop.world.cli_json(&["status"])["feeds"][0]["error"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
fn a_collector_is_told_over_tls_in_the_words_of_ocsf() {
    let shop = Shop::new();
    let mut collector = Collector::new(&shop, 6514, true);
    collector.start();
    let at = shop.world.directory().display().to_string();
    let config =
        collector.config(&format!("server = \"127.0.0.1\"\nca = \"{at}/cert.pem\"\nkinds = [\"postgres.statement\"]"));
    let _gateway = shop.world.attach(&["--config", &config]);
    assert_eq!(shop.psql(&["SELECT 40 + 2"]).out, "42");
    assert!(!shop.psql(&["DROP TABLE orders"]).ok);
    let long = format!("SELECT 1 /* {} */", "long ".repeat(4_000));
    assert!(shop.psql(&[&long]).ok);
    // What was told twice counts once.
    wait::until("all is told", || {
        let all = collector.messages().concat();
        ["40 + 2", "DROP TABLE", "long long"].iter().all(|text| all.contains(text))
    });
    let told = collector.told("postgres.statement");
    let denied = told.iter().find(|event| event["action_id"] == 2).unwrap_or_else(|| panic!("{told:?}"));
    assert_eq!((&denied["class_uid"], &denied["message"]), (&6005.into(), &"DROP TABLE orders".into()));
    assert_eq!(denied["unmapped"]["decision"]["policies"][0], "guard.postgres.destructive");
    let messages = collector.messages();
    let of = |text: &str| messages.iter().find(|message| message.contains(text)).unwrap();
    // Audit's facility: a warning, and information.
    assert!(of("DROP TABLE").starts_with("<108>1 2") && of("40 + 2").starts_with("<110>1 2"), "{messages:?}");
    // It takes 8,192 bytes, and says where there was more.
    let cut = of("long long");
    assert!(cut.len() <= 8_192, "{}", cut.len());
    assert!(told.iter().any(|event| event["cut"] == true), "{told:?}");
    assert!(!messages.concat().contains("\"input\""));
    let page = shop.world.cli(&["status"]).out;
    assert!(page.contains("events are told to collector: syslog+tls://127.0.0.1:6514"), "{page}");
    // Another certificate is another's: nothing is told to it.
    collector.stop();
    let mut other = Collector::new(&shop, 6514, true);
    let before = other.messages().len();
    other.start();
    assert!(shop.psql(&["SELECT 'not for others'"]).ok);
    wait::until("it is refused", || collector.error().contains("certificate"));
    assert_eq!(other.messages().len(), before);
}

#[test]
fn what_a_server_did_not_read_to_its_end_is_told_again() {
    let shop = Shop::new();
    let mut collector = Collector::new(&shop, 5514, false);
    let config = collector
        .config("server = \"127.0.0.1:5514\"\ntransport = \"tcp\"\nformat = \"json\"\nkinds = [\"session.start\"]");
    let gateway = shop.world.attach(&["--config", &config]);
    // Nobody is there.
    assert!(shop.psql(&["SELECT 1"]).ok);
    wait::until("it is tried", || collector.error().contains("refused"));
    // One who takes connections, and closes them without a look at what came.
    let mut closing = shop.world.command("python3");
    closing.args([
        "-c",
        "import socket\ns = socket.create_server(('127.0.0.1', 5514))\nwhile True: s.accept()[0].close()",
    ]);
    let mut closing = closing.spawn().unwrap();
    assert!(shop.psql(&["SELECT 2"]).ok);
    wait::until("it resets", || !collector.error().is_empty() && !collector.error().contains("refused"));
    closing.kill().unwrap();
    closing.wait().unwrap();
    // One who comes back while another gateway runs.
    drop(gateway);
    let _gateway = shop.world.attach(&["--config", &config]);
    assert!(shop.psql(&["SELECT 3"]).ok);
    collector.start();
    let name = |event: &Value| format!("{} {}", event["journal"], event["seq"]);
    let written = || shop.world.events("session.start").len();
    wait::until("all is told", || {
        collector.told("session.start").iter().map(name).collect::<BTreeSet<_>>().len() >= written()
            && collector.error().is_empty()
    });
    assert!(written() >= 3);
}
