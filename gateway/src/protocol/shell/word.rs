//! One word of a command line: what a shell would make of its quotes and expansions.
//!
//! In: text that `scan` let pass, and a place in it. Out: a [`Word`]: its text where every POSIX shell and bash make the
//! same of it, the command lines that are run while it is expanded, and what remains in doubt. It must never call a word
//! known that depends on variables, files or locale.

use super::reason::Reason;

/// How much is known of a word before it is expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Certainty {
    /// Exactly this one argument.
    Known,
    /// Names of files: patterns, lists in braces, a home directory. The text is the pattern as written.
    Pattern,
    /// Known when it runs. The text is the word as written.
    Unknown,
}

/// A word as written, and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// As written.
    pub(super) raw: String,
    /// What the program gets, where that is known.
    pub(super) text: String,
    pub(super) certainty: Certainty,
    /// Command lines that run while it is expanded.
    pub(super) scripts: Vec<String>,
    pub(super) doubts: Vec<Reason>,
    /// Where it begins in the text.
    pub(super) start: usize,
    /// It holds `<(…)` or `>(…)`.
    pub(super) has_process: bool,
}

impl Word {
    /// Whether it is this reserved word.
    pub(super) fn is(&self, reserved: &str) -> bool {
        self.raw == reserved
    }

    /// `NAME=value`: the name and where the value begins, where the name is written plainly.
    pub(super) fn assignment(&self) -> Option<&str> {
        let (name, _) = self.raw.split_once('=')?;
        let name = name.strip_suffix('+').unwrap_or(name);
        is_name(name).then_some(name)
    }
}

/// Whether a variable can be called so.
pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

/// Reads words.
#[derive(Clone, Debug)]
pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

/// A word while it is read.
#[derive(Debug, Default)]
struct Draft {
    text: String,
    pattern: Pattern,
    is_unknown: bool,
    is_quoted: bool,
    has_process: bool,
    scripts: Vec<String>,
    doubts: Vec<Reason>,
}

