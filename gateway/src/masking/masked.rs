//! Text that was masked: the only kind that may be kept.
//!
//! In: text, and the detectors. Out: a [`Masked`], which cannot be made without them. What labels hide is hidden
//! before, by whoever knows the columns; this is the second net, and the proof that it was cast.

use std::fmt;

use serde_json::Value;

use crate::masking::detect::{DetectorSet, Detectors};

/// Text in which no detector finds anything any more.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Masked(String);

impl Masked {
    /// Masks every value that is found.
    #[must_use]
    pub fn new(text: &str, detectors: &Detectors) -> Self {
        let mut out = Vec::new();
        match mask_found(text.as_bytes(), detectors, &mut out) {
            // Masks are text, and hits in text begin and end between characters: nothing is lost here.
            true => Self(String::from_utf8_lossy(&out).into_owned()),
            false => Self(text.to_owned()),
        }
    }

    /// A text of our own, which holds nobody's data.
    #[must_use]
    pub fn constant(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Masks every text in facts, which nest no deeper than our own constructors make them.
pub fn mask_texts(value: &mut Value, detectors: &Detectors) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if detectors.may_hold(text.as_bytes()) => {
                *text = Masked::new(text, detectors).to_string();
            }
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values_mut()),
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Appends plain text with what is found in it masked; appends nothing, and says so, where nothing is found.
#[must_use]
pub fn mask_found(text: &[u8], detectors: &Detectors, out: &mut Vec<u8>) -> bool {
    let hits = detectors.find(text, DetectorSet::default());
    let mut copied = 0;
    for hit in &hits {
        out.extend_from_slice(text.get(copied..hit.range.start).unwrap_or_default());
        let value = text.get(hit.range.clone()).unwrap_or_default();
        if let Some(detector) = detectors.detector(hit.detector) {
            detector.class.write_text(value, out);
        }
        copied = hit.range.end;
    }
    if !hits.is_empty() {
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
    }
    !hits.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::class::Classes;

    #[test]
    fn hides_what_is_found_and_keeps_the_rest() {
        let detectors = Detectors::shipped(&Classes::default());
        let masked = Masked::new("ü 4242 4242 4242 4242, 123-45-6789 ü", &detectors);
        assert_eq!(masked.as_str(), "ü •••4242, [ssn•••] ü");
        assert_eq!(Masked::new(masked.as_str(), &detectors), masked);
        assert_eq!(Masked::new("nothing", &detectors).to_string(), "nothing");
    }
}
