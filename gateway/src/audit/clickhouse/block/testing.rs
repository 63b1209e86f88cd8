//! A block read back, by another reading of the format than the one that wrote it.
//!
//! In: a block. Out: its rows, each with what is no default of its column, as text and numbers. It errs by a panic.

use std::net::Ipv6Addr;

use serde_json::{Map, Value, json};

use super::super::row::Batch;
use super::Block;
use crate::audit::time::Timestamp;

/// The rows of `events`.
pub(in super::super) fn events(batch: Batch) -> Vec<Value> {
    rows(batch.events)
}

/// Those of `sessions`.
pub(in super::super) fn sessions(batch: Batch) -> Vec<Value> {
    rows(batch.sessions)
}

fn rows(block: Block) -> Vec<Value> {
    let Some((names, bytes)) = block.finish() else { return Vec::new() };
    let mut rest = Rest(&bytes);
    let (columns, rows) = (rest.length(), rest.length());
    assert_eq!(columns, names.len());
    let mut read = vec![Map::new(); rows];
    for expected in names {
        let (name, kind) = (rest.text(), rest.text());
        assert_eq!(name, expected);
        for (row, value) in read.iter_mut().zip(rest.column(&kind, rows)) {
            let value = if name == "facts" { serde_json::from_str(value.as_str().unwrap()).unwrap() } else { value };
            if !is_default(&value) {
                row.insert(name.clone(), value);
            }
        }
    }
    assert!(rest.0.is_empty(), "bytes behind the last column");
    read.into_iter().map(Value::Object).collect()
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "::" || text == "00000000-0000-0000-0000-000000000000",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        other => *other == json!(0),
    }
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }

    fn length(&mut self) -> usize {
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)[0];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return length;
            }
        }
    }

    fn text(&mut self) -> String {
        let length = self.length();
        String::from_utf8(self.take(length)).unwrap()
    }

    fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn time(&mut self) -> Value {
        let text = String::from_utf8(Timestamp::from_micros(self.number()).to_text().to_vec()).unwrap();
        text.trim_end_matches('Z').replace('T', " ").into()
    }

    fn column(&mut self, kind: &str, rows: usize) -> Vec<Value> {
        let all = 0..rows;
        match kind {
            "String" => all.map(|_| self.text().into()).collect(),
            "UInt64" => all.map(|_| self.number().into()).collect(),
            "DateTime64(6, 'UTC')" => all.map(|_| self.time()).collect(),
            "Nullable(DateTime64(6, 'UTC'))" => {
                let nulls = self.take(rows);
                nulls.iter().map(|null| Some(self.time()).filter(|_| *null == 0).into()).collect()
            }
            "UUID" => all.map(|_| uuid::Uuid::from_u64_pair(self.number(), self.number()).to_string().into()).collect(),
            "IPv6" => {
                all.map(|_| Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)).unwrap()).to_string().into()).collect()
            }
            "Array(String)" => {
                let counts = self.counts(rows);
                counts.into_iter().map(|count| (0..count).map(|_| Value::from(self.text())).collect()).collect()
            }
            "Map(String, UInt64)" => {
                let counts = self.counts(rows);
                let keys: Vec<Vec<String>> =
                    counts.into_iter().map(|count| (0..count).map(|_| self.text()).collect()).collect();
                let mut row = |keys: Vec<String>| keys.into_iter().map(|key| (key, self.number().into())).collect();
                keys.into_iter().map(|keys| Value::Object(row(keys))).collect()
            }
            other => panic!("no type of ours: {other}"),
        }
    }

    /// How many items each row has.
    fn counts(&mut self, rows: usize) -> Vec<usize> {
        let mut before = 0;
        let ends = (0..rows).map(|_| usize::try_from(self.number()).unwrap()).collect::<Vec<_>>();
        ends.into_iter().map(|end| end - std::mem::replace(&mut before, end)).collect()
    }
}
