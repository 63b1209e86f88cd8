//! What people say in Slack: they press a button below a request that waits.
//!
//! In: requests that are said to be Slack's, unread, by way of console and warden. Out: the say of a person whom the
//! configuration names, like any other's; what they are to read of it, and where. Slack signs what it sends with a secret that
//! only the app and this process have (Slack, "Verifying requests from Slack"); a word counts once, and not long after.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Engine;
use crate::audit::feed::{APPROVE, DENY, REASON};
use crate::audit::hex;
use crate::bridge::{Decide, LoginFault, Person, SlackSaid};
use crate::config::{Config, Slack};
use crate::console::field;
use crate::id::TicketId;

/// The channel of these words.
const CHANNEL: &str = "slack";
/// So far from now may be when Slack sent it.
const OLDEST: Duration = Duration::from_secs(300);
/// Signatures that are remembered: Slack makes each, so that nobody else fills it.
const MOST: usize = 10_000;
const NOT_SIGNED: &str = "this is not what Slack signed for this gateway, or it is old, or it was taken before";

/// What was taken lately, so that it is not taken twice: tags, with the second in which they were sent.
#[derive(Default)]
pub(super) struct Taken(Mutex<HashMap<[u8; 32], u64>>);

impl Taken {
    /// Whether Slack says so, now, and for the first time.
    fn take(&self, secret: &[u8], said: &SlackSaid, now: u64) -> bool {
        let is_number = !said.timestamp.is_empty() && said.timestamp.bytes().all(|byte| byte.is_ascii_digit());
        let sent = said.timestamp.parse::<u64>().ok().filter(|_| is_number);
        let tag = said.signature.strip_prefix("v0=").and_then(|tag| hex::decode::<32>(tag.as_bytes()));
        let (Some(sent), Some(tag)) = (sent, tag) else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let signed = format!("v0:{}:{}", said.timestamp, said.body);
        if sent.abs_diff(now) > OLDEST.as_secs() || hmac::verify(&key, signed.as_bytes(), &tag).is_err() {
            return false;
        }
        let mut taken = self.0.lock();
        taken.retain(|_, sent| sent.abs_diff(now) <= OLDEST.as_secs());
        taken.len() < MOST && taken.insert(tag, sent).is_none()
    }
}

/// What Slack sends of a button (Slack, "block_actions payload"), as far as it is read.
#[derive(Deserialize)]
struct Pressed {
    #[serde(rename = "type")]
    kind: String,
    user: Id,
    team: Option<Id>,
    actions: Vec<Action>,
    #[serde(default)]
    state: Fields,
    response_url: Option<String>,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    value: Option<String>,
}

#[derive(Default, Deserialize)]
struct Fields {
    #[serde(default)]
    values: HashMap<String, HashMap<String, Filled>>,
}

#[derive(Deserialize)]
struct Filled {
    value: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    text: Option<String>,
}

impl Pressed {
    fn read(body: &str) -> Result<Self, String> {
        let payload = field(body, "payload").ok_or("there is no `payload`")?;
        serde_json::from_str(&payload).map_err(|error| format!("the `payload` is not understood: {error}"))
    }

    /// Yes or no, and to what.
    fn say(&self) -> Result<(bool, TicketId), String> {
        let [action] = self.actions.as_slice() else { return Err("it is not about one button".to_owned()) };
        let approve = match action.action_id.as_str() {
            APPROVE => true,
            DENY => false,
            _ => return Err("the button is none of this gateway's".to_owned()),
        };
        let ticket = action.value.as_deref().unwrap_or_default();
        let ticket = ticket.parse().map_err(|_| "the button names no request".to_owned())?;
        if self.kind == "block_actions" { Ok((approve, ticket)) } else { Err("it is no button".to_owned()) }
    }

    fn reason(&self) -> Option<String> {
        let filled = self.state.values.get(REASON)?.get(REASON)?.value.as_deref()?;
        Some(filled.trim()).filter(|reason| !reason.is_empty()).map(str::to_owned)
    }

    /// What the chat shows after it: an end takes the place of the buttons, all else is for this person.
    fn reply(&self, answer: &Value, name: Option<&str>) -> Value {
        let state = answer.get("state").and_then(Value::as_str).unwrap_or_default();
        let who = name.unwrap_or_default();
        match (self.message.as_ref().and_then(|message| message.text.as_deref()), state) {
            (Some(text), "approved" | "denied" | "open") => {
                json!({ "replace_original": true, "text": format!("{text}\n*{state}* by {who}") })
            }
            (_, "") => {
                let error = answer.get("error").and_then(Value::as_str).unwrap_or("it is not decided");
                json!({ "response_type": "ephemeral", "replace_original": false, "text": format!("not taken: {error}") })
            }
            _ => {
                json!({ "response_type": "ephemeral", "replace_original": false, "text": format!("your word is taken: {state}") })
            }
        }
    }
}

