//! Who is logged in at the console.
//!
//! In: people whom the engine took from tokens of the issuer. Out: for whom a question is. A token counts for one login that was
//! begun here, so that the console's process speaks for nobody who did not come to it.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;

use crate::bridge::{Begun, LoggedIn, Person};
use crate::console::Login;

/// How long a login counts.
const LOGIN_FOR: Duration = Duration::from_secs(8 * 3_600);
/// How long it counts for a say, from when the issuer asked who it is.
const FRESH_FOR: Duration = Duration::from_secs(600);
/// How long a person may take at the issuer's page.
const ATTEMPT_FOR: Duration = Duration::from_secs(600);
/// Logins and attempts at once.
const MOST: usize = 10_000;

/// All logins of one console's process: they end with it.
#[derive(Default)]
pub(super) struct Logins {
    begun: HashMap<String, (Begun, Instant)>,
    people: HashMap<u64, (Person, Instant, SystemTime)>,
    last: u64,
}

impl Logins {
    /// What the token of a new login has to say.
    pub(super) fn begin(&mut self, begun: Begun) -> Result<String, String> {
        // Nobody is known yet who begins: the oldest gives way, so that nobody is kept out by who never comes back.
        if self.begun.len() >= MOST
            && let Some(oldest) = self.begun.iter().min_by_key(|(_, (_, at))| *at).map(|(nonce, _)| nonce.clone())
        {
            self.begun.remove(&oldest);
        }
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).map_err(|_| "the system has no randomness")?;
        let nonce = crate::audit::hex::encode(&bytes);
        self.begun.insert(nonce.clone(), (begun, Instant::now()));
        Ok(nonce)
    }

    /// Where the login was begun that has this nonce, if one was and no token came for it yet.
    pub(super) fn take(&mut self, nonce: &str) -> Option<Begun> {
        let (begun, at) = self.begun.remove(nonce)?;
        (at.elapsed() < ATTEMPT_FOR).then_some(begun)
    }

    /// A person comes in.
    pub(super) fn enter(&mut self, known: LoggedIn) -> Result<Login, String> {
        self.people.retain(|_, (_, at, _)| at.elapsed() < LOGIN_FOR);
        if self.people.len() >= MOST {
            return Err("too many people are logged in".to_owned());
        }
        self.last += 1;
        let LoggedIn { person, since } = known;
        let asked = UNIX_EPOCH + Duration::from_secs(since);
        let (name, groups) = (person.name.clone(), person.groups.clone());
        self.people.insert(self.last, (person, Instant::now(), asked));
        Ok(Login { login: self.last, name, groups, fresh_for: fresh_for(asked) })
    }

    /// Whose login it is, and whether their word counts still.
    pub(super) fn find(&self, login: u64) -> Option<(Person, bool)> {
        let (person, at, asked) = self.people.get(&login)?;
        (at.elapsed() < LOGIN_FOR).then(|| (person.clone(), !fresh_for(*asked).is_zero()))
    }

    /// A person goes.
    pub(super) fn leave(&mut self, login: u64) {
        self.people.remove(&login);
    }
}

/// For how long the word counts of somebody who was asked then.
fn fresh_for(asked: SystemTime) -> Duration {
    // An issuer's clock that is ahead is no reason to trust for longer.
    let passed = SystemTime::now().duration_since(asked).unwrap_or_default();
    FRESH_FOR.saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(since: SystemTime) -> LoggedIn {
        let person = Person {
            name: "idp:alice".to_owned(),
            uid: None,
            subject: None,
            groups: Vec::new(),
            channel: "console".to_owned(),
            known_by: "a test".to_owned(),
        };
        LoggedIn { person, since: since.duration_since(UNIX_EPOCH).unwrap().as_secs() }
    }

    #[test]
    fn a_token_counts_for_one_login_that_was_begun_here() {
        let mut logins = Logins::default();
        let (one, other) = (logins.begin(Begun::Browser).unwrap(), logins.begin(Begun::CommandLine).unwrap());
        assert!(one != other && one.len() == 64);
        assert_eq!(logins.take("made up"), None);
        assert_eq!((logins.take(&one), logins.take(&one)), (Some(Begun::Browser), None), "once");
        assert_eq!(logins.take(&other), Some(Begun::CommandLine), "as which it was begun");
        let early = logins.begin(Begun::Browser).unwrap();
        let last = (0..MOST).map(|_| logins.begin(Begun::Browser).unwrap()).last().unwrap();
        assert_eq!(logins.begun.len(), MOST, "attempts are bounded");
        assert!(logins.take(&early).is_none() && logins.take(&last).is_some(), "the oldest gives way");
    }

    #[test]
    fn a_word_counts_for_ten_minutes_from_when_the_issuer_asked() {
        let mut logins = Logins::default();
        let now = logins.enter(known(SystemTime::now())).unwrap();
        let old = logins.enter(known(SystemTime::now() - Duration::from_secs(601))).unwrap();
        assert!(now.fresh_for > Duration::from_secs(590) && old.fresh_for.is_zero());
        assert_eq!(
            logins.find(now.login).map(|(person, fresh)| (person.name, fresh)),
            Some(("idp:alice".to_owned(), true))
        );
        assert_eq!(logins.find(old.login).map(|(_, fresh)| fresh), Some(false));
        assert!(logins.find(99).is_none());
        logins.leave(now.login);
        assert!(logins.find(now.login).is_none());
    }
}
