//! What the shell that we offer carries from one line to the next: a directory and variables.
//!
//! In: lines of a client. Out: what is sent for each, which is also what is judged. Values of the client and of the server
//! are quoted, so that they are words and never code.

use std::collections::BTreeMap;

use crate::protocol::shell::{self, Command};

/// Variables of a shell, and bytes of one.
const MOST: usize = 64;
const LONGEST: usize = 4_096;

/// What a line is to us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing.
    Blank,
    /// `exit`, with the status where it names one.
    Exit(Option<u32>),
    /// `help`
    Help,
    /// `history`
    History,
    /// `cd`: where it leads is asked of the server.
    Directory,
    /// `export`, each value written out.
    Export(Vec<(String, String)>),
    /// `unset`
    Unset(Vec<String>),
    /// Of ours, and not as we take it: with the reason.
    Unclear(&'static str),
    /// Anything else.
    Run,
}

/// What is carried.
#[derive(Debug, Default)]
pub(super) struct Carried {
    directory: Option<String>,
    variables: BTreeMap<String, String>,
}

impl Carried {
    /// The directory, as prompts show it.
    pub(super) fn directory(&self) -> &str {
        self.directory.as_deref().unwrap_or("~")
    }

    /// What is sent for a line. In braces, so that none of it runs where the directory is gone.
    pub(super) fn compose(&self, line: &str) -> String {
        let mut before = Vec::new();
        if let Some(directory) = &self.directory {
            before.push(format!("cd -- {}", quoted(directory)));
        }
        if !self.variables.is_empty() {
            let all: Vec<_> = self.variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
            before.push(format!("export {}", all.join(" ")));
        }
        if before.is_empty() { line.to_owned() } else { format!("{} && {{\n{line}\n}}", before.join(" && ")) }
    }

    /// What is sent for a line that changes the directory.
    pub(super) fn compose_directory(&self, line: &str) -> String {
        self.compose(&format!("{line}\npwd"))
    }

    /// The server says where `cd` led.
    pub(super) fn moved(&mut self, said: &[u8]) -> Result<(), &'static str> {
        let said = String::from_utf8_lossy(said);
        // CDPATH has the shell say it once more, before.
        let last = said.lines().last().unwrap_or_default();
        if !last.starts_with('/') || last.len() > LONGEST || last.chars().any(char::is_control) {
            return Err("the server does not say where that is");
        }
        self.directory = Some(last.to_owned());
        Ok(())
    }

    /// Takes variables over.
    pub(super) fn export(&mut self, variables: Vec<(String, String)>) -> Result<(), &'static str> {
        for (name, value) in variables {
            if self.variables.len() >= MOST && !self.variables.contains_key(&name) {
                return Err("that are too many variables: unset some");
            }
            self.variables.insert(name, value);
        }
        Ok(())
    }

    /// Forgets variables.
    pub(super) fn unset(&mut self, names: &[String]) {
        self.variables.retain(|name, _| !names.contains(name));
    }
}

/// What a line is.
pub(super) fn read(line: &str) -> Line {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [] => Line::Blank,
        ["help"] => Line::Help,
        ["history"] => Line::History,
        ["exit" | "logout"] => Line::Exit(None),
        ["exit", status] if status.parse::<u8>().is_ok() => Line::Exit(status.parse().ok()),
        ["cd" | "export" | "unset", ..] => shell_word(line),
        _ => Line::Run,
    }
}

/// A line that begins with a builtin: it is meant to last where it is all of the line.
fn shell_word(line: &str) -> Line {
    let facts = shell::facts(line.as_bytes());
    let [command] = facts.commands.as_slice() else { return Line::Run };
    if !command.reads.is_empty() || !command.writes.is_empty() || command.as_root {
        return Line::Run;
    }
    match command.name.as_deref() {
        Some("cd") => Line::Directory,
        Some("export") => exported(command),
        Some("unset") => {
            let names = command.arguments.iter().map(|argument| argument.known().map(str::to_owned));
            names.collect::<Option<Vec<_>>>().map_or(Line::Unclear("unset takes names"), Line::Unset)
        }
        _ => Line::Run,
    }
}

