//! A second reading of a command line, by `brush-parser`, an implementation of bash's grammar.
//!
//! In: text and what `grammar` made of it. Out: whether both see the same commands with the same words. Two readers that
//! were written apart rarely go wrong in the same place: where they differ, nobody may say what a shell would run.
//! brush-parser recurses and goes back: it gets nothing that is deep, ambiguous or not a program of ours, and a stack and
//! a thread of its own, where it may panic.

use std::sync::mpsc;
use std::time::Duration;

use brush_parser::ast::{
    AndOr, AndOrList, AssignmentValue, Command, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList,
    ExtendedTestExpr, IoFileRedirectTarget, IoRedirect, Pipeline, Program, RedirectList, SimpleCommand,
};
use brush_parser::{ParserOptions, parse_tokens, uncached_tokenize_str};

use super::grammar::{self, Target};
use super::word::Word;

/// For the nesting that `scan` lets pass, in a build without optimisations.
const STACK: usize = 32 * 1024 * 1024;
/// What the caps let pass takes a few milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// More `case` or subshells inside each other take time that doubles with each.
const DEEPEST_CASE: usize = 4;
/// Stands where a process substitution stood.
const PROCESS: &str = "/dev/fd/63";

/// The words of each command, and all other words of the text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reading {
    commands: Vec<Vec<String>>,
    others: Vec<String>,
}

/// Whether both readings of `text` are the same.
pub(super) fn agrees(text: &str, program: &grammar::Program) -> bool {
    let cases = text.matches("case").count();
    let openings = text.matches('(').count() - text.matches("$(").count();
    if cases > DEEPEST_CASE || openings > 4 * DEEPEST_CASE {
        return false;
    }
    let owned = without_processes(text, program);
    let (sender, answer) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("second reading".to_owned()).stack_size(STACK).spawn(move || {
        let _ = sender.send(read(&owned));
    });
    if thread.is_err() {
        return false;
    }
    let Ok(Some(second)) = answer.recv_timeout(PATIENCE) else { return false };
    second == of(program)
}

/// brush-parser takes `<(…)` for a redirection. What is inside is read, twice too, as a command line of its own.
fn without_processes(text: &str, program: &grammar::Program) -> String {
    let mut spans: Vec<_> =
        words(program).filter(|word| word.has_process).map(|word| (word.start, word.raw.len())).collect();
    spans.sort_unstable();
    let (mut rest, mut end) = (String::with_capacity(text.len()), 0);
    for (start, length) in spans {
        rest.push_str(text.get(end..start).unwrap_or_default());
        rest.push_str(PROCESS);
        end = start + length;
    }
    rest.push_str(text.get(end..).unwrap_or_default());
    rest
}

fn words(program: &grammar::Program) -> impl Iterator<Item = &Word> {
    let of_commands = program.commands.iter().flat_map(|command| {
        let targets = command.redirections.iter().filter_map(|redirection| match &redirection.target {
            Target::Word(word) => Some(word),
            Target::Here(_) => None,
        });
        command.assignments.iter().chain(&command.words).chain(targets)
    });
    of_commands.chain(&program.others)
}

fn raw(word: &Word) -> String {
    if word.has_process { PROCESS.to_owned() } else { word.raw.clone() }
}

fn read(text: &str) -> Option<Reading> {
    let options = ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() };
    let tokens = uncached_tokenize_str(text, &options.tokenizer_options()).ok()?;
    let program: Program = parse_tokens(&tokens, &options).ok()?;
    let mut reading = Reading::default();
    for list in &program.complete_commands {
        reading.list(list)?;
    }
    reading.others.sort_unstable();
    Some(reading)
}

/// What our own grammar says, in the same form.
fn of(program: &grammar::Program) -> Reading {
    let mut reading = Reading::default();
    for command in &program.commands {
        let mut words: Vec<String> = command.words.iter().map(raw).collect();
        // A reserved word of bash, which counts what stands behind it; elsewhere a program.
        if words.first().is_some_and(|first| first == "time") {
            words.remove(0);
            if words.first().is_some_and(|first| first == "-p") {
                words.remove(0);
            }
        }
        if !words.is_empty() {
            reading.commands.push(words);
        }
        reading.others.extend(command.assignments.iter().map(raw));
        for redirection in &command.redirections {
            reading.others.push(match &redirection.target {
                Target::Word(word) => raw(word),
                Target::Here(here) => here.delimiter.clone(),
            });
        }
    }
    reading.others.extend(program.others.iter().map(raw));
    reading.others.sort_unstable();
    reading
}

impl Reading {
    fn list(&mut self, list: &CompoundList) -> Option<()> {
        for item in &list.0 {
            self.and_or(&item.0)?;
        }
        Some(())
    }

