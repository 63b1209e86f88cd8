//! `gateway login`: people at the console by the command line, where a browser of their own host brings them back.
//!
//! In: a real OpenID provider, curl as the browser, and commands of a user whom the gateway's host does not know. Out: logins that
//! count for that console until they end, and none with what was made for another login or another client.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use crate::console::{CONSOLE, Got, People};
use crate::gateway::{Gateway, Said};
use crate::shop::Shop;
use crate::world::As;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("asked") @approval("idp:dba") @reason("required") @message("changes wait for a person")
forbid (principal, action == Postgres::Action::"update", resource);
"#;
/// Where the login is kept.
const KEPT: &str = "/run/home/.local/state/gateway";

fn attach<'s>(shop: &'s Shop, people: &People<'_>) -> Gateway<'s> {
    attach_as(shop, &people.config())
}

/// The same with these lines.
fn attach_as<'s>(shop: &'s Shop, lines: &str) -> Gateway<'s> {
    let at = shop.world.directory().display().to_string();
    shop.world.file("policies/console.cedar", POLICIES);
    let configuration = format!("version = 1\n[policy]\ndir = \"{at}/policies\"\n{lines}");
    let configuration = shop.world.file("gateway.toml", &configuration);
    let gateway = shop.world.attach(&["--config", configuration.to_str().unwrap()]);
    let ca = shop.world.cli(&["trust", "--ca", "--config", configuration.to_str().unwrap()]);
    shop.world.file("console-ca.pem", &ca.out);
    gateway
}

/// `gateway login`, which waits for who comes back.
struct Begun {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// The page that it names.
    page: String,
    /// The code that is to be typed there.
    code: String,
}

impl Begun {
    fn at(shop: &Shop) -> Self {
        Self::by(shop, "--no-browser")
    }

