//! The console: people log in at a real OpenID provider, read what waits, and decide it from another place.
//!
//! In: a provider in the world's own network, curl and Chromium as browsers. Out: requests that are approved by a person of the issuer and
//! nobody else, and pages that stay what they are whatever a client, an agent or another site sends.

use serde_json::Value;

use crate::cluster::cached;
use crate::console::{CONSOLE, People};
use crate::drivers::needs;
use crate::gateway::Gateway;
use crate::shop::Shop;
use crate::world::As;

const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("asked") @approval("idp:dba") @reason("required") @message("changes wait for a person")
forbid (principal, action == Postgres::Action::"update", resource);
"#;

/// A gateway whose console this is.
fn attach<'s>(shop: &'s Shop, people: &People<'_>) -> Gateway<'s> {
    attach_with(shop, people, "")
}

/// The same with more lines.
fn attach_with<'s>(shop: &'s Shop, people: &People<'_>, more: &str) -> Gateway<'s> {
    let at = shop.world.directory().display().to_string();
    shop.world.file("policies/console.cedar", POLICIES);
    let configuration = format!("version = 1\n[policy]\ndir = \"{at}/policies\"\n{more}{}", people.config());
    let configuration = shop.world.file("gateway.toml", &configuration);
    shop.world.attach(&["--config", configuration.to_str().unwrap()])
}

fn waiting(shop: &Shop, text: &str) -> String {
    let body: Value = shop.world.event("approval.requested", |body| body["summary"].to_string().contains(text));
    body["ticket"].as_str().unwrap().to_owned()
}

#[test]
fn a_person_logs_in_at_the_issuer_and_what_they_approve_happens_once() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let psql = shop.start_psql("UPDATE orders SET item = 'by console' WHERE id = 9");
    let id = waiting(&shop, "UPDATE orders");
    let back = site.log_in("alice", &format!("/requests/{id}"));
    assert!(back.status == 200 && back.body.contains(&format!("url=/requests/{id}")), "{back:?}");
    for expected in
        ["__host-gateway=", "secure; httponly; samesite=strict", "__host-gateway-attempt=; path=/; max-age=0"]
    {
        assert!(back.head.to_lowercase().contains(expected), "{expected} in {back:?}");
    }
    let listed = site.get("alice", "/");
    assert!(listed.status == 200 && listed.body.contains(&id), "{listed:?}");
    let page = site.get("alice", &format!("/requests/{id}"));
    for expected in ["UPDATE orders", "changes wait for a person", "with a reason", "Approve", "Postgres::update on"] {
        assert!(page.body.contains(expected), "{expected} in {page:?}");
    }
    assert!(!page.body.contains("by console"), "a constant: {page:?}");
    let say = |fields: &str| site.curl("alice", &format!("-d say=approve {fields} '{CONSOLE}/requests/{id}'"));
    assert_eq!(say("-d reason=fine").status, 403, "no token of a form");
    assert_eq!(say(&format!("-d reason=fine -d token={}", site.token("alice").to_lowercase())).status, 403);
    let silent = say(&format!("-d token={}", site.token("alice")));
    assert!(silent.status == 409 && silent.body.contains("has to say why"), "{silent:?}");
    let said = say(&format!("-d reason=fine -d token={}", site.token("alice")));
    assert!(said.status == 200 && said.body.contains("approved"), "{said:?}");
    let output = psql.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 9"), "by console");
    assert_eq!(shop.reached("UPDATE orders"), 1);
    let decided = shop.world.event("approval.decided", |body| body["ticket"] == id.as_str());
    assert_eq!((&decided["person"], &decided["channel"]), (&"idp:alice".into(), &"console".into()), "{decided}");
    assert!(decided["known_by"].to_string().contains("OpenID Connect login") && decided["uid"].is_null(), "{decided}");
    // By the API, and with it what a person of other groups sees.
    let psql = shop.start_psql("UPDATE orders SET item = 'no' WHERE id = 10");
    let other = shop.world.event("approval.requested", |body| body["ticket"] != id.as_str());
    let other = other["ticket"].as_str().unwrap();
    site.log_in("viola", "/");
    assert_eq!(site.json("viola", "/api/v1/approvals"), serde_json::json!([]));
    let decide = |who: &str| {
        let token = site.token(who);
        site.curl(who, &format!("-H 'x-gateway-token: {token}' -d '{{\"approve\":false,\"reason\":\"not today\"}}' {CONSOLE}/api/v1/approvals/{other}/decision"))
    };
    let denied = decide("viola");
    assert!(denied.status == 409 && denied.body.contains("none of the groups"), "{denied:?}");
    assert_eq!(decide("alice").status, 200);
    let output = psql.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("not today"), "{output:?}");
    let sessions = site.json("viola", "/api/v1/sessions");
    let session = sessions["sessions"][0]["session"].as_str().unwrap();
    assert!(site.get("viola", &format!("/sessions/{session}")).status == 200);
    assert!(site.get("viola", "/sessions?text=%3Cscript%3E").body.contains("&lt;script&gt;"));
    let found = |query: &str| {
        let found = site.json("viola", &format!("/api/v1/sessions?{query}"));
        assert_eq!(found["complete"], true, "{found}");
        found["sessions"].as_array().unwrap().len()
    };
    assert_eq!((found("text=update"), found("text=UPDATE+orders&decision=hold&protocol=postgres")), (2, 2));
    assert_eq!(
        (found("workload=story&target=5432"), found("since=2020-01-01&target=5432"), found("target=.2:5432")),
        (2, 2, 2)
    );
    for other in [
        "text=elsewhere",
        "decision=would_deny",
        "protocol=kubernetes",
        "since=2100-01-01",
        "workload=none",
        "target=none",
    ] {
        assert_eq!(found(other), 0, "{other}");
    }
    assert!(site.get("viola", "/policies").body.contains("changes wait for a person"));
    assert!(site.get("viola", "/health").body.contains("enforce"));
    assert_eq!(site.get("alice", "/sessions").status, 409, "she is no viewer");
    let out = site.curl("alice", &format!("-d token={} {CONSOLE}/logout", site.token("alice")));
    assert_eq!(out.status, 200);
    assert_eq!(site.get("alice", "/api/v1/me").status, 401);
}

