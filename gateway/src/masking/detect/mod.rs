//! Value detectors: what is a secret wherever it stands.
//!
//! In: bytes. Out: the places of values, each with its detector and class. Best effort by nature, and a second net
//! only: a value that is encoded, split over cells or written in words is not found. Every detector has a check
//! against look-alikes, and takes time linear in the input. It never changes a byte.

mod iban;
mod number;
mod token;

#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::Regex;

use crate::masking::class::{Class, Classes};

pub(super) use token::{PEM_LONGEST, is_pem_body, is_token_body, pem_end};

/// A built-in detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Builtin {
    /// Payment card numbers.
    Card,
    /// US social security numbers.
    Ssn,
    /// Bank account numbers.
    Iban,
    /// E-mail addresses.
    Email,
    /// Telephone numbers in international form.
    Phone,
    /// JSON web tokens.
    Jwt,
    /// Private keys in PEM.
    PrivateKey,
    /// Keys of AWS, Google, Azure and kin.
    CloudKey,
    /// Tokens of forges, registries, chat and model providers.
    ForgeToken,
}

impl Builtin {
    /// All, with the names that configuration uses, whether they are on by default, and the class of what they find.
    pub const ALL: [(Self, &'static str, bool, &'static str); 9] = [
        (Self::Card, "card", true, "card"),
        (Self::Ssn, "ssn", true, "ssn"),
        (Self::Iban, "iban", true, "iban"),
        (Self::Email, "email", false, "email"),
        // Too many numbers look like one.
        (Self::Phone, "phone", false, "phone"),
        (Self::Jwt, "jwt", true, "secret"),
        (Self::PrivateKey, "private_key", true, "secret"),
        (Self::CloudKey, "cloud_key", true, "secret"),
        (Self::ForgeToken, "forge_token", true, "secret"),
    ];
}

/// How something is found.
#[derive(Clone, Debug)]
enum How {
    Builtin(Builtin),
    Custom(Regex),
}

/// One detector that is on.
#[derive(Clone, Debug)]
pub struct Detector {
    /// The name that configuration and events use.
    pub name: Arc<str>,
    /// What its finds are.
    pub class: Arc<Class>,
    how: How,
}

impl Detector {
    /// A built-in one.
    #[must_use]
    pub fn builtin(builtin: Builtin, class: Arc<Class>) -> Self {
        let name = Builtin::ALL.iter().find(|(other, ..)| *other == builtin).map_or("", |(_, name, ..)| name);
        Self { name: name.into(), class, how: How::Builtin(builtin) }
    }

    /// A pattern of the owner's. Those of the `regex` crate take linear time.
    #[must_use]
    pub fn custom(name: &str, class: Arc<Class>, pattern: Regex) -> Self {
        Self { name: name.into(), class, how: How::Custom(pattern) }
    }

    fn pattern(&self) -> Option<Regex> {
        match &self.how {
            How::Custom(pattern) => Some(pattern.clone()),
            How::Builtin(Builtin::Email) => Regex::new(EMAIL).ok(),
            How::Builtin(Builtin::Phone) => Regex::new(PHONE).ok(),
            How::Builtin(_) => None,
        }
    }
}

/// Some of the detectors of one [`Detectors`]: those that a column is exempt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetectorSet(u64);

impl DetectorSet {
    /// Whether it holds a detector.
    #[must_use]
    pub fn has(self, detector: usize) -> bool {
        u32::try_from(detector).ok().and_then(|at| self.0.checked_shr(at)).is_some_and(|bits| bits & 1 == 1)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn with(self, detector: usize) -> Self {
        Self(self.0 | u32::try_from(detector).ok().and_then(|at| 1_u64.checked_shl(at)).unwrap_or_default())
    }
}

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where.
    pub range: Range<usize>,
    /// By which detector: see [`Detectors::detector`].
    pub detector: usize,
    /// More of it may follow behind the end of the data.
    pub is_open: bool,
}

