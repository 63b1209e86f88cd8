//! Unix sockets that serve, and descriptors that are handed over them: part of what a helper process does when asked.
//!
//! In: sockets and paths. Out: sockets, or the error number that the kernel gave.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketType,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

/// A socket that others reach by this name: `dgram`, else a stream.
pub fn serve(name: &str, kind: &str) -> Result<OwnedFd, Errno> {
    let kind = if kind == "dgram" { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = rustix::net::socket(AddressFamily::UNIX, kind, None)?;
    rustix::net::bind(&socket, &address(name)?)?;
    if !name.starts_with('@') {
        std::fs::set_permissions(name, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    }
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, 4)?;
    }
    Ok(socket)
}

/// A stream to a name.
pub fn connect(name: &str) -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::net::connect(&socket, &address(name)?).map(|()| socket)
}

/// One datagram to a name.
pub fn send(name: &str) -> Result<String, Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    rustix::net::sendto(&socket, b"hello", SendFlags::NOSIGNAL, &address(name)?).map(|sent| sent.to_string())
}

/// Hands a descriptor over a stream.
pub fn give(stream: &OwnedFd, given: impl AsFd) -> Result<String, Errno> {
    let descriptors = [given.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::NOSIGNAL);
    sent.map(|_| String::new())
}

/// Takes one; `None` where the kernel kept it back.
pub fn take(stream: &OwnedFd) -> Result<Option<OwnedFd>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let got = rustix::net::recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    assert_eq!(got.bytes, 1);
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    Ok(rights.flatten().next())
}

/// Takes a descriptor out of another process (pidfd_getfd(2)).
pub fn fetch(pid: i32, number: i32) -> Result<OwnedFd, Errno> {
    let process = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty())?;
    rustix::process::pidfd_getfd(&process, number, PidfdGetfdFlags::empty())
}

fn address(name: &str) -> Result<SocketAddrUnix, Errno> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        None => SocketAddrUnix::new(name),
    }
}