#[test]
fn nobody_else_gets_in_or_has_something_decided() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    // Of an agent: not even a connection.
    let agent = shop.world.agent();
    assert!(agent.connect("127.0.0.1:7443").is_err(), "an agent talks to the console");
    assert_eq!(site.get("nobody", "/api/v1/approvals").status, 401);
    let led = site.get("nobody", "/sessions");
    assert!(led.status == 303 && led.head.contains("location: /login?to=/sessions"), "{led:?}");
    for header in [
        "content-security-policy: default-src 'none'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "strict-transport-security",
    ] {
        assert!(led.head.contains(header), "{header} in {led:?}");
    }
    // An attempt that was begun elsewhere (fixation), a code without an attempt, another issuer's answer.
    for query in ["code=x&state=y", "code=x", "", "code=x&state=y&iss=https://evil"] {
        assert_eq!(site.get("nobody", &format!("/callback?{query}")).status, 403, "{query}");
    }
    let begun = site.get("victim", "/login?to=https://evil/");
    let state = begun.head.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    assert_eq!(site.get("attacker", &format!("/callback?code=x&state={state}")).status, 403);
    assert_eq!(site.get("victim", &format!("/callback?code=x&state={state}")).status, 403, "no code of the issuer");
    // Each is in the journal, counted.
    shop.world.event("console.login_failed", |body| body["failed"]["no_token"] == 1);
    let failed = shop.world.events("console.login_failed");
    let strangers: u64 = failed.iter().filter_map(|line| line["body"]["failed"]["not_begun_here"].as_u64()).sum();
    assert_eq!(strangers, 5, "{failed:?}");
    assert!(begun.head.contains("code_challenge_method=S256") && !begun.head.contains("evil"), "{begun:?}");
    // Cookies of our own making.
    for cookie in ["a.b", "__Host-gateway=x", &"a".repeat(4_000)] {
        let got = site.curl("forger", &format!("-H 'cookie: __Host-gateway={cookie}' {CONSOLE}/api/v1/me"));
        assert_eq!(got.status, 401, "{cookie}");
    }
    site.log_in("mallory", "/");
    for of_others in ["policies", "sessions", "health", "windows"] {
        assert_eq!(site.get("mallory", &format!("/api/v1/{of_others}")).status, 409, "of no group: {of_others}");
    }
    // Another site's page: its origin, its name for our address.
    let token = site.token("mallory");
    let post = |header: &str| site.curl("mallory", &format!("-H '{header}' -d token={token} {CONSOLE}/logout")).status;
    assert_eq!(post("origin: https://evil"), 403);
    assert_eq!(post("sec-fetch-site: cross-site"), 403);
    assert_eq!(site.curl("mallory", &format!("-H 'host: evil' {CONSOLE}/")).status, 421);
    assert_eq!(site.curl("mallory", &format!("-X DELETE {CONSOLE}/")).status, 403);
    let large = "x".repeat(20_000);
    assert_eq!(site.curl("mallory", &format!("-d token={large} {CONSOLE}/logout")).status, 400);
    assert_eq!(site.get("mallory", "/requests/../../etc/passwd").status, 404);
    assert_eq!(post("x: y"), 200, "and with none of this it is hers to say");
}

