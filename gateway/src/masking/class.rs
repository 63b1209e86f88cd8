//! Data classes, and what is shown in place of their values.
//!
//! In: the text of a value and its class. Out: a mask, which keeps at most what the class says and carries [`MARK`],
//! so that it is known again when somebody would write it back. It never shows a value because it is short, odd or not
//! UTF-8, and knows no types: what a number or a date becomes is its protocol's matter.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use memchr::memmem;

use crate::secret::Secret;

/// Stands in every textual mask: three bullets, U+2022. Not in ordinary data, and safe inside JSON strings, XML text,
/// arrays, composites and COPY lines as it is.
pub const MARK: &str = "\u{2022}\u{2022}\u{2022}";

/// Stands for [`MARK`] where the session's encoding is not UTF-8: few encodings have a bullet, all have these. As safe.
pub const PLAIN_MARK: &str = "*~*";

/// How values of a class are shown.
#[derive(Clone)]
pub enum Show {
    /// `[class•••]`.
    Redact,
    /// Some characters of it.
    Partial(Partial),
    /// The start of an HMAC-SHA-256 in hexadecimal: equal stays equal, and there is no way back.
    Hash {
        /// The key.
        key: Arc<hmac::Key>,
        /// Digits, up to 64.
        length: usize,
    },
    /// Nothing: NULL where there is one.
    Null,
    /// A text of the owner's.
    Fixed(Arc<str>),
    /// Dates and timestamps: the first day of their year.
    Year,
}

impl Show {
    /// The hash form. `length` beyond 64 digits is 64.
    #[must_use]
    pub fn hash(key: &Secret, length: usize) -> Self {
        Self::Hash { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose())), length: length.clamp(1, 64) }
    }
}

impl fmt::Debug for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redact => f.write_str("Redact"),
            Self::Partial(partial) => partial.fmt(f),
            Self::Hash { length, .. } => write!(f, "Hash({length})"),
            Self::Null => f.write_str("Null"),
            Self::Fixed(text) => write!(f, "Fixed({text})"),
            Self::Year => f.write_str("Year"),
        }
    }
}

/// Which characters of a value stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// From the start.
    pub first: usize,
    /// Before the end.
    pub last: usize,
    /// Everything from here on: the last place where this text stands.
    pub from: Option<String>,
}

impl Partial {
    /// What stays at the start and at the end. Never more than half of what stands before `from` is shown: of what is
    /// shorter, nothing is. A value that starts with `from` is hidden whole.
    fn kept<'v>(&self, value: &'v str) -> (&'v str, &'v str) {
        let value = value.trim_end();
        let cut = match self.from.as_deref().map(str::as_bytes) {
            // Nearly always `@`: several times faster than a search for a text.
            Some(&[byte]) => memchr::memrchr(byte, value.as_bytes()),
            Some(from @ [_, ..]) => memmem::rfind(value.as_bytes(), from),
            Some([]) | None => None,
        };
        let (hidden, tail) = value.split_at_checked(cut.unwrap_or(value.len())).unwrap_or((value, ""));
        // Bytes are characters in nearly every value.
        let count = if hidden.is_ascii() { hidden.len() } else { hidden.chars().count() };
        if count == 0 {
            return ("", "");
        }
        if (self.first + self.last).saturating_mul(2) > count {
            return ("", tail);
        }
        let place = |character: usize| match hidden.is_ascii() {
            true => character,
            false => hidden.char_indices().nth(character).map_or(hidden.len(), |(place, _)| place),
        };
        let (head, _) = hidden.split_at(place(self.first));
        let last = if tail.is_empty() { hidden.split_at(place(count - self.last)).1 } else { tail };
        (head, last)
    }
}

/// A data class, as policies name it.
#[derive(Clone, Debug)]
pub struct Class {
    /// Such as `email`.
    pub name: Arc<str>,
    /// The class that it is part of.
    pub parent: Option<Arc<Class>>,
    /// Its own form, or that of the nearest parent that has one.
    pub show: Show,
}

impl Class {
    /// A class.
    #[must_use]
    pub fn new(name: &str, parent: Option<Arc<Class>>, show: Show) -> Arc<Self> {
        Arc::new(Self { name: name.into(), parent, show })
    }

    /// The name of the class and of those above it, nearest first.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self), |class| class.parent.as_deref()).map(|class| &*class.name)
    }

    /// Appends what stands for `value` in a text. A form that has no text (`Null`, `Year`) is redacted.
    pub fn write_text(&self, value: &[u8], out: &mut Vec<u8>) {
        match (&self.show, std::str::from_utf8(value)) {
            (Show::Partial(partial), Ok(value)) => {
                let (head, tail) = partial.kept(value);
                out.extend_from_slice(head.as_bytes());
                out.extend_from_slice(MARK.as_bytes());
                out.extend_from_slice(tail.as_bytes());
            }
            (Show::Hash { key, length }, _) => {
                out.extend_from_slice(MARK.as_bytes());
                let digest = hmac::sign(key, value);
                let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]).take(*length);
                out.extend(digits.map(|digit| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
            }
            (Show::Fixed(text), _) => {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(MARK.as_bytes());
            }
            (Show::Redact | Show::Partial(_) | Show::Null | Show::Year, _) => self.write_redacted(out),
        }
    }

    /// Appends what says no more than the class.
    pub fn write_redacted(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(MARK.as_bytes());
        out.push(b']');
    }
}

