//! What fuzz targets reach of this engine; no ordinary build has it.
//!
//! In: bytes of either side. Out: what became of them, held to what must be true of it. It must never hold logic of its
//! own.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde_json::Value;

use super::body;
use super::fields;
use super::object::{ObjectMasker, Place, Rule};
use super::preview;
use super::stream::fuzzing::carry;
use super::uri::{RequestInfo, Resource, Verb};
use crate::masking::Masking;
use crate::masking::file::MaskingFile;

/// Request lines: no part of what is read holds what a path is made of.
pub fn uri(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    if let Ok(RequestInfo { resource: Some(of), .. }) = RequestInfo::read(method, target) {
        for part in [of.group, of.version, of.namespace, of.resource, of.subresource, of.name] {
            assert!(!part.contains('/') && part != "." && part != "..", "{target}");
        }
    }
}

/// Bodies: what goes on in place of one is read as the same.
pub fn body(bytes: &[u8]) {
    const MEDIA: [&str; 6] = [
        "application/json",
        "application/yaml",
        "application/json-patch+json",
        "application/apply-patch+yaml",
        "application/strategic-merge-patch+json",
        "application/vnd.kubernetes.protobuf",
    ];
    let Some((choice, rest)) = bytes.split_first() else { return };
    let Some(media) = MEDIA.get(usize::from(*choice) % MEDIA.len()) else { return };
    let verb = if media.contains("patch") { Verb::Patch } else { Verb::Create };
    let resource = Resource { version: "v1".into(), resource: "pods".into(), ..Resource::default() };
    let Ok(parsed) = body::read(verb, &resource, media, &Bytes::copy_from_slice(rest)) else { return };
    if let Some((onward, media)) = parsed.onward {
        let again = body::read(verb, &resource, media, &onward).map(|again| again.facts);
        assert_eq!(again, Ok(parsed.facts));
    }
}

/// Labels whose names and filters are known late.
static LABELLED: LazyLock<Arc<[Place]>> = LazyLock::new(|| {
    const FILE: &str = "version = 1\n[[field]]\nkind = \"*\"\nnames = [\"a*\"]\n\
        paths = [\"a.*\", \"b[?name == 'a'].*\", \"metadata.*\", \"binaryData.*\"]\nclass = \"card\"\n";
    let file = MaskingFile::parse("fuzz", FILE, &|_| Err(String::new()));
    let masking = file.map(|file| file.masking("a")).unwrap_or_default();
    let info = RequestInfo::read("GET", "/apis/a/v1/a").map(|info| fields::places(&info, &masking));
    let places = info.unwrap_or_default();
    assert_eq!(places.len(), 4);
    places.into()
});

/// Objects: however they are cut, the same is shown, and what is shown is JSON where that came; what is told of one is bounded.
pub fn object(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let masking = Masking::default();
    let secret = masking.classes.find("secret").map(Arc::clone);
    let rule = Rule { secret, places: Arc::clone(&LABELLED), ..Rule::new(masking.detectors) };
    let run = |size: usize| {
        let (mut masker, mut out) = (ObjectMasker::new(rule.clone()), Vec::new());
        let result = rest.chunks(size).try_for_each(|chunk| masker.push(chunk, &mut out));
        result.and_then(|()| masker.finish(&mut out)).map(|()| out)
    };
    let (whole, cut) = (run(rest.len().max(1)), run(usize::from(*size).max(1)));
    assert_eq!(whole.is_ok(), cut.is_ok());
    if let (Ok(whole), Ok(cut)) = (whole, cut) {
        assert_eq!(whole, cut);
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        let (real, shown) = (json(rest), json(&whole));
        assert!(real.is_none() || shown.is_some());
        if let (Some(real), Some(shown)) = (real, shown) {
            let lines = preview::difference::between((&Value::Null, &Value::Null), (&real, &shown));
            assert!(lines.len() < 100 && lines.iter().all(|line| line.len() < rest.len() + 1_000));
            assert!(preview::difference::between((&real, &shown), (&real, &shown)).is_empty());
        }
    }
}

/// Frames of exec and attach: however they are cut, the same goes on to the server.
pub fn stream(bytes: &[u8]) {
    let Some((size, rest)) = bytes.split_first() else { return };
    let (whole, cut) = (carry(rest, rest.len().max(1)), carry(rest, usize::from(*size).max(1)));
    assert_eq!(whole, cut);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_inputs_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        type Target = fn(&[u8]);
        let targets =
            [("kube_uri", uri as Target), ("kube_body", body), ("kube_object", object), ("kube_stream", stream)];
        for (name, target) in targets {
            let inputs: Vec<_> = std::fs::read_dir(folder.join(name)).unwrap().collect();
            assert!(inputs.len() > 1, "{name}");
            inputs.into_iter().for_each(|input| target(&std::fs::read(input.unwrap().path()).unwrap()));
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_holds(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            text in r#"[\x00-\x08]?[{}\[\]",:a0\\ \n&*-]{0,60}"#,
        ) {
            for input in [bytes.as_slice(), text.as_bytes()] {
                uri(input);
                body(input);
                object(input);
                stream(input);
            }
        }
    }
}