#[test]
fn what_an_agent_writes_is_text_on_every_page() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let psql = shop.start_psql(
        "UPDATE orders SET item = 'x' FROM (SELECT 1 AS \"<script>alert(1)</script>\u{202e}\") s WHERE id = 11",
    );
    let id = waiting(&shop, "script");
    site.log_in("alice", "/");
    for path in ["/", &format!("/requests/{id}")] {
        let page = site.get("alice", path);
        assert!(page.body.contains("&lt;script&gt;alert(1)"), "{page:?}");
        assert!(!page.body.contains("<script") && !page.body.contains('\u{202e}'), "{page:?}");
    }
    let said = shop.world.cli_as(As { root: true, ..As::default() }, &["approvals"]);
    assert!(said.out.contains(&id), "{said:?}");
    drop(site);
    let mut psql = psql;
    psql.kill().unwrap();
    psql.wait().unwrap();
}

/// What a person does who sees the console for the first time: at a desk, and with a telephone.
const STEPS: &str = r#"
export default async ({ page, args: [first, second], login, press, go, text, fits, picture, desktop, phone }) => {
  await login('alice', '/');
  await picture('approvals');
  await press(`a[href="/requests/${first}"]`);
  await picture('request');
  await page.type('input[name=reason]', 'looked at');
  await page.keyboard.press('Enter');
  await page.type('input[name=reason]', '!');
  console.log('still', await page.$eval('input[name=reason]', (input) => input.value));
  await press('button[value=approve]');
  console.log('first', await text('[role=status]'));
  await go('/');
  await phone();
  await fits();
  await picture('approvals-phone');
  await press(`a[href="/requests/${second}"]`);
  await fits();
  await picture('request-phone');
  await page.type('input[name=reason]', 'not today');
  await press('button[value=deny]');
  console.log('second', await text('[role=status]'));
  await press('header form button');
  console.log('out', await text('main'));
  await page.deleteCookie(...(await page.cookies('https://127.0.0.1:9444')));
  await login('viola', '/sessions');
  for (const path of ['/sessions', '/policies', '/health', '/windows']) {
    await go(path);
    await fits();
    await picture(`${path.slice(1)}-phone`);
  }
  await desktop();
  for (const path of ['/policies', '/health', '/windows', '/sessions?decision=hold']) {
    await go(path);
    await picture(path.slice(1).split('?')[0]);
  }
  await press('tbody a');
  await picture('session');
  console.log('session', await text('main'));
};
"#;

#[test]
fn a_person_with_a_browser_approves_denies_and_looks_around() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach(&shop, &site);
    let one = shop.start_psql("UPDATE orders SET item = 'by browser' WHERE id = 9");
    let first = shop.world.event("approval.requested", |_| true)["ticket"].as_str().unwrap().to_owned();
    let other = shop.start_psql("UPDATE orders SET item = 'by nobody' WHERE id = 10");
    let second = shop.world.event("approval.requested", |body| body["ticket"] != first.as_str());
    let said = site.browse(STEPS, &[&first, second["ticket"].as_str().unwrap()]);
    for line in ["still looked at!", "first It is approved.", "second It is denied.", "out Logged out"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(said.contains("UPDATE orders") && said.contains("denied by idp:alice: not today"), "{said}");
    let (one, other) = (one.wait_with_output().unwrap(), other.wait_with_output().unwrap());
    assert!(one.status.success(), "{one:?}");
    assert!(String::from_utf8_lossy(&other.stderr).contains("not today"), "{other:?}");
    assert_eq!(shop.admin("SELECT item FROM orders WHERE id = 9"), "by browser");
    assert_eq!(shop.reached("UPDATE orders"), 1);
    let logins = shop.world.events("console.login");
    let people: Vec<_> = logins.iter().map(|login| login["body"]["person"].as_str().unwrap()).collect();
    assert_eq!(people, ["idp:alice", "idp:viola"]);
}