    fn by(shop: &Shop, how: &str) -> Self {
        let mut command = shop.world.command_as(As::default());
        let ca = shop.world.directory().join("console-ca.pem");
        command.args(["env", "HOME=/run/home", "timeout", "60", "/run/it/gateway", "login", how]);
        command.args(["--console", CONSOLE, "--ca"]).arg(ca);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let ends = if how == "--device" { "should have:\n\n" } else { "):\n\n" };
        while !said.ends_with("\n\n") || !said.split(ends).nth(1).is_some_and(|rest| rest.contains("\n\n")) {
            assert_ne!(errors.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        }
        let page = said.lines().find(|line| line.trim().starts_with("https://")).unwrap().trim().to_owned();
        let code = said.split("should have:\n\n").nth(1).unwrap_or_default().trim().to_owned();
        Self { child, errors, page, code }
    }

    /// What is in the page's address.
    fn of(&self, name: &str) -> String {
        let mut fields = self.page.split(['?', '&']);
        fields.find_map(|field| field.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    }

    /// The same page with something else there.
    fn with(&self, name: &str, value: &str) -> String {
        self.page.replace(&format!("{name}={}", self.of(name)), &format!("{name}={value}"))
    }

    /// Where it listens, with what an issuer would send.
    fn callback(&self, query: &str) -> String {
        let port = self.of("redirect_uri").split("%3A").nth(2).unwrap().split("%2F").next().unwrap().to_owned();
        format!("'http://127.0.0.1:{port}/callback?{query}'")
    }

    fn end(mut self) -> Said {
        let mut err = String::new();
        std::io::Read::read_to_string(&mut self.errors, &mut err).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Said { status: output.status, out: String::from_utf8(output.stdout).unwrap(), err }
    }

    /// It says why there is no login, and keeps none.
    fn fails(self, shop: &Shop, why: &str) {
        let said = self.end();
        assert!(!said.status.success() && said.err.contains(why), "{why} in {said:?}");
        assert_eq!(shop.world.sh(&format!("ls {KEPT} 2>/dev/null || true")), "", "something is kept");
    }
}

/// A command of the person, at the console.
fn cli(shop: &Shop, arguments: &[&str]) -> Said {
    let through = &["env", "HOME=/run/home", "GATEWAY_CONSOLE=https://127.0.0.1:7443"][..];
    shop.world.cli_as(As { through, ..As::default() }, arguments)
}

fn log_in(shop: &Shop, site: &People<'_>, name: &str) -> Said {
    let begun = Begun::at(shop);
    let back = site.visit(name, &begun.page);
    assert!(back.status == 200 && back.body.contains("Go back to your terminal"), "{back:?}");
    let said = begun.end();
    assert!(said.status.success(), "{said:?}");
    said
}

#[test]
fn a_person_logs_in_by_the_command_line_until_they_log_out() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let none = cli(&shop, &["login", "--status"]);
    assert!(!none.status.success() && none.err.contains("logged in at no console"), "{none:?}");
    let said = log_in(&shop, &site, "alice");
    for expected in ["as idp:alice, in idp:dba, until 20", CONSOLE, "decisions count for"] {
        assert!(said.out.contains(expected), "{expected} in {said:?}");
    }
    let kept = format!("{KEPT}/127.0.0.1:7443.login");
    assert_eq!(
        shop.world.sh(&format!("stat -c '%a %U %F' {KEPT} {kept}")),
        "700 agent directory\n600 agent regular file\n"
    );
    let kept = shop.world.sh(&format!("cat {kept}"));
    let value: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let secrets = ["session", "token"].map(|key| value[key].as_str().unwrap().to_owned());
    let status = cli(&shop, &["--json", "login", "--status"]);
    assert!(status.status.success() && status.out.contains("idp:alice"), "{status:?}");
    for secret in &secrets {
        assert!(!format!("{said:?}{status:?}").contains(secret), "a secret is printed");
    }
    let login = shop.world.event("console.login", |body| body["person"] == "idp:alice");
    assert_eq!(login["groups"], serde_json::json!(["idp:dba"]));
    // From inside there is no console.
    let cgroup = shop.world.cgroup();
    let through = &["env", "HOME=/run/home"][..];
    let inside =
        shop.world.cli_as(As { cgroup: Some(&cgroup), through, ..As::default() }, &["login", "--console", CONSOLE]);
    assert!(!inside.status.success() && inside.err.contains("cannot connect to the console"), "{inside:?}");
    let out = cli(&shop, &["logout"]);
    assert!(out.status.success() && out.out.contains("logged out"), "{out:?}");
    assert_eq!(shop.world.sh(&format!("ls {KEPT}")), "");
    // And what somebody kept of it counts no more.
    let cookie = format!("-H 'cookie: __Host-gateway={}' {CONSOLE}/api/v1/me", secrets[0]);
    assert_eq!(site.curl("thief", &cookie).status, 401);
}

/// What a person does in a browser of their own.
const STEPS: &str = r#"
export default async ({ page, args: [address], press, text, picture }) => {
  await page.goto(address);
  await page.type('input[name=login]', 'alice');
  await page.type('input[name=password]', 'x');
  await press('button[type=submit]');
  await press('button[type=submit]');
  await page.waitForFunction(() => location.hostname === '127.0.0.1' && location.pathname === '/callback');
  await picture('callback');
  console.log('back', await text('body'));
};
"#;

#[test]
fn a_browser_comes_back_to_the_port_that_waits() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let begun = Begun::at(&shop);
    let said = site.browse(STEPS, &[&begun.page]);
    assert!(said.contains("back Go back to your terminal"), "{said}");
    let said = begun.end();
    assert!(said.status.success() && said.out.contains("as idp:alice"), "{said:?}");
}

