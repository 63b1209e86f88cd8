//! Slack: people decide by a button below what waits, and read there what became of it.
//!
//! In: requests as Slack sends them, signed by curl and openssl with the app's secret; a server in Slack's place that keeps
//! what is told there. Slack itself is out of reach of a test: the shapes are those of its reference, the signature is held
//! against its own example in a unit test. Out: the words of those whom the configuration names, once, and of nobody else.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::console::{CONSOLE, People};
use crate::shop::Shop;
use crate::story_feeds::Hook;
use crate::wait;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session"], resource);
@id("asked") @approval("idp:dba") @reason("required") @message("changes wait for a person")
forbid (principal, action == Postgres::Action::"update", resource);
@id("two") @approval("idp:dba") @approvers("2")
forbid (principal, action == Postgres::Action::"insert", resource);
"#;

/// Begins eight requests and sends no body.
const SLOW: &str = r"
import socket, ssl, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
head = 'POST /slack/actions HTTP/1.1\r\nHost: 127.0.0.1:7443\r\nContent-Length: 9\r\nX-Slack-Request-Timestamp: 1\r\nX-Slack-Signature: v0=1\r\n\r\n'
begun = [context.wrap_socket(socket.create_connection(('127.0.0.1', 7443))) for _ in range(8)]
for one in begun:
    one.sendall(head.encode())
time.sleep(0.5)
print('ready', flush=True)
time.sleep(60)
";

/// What curl was answered, with what was signed.
struct Sent {
    status: String,
    body: String,
    signature: String,
    seconds: u64,
}

struct Chat<'s> {
    shop: &'s Shop,
    hook: Hook<'s>,
}

impl Chat<'_> {
    /// The configuration of a gateway whose people are `alice` and `dora` of the group, and `bob` of none.
    fn config(&self, people: &People<'_>) -> String {
        let at = self.shop.world.directory().display().to_string();
        self.shop.world.file("policies/slack.cedar", POLICIES);
        self.shop.world.file("signing-secret", SECRET);
        let person = |(user, subject, groups): (&str, &str, &str)| {
            format!("[[console.slack.person]]\nuser = \"{user}\"\nsubject = \"{subject}\"\ngroups = [{groups}]\n")
        };
        let known = [("U1", "alice", "\"idp:dba\""), ("U2", "bob", ""), ("U3", "dora", "\"idp:dba\"")];
        let known: String = known.into_iter().map(person).collect();
        let text = format!(
            "version = 1\n[policy]\ndir = \"{at}/policies\"\n{}[console.slack]\nsigning_secret = {{ file = \"{at}/signing-secret\" }}\n\
             team = \"T1\"\nreplies = \"https://127.0.0.1:9555\"\nca = \"{at}/cert.pem\"\n{known}\
             [[audit.webhook]]\nname = \"chat\"\nurl = \"https://127.0.0.1:9555/chat\"\nca = \"{at}/cert.pem\"\nformat = \"slack\"\n\
             secret = {{ file = \"{at}/secret\" }}\nkinds = [\"approval.requested\"]\nbuttons = true\n",
            people.config()
        );
        self.shop.world.file("gateway.toml", &text).display().to_string()
    }

    /// The message with buttons about a request.
    fn message(&self, text: &str) -> Value {
        wait::for_some("a message", || {
            let told = self.hook.taken("chat").into_iter().map(|request| request["body"].clone());
            told.into_iter().find(|body| body["text"].as_str().unwrap().contains(text))
        })
    }

    /// What Slack sends when somebody presses a button of it.
    fn pressed(&self, message: &Value, (user, team): (&str, &str), button: usize, reason: Option<&str>) -> String {
        let element = &message["blocks"].as_array().unwrap().last().unwrap()["elements"][button];
        let payload = json!({
            "type": "block_actions", "api_app_id": "A1", "token": "x", "trigger_id": "1.2.3",
            "user": { "id": user, "username": "idp:alice", "name": "alice", "team_id": team },
            "team": { "id": team, "domain": "team" },
            "container": { "type": "message", "message_ts": "1.2", "channel_id": "C1" },
            "message": { "type": "message", "subtype": "bot_message", "text": message["text"], "ts": "1.2", "blocks": message["blocks"] },
            "state": { "values": { "gateway_reason": { "gateway_reason": { "type": "plain_text_input", "value": reason } } } },
            "response_url": "https://127.0.0.1:9555/actions/T1/1/abc",
            "actions": [{ "action_id": element["action_id"], "block_id": "b", "type": "button", "value": element["value"], "action_ts": "1.3" }],
        });
        format!("payload={}", payload.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect::<String>())
    }

    fn now() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    /// Sends it as what was signed then with a secret.
    fn send(&self, body: &str, seconds: u64, secret: &str) -> Sent {
        let at = self.shop.world.directory().display().to_string();
        self.shop.world.file("signed", &format!("v0:{seconds}:{body}"));
        let signature =
            self.shop.world.sh(&format!("openssl dgst -sha256 -hmac '{secret}' -r {at}/signed | cut -d' ' -f1"));
        self.send_as(body, seconds, signature.trim())
    }

    fn send_as(&self, body: &str, seconds: u64, signature: &str) -> Sent {
        let at = self.shop.world.directory().display().to_string();
        self.shop.world.file("sent", body);
        let answer = self.shop.world.sh(&format!(
            "curl -sSk --max-time 30 -w '\\n%{{http_code}}' -H 'X-Slack-Request-Timestamp: {seconds}' -H 'X-Slack-Signature: v0={signature}' \
             -H 'Content-Type: application/x-www-form-urlencoded' --data-binary @{at}/sent {CONSOLE}/slack/actions"
        ));
        let (body, status) = answer.rsplit_once('\n').unwrap();
        Sent { status: status.to_owned(), body: body.to_owned(), signature: signature.to_owned(), seconds }
    }

    /// The same, well signed and taken; what is told to the chat then.
    fn press(&self, message: &Value, user: (&str, &str), button: usize, reason: Option<&str>) -> Value {
        let before = self.hook.taken("actions/T1/1/abc").len();
        let sent = self.send(&self.pressed(message, user, button, reason), Self::now(), SECRET);
        assert_eq!((sent.status.as_str(), sent.body.as_str()), ("200", ""));
        wait::for_some("a word to the person", || {
            self.hook.taken("actions/T1/1/abc").get(before).map(|told| told["body"].clone())
        })
    }
}

