//! What fuzz targets reach of this engine; no ordinary build has it.
//!
//! In: bytes of a client or a server. Out: what became of them, held to what must be true of it. It must never hold logic
//! of its own.

pub use super::line_shell::fuzzing::{editor, place};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_inputs_hold() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in [("editor", editor as fn(&[u8])), ("place", place)] {
            let inputs: Vec<_> = std::fs::read_dir(folder.join(name)).unwrap().collect();
            assert!(inputs.len() > 1, "{name}");
            inputs.into_iter().for_each(|input| target(&std::fs::read(input.unwrap().path()).unwrap()));
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_holds(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
            lines in "((s|l)(/[a-z' $;]{0,8}|cd [a-z/'\"$()]{0,8}|export A=[a-z'\"$();&|]{0,8}|unset A)\n){0,8}",
        ) {
            for input in [bytes.as_slice(), lines.as_bytes()] {
                editor(input);
                place(input);
            }
        }
    }
}
