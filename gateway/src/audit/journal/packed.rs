//! Segments that are whole, compressed.
//!
//! In: a segment that nobody writes to any more, or a file that may be hostile and says that it is one. Out: a compressed
//! file that gives back every byte, which was tried before the first is removed; or bytes by their place in the lines. A
//! frame never makes it hold more than 128 MiB, or read more than the frame says that it has.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::IFlags;
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;
use zstd::zstd_safe;

use super::Layout;
use super::layout::{NO_FOLLOW, sync_folder};
use super::segment::open_regular;
use crate::id::JournalId;

/// How a frame begins (RFC 8878, 3.1.1). No line does.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The largest header of a frame.
const HEADER: usize = 18;
/// The default of zstd: a level more takes a third more time for a twentieth of the size.
const LEVEL: i32 = 3;
/// 2 to this are the bytes of a window; the level above takes 2 MiB.
const WINDOW_LOG: u32 = 27;
/// A segment ends a second after it is as long as it may be.
const MAX_LENGTH: u64 = 16 << 30;
const BUFFER: usize = 64 * 1024;

/// The bytes of the lines in a file.
pub(super) enum Bytes {
    Plain(BufReader<File>),
    /// And the file once more, to begin anew.
    Packed(Box<Unpacked>, File),
}

type Unpacked = BufReader<io::Take<Decoder<'static, BufReader<File>>>>;

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::Plain(_)) { "Plain" } else { "Packed" })
    }
}

impl Bytes {
    /// At the beginning.
    pub(super) fn new(file: File) -> io::Result<Self> {
        if !header(&file)?.starts_with(&MAGIC) {
            return Ok(Self::Plain(BufReader::with_capacity(BUFFER, file)));
        }
        let Some(length) = length(&file)?.filter(|length| *length <= MAX_LENGTH) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a compressed segment that does not say its length",
            ));
        };
        let mut decoder = Decoder::new(file.try_clone()?)?;
        decoder.window_log_max(WINDOW_LOG)?;
        Ok(Self::Packed(Box::new(BufReader::with_capacity(BUFFER, decoder.take(length))), file))
    }

    pub(super) fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(file) => file,
            Self::Packed(decoder, _) => decoder,
        }
    }

    /// From one place to another; in a compressed file, what is between is read.
    pub(super) fn move_to(&mut self, from: u64, to: u64) -> io::Result<()> {
        if let Self::Plain(file) = self {
            return file.seek_relative(to.cast_signed().wrapping_sub(from.cast_signed()));
        }
        let mut from = from;
        if let Self::Packed(_, file) = self
            && to < from
        {
            (*self, from) = (Self::new(file.try_clone()?)?, 0);
        }
        io::copy(&mut self.reader().take(to.saturating_sub(from)), &mut io::sink()).map(drop)
    }
}

/// How many bytes a compressed file says that it holds.
pub(super) fn length(file: &File) -> io::Result<Option<u64>> {
    Ok(zstd_safe::get_frame_content_size(&header(file)?).ok().flatten())
}

/// How a file begins; it stands at its beginning then. Without pread(2), which the shipper may not call.
fn header(mut file: &File) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(HEADER);
    file.seek(SeekFrom::Start(0))?;
    file.take(HEADER as u64).read_to_end(&mut header)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(header)
}

/// The name of a compressed segment while it is being written.
pub(super) fn half_done(packed: &Path) -> PathBuf {
    packed.with_extension("new")
}

/// Compresses a segment that is whole, and removes what it was made from.
///
/// # Errors
/// Where it cannot be written, or does not give back what it was made from: the segment stays as it was then.
pub(crate) fn pack(layout: &Layout, journal: JournalId, segment: u32) -> io::Result<()> {
    let (plain, packed) = (layout.segment(journal, segment), layout.packed(journal, segment));
    let new = half_done(&packed);
    let file = open_regular(&plain)?;
    let length = file.metadata()?.len();
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640).custom_flags(NO_FOLLOW);
    let mut encoder = Encoder::new(options.open(&new)?, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(length))?;
    io::copy(&mut BufReader::with_capacity(BUFFER, &file), &mut encoder)?;
    encoder.finish()?.sync_all()?;
    if !is_same(&plain, &new)? {
        fs::remove_file(&new)?;
        return Err(io::Error::other("what was compressed is not what was written: the segment stays as it is"));
    }
    fs::rename(&new, &packed)?;
    sync_folder(&layout.journal(journal))?;
    remove(&plain)
}

/// Removes a segment for good; the append-only flag keeps even root from doing so by accident.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    if let Ok(file) = open_regular(path)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
        && flags.contains(IFlags::APPEND)
    {
        rustix::fs::ioctl_setflags(&file, flags.difference(IFlags::APPEND))?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (Bytes::new(open_regular(one)?)?, Bytes::new(open_regular(other)?)?);
    loop {
        let (a, b) = (one.reader().fill_buf()?, other.reader().fill_buf()?);
        let both = a.len().min(b.len());
        if a.get(..both) != b.get(..both) {
            return Ok(false);
        }
        if both == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        one.reader().consume(both);
        other.reader().consume(both);
    }
}

#[cfg(test)]
mod tests;
