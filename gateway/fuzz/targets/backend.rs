//! Any server. In: messages of both sides, the first bit of each piece says whose. Each permitted run must have exactly
//! one outcome, whatever the server says.
#![no_main]

use gateway::protocol::postgres::fuzzing::{Did, Machine};
use libfuzzer_sys::fuzz_target;

/// Tags that come often: a tag at random is mostly none.
const CLIENT: &[u8] = b"QPBEDCSHfcdXFp";
const SERVER: &[u8] = b"Z123tTnDCIsGHdcENASRKvWV";

fuzz_target!(|bytes: &[u8]| {
    let mut machine = Machine::default();
    let mut rest = bytes;
    while let Some((&[side, tag, size], after)) = rest.split_first_chunk::<3>() {
        let (body, after) = after.split_at(usize::from(size).min(after.len()));
        rest = after;
        let tags = if side & 1 == 0 { CLIENT } else { SERVER };
        let mut message = vec![tags[usize::from(tag) % tags.len()]];
        message.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        message.extend(body);
        let goes_on =
            if side & 1 == 0 { machine.client(&message) != Did::Ended } else { machine.server(&message).is_ok() };
        if !goes_on {
            break;
        }
    }
    let (permits, outcomes) = machine.end();
    assert_eq!(permits, outcomes, "each permitted run has one outcome");
});
