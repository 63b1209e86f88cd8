//! What the detectors find, and what they leave alone.

use super::*;
use crate::masking::class::{Class, Show};

fn all() -> Detectors {
    let classes = Classes::default();
    Detectors::new(
        Builtin::ALL
            .iter()
            .map(|(one, _, _, class)| Detector::builtin(*one, Arc::clone(classes.find(class).unwrap())))
            .collect(),
    )
}

fn found<'t>(detectors: &Detectors, text: &'t str) -> Vec<(String, &'t str)> {
    let hits = detectors.find(text.as_bytes(), DetectorSet::default());
    hits.into_iter().map(|hit| (detectors.detector(hit.detector).unwrap().name.to_string(), &text[hit.range])).collect()
}

/// Values that are nobody's: test numbers of the networks, examples of the documentation, random characters.
pub(crate) fn samples() -> Vec<(&'static str, String)> {
    let jwt =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    let key = format!(
        "-----BEGIN EC PRIVATE KEY-----\n{}\n{}\n-----END EC PRIVATE KEY-----",
        "MHcCAQEEIBkg4LVWM9nuwNSk3yByxZpYRTBnVJk5oAoGCCqGSM49AwEHoUQDQgAE",
        "qUZj1BkVqWqWmZxJbYpXl2kq6Xk0m3k3n0S7w1u2v3w4x5y6z7=="
    );
    vec![
        ("card", "4242424242424242".into()),
        ("card", "3782 822463 10005".into()),
        ("ssn", "123-45-6789".into()),
        ("iban", "DE89370400440532013000".into()),
        ("jwt", jwt.into()),
        ("private_key", key),
        ("cloud_key", "AKIAIOSFODNN7EXAMPLE".into()),
        ("cloud_key", format!("AIza{}", "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY")),
        ("forge_token", format!("ghp_{}", "abcdefghijklmnopqrstuvwxyz0123456789")),
        ("forge_token", format!("github_pat_{}_{}", "11ABCDEFG0abcdefghijkl", "a1".repeat(29))),
        ("forge_token", format!("glpat-{}", "abcDEF1234567890_-xy")),
        ("forge_token", format!("sk-ant-api03-{}", "Ab1-".repeat(12))),
        ("forge_token", format!("xoxb-{}", "123456789012-abcdefABCDEF")),
    ]
}

#[test]
fn finds_every_kind_of_secret_wherever_it_stands() {
    let detectors = all();
    for (name, secret) in samples() {
        let expected = vec![(name.to_owned(), secret.as_str())];
        assert_eq!(found(&detectors, &secret), expected);
        for (before, after) in
            [("", "\n"), ("key=", ";"), ("{\"k\": \"", "\"}"), ("a,\\n", "\\n"), ("ü ", " ü"), ("(", ")")]
        {
            let text = format!("{before}{secret}{after}");
            assert_eq!(found(&detectors, &text), expected, "{text}");
            assert!(detectors.may_hold(text.as_bytes()));
        }
    }
}

#[test]
fn leaves_look_alikes_alone() {
    let detectors = all();
    for text in [
        "the header eyJhbGciOiJIUzI1NiJ9 alone",
        "eyJub3RoaW5nIjoxfQ.eyJzdWIiOjF9.sig",
        "see -----BEGIN PRIVATE KEY----- in the manual, page 7 (or 8)",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ2hhcmFjdGVycw0K\n-----END CERTIFICATE-----",
        "XAKIAIOSFODNN7EXAMPLE",
        "AKIAIOSFODNN7EXAMPLES",
        "sk-learn-compatible-estimators-and-transformers",
        "a-task-sk-word",
        "ghp_tooshort",
        "ansible-tmp-1795528422.0061343-6333-148356027518362/AnsiballZ_stat.py",
        "mailto:nobody@localhost",
        "secret_access_key: none of your business, and 40 characters of it",
    ] {
        assert_eq!(found(&detectors, text), [], "{text}");
    }
}

#[test]
fn finds_what_follows_the_name_of_an_aws_secret() {
    let detectors = all();
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    for text in [
        format!("aws_secret_access_key = {secret}\n"),
        format!("{{\"SecretAccessKey\": \"{secret}\"}}"),
        format!("export AWS_SECRET_ACCESS_KEY='{secret}'"),
    ] {
        assert_eq!(found(&detectors, &text), [("cloud_key".to_owned(), secret)], "{text}");
    }
}

#[test]
fn addresses_and_numbers_are_found_where_they_are_on() {
    let detectors = all();
    assert_eq!(
        found(&detectors, "to Anna <anna.b+x@mail.example.com>,"),
        [("email".into(), "anna.b+x@mail.example.com")]
    );
    assert_eq!(found(&detectors, "call +49 (0)30 901820 now"), [("phone".into(), "+49 (0)30 901820")]);
    let shipped = Detectors::shipped(&Classes::default());
    assert_eq!(found(&shipped, "anna@example.com +49 30 901820"), []);
}

#[test]
fn a_pattern_of_the_owner_finds_and_an_exception_does_not() {
    let class = Class::new("staff", None, Show::Redact);
    let pattern = Regex::new(r"\bE-[0-9]{6}\b").unwrap();
    let mut all = all();
    all.detectors.push(Detector::custom("employee_number", class, pattern));
    let detectors = Detectors::new(all.detectors);
    assert_eq!(found(&detectors, "by E-123456."), [("employee_number".into(), "E-123456")]);
    let except = detectors.set(["card", "no such"]);
    assert!(detectors.find(b"4242424242424242", except).is_empty());
    assert_eq!(detectors.find(b"123-45-6789", except).len(), 1);
}

#[test]
fn a_key_without_its_end_is_found_and_open() {
    let detectors = all();
    let text = format!("x -----BEGIN PRIVATE KEY-----\n{}\n", "MIIBVAIBADANBgkqhkiG9w0BAQEFAASC".repeat(2));
    let hits = detectors.find(text.as_bytes(), DetectorSet::default());
    assert_eq!(hits, [Hit { range: 2..text.len(), detector: hits[0].detector, is_open: true }]);
}

#[test]
fn overlapping_finds_are_one() {
    let detectors = all();
    let text = format!("aws_secret_access_key={}", "AKIAIOSFODNN7EXAMPLE/abcdefghijk/4242420");
    let hits = detectors.find(text.as_bytes(), DetectorSet::default());
    assert!(hits.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
}
