//! Who a workload is, by a token that a real OpenID provider issued (G2, G6).
//!
//! In: a provider in the world's own network, tokens in a file. Out: psql gets in while its token counts, under policies
//! that know its groups and claims, and not a moment longer.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::cluster::cached;
use crate::drivers::needs;
use crate::gateway::Gateway;
use crate::shop::{ENDLESS, Shop};
use crate::wait;

const PORT: u16 = 9443;
/// Only who deploys for this repository writes.
const POLICIES: &str = r#"
@id("read") permit (principal in Group::"idp:readers", action in [Action::"read", Action::"session"], resource);
@id("write") permit (principal in Group::"idp:deployers", action in [Action::"write"], resource)
when { principal.hasTag("repository") && principal.getTag("repository").contains("acme/shop") };
"#;

/// The provider, and the file of the token.
struct Issuer<'s> {
    shop: &'s Shop,
    child: Child,
    file: PathBuf,
}

impl<'s> Issuer<'s> {
    fn new(shop: &'s Shop, kid: &str) -> Self {
        let folder = shop.world.directory().to_owned();
        if !folder.join("cert.pem").exists() {
            let make =
                "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=idp -addext subjectAltName=IP:127.0.0.1
                -addext basicConstraints=critical,CA:FALSE";
            let at = folder.display();
            shop.world.sh(&format!("{} -keyout {at}/key.pem -out {at}/cert.pem 2>&1", make.replace('\n', " ")));
        }
        let child = Self::start(shop, kid);
        Self { shop, child, file: folder.join("token") }
    }

    fn start(shop: &Shop, kid: &str) -> Child {
        let module = needs(&cached("openid-provider-").join("node_modules/oidc-provider/lib/index.js"));
        let script = shop.world.file("provider.mjs", include_str!("provider.mjs"));
        let folder = shop.world.directory().display().to_string();
        let mut command = shop.world.command("node");
        command.arg(script).args([&module, &folder, &PORT.to_string(), kid]).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut ready = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        while !ready.ends_with("ready\n") {
            assert_ne!(output.read_line(&mut ready).unwrap(), 0, "the provider ended: {ready}");
        }
        child
    }

