//! Masks per type: what stands for a value in the text and binary formats of Postgres.
//!
//! In: one value as it is on the wire, its type, format, and either a class or what the detectors find. Out: a value of
//! the same type in the same format, or NULL where the type has none that says nothing. What is not a text, and holds
//! one, is never patched where that could break it: it becomes NULL.

mod binary;
mod in_sql;
mod json;
mod time;
#[cfg(test)]
mod tests;

use crate::masking::class::{Class, Show};
use crate::masking::detect::{DetectorSet, Detectors, Hit};

#[cfg(test)]
pub(super) use binary::put_value;
pub(super) use binary::{holds_any, split_value};
pub(super) use in_sql::{identifier, in_sql};

/// How values are written (PostgreSQL documentation, "Formats and Format Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As the type's output function writes it.
    Text,
    /// As its send function does.
    Binary,
}

impl Format {
    /// The format of a code.
    pub(super) fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }
}

/// What a type is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its text is the value, in both formats.
    Text,
    Json,
    Jsonb,
    Xml,
    Bytea,
    /// A number: zero masks it. In binary it has so many bytes.
    Number(usize),
    /// A point in time: 1970 masks it.
    Time(time::Clock),
    /// Nil masks it.
    Uuid,
    /// No text in it, and no value that says nothing.
    Plain,
    /// An array of texts.
    TextArray,
    /// Other arrays, composites, ranges, and types that nobody told us of: they may hold texts, and what else.
    Compound,
}

impl Kind {
    /// Whether a mask of such a value carries the mark by which it is known again.
    pub(super) fn keeps_marks(self) -> bool {
        matches!(self, Self::Text | Self::Json | Self::Jsonb | Self::Xml | Self::Bytea)
    }

    /// The kind of a type by its object id, which is fixed for built-in types (`pg_type.dat`).
    pub(super) fn of(oid: u32) -> Self {
        match oid {
            // text, varchar, bpchar, name, unknown, cstring, refcursor
            25 | 1043 | 1042 | 19 | 705 | 2275 | 1790 => Self::Text,
            // arrays of text, varchar, bpchar, name, cstring
            1009 | 1015 | 1014 | 1003 | 1263 => Self::TextArray,
            114 => Self::Json,
            3802 => Self::Jsonb,
            142 => Self::Xml,
            17 => Self::Bytea,
            // int2; int4, oid, float4; int8, float8; numeric, of which 0 is a header alone
            21 => Self::Number(2),
            23 | 26 | 700 => Self::Number(4),
            20 | 701 | 1700 => Self::Number(8),
            1082 => Self::Time(time::Clock::Date),
            1083 => Self::Time(time::Clock::Time),
            1114 => Self::Time(time::Clock::Timestamp),
            1184 => Self::Time(time::Clock::Timestamptz),
            2950 => Self::Uuid,
            // bool, "char", int2vector, tid, xid, cid, oidvector, money, macaddr, macaddr8, inet, cidr, timetz, interval
            16 | 18 | 22 | 27 | 28 | 29 | 30 | 790 | 829 | 774 | 869 | 650 | 1266 | 1186
            // point, lseg, path, box, polygon, line, circle; bit, varbit; pg_lsn, txid_snapshot, pg_snapshot, xid8, void
            | 600..=604 | 628 | 718 | 1560 | 1562 | 3220 | 2970 | 5038 | 5069 | 2278
            // arrays of bool, int2, int4, oid, int8, float4, float8, numeric, money
            | 1000 | 1005 | 1007 | 1028 | 1016 | 1021 | 1022 | 1231 | 791
            // arrays of date, time, timestamp, timestamptz, timetz, interval, uuid, inet, cidr, macaddr, macaddr8
            | 1182 | 1183 | 1115 | 1185 | 1270 | 1187 | 2951 | 1041 | 651 | 1040 | 775
            // ranges and multiranges of int4, numeric, timestamp, timestamptz, date, int8
            | 3904 | 3906 | 3908 | 3910 | 3912 | 3926 | 4451 | 4532 | 4533 | 4534 | 4535 | 4536 => Self::Plain,
            _ => Self::Compound,
        }
    }
}

