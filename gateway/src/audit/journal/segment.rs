//! Reading a segment, or the seals, line by line.
//!
//! In: a file that may be hostile, growing or torn, compressed or not. Out: whole lines with their offsets, or what stands
//! in place of one. It never holds more than a line's limit, follows no link, and waits for no pipe.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::LINE_LIMIT;
use super::layout::NO_FOLLOW;
use super::packed::Bytes;

/// What stands at the reader's position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole line, now in `line()`; its offset.
    Line(u64),
    /// Nothing more, for now.
    End,
    /// Bytes without a newline behind them, being written or torn; their count. The position stays before them.
    Torn(usize),
    /// More bytes without a newline than a line may have. The position stays before them.
    TooLong,
}

/// Lines of one file from an offset on.
#[derive(Debug)]
pub(crate) struct LineReader {
    file: Bytes,
    offset: u64,
    line: Vec<u8>,
}

/// Opens a regular file for reading; anything else errs.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

impl LineReader {
    pub(crate) fn new(file: File, offset: u64) -> io::Result<Self> {
        let mut lines = Self { file: Bytes::new(file)?, offset: 0, line: Vec::new() };
        lines.move_to(offset)?;
        Ok(lines)
    }

    /// Moves to the line that begins at `offset`; near ones cost no read.
    pub(crate) fn move_to(&mut self, offset: u64) -> io::Result<()> {
        self.file.move_to(self.offset, offset)?;
        self.offset = offset;
        Ok(())
    }

    /// Where the next line begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The line that `next` found last, without its newline.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Moves on by one line. After `End` and `Torn` it may be called again and finds what was added.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        self.line.clear();
        let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX) + 1;
        let taken = self.file.reader().take(limit).read_until(b'\n', &mut self.line)?;
        if taken == 0 {
            return Ok(Found::End);
        }
        let start = self.offset;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.offset += taken as u64;
            return Ok(Found::Line(start));
        }
        self.file.move_to(start + taken as u64, start)?;
        self.line.clear();
        Ok(if taken > LINE_LIMIT { Found::TooLong } else { Found::Torn(taken) })
    }
}

/// The last line of a file's first `end` bytes, which end with its newline; none where no whole line ends there.
pub(crate) fn line_before(file: &File, end: u64) -> io::Result<Option<Vec<u8>>> {
    // Most lines are short: a start over a thousand old journals should not read a mebibyte of each.
    for window in [8 * 1024, LINE_LIMIT as u64 + 2].map(|window| end.min(window)) {
        let mut bytes = vec![0; usize::try_from(window).unwrap_or_default()];
        match file.read_exact_at(&mut bytes, end - window) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        if bytes.pop() != Some(b'\n') {
            return Ok(None);
        }
        match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => return Ok(Some(bytes.split_off(newline + 1))),
            None if window == end => return Ok(Some(bytes)),
            None => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_that_grows_is_torn_and_then_whole() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut lines = LineReader::new(open_regular(file.path()).unwrap(), 0).unwrap();
        assert_eq!(lines.next().unwrap(), Found::End);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(lines.next().unwrap(), Found::Line(0));
        assert_eq!(lines.next().unwrap(), Found::Torn(2));
        file.write_all(b"o\n").unwrap();
        assert_eq!(lines.next().unwrap(), Found::Line(4));
        assert_eq!(lines.line(), b"two");
        let plain = open_regular(file.path()).unwrap();
        assert_eq!(line_before(&plain, 8).unwrap(), Some(b"two".to_vec()));
        assert_eq!(line_before(&plain, 4).unwrap(), Some(b"one".to_vec()));
        assert_eq!(line_before(&plain, 6).unwrap(), None);
        assert_eq!(line_before(&plain, 60).unwrap(), None);
        let long = [&[b'x'; 20_000][..], b"\n"].concat();
        file.write_all(&long).unwrap();
        assert_eq!(line_before(&plain, 8 + 20_001).unwrap().unwrap().len(), 20_000);
    }

    #[test]
    fn an_endless_line_takes_no_more_than_the_limit() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![b'x'; 3 * LINE_LIMIT]).unwrap();
        let mut lines = LineReader::new(open_regular(file.path()).unwrap(), 0).unwrap();
        assert_eq!(lines.next().unwrap(), Found::TooLong);
        assert_eq!(lines.next().unwrap(), Found::TooLong);
        assert!(lines.line.capacity() <= 4 * LINE_LIMIT);
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.path().join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(open_regular(&folder.path().join("link")).is_err());
        assert!(open_regular(&folder.path().join("pipe")).is_err());
    }
}
