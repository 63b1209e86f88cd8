//! From a command line to its commands, and into what they run in turn.
//!
//! In: text that `scan` let pass. Out: its commands. Scripts inside scripts are read as scripts of their own, up to a
//! depth and a number; what lies beyond is opaque. It must never drop a word's doubts or a nested script.

use std::collections::BTreeSet;

use super::facts::{Argument, Certainty, Command, Kind};
use super::grammar::{self, Redirection, Simple, Target};
use super::paths::{self, Folders};
use super::reason::Reason;
use super::word::Word;
use super::{builtin, code, effects, second, wrap};

/// Scripts inside scripts.
const DEEPEST: usize = 12;
/// Commands of one line.
const MOST: usize = 512;

/// Where a command's standard input comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Stdin {
    /// The client, later.
    #[default]
    Inherited,
    Pipe,
    File,
    /// This text, and no other.
    Known(String),
}

/// What a command runs in turn, or what else its arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Inner {
    /// Another program with its arguments.
    Run(Vec<Argument>),
    /// The same, as root.
    RunAsRoot(Vec<Argument>),
    /// A command line.
    Script(String),
    /// A command line, as root.
    ScriptAsRoot(String),
    /// Something that cannot be read.
    Doubt(Reason),
    /// Something that it is known to do.
    Is(Kind),
}

#[derive(Clone, Debug, Default)]
struct Around {
    as_root: bool,
    stdin: Stdin,
}

/// The commands of a text; one that does nothing where there is none.
pub(super) fn read(text: &str) -> Vec<Command> {
    let mut reader = Reader { commands: Vec::new(), depth: 0 };
    reader.script(text, &Around::default());
    let mut commands = reader.commands;
    if commands.is_empty() {
        commands.push(Command { name: Some(":".to_owned()), ..Command::default() });
    }
    let folders = Folders::of(&commands);
    for command in &mut commands {
        effects::note(command, &folders);
    }
    commands
}

struct Reader {
    commands: Vec<Command>,
    depth: usize,
}

impl Reader {
    fn script(&mut self, text: &str, around: &Around) {
        if self.depth >= DEEPEST || self.commands.len() >= MOST {
            return self.commands.push(Command::unread(Reason::TooDeep));
        }
        let program = match grammar::program(text) {
            Ok(program) => program,
            Err(reason) => return self.commands.push(Command::unread(reason)),
        };
        if !second::agrees(text, &program) {
            self.commands.push(Command::unread(Reason::TwoReadings));
        }
        self.depth += 1;
        for command in &program.commands {
            if self.commands.len() >= MOST {
                self.commands.push(Command::unread(Reason::TooDeep));
                break;
            }
            self.simple(command, around);
        }
        for word in &program.others {
            let doubts = self.word(word, around);
            if !doubts.is_empty() {
                self.commands.push(Command { opaque: doubts, ..Command::default() });
            }
        }
        self.depth -= 1;
    }

    /// What runs while the word is expanded, and what is in doubt about it.
    fn word(&mut self, word: &Word, around: &Around) -> BTreeSet<Reason> {
        for script in &word.scripts {
            self.script(script, &Around { as_root: around.as_root, stdin: Stdin::default() });
        }
        word.doubts.iter().copied().collect()
    }

    fn simple(&mut self, simple: &Simple, around: &Around) {
        let stdin = if simple.is_fed { Stdin::Pipe } else { around.stdin.clone() };
        let mut around = Around { as_root: around.as_root, stdin };
        let mut outer = Command { as_root: around.as_root, ..Command::default() };
        for word in simple.assignments.iter().chain(&simple.words) {
            outer.opaque.extend(self.word(word, &around));
        }
        if simple.assignments.iter().filter_map(Word::assignment).any(builtin::is_loaded) {
            outer.opaque.insert(Reason::Environment);
        }
        for redirection in &simple.redirections {
            self.redirection(redirection, &mut outer, &mut around);
        }
        let words = simple.words.iter();
        let argv =
            words.map(|word| Argument { text: word.text.clone(), certainty: word.certainty }).collect::<Vec<_>>();
        if !argv.is_empty() {
            return self.run(argv, outer, &around);
        }
        // Assignments and redirections alone run nothing.
        if outer != (Command { as_root: around.as_root, ..Command::default() }) {
            outer.name = Some(":".to_owned());
            self.commands.push(outer);
        }
    }