impl Engine {
    /// Takes what somebody says in Slack. What the person reads of it is sent by the console, to where Slack says.
    pub(super) async fn said_in_slack(&self, said: SlackSaid) -> Value {
        let settings = self.settings();
        let config = settings.config();
        let slack = config.console.as_ref().and_then(|console| console.slack.as_ref());
        let Some((slack, secret)) = slack.zip(settings.tokens().slack.as_deref()) else {
            return json!({ "error": "no [console.slack] is configured" });
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if !self.said.take(secret, &said, now) {
            self.count_failed_login(LoginFault::NotSigned);
            return json!({ "error": NOT_SIGNED });
        }
        let pressed = match Pressed::read(&said.body) {
            Ok(pressed) => pressed,
            Err(reason) => {
                tracing::error!(reason, "what Slack sent is not taken");
                return json!({ "taken": false });
            }
        };
        let person = person(config, slack, &pressed);
        let name = person.as_ref().ok().map(|person| person.name.clone());
        let answer = match (person, pressed.say()) {
            (Ok(person), Ok((approve, ticket))) => {
                self.decide(Decide { ticket, approve, person, reason: pressed.reason() }).await
            }
            (Err(error), _) | (_, Err(error)) => json!({ "error": error }),
        };
        if let Some(error) = answer.get("error").and_then(Value::as_str) {
            tracing::warn!(user = pressed.user.id, error, "what a user of Slack says is not taken");
        }
        let reply = pressed.reply(&answer, name.as_deref());
        json!({ "taken": true, "to": pressed.response_url, "reply": reply })
    }
}

/// Who a user of the workspace is.
fn person(config: &Config, slack: &Slack, pressed: &Pressed) -> Result<Person, String> {
    let (oidc, user) = (config.oidc.as_ref().ok_or("there is no issuer")?, &pressed.user.id);
    let is_ours = pressed.team.as_ref().is_some_and(|team| team.id == slack.team);
    let known = slack.people.iter().find(|person| is_ours && person.user == *user);
    let known = known.ok_or(
        "the gateway does not know you: `[[console.slack.person]]` of its configuration says who decides here",
    )?;
    Ok(Person {
        name: format!("{}:{}", oidc.prefix, known.subject),
        uid: None,
        subject: Some((oidc.issuer.clone(), known.subject.clone())),
        groups: known.groups.clone(),
        channel: CHANNEL.to_owned(),
        known_by: format!("user {user} of the workspace {} of Slack, as the configuration says", slack.team),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Slack's own page.
    const SECRET: &[u8] = b"8f742231b10e8888abcd99yyyzzz85a5";
    const SENT: u64 = 1_531_420_618;

    fn example() -> SlackSaid {
        SlackSaid {
            timestamp: SENT.to_string(),
            signature: "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".to_owned(),
            body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c".to_owned(),
        }
    }

    #[test]
    fn what_slack_signed_is_taken_once_and_in_its_time() {
        let taken = Taken::default();
        for now in [SENT - 301, SENT + 301] {
            assert!(!taken.take(SECRET, &example(), now), "{now}");
        }
        let changed = |change: fn(&mut SlackSaid)| {
            let mut said = example();
            change(&mut said);
            said
        };
        for other in [
            changed(|said| said.body.push(' ')),
            changed(|said| said.timestamp = (SENT + 1).to_string()),
            changed(|said| said.timestamp = format!("+{SENT}")),
            changed(|said| said.signature = said.signature.replace("v0=a", "v0=b")),
            changed(|said| said.signature = said.signature.replace("v0=", "v1=")),
            changed(|said| said.signature = "v0=".to_owned()),
        ] {
            assert!(!taken.take(SECRET, &other, SENT), "{other:?}");
        }
        assert!(!taken.take(b"another app's", &example(), SENT));
        assert!(taken.take(SECRET, &example(), SENT + 300));
        let again = changed(|said| said.signature = said.signature.to_uppercase().replace("V0=", "v0="));
        assert!(!taken.take(SECRET, &example(), SENT + 299), "twice");
        assert!(!taken.take(SECRET, &again, SENT + 299), "twice, in other letters");
    }

    fn pressed(change: impl FnOnce(&mut Value)) -> Result<(bool, TicketId, Option<String>), String> {
        let mut payload = json!({
            "type": "block_actions", "user": { "id": "U1", "name": "x" }, "team": { "id": "T1" }, "trigger_id": "1.2",
            "actions": [{ "action_id": APPROVE, "type": "button", "value": "00000000000000000000000001" }],
            "state": { "values": { REASON: { REASON: { "type": "plain_text_input", "value": " as agreed " } } } },
        });
        payload["actions"][0]["value"] = json!(TicketId::generate());
        change(&mut payload);
        let pressed = Pressed::read(&crate::http::form(&[("payload", &payload.to_string())]))?;
        let (approve, ticket) = pressed.say()?;
        Ok((approve, ticket, pressed.reason()))
    }

    #[test]
    fn one_button_of_ours_is_a_say_and_nothing_else_is() {
        let (approve, _, reason) = pressed(|_| {}).unwrap();
        assert_eq!((approve, reason.as_deref()), (true, Some("as agreed")));
        let (approve, _, reason) = pressed(|payload| {
            payload["actions"][0]["action_id"] = DENY.into();
            payload["state"]["values"][REASON][REASON]["value"] = Value::Null;
        })
        .unwrap();
        assert_eq!((approve, reason), (false, None));
        type Change = fn(&mut Value);
        let refused: [(Change, &str); 6] = [
            (|payload| payload["type"] = "view_submission".into(), "no button"),
            (|payload| payload["actions"][0]["action_id"] = "approve".into(), "none of this gateway's"),
            (|payload| payload["actions"][0]["value"] = "01".into(), "names no request"),
            (|payload| payload["actions"] = json!([]), "not about one button"),
            (
                |payload| payload["actions"] = json!([payload["actions"][0], payload["actions"][0]]),
                "not about one button",
            ),
            (|payload| payload["user"] = Value::Null, "not understood"),
        ];
        for (change, why) in refused {
            let said = pressed(change).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
