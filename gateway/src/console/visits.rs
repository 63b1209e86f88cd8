//! Who is logged in: web sessions, which the server keeps, and the cookies that name them.
//!
//! In: cookies of browsers. Out: the login that they name. A cookie is a random name with a keyed hash, made anew
//! at each login, so that nobody can hand somebody else a name of their own; it says nothing by itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use super::words::Login;
use crate::bridge::Begun;

/// How long a login counts.
const LOGIN_FOR: Duration = Duration::from_secs(8 * 3_600);
/// How long a person may take at the issuer's page.
pub(super) const ATTEMPT_FOR: Duration = Duration::from_secs(600);
/// Logins at once, and of one person.
const MAX_VISITS: usize = 10_000;
const MAX_OF_PERSON: usize = 20;
/// Requests of one login in a time: what a person reads, not what a script loads.
const MAX_REQUESTS: u32 = 300;
const PER: Duration = Duration::from_secs(60);

/// The cookie of a login. Its prefix has browsers take it only over TLS, for this host and every path (RFC 6265bis, 4.1.3).
pub(super) const LOGIN: &str = "__Host-gateway";
/// That of an attempt to log in, which has to survive the way back from the issuer.
pub(super) const ATTEMPT: &str = "__Host-gateway-attempt";

/// A login.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) login: Login,
    /// What each form has to bring back.
    pub(super) token: String,
    since: Instant,
    window: (Instant, u32),
}

impl Visit {
    /// Whether it is young enough for a say.
    pub(super) fn is_fresh(&self) -> bool {
        !self.fresh_for().is_zero()
    }

    /// For how long it will be.
    pub(super) fn fresh_for(&self) -> Duration {
        self.login.fresh_for.saturating_sub(self.since.elapsed())
    }

    /// How long it lasts still.
    pub(super) fn ends_in(&self) -> Duration {
        LOGIN_FOR.saturating_sub(self.since.elapsed())
    }
}

/// An attempt to log in.
#[derive(Clone)]
pub(super) struct Attempt {
    pub(super) state: String,
    pub(super) nonce: String,
    pub(super) verifier: String,
    pub(super) way: Way,
    since: Instant,
}

/// How a person comes back from the issuer.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// To a page of ours, and from there to the one that was asked for.
    Browser(String),
    /// To a port of their own host, where `gateway login` listens (RFC 8252, section 7.3).
    CommandLine(u16),
}

impl Attempt {
    pub(super) fn new(nonce: String, way: Way) -> Option<Self> {
        Some(Self { state: random()?, nonce, verifier: random()?, way, since: Instant::now() })
    }

    /// As the warden knows it.
    pub(super) fn begun(&self) -> Begun {
        match self.way {
            Way::Browser(_) => Begun::Browser,
            Way::CommandLine(_) => Begun::CommandLine,
        }
    }
}

/// What a cookie comes to.
pub(super) enum Known {
    Person(Box<Visit>),
    /// Too much was asked.
    Hasty,
    Nobody,
}

/// All logins of this process.
pub(super) struct Visits {
    key: hmac::Key,
    visits: Mutex<HashMap<String, Visit>>,
    attempts: Mutex<HashMap<String, Attempt>>,
}

