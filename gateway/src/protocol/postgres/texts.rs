//! What a server says beside its rows: errors, notices, notifications, reported settings.
//!
//! In: one such message, and whether it may quote what is hidden. Out: the same message with its texts replaced, or
//! searched. A scrubbed error keeps what programs act on (severity, code, place in the source), and no word of the rest.

use crate::masking::detect::Detectors;
use crate::masking::masked::mask_found;
use crate::masking::plan::Texts;
use crate::protocol::postgres::frame::{HEADER, body, split_string};
use crate::protocol::postgres::judge::{Pass, RewriteError};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::reply::{SqlState, fields, sql_state};

/// Stands for the text of a scrubbed error, after its code.
const HIDDEN: &str = "the text is hidden, since it may quote masked columns";
/// Stands for what was notified.
const HIDDEN_PAYLOAD: &[u8] = "[hidden\u{2022}\u{2022}\u{2022}]".as_bytes();

pub(super) fn malformed(what: &str) -> RewriteError {
    RewriteError { reason: format!("the server sent a malformed {what}") }
}

/// Ends a message that begins at `start`: its length is known now.
pub(super) fn close(start: usize, out: &mut [u8]) -> Result<(), RewriteError> {
    let too_long = || RewriteError { reason: "the masked message is longer than a message can be".to_owned() };
    let length = i32::try_from(out.len().saturating_sub(start + 1)).map_err(|_| too_long())?;
    let field = out.get_mut(start + 1..start + HEADER).ok_or_else(too_long)?;
    field.copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// How what is said beside the rows is told.
#[derive(Clone, Copy)]
pub(super) struct Told<'d> {
    /// What is hidden.
    pub(super) texts: Texts,
    /// The server got other words than the client sent: places in them are not told.
    pub(super) is_of_other_words: bool,
    pub(super) detectors: &'d Detectors,
}

/// A message that is no result: an error, a notice, a notification, a reported setting. Others go out as they are.
pub(super) fn rewrite(
    kind: Backend,
    message: &[u8],
    Told { texts, is_of_other_words, detectors }: Told<'_>,
    out: &mut Vec<u8>,
) -> Result<Pass, RewriteError> {
    match kind {
        Backend::ErrorResponse | Backend::NoticeResponse => {
            report(message, (texts, is_of_other_words), detectors, out)?;
        }
        Backend::NotificationResponse => notification(message, texts, detectors, out)?,
        Backend::ParameterStatus => setting(message, detectors, out)?,
        _ => return Ok(Pass::Forward),
    }
    Ok(Pass::Replaced)
}

/// An ErrorResponse or NoticeResponse ("Error and Notice Message Fields").
fn report(
    message: &[u8],
    (texts, is_of_other_words): (Texts, bool),
    detectors: &Detectors,
    out: &mut Vec<u8>,
) -> Result<(), RewriteError> {
    let start = out.len();
    out.extend_from_slice(message.get(..HEADER).unwrap_or_default());
    let mut rest = body(message);
    // What is wrong with the statement itself, said before a row of it was read, quotes nothing but the statement.
    let texts = match texts {
        _ if is_of_analysis(rest) => Texts::Detect,
        Texts::ScrubCode if is_of_code(rest) => Texts::Scrub,
        texts => texts,
    };
    let code = sql_state(rest);
    loop {
        match rest.split_first() {
            Some((0, [])) => break,
            Some((0, _)) | None => return Err(malformed("error or notice")),
            Some((field, text)) => {
                let (text, after) = split_string(text).ok_or_else(|| malformed("error or notice"))?;
                if *field != b'P' || !is_of_other_words {
                    put_field((*field, text), texts, &code, detectors, out);
                }
                rest = after;
            }
        }
    }
    out.push(0);
    close(start, out)
}