fn exported(command: &Command) -> Line {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let fits = text.len() <= LONGEST && !value.chars().any(char::is_control);
        (is_name && fits).then(|| (name.to_owned(), value.to_owned()))
    };
    let all = command.arguments.iter().map(|argument| argument.known().and_then(pair));
    match all.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty()) {
        Some(all) => Line::Export(all),
        None => Line::Unclear("export takes NAME=VALUE here, with the value written out"),
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_ours_are_known_where_they_stand_alone() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (line, expected) in [
            ("  ", Line::Blank),
            ("help", Line::Help),
            ("exit 3", Line::Exit(Some(3))),
            ("exit 300", Line::Run),
            ("exit; rm x", Line::Run),
            ("cd /srv", Line::Directory),
            ("cd \"$HOME/x y\"", Line::Directory),
            ("cd /srv && rm x", Line::Run),
            ("cd $(rm x)", Line::Run),
            ("cd /srv > x", Line::Run),
            ("export A=b 'C=d e'", Line::Export(vec![pair("A", "b"), pair("C", "d e")])),
            ("export A=\"x  y\" B=z", Line::Export(vec![pair("A", "x  y"), pair("B", "z")])),
            ("export A=$B", Line::Unclear("export takes NAME=VALUE here, with the value written out")),
            ("export A=b; ls", Line::Run),
            ("unset A B", Line::Unset(vec!["A".into(), "B".into()])),
            ("unset A | ls", Line::Run),
            ("ls -l", Line::Run),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_carried_stands_before_the_line_and_nothing_runs_elsewhere() {
        let mut carried = Carried::default();
        assert_eq!(carried.compose("ls"), "ls");
        carried.moved(b"/old\n/srv/it's\n").unwrap();
        carried.export(vec![("A".into(), "b c".into())]).unwrap();
        assert_eq!(carried.compose("ls # x"), "cd -- '/srv/it'\\''s' && export A='b c' && {\nls # x\n}");
        carried.unset(&["A".into()]);
        assert_eq!(carried.compose_directory("cd x"), "cd -- '/srv/it'\\''s' && {\ncd x\npwd\n}");
        for said in [&b""[..], b"srv\n", b"/a\x1b[2J\n", b"\xff"] {
            assert!(carried.moved(said).is_err(), "{said:?}");
        }
    }

    #[test]
    fn what_is_carried_runs_in_a_real_shell_as_it_was_said() {
        let mut carried = Carried::default();
        let value = "a'b\"c$(touch /tmp/never)`d`\\ é";
        carried.export(vec![("A".into(), value.into())]).unwrap();
        carried.moved(b"/\n").unwrap();
        let run = |line: &str| {
            let output = std::process::Command::new("bash").args(["-c", &carried.compose(line)]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(run("printf %s \"$A\"; pwd # end"), format!("{value}/\n"));
        let mut gone = Carried::default();
        gone.moved(b"/nowhere/at/all\n").unwrap();
        let output =
            std::process::Command::new("bash").args(["-c", &gone.compose("echo ran; echo on")]).output().unwrap();
        assert_eq!(output.stdout, b"");
    }

    proptest! {
        #[test]
        fn a_quoted_value_is_one_known_word(value in "[^\\x00-\\x1f\\x7f-\\x{9f}]{0,40}") {
            let mut carried = Carried::default();
            carried.export(vec![("A".into(), value)]).unwrap();
            let names: Vec<_> =
                shell::facts(carried.compose("ls").as_bytes()).commands.into_iter().map(|command| command.name).collect();
            let is_read = names == [Some("export".to_owned()), Some("ls".to_owned())];
            // What cannot be read at all is one opaque command, and is judged as that.
            prop_assert!(is_read || names == [None], "{names:?}");
        }
    }
}
