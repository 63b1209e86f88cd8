//! Events as messages of syslog (RFC 5424), with counted octets (RFC 6587, section 3.4.1; RFC 5425, section 4.3).
//!
//! In: an event's head and JSON, and what a receiver takes. Out: one message that is no longer; of a longer one, texts and
//! lists are cut, and it says so. Nothing of a runtime's stands outside of the JSON.

use serde_json::Value;

use super::super::time::Timestamp;
use super::Severity;

/// Facility 13, log audit (RFC 5424, 6.2.1).
const FACILITY: u32 = 13;
/// HOSTNAME and MSGID (RFC 5424, 6.2).
const MAX_HOST: usize = 255;
const MAX_KIND: usize = 32;
/// How long texts and lists stay, one after the other until it fits; at last what is in `BULKY` goes.
const CUTS: [usize; 5] = [2_048, 512, 128, 32, 0];
/// What is never cut further: ids are no longer, and lists of a schema's own words.
const SHORT_TEXT: usize = 80;
const SHORT_LIST: usize = 4;
/// What an event is about, at length.
const BULKY: [&str; 4] = ["body", "unmapped", "actor", "message"];

/// What stands before the text of a message.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// How much it matters.
    pub severity: Severity,
    /// When it was.
    pub time: Timestamp,
    /// On which host.
    pub host: &'a str,
    /// Of what kind it is: MSGID.
    pub kind: &'a str,
}

/// A message, without its length.
#[must_use]
pub fn message(head: &Head<'_>, text: &str) -> String {
    // RFC 5424, 6.2.1.
    let severity = match head.severity {
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Informational => 6,
    };
    let priority = FACILITY * 8 + severity;
    let word = |text: &str, most| match text.chars().filter(char::is_ascii_graphic).take(most).collect::<String>() {
        word if word.is_empty() => "-".to_owned(),
        word => word,
    };
    let (host, kind) = (word(head.host, MAX_HOST), word(head.kind, MAX_KIND));
    format!("<{priority}>1 {} {host} gateway {} {kind} - {text}", head.time, std::process::id())
}

/// The same with its length before it.
#[must_use]
pub fn counted(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A message of an event's JSON that has `most` bytes at most. The journal has all of what is cut.
pub(super) fn fitting(head: &Head<'_>, mut json: Value, most: usize) -> String {
    let mut whole = message(head, &json.to_string());
    for longest in CUTS {
        if whole.len() <= most {
            return whole;
        }
        cut(&mut json, longest);
        if let Some(object) = json.as_object_mut() {
            object.insert("cut".to_owned(), true.into());
            if longest == 0 {
                object.retain(|key, _| !BULKY.contains(&key.as_str()));
            }
        }
        whole = message(head, &json.to_string());
    }
    whole
}

/// Makes texts and lists in it no longer than that. What names the event is shorter, and stays.
fn cut(value: &mut Value, longest: usize) {
    match value {
        Value::String(text) if text.len() > longest.max(SHORT_TEXT) => {
            let end = (0..=longest.max(SHORT_TEXT)).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
        Value::Array(list) => {
            list.truncate(longest.max(SHORT_LIST));
            list.iter_mut().for_each(|one| cut(one, longest));
        }
        Value::Object(object) => object.values_mut().for_each(|one| cut(one, longest)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head(kind: &str) -> Head<'_> {
        let time = "2026-11-22T23:52:29.418692Z".parse().unwrap();
        Head { severity: Severity::Warning, time, host: "db-7", kind }
    }

    #[test]
    fn a_head_is_made_of_its_words_alone() {
        let said = message(&head("postgres.statement"), "{}");
        let expected =
            format!("<108>1 2026-11-22T23:52:29.418692Z db-7 gateway {} postgres.statement - {{}}", std::process::id());
        assert_eq!(said, expected);
        assert_eq!(counted("<1>ä"), "5 <1>ä");
        let odd = Head { host: "a b\n\u{e4}", ..head("") };
        assert!(message(&odd, "").contains("Z ab gateway "), "{}", message(&odd, ""));
        assert!(message(&odd, "x").ends_with(" - - x"));
    }

    #[test]
    fn what_is_too_long_is_cut_until_it_fits_and_says_so() {
        let id = "01a205ac-e000-7122-a1c1-c8380b5f7118";
        let short = json!({ "journal": id, "body": { "text": "SELECT 1" } });
        assert!(fitting(&head("k"), short.clone(), 2_048).ends_with(&short.to_string()));
        let many: serde_json::Map<_, _> = (0..99).map(|n| (format!("key{n}"), "ü".repeat(999).into())).collect();
        for body in [json!({ "text": "ü".repeat(9_999) }), json!({ "list": vec!["x"; 9_999] }), Value::Object(many)] {
            let said = fitting(&head("k"), json!({ "journal": id, "seq": 7, "body": body }), 2_048);
            assert!(said.len() <= 2_048, "{}", said.len());
            let told: Value = serde_json::from_str(said.split_once(" - ").unwrap().1).unwrap();
            assert_eq!((&told["journal"], &told["seq"], &told["cut"]), (&json!(id), &json!(7), &json!(true)), "{said}");
        }
    }
}
