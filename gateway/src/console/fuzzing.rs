//! What a fuzz target reaches of the console; no ordinary build has it.
//!
//! In: bytes as a browser, an agent or another site may have written them. Out: held to what must be true of forms, of places
//! to go to, and of pages.

use super::login::field;
use super::pages::text;
use super::routes::is_own;
use crate::http::form;

/// A field comes out as it was written, a place of ours is on this host, and text is text.
pub fn fuzz(bytes: &[u8]) {
    let input = String::from_utf8_lossy(bytes);
    let _ = field(&input, "token");
    let written = form(&[("before", "x"), ("token", &input)]);
    assert_eq!(field(&written, "token").as_deref(), Some(&*input));
    if is_own(&input) {
        assert!(
            input.starts_with('/') && !input.contains("//") && !input.contains(['\\', ':', '%', '\n']),
            "{input:?}"
        );
    }
    let shown = text(&input).replace("<mark>", "").replace("</mark>", "");
    let is_markup = |c| matches!(c, '<' | '>' | '"' | '\'') || (char::is_control(c) && c != '\n');
    assert!(!shown.contains(is_markup), "{shown:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_inputs_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/browser");
        let inputs: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
        assert!(inputs.len() > 1);
        inputs.into_iter().for_each(|input| fuzz(&std::fs::read(input.unwrap().path()).unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn anything_holds(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), text in "[/&=%+<>\"'a-z\u{202e}\u{1b}]{0,60}") {
            fuzz(&bytes);
            fuzz(text.as_bytes());
        }
    }
}
