//! What the output of a command goes through on its way to the client: masks, and the recording.
//!
//! In: bytes of standard output and error, cut anywhere. Out: as many bytes, values that detectors know replaced by `*`.
//! What may be the beginning of a value waits for a moment, a prompt or an echo does not. Binary output is never
//! edited: what is found there stops it, unless policy lets its class go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::masking::Masking;
use crate::masking::detect::DetectorSet;
use crate::masking::stream::StreamMasker;

/// The most that waits.
const WINDOW: usize = 4 * 1024;
/// How long it waits for more.
pub(super) const WAIT: Duration = Duration::from_millis(25);
/// A chunk so short is an echo or a prompt: a program that writes values writes more at once.
const SHORT: usize = 16;
/// Of what comes first, so much tells text from binary.
const LOOK: usize = 8 * 1024;
/// A value across two chunks of binary output is found if it is no longer than this.
const OVERLAP: usize = 256;

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// What masks the output of one command.
pub(super) struct Output {
    masking: Arc<Masking>,
    shown: DetectorSet,
    exported: DetectorSet,
    has_terminal: bool,
    is_transfer: bool,
    out: Option<Side>,
    err: Option<Side>,
}

/// One of the two streams.
enum Side {
    Text(Box<StreamMasker>),
    Binary { last: Vec<u8> },
}

/// A value in binary output, by its class.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holds(pub(super) Arc<str>);

impl Output {
    /// For a command with or without a terminal; this workload may see what `shown` finds, and take along what `exported`
    /// finds.
    pub(super) fn new(masking: Arc<Masking>, shown: DetectorSet, exported: DetectorSet, has_terminal: bool) -> Self {
        Self { masking, shown, exported, has_terminal, is_transfer: false, out: None, err: None }
    }

    /// The same for a command whose output is a protocol of file transfers.
    pub(super) fn of_transfer(self) -> Self {
        Self { is_transfer: true, ..self }
    }

    /// Takes a chunk; returns what may go out.
    pub(super) fn push(&mut self, stream: Stream, chunk: Bytes) -> Result<Bytes, Holds> {
        let is_binary = match stream {
            Stream::Out => self.is_transfer || (!self.has_terminal && is_binary(&chunk)),
            Stream::Err => false,
        };
        let make = || match is_binary {
            true => Side::Binary { last: Vec::new() },
            false => {
                let masker = StreamMasker::new(Arc::clone(&self.masking.detectors), WINDOW);
                Side::Text(Box::new(masker.except(self.shown)))
            }
        };
        let side = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        match side.get_or_insert_with(make) {
            Side::Text(masker) => {
                let mut out = Vec::with_capacity(chunk.len() + WINDOW);
                masker.push(&chunk, &mut out);
                if self.has_terminal && chunk.len() <= SHORT {
                    masker.flush(&mut out);
                }
                Ok(out.into())
            }
            Side::Binary { last } => {
                let found = look(&self.masking, self.shown.and(self.exported), last, &chunk);
                let from = chunk.len().saturating_sub(OVERLAP);
                last.clear();
                last.extend_from_slice(chunk.get(from..).unwrap_or_default());
                found.map_or(Ok(chunk), Err)
            }
        }
    }

    /// Whether something waits.
    pub(super) fn is_waiting(&self) -> bool {
        [&self.out, &self.err].into_iter().any(|side| matches!(side, Some(Side::Text(masker)) if masker.held() > 0))
    }

    /// What waited long enough.
    pub(super) fn flush(&mut self) -> [(Stream, Bytes); 2] {
        let flush = |side: &mut Option<Side>| {
            let mut out = Vec::new();
            if let Some(Side::Text(masker)) = side {
                masker.flush(&mut out);
            }
            Bytes::from(out)
        };
        [(Stream::Out, flush(&mut self.out)), (Stream::Err, flush(&mut self.err))]
    }

