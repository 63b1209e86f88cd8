//! People at the console: who they are, and what they may know of this process.
//!
//! In: tokens that a browser brought back from the issuer, by way of console and warden. Out: the person whom the issuer named
//! for this client and this login, and the policies in force; logins that failed, counted. No word of the console itself says
//! who somebody is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Engine;
use super::tokens::{Fault, Terms};
use crate::audit::event::{ConsoleLogin, ConsoleLoginFailed, Event};
use crate::bridge::{Begun, LogIn, LoggedIn, LoginFault, Person};
use crate::config::{Console, Oidc};
use crate::identity::Verified;

/// The issuer may have asked a person so long ago: twice what the console wants.
const OLDEST: Duration = Duration::from_secs(600);
/// There is nobody to log in.
const NOT_CONFIGURED: &str = "no [console] with an [identity.oidc] is configured";
/// The channel of their words.
const CHANNEL: &str = "console";

/// Logins that let nobody in, until they are journaled: anybody who reaches the console makes as many as they like.
#[derive(Default)]
pub(super) struct FailedLogins(Mutex<BTreeMap<LoginFault, u64>>);

impl FailedLogins {
    fn count(&self, fault: LoginFault) {
        *self.0.lock().entry(fault).or_default() += 1;
    }

    /// All since the last time, in one line.
    fn take(&self) -> Option<ConsoleLoginFailed> {
        let counted = std::mem::take(&mut *self.0.lock());
        let failed = counted.into_iter().map(|(fault, count)| (fault.word().to_owned(), count));
        let failed: BTreeMap<_, _> = failed.collect();
        (!failed.is_empty()).then_some(ConsoleLoginFailed { failed })
    }
}

impl Engine {
    pub(super) fn count_failed_login(&self, fault: LoginFault) -> Value {
        self.failed_logins.count(fault);
        Value::Null
    }

    /// Journals those that were counted.
    pub(super) fn flush_failed_logins(&self) {
        let Some(failed) = self.failed_logins.take() else { return };
        if let Err(error) = self.journal.append_unsynced(None, &Event::ConsoleLoginFailed(failed)) {
            tracing::error!(%error, "failed logins at the console could not be recorded");
        }
    }

    /// Whom a token names; in the journal before the person may do anything.
    pub(super) async fn log_in(&self, said: LogIn, begun: Begun) -> Value {
        match self.person_of(&said, begun).await {
            Ok(known) => json!(known),
            Err((fault, reason)) => {
                self.failed_logins.count(fault);
                tracing::error!(reason, "nobody is logged in at the console");
                json!({ "error": reason })
            }
        }
    }

    async fn person_of(&self, said: &LogIn, begun: Begun) -> Result<LoggedIn, (LoginFault, String)> {
        let settings = self.settings();
        let config = settings.config();
        let (Some(oidc), Some(console)) = (&config.oidc, &config.console) else {
            return Err((LoginFault::Gateway, NOT_CONFIGURED.to_owned()));
        };
        let client = client(console, begun).map_err(|reason| (LoginFault::Gateway, reason))?;
        let terms = Arc::new(Terms { oidc: oidc.clone(), ca: settings.tokens().ca.clone() });
        let mut known = self.enter(&terms, client, Some(&said.nonce), &said.token).await?;
        if begun == Begun::CommandLine {
            known.person.known_by += ", by the command line";
        }
        Ok(known)
    }

    /// The issuer, and the client of logins by device code, where those are configured.
    pub(super) fn device_client(&self) -> Result<(Oidc, String, Arc<Terms>), String> {
        let settings = self.settings();
        let config = settings.config();
        let (oidc, console) = config.oidc.as_ref().zip(config.console.as_ref()).ok_or(NOT_CONFIGURED)?;
        if !console.device_code {
            return Err(
                "this console takes no device codes (`[console] device_code`): log in with a browser of your own host"
                    .to_owned(),
            );
        }
        let client = client(console, Begun::CommandLine)?.to_owned();
        let terms = Terms { oidc: oidc.clone(), ca: settings.tokens().ca.clone() };
        Ok((oidc.clone(), client, Arc::new(terms)))
    }

