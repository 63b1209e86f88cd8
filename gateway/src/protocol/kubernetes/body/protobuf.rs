//! Bodies in protobuf, read as the JSON that they stand for.
//!
//! In: an envelope that names a kind, and its message, as Go's typed clients send it. Out: the tree that JSON of the same
//! object gives, for facts alone: the bytes go on as they are. What is not in the table is refused, and so is what two
//! readers could take for two things: a field twice, a number that is cut to its type, a field of another type.

mod table;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{BodyFault, Json};
use table::{Count, Field, Kind};
use wire::{Reader, Value};

/// How they begin (`apimachinery/pkg/runtime/serializer/protobuf`).
const START: &[u8] = b"k8s\0";
/// The deepest nesting of messages.
const DEEPEST: usize = 64;
/// Hold an object in a form of its own.
const RAW: [&str; 2] = ["pkg.runtime.RawExtension", "meta.v1.FieldsV1"];

/// Reads a body.
///
/// # Errors
/// Where it is none, or one whose meaning is not certain.
pub(super) fn read(body: &[u8]) -> Result<Json, BodyFault> {
    object(body, 0)
}

fn broken(reason: &str) -> BodyFault {
    BodyFault::Syntax { reason: format!("no protobuf that can be read with certainty: {reason}") }
}

/// `runtime.Unknown`: who is in it, and the bytes.
fn object(bytes: &[u8], depth: usize) -> Result<Json, BodyFault> {
    let envelope = bytes.strip_prefix(START).ok_or_else(|| broken("it does not begin with `k8s`"))?;
    let (mut reader, mut parts) = (Reader(envelope), [None::<&[u8]>; 4]);
    while let Some((number, value)) = reader.next().map_err(broken)? {
        let part = usize::try_from(number).ok().and_then(|number| parts.get_mut(number.wrapping_sub(1)));
        match (part, value) {
            (Some(part @ None), Value::Bytes(bytes)) => *part = Some(bytes),
            _ => return Err(broken("its envelope holds what none does")),
        }
    }
    let [kind, Some(raw), encoding, content] = parts else { return Err(broken("its envelope is empty")) };
    let [kind, encoding, content] = [kind, encoding, content].map(Option::unwrap_or_default);
    if !encoding.is_empty() || !content.is_empty() {
        return Err(broken("its envelope holds another form"));
    }
    let (mut reader, mut names) = (Reader(kind), [None::<&str>; 2]);
    while let Some((number, value)) = reader.next().map_err(broken)? {
        let name = usize::try_from(number).ok().and_then(|number| names.get_mut(number.wrapping_sub(1)));
        match (name, value) {
            (Some(name @ None), Value::Bytes(bytes)) => *name = Some(text(bytes)?),
            _ => return Err(broken("its kind holds what none does")),
        }
    }
    let [version, kind] = names.map(Option::unwrap_or_default);
    let name =
        table::of_kind(version, kind).ok_or_else(|| BodyFault::Unlisted { what: format!("{version} {kind}") })?;
    let mut json = message(name, raw, depth)?;
    if let Json::Object(fields) = &mut json {
        fields.push(("apiVersion".to_owned(), Json::Text(version.to_owned())));
        fields.push(("kind".to_owned(), Json::Text(kind.to_owned())));
    }
    Ok(json)
}

/// A message on its way to become an object.
#[derive(Default)]
struct Fields {
    fields: Vec<(String, Json)>,
    /// Where each number has its value.
    places: HashMap<u32, usize>,
    keys: HashSet<(u32, String)>,
}

impl Fields {
    /// The place of a field of which there may be several, made by the first.
    fn place(&mut self, number: u32, name: &str, empty: Json) -> Option<&mut Json> {
        let place = *self.places.entry(number).or_insert_with(|| {
            self.fields.push((name.to_owned(), empty));
            self.fields.len() - 1
        });
        self.fields.get_mut(place).map(|(_, value)| value)
    }

    fn take(&mut self, number: u32, field: &Field, value: Value<'_>, depth: usize) -> Result<(), BodyFault> {
        let name = field.name.unwrap_or_default();
        match (field.count, value) {
            (Count::Many, value) => {
                let items = many(field.kind, value, depth)?;
                if let Some(Json::List(list)) = self.place(number, name, Json::List(Vec::new())) {
                    list.extend(items);
                }
            }
            (Count::ByKey, Value::Bytes(bytes)) => {
                let (key, value) = entry(field.kind, bytes, depth)?;
                if !self.keys.insert((number, key.clone())) {
                    return Err(broken("a key twice"));
                }
                if let Some(Json::Object(entries)) = self.place(number, name, Json::Object(Vec::new())) {
                    entries.push((key, value));
                }
            }
            (Count::One | Count::Optional, value) => {
                if self.places.insert(number, usize::MAX).is_some() {
                    return Err(broken("a field twice"));
                }
                match (single(field.kind, value, depth)?, field.name) {
                    (Json::Object(inner), None) => self.fields.extend(inner),
                    // Clients send all that cannot be absent, where JSON leaves it out.
                    (value, _) if field.count == Count::One && is_zero(&value) => {}
                    (value, _) => self.fields.push((name.to_owned(), value)),
                }
            }
            (Count::ByKey, Value::Number(_)) => return Err(broken("a field of another type")),
        }
        Ok(())
    }
}

fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Json, BodyFault> {
    if depth > DEEPEST {
        return Err(broken("it nests too deep"));
    }
    if RAW.contains(&name) {
        return raw(bytes, depth);
    }
    let known = table::message(name).ok_or_else(|| BodyFault::Unlisted { what: name.to_owned() })?;
    let (mut reader, mut fields) = (Reader(bytes), Fields::default());
    while let Some((number, value)) = reader.next().map_err(broken)? {
        let unlisted = || BodyFault::Unlisted { what: format!("field {number} of {name}") };
        fields.take(number, known.get(&number).ok_or_else(unlisted)?, value, depth + 1)?;
    }
    Ok(plain(name, Json::Object(fields.fields)))
}

fn single(kind: Kind, value: Value<'_>, depth: usize) -> Result<Json, BodyFault> {
    Ok(match (kind, value) {
        (Kind::Text, Value::Bytes(bytes)) => Json::Text(text(bytes)?.to_owned()),
        (Kind::Bytes, Value::Bytes(bytes)) => Json::Text(STANDARD.encode(bytes)),
        (Kind::Message(name), Value::Bytes(bytes)) => message(name, bytes, depth)?,
        (Kind::Bool, Value::Number(0)) => Json::Bool(false),
        (Kind::Bool, Value::Number(1)) => Json::Bool(true),
        (Kind::Int32 | Kind::Int64, Value::Number(number)) => {
            let number = number.cast_signed();
            if kind == Kind::Int32 && i32::try_from(number).is_err() {
                return Err(broken("a number too large for its type"));
            }
            Json::Number(number.into())
        }
        _ => return Err(broken("a field of another type")),
    })
}

/// One more of several, or, of numbers, several more in one piece.
fn many(kind: Kind, value: Value<'_>, depth: usize) -> Result<Vec<Json>, BodyFault> {
    match (kind, value) {
        (Kind::Bool | Kind::Int32 | Kind::Int64, Value::Bytes(bytes)) => {
            let (mut reader, mut items) = (Reader(bytes), Vec::new());
            while !reader.0.is_empty() {
                items.push(single(kind, Value::Number(reader.number().map_err(broken)?), depth)?);
            }
            Ok(items)
        }
        (kind, value) => Ok(vec![single(kind, value, depth)?]),
    }
}

/// An entry of a map; what it lacks is zero.
fn entry(kind: Kind, bytes: &[u8], depth: usize) -> Result<(String, Json), BodyFault> {
    let (mut reader, mut key, mut value) = (Reader(bytes), None, None);
    while let Some(part) = reader.next().map_err(broken)? {
        match part {
            (1, Value::Bytes(bytes)) if key.is_none() => key = Some(text(bytes)?.to_owned()),
            (2, part) if value.is_none() => value = Some(single(kind, part, depth)?),
            _ => return Err(broken("an entry that holds more than key and value")),
        }
    }
    Ok((key.unwrap_or_default(), value.unwrap_or(Json::Text(String::new()))))
}

/// An object in a form of its own.
fn raw(bytes: &[u8], depth: usize) -> Result<Json, BodyFault> {
    let mut reader = Reader(bytes);
    match (reader.next().map_err(broken)?, reader.0) {
        (None, _) | (Some((1, Value::Bytes([]))), []) => Ok(Json::Null),
        (Some((1, Value::Bytes(inner))), []) if inner.starts_with(START) => object(inner, depth + 1),
        (Some((1, Value::Bytes(inner))), []) => Json::from_json(inner),
        _ => Err(broken("an object inside that holds more than its bytes")),
    }
}

/// What JSON has a value for that is no object.
fn plain(name: &str, json: Json) -> Json {
    let of = |field: &str| json.get(field).cloned();
    let zero = Json::Number(0.into());
    match name {
        // JSON writes it in words: that there is one is all that facts say.
        "meta.v1.Time" | "meta.v1.MicroTime" => of("seconds").unwrap_or(zero),
        "api.resource.Quantity" => of("string").unwrap_or(Json::Text(String::new())),
        "util.intstr.IntOrString" if of("type").is_some() => of("strVal").unwrap_or(Json::Text(String::new())),
        "util.intstr.IntOrString" => of("intVal").unwrap_or(zero),
        _ if name.ends_with(".ExtraValue") => of("items").unwrap_or(Json::List(Vec::new())),
        _ => json,
    }
}

fn is_zero(value: &Json) -> bool {
    match value {
        Json::Null | Json::Bool(false) => true,
        Json::Bool(true) => false,
        Json::Number(number) => number.as_i64() == Some(0),
        Json::Text(text) => text.is_empty(),
        Json::List(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
    }
}

fn text(bytes: &[u8]) -> Result<&str, BodyFault> {
    std::str::from_utf8(bytes).map_err(|_| broken("a text that is not UTF-8"))
}
