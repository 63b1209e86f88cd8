//! The grammar of POSIX shells and the part of bash's that is used in command lines.
//!
//! In: tokens. Out: every simple command that may run, in the order of the text, whatever loops, branches, functions and
//! pipelines stand around it. Recursive descent without going back, so that time is linear. What it does not know is no
//! command of ours: it must never skip a token.

use super::reason::Reason;
use super::scan::DEEPEST;
use super::tokens::{Here, Token, tokens};
use super::word::{Word, is_name};

/// A command line in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) commands: Vec<Simple>,
    /// Words that are expanded without being anybody's argument: those of loops, branches and tests.
    pub(super) others: Vec<Word>,
    /// Names that stand for commands of this line.
    pub(super) functions: Vec<String>,
}

/// A simple command, or the redirections of a compound one.
#[derive(Clone, Debug, Default)]
pub(super) struct Simple {
    pub(super) assignments: Vec<Word>,
    pub(super) words: Vec<Word>,
    pub(super) redirections: Vec<Redirection>,
    /// Its standard input is a pipe.
    pub(super) is_fed: bool,
}

/// A redirection.
#[derive(Clone, Debug)]
pub(super) struct Redirection {
    pub(super) number: Option<String>,
    pub(super) operator: &'static str,
    pub(super) target: Target,
}

/// Where it goes, or what it brings.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Word(Word),
    Here(Here),
}

/// Words that end a list of commands.
const ENDS: [&str; 8] = ["then", "elif", "else", "fi", "do", "done", "esac", "}"];

