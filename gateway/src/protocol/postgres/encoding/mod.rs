//! `client_encoding`: which characters the bytes of a session's texts are.
//!
//! In: the name of an encoding; bytes or text. Out: the text of the bytes exactly as every server has it, or none; and the
//! bytes of a text. It must never guess: a sequence that a server takes for another character than we would has none here.

mod multi;
mod speech;
mod tables;
mod wire;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem;

use crate::masking::class::{MARK, PLAIN_MARK};
use multi::Multi;

pub use speech::{Speech, Wanted};
pub(super) use wire::{in_encoding, in_utf8, text_in_utf8};

/// One encoding, by the name that a server reports.
#[derive(Debug)]
pub struct Encoding {
    name: &'static str,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Utf8,
    /// Nothing beyond ASCII is known.
    Ascii,
    /// The characters of 0x80 to 0xff.
    Single(Box<[char; 128]>),
    Multi(Multi),
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Encoding {}

/// What every session has that asks for no other.
pub static UTF8: Encoding = Encoding { name: "UTF8", form: Form::Utf8 };

/// For what comes while nobody knows in which encoding: every encoding of PostgreSQL has ASCII as its own.
pub(super) static UNKNOWN: Encoding = Encoding { name: "unknown", form: Form::Ascii };

static OTHERS: LazyLock<Vec<Encoding>> = LazyLock::new(|| {
    let single = |(name, chart): &(&'static str, &str)| {
        // Where a chart begins at 0xa0, the bytes before are control characters of the same number.
        let controls = ('\u{80}'..='\u{9f}').filter(|_| chart.chars().count() < 128);
        let mut high = Box::new([char::REPLACEMENT_CHARACTER; 128]);
        high.iter_mut().zip(controls.chain(chart.chars())).for_each(|(to, from)| *to = from);
        Encoding { name, form: Form::Single(high) }
    };
    let multi = |one: &Multi| Encoding { name: one.name, form: Form::Multi(*one) };
    tables::CHARTS.iter().map(single).chain(multi::ALL.iter().map(multi)).collect()
});

/// The names of all that are served.
pub fn names() -> impl Iterator<Item = &'static str> {
    std::iter::once(UTF8.name).chain(OTHERS.iter().map(|encoding| encoding.name))
}

impl Encoding {
    /// The encoding of a name in any spelling that a server takes, where it is served.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        let name = canonical(name)?;
        if name == UTF8.name { Some(&UTF8) } else { OTHERS.iter().find(|encoding| encoding.name == name) }
    }

    /// As servers report it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is UTF8, of which nothing has to be converted.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        matches!(self.form, Form::Utf8)
    }

    /// The text of these bytes; none where a server might have another, or none.
    #[must_use]
    pub fn decode<'b>(&self, bytes: &'b [u8]) -> Option<Cow<'b, str>> {
        if self.is_utf8() || bytes.is_ascii() {
            return std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
        }
        match &self.form {
            Form::Single(high) => {
                let character =
                    |byte: &u8| Some(of_byte(*byte, high)).filter(|one| *one != char::REPLACEMENT_CHARACTER);
                bytes.iter().map(character).collect::<Option<String>>().map(Cow::Owned)
            }
            Form::Multi(multi) => multi.decode(bytes).map(Cow::Owned),
            Form::Utf8 | Form::Ascii => None,
        }
    }

    /// The same with U+FFFD for what has no character.
    #[must_use]
    pub fn decode_lossy<'b>(&self, bytes: &'b [u8]) -> Cow<'b, str> {
        if let Some(text) = self.decode(bytes) {
            return text;
        }
        let unknown = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
        match &self.form {
            Form::Single(high) => bytes.iter().map(|byte| of_byte(*byte, high)).collect::<String>().into(),
            Form::Multi(multi) => multi.decode_lossy(bytes).into(),
            Form::Utf8 => String::from_utf8_lossy(bytes),
            Form::Ascii => bytes.iter().map(unknown).collect::<String>().into(),
        }
    }

    /// The bytes of a text; none where a character of it has none.
    #[must_use]
    pub fn encode(&self, text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len());
        text.chars().all(|character| self.put(character, &mut out)).then_some(out)
    }

    /// The bytes of a text that we write ourselves: masks have the form that every encoding has, and `?` stands for what it lacks.
    #[must_use]
    pub fn encode_ours(&self, text: &str) -> Vec<u8> {
        if self.is_utf8() {
            return text.as_bytes().to_vec();
        }
        let mut out = Vec::with_capacity(text.len());
        for character in text.replace(MARK, PLAIN_MARK).chars() {
            if !self.put(character, &mut out) {
                out.push(b'?');
            }
        }
        out
    }

    /// The bytes of SQL that we write ourselves, masks in the form that every encoding has.
    #[must_use]
    pub fn encode_sql(&self, text: &str) -> Option<Vec<u8>> {
        if self.is_utf8() { Some(text.as_bytes().to_vec()) } else { self.encode(&text.replace(MARK, PLAIN_MARK)) }
    }

    /// A mask of a session in UTF8 in these bytes; none where it has no bullet, or is UTF8.
    #[must_use]
    pub fn mark(&self) -> Option<Vec<u8>> {
        if self.is_utf8() { None } else { self.encode(MARK) }
    }

    /// Whether bytes that are no text hold such a mask.
    #[must_use]
    pub fn holds_mark(&self, bytes: &[u8]) -> bool {
        self.mark().is_some_and(|mark| memmem::find(bytes, &mark).is_some())
    }

    fn put(&self, character: char, out: &mut Vec<u8>) -> bool {
        if character.is_ascii() || self.is_utf8() {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return true;
        }
        if character == char::REPLACEMENT_CHARACTER {
            return false;
        }
        match &self.form {
            Form::Single(high) => {
                let place = (0x80_u8..=0xff).zip(high.iter()).find(|(_, one)| **one == character);
                out.extend(place.map(|(byte, _)| byte));
                place.is_some()
            }
            Form::Multi(multi) => multi.put(character, out),
            Form::Utf8 | Form::Ascii => false,
        }
    }
}

fn of_byte(byte: u8, high: &[char; 128]) -> char {
    match high.get(usize::from(byte).wrapping_sub(128)) {
        Some(character) => *character,
        None => char::from(byte),
    }
}

/// The name that a server reports for one that it takes: letters and digits count, case does not (`pg_encname_tbl`, encnames.c).
fn canonical(name: &str) -> Option<&'static str> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let name = match letters.as_str() {
        "unicode" => "utf8",
        "abc" | "tcvn" | "tcvn5712" | "vscii" => "win1258",
        "alt" => "win866",
        "win" => "win1251",
        "koi8" => "koi8r",
        "mskanji" | "shiftjis" | "win932" | "windows932" => "sjis",
        "win936" | "windows936" => "gbk",
        "win949" | "windows949" => "uhc",
        "win950" | "windows950" => "big5",
        "iso88591" => "latin1",
        "iso88592" => "latin2",
        "iso88593" => "latin3",
        "iso88594" => "latin4",
        "iso88599" => "latin5",
        "iso885910" => "latin6",
        "iso885913" => "latin7",
        "iso885914" => "latin8",
        "iso885915" => "latin9",
        "iso885916" => "latin10",
        other => other,
    };
    let name = match name.strip_prefix("windows") {
        Some(number) => format!("win{number}"),
        None => name.to_owned(),
    };
    let plain = |known: &str| known.replace('_', "").eq_ignore_ascii_case(&name);
    names().find(|known| plain(known))
}