/// The detectors that are on.
#[derive(Clone, Debug)]
pub struct Detectors {
    detectors: Vec<Detector>,
    numbers: number::Wanted,
    /// Beginnings of secrets, and for each its detector and form.
    beginnings: Option<AhoCorasick>,
    forms: Vec<(usize, token::Form)>,
    patterns: Vec<(usize, Regex)>,
}

/// More detectors than this have no place in a [`DetectorSet`].
pub const MOST: usize = 64;

/// Every secret with a beginning has a word of this length: AKIA and sixteen more, or a line of base64.
const SHORTEST_TOKEN: usize = 20;
/// From here on, a search for all beginnings is faster than one for long words.
const MANY: usize = 128;

/// An address with a dot in its domain; the local part is what nearly all of them use (RFC 5322 allows more).
const EMAIL: &str = r"[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}";
/// ITU-T E.164: a plus, a country code, eight digits or more; in groups.
const PHONE: &str = r"\+[1-9][0-9]{0,2}(?:[ .()-]{0,2}[0-9]){7,12}";

impl Detectors {
    /// Builds the search for these. Those beyond [`MOST`] are dropped: the reader of the file refuses them.
    #[must_use]
    pub fn new(mut detectors: Vec<Detector>) -> Self {
        detectors.truncate(MOST);
        let place =
            |builtin| detectors.iter().position(|one| matches!(one.how, How::Builtin(other) if other == builtin));
        let numbers = number::Wanted {
            card: place(Builtin::Card).is_some(),
            ssn: place(Builtin::Ssn).is_some(),
            iban: place(Builtin::Iban).is_some(),
        };
        let (mut forms, mut texts) = (Vec::new(), Vec::new());
        for (text, secret, form) in token::BEGINNINGS {
            let builtin = match secret {
                token::Secret::Jwt => Builtin::Jwt,
                token::Secret::PrivateKey => Builtin::PrivateKey,
                token::Secret::CloudKey => Builtin::CloudKey,
                token::Secret::ForgeToken => Builtin::ForgeToken,
            };
            if let Some(place) = place(builtin) {
                forms.push((place, *form));
                texts.push(*text);
            }
        }
        let numbered = detectors.iter().enumerate();
        let patterns = numbered.filter_map(|(index, detector)| Some((index, detector.pattern()?))).collect();
        let beginnings = (!texts.is_empty())
            .then(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(texts).ok())
            .flatten();
        Self { detectors, numbers, beginnings, forms, patterns }
    }

    /// The shipped ones.
    #[must_use]
    pub fn shipped(classes: &Classes) -> Self {
        let on = Builtin::ALL.iter().filter(|(_, _, is_on, _)| *is_on);
        Self::new(
            on.filter_map(|(builtin, _, _, class)| Some(Detector::builtin(*builtin, Arc::clone(classes.find(class)?))))
                .collect(),
        )
    }

    /// A detector by the number in a [`Hit`].
    #[must_use]
    pub fn detector(&self, index: usize) -> Option<&Detector> {
        self.detectors.get(index)
    }

    /// All that are on.
    pub fn iter(&self) -> impl Iterator<Item = &Detector> {
        self.detectors.iter()
    }

    /// Whether every detector is a built-in one of known words, so that it can be told where a value may begin.
    pub(super) fn is_closed(&self) -> bool {
        self.patterns.iter().all(|(detector, _)| {
            self.detector(*detector).is_some_and(|one| matches!(one.how, How::Builtin(Builtin::Email)))
        })
    }

    pub(super) fn is_private_key(&self, detector: usize) -> bool {
        self.detector(detector).is_some_and(|one| matches!(one.how, How::Builtin(Builtin::PrivateKey)))
    }

    /// The set of the detectors with these names; names that are off are not in it.
    #[must_use]
    pub fn set<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> DetectorSet {
        let place = |name: &str| self.detectors.iter().position(|detector| &*detector.name == name);
        names.into_iter().filter_map(place).fold(DetectorSet::default(), DetectorSet::with)
    }

