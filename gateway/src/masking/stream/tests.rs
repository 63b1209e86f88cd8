//! Streams cut at every byte: no value comes out, and no byte is lost.

use proptest::prelude::*;

use super::*;
use crate::masking::class::Classes;
use crate::masking::detect::tests::samples;

fn masker() -> StreamMasker {
    StreamMasker::new(Arc::new(Detectors::shipped(&Classes::default())), 4096)
}

/// Pushes the text in chunks that end at `cuts`.
fn masked(text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut masker = masker();
    let mut out = Vec::new();
    let mut from = 0;
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.sort_unstable();
    for cut in cuts.into_iter().chain([text.len()]) {
        masker.push(&text[from..cut], &mut out);
        assert_eq!(out.len() + masker.held(), cut);
        from = cut;
    }
    masker.flush(&mut out);
    out
}

#[test]
fn masks_a_value_cut_at_every_byte_and_keeps_the_length() {
    for (name, secret) in samples() {
        let text = format!("user@host:~$ cat it\r\n{secret}\r\nuser@host:~$ ");
        let stars = text.replace(&secret, &"*".repeat(secret.len()));
        for cut in 0..=text.len() {
            let out = String::from_utf8(masked(text.as_bytes(), &[cut])).unwrap();
            assert_eq!(out, stars, "{name} cut at {cut}");
        }
        let every: Vec<_> = (0..text.len()).collect();
        assert_eq!(String::from_utf8(masked(text.as_bytes(), &every)).unwrap(), stars, "{name} byte by byte");
    }
}

#[test]
fn holds_back_no_more_than_what_may_be_a_value() {
    let mut masker = masker();
    let mut out = Vec::new();
    masker.push(b"an ordinary line\nand another: 4242", &mut out);
    assert_eq!(out, b"an ordinary line\nand another:");
    masker.flush(&mut out);
    assert_eq!((out.len(), masker.held()), (34, 0));
    // Its start is gone; the rest is hidden all the same.
    masker.push(b" 4242 4242 4242\n", &mut out);
    assert_eq!(&out[29..], b" 4242***************\n");
}

#[test]
fn a_long_word_waits_no_longer_than_the_window() {
    let mut masker = masker();
    let mut out = Vec::new();
    masker.push(&[b'a'; 100_000], &mut out);
    assert!(masker.held() <= 4096);
}

#[test]
fn a_token_longer_than_the_window_is_hidden_whole() {
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.{}.{}", "QUJD".repeat(5000), "c2ln".repeat(100));
    let text = format!("a {jwt} b");
    for size in [1000, 4096, 5000] {
        let cuts: Vec<_> = (0..text.len()).step_by(size).collect();
        let out = String::from_utf8(masked(text.as_bytes(), &cuts)).unwrap();
        assert_eq!(out, format!("a {} b", "*".repeat(jwt.len())));
    }
}

#[test]
fn a_key_without_an_end_does_not_swallow_what_follows() {
    let text = b"-----BEGIN PRIVATE KEY-----\nMIIBVAIBADANBgkqhkiG9w0BAQEFAASC\n(end) of it";
    let out = String::from_utf8(masked(text, &[40])).unwrap();
    assert!(out.ends_with("*(end) of it") && !out.contains("MII"), "{out}");
}

proptest! {
    #[test]
    fn no_secret_survives_any_split(
        before in "[ -~\n]{0,40}",
        after in "[ -~\n]{0,40}",
        which in 0_usize..13,
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let (_, secret) = &samples()[which];
        let text = format!("{before}\n{secret}\n{after}");
        let out = masked(text.as_bytes(), &cuts);
        prop_assert_eq!(out.len(), text.len());
        prop_assert!(!String::from_utf8_lossy(&out).contains(secret.as_str()));
        // Cuts change nothing.
        prop_assert_eq!(out, masked(text.as_bytes(), &[]));
    }
}
