//! Rows that COPY … TO STDOUT sends, in the formats `text` and `csv`.
//!
//! In: the statement's options, the treatment of each column, and one CopyData at a time. Out: the row with masks, in
//! the same format. A CopyData that is not exactly one row is refused, though the protocol permits it: servers send
//! none. Rows in binary are searched as they are, and refused where something would have to be masked.

#[cfg(test)]
mod tests;

use crate::masking::Masking;
use crate::masking::detect::DetectorSet;
use crate::masking::plan::{Columns, Described, Treatment};
use crate::protocol::postgres::frame::{HEADER, body};
use crate::protocol::postgres::judge::{Pass, RewriteError};
use crate::protocol::postgres::rows::{Cell, Column};
use crate::protocol::postgres::texts::{close, malformed};
use crate::protocol::postgres::values::{Format, Kind, holds_any};

/// How rows are written: the statement's options, or their defaults (documentation of COPY).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// `text`.
    Text {
        /// Between columns, a tab by default.
        delimiter: u8,
        /// What NULL is, `\N` by default.
        null: Vec<u8>,
    },
    /// `csv`.
    Csv {
        /// Between columns, a comma by default.
        delimiter: u8,
        /// Around values, a double quote by default.
        quote: u8,
        /// Before a quote inside of them: the quote by default.
        escape: u8,
        /// What NULL is where it is not quoted, empty by default.
        null: Vec<u8>,
    },
    /// `binary`.
    Binary,
}

/// What a COPY … TO STDOUT sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyShape {
    /// How rows are written.
    pub format: CopyFormat,
    /// Whether the first row names the columns.
    pub has_header: bool,
    /// The object id of each column's type; empty: all are taken for text.
    pub types: Vec<u32>,
}

/// A COPY that runs.
#[derive(Debug)]
pub(super) struct CopyRows {
    format: CopyFormat,
    awaits_header: bool,
    columns: Vec<Column>,
    masks: bool,
}

fn refused(reason: &str) -> RewriteError {
    RewriteError { reason: reason.to_owned() }
}

impl CopyRows {
    /// From the CopyOutResponse.
    pub(super) fn begin(message: &[u8], shape: &CopyShape, plan: &Columns) -> Result<Self, RewriteError> {
        let response = || malformed("CopyOutResponse");
        let (&[format, high, low], codes) = body(message).split_first_chunk::<3>().ok_or_else(response)?;
        let count = usize::from(u16::from_be_bytes([high, low]));
        if codes.len() != count * 2 {
            return Err(response());
        }
        let is_binary = match format {
            0 => false,
            1 => true,
            _ => return Err(response()),
        };
        if is_binary != (shape.format == CopyFormat::Binary) || !(shape.types.is_empty() || shape.types.len() == count)
        {
            return Err(refused("the server's COPY is not the one that was planned"));
        }
        let column = |(index, treatment)| {
            let kind = shape.types.get(index).map_or(Kind::Text, |oid| Kind::of(*oid));
            Column { kind, format: Format::Text, treatment, hidden: 0 }
        };
        let treatments = plan.treatments(Described::Count(count));
        let treatments = treatments.ok_or_else(|| refused("the COPY has other columns than were planned"))?;
        let columns: Vec<_> = treatments.into_iter().enumerate().map(column).collect();
        let masks = columns.iter().any(|column| column.treatment.class().is_some());
        if is_binary && masks {
            return Err(refused("COPY in binary of masked columns: use the format `text` or `csv`"));
        }
        Ok(Self { format: shape.format.clone(), awaits_header: shape.has_header, columns, masks })
    }

    /// One CopyData.
    pub(super) fn row(&mut self, message: &[u8], masking: &Masking, out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let row = body(message);
        let start = out.len();
        if std::mem::take(&mut self.awaits_header) {
            return Ok(Pass::Forward);
        }
        let may_hold = || {
            let searches = |column: &Column| matches!(column.treatment, Treatment::Detect(_));
            self.columns.iter().any(searches) && masking.detectors.may_hold(row)
        };
        if self.is_binary() {
            if may_hold() {
                self.search(row, masking)?;
            }
            return Ok(Pass::Forward);
        }
        // Escapes hide values from a search of the whole row.
        if !self.masks && !row.contains(&b'\\') && !may_hold() {
            return Ok(Pass::Forward);
        }
        out.extend_from_slice(message.get(..HEADER).unwrap_or_default());
        self.write_columns(row, masking, out)?;
        close(start, out).map(|()| Pass::Replaced)
    }

    /// Whether it is in the format `binary`.
    pub(super) fn is_binary(&self) -> bool {
        self.format == CopyFormat::Binary
    }

    /// Whether one of these bytes has a meaning between the values or around them.
    pub(super) fn is_cut_by(&self, bytes: &[u8]) -> bool {
        match &self.format {
            CopyFormat::Text { delimiter, .. } => bytes.contains(delimiter),
            CopyFormat::Csv { delimiter, quote, escape, .. } => {
                [delimiter, quote, escape].iter().any(|one| bytes.contains(one))
            }
            CopyFormat::Binary => false,
        }
    }

