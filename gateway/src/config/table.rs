//! Reads TOML key by key and collects every fault on the way, where a derived deserializer would stop at the first.
//!
//! In: a parsed table with spans. Out: values of the wanted types; faults with line and key. What no reader asked for
//! is an unknown key.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Fault;

/// What a key takes, in the terms of the code that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Takes {
    /// A string.
    Text,
    /// Strings.
    Texts,
    /// One of these words.
    OneOf(Vec<String>),
    /// A time between `1s` and `24h`.
    Time,
    /// true or false.
    Flag,
    /// A whole number of a range.
    Number(RangeInclusive<u64>),
    /// Port numbers.
    Ports,
    /// Lists of strings by names that are the owner's.
    Lists,
    /// Where a secret is.
    Secret,
}

/// What was asked for, by the place of the table (`target.tls`) and the key.
pub type Asked = BTreeMap<(String, &'static str), Takes>;

/// The text of a file, the faults found in it so far, and what was asked for.
pub struct Source<'s> {
    text: &'s str,
    faults: RefCell<Vec<Fault>>,
    asked: RefCell<Asked>,
}

impl<'s> Source<'s> {
    /// Parses a text; what is no TOML is among the faults.
    #[must_use]
    pub fn parse(text: &'s str) -> (Self, Spanned<DeTable<'s>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let source = Self { text, faults: RefCell::default(), asked: RefCell::default() };
        for error in errors {
            source.fault(error.span(), "", error.message().to_owned());
        }
        (source, table)
    }

    /// Notes a fault.
    pub fn fault(&self, span: Option<Range<usize>>, key: &str, reason: impl Into<String>) {
        let line = line_of(self.text, span.map_or(0, |span| span.start));
        self.faults.borrow_mut().push(Fault { line, key: key.to_owned(), reason: reason.into() });
    }

    /// All keys that were asked for, and what they take.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.asked.borrow().clone()
    }

    /// The faults in the order of their lines.
    #[must_use]
    pub fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        faults
    }
}

/// A time between `1s` and `24h`.
#[must_use]
pub fn duration_of(text: &str) -> Option<Duration> {
    let unit = |suffix: &str, seconds: u64| {
        let number: u64 = text.strip_suffix(suffix)?.parse().ok()?;
        number.checked_mul(seconds).filter(|seconds| (1..=86_400).contains(seconds)).map(Duration::from_secs)
    };
    unit("s", 1).or_else(|| unit("m", 60)).or_else(|| unit("h", 3_600))
}

/// A table that is read key by key.
pub struct Section<'t, 's> {
    source: &'t Source<'s>,
    table: Option<&'t DeTable<'s>>,
    span: Range<usize>,
    path: String,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'t, 's> Section<'t, 's> {
    /// The whole file.
    #[must_use]
    pub fn root(source: &'t Source<'s>, table: &'t Spanned<DeTable<'s>>) -> Self {
        Self::new(source, Some(table.get_ref()), table.span(), String::new())
    }

    fn new(source: &'t Source<'s>, table: Option<&'t DeTable<'s>>, span: Range<usize>, path: String) -> Self {
        Self { source, table, span, path, read: RefCell::default() }
    }

    /// Whether the file has it.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// A table below; reads as empty where it is missing.
    #[must_use]
    pub fn section(&self, key: &'static str) -> Section<'t, 's> {
        let (table, span) = match self.value(key) {
            Some(value) => match value.get_ref() {
                DeValue::Table(table) => (Some(table), value.span()),
                other => {
                    self.wrong(key, value.span(), "a table", other);
                    (None, value.span())
                }
            },
            None => (None, self.span.clone()),
        };
        Section::new(self.source, table, span, self.path_of(key))
    }

    /// Every table of an array of tables.
    #[must_use]
    pub fn sections(&self, key: &'static str) -> Vec<Section<'t, 's>> {
        let mut sections = Vec::new();
        for (index, value) in self.array(key).into_iter().enumerate() {
            match value.get_ref() {
                DeValue::Table(table) => {
                    let path = format!("{}[{}]", self.path_of(key), index + 1);
                    sections.push(Section::new(self.source, Some(table), value.span(), path));
                }
                other => self.wrong(key, value.span(), "a table", other),
            }
        }
        sections
    }

    /// Every table below a key whose names are the owner's.
    #[must_use]
    pub fn named(&self, key: &'static str) -> Vec<(String, Section<'t, 's>)> {
        let below = self.section(key);
        let mut sections = Vec::new();
        for (name, value) in below.table.into_iter().flat_map(|table| table.iter()) {
            match value.get_ref() {
                DeValue::Table(table) => {
                    let span = name.span().start..value.span().end;
                    let section = Section::new(self.source, Some(table), span, below.path_of(name.get_ref()));
                    sections.push((name.get_ref().to_string(), section));
                }
                other => below.wrong(name.get_ref(), value.span(), "a table", other),
            }
        }
        sections
    }

    /// Whether the value of a key is a table, where it may also be a word.
    #[must_use]
    pub fn has_table(&self, key: &'static str) -> bool {
        self.value(key).is_some_and(|value| matches!(value.get_ref(), DeValue::Table(_)))
    }

    /// A string.
    #[must_use]
    pub fn string(&self, key: &'static str) -> Option<String> {
        self.asks(key, Takes::Text);
        let value = self.value(key)?;
        self.as_string(key, value)
    }

    /// A string that has to be there.
    #[must_use]
    pub fn required(&self, key: &'static str) -> Option<String> {
        if self.value(key).is_none() {
            self.fault(key, "is missing");
        }
        self.string(key)
    }

    /// Strings.
    #[must_use]
    pub fn strings(&self, key: &'static str) -> Vec<String> {
        self.asks(key, Takes::Texts);
        self.array(key).into_iter().filter_map(|value| self.as_string(key, value)).collect()
    }

    /// Lists of strings by names that are the owner's.
    #[must_use]
    pub fn lists(&self, key: &'static str) -> Vec<(String, Vec<String>)> {
        self.asks(key, Takes::Lists);
        let below = self.section(key);
        let entries = below.table.into_iter().flat_map(|table| table.iter());
        let list = |name: &str, value: &'t Spanned<DeValue<'s>>| match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(|value| below.as_string(name, value)).collect(),
            other => {
                below.wrong(name, value.span(), "an array", other);
                Vec::new()
            }
        };
        entries.map(|(name, value)| (name.get_ref().to_string(), list(name.get_ref(), value))).collect()
    }

