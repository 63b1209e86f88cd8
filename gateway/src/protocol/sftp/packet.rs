//! Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), and OpenSSH's extensions to it (PROTOCOL, section 4).
//!
//! In: bytes of one direction, cut anywhere. Out: whole packets of bounded length, and their fields. What has bytes left
//! over, or too few, is malformed: a reader that forgives sees another request than the server.

use bytes::{Buf, BytesMut};

use super::Fault;

/// OpenSSH's own limit (sftp-common.h), and room for the fields around the data of a write.
pub(super) const LONGEST: usize = 256 * 1024 + 1024;

pub(super) const INIT: u8 = 1;
pub(super) const VERSION: u8 = 2;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const WRITE: u8 = 6;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const SETSTAT: u8 = 9;
pub(super) const FSETSTAT: u8 = 10;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REMOVE: u8 = 13;
pub(super) const MKDIR: u8 = 14;
pub(super) const RMDIR: u8 = 15;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const RENAME: u8 = 18;
pub(super) const READLINK: u8 = 19;
pub(super) const SYMLINK: u8 = 20;
pub(super) const STATUS: u8 = 101;
pub(super) const HANDLE: u8 = 102;
pub(super) const DATA: u8 = 103;
pub(super) const NAME: u8 = 104;
pub(super) const ATTRS: u8 = 105;
pub(super) const EXTENDED: u8 = 200;
pub(super) const EXTENDED_REPLY: u8 = 201;

pub(super) const PERMISSION_DENIED: u32 = 3;
pub(super) const OP_UNSUPPORTED: u32 = 8;

/// One direction, waiting for the rest of a packet.
#[derive(Debug, Default)]
pub(super) struct Stream {
    buffer: BytesMut,
}

impl Stream {
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole packet, with its length in front.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, Fault> {
        let Some(mut length) = self.buffer.get(..4) else { return Ok(None) };
        let length = usize::try_from(length.get_u32()).unwrap_or(usize::MAX);
        if length == 0 || length > LONGEST {
            return Err(Fault::Length { length });
        }
        Ok((self.buffer.len() >= 4 + length).then(|| self.buffer.split_to(4 + length)))
    }

    /// Bytes of a packet that is not whole yet.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }
}

/// The fields of a packet, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'p> {
    rest: &'p [u8],
}

impl<'p> Fields<'p> {
    /// The type of a packet, and what follows it.
    pub(super) fn of(packet: &'p [u8]) -> Result<(u8, Self), Fault> {
        let (kind, rest) = packet.get(4..).and_then(<[u8]>::split_first).ok_or(Fault::Malformed)?;
        Ok((*kind, Self { rest }))
    }

    pub(super) fn number(&mut self) -> Result<u32, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    pub(super) fn long(&mut self) -> Result<u64, Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<&'p [u8], Fault> {
        let length = usize::try_from(self.number()?).map_err(|_| Fault::Malformed)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Fault::Malformed)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A path or name. Servers keep paths as C strings, so that a NUL would end it there and not here.
    pub(super) fn path(&mut self) -> Result<String, Fault> {
        let bytes = self.bytes()?;
        if bytes.contains(&0) {
            return Err(Fault::Malformed);
        }
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn attributes(&mut self) -> Result<Attributes, Fault> {
        let flags = self.number()?;
        if flags & !0x8000_000f != 0 {
            return Err(Fault::Malformed);
        }
        let mut attributes = Attributes::default();
        if flags & 1 != 0 {
            attributes.size = Some(self.long()?);
        }
        if flags & 2 != 0 {
            attributes.owner = Some((self.number()?, self.number()?));
        }
        if flags & 4 != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & 8 != 0 {
            attributes.sets_times = true;
            self.long()?;
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Ok(attributes)
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Malformed) }
    }
}

/// What a request sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The length that a file is cut or stretched to.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Mode bits.
    pub mode: Option<u32>,
    /// Access and modification times are set.
    pub sets_times: bool,
}

/// A packet, from its type and fields.
pub(super) fn packet(kind: u8, fields: &[Field<'_>]) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, kind];
    for field in fields {
        match field {
            Field::Number(number) => packet.extend_from_slice(&number.to_be_bytes()),
            Field::Bytes(bytes) => {
                packet.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                packet.extend_from_slice(bytes);
            }
        }
    }
    let length = u32::try_from(packet.len() - 4).unwrap_or(u32::MAX);
    if let Some(place) = packet.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    packet
}

/// A field of a packet of ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field<'a> {
    Number(u32),
    Bytes(&'a [u8]),
}
