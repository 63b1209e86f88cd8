//! Keeps the first rows of what a run shows, for the record.
//!
//! In: the messages of a run, as the client gets them, masked. Out: names of columns and values as texts, as many rows as policy
//! says and no more bytes than a line of the journal should have. It changes nothing on the way: a value that it cannot
//! read is kept in hexadecimal digits.

use std::sync::Arc;

use super::{Masked, ResultRewriter, read_description};
use crate::audit::Timestamp;
use crate::audit::event::ResultShown;
use crate::audit::hex;
use crate::protocol::postgres::encoding::Encoding;
use crate::protocol::postgres::frame::body;
use crate::protocol::postgres::judge::{Pass, ResultsShown, Rewrite, RewriteError};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::values::{Format, split_value};

/// Characters of one value.
const MAX_VALUE: usize = 1_000;
/// Bytes of all values of one run, names of columns included.
const MAX_BYTES: usize = 64 * 1024;
/// What a value takes beside its text, `null,` or `"",`, and a row beside its values.
const PER_VALUE: usize = 5;
/// Results of one run that are kept: a Query has as many as it has statements.
const MAX_RESULTS: usize = 20;
/// 2000-01-01 in microseconds from 1970 (`POSTGRES_EPOCH_JDATE`).
const EPOCH: i64 = 946_684_800_000_000;

/// Masks the replies to one Query or Execute, and keeps what is shown.
#[derive(Debug)]
pub struct Recorder {
    inner: ResultRewriter,
    /// Rows that may be kept still.
    rows: u64,
    bytes: usize,
    encoding: Option<&'static Encoding>,
    /// Type and format of each column of the rows that come.
    columns: Arc<[(u32, Format)]>,
    is_open: bool,
    kept: ResultsShown,
}

impl Recorder {
    /// Keeps so many rows at most.
    fn new(inner: ResultRewriter, rows: u64) -> Self {
        let kept = ResultsShown::default();
        Self { inner, rows, bytes: MAX_BYTES, encoding: None, columns: Arc::default(), is_open: false, kept }
    }

    /// The same as what rewrites a run; where no rows are to be kept, what masks it alone.
    #[must_use]
    pub fn over(inner: ResultRewriter, rows: u64) -> Box<dyn Rewrite> {
        if rows > 0 { Box::new(Self::new(inner, rows)) } else { Box::new(inner) }
    }

    fn look(&mut self, kind: Backend, shown: &[u8]) {
        match kind {
            Backend::RowDescription => self.describe(body(shown)),
            Backend::CopyOutResponse => {
                // Its first byte: all of it in binary.
                let is_binary = body(shown).first() != Some(&0);
                self.columns = Arc::default();
                self.open(Vec::new());
                if is_binary {
                    self.kept.left_out = Some("COPY in binary is not read".to_owned());
                    self.rows = 0;
                }
            }
            Backend::DataRow => {
                let columns = Arc::clone(&self.columns);
                self.row(|recorder| recorder.values(&columns, body(shown)));
            }
            Backend::CopyData => {
                self.row(|recorder| {
                    Some(vec![Some(recorder.text(body(shown)).trim_end_matches(['\r', '\n']).to_owned())])
                });
            }
            Backend::CommandComplete | Backend::EmptyQueryResponse | Backend::PortalSuspended => self.is_open = false,
            _ => {}
        }
    }

    fn describe(&mut self, description: &[u8]) {
        let Some(fields) = read_description(description) else { return };
        self.columns = fields.iter().map(|field| (field.type_oid, field.format)).collect();
        let names = fields.iter().map(|field| cut(&self.text(field.name))).collect();
        self.open(names);
    }

    fn open(&mut self, columns: Vec<String>) {
        let size = columns.iter().map(|name| name.len() + PER_VALUE).sum::<usize>() + PER_VALUE;
        self.is_open = self.kept.results.len() < MAX_RESULTS && size <= self.bytes;
        if self.is_open {
            self.bytes -= size;
            self.kept.results.push(ResultShown { columns, rows: Vec::new(), more: 0 });
        } else {
            self.kept
                .left_out
                .get_or_insert_with(|| "there are more results than a line of the journal holds".to_owned());
        }
    }

