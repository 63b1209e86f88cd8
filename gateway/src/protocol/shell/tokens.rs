//! A command line cut into words and operators.
//!
//! In: text that `scan` let pass. Out: its tokens, here-documents beside the operator that announced them. What two shells
//! would cut differently is refused.

use super::reason::Reason;
use super::word::{Reader, Word};

/// What the grammar sees.
#[derive(Clone, Debug)]
pub(super) enum Token {
    Word(Word),
    /// `;`, `&`, `|`, `&&`, `||`, `|&`, `;;`, `;&`, `;;&`, `(`, `)` or a newline.
    Operator(&'static str),
    /// `<`, `>` and kin, with the number before it.
    Redirect(Option<String>, &'static str),
    /// `<<` and `<<-`.
    Here(Option<String>, Here),
}

/// A here-document.
#[derive(Clone, Debug)]
pub(super) struct Here {
    /// Its delimiter, as written.
    pub(super) delimiter: String,
    /// The text as the command reads it, where nothing in it is expanded.
    pub(super) text: Option<String>,
    /// Command lines that run while it is expanded.
    pub(super) scripts: Vec<String>,
    pub(super) doubts: Vec<Reason>,
}

/// Longest first.
const OPERATORS: [&str; 10] = ["&&", "||", ";;&", ";;", ";&", "|&", ";", "&", "|", "\n"];
const REDIRECTS: [&str; 10] = ["<<<", "&>>", "&>", ">>", ">&", "<&", "<>", ">|", "<", ">"];

/// More words and operators than this are no command line.
const MOST: usize = 4_096;

/// A here-document whose text is still to come: the token that waits for it, and how it ends.
struct Pending {
    token: usize,
    delimiter: String,
    is_quoted: bool,
    strips_tabs: bool,
}

/// Cuts `text`.
///
/// # Errors
/// Where it cannot be told where something ends.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Reason> {
    let mut cutter = Cutter { reader: Reader::new(text), tokens: Vec::new(), pending: Vec::new() };
    while cutter.step()? {
        if cutter.tokens.len() > MOST {
            return Err(Reason::TooDeep);
        }
    }
    if cutter.pending.is_empty() { Ok(cutter.tokens) } else { Err(Reason::Syntax) }
}

struct Cutter<'t> {
    reader: Reader<'t>,
    tokens: Vec<Token>,
    pending: Vec<Pending>,
}

