//! Policy files. In: any text. A set is made of all of it, or faults say what is wrong with it.
#![no_main]

use gateway::policy::load::{Origin, PolicyFile, Source, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = PolicyFile { name: "site.cedar".to_owned(), text: text.to_owned(), guard: false };
    let source = Source { origin: Origin::Files(vec![file]), ..Source::default() };
    if let Err(faults) = check(&source) {
        assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.to_string().is_empty()));
    }
});
