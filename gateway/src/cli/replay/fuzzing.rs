//! What fuzz targets reach of recordings; no ordinary build has it.
//!
//! In: bytes of which a recording is made. Out: an asciicast of either version and what is played, held to what must be
//! true of them. It must never hold logic of its own.

use serde_json::Value;

use crate::audit::event::{FrameStream, SshFrame};
use crate::audit::hex;
use crate::recording::{Cast, Filter, Recording, bytes};

/// A cast has a header and its events in order, and shows what the recording has, no more and no less.
pub fn cast(input: &[u8]) {
    let recording = Recording { started: 0, frames: frames(input) };
    let is_shown = |frame: &&SshFrame| matches!(frame.stream, FrameStream::Out | FrameStream::Err);
    let raw: Vec<u8> = recording.frames.iter().filter(is_shown).flat_map(bytes).collect();
    let expected = String::from_utf8_lossy(&raw).into_owned();
    let ends = [Cast::V2, Cast::V3].map(|version| {
        let text = recording.cast(version);
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or(Value::Bool(false)));
        assert!(lines.next().is_some_and(|head| head.is_object()));
        let (mut shown, mut last, mut sum) = (String::new(), 0, 0);
        for line in lines {
            let event = (line.get(0).and_then(Value::as_f64), line.get(1).and_then(Value::as_str), line.get(2));
            let (Some(seconds), Some(code), Some(Value::String(data))) = event else {
                assert!(line.is_null(), "no event: {line}");
                continue;
            };
            assert!(code == "o" || code == "r");
            if code == "o" {
                shown += data;
            }
            let micros = (seconds * 1e6).round() as u64;
            assert!(matches!(version, Cast::V3) || micros >= last);
            (last, sum) = (micros, sum + micros);
        }
        // A character that nothing completes is the only thing that may be left out.
        let rest = expected.strip_prefix(&shown).unwrap_or("another text");
        assert!(rest.is_empty() || rest == "\u{fffd}", "{rest:?}");
        if matches!(version, Cast::V2) { last } else { sum }
    });
    assert_eq!(ends.first(), ends.last());
}

/// What is played is the same however it is cut, and no sequence of it does more than draw.
pub fn played(input: &[u8]) {
    let whole = Filter::default().pass(input);
    let mut filter = Filter::default();
    let cut: Vec<u8> = input.iter().flat_map(|byte| filter.pass(&[*byte])).collect();
    assert_eq!(whole, cut);
    let text = String::from_utf8_lossy(&whole);
    assert_eq!(text.as_bytes(), whole);
    assert!(!text.chars().any(|next| next == '\u{5}' || ('\u{80}'..='\u{9f}').contains(&next)));
    for behind in text.split('\u{1b}').skip(1) {
        let mut rest = behind.chars();
        match rest.next() {
            Some('[') => {
                let last = rest.find(|next| ('@'..='~').contains(next));
                assert!(last.is_some_and(|last| !"cntixyqpt".contains(last)), "{behind:?}");
            }
            Some(next) => assert!("78DEHM()".contains(next), "{behind:?}"),
            None => assert_ne!(behind, "", "an escape without a sequence"),
        }
    }
}

/// Each frame: what it is, how much later, how long, and its bytes.
fn frames(mut input: &[u8]) -> Vec<SshFrame> {
    let (mut frames, mut at_us) = (Vec::new(), 0);
    while let [kind, later, length, rest @ ..] = input {
        at_us += u64::from(*later) * 999;
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let frame = SshFrame { at_us, ..SshFrame::default() };
        frames.push(match kind % 4 {
            0 => SshFrame { stream: FrameStream::Size, size: Some((u32::from(*later), u32::from(*length))), ..frame },
            1 => SshFrame { stream: FrameStream::In, bytes: Some(u64::from(*length)), ..frame },
            2 => SshFrame { stream: FrameStream::Err, hex: Some(hex::encode(data)), ..frame },
            _ => SshFrame { stream: FrameStream::Out, hex: Some(hex::encode(data)), ..frame },
        });
        input = rest;
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_inputs_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in [("cast", cast as fn(&[u8])), ("played", played)] {
            let inputs: Vec<_> = std::fs::read_dir(folder.join(name)).unwrap().collect();
            assert!(inputs.len() > 1, "{name}");
            inputs.into_iter().for_each(|input| target(&std::fs::read(input.unwrap().path()).unwrap()));
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_holds(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            text in "[\u{1b}\u{5}\u{7}\u{18}\u{90}\u{9b}-\u{9d}\\[\\]()?;0-9a-zA-Z$ \\\\]{0,60}",
        ) {
            for input in [bytes.as_slice(), text.as_bytes()] {
                cast(input);
                played(input);
            }
        }
    }
}