/// Every class by its name.
#[derive(Clone, Debug)]
pub struct Classes(BTreeMap<Arc<str>, Arc<Class>>);

impl Classes {
    /// A class by its name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Class>> {
        self.0.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Class>> {
        self.0.values()
    }
}

/// What exists where no file says otherwise: a name, its parent, its own form.
const SHIPPED: [(&str, Option<&str>, Option<Partial>); 8] = [
    ("pii", None, None),
    ("pci", None, None),
    ("secret", None, None),
    ("card", Some("pci"), Some(Partial { first: 0, last: 4, from: None })),
    ("ssn", Some("pii"), None),
    ("iban", Some("pii"), Some(Partial { first: 2, last: 4, from: None })),
    ("email", Some("pii"), None),
    ("phone", Some("pii"), Some(Partial { first: 0, last: 2, from: None })),
];

/// A class as it is written down, before its parent is looked up.
#[derive(Clone, Debug, Default)]
pub struct ClassSpec {
    /// The name of the class that it is part of.
    pub parent: Option<String>,
    /// Its own form; none: its parent's, and at last `Redact`.
    pub show: Option<Show>,
}

/// The shipped classes as they are written down.
#[must_use]
pub fn shipped_specs() -> BTreeMap<String, ClassSpec> {
    let spec = |(name, parent, show): &(&str, Option<&str>, Option<Partial>)| {
        let show = show.clone().map(Show::Partial);
        ((*name).to_owned(), ClassSpec { parent: parent.map(str::to_owned), show })
    };
    SHIPPED.iter().map(spec).collect()
}

impl Classes {
    /// Looks up every parent.
    ///
    /// # Errors
    /// With the names of the classes whose parent is not there or part of themselves.
    pub fn resolve(mut specs: BTreeMap<String, ClassSpec>) -> Result<Self, Vec<String>> {
        let mut classes = Self(BTreeMap::new());
        loop {
            let before = specs.len();
            specs.retain(|name, spec| {
                let parent = match spec.parent.as_deref().map(|parent| classes.find(parent)) {
                    Some(None) => return true,
                    Some(Some(parent)) => Some(Arc::clone(parent)),
                    None => None,
                };
                let inherited = parent.as_ref().map(|parent| parent.show.clone());
                let show = spec.show.clone().or(inherited).unwrap_or(Show::Redact);
                classes.0.insert(name.as_str().into(), Class::new(name, parent, show));
                false
            });
            if specs.is_empty() {
                return Ok(classes);
            }
            if specs.len() == before {
                return Err(specs.into_keys().collect());
            }
        }
    }
}

impl Default for Classes {
    fn default() -> Self {
        // The shipped table is closed: a test holds it to that.
        Self::resolve(shipped_specs()).unwrap_or(Self(BTreeMap::new()))
    }
}

/// Whether `bytes` hold a mask: as it was shown, or as JSON, bytea or URL encoders write it.
#[must_use]
pub fn contains_mask(bytes: &[u8]) -> bool {
    memmem::find(bytes, MARK.as_bytes()).is_some()
        || memmem::find(bytes, PLAIN_MARK.as_bytes()).is_some()
        || ["\\u2022", "e280a2", "%e2%80%a2"].iter().any(|one| has_three(bytes, one.as_bytes()))
}

/// Looks for masks in a stream, also where one is split over chunks.
#[derive(Clone, Debug, Default)]
pub struct MaskFinder {
    /// The end of what was seen: one byte less than the longest form of [`MARK`].
    tail: Vec<u8>,
    /// [`MARK`] in the encoding of the stream, where that has it.
    encoded: Option<Vec<u8>>,
}

impl MaskFinder {
    /// Looks in a stream of another encoding, whose form of [`MARK`] this is.
    #[must_use]
    pub fn with(encoded: Option<Vec<u8>>) -> Self {
        Self { encoded, ..Self::default() }
    }

    fn finds(&self, bytes: &[u8]) -> bool {
        contains_mask(bytes) || self.encoded.as_ref().is_some_and(|mark| memmem::find(bytes, mark).is_some())
    }

    /// Whether a mask ends in this chunk.
    #[must_use]
    pub fn ends_in(&mut self, chunk: &[u8]) -> bool {
        const LONGEST: usize = "%e2%80%a2".len() * 3;
        let head = chunk.get(..LONGEST.min(chunk.len())).unwrap_or_default();
        self.tail.extend_from_slice(head);
        let found = self.finds(&self.tail) || self.finds(chunk);
        if chunk.len() >= LONGEST {
            self.tail.clear();
            self.tail.extend_from_slice(chunk.get(chunk.len() - LONGEST + 1..).unwrap_or_default());
        } else {
            let seen = self.tail.len();
            self.tail.drain(..seen.saturating_sub(LONGEST - 1));
        }
        found
    }
}