/// Reads `text`.
///
/// # Errors
/// Where it is not a whole program of this grammar.
pub(super) fn program(text: &str) -> Result<Program, Reason> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, program: Program::default() };
    parser.newlines();
    if parser.peek().is_some() {
        parser.list(false)?;
    }
    if parser.peek().is_some() { Err(Reason::Syntax) } else { Ok(parser.program) }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    program: Program,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn operator(&self) -> Option<&'static str> {
        self.operator_at(self.at)
    }

    fn operator_at(&self, at: usize) -> Option<&'static str> {
        match self.tokens.get(at) {
            Some(Token::Operator(operator)) => Some(operator),
            _ => None,
        }
    }

    fn takes(&mut self, operator: &str) -> bool {
        let fits = self.operator() == Some(operator);
        if fits {
            self.at += 1;
        }
        fits
    }

    /// Whether the next word is this reserved one.
    fn reserved(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(next)) if next.is(word))
    }

    fn expect(&mut self, word: &str) -> Result<(), Reason> {
        if !self.reserved(word) {
            return Err(Reason::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn newlines(&mut self) {
        while self.takes("\n") {}
    }

    fn word(&mut self) -> Result<Word, Reason> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => Err(Reason::Syntax),
        }
    }

    fn is_at_end(&self) -> bool {
        match self.peek() {
            None => true,
            Some(Token::Operator(operator)) => matches!(*operator, ")" | ";;" | ";&" | ";;&"),
            Some(Token::Word(word)) => ENDS.iter().any(|end| word.is(end)),
            Some(_) => false,
        }
    }

    /// One command or more, up to what ends a list.
    fn list(&mut self, is_fed: bool) -> Result<(), Reason> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Reason::TooDeep);
        }
        self.newlines();
        loop {
            self.pipeline(is_fed)?;
            if self.takes("&&") || self.takes("||") {
                self.newlines();
                continue;
            }
            if !(self.takes(";") || self.takes("&") || self.takes("\n")) {
                break;
            }
            self.newlines();
            if self.is_at_end() {
                break;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, is_fed: bool) -> Result<(), Reason> {
        if self.reserved("!") {
            self.at += 1;
        }
        self.command(is_fed)?;
        while self.takes("|") || self.takes("|&") {
            self.newlines();
            self.command(true)?;
        }
        Ok(())
    }

    fn command(&mut self, is_fed: bool) -> Result<(), Reason> {
        let word = match self.peek() {
            Some(Token::Operator("(")) => "(",
            Some(Token::Word(word)) => match word.raw.as_str() {
                "{" | "if" | "while" | "until" | "for" | "case" | "[[" => word.raw.as_str(),
                "!" | "select" | "coproc" | "in" => return Err(Reason::Syntax),
                "function" => return self.function_by_word(is_fed),
                raw if ENDS.contains(&raw) => return Err(Reason::Syntax),
                _ => return self.simple(is_fed),
            },
            _ => return self.simple(is_fed),
        };
        let word = word.to_owned();
        self.at += 1;
        self.compound(&word, is_fed)?;
        let mut redirected = Simple { is_fed, ..Simple::default() };
        while self.redirection(&mut redirected)? {}
        if !redirected.redirections.is_empty() {
            self.program.commands.push(redirected);
        }
        Ok(())
    }

    /// Behind the word that opens a compound command.
    fn compound(&mut self, word: &str, is_fed: bool) -> Result<(), Reason> {
        match word {
            // `((` is arithmetic in bash and two subshells elsewhere.
            "(" if self.operator() == Some("(") => return Err(Reason::Arithmetic),
            "(" => {
                self.list(is_fed)?;
                if !self.takes(")") {
                    return Err(Reason::Syntax);
                }
            }
            "{" => {
                self.list(is_fed)?;
                self.expect("}")?;
            }
            "if" => self.branches(is_fed)?,
            "while" | "until" => {
                self.list(is_fed)?;
                self.body(is_fed)?;
            }
            "for" => self.loop_over(is_fed)?,
            "case" => self.cases(is_fed)?,
            _ => self.test()?,
        }
        Ok(())
    }

    fn body(&mut self, is_fed: bool) -> Result<(), Reason> {
        self.expect("do")?;
        self.list(is_fed)?;
        self.expect("done")
    }

    fn branches(&mut self, is_fed: bool) -> Result<(), Reason> {
        loop {
            self.list(is_fed)?;
            self.expect("then")?;
            self.list(is_fed)?;
            if !self.reserved("elif") {
                break;
            }
            self.at += 1;
        }
        if self.reserved("else") {
            self.at += 1;
            self.list(is_fed)?;
        }
        self.expect("fi")
    }

    fn loop_over(&mut self, is_fed: bool) -> Result<(), Reason> {
        if self.operator() == Some("(") {
            return Err(Reason::Arithmetic);
        }
        if !is_name(&self.word()?.raw) {
            return Err(Reason::Syntax);
        }
        self.newlines();
        if self.reserved("in") {
            self.at += 1;
            while let Some(Token::Word(word)) = self.peek().cloned() {
                self.at += 1;
                self.program.others.push(word);
            }
            if !(self.takes(";") || self.takes("\n")) {
                return Err(Reason::Syntax);
            }
        } else {
            self.takes(";");
        }
        self.newlines();
        self.body(is_fed)
    }

    fn cases(&mut self, is_fed: bool) -> Result<(), Reason> {
        let value = self.word()?;
        self.program.others.push(value);
        self.newlines();
        self.expect("in")?;
        self.newlines();
        while !self.reserved("esac") {
            self.takes("(");
            loop {
                let pattern = self.word()?;
                self.program.others.push(pattern);
                if !self.takes("|") {
                    break;
                }
            }
            if !self.takes(")") {
                return Err(Reason::Syntax);
            }
            self.newlines();
            if !self.is_at_end() {
                self.list(is_fed)?;
            }
            if !(self.takes(";;") || self.takes(";&") || self.takes(";;&")) {
                break;
            }
            self.newlines();
        }
        self.expect("esac")
    }

    /// Behind `[[`. Operators that evaluate arithmetic run what subscripts hold.
    fn test(&mut self) -> Result<(), Reason> {
        loop {
            match self.next() {
                Some(Token::Word(word)) if word.is("]]") => return Ok(()),
                Some(Token::Word(word)) => {
                    if ["-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"].iter().any(|evaluated| word.is(evaluated))
                    {
                        return Err(Reason::Arithmetic);
                    }
                    if word.is("=~") {
                        return Err(Reason::Expansion);
                    }
                    if !is_test_operator(&word.raw) {
                        self.program.others.push(word);
                    }
                }
                Some(Token::Operator("&&" | "||" | "\n")) => {}
                _ => return Err(Reason::Syntax),
            }
        }
    }

    fn function_by_word(&mut self, is_fed: bool) -> Result<(), Reason> {
        self.at += 1;
        let name = self.word()?;
        if self.takes("(") && !self.takes(")") {
            return Err(Reason::Syntax);
        }
        self.function(name.raw, is_fed)
    }

    /// Behind the name of a function and its brackets. What it does, it may do.
    fn function(&mut self, name: String, is_fed: bool) -> Result<(), Reason> {
        if !name.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-')) {
            return Err(Reason::StrangeName);
        }
        self.program.functions.push(name);
        self.newlines();
        match self.peek() {
            Some(Token::Operator("(")) => {}
            Some(Token::Word(word))
                if ["{", "if", "while", "until", "for", "case"].iter().any(|open| word.is(open)) => {}
            _ => return Err(Reason::Syntax),
        }
        self.command(is_fed)
    }

    fn simple(&mut self, is_fed: bool) -> Result<(), Reason> {
        let mut command = Simple { is_fed, ..Simple::default() };
        loop {
            if self.redirection(&mut command)? {
                continue;
            }
            let Some(Token::Word(word)) = self.peek().cloned() else { break };
            self.at += 1;
            if command.words.is_empty() && word.assignment().is_some() {
                command.assignments.push(word);
            } else if command.words.is_empty() && is_element(&word.raw) {
                return Err(Reason::Array);
            } else {
                command.words.push(word);
            }
        }
        if self.operator() == Some("(") {
            let is_function = command.assignments.is_empty() && command.redirections.is_empty();
            return match command.words.as_slice() {
                [name] if is_function && self.operator_at(self.at + 1) == Some(")") => {
                    let name = name.raw.clone();
                    self.at += 2;
                    self.function(name, is_fed)
                }
                _ => Err(Reason::Array),
            };
        }
        let is_empty = command.words.is_empty() && command.assignments.is_empty() && command.redirections.is_empty();
        if is_empty {
            return Err(Reason::Syntax);
        }
        self.program.commands.push(command);
        Ok(())
    }

    /// Takes a redirection, if one is next.
    fn redirection(&mut self, command: &mut Simple) -> Result<bool, Reason> {
        let (number, operator, target) = match self.peek().cloned() {
            Some(Token::Redirect(number, operator)) => {
                self.at += 1;
                (number, operator, Target::Word(self.word()?))
            }
            Some(Token::Here(number, here)) => {
                self.at += 1;
                (number, "<<", Target::Here(here))
            }
            _ => return Ok(false),
        };
        command.redirections.push(Redirection { number, operator, target });
        Ok(true)
    }
}

/// `name[subscript]=value`
fn is_element(raw: &str) -> bool {
    raw.split_once('[').is_some_and(|(name, rest)| is_name(name) && rest.contains("]=") || rest.contains("]+="))
}

fn is_test_operator(raw: &str) -> bool {
    matches!(raw, "=" | "==" | "!=" | "!") || matches!(raw.as_bytes(), [b'-', letter] if letter.is_ascii_alphabetic())
}