/// Whether an error is one of parse analysis or of a missing right: of class 42, and reported from a file of these
/// (src/backend/parser, src/backend/catalog/aclchk.c), which name objects alone. A function or trigger that raises an
/// error of that class does so from elsewhere. The parser also reads values, as in `email::regtype`: then it says in which
/// context, or has no place in the statement to point to (parseTypeString, parse_type.c).
fn is_of_analysis(fields_of: &[u8]) -> bool {
    let field = |wanted: u8| fields(fields_of).find(|(field, _)| *field == wanted).map(|(_, text)| text);
    let file = field(b'F').unwrap_or_default();
    let is_of_parser = file.starts_with(b"parse_") || matches!(file, b"scan.l" | b"gram.y" | b"analyze.c");
    field(b'C').is_some_and(|code| code.starts_with(b"42"))
        && field(b'W').is_none()
        && ((is_of_parser && field(b'P').is_some()) || file == b"aclchk.c")
}

/// Whether code of the database said it, or one of its foreign keys: it comes with the functions and statements that were
/// at work. The server itself adds only where in the client's own text it reads ("COPY …", "JSON data, …").
fn is_of_code(fields_of: &[u8]) -> bool {
    let context = fields(fields_of).find(|(field, _)| *field == b'W').map(|(_, text)| text).unwrap_or_default();
    let is_place = |line: &[u8]| line.is_empty() || line.starts_with(b"COPY ") || line.starts_with(b"JSON data, ");
    !context.split(|byte| *byte == b'\n').all(is_place)
}

fn put_field((field, text): (u8, &[u8]), texts: Texts, code: &SqlState, detectors: &Detectors, out: &mut Vec<u8>) {
    // Severity, severity as it is never translated, code; file, line and routine of the server's source.
    let is_kept = matches!(field, b'S' | b'V' | b'C' | b'F' | b'L' | b'R');
    let hidden;
    let text = match texts {
        _ if is_kept => text,
        Texts::Scrub if field == b'M' => {
            hidden = format!("{}: {HIDDEN}", code.as_str());
            hidden.as_bytes()
        }
        Texts::Scrub => return,
        Texts::Detect | Texts::ScrubCode => {
            out.push(field);
            put_searched(text, detectors, out);
            return;
        }
    };
    out.push(field);
    out.extend_from_slice(text);
    out.push(0);
}

/// A string with what is found in it masked. No mask holds a NUL: classes and fixed texts have none.
fn put_searched(text: &[u8], detectors: &Detectors, out: &mut Vec<u8>) {
    if !mask_found(text, detectors, out) {
        out.extend_from_slice(text);
    }
    out.push(0);
}

/// A NotificationResponse: process, channel, payload.
fn notification(message: &[u8], texts: Texts, detectors: &Detectors, out: &mut Vec<u8>) -> Result<(), RewriteError> {
    let parts = body(message).split_first_chunk::<4>().and_then(|(process, rest)| {
        let (channel, rest) = split_string(rest)?;
        let (payload, rest) = split_string(rest)?;
        rest.is_empty().then_some((process, channel, payload))
    });
    let (process, channel, payload) = parts.ok_or_else(|| malformed("notification"))?;
    let start = out.len();
    out.extend_from_slice(message.get(..HEADER).unwrap_or_default());
    out.extend_from_slice(process);
    put_searched(channel, detectors, out);
    match texts {
        // Who notified has read what we do not know.
        Texts::Scrub | Texts::ScrubCode if !payload.is_empty() => {
            out.extend_from_slice(HIDDEN_PAYLOAD);
            out.push(0);
        }
        _ => put_searched(payload, detectors, out),
    }
    close(start, out)
}

/// A ParameterStatus: name and value.
fn setting(message: &[u8], detectors: &Detectors, out: &mut Vec<u8>) -> Result<(), RewriteError> {
    let parts = split_string(body(message)).and_then(|(name, rest)| {
        let (value, rest) = split_string(rest)?;
        rest.is_empty().then_some((name, value))
    });
    let (name, value) = parts.ok_or_else(|| malformed("reported setting"))?;
    let start = out.len();
    out.extend_from_slice(message.get(..HEADER).unwrap_or_default());
    out.extend_from_slice(name);
    out.push(0);
    put_searched(value, detectors, out);
    close(start, out)
}