/// Types the code of a device at the issuer, and logs in there; `say` is what the person says of it.
fn types(site: &People<'_>, name: &str, begun: &Begun, say: &str) -> Got {
    let form = site.curl(name, &format!("'{}'", begun.page));
    let secret = form.body.split("name=\"xsrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = format!("-d xsrf={secret} -d user_code={}", begun.code);
    let shown = site.curl(name, &format!("{fields} '{}'", begun.page));
    assert!(shown.body.contains(&begun.code), "the person sees which code: {shown:?}");
    let fields = format!("-L {fields} -d {say} '{}'", begun.page);
    if say == "abort=yes" { site.curl(name, &fields) } else { site.consent(name, &fields) }
}

#[test]
fn a_code_that_is_typed_at_the_issuer_logs_in_who_asked_for_it_and_nobody_else() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach_as(&shop, &(site.config() + "device_code = true\n"));
    let begun = Begun::by(&shop, "--device");
    let done = types(&site, "alice", &begun, "confirm=yes");
    assert!(done.status == 200 && done.body.contains("Sign-in Success"), "{done:?}");
    let said = begun.end();
    assert!(said.status.success() && said.out.contains("as idp:alice, in idp:dba"), "{said:?}");
    let psql = shop.start_psql("UPDATE orders SET item = 'by code' WHERE id = 9");
    let id = waiting(&shop, "UPDATE orders");
    let approved = cli(&shop, &["approve", &id, "--reason", "agreed"]);
    assert!(approved.status.success(), "{approved:?}");
    assert!(psql.wait_with_output().unwrap().status.success());
    let decided = shop.world.event("approval.decided", |body| body["ticket"] == id.as_str());
    assert!(decided["known_by"].as_str().unwrap().ends_with(", by device code"), "{decided}");
    assert!(cli(&shop, &["logout"]).status.success());
    // Who says no at the issuer.
    let begun = Begun::by(&shop, "--device");
    types(&site, "bob", &begun, "abort=yes");
    begun.fails(&shop, "the issuer did not let you in");
    // What is made up, and what is over.
    for login in ["", "x", &"0".repeat(64)] {
        let sent = format!("-d '{{\"login\":\"{login}\"}}' {CONSOLE}/api/v1/login/device/poll");
        assert_eq!(site.curl("eve", &sent).status, 403, "{login}");
    }
    // A login by device code takes no token that somebody brings, and a code of the other way no device's.
    let begun = site.curl("eve", &format!("-d '{{}}' {CONSOLE}/api/v1/login/device"));
    assert_eq!(begun.status, 200, "{begun:?}");
    let device: serde_json::Value = serde_json::from_str(begun.body.rsplit_once('\n').unwrap().0).unwrap();
    assert!(!begun.body.contains("device_code"), "the device code leaves the gateway: {begun:?}");
    let login = device["login"].as_str().unwrap();
    for (sent, path) in [
        (format!("{{\"login\":\"{login}\",\"id_token\":\"x\"}}"), "device/poll"),
        (format!("{{\"login\":\"{login}\",\"state\":\"\",\"code\":\"x\"}}"), "code"),
    ] {
        let crossed = site.curl("eve", &format!("-d '{sent}' {CONSOLE}/api/v1/login/{path}"));
        assert!(matches!(crossed.status, 400 | 403), "{crossed:?}");
    }
    let again = site.curl("eve", &format!("-d '{{}}' {CONSOLE}/api/v1/login/device"));
    let soon = site.curl("eve", &format!("-d '{{}}' {CONSOLE}/api/v1/login/device"));
    assert!(again.status == 409 || soon.status == 409, "the issuer is asked as often as anybody likes: {soon:?}");
    assert_eq!(shop.world.events("console.login").len(), 1);
}

#[test]
fn where_no_client_or_no_device_code_is_configured_there_is_no_such_login() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach_as(&shop, &site.config().replace("cli_client_id = \"cli\"\n", ""));
    let ca = shop.world.directory().join("console-ca.pem").display().to_string();
    for (how, why) in [("--no-browser", "`[console] cli_client_id`"), ("--device", "`[console] device_code`")] {
        let said = cli(&shop, &["login", how, "--ca", &ca]);
        assert!(!said.status.success() && said.err.contains(why), "{why} in {said:?}");
    }
    // A certificate of an authority that nobody named.
    let said = cli(&shop, &["login", "--no-browser"]);
    assert!(!said.status.success() && said.err.contains("did not prove to be that console"), "{said:?}");
}

#[test]
fn an_issuer_with_other_hosts_is_asked_at_those_that_are_listed() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    shop.world.file("elsewhere", "");
    let lines = site.config() + "device_code = true\n";
    let gateway = attach_as(&shop, &lines);
    let ca = shop.world.directory().join("console-ca.pem").display().to_string();
    for how in ["--no-browser", "--device"] {
        let said = cli(&shop, &["login", how, "--ca", &ca]);
        assert!(!said.status.success() && said.err.contains("write `also = [\"127.0.0.1:9445\"]`"), "{said:?}");
    }
    drop(gateway);
    let _gateway = attach_as(&shop, &lines.replace("[console]", "also = [\"127.0.0.1:9445\"]\n[console]"));
    log_in(&shop, &site, "alice");
    let begun = Begun::by(&shop, "--device");
    types(&site, "bob", &begun, "confirm=yes");
    let said = begun.end();
    assert!(said.status.success() && said.out.contains("idp:bob"), "{said:?}");
}

