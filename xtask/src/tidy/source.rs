//! One Rust file, cut into code and comments. In: its path and text. Out: lines, and which of them are tests.
//! It must never take a word of a comment or a literal for code.

/// A line, taken apart.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The code, with what literals hold left out.
    pub(super) code: String,
    /// The text of its comments.
    pub(super) comment: String,
}

/// A file and where its tests begin.
pub(super) struct Source {
    /// From the checkout's root, with `/`.
    pub(super) path: String,
    pub(super) lines: Vec<Line>,
    /// The first and the last line of the module of tests, from 0.
    pub(super) inline_tests: Option<(usize, usize)>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let lines = Cutter::cut(text);
        let inline_tests = find_tests(&lines);
        Self { path: path.to_owned(), lines, inline_tests }
    }

    /// Whether the whole file is test code.
    pub(super) fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    pub(super) fn is_test(&self, line: usize) -> bool {
        self.is_test_file() || self.inline_tests.is_some_and(|(first, last)| (first..=last).contains(&line))
    }
}

/// The place of `#[cfg(test)] mod … { … }`.
fn find_tests(lines: &[Line]) -> Option<(usize, usize)> {
    let first = lines.windows(2).position(|pair| match pair {
        [attribute, module] => {
            attribute.code.trim() == "#[cfg(test)]"
                && module.code.starts_with("mod ")
                && module.code.trim_end().ends_with('{')
        }
        _ => false,
    })?;
    let mut open = 0_usize;
    for (number, line) in lines.iter().enumerate().skip(first + 1) {
        open += line.code.matches('{').count();
        open = open.saturating_sub(line.code.matches('}').count());
        if open == 0 {
            return Some((first, number));
        }
    }
    Some((first, lines.len()))
}

/// Whether the word stands in the code by itself.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    words_at(code, word).next().is_some()
}

/// Where the word stands in the code by itself.
pub(super) fn words_at<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

enum Inside {
    Code,
    LineComment,
    /// How many are open: they nest.
    BlockComment(usize),
    Text,
    /// How many `#` end it.
    RawText(usize),
}

struct Cutter<'a> {
    rest: &'a str,
    inside: Inside,
    lines: Vec<Line>,
    line: Line,
}

impl<'a> Cutter<'a> {
    fn cut(text: &'a str) -> Vec<Line> {
        let mut cutter = Self { rest: text, inside: Inside::Code, lines: Vec::new(), line: Line::default() };
        while let Some(next) = cutter.rest.chars().next() {
            if next == '\n' {
                if matches!(cutter.inside, Inside::LineComment) {
                    cutter.inside = Inside::Code;
                }
                cutter.lines.push(std::mem::take(&mut cutter.line));
                cutter.skip(1);
                continue;
            }
            match cutter.inside {
                Inside::Code => cutter.code(next),
                Inside::LineComment => cutter.comment(next),
                Inside::BlockComment(depth) => cutter.block_comment(next, depth),
                Inside::Text => cutter.text(next),
                Inside::RawText(hashes) => cutter.raw_text(next, hashes),
            }
        }
        cutter.lines.push(cutter.line);
        cutter.lines
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn comment(&mut self, next: char) {
        self.line.comment.push(next);
        self.skip(next.len_utf8());
    }

    fn code(&mut self, next: char) {
        if self.rest.starts_with("//") {
            self.inside = Inside::LineComment;
        } else if self.rest.starts_with("/*") {
            self.inside = Inside::BlockComment(1);
            self.skip(2);
        } else if let Some((length, hashes)) = self.raw_start(next) {
            self.inside = Inside::RawText(hashes);
            self.skip(length);
        } else if next == '"' {
            self.inside = Inside::Text;
            self.skip(1);
        } else if let Some(length) = self.character() {
            self.skip(length);
        } else {
            self.line.code.push(next);
            self.skip(next.len_utf8());
        }
    }

    /// The length of a raw string's start and its number of `#`.
    fn raw_start(&self, next: char) -> Option<(usize, usize)> {
        let before = self.line.code.chars().next_back();
        let prefixed = before.is_some_and(|c| (c.is_alphanumeric() && !matches!(c, 'b' | 'c')) || c == '_');
        let after = self.rest.strip_prefix('r').filter(|_| next == 'r' && !prefixed)?;
        let hashes = after.len() - after.trim_start_matches('#').len();
        after.get(hashes..)?.starts_with('"').then_some((hashes + 2, hashes))
    }

    /// The length of a character literal; none for a lifetime.
    fn character(&self) -> Option<usize> {
        let after = self.rest.strip_prefix('\'')?;
        let mut chars = after.char_indices();
        let (_, first) = chars.next()?;
        if first == '\\' {
            // The escaped character may itself be a quote.
            let end = after.get(2..)?.find('\'')?;
            return Some(end + 4);
        }
        let (at, second) = chars.next()?;
        (second == '\'').then_some(at + 2)
    }

    fn block_comment(&mut self, next: char, depth: usize) {
        if self.rest.starts_with("/*") {
            self.inside = Inside::BlockComment(depth + 1);
            self.skip(2);
        } else if self.rest.starts_with("*/") {
            self.inside = if depth > 1 { Inside::BlockComment(depth - 1) } else { Inside::Code };
            self.skip(2);
        } else {
            self.comment(next);
        }
    }

    fn text(&mut self, next: char) {
        match next {
            // A line that ends in a backslash still ends.
            '\\' if !self.rest.starts_with("\\\n") => {
                let escaped = self.rest.chars().nth(1).map_or(0, char::len_utf8);
                self.skip(1 + escaped);
            }
            '"' => {
                self.inside = Inside::Code;
                self.skip(1);
            }
            _ => self.skip(next.len_utf8()),
        }
    }

    fn raw_text(&mut self, next: char, hashes: usize) {
        let end = format!("\"{}", "#".repeat(hashes));
        if self.rest.starts_with(&end) {
            self.inside = Inside::Code;
            self.skip(end.len());
        } else {
            self.skip(next.len_utf8());
        }
    }
}