/// Appends what stands for a value of a class. False: nothing was appended, it becomes NULL.
#[must_use]
pub(super) fn mask(value: &[u8], kind: Kind, format: Format, class: &Class, out: &mut Vec<u8>) -> bool {
    if matches!(class.show, Show::Null) {
        return false;
    }
    match kind {
        Kind::Text => class.write_text(value, out),
        Kind::Json | Kind::Jsonb => write_json(json_text(value, kind, format), kind, format, class, out),
        Kind::Xml => write_xml(value, class, out),
        Kind::Bytea => write_bytea(value, format, class, out),
        Kind::Number(size) => match format {
            Format::Text => out.push(b'0'),
            Format::Binary => out.resize(out.len() + size, 0),
        },
        Kind::Time(clock) => clock.write(value, format, matches!(class.show, Show::Year), out),
        Kind::Uuid => match format {
            Format::Text => out.extend_from_slice(b"00000000-0000-0000-0000-000000000000"),
            Format::Binary => out.resize(out.len() + 16, 0),
        },
        Kind::Plain | Kind::TextArray | Kind::Compound => return false,
    }
    true
}

/// What became of a value that was searched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Searched {
    /// It stays as it is.
    Clean,
    /// This stands for it.
    Replaced(Vec<u8>),
    /// It cannot be shown in part.
    Null,
}

/// Searches a value, and masks what is found in it.
pub(super) fn search(value: &[u8], kind: Kind, format: Format, detectors: &Detectors, except: DetectorSet) -> Searched {
    let text = match kind {
        Kind::Number(_) | Kind::Time(_) | Kind::Uuid | Kind::Plain => return Searched::Clean,
        Kind::TextArray if format == Format::Binary => return binary::search_array(value, detectors, except),
        Kind::Compound if format == Format::Binary => {
            return if binary::holds_any(value, detectors, except) { Searched::Null } else { Searched::Clean };
        }
        Kind::Bytea => return search_bytea(value, format, detectors, except),
        Kind::Jsonb if format == Format::Binary => match value.split_first() {
            Some((1, text)) => text,
            // An unknown version (jsonb_recv knows 1 alone): not ours to patch.
            _ if detectors.find(value, except).is_empty() => return Searched::Clean,
            _ => return Searched::Null,
        },
        Kind::Text | Kind::Json | Kind::Jsonb | Kind::Xml | Kind::TextArray | Kind::Compound => value,
    };
    let hits = detectors.find(text, except);
    let Some(first) = hits.first() else { return Searched::Clean };
    let Some(class) = detectors.detector(first.detector).map(|detector| &detector.class) else { return Searched::Null };
    let mut out = Vec::with_capacity(value.len() + 16);
    match kind {
        Kind::Json | Kind::Jsonb => {
            out.extend_from_slice(value.get(..value.len() - text.len()).unwrap_or_default());
            if !json::replace(text, &hits, detectors, &mut out) {
                out.clear();
                write_json(&[], kind, format, &redacted(class), &mut out);
            }
        }
        Kind::Xml if hits.iter().any(|hit| has_any(text, hit, b"<>&")) => class.write_redacted(&mut out),
        // What is found may be a part of a number, or of a document in it.
        Kind::Compound => return Searched::Null,
        Kind::TextArray if hits.iter().any(|hit| has_any(text, hit, b"\"\\{},")) => return Searched::Null,
        _ => replace(text, &hits, detectors, kind == Kind::Text, &mut out),
    }
    Searched::Replaced(out)
}