impl Cutter<'_> {
    fn step(&mut self) -> Result<bool, Reason> {
        let reader = &mut self.reader;
        let Some(next) = reader.peek() else { return Ok(false) };
        if matches!(next, ' ' | '\t') {
            reader.take();
            return Ok(true);
        }
        if reader.rest().starts_with("\\\n") {
            // Between words it is a blank; next to anything else it is part of it, and shells differ in what.
            let before = reader.text.get(..reader.at).and_then(|before| before.chars().next_back());
            if !before.is_none_or(|before| matches!(before, ' ' | '\t' | '\n')) {
                return Err(Reason::Continuation);
            }
            reader.at += 2;
            return Ok(true);
        }
        if next == '#' {
            let end = reader.rest().find('\n').unwrap_or(reader.rest().len());
            reader.at += end;
            return Ok(true);
        }
        if let Some(operator) = self.operator() {
            self.tokens.push(Token::Operator(operator));
            if operator == "\n" {
                self.here_documents()?;
            }
            return Ok(true);
        }
        let is_substitution = matches!(self.reader.rest().as_bytes(), [b'<' | b'>', b'(', ..]);
        if matches!(next, '<' | '>') && !is_substitution {
            return self.redirect(None).map(|()| true);
        }
        self.word().map(|()| true)
    }

    fn operator(&mut self) -> Option<&'static str> {
        let rest = self.reader.rest();
        if rest.starts_with("&>") {
            return None;
        }
        let operator = OPERATORS.iter().chain(&["(", ")"]).find(|operator| rest.starts_with(**operator))?;
        self.reader.at += operator.len();
        Some(operator)
    }

    fn word(&mut self) -> Result<(), Reason> {
        if self.reader.rest().starts_with("&>") {
            return self.redirect(None);
        }
        let word = self.reader.word()?;
        let is_before_redirect = matches!(self.reader.peek(), Some('<' | '>'));
        if is_before_redirect && word.raw.bytes().all(|byte| byte.is_ascii_digit()) {
            // Shells differ in which numbers are descriptors.
            if word.raw.len() > 1 {
                return Err(Reason::Redirect);
            }
            return self.redirect(Some(word.raw));
        }
        if is_before_redirect && word.raw.starts_with('{') && word.raw.ends_with('}') {
            return Err(Reason::Redirect);
        }
        self.tokens.push(Token::Word(word));
        Ok(())
    }

    fn redirect(&mut self, number: Option<String>) -> Result<(), Reason> {
        if self.reader.rest().starts_with("<<") && !self.reader.rest().starts_with("<<<") {
            return self.here(number);
        }
        let operator = REDIRECTS.iter().find(|operator| self.reader.rest().starts_with(**operator));
        let operator = operator.ok_or(Reason::Syntax)?;
        self.reader.at += operator.len();
        self.tokens.push(Token::Redirect(number, operator));
        Ok(())
    }

    fn here(&mut self, number: Option<String>) -> Result<(), Reason> {
        self.reader.at += 2;
        let strips_tabs = self.reader.skips("-");
        while self.reader.skips(" ") || self.reader.skips("\t") {}
        let word = self.reader.word()?;
        let is_plain = |text: &str| {
            !text.is_empty() && text.chars().all(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.'))
        };
        // Quotes around all of it, or none.
        let raw = word.raw.as_str();
        let unquoted = ["'", "\""].iter().find_map(|quote| raw.strip_prefix(*quote)?.strip_suffix(*quote));
        if !is_plain(unquoted.unwrap_or(raw)) {
            return Err(Reason::Syntax);
        }
        let delimiter = unquoted.unwrap_or(raw).to_owned();
        let here = Here { delimiter: word.raw.clone(), text: None, scripts: Vec::new(), doubts: Vec::new() };
        self.pending.push(Pending { token: self.tokens.len(), delimiter, is_quoted: unquoted.is_some(), strips_tabs });
        self.tokens.push(Token::Here(number, here));
        Ok(())
    }

    /// Behind a newline: the texts that were announced on the line before.
    fn here_documents(&mut self) -> Result<(), Reason> {
        for pending in std::mem::take(&mut self.pending) {
            let mut text = String::new();
            loop {
                let rest = self.reader.rest();
                if rest.is_empty() {
                    return Err(Reason::Syntax);
                }
                let (line, length) =
                    rest.find('\n').map_or((rest, rest.len()), |end| (rest.get(..end).unwrap_or_default(), end + 1));
                self.reader.at += length;
                let line = if pending.strips_tabs { line.trim_start_matches('\t') } else { line };
                if line == pending.delimiter {
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            if let Some(Token::Here(_, here)) = self.tokens.get_mut(pending.token) {
                fill(here, text, pending.is_quoted)?;
            }
        }
        Ok(())
    }
}

/// What the command reads, as far as it is known.
fn fill(here: &mut Here, text: String, is_quoted: bool) -> Result<(), Reason> {
    if is_quoted || !text.contains(['$', '`', '\\']) {
        here.text = Some(text);
        return Ok(());
    }
    // Double quotes in it are plain; a backslash takes more care than it is worth.
    if text.contains('\\') {
        return Err(Reason::Expansion);
    }
    let mut reader = Reader::new(&text);
    while let Some(next) = reader.peek() {
        if matches!(next, '$' | '`') {
            let piece = reader.expansion()?;
            here.scripts.extend(piece.scripts);
            here.doubts.extend(piece.doubts);
        } else {
            reader.take();
        }
    }
    Ok(())
}
