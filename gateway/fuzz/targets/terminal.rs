//! What a terminal shows. In: any bytes, cut anywhere, and when its caller waited long enough. As many bytes come out, in
//! order, sequences among them as they were.
#![no_main]

use std::sync::Arc;

use gateway::masking::class::Classes;
use gateway::masking::detect::Detectors;
use gateway::masking::terminal::TerminalMasker;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut masker = TerminalMasker::new(Arc::new(Detectors::shipped(&Classes::default())), 1024);
    let (mut put, mut out) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while let Some((&length, behind)) = rest.split_first() {
        let (chunk, behind) = behind.split_at(usize::from(length).min(behind.len()));
        masker.push(chunk, &mut out);
        put.extend_from_slice(chunk);
        if length & 1 == 1 {
            masker.flush(&mut out);
        }
        assert_eq!(out.len() + masker.held(), put.len());
        rest = behind;
    }
    masker.flush(&mut out);
    assert_eq!((out.len(), masker.held()), (put.len(), 0));
    for (shown, was) in out.iter().zip(&put) {
        assert!(shown == was || (*shown == b'*' && *was != 0x1b), "only what is shown is hidden");
    }
});
