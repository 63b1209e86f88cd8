//! Rows of a session that does not speak UTF8.
//!
//! In: a row, or a piece of COPY data, and the session's encoding. Out: the same with masks, in that encoding. A value in
//! which nothing is hidden goes out as it came. Texts within arrays and composites in binary are not patched.

use super::{Column, ResultRewriter, Shown};
use crate::masking::Masking;
use crate::masking::detect::Hit;
use crate::masking::plan::Treatment;
use crate::protocol::postgres::copy_out::CopyRows;
use crate::protocol::postgres::encoding::{Encoding, in_encoding, text_in_utf8};
use crate::protocol::postgres::frame::body;
use crate::protocol::postgres::judge::{Pass, RewriteError};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::texts::{close, malformed};
use crate::protocol::postgres::values::{Format, Kind, holds_any, split_value};

impl Column {
    /// Whether its value is nothing but a text.
    fn is_text(&self) -> bool {
        self.format == Format::Text || matches!(self.kind, Kind::Text | Kind::Json | Kind::Jsonb | Kind::Xml)
    }

    /// What stands for a value in this encoding, after its length; none: itself.
    fn spoken(
        &self,
        value: Option<&[u8]>,
        encoding: &Encoding,
        masking: &Masking,
        hits: &mut Vec<Hit>,
    ) -> Result<Option<Vec<u8>>, RewriteError> {
        let mut out = Vec::new();
        if let (Treatment::Detect(except), Kind::TextArray | Kind::Compound, Format::Binary, Some(value)) =
            (&self.treatment, self.kind, self.format, value)
        {
            let found = holds_any(value, &masking.detectors, *except)
                || holds_any(encoding.decode_lossy(value).as_bytes(), &masking.detectors, *except);
            self.put(Shown::Null, value, masking, &mut out)?;
            return Ok(found.then_some(out));
        }
        let text = value.filter(|_| self.is_text()).map(|value| encoding.decode_lossy(value));
        let read = text.as_deref().map(str::as_bytes).or(value);
        let shown = self.look(read, masking, hits);
        if matches!(shown, Shown::Same) {
            return Ok(None);
        }
        self.put(shown, read.unwrap_or_default(), masking, &mut out)?;
        if self.is_text()
            && let Some((Some(mask), _)) = split_value(&out)
        {
            let mask = encoding.encode_ours(&String::from_utf8_lossy(mask));
            let too_long = |_| RewriteError { reason: "a masked value is longer than a value can be".to_owned() };
            out = i32::try_from(mask.len()).map_err(too_long)?.to_be_bytes().to_vec();
            out.extend_from_slice(&mask);
        }
        Ok(Some(out))
    }
}

impl ResultRewriter {
    /// A DataRow.
    pub(super) fn spoken_row(
        &mut self,
        message: &[u8],
        encoding: &Encoding,
        out: &mut Vec<u8>,
    ) -> Result<Pass, RewriteError> {
        let (columns, mut rest) = Self::begin_row(&mut self.columns, message)?;
        let start = out.len();
        let mut copied = 0;
        for column in columns {
            let at = message.len() - rest.len();
            let (value, after) = split_value(rest).ok_or_else(|| malformed("row"))?;
            rest = after;
            if let Some(shown) = column.spoken(value, encoding, &self.masking, &mut self.hits)? {
                out.extend_from_slice(message.get(copied..at).unwrap_or_default());
                out.extend_from_slice(&shown);
                column.hidden += 1;
                copied = message.len() - rest.len();
            }
        }
        if !rest.is_empty() {
            return Err(malformed("row"));
        }
        if copied == 0 {
            return Ok(Pass::Forward);
        }
        out.extend_from_slice(message.get(copied..).unwrap_or_default());
        close(start, out).map(|()| Pass::Replaced)
    }
}

/// A CopyData.
pub(super) fn copy_row(
    copy: &mut CopyRows,
    message: &[u8],
    encoding: &Encoding,
    (masking, out): (&Masking, &mut Vec<u8>),
) -> Result<Pass, RewriteError> {
    if copy.is_binary() {
        let text = encoding.decode_lossy(body(message));
        // Where something is found there, the row is refused.
        copy.row(message, masking, &mut Vec::new())?;
        return copy.search(text.as_bytes(), masking).map(|()| Pass::Forward);
    }
    let read = text_in_utf8(Backend::CopyData, message, encoding);
    let mut shown = Vec::new();
    if copy.row(&read, masking, &mut shown)? == Pass::Forward || shown == read {
        return Ok(Pass::Forward);
    }
    out.extend_from_slice(&in_encoding(Backend::CopyData, &shown, encoding));
    Ok(Pass::Replaced)
}
