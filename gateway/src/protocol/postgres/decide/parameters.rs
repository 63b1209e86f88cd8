//! Parameters of a Bind as the journal may keep them.
//!
//! In: what follows the two names of a Bind. Out: a text for each parameter, masked by the detectors; of what is not text,
//! or long, its size alone. Of a statement that meets a labelled column no value is kept.

use super::{PolicyJudge, Understood};
use crate::audit::Kept;
use crate::masking::Masking;
use crate::masking::masked::Masked;
use crate::protocol::postgres::values::split_value;

/// Parameters that are looked at; a statement with more inserts rows.
const MANY: usize = 100;
/// The longest value that is kept. A part of one could hide from the detectors what the whole shows.
const LONG: usize = 1_024;

/// A text for each parameter. Malformed ones are the server's to refuse: nothing is kept of them.
fn kept(bind: &[u8], masking: &Masking, elide: bool) -> Vec<Kept> {
    Kept::list_after_redaction(texts(bind, masking, elide).unwrap_or_default())
}

/// "Message Formats", Bind: format codes, then values; one code counts for all, none means text.
fn texts(bind: &[u8], masking: &Masking, elide: bool) -> Option<Vec<String>> {
    let (codes, rest) = count(bind)?;
    let (formats, rest) = rest.split_at_checked(codes * 2)?;
    let (values, mut rest) = count(rest)?;
    let is_text = |index: usize| {
        let at = if codes == 1 { 0 } else { index };
        matches!(formats.chunks_exact(2).nth(at), None | Some([0, 0]))
    };
    let mut texts = Vec::with_capacity(values.min(MANY));
    for index in 0..values.min(MANY) {
        let (value, after) = split_value(rest)?;
        rest = after;
        let text = value.filter(|value| value.len() <= LONG && is_text(index)).map(std::str::from_utf8);
        texts.push(match (value, text) {
            (None, _) => "NULL".to_owned(),
            _ if elide => "?".to_owned(),
            (Some(_), Some(Ok(text))) => Masked::new(text, &masking.detectors).as_str().to_owned(),
            (Some(value), _) => format!("[{} bytes]", value.len()),
        });
    }
    if values > MANY {
        texts.push(format!("[{} more]", values - MANY));
    }
    Some(texts)
}

fn count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<2>()?;
    Some((usize::from(u16::from_be_bytes(*count)), rest))
}

impl PolicyJudge {
    /// What the journal keeps of the parameters of a Bind.
    pub(super) fn kept_parameters(&self, understood: &Understood, bind: &[u8]) -> Vec<Kept> {
        // What EXECUTE and FETCH run meets labels too.
        let named = understood.named.iter().any(|named| named.shape.labels.touches_label);
        let elide = named || understood.own.shape.labels.touches_label;
        kept(bind, understood.scope.masking(), elide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(formats: &[u16], values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = u16::try_from(formats.len()).unwrap().to_be_bytes().to_vec();
        formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
        body.extend_from_slice(&u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value.unwrap_or_default());
        }
        body.extend_from_slice(&[0, 0]);
        body
    }

    fn shown(bind: &[u8], elide: bool) -> Vec<String> {
        kept(bind, &Masking::default(), elide).iter().map(|kept| kept.as_str().to_owned()).collect()
    }

    #[test]
    fn texts_are_kept_masked_and_the_rest_by_its_size() {
        let values: [Option<&[u8]>; 4] = [Some(b"a"), None, Some(b"4111 1111 1111 1111"), Some(&[0xff; 3])];
        assert_eq!(shown(&bind(&[], &values), false), ["a", "NULL", "\u{2022}\u{2022}\u{2022}1111", "[3 bytes]"]);
        assert_eq!(shown(&bind(&[1], &values), false), ["[1 bytes]", "NULL", "[19 bytes]", "[3 bytes]"]);
        assert_eq!(shown(&bind(&[1, 0, 0, 0], &values), false)[..2], ["[1 bytes]", "NULL"]);
        assert_eq!(shown(&bind(&[], &[Some(&[b'x'; LONG + 1])]), false), ["[1025 bytes]"]);
        assert_eq!(shown(&bind(&[], &vec![None; 102]), false).last().unwrap(), "[2 more]");
    }

    #[test]
    fn of_a_statement_on_labels_no_value_is_kept() {
        assert_eq!(shown(&bind(&[], &[Some(b"anna"), None]), true), ["?", "NULL"]);
    }

    #[test]
    fn nothing_is_kept_of_what_is_malformed() {
        let whole = bind(&[0], &[Some(b"anna")]);
        for cut in 0..whole.len() - 2 {
            assert!(shown(&whole[..cut], false).is_empty(), "{cut}");
        }
    }
}