fn waiting(shop: &Shop, text: &str) -> String {
    let body = shop.world.event("approval.requested", |body| body["summary"].to_string().contains(text));
    body["ticket"].as_str().unwrap().to_owned()
}

#[test]
fn who_is_logged_in_decides_by_the_command_line_and_it_happens_once() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let refused = |said: Said, why: &str| assert!(!said.status.success() && said.err.contains(why), "{why}: {said:?}");
    refused(
        cli(&shop, &["approvals"]),
        "you are not logged in at https://127.0.0.1:7443: run `gateway login --console",
    );
    log_in(&shop, &site, "alice");
    assert_eq!(cli(&shop, &["approvals"]).out, "nothing waits for approval\n");
    let psql = shop.start_psql("UPDATE orders SET item = 'from elsewhere' WHERE id = 9");
    let id = waiting(&shop, "UPDATE orders");
    let listed = cli(&shop, &["approvals"]);
    for expected in [id.as_str(), "UPDATE orders", "0 of 1 of idp:dba with a reason", "asked"] {
        assert!(listed.out.contains(expected), "{expected} in {listed:?}");
    }
    let shown = cli(&shop, &["approvals", "show", &id]);
    assert!(shown.out.contains("changes wait for a person") && !shown.out.contains("from elsewhere"), "{shown:?}");
    refused(cli(&shop, &["approve", &id]), "has to say why");
    refused(cli(&shop, &["sessions"]), "`[console] viewers`");
    let said = cli(&shop, &["approve", &id, "--reason", "agreed"]);
    assert!(said.status.success() && said.out.contains(": approved"), "{said:?}");
    let output = psql.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 9"), "from elsewhere");
    assert_eq!(shop.reached("UPDATE orders"), 1);
    let decided = shop.world.event("approval.decided", |body| body["ticket"] == id.as_str());
    assert_eq!((&decided["person"], &decided["channel"]), (&"idp:alice".into(), &"console".into()), "{decided}");
    assert!(decided["known_by"].as_str().unwrap().ends_with(", by the command line"), "{decided}");
    refused(cli(&shop, &["approve", &id, "--reason", "again"]), "");
    let shown = cli(&shop, &["approvals", "show", &id, "--console", "https://other.example.com"]);
    refused(shown, "you are not logged in at https://other.example.com");
    // Without the variable, it is the gateway of this host that is asked: and she is none of its people.
    refused(shop.world.cli_as(As::default(), &["approvals"]), "does not answer you");
    // Whom the issuer asked longer ago than counts for a say.
    log_in(&shop, &site, "sloth");
    let psql = shop.start_psql("UPDATE orders SET item = 'late' WHERE id = 10");
    let late = shop.world.event("approval.requested", |body| body["ticket"] != id.as_str());
    let late = late["ticket"].as_str().unwrap().to_owned();
    assert!(cli(&shop, &["approvals"]).out.contains(&late));
    let why =
        "your login is too old for a decision: log in again: run `gateway login --console https://127.0.0.1:7443`";
    refused(cli(&shop, &["approve", &late, "--reason", "late"]), why);
    // And whoever logs out says no more.
    log_in(&shop, &site, "olga");
    let sessions = cli(&shop, &["sessions"]);
    assert!(sessions.status.success() && sessions.out.matches("postgres 10.").count() == 2, "{sessions:?}");
    let sessions = cli(&shop, &["--json", "sessions", "--console", CONSOLE]);
    let sessions: serde_json::Value = serde_json::from_str(&sessions.out).unwrap();
    assert_eq!(sessions, shop.world.cli_json(&["sessions"]), "what the host itself says");
    refused(cli(&shop, &["sessions", "--console", CONSOLE, "--state-dir", "/nowhere"]), "name one of them");
    assert!(cli(&shop, &["logout"]).status.success());
    refused(cli(&shop, &["deny", &late, "--reason", "out"]), "you are not logged in");
    log_in(&shop, &site, "bob");
    assert!(cli(&shop, &["deny", &late, "--reason", "not today"]).out.contains("denied"));
    let output = psql.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not today"), "{output:?}");
    assert_eq!(shop.reached("UPDATE orders"), 1);
}