    /// Searches a row in binary.
    pub(super) fn search(&self, row: &[u8], masking: &Masking) -> Result<(), RewriteError> {
        if holds_any(row, &masking.detectors, DetectorSet::default()) {
            return Err(refused("COPY in binary holds a value that is masked: use the format `text` or `csv`"));
        }
        Ok(())
    }

    /// Its columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter()
    }

    fn write_columns(&mut self, row: &[u8], masking: &Masking, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let line = row.strip_suffix(b"\n").ok_or_else(|| refused("a CopyData that does not end with its row"))?;
        let (line, end) = line.strip_suffix(b"\r").map_or((line, &b"\n"[..]), |line| (line, b"\r\n"));
        let (delimiter, null) = match &self.format {
            CopyFormat::Text { delimiter, null } | CopyFormat::Csv { delimiter, null, .. } => (*delimiter, null),
            CopyFormat::Binary => return Err(refused("a row in binary")),
        };
        let mut rest = Some(line);
        let mut hidden = Vec::new();
        for (index, column) in self.columns.iter().enumerate() {
            let from = rest.ok_or_else(|| refused("a COPY row with too few columns"))?;
            let (raw, after) = self.split(from, delimiter)?;
            rest = after;
            if index > 0 {
                out.push(delimiter);
            }
            let value = if raw == null.as_slice() { None } else { Some(self.decode(raw)) };
            match column.rewrite(value.as_deref(), masking) {
                Cell::Same => {
                    out.extend_from_slice(raw);
                    continue;
                }
                Cell::Null => out.extend_from_slice(null),
                Cell::New(value) => self.encode(&value, out),
            }
            hidden.push(index);
        }
        for index in hidden {
            if let Some(column) = self.columns.get_mut(index) {
                column.hidden += 1;
            }
        }
        let is_over = if self.columns.is_empty() { line.is_empty() } else { rest.is_none() };
        out.extend_from_slice(end);
        if is_over { Ok(()) } else { Err(refused("a COPY row with too many columns")) }
    }

    /// The first column as it is written, and what follows its delimiter.
    fn split<'r>(&self, row: &'r [u8], delimiter: u8) -> Result<(&'r [u8], Option<&'r [u8]>), RewriteError> {
        let mut at = 0;
        let mut quoted = false;
        while let Some(byte) = row.get(at) {
            match &self.format {
                CopyFormat::Text { .. } if *byte == b'\\' => at += 1,
                // Escapes a quote or itself; before anything else it is a character.
                CopyFormat::Csv { quote, escape, .. } if quoted && byte == escape && escape != quote => {
                    let escapes = row.get(at + 1).is_some_and(|next| next == quote || next == escape);
                    at += usize::from(escapes);
                }
                CopyFormat::Csv { quote, .. } if byte == quote => quoted = !quoted,
                _ if quoted => {}
                _ if *byte == delimiter => {
                    let (column, rest) = row.split_at(at);
                    return Ok((column, rest.get(1..)));
                }
                _ if *byte == b'\n' => return Err(refused("a CopyData with more than one row")),
                _ => {}
            }
            at += 1;
        }
        if quoted || at > row.len() {
            return Err(refused("a COPY row that ends within a value"));
        }
        Ok((row, None))
    }

    fn decode(&self, raw: &[u8]) -> Vec<u8> {
        match &self.format {
            CopyFormat::Text { .. } => decode_text(raw),
            CopyFormat::Csv { quote, escape, .. } => decode_csv(raw, *quote, *escape),
            CopyFormat::Binary => raw.to_vec(),
        }
    }

    fn encode(&self, value: &[u8], out: &mut Vec<u8>) {
        match &self.format {
            CopyFormat::Text { delimiter, .. } => encode_text(value, *delimiter, out),
            // Always quoted, so that it is neither NULL nor the end-of-data mark.
            CopyFormat::Csv { quote, escape, .. } => {
                out.push(*quote);
                for byte in value {
                    if byte == quote || byte == escape {
                        out.push(*escape);
                    }
                    out.push(*byte);
                }
                out.push(*quote);
            }
            CopyFormat::Binary => {}
        }
    }
}

/// Letters that stand for control characters in the format `text` (documentation of COPY, "Text Format").
const ESCAPES: [(u8, u8); 6] = [(b'b', 0x08), (b'f', 0x0c), (b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'v', 0x0b)];

fn decode_text(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                let next = bytes.next().copied().unwrap_or(b'\\');
                let escape = ESCAPES.iter().find(|(letter, _)| *letter == next);
                out.push(escape.map_or(next, |(_, byte)| *byte));
            }
            byte => out.push(*byte),
        }
    }
    out
}

fn encode_text(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    for byte in value {
        match ESCAPES.iter().find(|(_, control)| control == byte) {
            Some((letter, _)) => out.extend_from_slice(&[b'\\', *letter]),
            None if *byte == b'\\' || *byte == delimiter => out.extend_from_slice(&[b'\\', *byte]),
            None => out.push(*byte),
        }
    }
}

fn decode_csv(raw: &[u8], quote: u8, escape: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut quoted = false;
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = quoted && byte == escape;
        if let Some(next) = bytes.next_if(|next| escapes && (*next == quote || *next == escape)) {
            out.push(next);
        } else if byte == quote {
            quoted = !quoted;
        } else {
            out.push(byte);
        }
    }
    out
}
