//! First packets. In: any bytes. It must never read a cut packet as another one, nor write what it would not read.
#![no_main]

use gateway::protocol::postgres::fuzzing::startup;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = startup(bytes);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        if let Some(Ok(Some(read))) = startup(&bytes[..cut]) {
            // What stood there already is read the same with more behind it.
            assert!(matches!(&whole, Some(Ok(Some(same))) if *same == read));
        }
    }
    let Some(Ok(Some((asked, message)))) = whole else { return };
    let Some(Ok(Some((again, same)))) = startup(&message) else { panic!("our own message is not read") };
    assert_eq!((asked, message), (again, same));
});
