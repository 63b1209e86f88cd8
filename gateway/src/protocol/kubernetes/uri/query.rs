//! The query of a request, as the API server decodes it.
//!
//! In: what stands behind the `?`. Out: names and values in order. It must never take one value where the server takes
//! another: what decides the meaning of a request stands there once.

use super::UriError;

/// The most parameters: a command with many words has one for each.
const MOST: usize = 4_096;

/// Decoded parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

/// Two hexadecimal digits.
pub(super) fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit()? << 4 | digit()?)
}

impl Query {
    /// Reads a query (`net/url.ParseQuery`). What Go drops quietly, or splits in some versions alone, is refused.
    pub(super) fn read(raw: &str) -> Result<Self, UriError> {
        if raw.contains(';') {
            return Err(UriError::Query { what: "`;`" });
        }
        if raw.contains('#') {
            return Err(UriError::Query { what: "`#`" });
        }
        let pairs = raw.split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().nth(MOST).is_some() {
            return Err(UriError::TooLong);
        }
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        };
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// All values of a parameter, in order.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The one value of a parameter.
    ///
    /// # Errors
    /// Where there are two.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, UriError> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { Err(UriError::Twice { name }) } else { Ok(first) }
    }

    /// A parameter that is true unless it is absent, `0` or `false` (`Convert_Slice_string_To_bool`).
    ///
    /// # Errors
    /// Where there are two.
    pub fn flag(&self, name: &'static str) -> Result<bool, UriError> {
        Ok(self.one(name)?.is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false")))
    }

    /// All of them.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The name that a field selector asks for: `metadata.name=x`.
    ///
    /// The server drops it where any other parameter of a list cannot be decoded, so that those are looked at too.
    pub(super) fn exact_name(&self) -> Result<Option<String>, UriError> {
        let Some(selector) = self.one("fieldSelector")? else { return Ok(None) };
        for name in ["limit", "timeoutSeconds"] {
            let number = self.one(name)?.is_none_or(|value| value.is_empty() || value.parse::<i64>().is_ok());
            if !number {
                return Err(UriError::Query { what: "a number that is none" });
            }
        }
        // Backslashes escape commas and signs in it: nobody needs them for names.
        if selector.contains('\\') {
            return Err(UriError::Query { what: "an escape in the field selector" });
        }
        let mut found = None;
        for term in selector.split(',').filter(|term| !term.is_empty()) {
            let (field, value) = match term.split_once("!=") {
                Some(_) => continue,
                None => term
                    .split_once("==")
                    .or_else(|| term.split_once('='))
                    .ok_or(UriError::Query { what: "a field selector that is none" })?,
            };
            if field == "metadata.name" && found.is_none() && is_path_segment(value) {
                found = Some(value.to_owned());
            }
        }
        Ok(found)
    }
}

/// `path.IsValidPathSegmentName`, and not empty: an empty name is no name.
fn is_path_segment(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%'])
}

fn decoded(raw: &str) -> Result<String, UriError> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => escaped(&mut bytes).ok_or(UriError::Query { what: "a damaged escape" })?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| UriError::Query { what: "bytes that are not UTF-8" })
}