/// Whether `one` stands three times in a row, in any case.
fn has_three(bytes: &[u8], one: &[u8]) -> bool {
    // The part that no case changes is looked for first: all three are rare in text.
    let (probe, shift) = if one.starts_with(b"e") { (&b"80"[..], 2) } else { (one.get(..1).unwrap_or(one), 0) };
    memmem::find_iter(bytes, probe).any(|at| {
        let start = at.wrapping_sub(shift);
        let found = bytes.get(start..start.saturating_add(one.len() * 3));
        found.is_some_and(|found| found.chunks(one.len()).all(|chunk| chunk.eq_ignore_ascii_case(one)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(show: Show, value: &str) -> String {
        let mut out = Vec::new();
        Class::new("c", None, show).write_text(value.as_bytes(), &mut out);
        assert!(contains_mask(&out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn shows_what_the_class_says_and_no_more() {
        let email = || Show::Partial(Partial { first: 1, last: 0, from: Some("@".into()) });
        assert_eq!(shown(email(), "anna@example.com"), "a•••@example.com");
        assert_eq!(shown(email(), "a@example.com"), "•••@example.com");
        assert_eq!(shown(email(), "no address"), "n•••");
        let card = || Show::Partial(Partial { first: 0, last: 4, from: None });
        assert_eq!(shown(card(), "4242 4242 4242 4242"), "•••4242");
        assert_eq!(shown(card(), "4242424242424242   "), "•••4242");
        assert_eq!(shown(card(), "1234567"), "•••");
        assert_eq!(shown(card(), "Žluťoučký kůň"), "••• kůň");
        assert_eq!(shown(Show::Redact, "x"), "[c•••]");
        assert_eq!(shown(Show::Null, "x"), "[c•••]");
        assert_eq!(shown(Show::Fixed("Jane Doe".into()), "x"), "Jane Doe•••");
    }

    #[test]
    fn bytes_that_are_no_text_are_hidden_whole() {
        let mut out = Vec::new();
        let show = Show::Partial(Partial { first: 2, last: 2, from: None });
        Class::new("c", None, show).write_text(b"abcdef\xffghijkl", &mut out);
        assert_eq!(out, "[c•••]".as_bytes());
    }

    #[test]
    fn equal_values_have_equal_hashes_under_one_key_alone() {
        let hash = |key: &str, value| shown(Show::hash(&Secret::new(key.into()), 16), value);
        assert_eq!(hash("k", "a"), hash("k", "a"));
        assert_ne!(hash("k", "a"), hash("k", "b"));
        assert_ne!(hash("k", "a"), hash("l", "a"));
        // RFC 4231, test case 2.
        assert_eq!(hash("Jefe", "what do ya want for nothing?"), "•••5bdcc146bf60754e");
    }

    #[test]
    fn a_mask_is_known_again_however_it_was_encoded() {
        for text in ["x•••y", r"a\u2022\u2022\u2022", r"\x41E280A2e280a2E280A2", "%E2%80%A2%e2%80%a2%E2%80%A2"] {
            assert!(contains_mask(text.as_bytes()), "{text}");
        }
        for text in ["", "••", r"\u2022\u2022", "e280a2", "80", "\\u2022\\u2022\\u20", "a list • of • bullets •"]
        {
            assert!(!contains_mask(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_mask_is_known_again_wherever_it_is_split() {
        for text in ["before [c•••] after", r"\u2022\u2022\u2022", "%E2%80%A2%E2%80%A2%E2%80%A2 and a good deal more"]
        {
            for size in 1..text.len() {
                let mut finder = MaskFinder::default();
                let found = text.as_bytes().chunks(size).filter(|chunk| finder.ends_in(chunk)).count();
                assert!(found > 0, "{text} in chunks of {size}");
                assert!(!MaskFinder::default().ends_in(b"nothing"));
            }
        }
    }

    #[test]
    fn classes_know_what_they_are_part_of() {
        let classes = Classes::default();
        assert_eq!(classes.find("card").unwrap().lineage().collect::<Vec<_>>(), ["card", "pci"]);
        assert_eq!(classes.iter().count(), SHIPPED.len());
        let spec = |parent: &str| ClassSpec { parent: Some(parent.into()), show: None };
        let looped =
            [("a", "b"), ("b", "a"), ("c", "none"), ("d", "pii")].map(|(name, parent)| (name.to_owned(), spec(parent)));
        let specs = shipped_specs().into_iter().chain(looped).collect();
        assert_eq!(Classes::resolve(specs).unwrap_err(), ["a", "b", "c"]);
    }
}
