//! What a client asks of an SFTP server.
//!
//! In: a whole packet of the client's. Out: its id and what it would do; handles stay as they are, since only the session
//! knows what they stand for. An extension that is not known is no request of ours.

use super::packet::{self, Attributes, Fields};
use super::{Fault, Operation};

/// A request.
#[derive(Debug)]
pub(super) enum Request<'p> {
    /// Needs a decision.
    Asks(Operation),
    /// The same, about a file that is open.
    AsksOf(&'p [u8], Attributes),
    Close(&'p [u8]),
    Read {
        handle: &'p [u8],
        offset: u64,
        length: u32,
    },
    Write {
        handle: &'p [u8],
        offset: u64,
        data: &'p [u8],
    },
    /// Something about a file or folder that is open, which was decided when it was opened.
    Of(&'p [u8]),
    /// From one open file to another.
    Copies {
        from: &'p [u8],
        to: &'p [u8],
    },
    /// Something about the server itself.
    Plain,
    /// No request that we know.
    Unknown(String),
}

const READS: u32 = 1;
const WRITES: u32 = 2;
const APPENDS: u32 = 4;
const CREATES: u32 = 8;
const TRUNCATES: u32 = 16;
const EXCLUSIVE: u32 = 32;

/// Extensions that [`extended`] reads; servers may offer others, and clients do not hear of them.
pub(super) const EXTENSIONS: [&str; 11] = [
    "posix-rename@openssh.com",
    "hardlink@openssh.com",
    "fsync@openssh.com",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "lsetstat@openssh.com",
    "limits@openssh.com",
    "expand-path@openssh.com",
    "copy-data",
    "home-directory",
    "users-groups-by-id@openssh.com",
];

/// The id of a request, and the request.
pub(super) fn read(packet: &[u8]) -> Result<(u32, u8, Request<'_>), Fault> {
    let (kind, mut fields) = Fields::of(packet)?;
    let id = fields.number()?;
    let request = match kind {
        packet::OPEN => {
            let (path, flags, attributes) = (fields.path()?, fields.number()?, fields.attributes()?);
            let writes = flags & (WRITES | APPENDS | CREATES | TRUNCATES | EXCLUSIVE) != 0;
            // Servers open a file without either for reading.
            let reads = flags & READS != 0 || flags & WRITES == 0;
            Request::Asks(Operation::Open { path, reads, writes, appends: flags & APPENDS != 0, attributes })
        }
        packet::CLOSE => Request::Close(fields.bytes()?),
        packet::READ => Request::Read { handle: fields.bytes()?, offset: fields.long()?, length: fields.number()? },
        packet::WRITE => Request::Write { handle: fields.bytes()?, offset: fields.long()?, data: fields.bytes()? },
        packet::FSTAT | packet::READDIR => Request::Of(fields.bytes()?),
        packet::LSTAT | packet::STAT | packet::REALPATH | packet::READLINK => {
            Request::Asks(Operation::Look { path: fields.path()? })
        }
        packet::SETSTAT => {
            Request::Asks(Operation::Attributes { path: fields.path()?, attributes: fields.attributes()? })
        }
        packet::FSETSTAT => Request::AsksOf(fields.bytes()?, fields.attributes()?),
        packet::OPENDIR => Request::Asks(Operation::List { path: fields.path()? }),
        packet::REMOVE => Request::Asks(Operation::Remove { path: fields.path()? }),
        packet::RMDIR => Request::Asks(Operation::RemoveDirectory { path: fields.path()? }),
        packet::MKDIR => {
            Request::Asks(Operation::MakeDirectory { path: fields.path()?, attributes: fields.attributes()? })
        }
        packet::RENAME => Request::Asks(Operation::Rename { from: fields.path()?, to: fields.path()? }),
        // OpenSSH has the two in the order opposite to the draft's (PROTOCOL, 4.1): both are asked about.
        packet::SYMLINK => Request::Asks(Operation::Symlink { target: fields.path()?, link: fields.path()? }),
        packet::EXTENDED => extended(&mut fields)?,
        _ => return Err(Fault::Malformed),
    };
    if !matches!(request, Request::Unknown(_)) {
        fields.end()?;
    }
    Ok((id, kind, request))
}

fn extended<'p>(fields: &mut Fields<'p>) -> Result<Request<'p>, Fault> {
    let name = fields.path()?;
    Ok(match name.as_str() {
        "posix-rename@openssh.com" => Request::Asks(Operation::Rename { from: fields.path()?, to: fields.path()? }),
        "hardlink@openssh.com" => Request::Asks(Operation::Hardlink { target: fields.path()?, link: fields.path()? }),
        "fsync@openssh.com" | "fstatvfs@openssh.com" => Request::Of(fields.bytes()?),
        "statvfs@openssh.com" | "expand-path@openssh.com" | "home-directory" => {
            Request::Asks(Operation::Look { path: fields.path()? })
        }
        "lsetstat@openssh.com" => {
            Request::Asks(Operation::Attributes { path: fields.path()?, attributes: fields.attributes()? })
        }
        "limits@openssh.com" => Request::Plain,
        "users-groups-by-id@openssh.com" => {
            fields.bytes()?;
            fields.bytes()?;
            Request::Plain
        }
        "copy-data" => {
            let from = fields.bytes()?;
            fields.long()?;
            fields.long()?;
            let to = fields.bytes()?;
            fields.long()?;
            Request::Copies { from, to }
        }
        _ => Request::Unknown(name),
    })
}
