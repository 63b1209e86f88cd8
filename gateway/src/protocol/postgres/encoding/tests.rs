//! What bytes say, and what is refused. The servers themselves are asked in `tests/pg/encoding_oracle.rs`.

use super::*;
use crate::protocol::postgres::fake::message;
use crate::protocol::postgres::fuzzing;
use crate::protocol::postgres::message::Frontend;

fn encoding(name: &str) -> &'static Encoding {
    Encoding::find(name).unwrap()
}

#[test]
fn encodings_are_found_in_every_spelling() {
    for (spelling, name) in [
        ("'utf-8'", "UTF8"),
        ("latin1", "LATIN1"),
        ("ISO 8859-1", "LATIN1"),
        ("iso-8859-16", "LATIN10"),
        ("ISO_8859_5", "ISO_8859_5"),
        ("Windows-1252", "WIN1252"),
        ("win", "WIN1251"),
        ("KOI8", "KOI8R"),
        ("Shift_JIS", "SJIS"),
        ("windows949", "UHC"),
        ("gb18030", "GB18030"),
    ] {
        assert_eq!(encoding(spelling).name(), name, "{spelling}");
    }
    for other in ["", "latin", "LATIN11", "SQL_ASCII", "MULE_INTERNAL", "EUC_TW", "JOHAB", "SHIFT_JIS_2004", "windows"]
    {
        assert_eq!(Encoding::find(other), None, "{other}");
    }
}

#[test]
fn a_byte_of_a_character_is_no_quote_and_no_backslash() {
    for (name, bytes, text) in [
        ("SJIS", &b"\x83\x5c'"[..], "ソ'"),
        ("BIG5", b"\xa5\x5c'", "功'"),
        ("GBK", b"\xd5\x5c'", "誠'"),
        ("UHC", b"\x81\x41'", "갂'"),
        ("GB18030", b"\x81\x30\x84\x36'", "¥'"),
        ("EUC_JP", b"\xa5\xbd'", "ソ'"),
    ] {
        assert_eq!(encoding(name).decode(bytes).as_deref(), Some(text), "{name}");
        assert_eq!(encoding(name).encode(text).as_deref(), Some(bytes), "{name}");
    }
}

#[test]
fn what_has_no_certain_character_is_no_text_and_takes_nothing_with_it() {
    for (name, bytes) in [
        ("SJIS", &b"a\x83'b"[..]),
        ("SJIS", b"a\x83\0b"),
        ("GBK", b"a\xbf'b"),
        ("GBK", b"\x81\x30\x81\x30"),
        ("BIG5", b"\xc7\x40"),
        ("EUC_KR", b"\xb0\x41"),
        ("EUC_JP", b"\x8f\xa2\xc3"),
        ("EUC_JP", b"\x8f\xb0"),
        ("GB18030", b"\x81\x30\x81"),
        ("WIN1252", b"a\x81b"),
        ("ISO_8859_6", b"\xa1"),
    ] {
        assert_eq!(encoding(name).decode(bytes), None, "{name} {bytes:x?}");
        let lossy = encoding(name).decode_lossy(bytes);
        assert!(lossy.contains('\u{fffd}'), "{name}");
        let ascii = |text: &[u8]| text.iter().copied().filter(u8::is_ascii).collect::<Vec<_>>();
        assert_eq!(ascii(lossy.as_bytes()), ascii(bytes), "{name}: what stands behind it was swallowed");
    }
}

#[test]
fn masks_have_a_form_that_every_encoding_has() {
    for name in names().filter(|name| *name != "UTF8") {
        assert_eq!(encoding(name).encode_ours("[ssn\u{2022}\u{2022}\u{2022}] \u{fffd}")[..10], *b"[ssn*~*] ?");
        assert!(crate::masking::class::contains_mask(&encoding(name).encode_ours("\u{2022}\u{2022}\u{2022}")));
    }
    assert_eq!(encoding("WIN1252").mark().as_deref(), Some(&b"\x95\x95\x95"[..]));
    assert!(encoding("WIN1252").holds_mark(b"x\x95\x95\x95y") && !encoding("LATIN1").holds_mark(b"\x95\x95\x95"));
    assert!(!UTF8.holds_mark(MARK.as_bytes()), "a session in UTF8 looks for nothing else");
}

