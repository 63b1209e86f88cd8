//! Logins by device code (RFC 8628): for people whose browser is on another host than their command line.
//!
//! In: the wish to log in. Out: a code that the person types at the issuer, then who they are. A token of this kind has no
//! nonce. What binds it to one login is that the device code is asked for here, told to nobody, and good for one token, which
//! is taken from the issuer's own answer to it: no token that somebody else brings is looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Engine;
use crate::bridge::LoginFault;
use crate::config::Place;
use crate::http::Asked;
use crate::identity::Discovery;
use crate::secret::Secret;

/// A person whom the issuer asked longer ago is asked again, where the issuer knows this of device codes too.
const MAX_AGE: &str = "300";
/// Codes that wait at once: the oldest gives way.
const MOST: usize = 100;
/// The issuer is asked for a code no more often, whoever wants one: nobody is known yet.
const BEGIN_EVERY: Duration = Duration::from_secs(1);
/// A code waits no longer, whatever the issuer says.
const LONGEST: Duration = Duration::from_secs(900);
/// Between two looks, where the issuer says nothing (RFC 8628, section 3.2), and what `slow_down` adds (section 3.5).
const INTERVAL: u64 = 5;
const SLOWER: Duration = Duration::from_secs(5);
/// What people are shown.
const MAX_TEXT: usize = 2_048;

/// All codes that wait.
#[derive(Default)]
pub(super) struct Devices(Mutex<All>);

#[derive(Default)]
struct All {
    waiting: BTreeMap<String, Device>,
    begun: Option<Instant>,
}

/// One code.
struct Device {
    code: Secret,
    client: String,
    issuer: String,
    token: Place,
    until: Instant,
    interval: Duration,
    next: Instant,
}

/// What the issuer answers who begins (RFC 8628, section 3.2).
#[derive(Deserialize)]
struct Issued {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

/// Whether the issuer may be asked for a code now.
enum Turn {
    Wait(Duration),
    Ask { sent: String, token: Place, client: String, issuer: String },
}

impl Devices {
    /// Whether one may begin.
    fn begins(&self, now: Instant) -> bool {
        let mut all = self.0.lock();
        let may = all.begun.is_none_or(|at| now.duration_since(at) >= BEGIN_EVERY);
        if may {
            all.begun = Some(now);
        }
        may
    }

    fn keep(&self, handle: String, device: Device, now: Instant) {
        let mut all = self.0.lock();
        all.waiting.retain(|_, device| device.until > now);
        if all.waiting.len() >= MOST
            && let Some(oldest) = all.waiting.iter().min_by_key(|(_, one)| one.until).map(|(name, _)| name.clone())
        {
            all.waiting.remove(&oldest);
        }
        all.waiting.insert(handle, device);
    }

    /// What to ask for one, or how long that has to wait.
    fn turn(&self, handle: &str, now: Instant) -> Option<Turn> {
        let mut all = self.0.lock();
        let device = all.waiting.get_mut(handle).filter(|device| device.until > now)?;
        if device.next > now {
            return Some(Turn::Wait(device.next.duration_since(now)));
        }
        device.next = now + device.interval;
        let sent = crate::http::form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", &String::from_utf8_lossy(device.code.expose())),
            ("client_id", &device.client),
        ]);
        let (client, issuer) = (device.client.clone(), device.issuer.clone());
        Some(Turn::Ask { sent, token: device.token.clone(), client, issuer })
    }

    /// The issuer is asked too often.
    fn slower(&self, handle: &str) -> Duration {
        let mut all = self.0.lock();
        let Some(device) = all.waiting.get_mut(handle) else { return SLOWER };
        device.interval += SLOWER;
        device.next += SLOWER;
        device.interval
    }

    /// Whether it waited until now.
    fn end(&self, handle: &str) -> bool {
        self.0.lock().waiting.remove(handle).is_some()
    }
}

impl Engine {
    /// A code for somebody, from the issuer.
    pub(super) async fn begin_device(&self) -> Value {
        self.new_device().await.unwrap_or_else(|reason| json!({ "error": reason }))
    }

