//! Who the workloads of attachments are, as their tokens say now.
//!
//! In: the bytes of token files, from the warden, and the issuer's keys. Out: for each attachment that is bound to a token
//! whether that counts, kept true until it ends: sessions rest on it (G6). A session never begins on a token that was not
//! verified, nor goes on with one that has ended, was taken away, or says something else than when it began.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, watch};

use super::{Engine, Settings};
use crate::audit::event::{Event, TokenRefused, TokenVerified};
use crate::bridge::AttachmentInfo;
use crate::config::Oidc;
use crate::identity::{Keys, TokenError, Verified, Workload, verify};

/// Keys older than this are asked for again: one that the issuer took back counts no longer.
const KEYS_FOR: Duration = Duration::from_secs(300);
/// The issuer is not asked more often, whatever keys tokens name.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// A token whose key is not known yet is looked at again after so long.
const TRY_AGAIN: Duration = Duration::from_secs(3);
/// A token is looked at again after so long, since the clock may have been set.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Pauses between tries to reach an issuer.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a session waits for its token to be looked at.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a token counts.
#[derive(Clone, Debug)]
enum Standing {
    Checking,
    Verified(Arc<Verified>),
    Refused(String),
}

/// What an attachment is bound to.
#[derive(Clone, Debug)]
struct Binding {
    given: Result<Vec<u8>, String>,
    terms: Option<Arc<Terms>>,
    /// Tells this token from those before it.
    number: u64,
    standing: Standing,
}

/// Who vouches, and how that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) oidc: Oidc,
    pub(super) ca: Option<Vec<u8>>,
}

/// What the issuer last said.
struct Known {
    terms: Arc<Terms>,
    asked: Instant,
    fetched: Instant,
    keys: Keys,
}

/// The tokens of all attachments.
#[derive(Default)]
pub(super) struct Bindings {
    now: watch::Sender<BTreeMap<String, Binding>>,
    /// Held while the issuer is asked: who needs the same waits for the same answer.
    known: Mutex<Option<Known>>,
}

/// What was journaled of a token last: that it counts, or why not.
type Told = Option<Result<(), String>>;

/// Why a look came to no good end.
pub(super) enum Fault {
    /// The issuer's keys cannot be had.
    Keys(String),
    Token(TokenError),
}

impl Bindings {
    fn of(&self, attachment: &str, number: u64) -> Option<Binding> {
        self.now.borrow().get(attachment).filter(|binding| binding.number == number).cloned()
    }

    /// Nothing happens where another token has come meanwhile.
    fn set(&self, attachment: &str, number: u64, standing: Standing) {
        self.now.send_if_modified(|all| match all.get_mut(attachment) {
            Some(binding) if binding.number == number => {
                binding.standing = standing;
                true
            }
            _ => false,
        });
    }
}

impl Engine {
    /// Takes the tokens of new settings: those that changed are looked at.
    pub(super) fn renew_tokens(self: &Arc<Self>, settings: &Settings) {
        let config = settings.config();
        let terms = config.oidc.clone().map(|oidc| Arc::new(Terms { oidc, ca: settings.tokens().ca.clone() }));
        let mut changed = Vec::new();
        self.bindings.now.send_modify(|all| {
            let bound: Vec<_> = settings.attachments().filter(|info| info.token_file.is_some()).collect();
            all.retain(|name, _| bound.iter().any(|info| info.name == *name));
            for info in bound {
                let given = settings.tokens().given.get(&info.name).cloned();
                let given = given.unwrap_or_else(|| Err("its file was not read".to_owned()));
                let before = all.get(&info.name);
                if before.is_some_and(|before| before.given == given && before.terms == terms) {
                    continue;
                }
                let number = before.map_or(0, |before| before.number + 1);
                let standing = match (&given, before) {
                    (Err(reason), _) => Standing::Refused(reason.clone()),
                    // Sessions go on while the one that takes its place is looked at. Where none could begin, they wait for it.
                    (Ok(_), Some(Binding { terms: same, standing: standing @ Standing::Verified(_), .. }))
                        if *same == terms =>
                    {
                        standing.clone()
                    }
                    (Ok(_), _) => Standing::Checking,
                };
                changed.push((info.name.clone(), number));
                all.insert(info.name.clone(), Binding { given, terms: terms.clone(), number, standing });
            }
        });
        for (attachment, number) in changed {
            tokio::spawn(Arc::clone(self).follow_token(attachment, number));
        }
    }