    /// Whom a token names for a client, in the journal before they may do anything. Without a nonce it counts only where it
    /// comes from the issuer's own hand.
    pub(super) async fn enter(
        &self,
        terms: &Arc<Terms>,
        client: &str,
        nonce: Option<&str>,
        token: &str,
    ) -> Result<LoggedIn, (LoginFault, String)> {
        let oidc = &terms.oidc;
        let verified = self.look_at(terms, &wanted(oidc, client, nonce), token.as_bytes()).await;
        let verified = verified.map_err(|fault| match fault {
            Fault::Keys(reason) => (LoginFault::NoKeys, format!("the issuer cannot be asked for its keys: {reason}")),
            Fault::Token(error) => (LoginFault::TokenRefused, format!("the issuer's token does not count: {error}")),
        })?;
        let mut known = person(oidc, client, &verified).map_err(|reason| (LoginFault::TokenRefused, reason))?;
        if nonce.is_none() {
            known.person.known_by += ", by device code";
        }
        let subject = verified.token.subject.to_string();
        let groups = known.person.groups.clone();
        let event = Event::ConsoleLogin(ConsoleLogin {
            person: known.person.name.clone(),
            issuer: oidc.issuer.clone(),
            subject,
            groups,
        });
        self.journal
            .append_unsynced(None, &event)
            .map_err(|error| (LoginFault::Gateway, format!("the login could not be recorded: {error}")))?;
        Ok(known)
    }

    /// The policies in force, as they were read.
    pub(super) fn policies_in_force(&self) -> Value {
        let settings = self.settings();
        let files = settings.policy_files();
        let files = files.iter().map(|file| json!({ "name": file.name, "text": file.text })).collect::<Vec<_>>();
        json!({ "epoch": settings.policies().epoch().to_string(), "files": files, "disabled": settings.config().policy.disable })
    }
}

/// The client at the issuer that a login begun so goes through.
fn client(console: &Console, begun: Begun) -> Result<&str, String> {
    match begun {
        Begun::Browser => Ok(&console.client_id),
        Begun::CommandLine => {
            console.cli_client_id.as_deref().ok_or_else(|| "`[console] cli_client_id` is not configured".to_owned())
        }
    }
}

/// What the token has to say: for this client, for this login. What workloads' tokens have to say beside is not for people.
fn wanted(oidc: &Oidc, client: &str, nonce: Option<&str>) -> Oidc {
    Oidc {
        audience: client.to_owned(),
        claims: vec!["auth_time".to_owned(), "azp".to_owned()],
        require: nonce.map(|nonce| ("nonce".to_owned(), vec![nonce.to_owned()])).into_iter().collect(),
        max_age: None,
        ..oidc.clone()
    }
}

