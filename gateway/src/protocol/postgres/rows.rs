//! Masks the replies to the statements of one run: rows, COPY data, errors, notices.
//!
//! In: a plan for each statement, and the server's messages, whole. Out: the same messages with masks, valid and of the
//! same types. A row in which nothing is hidden goes out as it came. A row without its description, with another number
//! of columns, or malformed is refused: nothing more of that session is shown.

mod recorder;
mod spoken;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;

pub use recorder::Recorder;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::masking::Masking;
use crate::masking::class::PLAIN_MARK;
use crate::masking::detect::Hit;
use crate::masking::plan::{Described, Origin, ResultPlan, Texts, Treatment};
use crate::protocol::postgres::copy_out::{CopyRows, CopyShape};
use crate::protocol::postgres::encoding::Encoding;
use crate::protocol::postgres::frame::{HEADER, body, split_string};
use crate::protocol::postgres::judge::{Pass, Rewrite, RewriteError};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::texts::{self, Told, close, malformed};
use crate::protocol::postgres::values::{Format, Kind, Searched, mask, replace, search, split_value};

/// The plan for one statement of a run.
#[derive(Clone, Debug, Default)]
pub struct StatementPlan {
    /// What is hidden of its result.
    pub result: ResultPlan,
    /// Where it is COPY … TO STDOUT: what it sends.
    pub copy: Option<CopyShape>,
}

/// Masks the replies to one Query or Execute.
#[derive(Debug)]
pub struct ResultRewriter {
    masking: Arc<Masking>,
    /// Those whose end was not seen yet, the running one last.
    plans: Vec<StatementPlan>,
    /// The strictest of all plans: an error may come from the end of the transaction that they share.
    texts: Texts,
    /// The server got other words than the client sent.
    is_of_other_words: bool,
    /// Of the rows, where it is not UTF8.
    encoding: Option<&'static Encoding>,
    columns: Option<Vec<Column>>,
    copy: Option<CopyRows>,
    /// Of the statements that are over.
    masked: Masked,
    /// What was found in the value that is being looked at.
    hits: Vec<Hit>,
}

/// How many values were hidden, by class.
pub(super) type Masked = BTreeMap<Arc<str>, u64>;

/// One column of the result.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) kind: Kind,
    pub(super) format: Format,
    pub(super) treatment: Treatment,
    /// Values of it that were hidden.
    pub(super) hidden: u64,
}

/// The length of a value that is NULL ("Message Formats", DataRow).
const NULL: [u8; 4] = (-1_i32).to_be_bytes();

/// What stands for one value.
pub(super) enum Cell {
    Same,
    Null,
    New(Vec<u8>),
}

/// What detectors find is counted under this name: one value can hold several classes.
const DETECTED: &str = "detected";

/// What is shown of one value, before it is written.
enum Shown<'h> {
    Same,
    Null,
    /// A mask of its class.
    Mask,
    /// The value with these masked.
    Hits(&'h [Hit]),
    New(Vec<u8>),
}

impl Column {
    /// Adds the values of it that were hidden, by class.
    pub(super) fn add_to(&self, masked: &mut Masked) {
        if self.hidden > 0 {
            let class = self.treatment.class().map_or(DETECTED, |class| &class.name);
            *masked.entry(class.into()).or_default() += self.hidden;
        }
    }