    fn and_or(&mut self, list: &AndOrList) -> Option<()> {
        self.pipeline(&list.first)?;
        for next in &list.additional {
            match next {
                AndOr::And(pipeline) | AndOr::Or(pipeline) => self.pipeline(pipeline)?,
            }
        }
        Some(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Option<()> {
        pipeline.seq.iter().try_for_each(|command| self.command(command))
    }

    fn command(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) => {
                self.compound(compound)?;
                self.redirects(redirects.as_ref())
            }
            Command::Function(function) => {
                self.compound(&function.body.0)?;
                self.redirects(function.body.1.as_ref())
            }
            Command::ExtendedTest(test, redirects) => {
                self.test(&test.expr);
                self.redirects(redirects.as_ref())
            }
        }
    }

    fn test(&mut self, test: &ExtendedTestExpr) {
        match test {
            ExtendedTestExpr::And(one, other) | ExtendedTestExpr::Or(one, other) => {
                self.test(one);
                self.test(other);
            }
            ExtendedTestExpr::Not(inner) | ExtendedTestExpr::Parenthesized(inner) => self.test(inner),
            ExtendedTestExpr::UnaryTest(_, word) => self.others.push(word.value.clone()),
            ExtendedTestExpr::BinaryTest(_, one, other) => {
                self.others.extend([one.value.clone(), other.value.clone()]);
            }
        }
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Option<()> {
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(group) => self.list(&group.list),
            CompoundCommand::ForClause(clause) => {
                self.others.extend(clause.values.iter().flatten().map(|word| word.value.clone()));
                self.list(&clause.body.list)
            }
            CompoundCommand::CaseClause(clause) => {
                self.others.push(clause.value.value.clone());
                for case in &clause.cases {
                    self.others.extend(case.patterns.iter().map(|word| word.value.clone()));
                    case.cmd.as_ref().map_or(Some(()), |list| self.list(list))?;
                }
                Some(())
            }
            CompoundCommand::IfClause(clause) => {
                self.list(&clause.condition)?;
                self.list(&clause.then)?;
                for branch in clause.elses.iter().flatten() {
                    branch.condition.as_ref().map_or(Some(()), |list| self.list(list))?;
                    self.list(&branch.body)?;
                }
                Some(())
            }
            CompoundCommand::WhileClause(clause) | CompoundCommand::UntilClause(clause) => {
                self.list(&clause.0)?;
                self.list(&clause.1.list)
            }
            CompoundCommand::Arithmetic(_)
            | CompoundCommand::ArithmeticForClause(_)
            | CompoundCommand::Coprocess(_) => None,
        }
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Option<()> {
        let mut words: Vec<String> = simple.word_or_name.iter().map(|word| word.value.clone()).collect();
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0).map(|item| (true, item));
        let suffix = simple.suffix.iter().flat_map(|suffix| &suffix.0).map(|item| (false, item));
        for (is_prefix, item) in prefix.chain(suffix) {
            match item {
                Item::IoRedirect(redirect) => self.redirect(redirect)?,
                Item::Word(word) => words.push(word.value.clone()),
                Item::AssignmentWord(assignment, _) if matches!(assignment.value, AssignmentValue::Array(_)) => {
                    return None;
                }
                Item::AssignmentWord(_, word) if is_prefix => self.others.push(word.value.clone()),
                Item::AssignmentWord(_, word) => words.push(word.value.clone()),
                Item::ProcessSubstitution(..) => return None,
            }
        }
        if !words.is_empty() {
            self.commands.push(words);
        }
        Some(())
    }

    fn redirects(&mut self, redirects: Option<&RedirectList>) -> Option<()> {
        redirects.into_iter().flat_map(|list| &list.0).try_for_each(|redirect| self.redirect(redirect))
    }

    fn redirect(&mut self, redirect: &IoRedirect) -> Option<()> {
        match redirect {
            IoRedirect::File(_, _, IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word))
            | IoRedirect::HereString(_, word)
            | IoRedirect::OutputAndError(word, _) => self.others.push(word.value.clone()),
            IoRedirect::HereDocument(_, here) => self.others.push(here.here_end.value.clone()),
            // What `|&` stands for.
            IoRedirect::File(_, _, IoFileRedirectTarget::Fd(_)) => {}
            IoRedirect::File(_, _, IoFileRedirectTarget::ProcessSubstitution(..)) => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_reading_is_noticed() {
        let program = |text: &str| grammar::program(text).unwrap();
        for text in
            ["a b > c", "a | b && c", "x=1 a $(b)", "if a; then b; fi", "cat <<E\nx\nE\n", "a <(b) c", "time a b"]
        {
            assert!(agrees(text, &program(text)), "{text}");
            for other in ["a", "a; c", "a b c", "x=1 a", "cat"] {
                assert!(!agrees(text, &program(other)), "{text} is not {other}");
            }
        }
    }
}
