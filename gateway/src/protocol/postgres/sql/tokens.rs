//! The tokens of a text, as PostgreSQL's scanner cuts them.
//!
//! In: text. Out: tokens, and the text with comments as spaces. Must never be slower than linear, and must never disagree
//! with `scan.l` (standard_conforming_strings = on) on where a quote, a comment or a dollar quote ends.

use super::SqlError;
use super::scan::Caps;

/// What a token is, as far as counting needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// Identifier, keyword or number.
    Word,
    /// A string or a quoted identifier, with its prefix.
    Quoted,
    /// `(` or `[`.
    Open,
    /// `)` or `]`.
    Close,
    /// `;`
    Semicolon,
    /// Operator characters and all other signs.
    Mark,
}

/// A token and the bytes that it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// Its text.
    pub(super) fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

/// The tokens of a text, comments and white space left out.
pub(super) struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The text with comments as spaces, once there is one.
    pub(super) blanked: Option<Vec<u8>>,
    operator_end: usize,
    operator_steps: u64,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, blanked: None, operator_end: 0, operator_steps: 0 }
    }

    /// The next token, or `None` at the end.
    pub(super) fn advance(&mut self, caps: &Caps) -> Result<Option<Token>, SqlError> {
        loop {
            let start = self.at;
            let Some(byte) = self.peek(0) else { return Ok(None) };
            let kind = match (byte, self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => {
                    self.at += 1;
                    continue;
                }
                (b'-', Some(b'-')) => {
                    self.at = self.line_end(start);
                    self.blank(start, self.at);
                    continue;
                }
                (b'/', Some(b'*')) => {
                    self.block_comment(caps)?;
                    self.blank(start, self.at);
                    continue;
                }
                (b'\'' | b'"' | b'$', _) => self.quoted_or_mark(byte),
                (b'(' | b'[', _) => self.one(TokenKind::Open),
                (b')' | b']', _) => self.one(TokenKind::Close),
                (b';', _) => self.one(TokenKind::Semicolon),
                (b'0'..=b'9', _) => self.number(),
                _ if is_ident_start(byte) => self.word(byte),
                _ => {
                    if is_operator(byte) {
                        self.count_operator_steps(caps)?;
                    }
                    self.one(TokenKind::Mark)
                }
            };
            let end = self.at.min(self.bytes.len());
            return Ok(Some(Token { kind, start, end }));
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn one(&mut self, kind: TokenKind) -> TokenKind {
        self.at += 1;
        kind
    }

    fn quoted_or_mark(&mut self, byte: u8) -> TokenKind {
        match byte {
            b'$' => return self.dollar(),
            b'"' => self.quoted_name(),
            _ => self.string(Escapes::Doubled),
        }
        TokenKind::Quoted
    }

    /// A number ends where a letter begins: PostgreSQL 15 and later refuse such junk, so the two read the same bytes.
    fn number(&mut self) -> TokenKind {
        while self.peek(0).is_some_and(|b| b.is_ascii_digit() || b == b'.') {
            self.at += 1;
        }
        TokenKind::Word
    }

    /// An identifier, or the prefix of a string: `E''`, `B''`, `X''`, `N''`, `U&''`, `U&""`.
    fn word(&mut self, first: u8) -> TokenKind {
        match (first.to_ascii_lowercase(), self.peek(1), self.peek(2)) {
            (b'e', Some(b'\''), _) => {
                self.at += 1;
                self.string(Escapes::Backslash);
                TokenKind::Quoted
            }
            (b'b' | b'x' | b'n', Some(b'\''), _) => {
                self.at += 1;
                self.string(Escapes::Doubled);
                TokenKind::Quoted
            }
            (b'u', Some(b'&'), Some(b'\'')) => {
                self.at += 2;
                self.string(Escapes::Doubled);
                TokenKind::Quoted
            }
            (b'u', Some(b'&'), Some(b'"')) => {
                self.at += 2;
                self.quoted_name();
                TokenKind::Quoted
            }
            _ => {
                while self.peek(0).is_some_and(is_ident_cont) {
                    self.at += 1;
                }
                TokenKind::Word
            }
        }
    }

    /// From the opening quote to the end. A string goes on after white space with a newline, in the same mode (scan.l, `xqs`).
    fn string(&mut self, escapes: Escapes) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            match byte {
                b'\\' if escapes == Escapes::Backslash => self.at += 1,
                b'\'' if self.peek(0) == Some(b'\'') => self.at += 1,
                b'\'' => match self.continuation() {
                    Some(next) => self.at = next,
                    None => return,
                },
                _ => {}
            }
        }
    }

    /// Where the string goes on, past the quote that opens its next part. Line comments may stand in between.
    fn continuation(&mut self) -> Option<usize> {
        let (mut at, mut newline) = (self.at, false);
        loop {
            match (*self.bytes.get(at)?, self.bytes.get(at + 1)) {
                (b'\n' | b'\r', _) => {
                    newline = true;
                    at += 1;
                }
                (b' ' | b'\t' | 0x0b | 0x0c, _) => at += 1,
                (b'-', Some(b'-')) => {
                    let end = self.line_end(at);
                    self.blank(at, end);
                    at = end;
                }
                (b'\'', _) if newline => return Some(at + 1),
                _ => return None,
            }
        }
    }

    fn quoted_name(&mut self) {
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == b'"' {
                if self.peek(0) != Some(b'"') {
                    return;
                }
                self.at += 1;
            }
        }
    }

    /// `$tag$ … $tag$`; anything else that starts with `$` is a mark, or a parameter.
    fn dollar(&mut self) -> TokenKind {
        let mut end = self.at + 1;
        if self.bytes.get(end).copied().is_some_and(is_ident_start) {
            while self.bytes.get(end).copied().is_some_and(|b| is_ident_cont(b) && b != b'$') {
                end += 1;
            }
        }
        if self.bytes.get(end) != Some(&b'$') {
            return self.one(TokenKind::Mark);
        }
        let tag = self.bytes.get(self.at..=end).unwrap_or_default();
        self.at = end + 1;
        // A tag holds no `$` inside, so each comparison stops at the next `$` of the body: linear in all.
        while let Some(rest) = self.bytes.get(self.at..) {
            if rest.starts_with(tag) {
                self.at += tag.len();
                return TokenKind::Quoted;
            }
            let skip = rest.iter().skip(1).position(|b| *b == b'$').map_or(rest.len(), |n| n + 1);
            if skip == 0 {
                break;
            }
            self.at += skip;
        }
        TokenKind::Quoted
    }

    /// The end of the line, where a comment ends that starts at `at`.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len())
    }

    /// Puts spaces in the place of a comment.
    fn blank(&mut self, start: usize, end: usize) {
        let blanked = self.blanked.get_or_insert_with(|| self.bytes.to_vec());
        if let Some(comment) = blanked.get_mut(start..end) {
            comment.fill(b' ');
        }
    }

    fn block_comment(&mut self, caps: &Caps) -> Result<(), SqlError> {
        let start = self.at;
        let mut depth = 0_u32;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    depth += 1;
                    if depth > caps.comment_depth {
                        return Err(SqlError::CommentDepth { at: start, cap: caps.comment_depth });
                    }
                    self.at += 2;
                }
                (b'*', Some(b'/')) => {
                    self.at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Err(SqlError::Syntax { reason: "unterminated /* comment".into() })
    }

    /// The scanner takes the whole run of operator characters for each token that starts in it, then gives back what it
    /// did not mean: `++++…` costs the square of its length.
    fn count_operator_steps(&mut self, caps: &Caps) -> Result<(), SqlError> {
        if self.at >= self.operator_end {
            let run = self.bytes.iter().skip(self.at).take_while(|b| is_operator(**b)).count();
            self.operator_end = self.at + run;
        }
        self.operator_steps += (self.operator_end - self.at) as u64;
        if self.operator_steps > caps.operator_steps {
            return Err(SqlError::OperatorRun { at: self.at });
        }
        Ok(())
    }
}

/// How a quote is written inside a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// `''` only.
    Doubled,
    /// `E''`: `\` takes the next byte along.
    Backslash,
}

const fn is_ident_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_ident_cont(byte: u8) -> bool {
    is_ident_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// `op_chars` of scan.l.
const fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}