    /// Looks at a value of a row; `hits` gets what detectors find in a text.
    fn look<'h>(&self, value: Option<&[u8]>, masking: &Masking, hits: &'h mut Vec<Hit>) -> Shown<'h> {
        match (&self.treatment, value) {
            (Treatment::Detect(except), Some(value)) if self.kind == Kind::Text => {
                masking.detectors.find_into(value, *except, hits);
                if hits.is_empty() { Shown::Same } else { Shown::Hits(hits) }
            }
            (Treatment::Mask(_) | Treatment::Unknown(_), Some(_)) => Shown::Mask,
            _ => match self.rewrite(value, masking) {
                Cell::Same => Shown::Same,
                Cell::Null => Shown::Null,
                Cell::New(value) => Shown::New(value),
            },
        }
    }

    /// Writes what is shown, after its length.
    fn put(&self, shown: Shown<'_>, value: &[u8], masking: &Masking, out: &mut Vec<u8>) -> Result<(), RewriteError> {
        let start = out.len();
        out.extend_from_slice(&NULL);
        match shown {
            Shown::Same | Shown::Null => return Ok(()),
            Shown::New(value) => out.extend_from_slice(&value),
            Shown::Hits(hits) => replace(value, hits, &masking.detectors, true, out),
            Shown::Mask => {
                let class = self.treatment.class();
                if !class.is_some_and(|class| mask(value, self.kind, self.format, class, out)) {
                    return Ok(());
                }
            }
        }
        let too_long = || RewriteError { reason: "a masked value is longer than a value can be".to_owned() };
        let length = i32::try_from(out.len() - start - NULL.len()).map_err(|_| too_long())?;
        let field = out.get_mut(start..start + NULL.len()).ok_or_else(too_long)?;
        field.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// What stands for a value.
    pub(super) fn rewrite(&self, value: Option<&[u8]>, masking: &Masking) -> Cell {
        match (&self.treatment, value) {
            (Treatment::Pass, _) | (Treatment::Detect(_), None) => Cell::Same,
            (Treatment::Detect(except), Some(value)) => {
                match search(value, self.kind, self.format, &masking.detectors, *except) {
                    Searched::Clean => Cell::Same,
                    Searched::Null => Cell::Null,
                    Searched::Replaced(value) => Cell::New(value),
                }
            }
            // That an expression gives NULL can say as much as its value: `CASE WHEN … THEN 1 END`.
            (Treatment::Mask(_), None) if masking.keep_null => Cell::Same,
            (Treatment::Mask(class) | Treatment::Unknown(class), value) => {
                let mut out = Vec::with_capacity(32);
                match mask(value.unwrap_or_default(), self.kind, self.format, class, &mut out) {
                    true => Cell::New(out),
                    false => Cell::Null,
                }
            }
        }
    }
}

impl ResultRewriter {
    /// For the statements of a run, in their order: all of a Query, or the one of a portal.
    #[must_use]
    pub fn new(masking: Arc<Masking>, mut plans: Vec<StatementPlan>) -> Self {
        plans.reverse();
        let texts = plans.iter().map(|plan| plan.result.texts).max().unwrap_or(Texts::Scrub);
        let (masked, hits) = (Masked::new(), Vec::new());
        let (is_of_other_words, encoding) = (false, None);
        Self { masking, plans, texts, is_of_other_words, encoding, columns: None, copy: None, masked, hits }
    }

    /// For statements that the server got in other words.
    #[must_use]
    pub fn in_other_words(self, is_of_other_words: bool) -> Self {
        Self { is_of_other_words, ..self }
    }

    fn plan(&self) -> Result<&StatementPlan, RewriteError> {
        let more = || RewriteError { reason: "the server sent more results than there are statements".to_owned() };
        self.plans.last().ok_or_else(more)
    }

    fn describe(&mut self, message: &[u8]) -> Result<(), RewriteError> {
        let fields = read_description(body(message)).ok_or_else(|| malformed("RowDescription"))?;
        let origins: Vec<_> = fields.iter().map(|field| field.origin).collect();
        let other = || RewriteError { reason: "the result has other columns than were planned".to_owned() };
        let treatments = self.plan()?.result.columns.treatments(Described::Origins(&origins)).ok_or_else(other)?;
        let column = |(field, treatment): (&Field<'_>, Treatment)| Column {
            kind: Kind::of(field.type_oid),
            format: field.format,
            treatment,
            hidden: 0,
        };
        self.columns = Some(fields.iter().zip(treatments).map(column).collect());
        Ok(())
    }

    /// The columns of a row, and its values.
    fn begin_row<'c, 'm>(
        columns: &'c mut Option<Vec<Column>>,
        message: &'m [u8],
    ) -> Result<(&'c mut Vec<Column>, &'m [u8]), RewriteError> {
        let undescribed = || RewriteError { reason: "a row came before its description".to_owned() };
        let columns = columns.as_mut().ok_or_else(undescribed)?;
        let (count, rest) = body(message).split_first_chunk::<2>().ok_or_else(|| malformed("row"))?;
        if usize::from(u16::from_be_bytes(*count)) != columns.len() {
            return Err(RewriteError { reason: "a row has another number of columns than its description".to_owned() });
        }
        Ok((columns, rest))
    }

