//! Questions to the kernel over netlink (RFC 3549), in the network namespace of the calling thread.
//!
//! In: a request's body. Out: what a reader makes of each answer. Lengths are the kernel's and checked all the same.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLMSG_ERROR`, `NLMSG_DONE`, `NLM_F_*` of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const HEADER: usize = 16;
/// `RTMGRP_LINK` of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;
const RECEIVE_BYTES: usize = 64 * 1024;

/// Between two calls for news: devices come and go by the dozen.
const PAUSE: Duration = Duration::from_millis(20);

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

/// Asks for one thing; `None` where the answer does not have it.
pub(super) fn ask<T>(
    protocol: Option<Protocol>,
    kind: u16,
    body: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let socket = open(protocol)?;
    send(&socket, kind, REQUEST, body)?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    let (length, _) = rustix::net::recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    match buffer.get(..length).and_then(message) {
        Some((ERROR, body, _)) => Err(error_of(body).unwrap_or_else(|| io::ErrorKind::InvalidData.into())),
        Some((_, body, _)) => Ok(read(body)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Has something done; `how` are further flags.
pub(super) fn order(protocol: Option<Protocol>, kind: u16, how: u16, body: &[u8]) -> io::Result<()> {
    let socket = open(protocol)?;
    send(&socket, kind, REQUEST | ACK | how, body)?;
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

/// Adds an attribute to a message.
pub(super) fn put_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Waits for news of devices in the namespace of the calling thread, for ever, and calls back after each burst of them.
pub(super) fn watch_devices(mut changed: impl FnMut() -> bool) -> io::Result<()> {
    let socket = open(ROUTE)?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    let mut wait = RecvFlags::empty();
    loop {
        match rustix::net::recv(&socket, buffer.as_mut_slice(), wait) {
            // The second is more than the socket could keep: something changed.
            Ok(_) | Err(Errno::NOBUFS) => wait = RecvFlags::DONTWAIT,
            Err(Errno::AGAIN) if !changed() => return Ok(()),
            Err(Errno::AGAIN) => {
                wait = RecvFlags::empty();
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
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
