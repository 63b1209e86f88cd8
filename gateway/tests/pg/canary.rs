//! Values that must not come out, and how they would look if they did.
//!
//! In: bytes that somebody could read. Out: the value that stands in them, as it is or so transformed that it can be made
//! again: another case, backwards, split over cells, base64, hexadecimal, character codes, other letters for its digits.

use std::sync::LazyLock;

use regex::Regex;

use crate::talk::Message;

/// What stands in labelled columns of `corpus/schema.sql` and nowhere else, in lower case, letters and digits alone.
const CANARIES: [&str; 10] = [
    "quillfeather",
    "anemone",
    "brackenmoor",
    "thistledown",
    "vermilionpheasant",
    "kittiwake",
    "000739184",
    "739184",
    "7319426",
    "19310723",
];

/// Binary forms: salary as int4, born as days since 2000 (PostgreSQL's `date`).
const BINARY: [[u8; 4]; 2] = [7_319_426_i32.to_be_bytes(), (-24_999_i32).to_be_bytes()];

/// The canary in what a client got.
pub fn in_messages(messages: &[Message]) -> Option<String> {
    let told = messages.iter().filter(|message| !matches!(message.kind, b'S' | b'K' | b'Z' | b'T'));
    let all: Vec<u8> = told.flat_map(|message| message.body.iter().copied().chain([b' '])).collect();
    let binary = BINARY.iter().find(|form| all.windows(4).any(|window| window == form.as_slice()));
    let rows: Vec<Vec<Option<&[u8]>>> = messages.iter().map(Message::cells).filter(|cells| !cells.is_empty()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let join = |cells: &mut dyn Iterator<Item = &Option<&[u8]>>| {
        cells.flatten().flat_map(|cell| cell.iter().copied().chain([b' '])).collect::<Vec<u8>>()
    };
    let by_column = (0..columns).map(|column| join(&mut rows.iter().filter_map(|row| row.get(column))));
    let by_row = join(&mut rows.iter().flatten());
    let text = [all, by_row].into_iter().chain(by_column).find_map(|bytes| in_bytes(&bytes));
    text.or_else(|| binary.map(|form| format!("{form:?} in binary")))
}

/// The canary in a line of the record. Times, counts and digests make any short number sooner or later: a number is
/// looked for as it stands.
pub fn in_record(line: &str) -> Option<String> {
    static RANDOM: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:[0-9a-f]{32}|[0-9a-f]{64})\b").unwrap());
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:000-73-9184|7319426|1931-07-23)\b").unwrap());
    let line = RANDOM.replace_all(line, "-");
    let is_word = |found: &String| !found.bytes().all(|byte| byte.is_ascii_digit()) || found.starts_with("000");
    let number = || NUMBER.find(&line).map(|found| found.as_str().to_owned());
    in_bytes(line.as_bytes()).filter(is_word).or_else(number)
}

/// The canary in a text of any kind.
pub fn in_bytes(bytes: &[u8]) -> Option<String> {
    static SESSION: LazyLock<regex::bytes::Regex> =
        LazyLock::new(|| regex::bytes::Regex::new("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").unwrap());
    let bytes = &*SESSION.replace_all(bytes, &b"-"[..]);
    let views = [
        letters(bytes.iter().copied()),
        // Messages hold lengths between the cells: a value that is split over cells stands between them.
        letters(bytes.iter().copied().filter(|byte| byte.is_ascii_graphic())),
        decoded(bytes, 4, from_base64),
        decoded(bytes, 2, from_hex),
        from_codes(bytes),
        letters(bytes.iter().map(|byte| if (b'a'..=b'j').contains(byte) { byte - b'a' + b'0' } else { *byte })),
    ];
    let backwards = |canary: &str| canary.chars().rev().collect::<String>();
    let stands = |view: &String, canary: &str| view.contains(canary) || view.contains(&backwards(canary));
    let found = CANARIES.iter().find(|canary| views.iter().any(|view| stands(view, canary)));
    found.map(|canary| (*canary).to_owned())
}

/// Letters and digits, in lower case.
fn letters(bytes: impl Iterator<Item = u8>) -> String {
    bytes.filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// What runs of at least eight characters of a code mean, from each place where one may begin.
fn decoded(bytes: &[u8], places: usize, decode: fn(&[u8]) -> Vec<u8>) -> String {
    let is_code = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let joined: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
    let runs = joined.split(|byte| !is_code(byte)).filter(|run| run.len() >= 8);
    let from_each = runs.flat_map(|run| (0..places).map(move |place| decode(&run[place..])));
    from_each.map(|bytes| letters(bytes.into_iter()) + " ").collect()
}

fn from_base64(run: &[u8]) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(value(*byte)));
        (bits << (6 * (4 - group.len()))).to_be_bytes()[1..].to_vec()
    };
    run.chunks(4).flat_map(group).collect()
}

fn from_hex(run: &[u8]) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    run.chunks(2).map(|chunk| pair(chunk).unwrap_or(b' ')).collect()
}

/// The numbers of a text, taken for codes of characters.
fn from_codes(bytes: &[u8]) -> String {
    let numbers = bytes.split(|byte| !byte.is_ascii_digit()).filter(|run| !run.is_empty());
    letters(numbers.filter_map(|run| std::str::from_utf8(run).ok()?.parse().ok()))
}

#[test]
fn a_value_is_known_in_every_form_and_nothing_else_is() {
    for shown in [
        "Quillfeather.Anemone@",
        "REHTAEFLLIUQ",
        "q u i l l f e a t h e r",
        "{q,u,i,l,l,f,e,a,t,h,e,r}",
        "x cXVpbGxmZWF0aGVy x",
        "xcXVpbGxmZWF0aGVyLmFuZW1vbmU=",
        r"\x7175696c6c66656174686572",
        "0007175696C6C66656174686572",
        "113 117 105 108 108 102 101 97 116 104 101 114",
        "000-73-9184",
        "aaa-hd-jbie",
        "1931-07-23",
        "7,319,426",
    ] {
        assert!(in_bytes(shown.as_bytes()).is_some(), "{shown}");
    }
    let cells = |cells: &[&str]| {
        let one = |cell: &&str| [&u32::try_from(cell.len()).unwrap().to_be_bytes()[..], cell.as_bytes()].concat();
        let body = [vec![0, 0], cells.iter().flat_map(one).collect()].concat();
        Message { kind: b'D', body }
    };
    let down = [cells(&["1", "kitti"]), cells(&["2", "wake"])];
    assert!(in_messages(&down).is_some(), "over rows");
    for harmless in ["[ssn•••]", "q•••@example.org", "1970-01-01", "permission denied for table customers"]
    {
        assert_eq!(in_bytes(harmless.as_bytes()), None, "{harmless}");
    }
}
