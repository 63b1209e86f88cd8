//! Messages in another encoding than UTF8, as those read them who know UTF-8 alone.
//!
//! In: one whole message. Out: the same with its texts in UTF-8, or back in the session's encoding. The client's own bytes go
//! on to the server as they are: what is written here for it is only read. It must never take a text that has no certain
//! reading for one: it becomes a byte that is no UTF-8, and is refused as such.

use std::fmt::Write;

use super::Encoding;
use crate::protocol::postgres::frame::{HEADER, body, split_string};
use crate::protocol::postgres::message::{Backend, Frontend, put_length};
use crate::protocol::postgres::values::split_value;

/// No text in UTF-8.
const NO_TEXT: u8 = 0xff;

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + HEADER);
    out.push(tag);
    put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// A client's message with its names and texts in UTF-8; none where it is the same.
pub(in super::super) fn in_utf8(kind: Frontend, message: &[u8], encoding: &Encoding) -> Option<Vec<u8>> {
    let (tag, mut rest) = (message.first().copied()?, body(message));
    if encoding.is_utf8() || rest.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(message.len() * 2);
    let (names, texts) = match kind {
        Frontend::Query => (0, 1),
        Frontend::Parse => (1, 1),
        Frontend::Bind => (2, 0),
        Frontend::Execute => (1, 0),
        Frontend::Describe | Frontend::Close => {
            let (of, name) = rest.split_first()?;
            out.push(*of);
            rest = name;
            (1, 0)
        }
        _ => return None,
    };
    for index in 0..names + texts {
        let Some((text, after)) = split_string(rest) else { break };
        rest = after;
        // We say names to the server ourselves at times: one that cannot be said is none.
        let certain = encoding.decode(text).filter(|text| index >= names || encoding.encode(text).is_some());
        match certain {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => out.push(NO_TEXT),
        }
        out.push(0);
    }
    match (kind, parameters(rest, encoding)) {
        (Frontend::Bind, Some(parameters)) => out.extend_from_slice(&parameters),
        _ => out.extend_from_slice(rest),
    }
    Some(framed(tag, &out))
}

/// Parameters of a Bind with those in the text format in UTF-8. One that has no certain text is told from others by its bytes.
fn parameters(bind: &[u8], encoding: &Encoding) -> Option<Vec<u8>> {
    let count = |bytes: &[u8]| bytes.first_chunk::<2>().map(|count| usize::from(u16::from_be_bytes(*count)));
    let codes = count(bind)?;
    let formats = bind.get(2..2 + codes * 2)?;
    let head = bind.get(..4 + codes * 2)?;
    let values = count(head.get(2 + codes * 2..)?)?;
    let mut rest = bind.get(head.len()..)?;
    let mut out = head.to_vec();
    for index in 0..values {
        let (value, after) = split_value(rest)?;
        let format = formats.chunks_exact(2).nth(if codes == 1 { 0 } else { index });
        match value.filter(|_| matches!(format, None | Some([0, 0]))) {
            Some(value) => {
                let text = match encoding.decode(value) {
                    Some(text) => text.into_owned(),
                    None => value.iter().fold(encoding.decode_lossy(value).into_owned(), |mut text, byte| {
                        let _ = write!(text, "{byte:02x}");
                        text
                    }),
                };
                out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            None => out.extend_from_slice(rest.get(..rest.len() - after.len())?),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// How many bytes stand before the texts of a message that holds texts alone: of a NotificationResponse its process.
fn before_texts(kind: Backend) -> usize {
    if kind == Backend::NotificationResponse { 4 } else { 0 }
}

/// A server's message that holds texts alone, with them in UTF-8.
pub(in super::super) fn text_in_utf8(kind: Backend, message: &[u8], encoding: &Encoding) -> Vec<u8> {
    let (before, texts) = body(message).split_at_checked(before_texts(kind)).unwrap_or_default();
    let texts = encoding.decode_lossy(texts);
    framed(message.first().copied().unwrap_or_default(), &[before, texts.as_bytes()].concat())
}

/// A message in UTF-8 that was written in place of one, in the session's encoding.
pub(in super::super) fn in_encoding(kind: Backend, message: &[u8], encoding: &Encoding) -> Vec<u8> {
    let (before, texts) = body(message).split_at_checked(before_texts(kind)).unwrap_or_default();
    let texts = encoding.encode_ours(&String::from_utf8_lossy(texts));
    framed(message.first().copied().unwrap_or_default(), &[before, &texts].concat())
}
