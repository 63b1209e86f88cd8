//! Encodings of several bytes for a character.
//!
//! In: bytes or a character. Out: the text, or the bytes. The tables are those of the WHATWG (crate encoding_rs), where they
//! are the servers'; the sequences on which they differ are listed here, and have no character. A test asks the servers for
//! every sequence: it must never hold another character than they do.

use encoding_rs::{BIG5, EUC_JP, EUC_KR, GB18030, GBK, SHIFT_JIS};

/// How many bytes a character has, by its first.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// Two from 0x80 on.
    Two,
    /// The same, but one for half-width katakana.
    Kana,
    /// Two, three after 0x8f.
    Three,
    /// Two, four where the second is a digit.
    Four,
}

/// One such encoding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Multi {
    /// As servers report it.
    pub(super) name: &'static str,
    tables: &'static encoding_rs::Encoding,
    length: Length,
    /// No byte of a character but its first is less.
    least: u8,
    /// Sequences on which a server says otherwise, as numbers, first and last.
    disputed: &'static [(u32, u32)],
    /// Characters of the tables for which the servers have others.
    others: &'static [(char, char)],
}

const fn two(name: &'static str, tables: &'static encoding_rs::Encoding, least: u8) -> Multi {
    Multi { name, tables, length: Length::Two, least, disputed: &[], others: &[] }
}

/// All.
pub(super) const ALL: [Multi; 8] = [
    Multi { length: Length::Kana, ..two("SJIS", SHIFT_JIS, 0x40) },
    Multi {
        disputed: &[
            (0xa145, 0xa145),
            (0xa14e, 0xa14e),
            (0xa15a, 0xa15a),
            (0xa1c2, 0xa1c3),
            (0xa1c5, 0xa1c5),
            (0xa1e3, 0xa1e3),
            (0xa1f2, 0xa1f3),
            (0xa1fe, 0xa1fe),
            (0xa240, 0xa242),
            (0xa244, 0xa244),
            (0xa246, 0xa247),
            (0xa2cc, 0xa2cc),
            (0xa2ce, 0xa2ce),
            (0xc6a1, 0xc6fe),
            (0xc740, 0xc8fe),
            (0xf9e9, 0xf9eb),
            (0xf9f9, 0xf9f9),
        ],
        ..two("BIG5", BIG5, 0x40)
    },
    two("GBK", GBK, 0x40),
    two("UHC", EUC_KR, 0x41),
    Multi {
        length: Length::Four,
        disputed: &[
            (0xa3a0, 0xa3a0),
            (0xa6d9, 0xa6df),
            (0xa6ec, 0xa6ed),
            (0xa6f3, 0xa6f3),
            (0xa8bc, 0xa8bc),
            (0xfe59, 0xfe59),
            (0xfe61, 0xfe61),
            (0xfe66, 0xfe67),
            (0xfe6c, 0xfe6d),
            (0xfe76, 0xfe76),
            (0xfe7e, 0xfe7e),
            (0xfe90, 0xfe90),
            (0xfea0, 0xfea0),
            (0x8135_f437, 0x8135_f437),
        ],
        ..two("GB18030", GB18030, 0x30)
    },
    Multi {
        length: Length::Three,
        disputed: &[(0x8f_a2c3, 0x8f_a2c3), (0xf5a1, 0xfefe)],
        ..two("EUC_JP", EUC_JP, 0xa1)
    },
    two("EUC_KR", EUC_KR, 0xa1),
    Multi { others: &[('\u{b7}', '\u{30fb}'), ('\u{2014}', '\u{2015}')], ..two("EUC_CN", GBK, 0xa1) },
];

impl Multi {
    pub(super) fn decode(&self, bytes: &[u8]) -> Option<String> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let (one, after) = rest.split_at_checked(if first.is_ascii() { 1 } else { self.whole(rest)? })?;
            let [_, others @ ..] = one else { return None };
            if others.iter().any(|byte| *byte < self.least) || self.is_disputed(one) {
                return None;
            }
            rest = after;
        }
        let text = self.tables.decode_without_bom_handling_and_without_replacement(bytes)?;
        Some(if self.others.is_empty() {
            text.into_owned()
        } else {
            text.chars().map(|one| self.at_servers(one)).collect()
        })
    }

    /// A character at a time, U+FFFD for each byte of what has none.
    pub(super) fn decode_lossy(&self, bytes: &[u8]) -> String {
        let mut out = String::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            let length = if first.is_ascii() { Some(1) } else { self.whole(rest) };
            let found = length.and_then(|length| rest.split_at_checked(length));
            match found.and_then(|(one, after)| Some((self.decode(one)?, after))) {
                Some((text, after)) => {
                    out.push_str(&text);
                    rest = after;
                }
                None => {
                    out.push(char::REPLACEMENT_CHARACTER);
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        out
    }

    /// Appends the bytes of a character, where there are some that mean it and nothing else.
    pub(super) fn put(&self, character: char, out: &mut Vec<u8>) -> bool {
        let from = self.others.iter().find(|(_, theirs)| *theirs == character).map_or(character, |(ours, _)| *ours);
        let mut buffer = [0; 4];
        let text = from.encode_utf8(&mut buffer);
        let (bytes, _, lacks) = self.tables.encode(text);
        let means_it = || self.decode(&bytes).is_some_and(|text| text.chars().eq([character]));
        let is_there = !lacks && means_it();
        if is_there {
            out.extend_from_slice(&bytes);
        }
        is_there
    }

    /// The length of the character that begins here.
    fn whole(&self, bytes: &[u8]) -> Option<usize> {
        Some(match (self.length, bytes.first()?) {
            (Length::Kana, 0xa1..=0xdf) => 1,
            (Length::Three, 0x8f) => 3,
            (Length::Four, _) if bytes.get(1)?.is_ascii_digit() => 4,
            _ => 2,
        })
    }

    fn is_disputed(&self, one: &[u8]) -> bool {
        let number = one.iter().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        self.disputed.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn at_servers(&self, character: char) -> char {
        self.others.iter().find(|(ours, _)| *ours == character).map_or(character, |(_, theirs)| *theirs)
    }
}
