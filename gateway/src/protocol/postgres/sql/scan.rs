//! A linear look at the text before PostgreSQL's scanner and parser see it.
//!
//! In: the bytes of a message. Out: the same text, comments as spaces, that both can read in bounded time and space. Must
//! never be slower than linear, and must never disagree with `scan.l` (standard_conforming_strings = on) on where a quote, a
//! comment or a dollar quote ends: a paren that hides in a string would spoil every count.

use std::borrow::Cow;

use super::SqlError;
use super::tokens::{Token, TokenKind, Tokens};

/// Structural limits of a statement: a parse in C cannot be interrupted, so they hold before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of the message (`max_statement`).
    pub bytes: usize,
    /// Levels of nested comments.
    pub comment_depth: u32,
    /// Levels of parentheses and brackets.
    pub paren_depth: u32,
    /// Tokens, since a tree takes about 75 bytes for a byte of text such as `1,1,1`.
    pub tokens: u32,
    /// Statements of one message.
    pub statements: u32,
    /// Steps that the scanner takes over again in runs of operator characters: it is quadratic in them.
    pub operator_steps: u64,
    /// Levels of the tree. A chain of 2,000 operators or UNIONs has as many.
    pub tree_depth: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            bytes: 4 * 1024 * 1024,
            comment_depth: 32,
            paren_depth: 500,
            tokens: 1_000_000,
            statements: 5_000,
            operator_steps: 1024 * 1024,
            tree_depth: 2_000,
        }
    }
}

/// `GLOBAL TEMP` makes the grammar warn, and each warning counts the characters from the start of the text.
const WARNINGS: u32 = 8;

/// Checks the caps; the text that comes back is UTF-8 without NUL, each comment as as many spaces.
///
/// libpg_query makes tokens of comments (its patch 04), and so reads `NOT /* */ IN`, `U&'' /* */ UESCAPE` and strings that
/// go on after a comment in another way than the server, calls itself for each comment, and takes the square of their
/// depth. To the server a comment is white space, so it gets white space.
///
/// # Errors
/// Names the cap that the text breaks.
pub fn scan<'a>(text: &'a [u8], caps: &Caps) -> Result<Cow<'a, str>, SqlError> {
    if text.len() > caps.bytes {
        return Err(SqlError::TooLong { bytes: text.len(), cap: caps.bytes });
    }
    let text = std::str::from_utf8(text).map_err(|e| SqlError::NotUtf8 { at: e.valid_up_to() })?;
    if let Some(at) = text.bytes().position(|b| b == 0) {
        return Err(SqlError::Nul { at });
    }
    let mut tokens = Tokens::new(text);
    let mut counts = Counts { statements: 1, ..Counts::default() };
    let mut previous: Option<Token> = None;
    while let Some(token) = tokens.advance(caps)? {
        counts.add(token, text, caps)?;
        if previous.is_some_and(|previous| is_split(text, previous, token)) {
            return Err(SqlError::SplitString { at: token.start });
        }
        previous = Some(token);
    }
    match tokens.blanked {
        None => Ok(Cow::Borrowed(text)),
        Some(bytes) => {
            String::from_utf8(bytes).map(Cow::Owned).map_err(|e| SqlError::NotUtf8 { at: e.utf8_error().valid_up_to() })
        }
    }
}

/// Whether a name of a text could be another one in a database that is not in UTF8: where a character is a byte the server
/// folds letters beyond ASCII too (downcase_identifier, scansup.c), and what it cuts at 63 bytes are not the bytes of UTF-8.
#[must_use]
pub fn may_be_other_names(text: &str, caps: &Caps) -> bool {
    const LONGEST: usize = 63;
    let mut tokens = Tokens::new(text);
    while !text.is_ascii()
        && let Ok(Some(token)) = tokens.advance(caps)
    {
        let name = token.of(text);
        let is_word = token.kind == TokenKind::Word;
        let is_name = is_word || (token.kind == TokenKind::Quoted && name.ends_with('"'));
        let folds = || is_word && name.chars().any(|one| !one.is_ascii() && one.is_uppercase());
        if is_name && !name.is_ascii() && (name.len() > LONGEST || folds()) {
            return true;
        }
    }
    false
}

/// What is counted over all tokens.
#[derive(Default)]
struct Counts {
    tokens: u32,
    parens: u32,
    statements: u32,
    warnings: u32,
}

impl Counts {
    fn add(&mut self, token: Token, text: &str, caps: &Caps) -> Result<(), SqlError> {
        self.tokens += 1;
        match token.kind {
            TokenKind::Open => self.parens += 1,
            TokenKind::Close => self.parens = self.parens.saturating_sub(1),
            TokenKind::Semicolon => self.statements += 1,
            TokenKind::Word if token.of(text).eq_ignore_ascii_case("global") => self.warnings += 1,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Mark => {}
        }
        if self.parens > caps.paren_depth {
            return Err(SqlError::ParenDepth { at: token.start, cap: caps.paren_depth });
        }
        if self.tokens > caps.tokens {
            return Err(SqlError::TooManyTokens { cap: caps.tokens });
        }
        if self.statements > caps.statements {
            return Err(SqlError::TooManyStatements { cap: caps.statements });
        }
        if self.warnings > WARNINGS { Err(SqlError::GlobalTemp) } else { Ok(()) }
    }
}

/// Two strings that would become one when the block comment between them becomes spaces: the server reads two.
fn is_split(text: &str, first: Token, second: Token) -> bool {
    first.kind == TokenKind::Quoted
        && first.of(text).ends_with('\'')
        && second.of(text).starts_with('\'')
        && text.get(first.end..second.start).is_some_and(|gap| gap.contains(['\n', '\r']))
}