    /// False only where [`Detectors::find`] finds nothing, in the whole or in any part of it.
    #[must_use]
    pub fn may_hold(&self, bytes: &[u8]) -> bool {
        // A pattern may look at what is around a part: nothing can be said of it here.
        !self.patterns.is_empty()
            || number::Runs::new(bytes).next().is_some()
            || (self.beginnings.is_some() && may_hold_token(bytes))
    }

    /// Every value in `bytes`, but those of the detectors in `except`; in order, and apart from each other: of two that
    /// overlap, one hit covers both.
    #[must_use]
    pub fn find(&self, bytes: &[u8], except: DetectorSet) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.find_into(bytes, except, &mut hits);
        hits
    }

    /// The same, into memory that was used before; what was in it is dropped.
    pub fn find_into(&self, bytes: &[u8], except: DetectorSet, hits: &mut Vec<Hit>) {
        hits.clear();
        self.find_numbers(bytes, except, hits);
        if bytes.len() >= MANY || may_hold_token(bytes) {
            self.find_tokens(bytes, except, hits);
        }
        for (detector, pattern) in &self.patterns {
            if !except.has(*detector) {
                let found = pattern.find_iter(bytes).filter(|found| !found.is_empty());
                hits.extend(found.map(|found| Hit { range: found.range(), detector: *detector, is_open: false }));
            }
        }
        if hits.len() > 1 {
            merge(hits);
        }
    }

    fn find_numbers(&self, bytes: &[u8], except: DetectorSet, hits: &mut Vec<Hit>) {
        let place = |wanted| {
            let is = |detector: &Detector| matches!(detector.how, How::Builtin(builtin) if builtin == wanted);
            self.detectors.iter().position(is).unwrap_or(MOST)
        };
        number::find(bytes, self.numbers, &mut |range, number| {
            let detector = place(match number {
                number::Number::Card => Builtin::Card,
                number::Number::Ssn => Builtin::Ssn,
                number::Number::Iban => Builtin::Iban,
            });
            if !except.has(detector) {
                hits.push(Hit { range, detector, is_open: false });
            }
        });
    }

    fn find_tokens(&self, bytes: &[u8], except: DetectorSet, hits: &mut Vec<Hit>) {
        let Some(search) = &self.beginnings else { return };
        let mut end = 0;
        for beginning in search.find_iter(bytes) {
            let Some((detector, form)) = self.forms.get(beginning.pattern().as_usize()) else { continue };
            if beginning.start() < end || except.has(*detector) {
                continue;
            }
            if let Some(token::Found { range, is_open }) = token::check(bytes, beginning.range(), *form) {
                end = range.end;
                hits.push(Hit { range, detector: *detector, is_open });
            }
        }
    }
}

/// Whether there is a word that a secret with a beginning could be, or the dashes of a key that has only begun.
fn may_hold_token(bytes: &[u8]) -> bool {
    if bytes.iter().skip(4).step_by(5).any(|byte| *byte == b'-') && memchr::memmem::find(bytes, b"-----").is_some() {
        return true;
    }
    let is_part = |byte: &&u8| is_token_body(**byte) || matches!(byte, b'+' | b'/' | b'=');
    // Of so many bytes in a row one is looked at.
    let mut probe = SHORTEST_TOKEN - 1;
    while let Some((before, after)) = bytes.split_at_checked(probe).filter(|(_, after)| !after.is_empty()) {
        let right = after.iter().take_while(is_part).count();
        if right > 0 && right + before.iter().rev().take(SHORTEST_TOKEN).take_while(is_part).count() >= SHORTEST_TOKEN {
            return true;
        }
        probe += right + SHORTEST_TOKEN;
    }
    false
}

fn merge(hits: &mut Vec<Hit>) {
    hits.sort_by_key(|hit| hit.range.start);
    hits.dedup_by(|next, before| {
        let overlaps = next.range.start < before.range.end;
        if overlaps {
            // The longer one says what it is.
            if next.range.len() > before.range.len() {
                before.detector = next.detector;
            }
            before.range.end = before.range.end.max(next.range.end);
            before.is_open |= next.is_open;
        }
        overlaps
    });
}
