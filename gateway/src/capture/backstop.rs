//! The second backstop: a program on the host's end of links into namespaces of a subtree.
//!
//! In: a device of our own namespace. Out: what arrives there is looked at, also when we are gone: a filter of tc(8) needs no
//! pin. It must never stand on a device that leads to nobody in the subtree. Filters are told apart by a handle that is made
//! of the attachment's cgroup; they come first on their device, and what they let pass is for whoever comes after.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::links::veths_here;
use super::netlink::{self, ROUTE, put_attribute};

/// `RTM_*` of linux/rtnetlink.h.
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;
const DELETE_FILTER: u16 = 45;
/// `NLM_F_EXCL` and `NLM_F_CREATE` of linux/netlink.h.
const ONLY_IF_ABSENT: u16 = 0x200;
const CREATE: u16 = 0x400;
/// `TC_H_CLSACT`, its major number, and its place for what comes in (linux/pkt_sched.h).
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const INGRESS: u32 = 0xffff_fff2;
/// `TCA_*` of linux/rtnetlink.h and `TCA_BPF_*` of linux/pkt_cls.h.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;
const PROGRAM: u16 = 6;
const PROGRAM_NAME: u16 = 7;
const PROGRAM_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: the program says what becomes of a packet.
const DIRECT: u32 = 1;
/// The first of all filters, and every protocol (`ETH_P_ALL`, in network order).
const FIRST_OF_ALL: u32 = 1 << 16 | 0x0003_u16.to_be() as u32;

/// Whose the root of the namespace at the other end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// What others send from there passes.
    OfHost,
    /// It can rewrite what others send from there.
    OfWorkload,
}

impl Root {
    /// The program for it.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::OfHost => "link",
            Self::OfWorkload => "own_link",
        }
    }
}

/// How a filter is put on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// In place of what an earlier gateway put there.
    Anew,
    /// Only where it is missing.
    IfAbsent,
}

/// Puts a program on a device; false where it stood there already.
///
/// # Errors
/// `ENODEV` where the device is gone; else where the kernel has no such filters, or another kind comes first.
pub(super) fn put(device: u32, cgroup: u64, program: BorrowedFd<'_>, how: Put) -> io::Result<bool> {
    let mut qdisc = message(device, CLSACT_HANDLE, CLSACT, 0);
    put_attribute(&mut qdisc, KIND, b"clsact\0");
    match netlink::order(ROUTE, NEW_QDISC, CREATE | ONLY_IF_ABSENT, &qdisc) {
        Err(error) if error.raw_os_error() != Some(Errno::EXIST.raw_os_error()) => return Err(error),
        _ => {}
    }
    let mut options = Vec::new();
    put_attribute(&mut options, PROGRAM, &program.as_raw_fd().to_ne_bytes());
    put_attribute(&mut options, PROGRAM_NAME, b"gateway\0");
    put_attribute(&mut options, PROGRAM_FLAGS, &DIRECT.to_ne_bytes());
    let mut filter = message(device, handle(cgroup), INGRESS, FIRST_OF_ALL);
    put_attribute(&mut filter, KIND, b"bpf\0");
    put_attribute(&mut filter, OPTIONS, &options);
    let flags = if how == Put::IfAbsent { CREATE | ONLY_IF_ABSENT } else { CREATE };
    match netlink::order(ROUTE, NEW_FILTER, flags, &filter) {
        Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Takes the filters of an attachment off all devices.
///
/// # Errors
/// Where devices cannot be listed.
pub(super) fn remove(cgroup: u64) -> io::Result<()> {
    for device in veths_here()? {
        let mut filter = message(device, handle(cgroup), INGRESS, FIRST_OF_ALL);
        put_attribute(&mut filter, KIND, b"bpf\0");
        // Most of them have none.
        let _ = netlink::order(ROUTE, DELETE_FILTER, 0, &filter);
    }
    Ok(())
}

/// Cgroup ids grow by one with each, so that their lower half is as good as the whole; 0 would be any.
fn handle(cgroup: u64) -> u32 {
    (cgroup as u32).max(1)
}

/// A `struct tcmsg`.
fn message(device: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, device, handle, parent, info].iter().flat_map(|word| word.to_ne_bytes()).collect()
}
