//! Internet sockets that processes of a subtree hold and that no hook ever sees: made before the process was moved in,
//! or inherited from one outside, they belong to that cgroup for good.
//!
//! In: the processes of a subtree whose hooks are in force. Out: those sockets, deaf: what they send may leave, nothing
//! comes in, so that no connection comes about. Our own bind hook tells which they are. Never touches a socket of the
//! subtree itself.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use gateway_common::sys;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::host::process;

/// Longer than an IPv6 address, since a shorter one is refused before the hook.
const PROBE: &[u8] = &[b'g'; 64];

/// A foreign socket that was found, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Who holds it.
    pub pid: i32,
    /// Nothing comes in by it any more.
    pub is_deaf: bool,
}

/// Looks at the sockets of these processes that are not `known` yet, and makes foreign ones deaf unless they are to be
/// kept. Only while the bind hooks are in force: without them every socket looks foreign.
pub fn find(pids: &[i32], known: &mut HashSet<u64>, keep: bool) -> Vec<Foreign> {
    let mut present = HashSet::new();
    let mut found = Vec::new();
    for &pid in pids {
        for (number, inode) in process::sockets(pid) {
            if !present.insert(inode) || known.contains(&inode) {
                continue;
            }
            let Some(socket) = duplicate(pid, number).filter(is_foreign) else { continue };
            found.push(Foreign { pid, is_deaf: !keep && sys::deafen(&socket).is_ok() });
        }
    }
    *known = present;
    found
}

fn duplicate(pid: i32, number: i32) -> Option<OwnedFd> {
    let holder = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    pidfd_getfd(holder, number, PidfdGetfdFlags::empty()).ok()
}

/// A hook runs for the cgroup of the socket. Ours refuses to bind an internet socket to an address of another family,
/// which without it fails as well, by another error, and changes nothing.
fn is_foreign(socket: &OwnedFd) -> bool {
    let internet = [AddressFamily::INET, AddressFamily::INET6];
    if !sockopt::socket_domain(socket).is_ok_and(|family| internet.contains(&family)) {
        return false;
    }
    match sockopt::socket_type(socket) {
        Ok(SocketType::STREAM | SocketType::DGRAM) => {}
        // Nobody makes these inside.
        _ => return true,
    }
    let Ok(address) = SocketAddrUnix::new(PROBE) else { return true };
    rustix::net::bind(socket, &address) != Err(Errno::PERM)
}