/// A text with its hits masked. In a text that has a syntax, a mask that could be part of it is redacted.
pub(super) fn replace(text: &[u8], hits: &[Hit], detectors: &Detectors, is_plain: bool, out: &mut Vec<u8>) {
    let mut copied = 0;
    for hit in hits {
        out.extend_from_slice(text.get(copied..hit.range.start).unwrap_or_default());
        let from = out.len();
        if let Some(detector) = detectors.detector(hit.detector) {
            detector.class.write_text(text.get(hit.range.clone()).unwrap_or_default(), out);
            let written = out.get(from..).unwrap_or_default();
            if !is_plain && written.iter().any(|byte| b"\"\\(){},<>&".contains(byte)) {
                out.truncate(from);
                detector.class.write_redacted(out);
            }
        }
        copied = hit.range.end;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

fn has_any(text: &[u8], hit: &Hit, marks: &[u8]) -> bool {
    text.get(hit.range.clone()).unwrap_or_default().iter().any(|byte| marks.contains(byte))
}

fn redacted(class: &Class) -> Class {
    Class { show: Show::Redact, ..class.clone() }
}

/// A document without the version byte of jsonb_send, so that equal documents have equal hashes in both formats.
fn json_text(value: &[u8], kind: Kind, format: Format) -> &[u8] {
    let is_versioned = kind == Kind::Jsonb && format == Format::Binary;
    value.get(usize::from(is_versioned)..).unwrap_or_default()
}

fn write_json(value: &[u8], kind: Kind, format: Format, class: &Class, out: &mut Vec<u8>) {
    if kind == Kind::Jsonb && format == Format::Binary {
        // The version byte of jsonb_send.
        out.push(1);
    }
    let mut text = Vec::new();
    match class.show {
        Show::Hash { .. } | Show::Fixed(_) => class.write_text(value, &mut text),
        // Characters of a document are no part of a value.
        Show::Redact | Show::Partial(_) | Show::Null | Show::Year => class.write_redacted(&mut text),
    }
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn write_xml(value: &[u8], class: &Class, out: &mut Vec<u8>) {
    match &class.show {
        Show::Hash { .. } => class.write_text(value, out),
        Show::Fixed(text) if !text.contains(['<', '>', '&']) => class.write_text(value, out),
        _ => class.write_redacted(out),
    }
}

fn write_bytea(value: &[u8], format: Format, class: &Class, out: &mut Vec<u8>) {
    let mut mask = Vec::new();
    match class.show {
        Show::Hash { .. } => match decode_bytea(value, format) {
            Some(decoded) => class.write_text(&decoded, &mut mask),
            None => class.write_text(value, &mut mask),
        },
        _ => class.write_redacted(&mut mask),
    }
    put_bytea(&mask, format, out);
}

fn search_bytea(value: &[u8], format: Format, detectors: &Detectors, except: DetectorSet) -> Searched {
    let hits = match decode_bytea(value, format) {
        Some(decoded) => detectors.find(&decoded, except),
        None => detectors.find(value, except),
    };
    let Some(detector) = hits.first().and_then(|hit| detectors.detector(hit.detector)) else { return Searched::Clean };
    let (mut mask, mut out) = (Vec::new(), Vec::new());
    detector.class.write_redacted(&mut mask);
    put_bytea(&mask, format, &mut out);
    Searched::Replaced(out)
}

/// The bytes of a value in the `hex` output; none in binary, and in the older `escape` output.
fn decode_bytea(value: &[u8], format: Format) -> Option<Vec<u8>> {
    let digits = value.strip_prefix(b"\\x").filter(|_| format == Format::Text)?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(pair.first().and_then(digit)? << 4 | pair.get(1).and_then(digit)?);
    digits.chunks(2).map(byte).collect()
}

/// Writes bytes, in text as `hex` whatever the session's `bytea_output`: clients read both, and the form does not tell
/// whether there was a value.
fn put_bytea(bytes: &[u8], format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Binary => out.extend_from_slice(bytes),
        Format::Text => {
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().as_bytes());
        }
    }
}
