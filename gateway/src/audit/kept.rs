//! What events may quote of statements, commands and decision inputs.
//!
//! In: text and values that have been through redaction (the step `masking`), with labelled constants, secrets and
//! detector hits already replaced. Out: the same, cut to a size that fits a journal line, with the full length and
//! SHA-256 said where something was cut. Nothing here redacts: calling a constructor with a raw statement is a breach
//! of "masked before kept", so each call site names the redaction that its value went through.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::hex;

/// Longest text kept whole, in bytes.
pub const TEXT_LIMIT: usize = 64 * 1024;
/// Bytes of all the texts of a list together.
pub const LIST_LIMIT: usize = 64 * 1024;
/// Bytes of a decision input's strings and keys, each node counted as eight more.
pub const INPUT_LIMIT: usize = 256 * 1024;
/// Nesting of a decision input: `serde_json` reads back 128 levels, of which the event takes some.
pub const INPUT_DEPTH: usize = 64;

/// A text that has been through redaction. Cheap to clone: one statement has many events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept(Arc<str>);

impl Kept {
    /// Takes a redacted text; beyond `TEXT_LIMIT` its beginning is kept, with the length and SHA-256 of the whole.
    #[must_use]
    pub fn after_redaction(text: String) -> Self {
        Self(cut(text, TEXT_LIMIT).into())
    }

    /// Takes redacted texts in order; beyond `LIST_LIMIT` the rest is replaced by one text that counts them.
    #[must_use]
    pub fn list_after_redaction(texts: Vec<String>) -> Vec<Self> {
        let total = texts.len();
        let mut room = LIST_LIMIT;
        let mut kept = Vec::with_capacity(total.min(64));
        for text in texts {
            // Quotes and comma of an empty text count too, or a million of them would be free.
            let Some(rest) = room.checked_sub(text.len().min(TEXT_LIMIT) + 3) else {
                kept.push(Self(format!("… [{} more of {total}]", total - kept.len()).into()));
                break;
            };
            room = rest;
            kept.push(Self::after_redaction(text));
        }
        kept
    }

    /// The text as kept.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The whole input of a decision (principal, action, resource, context), so that it can be decided again.
///
/// Kept as the JSON text that a line takes, since the same input is written for every run of a statement.
#[derive(Clone, Debug)]
pub struct KeptInput(Arc<RawValue>);

impl Default for KeptInput {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }
}

impl PartialEq for KeptInput {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Serialize for KeptInput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeptInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::rendered(&Value::deserialize(deserializer)?))
    }
}

impl KeptInput {
    /// Takes an input whose texts are redacted. Long texts are cut; an input that is too large or too deep as a whole
    /// is replaced by a note that says so.
    #[must_use]
    pub fn after_redaction(mut input: Value) -> Self {
        match cut_strings(&mut input) {
            Ok(()) => Self::rendered(&input),
            // Dropping and serializing a deep `Value` recurses; what nests too deep was refused at INPUT_DEPTH, and its
            // makers (facts of a request) bound their own depth.
            Err(reason) => Self::rendered(&serde_json::json!({ "omitted": reason })),
        }
    }

    /// The JSON text as kept.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    fn rendered(value: &Value) -> Self {
        // A `Value` always has a text, and that text is JSON.
        RawValue::from_string(value.to_string()).map_or_else(|_| Self::default(), |text| Self(text.into()))
    }
}

fn cut_strings(input: &mut Value) -> Result<(), &'static str> {
    let mut room = INPUT_LIMIT;
    let mut open = vec![(input, 0_usize)];
    while let Some((value, depth)) = open.pop() {
        if depth > INPUT_DEPTH {
            return Err("nested too deep to be read back");
        }
        let size = match value {
            Value::String(text) => {
                if text.len() > TEXT_LIMIT {
                    *text = cut(std::mem::take(text), TEXT_LIMIT);
                }
                text.len()
            }
            Value::Array(items) => {
                open.extend(items.iter_mut().map(|item| (item, depth + 1)));
                0
            }
            Value::Object(fields) => {
                let keys = fields.keys().map(String::len).sum();
                open.extend(fields.values_mut().map(|field| (field, depth + 1)));
                keys
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        };
        room = room.checked_sub(size + 8).ok_or("larger than an event may be")?;
    }
    Ok(())
}

fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let hash = hex::encode(digest(&SHA256, text.as_bytes()).as_ref());
    let end = (0..=limit).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    let start = text.get(..end).unwrap_or_default();
    format!("{start}… [cut: {} bytes, sha256 {hash}]", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(input: &KeptInput) -> Value {
        serde_json::from_str(input.as_json()).unwrap()
    }

    #[test]
    fn cuts_long_text_at_a_character_and_says_its_length() {
        let text = "é".repeat(TEXT_LIMIT);
        let kept = Kept::after_redaction(format!("x{text}"));
        assert!(kept.as_str().len() < TEXT_LIMIT + 128);
        assert!(kept.as_str().contains(&format!("[cut: {} bytes, sha256 ", text.len() + 1)));
        assert_eq!(Kept::after_redaction("select 1".into()).as_str(), "select 1");
    }

    #[test]
    fn counts_what_a_long_list_leaves_out() {
        let kept = Kept::list_after_redaction(vec![String::new(); 100_000]);
        assert!(kept.len() <= LIST_LIMIT / 3 + 1);
        assert!(kept.last().unwrap().as_str().ends_with("more of 100000]"));
    }

    #[test]
    fn replaces_an_input_that_is_too_large_or_too_deep() {
        let deep = (0..100).fold(Value::Null, |inner, _| serde_json::json!([inner]));
        assert_eq!(value(&KeptInput::after_redaction(deep))["omitted"], "nested too deep to be read back");
        let wide = Value::from(vec![0; INPUT_LIMIT]);
        assert_eq!(value(&KeptInput::after_redaction(wide))["omitted"], "larger than an event may be");
        let fine = serde_json::json!({ "text": "x".repeat(TEXT_LIMIT + 1) });
        assert!(value(&KeptInput::after_redaction(fine))["text"].as_str().unwrap().contains("[cut: 65537 bytes"));
    }
}