    fn redirection(&mut self, redirection: &Redirection, outer: &mut Command, around: &mut Around) {
        let is_input = redirection.number.as_deref().is_none_or(|number| number == "0");
        let was_set = !matches!(around.stdin, Stdin::Inherited | Stdin::Pipe);
        let word = match &redirection.target {
            Target::Here(here) => {
                for script in &here.scripts {
                    self.script(script, &Around { as_root: around.as_root, stdin: Stdin::default() });
                }
                outer.opaque.extend(here.doubts.iter().copied());
                if is_input {
                    let text = here.text.clone().filter(|_| !was_set);
                    around.stdin = text.map_or(Stdin::File, Stdin::Known);
                }
                return;
            }
            Target::Word(word) => word,
        };
        outer.opaque.extend(self.word(word, around));
        if redirection.operator == "<<<" {
            if is_input {
                let known = (word.certainty == Certainty::Known && !was_set).then(|| format!("{}\n", word.text));
                around.stdin = known.map_or(Stdin::File, Stdin::Known);
            }
            return;
        }
        let duplicates = matches!(redirection.operator, ">&" | "<&");
        if duplicates && (word.raw == "-" || word.raw.trim_end_matches('-').bytes().all(|byte| byte.is_ascii_digit())) {
            if redirection.operator == "<&" && is_input {
                around.stdin = Stdin::File;
            }
            return;
        }
        // A process substitution: what it runs is read already.
        if word.has_process {
            if is_input && redirection.operator.starts_with('<') {
                around.stdin = Stdin::Pipe;
            }
            return;
        }
        let is_home = word.certainty == Certainty::Pattern
            && word.text.starts_with('~')
            && !word.text.contains(['*', '?', '[', '{']);
        if word.certainty != Certainty::Known && !is_home {
            outer.opaque.insert(Reason::Redirect);
        }
        if paths::is_connection(&word.text) {
            outer.kinds.insert(Kind::Relay);
        }
        if redirection.operator.starts_with('<') {
            outer.reads.push(word.text.clone());
            if is_input {
                around.stdin = Stdin::File;
            }
        }
        if redirection.operator != "<" {
            outer.writes.push(word.text.clone());
        }
    }

    /// A program with its arguments; `command` holds what its redirections and words say.
    fn run(&mut self, mut argv: Vec<Argument>, mut command: Command, around: &Around) {
        if self.commands.len() >= MOST || self.depth > 4 * DEEPEST {
            return self.commands.push(Command::unread(Reason::TooDeep));
        }
        let program = argv.remove(0);
        command.arguments = argv;
        command.as_root = around.as_root;
        let is_at_home = program.text.starts_with("~/") && !program.text.contains(['*', '?', '[', '{']);
        match program.certainty {
            Certainty::Unknown => return self.nameless(command, Reason::VariableCommand),
            Certainty::Pattern if !is_at_home => return self.nameless(command, Reason::PatternCommand),
            Certainty::Known | Certainty::Pattern => {}
        }
        let plain = |next: char| next.is_ascii_alphanumeric() || "_./+@:,-[]~".contains(next);
        if program.text.is_empty() || !program.text.chars().all(plain) {
            return self.nameless(command, Reason::StrangeName);
        }
        let (folder, name) =
            program.text.rsplit_once('/').map_or((None, program.text.as_str()), |(folder, name)| (Some(folder), name));
        if let Some(folder) = folder {
            command.path = Some(program.text.clone());
            if !paths::is_program_folder(folder) {
                command.opaque.insert(Reason::OwnProgram);
            }
        }
        command.name = Some(name.to_owned());
        let mut inner = builtin::inner(&command);
        inner.extend(wrap::inner(&command));
        inner.extend(code::inner(&command, &around.stdin));
        for one in &inner {
            match one {
                Inner::Doubt(reason) => drop(command.opaque.insert(*reason)),
                Inner::Is(kind) => drop(command.kinds.insert(*kind)),
                Inner::Run(_) | Inner::RunAsRoot(_) | Inner::Script(_) | Inner::ScriptAsRoot(_) => {}
            }
        }
        self.commands.push(command);
        self.depth += 1;
        for one in inner {
            let as_root = around.as_root || matches!(one, Inner::RunAsRoot(_) | Inner::ScriptAsRoot(_));
            let around = Around { as_root, stdin: around.stdin.clone() };
            match one {
                Inner::Run(argv) | Inner::RunAsRoot(argv) if !argv.is_empty() => {
                    self.run(argv, Command::default(), &around)
                }
                Inner::Script(text) | Inner::ScriptAsRoot(text) => self.script(&text, &around),
                _ => {}
            }
        }
        self.depth -= 1;
    }

    fn nameless(&mut self, mut command: Command, reason: Reason) {
        command.opaque.insert(reason);
        self.commands.push(command);
    }
}