#[test]
fn what_was_made_for_another_login_or_client_lets_nobody_in() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let curl = |arguments: &str| site.curl("other", arguments);
    // Another login's state: what comes back is turned away, and the port is closed.
    let begun = Begun::at(&shop);
    let strange = curl(&begun.callback("code=x&state=y"));
    assert!(strange.status == 400 && strange.body.contains("not logged in"), "{strange:?}");
    begun.fails(&shop, "(`state`)");
    // What is no way back ends nothing; a code that the issuer did not make does.
    let begun = Begun::at(&shop);
    let elsewhere = begun.callback("").replace("/callback?", "/");
    assert_eq!(curl(&elsewhere).status, 404);
    assert_eq!(curl(&format!("-H 'host: evil' {}", begun.callback("code=x"))).status, 421);
    let wrong = begun.callback(&format!("code=x&state={}", begun.of("state")));
    assert_eq!(curl(&wrong).status, 200, "it does not say whether a code is good");
    begun.fails(&shop, "you are not logged in");
    shop.world.event("console.login_failed", |body| body["failed"]["no_token"] == 1);
    // Another issuer's answer.
    let begun = Begun::at(&shop);
    let query = format!("code=x&iss=https%3A%2F%2Fevil&state={}", begun.of("state"));
    curl(&begun.callback(&query));
    begun.fails(&shop, "another issuer");
    // A token for another login: its nonce is that of one that was begun here as well.
    let (begun, other) = (Begun::at(&shop), Begun::at(&shop));
    let back = site.visit("alice", &begun.with("nonce", &other.of("nonce")));
    assert_eq!(back.status, 200, "{back:?}");
    begun.fails(&shop, "its claim `nonce`");
    let refused = shop.world.event("console.login_failed", |body| body["failed"]["token_refused"] == 1);
    assert_eq!(refused["failed"]["token_refused"], 1);
    // A code for the browser's client: the issuer gives the command line's no token for it.
    let redirect = format!("{CONSOLE}/callback").replace(':', "%3A").replace('/', "%2F");
    let page = other.with("client_id", "console").replace(&other.of("redirect_uri"), &redirect);
    let back = site.visit("bob", &page);
    assert!(back.status == 403 && back.body.contains("not begun here"), "a page of the console: {back:?}");
    let code = code_of(&back);
    curl(&other.callback(&format!("code={code}&state={}", other.of("state"))));
    other.fails(&shop, "you are not logged in");
    // An attempt of a browser is none of the command line, and the other way round.
    let begun = site.get("eve", "/login");
    let state = begun.head.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let attempt = begun.head.split("__Host-gateway-attempt=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let sent = format!("{{\"login\":\"{attempt}\",\"state\":\"{state}\",\"code\":\"x\"}}");
    let crossed = site.curl("eve", &format!("-d '{sent}' {CONSOLE}/api/v1/login/code"));
    assert!(crossed.status == 403 && crossed.body.contains("not begun here"), "{crossed:?}");
    let begun = site.curl("eve", &format!("-d '{{\"port\":4711}}' {CONSOLE}/api/v1/login"));
    assert!(begun.status == 200 && begun.body.contains("http%3A%2F%2F127.0.0.1%3A4711%2Fcallback"), "{begun:?}");
    let begun: serde_json::Value = serde_json::from_str(begun.body.rsplit_once('\n').unwrap().0).unwrap();
    let (login, state) = (begun["login"].as_str().unwrap(), begun["state"].as_str().unwrap());
    let cookie = format!("-H 'cookie: __Host-gateway-attempt={login}' '{CONSOLE}/callback?code=x&state={state}'");
    let crossed = site.curl("fresh", &cookie);
    assert!(crossed.status == 403 && crossed.body.contains("not begun here"), "{crossed:?}");
    for sent in ["{\"port\":80}", "{\"port\":\"4711@evil\"}", "{}", "{\"port\":4711,\"redirect\":\"https://evil\"}"] {
        assert_eq!(site.curl("eve", &format!("-d '{sent}' {CONSOLE}/api/v1/login")).status, 400, "{sent}");
    }
    assert!(shop.world.events("console.login").is_empty(), "somebody is logged in");
}

/// The code that a browser was led on with.
fn code_of(got: &Got) -> String {
    let at = got.body.rsplit(' ').next().unwrap();
    at.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}
