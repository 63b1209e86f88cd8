//! A text without its whole numbers, for texts that differ in nothing else.
//!
//! In: a text. Out: the same with a NUL for each number, which no text of a client holds, or nothing where a number could
//! be part of something else. Two texts with one template have the same tokens but for the values of these numbers, and so
//! nearly always the same tree. It must never take a digit of a name, a string, a comment or another kind of number for one.
//!
//! The grammar itself reads a few: `float(n)` is one type or another, or none.

/// Stands for a number.
const HOLE: u8 = 0;
/// Longer texts have none: they cost more than they save.
const MAX_TEXT: usize = 1024;
/// Digits of a number that is an integer whatever they are: an `ICONST` of scan.l.
const MAX_DIGITS: usize = 9;

/// The template of a text.
#[must_use]
pub fn template(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut holes) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match (byte, next) {
            // Strings, quoted names, parameters, comments, and what is no ASCII.
            (b'\'' | b'"' | b'$' | b'\\' | HOLE, _) | (b'-', Some(b'-')) | (b'/', Some(b'*')) => return None,
            _ if !byte.is_ascii() => return None,
            _ if byte.is_ascii_digit() && !out.last().copied().is_some_and(goes_on) => {
                let digits = bytes.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
                let after = bytes.get(at + digits).copied();
                if digits > MAX_DIGITS || out.last() == Some(&b'.') || after.is_some_and(|b| goes_on(b) || b == b'.') {
                    return None;
                }
                out.push(HOLE);
                holes += 1;
                at += digits;
                continue;
            }
            _ => out.push(byte),
        }
        at += 1;
    }
    // ASCII alone.
    String::from_utf8(out).ok().filter(|_| holes > 0)
}

/// Numbers by their places that a template is tried with: where a fact is a number, these make two facts of it, and 0 is the
/// one that means something by itself (`off`).
pub const SAMPLES: [fn(usize) -> u32; 2] = [|_| 0, |place| 700_000_001 + u32::try_from(place % 1_000).unwrap_or(0) * 7];

/// Whether it goes on a name.
fn goes_on(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// A text of this template: its numbers by their places.
#[must_use]
pub fn filled(template: &str, number: impl Fn(usize) -> u32) -> String {
    let mut parts = template.split(char::from(HOLE));
    let mut out = parts.next().unwrap_or_default().to_owned();
    for (place, part) in parts.enumerate() {
        out.push_str(&number(place).to_string());
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Caps, read};
    use super::*;

    #[test]
    fn takes_out_whole_numbers_and_nothing_else() {
        let holes = |text: &str| template(text).map(|template| template.replace('\0', "?"));
        assert_eq!(
            holes("SELECT a1 FROM t WHERE id=42 AND b IN (1,-2)").unwrap(),
            "SELECT a1 FROM t WHERE id=? AND b IN (?,-?)"
        );
        assert_eq!(holes("UPDATE t2 SET a = a + 7;").unwrap(), "UPDATE t2 SET a = a + ?;");
        for none in [
            "SELECT a FROM t",
            "SELECT 'a 1'",
            "SELECT 1 AS \"b 2\"",
            "SELECT $1",
            "SELECT 1 -- 2",
            "SELECT 1 /* 2 */",
            "SELECT 1.5",
            "SELECT 1.",
            "SELECT .5",
            "SELECT 1e5",
            "SELECT 0x1F",
            "SELECT 1_000",
            "SELECT 4111111111111111",
            "SELECT é1, 2",
            "SELECT 1\0",
        ] {
            assert_eq!(holes(none), None, "{none}");
        }
    }

    #[test]
    fn is_filled_with_other_numbers() {
        let text = "SELECT 1, a2 + 30";
        assert_eq!(filled(&template(text).unwrap(), |place| [1, 30][place]), text);
        assert_eq!(filled(&template(text).unwrap(), |place| [8, 9][place]), "SELECT 8, a2 + 9");
    }

    /// What the whole rests on: the same facts, whatever the numbers are, where they are the same for the two that are tried.
    #[test]
    fn texts_of_one_template_have_the_facts_of_its_samples() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pg/corpus");
        let files = ["leaks", "evasions"].map(|name| std::fs::read_dir(format!("{folder}/{name}")).unwrap());
        let texts: Vec<String> =
            files.into_iter().flatten().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let mut seen = 0;
        for template in texts.iter().flat_map(|text| text.lines()).filter_map(template) {
            let facts = |number: &dyn Fn(usize) -> u32| read(filled(&template, number).as_bytes(), &Caps::default());
            let [Ok(zeros), Ok(large)] = SAMPLES.map(|sample| facts(&sample)) else { continue };
            if !zeros.same_but_for_places(&large) {
                continue;
            }
            for number in [1, 2, 23, 24, 53, 54, 1_600, 65_535, 999_999_999] {
                let other = facts(&|place| number + u32::try_from(place % 2).unwrap()).unwrap();
                assert!(other.same_but_for_places(&zeros), "{number}: {}", template.replace('\0', "?"));
            }
            seen += 1;
        }
        assert!(seen > 100, "{seen}");
    }
}