/// What makes a pattern, seen so far and not quoted.
#[derive(Debug, Default)]
struct Pattern {
    wild: bool,
    bracket: bool,
    brace: bool,
    brace_list: bool,
    tilde: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn take(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn skips(&mut self, prefix: &str) -> bool {
        let fits = self.rest().starts_with(prefix);
        if fits {
            self.at += prefix.len();
        }
        fits
    }

    /// The word that begins here.
    ///
    /// # Errors
    /// Where its end cannot be told: then nothing behind it can be read either.
    pub(super) fn word(&mut self) -> Result<Word, Reason> {
        let start = self.at;
        let mut draft = Draft::default();
        while let Some(next) = self.peek() {
            match next {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' => break,
                '<' | '>' => {
                    if !self.rest().get(1..).is_some_and(|rest| rest.starts_with('(')) {
                        break;
                    }
                    self.at += 2;
                    draft.has_process = true;
                    let script = self.command()?;
                    draft.unknown(script);
                }
                _ => self.piece(&mut draft)?,
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default().to_owned();
        Ok(draft.into_word(raw, start))
    }

    /// The expansion that begins here, in a text where quotes are plain.
    pub(super) fn expansion(&mut self) -> Result<Word, Reason> {
        let start = self.at;
        let mut draft = Draft::default();
        match self.take() {
            Some('`') => self.backquoted(&mut draft, true)?,
            _ => self.dollar(&mut draft, true)?,
        }
        Ok(draft.into_word(self.text.get(start..self.at).unwrap_or_default().to_owned(), start))
    }

    /// A piece outside double quotes.
    fn piece(&mut self, draft: &mut Draft) -> Result<(), Reason> {
        let Some(next) = self.take() else { return Ok(()) };
        match next {
            '\\' => match self.take() {
                Some('\n') => return Err(Reason::Continuation),
                Some(escaped) => {
                    draft.is_quoted = true;
                    draft.text.push(escaped);
                }
                None => return Err(Reason::Continuation),
            },
            '\'' => {
                let rest = self.rest();
                let end = rest.find('\'').ok_or(Reason::Syntax)?;
                draft.text.push_str(rest.get(..end).unwrap_or_default());
                draft.is_quoted = true;
                self.at += end + 1;
            }
            '"' => self.double_quoted(draft)?,
            '`' => self.backquoted(draft, false)?,
            '$' => self.dollar(draft, false)?,
            plain => {
                if !plain.is_ascii() {
                    draft.doubts.push(Reason::Encoding);
                }
                draft.pattern.note(plain, draft.text.is_empty() && !draft.is_quoted);
                draft.text.push(plain);
            }
        }
        Ok(())
    }

    fn double_quoted(&mut self, draft: &mut Draft) -> Result<(), Reason> {
        draft.is_quoted = true;
        loop {
            match self.take().ok_or(Reason::Syntax)? {
                '"' => return Ok(()),
                '\\' => match self.take().ok_or(Reason::Syntax)? {
                    '\n' => return Err(Reason::Continuation),
                    escaped @ ('$' | '`' | '"' | '\\') => draft.text.push(escaped),
                    plain => draft.text.extend(['\\', plain]),
                },
                '`' => self.backquoted(draft, true)?,
                '$' => self.dollar(draft, true)?,
                plain => draft.text.push(plain),
            }
        }
    }

    /// Behind a backquote. With a backslash inside, shells differ in how many are taken away.
    fn backquoted(&mut self, draft: &mut Draft, in_quotes: bool) -> Result<(), Reason> {
        let rest = self.rest();
        let end = rest.find('`').ok_or(Reason::Syntax)?;
        let script = rest.get(..end).unwrap_or_default();
        if script.contains('\\') || (in_quotes && script.contains('"')) {
            return Err(Reason::Substitution);
        }
        self.at += end + 1;
        draft.unknown(script.to_owned());
        Ok(())
    }

    /// Behind a dollar.
    fn dollar(&mut self, draft: &mut Draft, in_quotes: bool) -> Result<(), Reason> {
        match self.peek() {
            Some('(') if self.rest().starts_with("((") => self.arithmetic(draft),
            Some('(') => {
                self.at += 1;
                let script = self.command()?;
                draft.unknown(script);
                Ok(())
            }
            Some('{') => self.braced(draft),
            Some('[') => Err(Reason::Arithmetic),
            Some('\'') if !in_quotes => self.ansi_c(draft),
            Some('"') if !in_quotes => {
                self.at += 1;
                draft.doubts.push(Reason::Locale);
                draft.is_unknown = true;
                self.double_quoted(draft)
            }
            Some(first) if first.is_ascii_alphabetic() || first == '_' => {
                let name: String =
                    self.rest().chars().take_while(|next| next.is_ascii_alphanumeric() || *next == '_').collect();
                self.at += name.len();
                // bash: `$a[…]` is `$a` and a pattern; zsh and ksh evaluate the subscript.
                if self.peek() == Some('[') && !in_quotes {
                    draft.doubts.push(Reason::Array);
                }
                draft.is_unknown = true;
                Ok(())
            }
            Some('0'..='9' | '@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.at += 1;
                draft.is_unknown = true;
                Ok(())
            }
            _ => {
                draft.text.push('$');
                Ok(())
            }
        }
    }

    /// At `((`. Only numbers: what a variable holds is evaluated again, and its subscripts run.
    fn arithmetic(&mut self, draft: &mut Draft) -> Result<(), Reason> {
        let rest = self.rest();
        let end = rest.find("))").ok_or(Reason::Arithmetic)?;
        let inside = rest.get(2..end).unwrap_or_default();
        let is_plain = |next: char| next.is_ascii_digit() || " \t+-*/%<>=!&|^~?:,".contains(next);
        if !inside.chars().all(is_plain) {
            return Err(Reason::Arithmetic);
        }
        self.at += end + 2;
        draft.is_unknown = true;
        Ok(())
    }

    /// At `{` of a parameter expansion: the plain forms, with a plain word.
    fn braced(&mut self, draft: &mut Draft) -> Result<(), Reason> {
        let rest = self.rest();
        let end = rest.find('}').ok_or(Reason::Syntax)?;
        let inside = rest.get(1..end).unwrap_or_default();
        if inside.contains(['\'', '"', '\\', '`', '$', '(', ')', '{', '<', '>', '\n', '!']) {
            return Err(Reason::Expansion);
        }
        let inside = inside.strip_prefix('#').filter(|name| !name.is_empty()).unwrap_or(inside);
        let length = inside.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(inside.len());
        let (name, form) = inside.split_at(length);
        let is_positional = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_special = name.is_empty() && matches!(form, "@" | "*" | "#" | "?" | "-");
        let form = form.strip_prefix("[@]").or_else(|| form.strip_prefix("[*]")).unwrap_or(form);
        let is_plain_form = form.is_empty()
            || [":-", ":+", ":?", "-", "+", "?", "#", "%", "/", "^", ","].iter().any(|plain| form.starts_with(plain))
            || form.strip_prefix(':').is_some_and(|range| {
                !range.is_empty()
                    && range.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b' ' | b'-'))
            });
        if !(is_special || ((is_name(name) || is_positional) && is_plain_form)) {
            return Err(Reason::Expansion);
        }
        self.at += end + 1;
        draft.is_unknown = true;
        Ok(())
    }

    /// At the quote of `$'…'`, which dash does not know: there it is a dollar before a quoted text. With a quote inside, the
    /// two even end in different places.
    fn ansi_c(&mut self, draft: &mut Draft) -> Result<(), Reason> {
        self.at += 1;
        let rest = self.rest();
        let end = rest.find('\'').ok_or(Reason::Syntax)?;
        let inside = rest.get(..end).unwrap_or_default();
        self.at += end + 1;
        draft.is_quoted = true;
        draft.doubts.push(Reason::TwoReadings);
        draft.text.push_str(&unescaped(inside)?);
        Ok(())
    }

    /// Behind the bracket that opens a command substitution: its text, up to the bracket that closes it.
    fn command(&mut self) -> Result<String, Reason> {
        let start = self.at;
        let end = end_of_command(self.text, start)?;
        self.at = end + 1;
        Ok(self.text.get(start..end).unwrap_or_default().to_owned())
    }
}

impl Pattern {
    fn note(&mut self, plain: char, is_first: bool) {
        match plain {
            '*' | '?' => self.wild = true,
            '[' => self.bracket = true,
            ']' if self.bracket => self.wild = true,
            '{' => self.brace = true,
            ',' | '.' if self.brace => self.brace_list = true,
            '}' if self.brace_list => self.wild = true,
            '~' if is_first => self.tilde = true,
            _ => {}
        }
    }
}

impl Draft {
    fn unknown(&mut self, script: String) {
        self.scripts.push(script);
        self.is_unknown = true;
    }