    async fn new_device(&self) -> Result<Value, String> {
        let (oidc, client, terms) = self.device_client()?;
        if !self.devices.begins(Instant::now()) {
            return Err("somebody else begins a login at this moment: try again".to_owned());
        }
        let asked = Asked { path: Discovery::path(&oidc.home), ..Asked::default() };
        let (_, said) = self.ask_issuer(&terms, &oidc.home, asked).await?;
        let said = Discovery::read(&oidc.issuer, &said)?;
        let (begin, token) =
            (said.asked("device_authorization_endpoint", &oidc)?, said.asked("token_endpoint", &oidc)?);
        let form = crate::http::form(&[("client_id", &client), ("scope", "openid"), ("max_age", MAX_AGE)]);
        let asked = Asked { path: begin.path.clone(), form: Some(form), ..Asked::default() };
        let (is_success, said) = self.ask_issuer(&terms, &begin, asked).await?;
        if !is_success {
            return Err("the issuer gives no device code to this client: allow it that grant there".to_owned());
        }
        let issued: Issued =
            serde_json::from_slice(&said).map_err(|_| "the issuer's answer is no device code".to_owned())?;
        let is_plain = |text: &str| text.len() <= MAX_TEXT && text.chars().all(|c| c.is_ascii_graphic());
        let is_page = |text: &str| text.starts_with("https://") && is_plain(text);
        if !is_plain(&issued.user_code) || !is_page(&issued.verification_uri) {
            return Err("the issuer's answer names no page of its own (https)".to_owned());
        }
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| "the system has no randomness")?;
        let (handle, now) = (crate::audit::hex::encode(&bytes), Instant::now());
        let lasts = Duration::from_secs(issued.expires_in).min(LONGEST);
        let interval = Duration::from_secs(issued.interval.unwrap_or(INTERVAL).clamp(1, 60));
        let device = Device {
            code: Secret::new(issued.device_code.into_bytes()),
            client,
            issuer: oidc.issuer.clone(),
            token,
            until: now + lasts,
            interval,
            next: now + interval,
        };
        self.devices.keep(handle.clone(), device, now);
        Ok(json!({
            "login": handle, "user_code": issued.user_code, "verification_uri": issued.verification_uri,
            "verification_uri_complete": issued.verification_uri_complete.filter(|page| is_page(page)),
            "expires_in": lasts.as_secs(), "interval": interval.as_secs(),
        }))
    }

    /// Who typed the code of this login, where somebody did.
    pub(super) async fn poll_device(&self, handle: &str) -> Value {
        self.look_for_device(handle).await.unwrap_or_else(|(fault, reason)| {
            self.count_failed_login(fault);
            json!({ "error": reason })
        })
    }

    async fn look_for_device(&self, handle: &str) -> Result<Value, (LoginFault, String)> {
        let over = || (LoginFault::NotBegunHere, "this login was not begun here, or long ago".to_owned());
        let waits = |time: Duration| Ok(json!({ "waiting": time.as_secs().max(1) }));
        let (sent, token, client, issuer) = match self.devices.turn(handle, Instant::now()).ok_or_else(over)? {
            Turn::Wait(time) => return waits(time),
            Turn::Ask { sent, token, client, issuer } => (sent, token, client, issuer),
        };
        let (oidc, configured, terms) = self.device_client().map_err(|reason| (LoginFault::Gateway, reason))?;
        // Another configuration than that of when it began.
        if (&configured, &oidc.issuer) != (&client, &issuer) {
            self.devices.end(handle);
            return Err(over());
        }
        let asked = Asked { path: token.path.clone(), form: Some(sent), ..Asked::default() };
        let answered = self.ask_issuer(&terms, &token, asked).await;
        let (is_success, said) = answered.map_err(|reason| (LoginFault::NoToken, reason))?;
        let said: Value = serde_json::from_slice(&said).unwrap_or_default();
        let text = |key: &str| said.get(key).and_then(Value::as_str);
        match text("error") {
            Some("authorization_pending") if !is_success => return waits(Duration::from_secs(INTERVAL)),
            Some("slow_down") if !is_success => return waits(self.devices.slower(handle)),
            _ => {}
        }
        // Whatever comes of it: once, also where two asked at a time.
        if !self.devices.end(handle) {
            return Err(over());
        }
        let token = text("id_token").filter(|_| is_success);
        let refused = || (LoginFault::NoToken, "the issuer did not let you in, or not in time".to_owned());
        let token = token.ok_or_else(refused)?;
        self.enter(&terms, &client, None, token).await.map(|known| json!(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(now: Instant, lasts: u64) -> Device {
        Device {
            code: Secret::new(b"device code".to_vec()),
            client: "cli".to_owned(),
            issuer: "https://id.example.com".to_owned(),
            token: Place::parse("https://id.example.com/token").unwrap(),
            until: now + Duration::from_secs(lasts),
            interval: Duration::from_secs(5),
            next: now + Duration::from_secs(5),
        }
    }

    #[test]
    fn a_device_code_is_asked_for_in_its_time_and_ends_once() {
        let (devices, now) = (Devices::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        devices.keep("a".to_owned(), device(now, 60), now);
        assert!(devices.turn("b", now).is_none(), "made up");
        assert!(matches!(devices.turn("a", now), Some(Turn::Wait(time)) if time == Duration::from_secs(5)));
        let Some(Turn::Ask { sent, .. }) = devices.turn("a", after(5)) else { panic!("its time has come") };
        assert!(sent.contains("device_code=device%20code") && sent.contains("client_id=cli"), "{sent}");
        assert!(matches!(devices.turn("a", after(5)), Some(Turn::Wait(_))), "one at a time");
        assert_eq!(devices.slower("a"), Duration::from_secs(10));
        assert!(matches!(devices.turn("a", after(14)), Some(Turn::Wait(_))));
        assert!(matches!(devices.turn("a", after(15)), Some(Turn::Ask { .. })));
        assert!(devices.turn("a", after(60)).is_none(), "over");
        assert!(devices.end("a") && !devices.end("a") && devices.turn("a", after(20)).is_none());
    }

    #[test]
    fn who_asks_for_many_codes_gets_few_and_drives_out_the_oldest() {
        let (devices, now) = (Devices::default(), Instant::now());
        assert!(devices.begins(now) && !devices.begins(now) && devices.begins(now + BEGIN_EVERY));
        for number in 0..=MOST {
            devices.keep(number.to_string(), device(now, 60 + number as u64), now);
        }
        assert_eq!(devices.0.lock().waiting.len(), MOST);
        assert!(devices.turn("0", now).is_none() && devices.turn("1", now).is_some());
    }
}
