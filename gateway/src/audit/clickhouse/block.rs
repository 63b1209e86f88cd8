//! Rows as ClickHouse stores them: a column after the other.
//!
//! In: rows, field by field. Out: one block of ClickHouse's format Native, with the names of the columns that any of the
//! rows has. The server takes a block in as it is, where it would have to read text a byte at a time. A type here may be
//! a plainer one than the table's, which the server turns into its own. It never leaves two columns of different length.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use super::fields::Shape;
use crate::audit::time::Timestamp;
use crate::id::JournalId;

/// What stands in a row without facts: the empty text is no JSON.
const NO_FACTS: &str = "{}";

/// Rows of one table.
#[derive(Debug, Default)]
pub(super) struct Block {
    columns: BTreeMap<&'static str, Column>,
    rows: u64,
}

/// How a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Texts,
    Number,
    Counts,
    /// Microseconds since 1970.
    Time,
    /// The same, or none.
    MaybeTime,
    Id,
    Address,
    /// JSON as text.
    Facts,
}

#[derive(Debug)]
struct Column {
    kind: Kind,
    /// So many rows have a value here, from the first on.
    rows: u64,
    /// Per row: whether there is none.
    nulls: Vec<u8>,
    /// Per row: how many items there are up to here.
    offsets: Vec<u8>,
    items: u64,
    /// Values, or keys.
    data: Vec<u8>,
    /// Values of the keys.
    values: Vec<u8>,
}

impl Block {
    /// Puts a field of the body into the row; false where it does not fit its column, or that has a value by now.
    pub(super) fn put(&mut self, name: &'static str, shape: Shape, value: &Value) -> bool {
        let kind = Kind::of(shape);
        match (shape, value) {
            (Shape::Text, Value::String(text)) => self.set(name, kind, |column| column.text(text)),
            (Shape::Texts, Value::Array(items)) if items.iter().all(Value::is_string) => {
                self.set(name, kind, |column| column.texts(items.iter().filter_map(Value::as_str)))
            }
            (Shape::Number, Value::Number(number)) => {
                number.as_u64().is_some_and(|number| self.set(name, kind, |column| column.number(number)))
            }
            (Shape::Counts, Value::Object(counts)) if counts.values().all(Value::is_u64) => {
                let counts = || counts.iter().filter_map(|(key, count)| Some((key.as_str(), count.as_u64()?)));
                self.set(name, kind, |column| column.counts(counts()))
            }
            (Shape::Time, Value::String(text)) => Timestamp::parse(text.as_bytes())
                .is_ok_and(|at| self.set(name, kind, |column| column.moment(at.as_micros()))),
            (Shape::Id, Value::String(text)) => {
                text.parse::<JournalId>().is_ok_and(|id| self.set(name, kind, |column| column.id(id.as_bytes())))
            }
            (Shape::Address, Value::String(text)) => {
                text.parse::<IpAddr>().is_ok_and(|address| self.set(name, kind, |column| column.address(address)))
            }
            _ => false,
        }
    }

    pub(super) fn text(&mut self, name: &'static str, text: &str) {
        self.set(name, Kind::Text, |column| column.text(text));
    }

    pub(super) fn number(&mut self, name: &'static str, number: u64) {
        self.set(name, Kind::Number, |column| column.number(number));
    }

    pub(super) fn id(&mut self, name: &'static str, id: &[u8; 16]) {
        self.set(name, Kind::Id, |column| column.id(id));
    }

    pub(super) fn time(&mut self, name: &'static str, at: Timestamp) {
        self.set(name, Kind::Time, |column| column.number(at.as_micros()));
    }

    pub(super) fn facts(&mut self, name: &'static str, facts: &Value) {
        self.set(name, Kind::Facts, |column| column.text(&facts.to_string()));
    }

    /// The row is complete: what it has no field for is the column's default.
    pub(super) fn end_row(&mut self) {
        self.rows += 1;
    }