    fn into_word(self, raw: String, start: usize) -> Word {
        let is_pattern = self.pattern.wild || self.pattern.tilde;
        let certainty = match (self.is_unknown, is_pattern) {
            (true, _) => Certainty::Unknown,
            (false, true) => Certainty::Pattern,
            (false, false) => Certainty::Known,
        };
        let text = if self.is_unknown { raw.clone() } else { self.text };
        let Self { has_process, scripts, doubts, .. } = self;
        Word { raw, text, certainty, scripts, doubts, start, has_process }
    }
}

/// Where the command that begins at `start` ends: at its closing bracket. Comments, here-documents and `case` hide
/// brackets from everybody who does not parse them as that very shell does.
fn end_of_command(text: &str, start: usize) -> Result<usize, Reason> {
    let mut reader = Reader { text, at: start };
    let mut depth = 0_usize;
    let mut is_word_start = true;
    while let Some(next) = reader.peek() {
        let at = reader.at;
        if is_word_start && (next == '#' || starts_with_word(reader.rest(), "case")) {
            return Err(Reason::Substitution);
        }
        is_word_start = matches!(next, ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>');
        match next {
            '(' => depth += 1,
            ')' if depth == 0 => return Ok(at),
            ')' => depth -= 1,
            '<' if reader.rest().starts_with("<<") => return Err(Reason::Substitution),
            '\'' | '"' | '\\' | '`' | '$' => {
                // Quotes and expansions are read as in a word; whatever is in doubt there comes up again when the
                // command itself is read.
                reader.piece(&mut Draft::default())?;
                continue;
            }
            _ => {}
        }
        reader.take();
    }
    Err(Reason::Syntax)
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t', '\n', '\\', '"', '\'']))
}

/// What bash makes of the inside of `$'…'`. Bytes beyond ASCII are another character in each locale, and NUL ends it.
fn unescaped(inside: &str) -> Result<String, Reason> {
    let mut text = String::new();
    let mut rest = inside.chars().peekable();
    while let Some(next) = rest.next() {
        if next != '\\' {
            text.push(next);
            continue;
        }
        let kind = rest.next().ok_or(Reason::TwoReadings)?;
        let simple = match kind {
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'e' | 'E' => Some('\u{1b}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '\\' | '"' | '?' => Some(kind),
            _ => None,
        };
        if let Some(simple) = simple {
            text.push(simple);
            continue;
        }
        let (radix, most) = match kind {
            'x' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='7' => (8, 3),
            _ => return Err(Reason::Encoding),
        };
        let mut digits = String::new();
        if radix == 8 {
            digits.push(kind);
        }
        while digits.len() < most
            && let Some(digit) = rest.next_if(|digit| digit.is_digit(radix))
        {
            digits.push(digit);
        }
        let code = u32::from_str_radix(&digits, radix).ok().filter(|code| (1..0x80).contains(code));
        text.push(code.and_then(char::from_u32).ok_or(Reason::Encoding)?);
    }
    Ok(text)
}