/// Requests that wait at once.
const MANY: usize = 1_000;

#[test]
fn a_thousand_requests_that_wait_are_listed_and_decided_at_once() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach_with(&shop, &site, "[approval]\non_hold = \"return\"\n");
    // No workload holds more than 64.
    for number in 0..MANY / 50 {
        let cgroup = shop.world.cgroup().join(format!("ci-{number}.service"));
        std::fs::create_dir(&cgroup).unwrap();
        let statements: String = (0..50).map(|id| format!("UPDATE orders SET item = 'x' WHERE id = {id};\n")).collect();
        let file = shop.world.file("many.sql", &statements);
        let mut psql = shop.command_in(Some(&cgroup), &[], &["psql", "-XAtqw", "-f", file.to_str().unwrap()]);
        let asked = psql.output().unwrap();
        let held = String::from_utf8_lossy(&asked.stderr).matches("changes wait for a person").count();
        assert_eq!(held, 50, "{asked:?}");
    }
    site.log_in("alice", "/");
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["ticket"]["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = ids(&site.json("alice", "/api/v1/approvals"));
    assert_eq!(all.len(), MANY);
    // A list of them takes no longer than a person waits for a page, and a decision none.
    let begun = std::time::Instant::now();
    let page = site.get("alice", "/");
    assert!(page.status == 200 && page.body.matches("/requests/").count() == MANY, "{}", page.body.len());
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let token = site.token("alice");
    let decide = |id: &str| {
        let path = format!("{CONSOLE}/api/v1/approvals/{id}/decision");
        let sent = format!("-H 'x-gateway-token: {token}' -d '{{\"approve\":false,\"reason\":\"too many\"}}' {path}");
        assert_eq!(site.curl("alice", &sent).status, 200);
    };
    let begun = std::time::Instant::now();
    all.iter().step_by(100).for_each(|id| decide(id));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    let left = site.json("alice", "/api/v1/approvals");
    let waiting = left.as_array().unwrap().iter().filter(|one| one["state"] == "waiting").count();
    assert_eq!(waiting, MANY - all.iter().step_by(100).count());
}

#[test]
fn a_stranger_to_the_api_finds_no_error_of_the_server() {
    let shop = Shop::new();
    let site = People::new(&shop.world);
    let _gateway = attach_with(&shop, &site, "[approval]\non_hold = \"return\"\n");
    assert!(!shop.psql(&["UPDATE orders SET item = 'x' WHERE id = 1"]).ok);
    // Who is in every group meets more.
    site.log_in("olga", "/");
    let jar = shop.world.sh(&format!("cat {}/jar-olga", shop.world.directory().display()));
    let cookie =
        jar.lines().find(|line| line.contains("__Host-gateway\t")).unwrap().rsplit('\t').next().unwrap().to_owned();
    let program = needs(&cached("schemathesis-").join("bin/schemathesis"));
    let mut command = shop.world.command(&program);
    let document = format!("{CONSOLE}/api/v1/openapi.json");
    command.args(["run", &document, "--tls-verify", "false", "--rate-limit", "4/s", "-n", "10", "--no-color"]);
    command.args(["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance"]);
    // Who logs out meets nothing after that.
    command.args(["--exclude-path", "/api/v1/logout"]);
    command.args(["--phases", "coverage,fuzzing", "--max-time", "30", "--seed", "7"]);
    command.args([
        "-H",
        &format!("Cookie: __Host-gateway={cookie}"),
        "-H",
        &format!("x-gateway-token: {}", site.token("olga")),
    ]);
    let output = command.env("HOME", shop.world.directory()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("/api/v1/approvals/{id}/decision") || said.contains("passed"), "{said}");
    assert_eq!(site.json("olga", "/api/v1/me")["name"], "idp:olga", "it goes on");
}
