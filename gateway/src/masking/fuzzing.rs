//! What fuzz targets reach of masks in streams; no ordinary build has it.
//!
//! In: bytes, cut anywhere. Out: what was shown of them, held to what must be true of it. It must never hold logic of its
//! own.

use std::sync::Arc;

use super::class::Classes;
use super::detect::{DetectorSet, Detectors};
use super::stream::StreamMasker;

/// Pieces: how long each is, its lowest bit whether its caller waited long enough behind it, and the bytes.
pub fn stream(bytes: &[u8]) {
    let detectors = Arc::new(Detectors::shipped(&Classes::default()));
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while let Some((&length, behind)) = rest.split_first() {
        let (piece, behind) = behind.split_at(usize::from(length).min(behind.len()));
        pieces.push((piece, length & 1 == 1));
        rest = behind;
    }
    let put: Vec<u8> = pieces.iter().flat_map(|(piece, _)| piece.to_vec()).collect();
    let run = |waits: bool| {
        let (mut masker, mut out, mut taken) = (StreamMasker::new(Arc::clone(&detectors), 1024), Vec::new(), 0);
        for (piece, waited) in &pieces {
            masker.push(piece, &mut out);
            taken += piece.len();
            assert!(masker.held() <= 1024 && out.len() + masker.held() == taken);
            if waits && *waited {
                masker.flush(&mut out);
                assert_eq!(masker.held(), 0);
            }
        }
        masker.flush(&mut out);
        assert!(out.len() == put.len() && out.iter().zip(&put).all(|(shown, was)| shown == was || *shown == b'*'));
        out
    };
    run(true);
    let patient = run(false);
    let (mut masker, mut whole) = (StreamMasker::new(Arc::clone(&detectors), 1024), Vec::new());
    masker.push(&put, &mut whole);
    masker.flush(&mut whole);
    assert_eq!(patient, whole, "cuts change nothing");
    // What is left holds no value, but for such as only came about by the masks themselves.
    if !whole.contains(&b'*') {
        assert!(detectors.find(&put, DetectorSet::default()).is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_inputs_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/masks");
        let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(inputs.len() > 1);
        inputs.into_iter().for_each(|input| stream(&std::fs::read(input.unwrap().path()).unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn anything_holds(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            text in "[\\x00-\\x20](card |key=|password: |eyJ|[4-]|[0-9A-Za-z+/=._ \n-]{0,8}){0,30}",
        ) {
            stream(&bytes);
            stream(text.as_bytes());
        }
    }
}
