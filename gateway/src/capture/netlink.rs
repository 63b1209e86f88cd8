//! Questions to the kernel over netlink (RFC 3549), in the network namespace of the calling thread.
//!
//! In: a request's body. Out: what a reader makes of each answer. Lengths are the kernel's and checked all the same.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLMSG_ERROR`, `NLMSG_DONE`, `NLM_F_*` of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const HEADER: usize = 16;
const RECEIVE_BYTES: usize = 64 * 1024;

/// `NETLINK_ROUTE` and `NETLINK_SOCK_DIAG`.
pub(super) const ROUTE: Option<Protocol> = None;
pub(super) const SOCK_DIAG: Option<Protocol> = Some(rustix::net::netlink::SOCK_DIAG);

/// Asks for a list.
pub(super) fn dump<T>(
    protocol: Option<Protocol>,
    kind: u16,
    body: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Vec<T>> {
    let socket = open(protocol)?;
    send(&socket, kind, REQUEST | DUMP, body)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, body, next)) = message(rest) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(error_of(body).unwrap_or_else(|| io::ErrorKind::InvalidData.into())),
                _ => found.extend(read(body)),
            }
            rest = next;
        }
    }
}

/// Has something done.
pub(super) fn order(protocol: Option<Protocol>, kind: u16, body: &[u8]) -> io::Result<()> {
    let socket = open(protocol)?;
    send(&socket, kind, REQUEST | ACK, body)?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    match buffer.get(..length).and_then(message) {
        Some((ERROR, body, _)) => error_of(body).map_or(Ok(()), Err),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The value of an attribute.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?)
}

fn send(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(body);
    rustix::net::sendto(socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}

/// The first message of a datagram: its type, its body, and what follows.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn error_of(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_datagram_makes_the_reader_panic() {
        let seed: Vec<u8> = (0_u16..300).map(|n| (n * 37 % 251) as u8).collect();
        for start in 0..seed.len() {
            let bytes = seed.get(start..).unwrap_or_default();
            let _ = message(bytes);
            let _ = attribute(bytes, 3);
        }
    }
}
