//! The text of a message as the journal may keep it.
//!
//! In: the text, its facts, and which statements shall lose their constants beyond those that must. Out: the text with
//! constants elided. Must never keep a constant or a comment of a statement that can hold a password or a connection
//! string, and nothing at all of a text that does not parse. It works on tokens, not on locations of the tree: a
//! location that the grammar does not give would leave a constant standing.

use super::facts::{Facts, Statement};
use super::scan::Caps;
use super::tokens::{Token, TokenKind, Tokens};

/// The text with constants elided in statements that carry secrets, and in those that `elide` picks.
///
/// `text` must be the one that `facts` were read from; of any other, only the length is told.
#[must_use]
pub fn redact(text: &[u8], facts: &Facts, elide: impl Fn(&Statement) -> bool) -> String {
    let Ok(text) = std::str::from_utf8(text) else { return unreadable(text.len()) };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for statement in &facts.statements {
        let (Some(between), Some(body)) = (text.get(at..statement.span.start), text.get(statement.span.clone())) else {
            return unreadable(text.len());
        };
        let secret = statement.secret || elide(statement);
        // Comments between statements say nothing of either, so they go by the same rule.
        let kept = if secret { without_constants(between) } else { Some(between.to_owned()) };
        let body = if secret { without_constants(body) } else { Some(body.to_owned()) };
        let (Some(kept), Some(body)) = (kept, body) else { return unreadable(text.len()) };
        out.push_str(&kept);
        out.push_str(&body);
        at = statement.span.end;
    }
    // What follows the last statement is white space, semicolons and comments.
    out.push_str(&text.get(at..).and_then(without_constants).unwrap_or_default());
    out.truncate(out.trim_end().len());
    out
}

/// What is kept of a text that does not parse.
#[must_use]
pub fn unreadable(bytes: usize) -> String {
    format!("[unreadable statement of {bytes} bytes]")
}

/// Tokens with one space where white space or comments stood, and each constant as `?` or `'?'`.
fn without_constants(text: &str) -> Option<String> {
    let caps = Caps { bytes: usize::MAX, tokens: u32::MAX, ..Caps::default() };
    let mut out = String::with_capacity(text.len());
    let mut tokens = Tokens::new(text);
    let mut previous: Option<(Token, &str)> = None;
    while let Some(token) = tokens.advance(&caps).ok()? {
        let word = text.get(token.start..token.end)?;
        if previous.is_some_and(|(p, _)| p.end < token.start) {
            out.push(' ');
        }
        let parameter = previous.is_some_and(|(p, w)| w == "$" && p.end == token.start);
        out.push_str(match token.kind {
            TokenKind::Quoted if is_name(word) => word,
            TokenKind::Quoted => "'?'",
            TokenKind::Word if !parameter && word.starts_with(|c: char| c.is_ascii_digit()) => "?",
            _ => word,
        });
        previous = Some((token, word));
    }
    if previous.is_some_and(|(last, _)| last.end < text.len()) {
        out.push(' ');
    }
    Some(out)
}

/// A quoted identifier, with or without `U&`.
fn is_name(quoted: &str) -> bool {
    quoted.starts_with('"') || quoted.get(2..).is_some_and(|rest| rest.starts_with('"'))
}