    /// The same issuer with another key.
    fn rotates(&mut self, kid: &str) {
        self.stop();
        self.child = Self::start(self.shop, kid);
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn token(&self, client: &str) -> String {
        let ask = format!(
            "curl -sk -u {client}:not-a-secret -d grant_type=client_credentials -d resource=urn:gateway https://127.0.0.1:{PORT}/token"
        );
        let answer: serde_json::Value = serde_json::from_str(&self.shop.world.sh(&ask)).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Puts a new token of this client into the file, as a runner does: whole, at once.
    fn hands(&self, client: &str) {
        let new = self.shop.world.file("token.new", &self.token(client));
        std::fs::rename(new, &self.file).unwrap();
    }

    fn attach(&self, more: &str) -> Gateway<'s> {
        let shop = self.shop;
        shop.world.file("policies/test.cedar", POLICIES);
        let folder = shop.world.directory().display();
        let configuration = format!(
            "version = 1\n[policy]\ndir = \"{folder}/policies\"\n[identity.oidc]\nissuer = \"https://127.0.0.1:{PORT}\"\n\
             audience = \"gateway\"\nprefix = \"idp\"\nclaims = [\"repository\"]\nca = \"{folder}/cert.pem\"\n\
             leeway = \"1s\"\n{more}"
        );
        let configuration = shop.world.file("gateway.toml", &configuration);
        let file = self.file.to_str().unwrap();
        shop.world.attach(&["--config", configuration.to_str().unwrap(), "--token-file", file])
    }
}

impl Drop for Issuer<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What psql says when it is ended, which it has to be.
fn last_words(mut psql: Child) -> String {
    wait::until("the end of psql", || psql.try_wait().unwrap().is_some());
    String::from_utf8(psql.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn policies_know_a_workload_by_the_groups_and_claims_of_its_token() {
    let shop = Shop::new();
    let issuer = Issuer::new(&shop, "one");
    issuer.hands("runner");
    let _gateway = issuer.attach("");
    let written = shop.psql(&["INSERT INTO orders VALUES (7001, 'by a token')"]);
    assert!(written.ok, "{written:?}");
    let start = shop.world.event("session.start", |body| body["who"]["token"]["subject"] == "runner");
    assert_eq!(start["who"]["token"]["issuer"], format!("https://127.0.0.1:{PORT}"));
    assert_eq!(start["who"]["groups"], serde_json::json!(["idp:readers", "idp:deployers"]));
    shop.world.event("token.verified", |body| body["attachment"] == "story" && body["subject"] == "runner");
    // Another workload: it may read, and not write.
    issuer.hands("other");
    shop.world.event("token.verified", |body| body["subject"] == "other");
    assert!(shop.psql(&["SELECT 1"]).ok);
    let refused = shop.psql(&["INSERT INTO orders VALUES (7002, 'by another')"]);
    assert!(!refused.ok && refused.err.contains("no policy permits"), "{refused:?}");
}

#[test]
fn a_session_ends_with_its_token_and_none_begins_without() {
    let shop = Shop::new();
    let issuer = Issuer::new(&shop, "one");
    issuer.hands("runner");
    let _gateway = issuer.attach("");
    issuer.hands("brief");
    shop.world.event("token.verified", |body| body["subject"] == "brief");
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_token"));
    shop.runs("marker_token");
    let said = last_words(psql);
    assert!(said.contains("the gateway ended this session: the token of its workload"), "{said}");
    assert!(said.contains("it has expired: put a new one in its file"), "{said}");
    wait::until("the end of the statement at the server", || !shop.is_running("marker_token"));
    shop.world.event("session.end", |body| body["cause"] == "token");
    let refused = shop.psql(&["SELECT 1"]);
    assert!(
        !refused.ok && refused.err.contains("the token of this workload does not count: it has expired"),
        "{refused:?}"
    );
    issuer.hands("runner");
    wait::until("a session with the new token", || shop.psql(&["SELECT 1"]).ok);
}

#[test]
fn a_token_that_is_replaced_by_another_subjects_or_taken_away_ends_what_runs() {
    let shop = Shop::new();
    let issuer = Issuer::new(&shop, "one");
    issuer.hands("runner");
    let _gateway = issuer.attach("");
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_renewed"));
    shop.runs("marker_renewed");
    // The same workload with a new one goes on.
    let verified = || shop.world.events("token.verified").len();
    let before = verified();
    issuer.hands("runner");
    wait::until("the new token", || verified() > before);
    assert!(shop.is_running("marker_renewed"));
    assert!(shop.world.events("token.refused").is_empty(), "it was good from the first moment on");
    issuer.hands("other");
    let said = last_words(psql);
    assert!(said.contains("says something else than when it began"), "{said}");
    let psql = shop.start_psql(&format!("{ENDLESS} AS marker_taken"));
    shop.runs("marker_taken");
    std::fs::remove_file(&issuer.file).unwrap();
    let said = last_words(psql);
    assert!(said.contains("does not count any more: cannot read"), "{said}");
    shop.world.event("token.refused", |body| body["reason"].as_str().unwrap().contains("cannot read"));
}

#[test]
fn a_token_for_somebody_else_or_by_somebody_else_lets_nobody_in() {
    let shop = Shop::new();
    let mut issuer = Issuer::new(&shop, "one");
    // As good as those of today, but for who signed it.
    let of_before = issuer.token("runner");
    issuer.rotates("one");
    issuer.hands("stranger");
    let _gateway = issuer.attach("");
    let refused = shop.psql(&["SELECT 1"]);
    assert!(!refused.ok && refused.err.contains("it is not for the audience `gateway`"), "{refused:?}");
    std::fs::write(&issuer.file, of_before).unwrap();
    wait::until("the refusal", || shop.psql(&["SELECT 1"]).err.contains("its signature is not the issuer's"));
}

#[test]
fn an_issuer_that_rotates_its_key_is_asked_again_and_one_that_is_away_takes_nothing_away() {
    let shop = Shop::new();
    let mut issuer = Issuer::new(&shop, "one");
    issuer.hands("runner");
    let _gateway = issuer.attach("");
    assert!(shop.psql(&["SELECT 1"]).ok);
    issuer.stop();
    assert!(shop.psql(&["SELECT 1"]).ok, "what was verified counts until it ends");
    issuer.child = Issuer::start(&shop, "two");
    issuer.hands("runner");
    wait::until("the new key", || shop.world.events("token.verified").len() > 1);
    assert!(shop.psql(&["SELECT 1"]).ok);
}

#[test]
fn without_its_issuer_a_token_lets_nobody_in_until_it_is_there() {
    let shop = Shop::new();
    let mut issuer = Issuer::new(&shop, "one");
    issuer.hands("runner");
    issuer.stop();
    let _gateway = issuer.attach("");
    let refused = shop.psql(&["SELECT 1"]);
    assert!(!refused.ok && refused.err.contains("cannot connect to 127.0.0.1:9443"), "{refused:?}");
    issuer.child = Issuer::start(&shop, "one");
    issuer.hands("runner");
    wait::until("a session", || shop.psql(&["SELECT 1"]).ok);
}