    fn data_row(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let (columns, mut rest) = Self::begin_row(&mut self.columns, message)?;
        let start = out.len();
        let mut copied = 0;
        for column in columns {
            let at = message.len() - rest.len();
            let (value, after) = split_value(rest).ok_or_else(|| malformed("row"))?;
            rest = after;
            let shown = column.look(value, &self.masking, &mut self.hits);
            if matches!(shown, Shown::Same) {
                continue;
            }
            out.extend_from_slice(message.get(copied..at).unwrap_or_default());
            column.put(shown, value.unwrap_or_default(), &self.masking, out)?;
            column.hidden += 1;
            copied = message.len() - rest.len();
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

    fn begin_copy(&mut self, message: &[u8]) -> Result<(), RewriteError> {
        let plan = self.plan()?;
        let unplanned = || RewriteError { reason: "a COPY that was not planned".to_owned() };
        let shape = plan.copy.as_ref().ok_or_else(unplanned)?;
        let copy = CopyRows::begin(message, shape, &plan.result.columns)?;
        if self.encoding.is_some() && copy.is_cut_by(PLAIN_MARK.as_bytes()) {
            return Err(RewriteError { reason: format!("a COPY whose delimiters are in its masks, {PLAIN_MARK}") });
        }
        self.copy = Some(copy);
        Ok(())
    }

    fn copy_row(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        let unannounced = || RewriteError { reason: "COPY data that was not announced".to_owned() };
        let copy = self.copy.as_mut().ok_or_else(unannounced)?;
        match self.encoding {
            None => copy.row(message, &self.masking, out),
            Some(encoding) => spoken::copy_row(copy, message, encoding, (&self.masking, out)),
        }
    }

    fn next_statement(&mut self) {
        self.plans.pop();
        self.masked = self.masked();
        self.columns = None;
        self.copy = None;
    }
}

impl Rewrite for ResultRewriter {
    fn masked(&self) -> Masked {
        let mut masked = self.masked.clone();
        let copied = self.copy.iter().flat_map(CopyRows::columns);
        self.columns.iter().flatten().chain(copied).for_each(|column| column.add_to(&mut masked));
        masked
    }

    fn speaks(&mut self, encoding: &'static Encoding) {
        self.encoding = (!encoding.is_utf8()).then_some(encoding);
    }

    fn rewrite(&mut self, kind: Backend, message: &[u8], out: &mut Vec<u8>) -> Result<Pass, RewriteError> {
        if message.len() < HEADER {
            return Err(malformed("message"));
        }
        match kind {
            Backend::DataRow => {
                return match self.encoding {
                    None => self.data_row(message, out),
                    Some(encoding) => self.spoken_row(message, encoding, out),
                };
            }
            Backend::CopyData => return self.copy_row(message, out),
            Backend::ErrorResponse
            | Backend::NoticeResponse
            | Backend::NotificationResponse
            | Backend::ParameterStatus => {
                let Self { texts, is_of_other_words, ref masking, .. } = *self;
                return texts::rewrite(
                    kind,
                    message,
                    Told { texts, is_of_other_words, detectors: &masking.detectors },
                    out,
                );
            }
            Backend::FunctionCallResponse | Backend::CopyBothResponse => {
                return Err(RewriteError { reason: format!("{kind:?} cannot be masked") });
            }
            Backend::RowDescription => self.describe(message)?,
            Backend::NoData => self.columns = Some(Vec::new()),
            Backend::CopyOutResponse => self.begin_copy(message)?,
            Backend::CopyDone => {
                self.masked = self.masked();
                self.copy = None;
            }
            Backend::CommandComplete | Backend::EmptyQueryResponse => self.next_statement(),
            Backend::Authentication
            | Backend::BackendKeyData
            | Backend::NegotiateProtocolVersion
            | Backend::ReadyForQuery
            | Backend::ParseComplete
            | Backend::BindComplete
            | Backend::CloseComplete
            | Backend::ParameterDescription
            | Backend::PortalSuspended
            | Backend::CopyInResponse => {}
        }
        Ok(Pass::Forward)
    }
}

/// What a RowDescription says of one column.
struct Field<'m> {
    /// In the session's encoding.
    name: &'m [u8],
    origin: Option<Origin>,
    type_oid: u32,
    format: Format,
}

fn read_description(body: &[u8]) -> Option<Vec<Field<'_>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let count = usize::from(u16::from_be_bytes(*count));
    // A column takes 19 bytes at least: nothing is allocated for those that are only declared.
    let mut fields = Vec::with_capacity(count.min(rest.len() / 19));
    for _ in 0..count {
        let (name, after) = split_string(rest)?;
        let (relation, after) = after.split_first_chunk::<4>()?;
        let (attribute, after) = after.split_first_chunk::<2>()?;
        let (type_oid, after) = after.split_first_chunk::<4>()?;
        // The type's size and modifier.
        let (_, after) = after.split_first_chunk::<6>()?;
        let (format, after) = after.split_first_chunk::<2>()?;
        let relation = u32::from_be_bytes(*relation);
        fields.push(Field {
            name,
            origin: (relation != 0).then(|| Origin { relation, attribute: i16::from_be_bytes(*attribute) }),
            type_oid: u32::from_be_bytes(*type_oid),
            format: Format::from_code(u16::from_be_bytes(*format))?,
        });
        rest = after;
    }
    rest.is_empty().then_some(fields)
}
