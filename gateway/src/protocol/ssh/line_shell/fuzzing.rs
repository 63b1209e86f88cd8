//! What fuzz targets reach of the shell of lines; no ordinary build has it.
//!
//! In: keys of a client; lines of it, and what a server says of directories. Out: what became of them, held to what must be
//! true of it. It must never hold logic of its own.

use super::carried::{Carried, Line, read};
use super::editor::{Editor, Typed, is_plain};
use crate::protocol::shell::{Command, facts};

/// Whatever is typed: a line is plain, and the terminal is told nothing but to draw it.
pub fn editor(bytes: &[u8]) {
    let Some((columns, keys)) = bytes.split_first() else { return };
    let (mut editor, mut out) = (Editor::new(u32::from(*columns)), Vec::new());
    editor.begin("$ ".to_owned(), &mut out);
    for key in keys {
        out.clear();
        if let Some(Typed::Line(line)) = editor.push(*key, &mut out) {
            assert!(line.chars().all(is_plain), "{line:?}");
        }
        let shown = String::from_utf8_lossy(&out).replace("\u{1b}[H\u{1b}[2J", "").replace("\u{1b}[K", "");
        for (place, piece) in shown.split("\u{1b}[").enumerate() {
            let text = if place == 0 { piece } else { piece.trim_start_matches(|next: char| next.is_ascii_digit()) };
            let text = if place == 0 { text } else { text.strip_prefix('C').unwrap_or("\u{1b}") };
            assert!(!text.chars().any(|next| next.is_control() && !matches!(next, '\r' | '\n' | '\u{7}')), "{shown:?}");
        }
    }
}

/// Whatever a client says and a server answers: before a line stand a directory and variables, and nothing else runs.
pub fn place(bytes: &[u8]) {
    let mut carried = Carried::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((who, rest)) = line.split_first() else { continue };
        let Ok(text) = std::str::from_utf8(rest) else { continue };
        // What the server says of where it is, or a line of the client.
        if *who == b's' {
            let _ = carried.moved(rest);
        } else if text.chars().all(is_plain) {
            match read(text) {
                Line::Export(variables) => drop(carried.export(variables)),
                Line::Unset(names) => carried.unset(&names),
                _ => {}
            }
        }
        let commands = facts(carried.compose("true end").as_bytes()).commands;
        let name = |command: &Command| command.name.clone().unwrap_or_default();
        let is_opaque =
            matches!(commands.as_slice(), [command] if command.name.is_none() && !command.opaque.is_empty());
        assert!(!commands.is_empty(), "nothing runs");
        let Some((last, before)) = commands.split_last() else { continue };
        let carries = before.iter().all(|command| matches!(name(command).as_str(), "cd" | "export"));
        assert!(is_opaque || (name(last) == "true" && carries), "{commands:?}");
    }
}
