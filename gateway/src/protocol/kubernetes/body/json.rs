//! A value of JSON or YAML, as it was written: keys in order, each once.
//!
//! In: bytes. Out: a tree of bounded depth. Two keys of one name are an error, since readers differ about which counts.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Number;

use super::BodyFault;

/// The deepest nesting.
const DEEPEST: usize = 100;
/// The most values of one body: what three megabytes of JSON hold in earnest.
const MOST_IN_YAML: usize = 500_000;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// What a JSON patch does.
pub(super) struct Changes {
    /// Objects that hold what it sets, each at its place.
    pub(super) values: Vec<Json>,
    /// Places that it removes.
    pub(super) removed: Vec<String>,
    /// It asks whether a value is the one that it names.
    pub(super) compares: bool,
}

impl Json {
    /// Reads JSON.
    ///
    /// # Errors
    /// Where it is none, or one that readers differ about.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BodyFault> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let fault = |error: serde_json::Error| BodyFault::Syntax { reason: described(&error) };
        let value = Depth(0).deserialize(&mut reader).map_err(fault)?;
        reader.end().map_err(fault)?;
        Ok(value)
    }

    /// Reads one document of YAML. Aliases are expanded, as far as their number is sane.
    ///
    /// # Errors
    /// Likewise.
    pub fn from_yaml(bytes: &[u8]) -> Result<Self, BodyFault> {
        let fault = |reason: String| BodyFault::Syntax { reason };
        let text = std::str::from_utf8(bytes).map_err(|_| fault("it is not UTF-8".to_owned()))?;
        let mut documents = serde_norway::Deserializer::from_str(text);
        let first = documents.next().ok_or_else(|| fault("it holds no document".to_owned()))?;
        // The place, and no text of it: the parser quotes what it stumbles over.
        let at = |error: serde_norway::Error| match error.location() {
            Some(at) => {
                fault(format!("no YAML that can be read with certainty, at line {}, column {}", at.line(), at.column()))
            }
            None => fault("no YAML that can be read with certainty".to_owned()),
        };
        let value = Depth(0).deserialize(first).map_err(at)?;
        if documents.next().is_some() {
            return Err(fault("it holds more than one document".to_owned()));
        }
        if value.size() > MOST_IN_YAML {
            return Err(fault(format!("it holds more than {MOST_IN_YAML} values")));
        }
        Ok(value)
    }

    /// A field of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of an array; of anything else, none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// All strings in it.
    pub fn text_leaves(&self) -> impl Iterator<Item = &str> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            loop {
                match open.pop()? {
                    Self::Text(text) => return Some(text.as_str()),
                    Self::List(items) => open.extend(items),
                    Self::Object(fields) => open.extend(fields.iter().map(|(_, value)| value)),
                    _ => {}
                }
            }
        })
    }

    fn size(&self) -> usize {
        let (mut open, mut count) = (vec![self], 0);
        while let Some(value) = open.pop() {
            count += 1;
            match value {
                Self::List(items) => open.extend(items),
                Self::Object(fields) => open.extend(fields.iter().map(|(_, value)| value)),
                _ => {}
            }
        }
        count
    }

    /// A JSON patch (RFC 6902), its values at their places.
    pub(super) fn as_changes(&self) -> Result<Changes, BodyFault> {
        let fault = |reason: &str| BodyFault::Syntax { reason: reason.to_owned() };
        let Self::List(operations) = self else { return Err(fault("a JSON patch is an array")) };
        let mut changes = Changes { values: Vec::new(), removed: Vec::new(), compares: false };
        for operation in operations {
            let field = |name| operation.get(name).and_then(Self::text);
            let op = field("op").ok_or_else(|| fault("an operation of a JSON patch lacks `op`"))?;
            let path = field("path").ok_or_else(|| fault("an operation of a JSON patch lacks `path`"))?;
            match op {
                "add" | "replace" => {
                    let value = operation.get("value").cloned().unwrap_or(Self::Null);
                    changes.values.push(placed(path, value)?);
                }
                "remove" => changes.removed.push(dotted(path)),
                "test" => changes.compares = true,
                _ => return Err(BodyFault::Elsewhere { op: op.chars().take(20).collect() }),
            }
        }
        Ok(changes)
    }
}

/// The parts of a JSON pointer (RFC 6901).
fn parts(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

fn is_index(part: &str) -> bool {
    part == "-" || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The objects around a value, so that it is found where it will be.
fn placed(path: &str, value: Json) -> Result<Json, BodyFault> {
    let parts = parts(path);
    if parts.len() > DEEPEST {
        return Err(BodyFault::Syntax { reason: "a path of the JSON patch is too deep".to_owned() });
    }
    let around = |inner, part: String| {
        if is_index(&part) { Json::List(vec![inner]) } else { Json::Object(vec![(part, inner)]) }
    };
    Ok(parts.into_iter().rev().fold(value, around))
}

/// A pointer as facts name fields.
fn dotted(path: &str) -> String {
    parts(path).into_iter().filter(|part| !is_index(part)).collect::<Vec<_>>().join(".")
}

/// serde_json quotes keys and values in some of its errors: kind and place are enough.
fn described(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends in the middle",
        serde_json::error::Category::Data => "it nests too deep, or has a key twice",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "it is no JSON",
    };
    format!("{what}, at line {}, column {}", error.line(), error.column())
}

/// Reads a value at a depth.
struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        if self.0 > DEEPEST {
            return Err(serde::de::Error::custom("too deep"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("no number of JSON"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Depth(self.0 + 1))? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields: Vec<(String, Json)> = Vec::new();
        let mut names = std::collections::HashSet::new();
        while let Some(Key(name)) = entries.next_key::<Key>()? {
            if !names.insert(name.clone()) {
                return Err(serde::de::Error::custom("a key twice"));
            }
            fields.push((name, entries.next_value_seed(Depth(self.0 + 1))?));
        }
        Ok(Json::Object(fields))
    }
}

/// A key that is a string: other readers make strings of numbers and booleans, each in its own way.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Depth(0).deserialize(deserializer)? {
            Json::Text(text) => Ok(Self(text)),
            _ => Err(serde::de::Error::custom("a key that is no string")),
        }
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}
