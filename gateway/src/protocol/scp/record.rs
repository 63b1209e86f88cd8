//! Records of scp's old protocol, as OpenSSH's scp.c reads them.
//!
//! In: a line. Out: the record. It must never take a name that could lead anywhere but into the folder that is open.

use super::Fault;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// `C`: a file, whose data follows.
    File { mode: u32, size: u64, name: String },
    /// `D`: a folder, whose files follow.
    Folder { mode: u32, name: String },
    /// `E`: the end of a folder.
    Leave,
    /// `T`: the times of what comes next.
    Times,
}

impl Record {
    pub(super) fn read(line: &[u8]) -> Result<Self, Fault> {
        let line = line.strip_suffix(b"\n").ok_or(Fault::Malformed)?;
        if line.contains(&0) {
            return Err(Fault::Malformed);
        }
        let (kind, rest) = line.split_first().ok_or(Fault::Malformed)?;
        match kind {
            b'C' => {
                let (mode, size, name) = entry(rest)?;
                Ok(Self::File { mode, size, name })
            }
            b'D' => {
                let (mode, _, name) = entry(rest)?;
                Ok(Self::Folder { mode, name })
            }
            b'E' if rest.is_empty() => Ok(Self::Leave),
            b'T' => {
                let text = std::str::from_utf8(rest).map_err(|_| Fault::Malformed)?;
                let numbers: Vec<&str> = text.split(' ').collect();
                let are_numbers =
                    numbers.iter().all(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
                if numbers.len() == 4 && are_numbers { Ok(Self::Times) } else { Err(Fault::Malformed) }
            }
            _ => Err(Fault::Malformed),
        }
    }
}

/// `0644 5 name`
fn entry(rest: &[u8]) -> Result<(u32, u64, String), Fault> {
    let mut fields = rest.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mode = number()
        .filter(|mode| mode.len() == 4)
        .and_then(|mode| u32::from_str_radix(mode, 8).ok())
        .ok_or(Fault::Malformed)?;
    let size = number()
        .and_then(|size| size.parse::<u64>().ok())
        .filter(|size| i64::try_from(*size).is_ok())
        .ok_or(Fault::Malformed)?;
    let name = String::from_utf8_lossy(fields.next().ok_or(Fault::Malformed)?).into_owned();
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(Fault::Name(name));
    }
    Ok((mode, size, name))
}