    /// Strings that are read as something else.
    #[must_use]
    pub fn all_parsed<T: FromStr<Err: std::fmt::Display>>(&self, key: &'static str) -> Vec<T> {
        let parse = |text: String| text.parse().map_err(|error| self.fault(key, format!("{error}"))).ok();
        self.strings(key).into_iter().filter_map(parse).collect()
    }

    /// One of a few words.
    #[must_use]
    pub fn one_of<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.string(key);
        self.asks(key, Takes::OneOf(choices.iter().map(|(word, _)| (*word).to_owned()).collect()));
        let text = text?;
        let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.fault(key, format!("`{text}` is not one of {}", words.join(", ")));
        }
        found
    }

    /// A time such as `30s`, `15m`, `2h`.
    #[must_use]
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        let text = self.string(key);
        self.asks(key, Takes::Time);
        let text = text?;
        let time = duration_of(&text);
        if time.is_none() {
            self.fault(key, format!("`{text}` is no time between `1s` and `24h`: write `30s`, `15m` or `2h`"));
        }
        time
    }

    /// true or false.
    #[must_use]
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        self.asks(key, Takes::Flag);
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                self.wrong(key, value.span(), "true or false", other);
                None
            }
        }
    }

    /// A whole number of a range.
    #[must_use]
    pub fn number(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        self.asks(key, Takes::Number(range.clone()));
        let value = self.value(key)?;
        let number = self.as_number(key, value)?;
        if !range.contains(&number) {
            self.fault(key, format!("{number} is not between {} and {}", range.start(), range.end()));
            return None;
        }
        Some(number)
    }

    /// Port numbers.
    #[must_use]
    pub fn ports(&self, key: &'static str) -> Vec<u16> {
        self.asks(key, Takes::Ports);
        let port = |value: &Spanned<DeValue<'s>>| match self.as_number(key, value).map(u16::try_from) {
            Some(Ok(port)) if port != 0 => Some(port),
            Some(_) => {
                self.source.fault(Some(value.span()), &self.path_of(key), "a port is between 1 and 65535");
                None
            }
            None => None,
        };
        self.array(key).into_iter().filter_map(port).collect()
    }

    /// The place of a secret: `{ file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`, read from a table below.
    #[must_use]
    pub fn secret(&self, key: &'static str) -> Section<'t, 's> {
        self.asks(key, Takes::Secret);
        self.section(key)
    }

    fn asks(&self, key: &'static str, takes: Takes) {
        self.source.asked.borrow_mut().insert((unnumbered(&self.path), key), takes);
    }

    /// Notes a fault of a key, or of the table where the key is not there.
    pub fn fault(&self, key: &'static str, reason: impl Into<String>) {
        let span = self.value(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.source.fault(Some(span), &self.path_of(key), reason);
    }

    /// Called last: what nobody asked for is an unknown key.
    pub fn finish(&self) {
        let known = self.read.borrow();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            if !known.contains(key.get_ref().as_ref()) {
                let names: Vec<_> = known.iter().copied().collect();
                let reason = format!("is no key here; known are {}", names.join(", "));
                self.source.fault(Some(key.span().start..value.span().end), &self.path_of(key.get_ref()), reason);
            }
        }
    }

    fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'s>>> {
        self.read.borrow_mut().insert(key);
        self.table?.get(key)
    }

    fn array(&self, key: &'static str) -> Vec<&'t Spanned<DeValue<'s>>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            other => {
                self.wrong(key, value.span(), "an array", other);
                Vec::new()
            }
        }
    }

    fn as_string(&self, key: &str, value: &Spanned<DeValue<'s>>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            other => {
                self.wrong(key, value.span(), "a string", other);
                None
            }
        }
    }

    fn as_number(&self, key: &str, value: &Spanned<DeValue<'s>>) -> Option<u64> {
        match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => {
                let digits = number.as_str().replace('_', "");
                digits.parse().map_err(|_| self.wrong(key, value.span(), "a whole number from 0", value.get_ref())).ok()
            }
            other => {
                self.wrong(key, value.span(), "a whole number", other);
                None
            }
        }
    }

    fn wrong(&self, key: &str, span: Range<usize>, wanted: &str, found: &DeValue<'s>) {
        let reason = format!("expected {wanted}, found a value of type {}", found.type_str());
        self.source.fault(Some(span), &self.path_of(key), reason);
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// The line of a place in a text, counted from 1.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// `target[2].tls` as `target.tls`.
fn unnumbered(path: &str) -> String {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| whole + part.split_once(']').map_or(part, |(_, rest)| rest))
}