fn person(oidc: &Oidc, client: &str, verified: &Verified) -> Result<LoggedIn, String> {
    let claim = |name: &str| {
        let claim = verified.token.claims.iter().find(|claim| *claim.name == *name);
        claim.and_then(|claim| claim.values.first()).map(ToString::to_string)
    };
    // OpenID Connect Core 1.0, section 3.1.3.7: where there are more audiences, it was issued to the one in `azp`.
    let party = claim("azp");
    let is_ours = match &party {
        Some(party) => party == client,
        None => verified.token.audience.len() == 1,
    };
    if !is_ours {
        return Err("the issuer's token was issued to another client (`azp`)".to_owned());
    }
    let since = claim("auth_time").and_then(|text| text.parse::<u64>().ok());
    let since = since.ok_or("the issuer does not say when it asked who you are: its token has no `auth_time`")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if since + (OLDEST + oidc.leeway).as_secs() < now.as_secs() || since > (now + oidc.leeway).as_secs() {
        return Err("the issuer did not ask who you are: the `auth_time` of its token is not of now".to_owned());
    }
    let person = Person {
        // The subject alone is the issuer's word; names are what people call themselves.
        name: format!("{}:{}", oidc.prefix, verified.token.subject),
        uid: None,
        subject: Some((verified.token.issuer.to_string(), verified.token.subject.to_string())),
        groups: verified.groups.iter().map(ToString::to_string).collect(),
        channel: CHANNEL.to_owned(),
        known_by: format!("OpenID Connect login at {}", oidc.issuer),
    };
    Ok(LoggedIn { person, since })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Place};
    use crate::identity::token::tests::Maker;
    use crate::identity::verify;
    use crate::policy::principal::{Claim, Token};

    use super::*;

    const CONFIG: &str = "version = 1\n[identity.oidc]\nissuer = \"https://id.example.com\"\naudience = \"gateway\"\nprefix = \"idp\"\n\
        [console]\nlisten = \"127.0.0.1:7443\"\npublic_url = \"https://gateway.example.com\"\nclient_id = \"console\"\nclient_secret = { file = \"/x\" }\n";

    fn token(audience: &[&str], claims: &[(&str, &str)]) -> Verified {
        let text = |text: &&str| Arc::<str>::from(*text);
        let claims = claims.iter().map(|(name, value)| Claim { name: (*name).into(), values: [text(value)].into() });
        let audience = audience.iter().map(text).collect();
        let token = Token {
            issuer: "https://id.example.com".into(),
            subject: "alice".into(),
            audience,
            claims: claims.collect(),
        };
        Verified { token, groups: vec!["idp:dba".into()], pod: None, expires: Duration::ZERO }
    }

    #[test]
    fn a_flood_of_failed_logins_is_one_line() {
        let failed = FailedLogins::default();
        assert_eq!(failed.take(), None);
        for _ in 0..100_000 {
            failed.count(LoginFault::NotBegunHere);
        }
        failed.count(LoginFault::TokenRefused);
        let line = failed.take().unwrap();
        assert_eq!(json!(line), json!({ "failed": { "not_begun_here": 100_000, "token_refused": 1 } }));
        assert_eq!(failed.take(), None, "and told of once");
    }

    #[test]
    fn a_person_is_whom_the_issuer_asked_lately_for_this_client() {
        let config = Config::parse("gateway.toml", CONFIG).unwrap();
        let (oidc, console) = (config.oidc.unwrap(), config.console.unwrap());
        assert_eq!(oidc.place, Place { host: "id.example.com".to_owned(), port: 443, path: String::new() });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let (fresh, old, ahead) = (now.to_string(), (now - 700).to_string(), (now + 700).to_string());
        let client = client(&console, Begun::Browser).unwrap();
        let of = |audience: &[&str], claims: &[(&str, &str)]| person(&oidc, client, &token(audience, claims));
        let known = of(&["console"], &[("auth_time", &fresh)]).unwrap();
        assert_eq!((known.person.name.as_str(), known.since), ("idp:alice", now));
        assert!(of(&["console", "other"], &[("auth_time", &fresh), ("azp", "console")]).is_ok());
        for (audience, claims) in [
            (&["console"][..], &[][..]),
            (&["console"], &[("auth_time", old.as_str())]),
            (&["console"], &[("auth_time", &ahead)]),
            (&["console"], &[("auth_time", "soon")]),
            (&["console"], &[("auth_time", &fresh), ("azp", "other")]),
            (&["console", "other"], &[("auth_time", &fresh)]),
        ] {
            assert!(of(audience, claims).is_err(), "{audience:?} {claims:?}");
        }
        let wanted = wanted(&oidc, client, Some("n"));
        assert_eq!(
            (wanted.audience.as_str(), wanted.require),
            ("console", vec![("nonce".to_owned(), vec!["n".to_owned()])])
        );
    }

    #[test]
    fn a_token_counts_for_the_client_and_the_nonce_of_the_login_that_it_is_brought_to() {
        let config = |more: &str| Config::parse("gateway.toml", &format!("{CONFIG}{more}")).unwrap();
        let without = config("").console.unwrap();
        assert!(client(&without, Begun::CommandLine).is_err(), "no client, no login");
        let config = config("cli_client_id = \"gateway-cli\"\n");
        let (oidc, console) = (config.oidc.unwrap(), config.console.unwrap());
        let maker = Maker::new("k");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let comes_in = |begun: Begun, claims: Value| {
            let mut all = json!({"iss": "https://id.example.com", "sub": "alice", "exp": now + 60, "auth_time": now});
            all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            let client = client(&console, begun).unwrap();
            let verified = verify(&wanted(&oidc, client, Some("this")), &maker.keys(), maker.token(&all).as_bytes());
            verified.is_ok_and(|verified| person(&oidc, client, &verified).is_ok())
        };
        for (begun, own, other) in
            [(Begun::Browser, "console", "gateway-cli"), (Begun::CommandLine, "gateway-cli", "console")]
        {
            assert!(comes_in(begun, json!({"aud": own, "nonce": "this"})), "{begun:?}");
            for claims in [
                json!({"aud": other, "nonce": "this"}),
                json!({"aud": [own, other], "azp": other, "nonce": "this"}),
                json!({"aud": [own, other], "nonce": "this"}),
                json!({"aud": own, "nonce": "of another login"}),
                json!({"aud": own}),
                json!({"aud": own, "nonce": "this", "exp": now - 120}),
                json!({"aud": own, "nonce": "this", "auth_time": now - 3_600}),
            ] {
                assert!(!comes_in(begun, claims.clone()), "{begun:?}: {claims}");
            }
        }
    }
}
