//! Logins that are begun by `gateway login`, on the host of the person (RFC 8252).
//!
//! In: the port at which it listens there, then the code that the issuer sent to it. Out: where the person has to go, then the
//! login; or a code that the person types at the issuer (`engine/devices.rs`), then the login. The verifier stays here, and so does the token that the issuer gives for the code: what the other host holds is
//! good for this one attempt. Neither counts before the engine has looked at the token.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Console;
use super::login::NO_CLIENT;
use super::routes::{Answer, Brought, Refusal, bad, json_of};
use super::visits::{ATTEMPT_FOR, Attempt, Known, Way};
use crate::bridge::Begun;

/// Below this no program of a person listens.
const FIRST_PORT: u16 = 1_024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Back {
    login: String,
    state: String,
    code: String,
    #[serde(default)]
    iss: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Poll {
    login: String,
}

impl Console {
    /// Where the person has to go, and the name of the attempt, which the program alone knows.
    pub(super) async fn begin_elsewhere(&self, sent: &str) -> Result<Answer, Refusal> {
        let failed = |reason: String| Refusal::Because(StatusCode::BAD_GATEWAY, reason);
        let Begin { port } = serde_json::from_str(sent).map_err(|error| bad(&error.to_string()))?;
        if port < FIRST_PORT {
            return Err(bad("a port that programs of people may listen at"));
        }
        if self.issuer.cli_client_id.is_none() {
            return Err(Refusal::Because(StatusCode::NOT_FOUND, NO_CLIENT.to_owned()));
        }
        let nonce = self.link.begin(Begun::CommandLine).await.map_err(failed)?;
        let no_randomness = || failed("the system has no randomness".to_owned());
        let attempt = Attempt::new(nonce, Way::CommandLine(port)).ok_or_else(no_randomness)?;
        let (address, state) =
            (self.issuer.address(&self.link, &attempt).await.map_err(failed)?, attempt.state.clone());
        let login = self.visits.attempt(attempt).ok_or_else(no_randomness)?;
        let seconds = ATTEMPT_FOR.as_secs();
        Ok(json_of(&json!({ "login": login, "address": address, "state": state, "expires_in": seconds })))
    }

    /// The login of who brings the issuer's code.
    pub(super) async fn come_back_elsewhere(&self, sent: &str) -> Result<Answer, Refusal> {
        let failed = |reason: &str| Refusal::Because(StatusCode::FORBIDDEN, format!("you are not logged in: {reason}"));
        let Back { login, state, code, iss } = serde_json::from_str(sent).map_err(|error| bad(&error.to_string()))?;
        let brought = Brought { state, code: Some(code), issuer: iss };
        let (cookie, _) =
            self.enter(Some(&login), brought, Begun::CommandLine).await.map_err(|reason| failed(&reason))?;
        self.told(&cookie)
    }

    /// A code to type at the issuer, which the engine asks for.
    pub(super) async fn begin_device(&self, sent: &str) -> Result<Answer, Refusal> {
        let Nothing {} = serde_json::from_str(sent).map_err(|error| bad(&error.to_string()))?;
        let begun = self.link.begin_device().await;
        begun.map(|begun| json_of(&begun)).map_err(|reason| Refusal::Because(StatusCode::CONFLICT, reason))
    }

    /// The login of who typed it, or when to ask again.
    pub(super) async fn poll_device(&self, sent: &str) -> Result<Answer, Refusal> {
        let failed = |reason: &str| Refusal::Because(StatusCode::FORBIDDEN, format!("you are not logged in: {reason}"));
        let Poll { login } = serde_json::from_str(sent).map_err(|error| bad(&error.to_string()))?;
        match self.link.poll_device(login).await.map_err(|reason| failed(&reason))? {
            Err(seconds) => Ok(json_of(&json!({ "waiting": seconds }))),
            Ok(login) => {
                let cookie = self.visits.enter(login).ok_or_else(|| failed("you are logged in too often"))?;
                self.told(&cookie)
            }
        }
    }

    /// What a program needs to speak for who just came in.
    fn told(&self, cookie: &str) -> Result<Answer, Refusal> {
        let Known::Person(visit) = self.visits.find(Some(cookie)) else {
            let words = "you are not logged in: it was over at once".to_owned();
            return Err(Refusal::Because(StatusCode::FORBIDDEN, words));
        };
        Ok(json_of(&json!({
            "session": cookie, "token": visit.token, "name": visit.login.name, "groups": visit.login.groups,
            "fresh_for": visit.fresh_for().as_secs(), "ends_in": visit.ends_in().as_secs(),
        })))
    }
}