impl Visits {
    /// With a key of its own: a restart logs everybody out.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
        Some(Self { key, visits: Mutex::default(), attempts: Mutex::default() })
    }

    /// The cookie of a new login.
    pub(super) fn enter(&self, login: Login) -> Option<String> {
        let (name, token, now) = (random()?, random()?, Instant::now());
        let mut visits = self.visits.lock();
        visits.retain(|_, visit| visit.since.elapsed() < LOGIN_FOR);
        let theirs = visits.values().filter(|visit| visit.login.name == login.name).count();
        if visits.len() >= MAX_VISITS || theirs >= MAX_OF_PERSON {
            return None;
        }
        let cookie = self.signed(&name);
        visits.insert(name, Visit { login, token, since: now, window: (now, 0) });
        Some(cookie)
    }

    /// Whom a cookie names.
    pub(super) fn find(&self, cookie: Option<&str>) -> Known {
        let Some(name) = cookie.and_then(|cookie| self.name(cookie)) else { return Known::Nobody };
        let mut visits = self.visits.lock();
        let Some(visit) = visits.get_mut(name).filter(|visit| visit.since.elapsed() < LOGIN_FOR) else {
            return Known::Nobody;
        };
        if visit.window.0.elapsed() > PER {
            visit.window = (Instant::now(), 0);
        }
        visit.window.1 += 1;
        if visit.window.1 > MAX_REQUESTS { Known::Hasty } else { Known::Person(Box::new(visit.clone())) }
    }

    /// Ends a login.
    pub(super) fn leave(&self, cookie: Option<&str>) {
        if let Some(name) = cookie.and_then(|cookie| self.name(cookie)) {
            self.visits.lock().remove(name);
        }
    }

    /// The cookie of an attempt.
    pub(super) fn attempt(&self, attempt: Attempt) -> Option<String> {
        let name = random()?;
        let mut attempts = self.attempts.lock();
        // As in the warden: the oldest gives way.
        if attempts.len() >= MAX_VISITS
            && let Some(oldest) = attempts.iter().min_by_key(|(_, one)| one.since).map(|(name, _)| name.clone())
        {
            attempts.remove(&oldest);
        }
        let cookie = self.signed(&name);
        attempts.insert(name, attempt);
        Some(cookie)
    }

    /// The attempt that a cookie names, once, where it was begun so and the issuer sent its state back.
    pub(super) fn resume(&self, cookie: Option<&str>, state: &str, begun: Begun) -> Option<Attempt> {
        let name = self.name(cookie?)?;
        let attempt = self.attempts.lock().remove(name)?;
        let is_it = attempt.begun() == begun && same(&attempt.state, state);
        (is_it && attempt.since.elapsed() < ATTEMPT_FOR).then_some(attempt)
    }

    fn signed(&self, name: &str) -> String {
        format!("{name}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, name.as_bytes())))
    }

    fn name<'c>(&self, cookie: &'c str) -> Option<&'c str> {
        let (name, tag) = cookie.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, name.as_bytes(), &tag).ok().map(|()| name)
    }
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// 256 bits, as text.
pub(super) fn random() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(name: &str) -> Login {
        Login { login: 1, name: name.to_owned(), groups: Vec::new(), fresh_for: Duration::from_secs(600) }
    }

    #[test]
    fn a_login_is_known_by_its_cookie_until_it_is_left() {
        let visits = Visits::new().unwrap();
        let (one, other) = (visits.enter(login("alice")).unwrap(), visits.enter(login("alice")).unwrap());
        assert_ne!(one, other, "each login has a name of its own");
        let forged = format!("{}x", one.split('.').next().unwrap());
        for nobody in ["", "a.b", &forged, one.split('.').next().unwrap(), &one.replace('.', "..")] {
            assert!(matches!(visits.find(Some(nobody)), Known::Nobody), "{nobody}");
        }
        assert!(matches!(visits.find(Some(&one)), Known::Person(visit) if visit.login.name == "alice"));
        visits.leave(Some(&one));
        assert!(matches!(visits.find(Some(&one)), Known::Nobody));
        assert!(matches!(visits.find(Some(&other)), Known::Person(_)));
        assert!(matches!(Visits::new().unwrap().find(Some(&other)), Known::Nobody), "the key is the process's own");
    }

    #[test]
    fn an_attempt_is_resumed_once_and_only_with_its_state() {
        let visits = Visits::new().unwrap();
        let attempt = Attempt::new("n".to_owned(), Way::Browser("/".to_owned())).unwrap();
        let resume = |cookie, state: &str| visits.resume(cookie, state, Begun::Browser);
        let (cookie, state) = (visits.attempt(attempt.clone()).unwrap(), attempt.state.clone());
        assert!(resume(None, &state).is_none());
        assert!(resume(Some(&cookie), &state).is_some());
        assert!(resume(Some(&cookie), &state).is_none(), "a second time");
        let cookie = visits.attempt(attempt.clone()).unwrap();
        assert!(resume(Some(&cookie), "other").is_none());
        assert!(resume(Some(&cookie), &state).is_none(), "a wrong state ends it");
        let cookie = visits.attempt(attempt).unwrap();
        assert!(visits.resume(Some(&cookie), &state, Begun::CommandLine).is_none(), "begun in a browser");
    }

    #[test]
    fn a_login_that_asks_too_much_waits() {
        let visits = Visits::new().unwrap();
        let cookie = visits.enter(login("alice")).unwrap();
        for _ in 0..MAX_REQUESTS {
            assert!(matches!(visits.find(Some(&cookie)), Known::Person(_)));
        }
        assert!(matches!(visits.find(Some(&cookie)), Known::Hasty));
        let logins = (1..MAX_OF_PERSON + 5).filter(|_| visits.enter(login("alice")).is_some());
        assert_eq!(logins.count(), MAX_OF_PERSON - 1);
        assert!(visits.enter(login("bob")).is_some());
    }
}