    /// Keeps the standing of one token true until it ends, or another takes its place.
    async fn follow_token(self: Arc<Self>, attachment: String, number: u64) {
        let (mut pause, mut since, mut told) = (FIRST_PAUSE, None, None);
        while let Some(Binding { given, terms, standing, .. }) = self.bindings.of(&attachment, number) {
            let token = match given {
                Ok(token) => token,
                Err(reason) => return self.refuse_token(&attachment, number, reason, &mut told),
            };
            let Some(terms) = terms else { return };
            let wait = match self.look_at(&terms, &terms.oidc, &token).await {
                Ok(verified) => {
                    let since = *since.get_or_insert_with(SystemTime::now);
                    let remains = left(&terms.oidc, &verified, since);
                    if remains.is_zero() {
                        let has_expired =
                            left(&Oidc { max_age: None, ..terms.oidc.clone() }, &verified, since).is_zero();
                        let error = if has_expired { TokenError::Expired } else { TokenError::TooOld };
                        return self.refuse_token(&attachment, number, error.to_string(), &mut told);
                    }
                    pause = FIRST_PAUSE;
                    self.take_token(&attachment, number, verified, &mut told);
                    remains.min(LOOK_EVERY)
                }
                // What was verified stays so while its issuer is away, until it ends.
                Err(Fault::Keys(reason)) => {
                    tracing::error!(attachment, reason, "the issuer of tokens cannot be asked for its keys");
                    let counts = |verified: &Verified| !left(&terms.oidc, verified, SystemTime::now()).is_zero();
                    if !matches!(&standing, Standing::Verified(verified) if counts(verified)) {
                        self.refuse_token(&attachment, number, reason, &mut told);
                    }
                    let now = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    now
                }
                Err(Fault::Token(error)) => {
                    self.refuse_token(&attachment, number, error.to_string(), &mut told);
                    match error {
                        TokenError::Early | TokenError::NoKey { .. } | TokenError::Signature => TRY_AGAIN,
                        _ => return,
                    }
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks at a token of the issuer, which has to be what is wanted.
    pub(super) async fn look_at(&self, terms: &Arc<Terms>, wanted: &Oidc, token: &[u8]) -> Result<Verified, Fault> {
        let keys = self.issuer_keys(terms, KEYS_FOR).await.map_err(Fault::Keys)?;
        match verify(wanted, &keys, token) {
            // The issuer may have a new one.
            Err(TokenError::NoKey { .. } | TokenError::Signature) => {
                let keys = self.issuer_keys(terms, Duration::ZERO).await.map_err(Fault::Keys)?;
                verify(wanted, &keys, token).map_err(Fault::Token)
            }
            other => other.map_err(Fault::Token),
        }
    }

    /// The issuer's keys, at most so old, unless it cannot be asked or was asked a moment ago.
    async fn issuer_keys(&self, terms: &Arc<Terms>, age: Duration) -> Result<Keys, String> {
        let mut known = self.bindings.known.lock().await;
        if let Some(known) = known.as_mut().filter(|known| known.terms == *terms) {
            if known.fetched.elapsed() < age || known.asked.elapsed() < ASK_EVERY {
                return Ok(known.keys.clone());
            }
            known.asked = Instant::now();
        }
        match (self.keys_of(terms).await, known.as_ref()) {
            (Ok(keys), _) => {
                let (terms, asked) = (Arc::clone(terms), Instant::now());
                *known = Some(Known { terms, asked, fetched: asked, keys: keys.clone() });
                Ok(keys)
            }
            (Err(reason), Some(known)) if known.terms == *terms => {
                tracing::warn!(reason, "the issuer of tokens cannot be asked: its keys of before count");
                Ok(known.keys.clone())
            }
            (Err(reason), _) => Err(reason),
        }
    }

    fn take_token(&self, attachment: &str, number: u64, verified: Verified, told: &mut Told) {
        if *told == Some(Ok(())) {
            return;
        }
        let token = verified.event();
        let event = Event::TokenVerified(TokenVerified { attachment: attachment.to_owned(), token });
        if let Err(error) = self.journal.append_unsynced(None, &event) {
            tracing::error!(%error, attachment, "a token could not be recorded: it does not count");
            let reason = "that it was verified could not be recorded".to_owned();
            return self.bindings.set(attachment, number, Standing::Refused(reason));
        }
        *told = Some(Ok(()));
        self.bindings.set(attachment, number, Standing::Verified(Arc::new(verified)));
    }

    fn refuse_token(&self, attachment: &str, number: u64, reason: String, told: &mut Told) {
        if !matches!(told, Some(Err(before)) if *before == reason) {
            tracing::error!(attachment, reason, "the token of an attachment does not count");
            let event = Event::TokenRefused(TokenRefused { attachment: attachment.to_owned(), reason: reason.clone() });
            if let Err(error) = self.journal.append_unsynced(None, &event) {
                tracing::error!(%error, attachment, "a refused token could not be recorded");
            }
            *told = Some(Err(reason.clone()));
        }
        self.bindings.set(attachment, number, Standing::Refused(reason));
    }

    /// The token of an attachment that is bound to one; where it is not looked at yet, once it is.
    ///
    /// # Errors
    /// Where it does not count, with the reason: the attachment's connections are refused.
    pub async fn token_of(&self, attachment: &AttachmentInfo) -> Result<Option<Arc<Verified>>, String> {
        if attachment.token_file.is_none() {
            return Ok(None);
        }
        let refused = |reason: &str| format!("the token of this workload does not count: {reason}");
        let mut now = self.bindings.now.subscribe();
        let is_known = |all: &BTreeMap<String, Binding>| {
            all.get(&attachment.name).is_some_and(|binding| !matches!(binding.standing, Standing::Checking))
        };
        let looked_at = tokio::time::timeout(PATIENCE, now.wait_for(is_known)).await;
        let Ok(Ok(all)) = looked_at else { return Err(refused("its issuer did not answer in time: try again")) };
        match all.get(&attachment.name).map(|binding| &binding.standing) {
            Some(Standing::Verified(verified)) => Ok(Some(Arc::clone(verified))),
            Some(Standing::Refused(reason)) => Err(refused(reason)),
            Some(Standing::Checking) | None => Err(refused("it is not known")),
        }
    }

    /// Resolves when the token that a workload carries does not count any more, with the reason.
    pub(super) async fn token_ended(&self, workload: &Workload) -> String {
        if workload.token().is_none() {
            return std::future::pending().await;
        }
        let mut now = self.bindings.now.subscribe();
        loop {
            if let Some(reason) = no_longer(&now.borrow_and_update(), workload) {
                return reason;
            }
            if now.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

fn no_longer(all: &BTreeMap<String, Binding>, workload: &Workload) -> Option<String> {
    let carried = workload.token().filter(|_| !workload.observed())?;
    match all.get(&workload.attachment().name).map(|binding| &binding.standing) {
        None => Some("its attachment is bound to no token any more".to_owned()),
        Some(Standing::Checking) => None,
        Some(Standing::Refused(reason)) => Some(format!("the token of its workload does not count any more: {reason}")),
        Some(Standing::Verified(now)) if now.says_as(carried) => None,
        Some(Standing::Verified(_)) => {
            Some("the token of its workload says something else than when it began: connect again".to_owned())
        }
    }
}

/// For how long a token counts from now on.
fn left(oidc: &Oidc, verified: &Verified, since: SystemTime) -> Duration {
    let ends = UNIX_EPOCH + verified.expires + oidc.leeway;
    let ends = oidc.max_age.map_or(ends, |age| ends.min(since + age));
    // A moment later, so that who looks then finds it ended.
    ends.duration_since(SystemTime::now()).map_or(Duration::ZERO, |left| left + Duration::from_millis(20))
}
