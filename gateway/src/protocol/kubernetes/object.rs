//! Hides values in JSON while it streams by.
//!
//! In: the bytes of objects, lists, tables and watch events, cut anywhere. Out: the same JSON with masks. One value is
//! in memory at a time, never an object. What is not JSON is an error, and nothing more is shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::masking::class::Class;
use crate::masking::detect::{DetectorSet, Detectors};

mod places;
mod text;
#[cfg(test)]
mod tests;

pub use places::{Known, Place};

use places::Places;

/// The longest string: etcd takes no larger object (1.5 MiB), and an escape is six bytes.
const LONGEST: usize = 12 * 1024 * 1024;
/// The deepest nesting. The server's own reader stops at 10,000; no kind nests deeper than some dozens.
const DEEPEST: usize = 512;
/// Holds an object as its owner last applied it.
const LAST_APPLIED: &[u8] = b"kubectl.kubernetes.io/last-applied-configuration";

/// Why the rest is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Syntax(&'static str),
    /// A string is longer than an object may be.
    #[error("a string is longer than {LONGEST} bytes")]
    TooLong,
    /// It nests deeper than any kind does.
    #[error("it nests deeper than {DEEPEST} levels")]
    TooDeep,
    /// It ends in the middle.
    #[error("it ends in the middle of a value")]
    Unfinished,
}

/// What is hidden.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What a Secret holds is of this class, and is hidden; `None`: it is shown, or nothing here is a Secret.
    pub secret: Option<Arc<Class>>,
    /// What the answer to a request for a token holds likewise.
    pub token: Option<Arc<Class>>,
    /// Labelled fields that are hidden.
    pub places: Arc<[Place]>,
    /// What the request says of the objects.
    pub asked: Known,
    /// It is an error that may quote values of this class.
    pub quotes: Option<Arc<Class>>,
    /// What hides values wherever they stand.
    pub detectors: Arc<Detectors>,
    /// Detectors whose finds are shown.
    pub allowed: DetectorSet,
}

#[cfg(any(fuzzing, test))]
impl Rule {
    /// Nothing but what detectors find is hidden.
    #[must_use]
    pub fn new(detectors: Arc<Detectors>) -> Self {
        Self {
            secret: None,
            token: None,
            places: Arc::default(),
            asked: Known::default(),
            quotes: None,
            detectors,
            allowed: DetectorSet::default(),
        }
    }
}