    fn row(&mut self, read: impl FnOnce(&Self) -> Option<Vec<Option<String>>>) {
        let values = if self.rows > 0 && self.is_open { read(self) } else { None };
        let Some(result) = self.kept.results.last_mut().filter(|_| self.is_open) else { return };
        // As it stands in a line: a NULL takes room, too.
        let size = |value: &Option<String>| value.as_ref().map_or(0, String::len) + PER_VALUE;
        let size = values.iter().flatten().map(size).sum::<usize>() + PER_VALUE;
        match values.filter(|_| size <= self.bytes) {
            Some(values) => {
                self.rows -= 1;
                self.bytes -= size;
                result.rows.push(values);
            }
            // What is kept is the beginning, without holes.
            None => {
                self.rows = 0;
                result.more += 1;
            }
        }
    }

    fn values(&self, columns: &[(u32, Format)], row: &[u8]) -> Option<Vec<Option<String>>> {
        let (_, mut rest) = row.split_first_chunk::<2>()?;
        let mut values = Vec::with_capacity(columns.len());
        for (oid, format) in columns {
            let (value, after) = split_value(rest)?;
            rest = after;
            values.push(value.map(|value| match format {
                Format::Text => cut(&self.text(value)),
                Format::Binary => self.binary(*oid, value).unwrap_or_else(|| digits(value)),
            }));
        }
        Some(values)
    }

    /// A text of the session.
    fn text(&self, bytes: &[u8]) -> String {
        match self.encoding {
            Some(encoding) => encoding.decode_lossy(bytes).into_owned(),
            None => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    /// A value in binary whose type is built in (`pg_type.dat`), as its send function writes it.
    fn binary(&self, oid: u32, value: &[u8]) -> Option<String> {
        Some(match oid {
            16 => (if value.first()? == &0 { "f" } else { "t" }).to_owned(),
            21 => i16::from_be_bytes(value.try_into().ok()?).to_string(),
            23 => i32::from_be_bytes(value.try_into().ok()?).to_string(),
            26 => u32::from_be_bytes(value.try_into().ok()?).to_string(),
            20 => i64::from_be_bytes(value.try_into().ok()?).to_string(),
            700 => f32::from_be_bytes(value.try_into().ok()?).to_string(),
            701 => f64::from_be_bytes(value.try_into().ok()?).to_string(),
            // text, varchar, bpchar, name, unknown, cstring, json, xml
            25 | 1043 | 1042 | 19 | 705 | 2275 | 114 | 142 => cut(&self.text(value)),
            // jsonb: a version, and the text.
            3802 => cut(&self.text(value.strip_prefix(&[1])?)),
            2950 => uuid(value)?,
            // timestamp, timestamptz
            1114 | 1184 => {
                let micros = i64::from_be_bytes(value.try_into().ok()?).checked_add(EPOCH)?;
                let time = Timestamp::from_micros(u64::try_from(micros).ok()?).to_string();
                if oid == 1184 { time } else { time.trim_end_matches('Z').to_owned() }
            }
            _ => return None,
        })
    }
}

impl Rewrite for Recorder {
    fn masked(&self) -> Masked {
        self.inner.masked()
    }

    fn speaks(&mut self, encoding: &'static Encoding) {
        self.encoding = (!encoding.is_utf8()).then_some(encoding);
        self.inner.speaks(encoding);
    }

    fn rewrite(&mut self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let start = out.len();
        let pass = self.inner.rewrite(kind, message, out)?;
        match pass {
            Pass::Forward => self.look(kind, message),
            Pass::Replaced => self.look(kind, out.get(start..).unwrap_or_default()),
        }
        Ok(pass)
    }

    fn shown(&mut self) -> ResultsShown {
        std::mem::take(&mut self.kept)
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_VALUE) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn digits(value: &[u8]) -> String {
    let kept = value.get(..MAX_VALUE / 2).unwrap_or(value);
    let rest = if kept.len() < value.len() { "…" } else { "" };
    format!("\\x{}{rest}", hex::encode(kept))
}

fn uuid(value: &[u8]) -> Option<String> {
    let value: [u8; 16] = value.try_into().ok()?;
    let text = hex::encode(&value);
    let part = |from, to| text.get(from..to).unwrap_or_default();
    Some([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

#[cfg(test)]
mod tests;
