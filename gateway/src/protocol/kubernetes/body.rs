//! What the body of a request says, as facts that a policy can use.
//!
//! In: the bytes of a create, update, patch or delete, and its media type. Out: [`Parsed`]: facts, and the bytes that go
//! on, since a YAML body is sent as the JSON that was read. What cannot be read with certainty is refused: two keys of one
//! name, forms that nobody here decodes, changes whose values stand elsewhere.

mod facts;
mod json;
mod protobuf;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;

pub use json::Json;

use super::uri::{Resource, Verb};
use crate::masking::class::contains_mask;
use crate::policy::vocabulary::kubernetes::Body;
use crate::policy::vocabulary::names::PatchKind;

/// The largest body: what the API server takes by default (`MaxRequestBodyBytes`).
pub(super) const LARGEST: usize = 3 * 1024 * 1024;

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// Nobody here decodes it.
    #[error("a body of type `{media}` cannot be read here: send application/json or application/yaml")]
    Media {
        /// The media type.
        media: String,
    },
    /// Protobuf has no names: what the table lacks nobody can judge.
    #[error("`{what}` in a body of protobuf cannot be read here: send application/json")]
    Unlisted {
        /// A kind or a field.
        what: String,
    },
    /// It is not what its type says.
    #[error("the body cannot be read: {reason}")]
    Syntax {
        /// The parser's reason.
        reason: String,
    },
    /// A patch that takes values from elsewhere.
    #[error(
        "`{op}` in a JSON patch takes a value that stands elsewhere, so that nobody here can judge it: write the value"
    )]
    Elsewhere {
        /// The operation.
        op: String,
    },
    /// It holds a mask.
    #[error(
        "the body holds a masked value, which would be written over the real one: leave the field out, or send the real value"
    )]
    Mask,
}

/// A body that was read.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    /// What it says; `None`: nothing that a policy could use.
    pub facts: Option<Body>,
    /// ConfigMaps that it names.
    pub config_maps: Vec<Arc<str>>,
    /// How a patch is written.
    pub patch: Option<PatchKind>,
    /// It asks for nothing to be kept.
    pub dry_run: bool,
    /// What becomes of dependents of what is deleted.
    pub propagation: Option<String>,
    /// It asks whether a value is the one that it names.
    pub compares: bool,
    /// What goes on in its place, where it is not the same: the bytes, and their media type.
    pub onward: Option<(Bytes, &'static str)>,
}

/// How the bytes are written.
enum Form {
    Json,
    Yaml,
    Protobuf,
}

/// Reads a body; an empty one says nothing.
///
/// # Errors
/// Where what the server would understand is not certain.
pub fn read(verb: Verb, resource: &Resource, media: &str, body: &Bytes) -> Result<Parsed, BodyFault> {
    if body.is_empty() {
        return Ok(Parsed::default());
    }
    let unknown = || BodyFault::Media { media: media.chars().filter(|c| !c.is_control()).take(100).collect() };
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (form, patch) = match (verb, essence.as_str()) {
        (Verb::Patch, "application/json-patch+json") => (Form::Json, Some(PatchKind::Json)),
        (Verb::Patch, "application/merge-patch+json") => (Form::Json, Some(PatchKind::Merge)),
        (Verb::Patch, "application/strategic-merge-patch+json") => (Form::Json, Some(PatchKind::Strategic)),
        (Verb::Patch, "application/apply-patch+yaml") => (Form::Yaml, Some(PatchKind::Apply)),
        (Verb::Patch, _) => return Err(unknown()),
        (_, "application/json" | "") => (Form::Json, None),
        (_, "application/yaml" | "application/x-yaml" | "text/yaml") => (Form::Yaml, None),
        (_, "application/vnd.kubernetes.protobuf") => (Form::Protobuf, None),
        _ => return Err(unknown()),
    };
    let json = match form {
        Form::Json => Json::from_json(body)?,
        Form::Yaml => Json::from_yaml(body)?,
        Form::Protobuf => protobuf::read(body)?,
    };
    let mut parsed = of_json(verb, resource, patch, &json)?;
    if contains_mask(body) || holds_mask(&json) {
        return Err(BodyFault::Mask);
    }
    parsed.patch = patch;
    if let Form::Yaml = form {
        let kind = if patch.is_some() { "application/apply-patch+yaml" } else { "application/json" };
        parsed.onward = Some((Bytes::from(json.to_string()), kind));
    }
    Ok(parsed)
}

/// A body that was read, as a text for people: protobuf as the JSON that it stands for.
#[must_use]
pub fn readable(body: &[u8]) -> String {
    let json = protobuf::read(body).map(|json| json.to_string());
    json.unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned())
}

fn of_json(verb: Verb, resource: &Resource, patch: Option<PatchKind>, json: &Json) -> Result<Parsed, BodyFault> {
    if matches!(verb, Verb::Delete | Verb::DeleteCollection) {
        let dry_run = json.get("dryRun").is_some_and(|value| !matches!(value, Json::Null) && !value.items().is_empty());
        let propagation = json.get("propagationPolicy").and_then(Json::text).map(str::to_owned);
        return Ok(Parsed { dry_run, propagation, ..Parsed::default() });
    }
    let changes;
    let (values, removed, compares) = if patch == Some(PatchKind::Json) {
        changes = json.as_changes()?;
        (changes.values.as_slice(), changes.removed, changes.compares)
    } else {
        (std::slice::from_ref(json), Vec::new(), false)
    };
    let (facts, config_maps) = facts::of(resource, values, removed);
    Ok(Parsed { facts: Some(facts), config_maps, compares, ..Parsed::default() })
}

/// Also in base64, as `data` of Secrets holds it, and in the annotation that holds what was last applied.
fn holds_mask(json: &Json) -> bool {
    use base64::Engine as _;
    let mut open = vec![json];
    while let Some(value) = open.pop() {
        match value {
            Json::Text(text) => {
                let decoded = || base64::engine::general_purpose::STANDARD.decode(text.trim().as_bytes());
                if contains_mask(text.as_bytes()) || decoded().is_ok_and(|bytes| contains_mask(&bytes)) {
                    return true;
                }
                if text.starts_with('{')
                    && Json::from_json(text.as_bytes()).is_ok_and(|inner| inner.text_leaves().any(is_mask))
                {
                    return true;
                }
            }
            Json::List(items) => open.extend(items),
            Json::Object(fields) => open.extend(fields.iter().map(|(_, value)| value)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
    false
}

fn is_mask(text: &str) -> bool {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text.trim().as_bytes());
    contains_mask(text.as_bytes()) || decoded.is_ok_and(|bytes| contains_mask(&bytes))
}