/// How what lies inside a value is hidden.
#[derive(Clone, Debug)]
enum Hide {
    /// Whole, whatever form the class has: a part of it would be a part of a key.
    Whole {
        class: Arc<Class>,
        /// It is base64 for its readers, who decode it, and shall see the mask and no error.
        is_encoded: bool,
    },
    /// As the class says.
    Labelled { class: Arc<Class>, is_encoded: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    /// A key, or the end of the object.
    Key,
    /// The colon.
    Colon,
    /// A value, or the end of the array.
    Value,
    /// A comma, or the end.
    Comma,
}

#[derive(Clone, Debug)]
struct Level {
    is_object: bool,
    hidden: Option<Hide>,
    awaits: Awaits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Structure,
    /// A string; whether the byte before was a backslash.
    Text {
        escaped: bool,
    },
    /// A number, `true`, `false`, `null`.
    Literal,
}

/// Masks one stream of JSON values.
#[derive(Debug)]
pub struct ObjectMasker {
    rule: Rule,
    levels: Vec<Level>,
    inside: Inside,
    /// What of the string or literal has come.
    word: Vec<u8>,
    /// The last key, without escapes.
    key: Vec<u8>,
    places: Places,
    masked: BTreeMap<Arc<str>, u64>,
    /// The value of an annotation, which is JSON itself.
    is_nested: bool,
}

impl ObjectMasker {
    /// A masker at the beginning of a stream.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self {
            places: Places::new(Arc::clone(&rule.places), rule.asked.clone()),
            rule,
            levels: Vec::new(),
            inside: Inside::Structure,
            word: Vec::new(),
            key: Vec::new(),
            masked: BTreeMap::new(),
            is_nested: false,
        }
    }

    /// How many values were hidden so far, by class.
    #[must_use]
    pub fn masked(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.masked
    }

    /// Takes a chunk, and appends what may be shown.
    ///
    /// # Errors
    /// Where it is not JSON, or larger than is read; the stream has to end then.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), MaskError> {
        out.reserve(chunk.len());
        let mut rest = chunk;
        while !rest.is_empty() {
            rest = match self.inside {
                Inside::Text { escaped } => self.in_text(rest, escaped, out)?,
                Inside::Literal => self.in_literal(rest, out)?,
                Inside::Structure => self.in_structure(rest, out)?,
            };
        }
        Ok(())
    }

    /// The stream ends here.
    ///
    /// # Errors
    /// Where it ends in the middle of a value.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), MaskError> {
        if self.inside == Inside::Literal {
            self.end_literal(out)?;
        }
        if self.inside == Inside::Structure && self.levels.is_empty() { Ok(()) } else { Err(MaskError::Unfinished) }
    }

    fn in_text<'c>(&mut self, rest: &'c [u8], escaped: bool, out: &mut Vec<u8>) -> Result<&'c [u8], MaskError> {
        let at = if escaped { Some(0) } else { memchr::memchr2(b'"', b'\\', rest) };
        let taken = at.map_or(rest.len(), |at| at + 1);
        let (part, rest) = rest.split_at(taken);
        if self.word.len() + part.len() > LONGEST {
            return Err(MaskError::TooLong);
        }
        match (escaped, part.last()) {
            (false, Some(b'"')) => {
                self.word.extend_from_slice(part.get(..part.len() - 1).unwrap_or_default());
                self.inside = Inside::Structure;
                self.end_text(out)?;
            }
            (false, Some(b'\\')) if at.is_some() => {
                self.word.extend_from_slice(part);
                self.inside = Inside::Text { escaped: true };
            }
            _ => {
                self.word.extend_from_slice(part);
                self.inside = Inside::Text { escaped: false };
            }
        }
        Ok(rest)
    }

    fn in_literal<'c>(&mut self, rest: &'c [u8], out: &mut Vec<u8>) -> Result<&'c [u8], MaskError> {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        let (part, rest) = rest.split_at(length);
        if self.word.len() + part.len() > 64 {
            return Err(MaskError::Syntax("a number or word that is too long"));
        }
        self.word.extend_from_slice(part);
        if !rest.is_empty() {
            self.end_literal(out)?;
        }
        Ok(rest)
    }

    fn in_structure<'c>(&mut self, rest: &'c [u8], out: &mut Vec<u8>) -> Result<&'c [u8], MaskError> {
        let Some((&byte, rest)) = rest.split_first() else { return Ok(rest) };
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => out.push(byte),
            b'"' => {
                self.expect_text()?;
                self.word.clear();
                self.inside = Inside::Text { escaped: false };
            }
            b'{' | b'[' => self.open(byte == b'{', out)?,
            b'}' | b']' => self.close(byte == b'}', out)?,
            b':' | b',' => self.separate(byte, out)?,
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                self.expect_value()?;
                self.word.clear();
                self.word.push(byte);
                self.inside = Inside::Literal;
            }
            _ => return Err(MaskError::Syntax("a byte that begins no value")),
        }
        Ok(rest)
    }

    fn is_key(&self) -> bool {
        self.levels.last().is_some_and(|level| level.awaits == Awaits::Key)
    }

    fn expect_text(&self) -> Result<(), MaskError> {
        if self.is_key() { Ok(()) } else { self.expect_value() }
    }

    fn expect_value(&self) -> Result<(), MaskError> {
        match self.levels.last() {
            None => Ok(()),
            Some(level) if level.awaits == Awaits::Value => Ok(()),
            Some(_) => Err(MaskError::Syntax("a value where none belongs")),
        }
    }

    fn value_ended(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.awaits = Awaits::Comma;
        }
    }

    fn open(&mut self, is_object: bool, out: &mut Vec<u8>) -> Result<(), MaskError> {
        self.expect_value()?;
        if self.levels.len() >= DEEPEST {
            return Err(MaskError::TooDeep);
        }
        let hidden = self.hides_value();
        let awaits = if is_object { Awaits::Key } else { Awaits::Value };
        self.levels.push(Level { is_object, hidden, awaits });
        self.places.open(&self.key, is_object);
        out.push(if is_object { b'{' } else { b'[' });
        Ok(())
    }

    fn close(&mut self, is_object: bool, out: &mut Vec<u8>) -> Result<(), MaskError> {
        let fits = |level: &Level| {
            level.is_object == is_object && matches!(level.awaits, Awaits::Comma | Awaits::Key | Awaits::Value)
        };
        let level = self.levels.pop().filter(fits).ok_or(MaskError::Syntax("an end without a beginning"))?;
        if level.is_object && level.awaits == Awaits::Value {
            return Err(MaskError::Syntax("a key without a value"));
        }
        self.places.close();
        out.push(if is_object { b'}' } else { b']' });
        self.value_ended();
        Ok(())
    }

    fn separate(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), MaskError> {
        let level = self.levels.last_mut().ok_or(MaskError::Syntax("a comma or colon outside"))?;
        level.awaits = match (byte, level.awaits, level.is_object) {
            (b':', Awaits::Colon, true) => Awaits::Value,
            (b',', Awaits::Comma, true) => Awaits::Key,
            (b',', Awaits::Comma, false) => Awaits::Value,
            _ => return Err(MaskError::Syntax("a comma or colon where none belongs")),
        };
        out.push(byte);
        Ok(())
    }

    /// How the value is hidden that begins here.
    fn hides_value(&self) -> Option<Hide> {
        let level = self.levels.last()?;
        if level.hidden.is_some() {
            return level.hidden.clone();
        }
        let whole = |class: &Option<Arc<Class>>, is_encoded| {
            class.as_ref().map(|class| Hide::Whole { class: Arc::clone(class), is_encoded })
        };
        let hide = match self.key.as_slice() {
            _ if !level.is_object => None,
            b"data" => whole(&self.rule.secret, true),
            b"stringData" => whole(&self.rule.secret, false),
            b"token" => whole(&self.rule.token, false),
            b"message" => whole(&self.rule.quotes, false),
            _ => None,
        };
        hide.or_else(|| self.places.hides(&self.key))
    }

    fn end_literal(&mut self, out: &mut Vec<u8>) -> Result<(), MaskError> {
        self.inside = Inside::Structure;
        let is_number = self.word.first().is_some_and(|byte| *byte == b'-' || byte.is_ascii_digit());
        if !is_number && !matches!(self.word.as_slice(), b"true" | b"false" | b"null") {
            return Err(MaskError::Syntax("a word that is none"));
        }
        let word = std::mem::take(&mut self.word);
        match self.hides_value() {
            None => self.show_number(&word, is_number, out),
            // Written back, a null would be taken for one.
            Some(hide @ Hide::Labelled { .. }) if word != b"null" => {
                out.push(b'"');
                self.write_hidden(&hide, &word, out);
                out.push(b'"');
            }
            Some(_) => out.extend_from_slice(b"null"),
        }
        self.word = word;
        self.value_ended();
        Ok(())
    }

    /// A number may be a card's: it becomes a text then.
    fn show_number(&mut self, word: &[u8], is_number: bool, out: &mut Vec<u8>) {
        let start = out.len();
        if is_number && word.len() > 8 && self.mask_found(word, out) {
            out.insert(start, b'"');
            out.push(b'"');
        } else {
            out.extend_from_slice(word);
        }
    }

    fn end_text(&mut self, out: &mut Vec<u8>) -> Result<(), MaskError> {
        let word = std::mem::take(&mut self.word);
        out.push(b'"');
        let result = if self.is_key() { self.end_key(&word, out) } else { self.end_value(&word, out) };
        out.push(b'"');
        self.word = word;
        result
    }

    fn end_key(&mut self, word: &[u8], out: &mut Vec<u8>) -> Result<(), MaskError> {
        self.key.clear();
        text::unescape(word, &mut self.key).ok_or(MaskError::Syntax("an escape that is none"))?;
        out.extend_from_slice(word);
        if let Some(level) = self.levels.last_mut() {
            level.awaits = Awaits::Colon;
        }
        Ok(())
    }

    fn end_value(&mut self, word: &[u8], out: &mut Vec<u8>) -> Result<(), MaskError> {
        let plain;
        let value = if memchr::memchr(b'\\', word).is_some() {
            let mut unescaped = Vec::with_capacity(word.len());
            text::unescape(word, &mut unescaped).ok_or(MaskError::Syntax("an escape that is none"))?;
            plain = unescaped;
            plain.as_slice()
        } else {
            word
        };
        if let Some(hide) = self.hides_value() {
            if !value.is_empty() {
                self.write_hidden(&hide, value, out);
            }
        } else if let Some(class) = self.of_applied() {
            self.end_applied(value, &class, out);
        } else {
            let mut shown = Vec::new();
            if self.mask_found(value, &mut shown) {
                text::escape(&shown, out);
            } else {
                out.extend_from_slice(word);
            }
        }
        self.places.text(&self.key, value);
        self.value_ended();
        Ok(())
    }

    /// The value is what was last applied of an object that holds something of this class.
    fn of_applied(&self) -> Option<Arc<Class>> {
        let is_object = self.levels.last().is_some_and(|level| level.is_object);
        if !is_object || self.key != LAST_APPLIED || self.is_nested {
            return None;
        }
        let hidden = self.rule.secret.as_ref().or(self.rule.token.as_ref());
        hidden.or_else(|| self.places.all().first().map(|place| &place.label.class)).map(Arc::clone)
    }

    /// Appends what stands for a value.
    fn write_hidden(&mut self, hide: &Hide, value: &[u8], out: &mut Vec<u8>) {
        let mut mask = Vec::new();
        let (class, is_encoded) = match hide {
            Hide::Labelled { class, is_encoded: false } => {
                class.write_text(value, &mut mask);
                (class, false)
            }
            Hide::Whole { class, is_encoded } | Hide::Labelled { class, is_encoded } => {
                class.write_redacted(&mut mask);
                (class, *is_encoded)
            }
        };
        if is_encoded {
            out.extend_from_slice(STANDARD.encode(&mask).as_bytes());
        } else {
            text::escape(&mask, out);
        }
        *self.masked.entry(Arc::clone(&class.name)).or_default() += 1;
    }

    /// The object in an annotation is hidden like the one around it; what cannot be read of it is hidden whole.
    fn end_applied(&mut self, value: &[u8], class: &Arc<Class>, out: &mut Vec<u8>) {
        let mut inner = Self { is_nested: true, places: self.places.nested(), ..Self::new(self.rule.clone()) };
        let mut shown = Vec::with_capacity(value.len());
        let read = inner.push(value, &mut shown).and_then(|()| inner.finish(&mut shown));
        if read.is_ok() {
            text::escape(&shown, out);
            for (class, count) in inner.masked {
                *self.masked.entry(class).or_default() += count;
            }
        } else {
            class.write_redacted(out);
            *self.masked.entry(Arc::clone(&class.name)).or_default() += 1;
        }
    }

    /// Appends a value with what detectors find in it masked; appends nothing where they find nothing.
    fn mask_found(&mut self, value: &[u8], out: &mut Vec<u8>) -> bool {
        let detectors = Arc::clone(&self.rule.detectors);
        if !detectors.may_hold(value) {
            return false;
        }
        let hits = detectors.find(value, self.rule.allowed);
        let mut copied = 0;
        for hit in &hits {
            out.extend_from_slice(value.get(copied..hit.range.start).unwrap_or_default());
            if let Some(detector) = detectors.detector(hit.detector) {
                detector.class.write_text(value.get(hit.range.clone()).unwrap_or_default(), out);
                *self.masked.entry(Arc::clone(&detector.class.name)).or_default() += 1;
            }
            copied = hit.range.end;
        }
        if !hits.is_empty() {
            out.extend_from_slice(value.get(copied..).unwrap_or_default());
        }
        !hits.is_empty()
    }
}