    /// How many values were hidden, by class.
    pub(super) fn masked(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for side in [&self.out, &self.err] {
            if let Some(Side::Text(masker)) = side {
                for (class, count) in masker.found() {
                    *all.entry(class.to_string()).or_default() += count;
                }
            }
        }
        all
    }
}

fn look(masking: &Masking, except: DetectorSet, last: &[u8], chunk: &[u8]) -> Option<Holds> {
    let first = |bytes: &[u8]| {
        let hits = masking.detectors.find(bytes, except);
        hits.first()
            .and_then(|hit| masking.detectors.detector(hit.detector))
            .map(|found| Holds(found.class.name.clone()))
    };
    let seam = [last, chunk.get(..OVERLAP.min(chunk.len())).unwrap_or_default()].concat();
    first(chunk).or_else(|| first(&seam))
}

/// Whether the beginning of a stream says that it is no text: NUL, or control characters that no text has.
fn is_binary(chunk: &[u8]) -> bool {
    let is_foreign =
        |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x07 | 0x08 | 0x0b | 0x0c | 0x1b);
    chunk.iter().take(LOOK).any(is_foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "4242424242424242";

    fn output(has_terminal: bool) -> Output {
        let none = DetectorSet::default();
        Output::new(Arc::new(Masking::default()), none, none, has_terminal)
    }

    #[test]
    fn a_value_over_two_chunks_is_masked_and_counted() {
        let mut output = output(false);
        let mut seen = output.push(Stream::Out, Bytes::from("card 42424242")).unwrap().to_vec();
        seen.extend(output.push(Stream::Out, Bytes::from("42424242\n")).unwrap());
        seen.extend(output.flush().concat_of(Stream::Out));
        assert_eq!(String::from_utf8(seen).unwrap(), format!("card {}\n", "*".repeat(16)));
        assert_eq!(output.masked(), BTreeMap::from([("card".to_owned(), 1)]));
    }

    trait ConcatOf {
        fn concat_of(&self, stream: Stream) -> Vec<u8>;
    }

    impl ConcatOf for [(Stream, Bytes); 2] {
        fn concat_of(&self, stream: Stream) -> Vec<u8> {
            self.iter().filter(|(of, _)| *of == stream).flat_map(|(_, bytes)| bytes.to_vec()).collect()
        }
    }

    #[test]
    fn an_echo_and_a_prompt_do_not_wait() {
        let mut output = output(true);
        for chunk in ["e", "y", "J", "user@host:~$ "] {
            assert_eq!(output.push(Stream::Out, Bytes::from(chunk)).unwrap(), chunk);
            assert!(!output.is_waiting());
        }
    }

    #[test]
    fn binary_output_is_not_edited_and_what_it_holds_stops_it() {
        let mut plain = output(false);
        let zip = Bytes::from_static(b"PK\x03\x04\0\0 nothing");
        assert_eq!(plain.push(Stream::Out, zip.clone()).unwrap(), zip);
        assert_eq!(plain.push(Stream::Out, Bytes::from("x 42424242")).unwrap(), "x 42424242");
        let found = plain.push(Stream::Out, Bytes::from("42424242 y")).unwrap_err();
        assert_eq!(found, Holds("card".into()));
        let mut transfer = output(false).of_transfer();
        assert!(transfer.push(Stream::Out, Bytes::from(CARD)).is_err());
        assert!(transfer.push(Stream::Err, Bytes::from(CARD)).is_ok());
    }

    #[test]
    fn what_is_shown_to_the_workload_goes_on() {
        let masking = Arc::new(Masking::default());
        let shown = masking.detectors.set(["card"]);
        let mut output = Output::new(masking, shown, DetectorSet::default(), false);
        let mut seen = output.push(Stream::Out, Bytes::from(format!("{CARD}\n"))).unwrap().to_vec();
        seen.extend(output.flush().concat_of(Stream::Out));
        assert_eq!(String::from_utf8(seen).unwrap(), format!("{CARD}\n"));
    }
}