    /// The names of the columns, and the block; none without a row.
    pub(super) fn finish(mut self) -> Option<(Vec<&'static str>, Vec<u8>)> {
        if self.rows == 0 {
            return None;
        }
        let mut bytes = Vec::new();
        push_length(&mut bytes, self.columns.len() as u64);
        push_length(&mut bytes, self.rows);
        for (name, column) in &mut self.columns {
            column.pad(self.rows);
            push_text(&mut bytes, name);
            push_text(&mut bytes, column.kind.name());
            for part in [&column.nulls, &column.offsets, &column.data, &column.values] {
                bytes.extend_from_slice(part);
            }
        }
        Some((self.columns.into_keys().collect(), bytes))
    }

    fn set(&mut self, name: &'static str, kind: Kind, write: impl FnOnce(&mut Column)) -> bool {
        let column = self.columns.entry(name).or_insert_with(|| Column::new(kind));
        // Two fields of one row for one column: the first has it.
        if column.rows > self.rows || column.kind != kind {
            return false;
        }
        column.pad(self.rows);
        write(column);
        column.rows += 1;
        true
    }
}

impl Kind {
    fn of(shape: Shape) -> Self {
        match shape {
            Shape::Text => Self::Text,
            Shape::Texts => Self::Texts,
            Shape::Number => Self::Number,
            Shape::Counts => Self::Counts,
            Shape::Time => Self::MaybeTime,
            Shape::Id => Self::Id,
            Shape::Address => Self::Address,
        }
    }

    /// ClickHouse's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Text | Self::Facts => "String",
            Self::Texts => "Array(String)",
            Self::Number => "UInt64",
            Self::Counts => "Map(String, UInt64)",
            Self::Time => "DateTime64(6, 'UTC')",
            Self::MaybeTime => "Nullable(DateTime64(6, 'UTC'))",
            Self::Id => "UUID",
            Self::Address => "IPv6",
        }
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        let empty = Vec::new;
        Self { kind, rows: 0, nulls: empty(), offsets: empty(), items: 0, data: empty(), values: empty() }
    }

    fn text(&mut self, text: &str) {
        push_text(&mut self.data, text);
    }

    fn texts<'a>(&mut self, items: impl Iterator<Item = &'a str>) {
        for item in items {
            push_text(&mut self.data, item);
            self.items += 1;
        }
        self.end_items();
    }

    fn number(&mut self, number: u64) {
        self.data.extend_from_slice(&number.to_le_bytes());
    }

    fn counts<'a>(&mut self, counts: impl Iterator<Item = (&'a str, u64)>) {
        for (key, count) in counts {
            push_text(&mut self.data, key);
            self.values.extend_from_slice(&count.to_le_bytes());
            self.items += 1;
        }
        self.end_items();
    }

    fn moment(&mut self, micros: u64) {
        self.nulls.push(0);
        self.number(micros);
    }

    /// As two numbers, the higher one first, each with its lowest byte first.
    fn id(&mut self, id: &[u8; 16]) {
        let number = u128::from_be_bytes(*id);
        self.data.extend_from_slice(&((number >> 64) as u64).to_le_bytes());
        self.data.extend_from_slice(&(number as u64).to_le_bytes());
    }

    fn address(&mut self, address: IpAddr) {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        self.data.extend_from_slice(&address.octets());
    }

    fn end_items(&mut self) {
        self.offsets.extend_from_slice(&self.items.to_le_bytes());
    }

    /// Defaults for the rows that have no value here.
    fn pad(&mut self, rows: u64) {
        for _ in self.rows..rows {
            match self.kind {
                Kind::Text => self.text(""),
                Kind::Facts => self.text(NO_FACTS),
                Kind::Number | Kind::Time => self.number(0),
                Kind::Texts | Kind::Counts => self.end_items(),
                Kind::MaybeTime => {
                    self.nulls.push(1);
                    self.number(0);
                }
                Kind::Id | Kind::Address => self.data.extend_from_slice(&[0; 16]),
            }
        }
        self.rows = self.rows.max(rows);
    }
}

/// Seven bits at a time, the lowest first.
fn push_length(out: &mut Vec<u8>, mut length: u64) {
    while length >= 0x80 {
        out.push((length as u8) | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_length(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
pub(super) mod testing;