#[test]
fn names_texts_and_parameters_of_messages_are_read() {
    let latin = encoding("LATIN1");
    let read = |kind, tag, body: &[u8]| in_utf8(kind, &message(tag, body), latin).map(|read| read[5..].to_vec());
    assert_eq!(read(Frontend::Query, b'Q', b"SELECT 1\0"), None);
    assert_eq!(in_utf8(Frontend::Query, &message(b'Q', b"\xe9\0"), &UTF8), None);
    assert_eq!(read(Frontend::Query, b'Q', b"\xe9\0").unwrap(), "é\0".as_bytes());
    assert_eq!(read(Frontend::Parse, b'P', b"\xe9\0\xe8\0\0\0").unwrap(), ["é\0è\0".as_bytes(), &b"\0\0"[..]].concat());
    assert_eq!(read(Frontend::Describe, b'D', b"S\xe9\0").unwrap(), "Sé\0".as_bytes());
    assert_eq!(read(Frontend::Execute, b'E', b"\xe9\0\0\0\0\x09").unwrap(), ["é\0".as_bytes(), b"\0\0\0\x09"].concat());
    // A text, and a number in binary.
    let bind = b"\xe9\0\0\0\x02\0\0\0\x01\0\x02\0\0\0\x01\xe9\0\0\0\x01\xe9\0\x01\0\x01";
    let expected = ["é\0\0\0\x02\0\0\0\x01\0\x02\0\0\0\x02é".as_bytes(), b"\0\0\0\x01\xe9\0\x01\0\x01"].concat();
    assert_eq!(read(Frontend::Bind, b'B', bind).unwrap(), expected);
    // What is no text in it is none in UTF-8 either.
    let windows = in_utf8(Frontend::Query, &message(b'Q', b"\x81\0"), encoding("WIN1252")).unwrap();
    assert_eq!(windows, message(b'Q', b"\xff\0"));
}

#[test]
fn two_parameters_without_a_certain_text_are_told_apart() {
    let bind = |value: &[u8]| {
        let body = [b"\xe9\0\0\0\0\0\x01\0\0\0\x02", value, b"\0\0"].concat();
        in_utf8(Frontend::Bind, &message(b'B', &body), encoding("UHC")).unwrap()
    };
    assert_ne!(bind(b"\xc9\xa1"), bind(b"\xc9\xa2"));
}

#[test]
fn a_change_is_certain_once_the_server_is_ready_and_out_of_the_transaction() {
    let (latin, greek) = (encoding("LATIN1"), encoding("ISO_8859_7"));
    let mut speech = Speech::new(latin, "UTF8");
    assert!(!speech.is_moved_by(Wanted::Startup) && speech.is_moved_by(Wanted::Encoding(greek)));
    assert!(!speech.reported(b"ISO_8859_7"), "nobody changed it");
    assert!(speech.reported(b"LATIN1") && !speech.reported(b"latin1"));
    speech.sent(true);
    assert!(speech.waits() && speech.is_moving() && speech.is_moved_by(Wanted::Startup));
    assert!(speech.reported(b"ISO_8859_7") && !speech.reported(b"EUC_TW"));
    speech.ready(false);
    assert!(speech.waits() && !speech.is_moving() && speech.now() == greek);
    // Whatever runs in that transaction may end it.
    speech.sent(false);
    assert!(speech.is_moving() && speech.reported(b"LATIN1"));
    speech.ready(true);
    assert!(!speech.waits() && speech.now() == latin && !speech.is_plain());
}

#[test]
fn between_two_encodings_that_are_not_utf8_nothing_is_served() {
    let latin = encoding("LATIN1");
    for (server, serves) in
        [("UTF8", true), ("LATIN1", true), ("WIN1252", false), ("SQL_ASCII", false), ("EUC_TW", false)]
    {
        let speech = Speech::new(latin, server);
        assert_eq!(speech.serves(Wanted::Startup), serves, "{server}");
        assert!(speech.serves(Wanted::Encoding(&UTF8)), "{server}");
    }
}

#[test]
fn kept_inputs_hold() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/encodings");
    let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(inputs.len() > 1);
    inputs.into_iter().for_each(|input| fuzzing::spoken(&std::fs::read(input.unwrap().path()).unwrap()));
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_as_much_as_they_say(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
        fuzzing::spoken(&bytes);
    }

    #[test]
    fn any_text_that_can_be_written_is_read_again(which in 0..40_usize, text in "\\PC{0,20}") {
        let encoding = encoding(names().nth(which % names().count()).unwrap());
        if let Some(bytes) = encoding.encode(&text) {
            proptest::prop_assert_eq!(encoding.decode(&bytes).unwrap(), text);
        }
    }
}