const APPROVE: usize = 0;
const DENY: usize = 1;
const ALICE: (&str, &str) = ("U1", "T1");

#[test]
fn a_button_is_the_word_of_who_the_configuration_says_and_counts_once() {
    let shop = Shop::new();
    let people = People::new(&shop.world);
    let chat = Chat { hook: Hook::new(&shop), shop: &shop };
    let _gateway = shop.world.attach(&["--config", &chat.config(&people)]);
    let psql = shop.start_psql("UPDATE orders SET item = 'by chat' WHERE id = 9");
    let message = chat.message("UPDATE orders");
    assert!(!message.to_string().contains("by chat"), "a constant: {message}");
    let kinds: Vec<_> =
        message["blocks"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["section", "input", "actions"], "{message}");

    // Whoever did not sign it, then or for this app, is nobody; what was sent says nothing of the person either.
    let body = chat.pressed(&message, ALICE, APPROVE, Some("fine"));
    let now = Chat::now();
    for (seconds, secret) in [(now, "another"), (now - 400, SECRET), (now + 400, SECRET)] {
        let sent = chat.send(&body, seconds, secret);
        assert!(sent.status == "401" && sent.body.contains("not what Slack signed"), "{} {}", sent.status, sent.body);
    }
    let unsigned = shop.world.sh(&format!("curl -sSk -w '\\n%{{http_code}}' -d payload=x {CONSOLE}/slack/actions"));
    assert!(unsigned.ends_with("401"), "{unsigned}");

    // Who sends slowly, as many as are asked about at once, keeps nobody out.
    let slow = shop.world.file("slow.py", SLOW);
    let mut slow = shop.world.command("/usr/bin/python3").arg(slow).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(slow.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    for (user, why) in
        [(("U9", "T1"), "does not know you"), (("U1", "T2"), "does not know you"), (("U2", "T1"), "idp:dba")]
    {
        let told = chat.press(&message, user, APPROVE, Some("fine"));
        assert!(told["response_type"] == "ephemeral" && told["text"].as_str().unwrap().contains(why), "{told}");
    }
    slow.kill().unwrap();
    slow.wait().unwrap();
    let told = chat.press(&message, ALICE, APPROVE, None);
    assert!(told["replace_original"] == false && told["text"].as_str().unwrap().contains("reason"), "{told}");

    let good = chat.send(&body, Chat::now(), SECRET);
    assert_eq!(good.status, "200", "{}", good.body);
    assert!(psql.wait_with_output().unwrap().status.success());
    assert_eq!(shop.admin("SELECT count(*) FROM orders WHERE item = 'by chat'").trim(), "1");
    wait::until("the message says so", || {
        let told = chat.hook.taken("actions/T1/1/abc");
        told.iter().any(|told| {
            let text = told["body"]["text"].as_str().unwrap();
            told["body"]["replace_original"] == true
                && text.contains("UPDATE orders")
                && text.ends_with("*approved* by idp:alice")
        })
    });
    let again = chat.send_as(&body, good.seconds, &good.signature);
    assert_eq!(again.status, "401", "{}", again.body);
    let decided = shop.world.event("approval.decided", |_| true);
    let known_by = "user U1 of the workspace T1 of Slack, as the configuration says";
    assert_eq!(
        ["person", "channel", "known_by", "reason"].map(|name| decided[name].as_str().unwrap()),
        ["idp:alice", "slack", known_by, "fine"],
        "{decided}"
    );
    wait::until("forgeries are counted", || {
        let failed = shop.world.events("console.login_failed");
        let count = failed.iter().filter_map(|event| event["body"]["failed"]["slack_not_signed"].as_u64()).sum::<u64>();
        count == 4
    });
}

#[test]
fn one_person_is_one_vote_in_the_chat_and_on_the_page() {
    let shop = Shop::new();
    let people = People::new(&shop.world);
    let chat = Chat { hook: Hook::new(&shop), shop: &shop };
    let _gateway = shop.world.attach(&["--config", &chat.config(&people)]);
    let psql = shop.start_psql("INSERT INTO orders VALUES (900, 'two')");
    let message = chat.message("INSERT INTO orders");
    let ticket =
        message["blocks"].as_array().unwrap().last().unwrap()["elements"][0]["value"].as_str().unwrap().to_owned();
    let told = chat.press(&message, ALICE, APPROVE, None);
    assert!(told["text"].as_str().unwrap().contains("waiting for more approvals"), "{told}");
    people.log_in("alice", "/");
    let token = people.token("alice");
    let page = people.curl("alice", &format!("-d say=approve -d token={token} '{CONSOLE}/requests/{ticket}'"));
    assert!(page.status == 409 && page.body.contains("idp:alice"), "{page:?}");
    let told = chat.press(&message, ("U3", "T1"), DENY, Some("not today"));
    assert!(told["text"].as_str().unwrap().ends_with("*denied* by idp:dora"), "{told}");
    let output = psql.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("not today"), "{said}");
}
