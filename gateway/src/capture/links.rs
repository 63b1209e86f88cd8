//! Devices by which a network namespace is connected to elsewhere.
//!
//! In: a namespace. Out: where its links lead: to devices of this host, where the second backstop looks at what arrives, or
//! elsewhere, which is a gap if somebody in there may send packets that no hook sees: the namespace belongs to a user
//! namespace of the workload, whose root forwards, injects and rewrites packets as it likes. Without a link it is an
//! island. Asks rtnetlink(7) and decides nothing.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::gaps::Gap;
use super::netlink::{self, ROUTE, attribute, put_attribute};
use crate::host::netns::{Netns, NetnsError, NetnsThread};
use crate::host::process::Process;

/// `RTM_GETLINK` and `RTM_GETNSID` of linux/rtnetlink.h, the sizes of `struct ifinfomsg` and, padded, `struct rtgenmsg`.
const GET_LINK: u16 = 18;
const GET_NAMESPACE: u16 = 90;
const INFO: usize = 16;
const GENERIC: usize = 4;
/// `IFLA_*` of linux/if_link.h: the name, the other end, what kind of virtual device, the other end's namespace (Linux 4.0).
const NAME: u16 = 3;
const LINK: u16 = 5;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const OTHER_NAMESPACE: u16 = 37;
/// `NETNSA_*` of linux/net_namespace.h: a namespace's number as another one knows it, and a descriptor of it.
const NUMBER: u16 = 1;
const DESCRIPTOR: u16 = 3;
/// `ARPHRD_LOOPBACK` of linux/if_arp.h.
const LOOPBACK: u16 = 772;

/// Where the links of a namespace lead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// To these devices of our own namespace, by index: the other ends of veth pairs.
    pub here: Vec<u32>,
    /// Elsewhere, or nobody knows where: their names.
    pub elsewhere: Vec<String>,
}

/// One link as rtnetlink shows it.
struct Device {
    index: u32,
    name: String,
    is_loopback: bool,
    is_virtual: bool,
    is_veth: bool,
    /// The index of the other end, and the number of the namespace where it is, if that is another one.
    other: Option<u32>,
    other_namespace: Option<i32>,
}

/// The links of a namespace; `own` is ours.
///
/// # Errors
/// Where it cannot be entered, or the kernel does not tell.
pub fn of(thread: &NetnsThread, namespace: &Netns, own: &Netns) -> Result<Links, NetnsError> {
    let own = own.try_clone()?;
    thread.inside(namespace, move || {
        let devices = devices().map_err(NetnsError::Ask)?;
        // After that list: the kernel numbers namespaces when it has to name them.
        let here = number_of(&own).map_err(NetnsError::Ask)?;
        let mut links = Links::default();
        for device in devices.into_iter().filter(Device::leads_out) {
            match device.other {
                Some(other) if device.is_veth && device.other_namespace.is_some() && device.other_namespace == here => {
                    links.here.push(other);
                }
                _ => links.elsewhere.push(device.name),
            }
        }
        Ok(links)
    })
}

/// The veth devices of the namespace that we are in.
///
/// # Errors
/// Where the kernel does not tell.
pub(super) fn veths_here() -> io::Result<Vec<u32>> {
    Ok(devices()?.into_iter().filter(|device| device.is_veth).map(|device| device.index).collect())
}

/// Calls back after each change of the devices of our own namespace, until it returns false.
///
/// # Errors
/// Where the kernel does not tell.
pub fn watch(changed: impl FnMut() -> bool) -> io::Result<()> {
    netlink::watch_devices(changed)
}

/// The gap of a subtree with these processes: a link past the second backstop.
#[must_use]
pub fn gap(thread: &NetnsThread, pids: &[i32]) -> Option<Gap> {
    let own = Netns::own().ok()?;
    let mut seen = HashSet::new();
    pids.iter().find_map(|&pid| {
        let namespace = Netns::of_process(pid).ok()?;
        let is_new = seen.insert(namespace.inode().ok()?);
        if !is_new || namespace.is_ours().unwrap_or(false) || !Process::read(pid)?.may_send_any_packet() {
            return None;
        }
        let elsewhere = match of(thread, &namespace, &own) {
            Ok(links) => links.elsewhere,
            Err(error) => vec![error.to_string()],
        };
        elsewhere.first().map(|link| linked(&format!("of process {pid}"), link))
    })
}

/// The gap of a namespace with a link that no backstop looks at.
#[must_use]
pub fn linked(namespace: &str, link: &str) -> Gap {
    let detail = format!(
        "the network namespace {namespace} belongs to a user namespace of its own and has a link that leads past the host's backstop ({link}): its root can send packets that no hook sees; take NET_ADMIN and NET_RAW from its bounding set, or give it a veth into the gateway's namespace instead"
    );
    Gap { name: "linked_namespace".into(), detail }
}

fn devices() -> io::Result<Vec<Device>> {
    netlink::dump(ROUTE, GET_LINK, &[0; INFO], Device::read)
}

/// The number by which the calling thread's namespace knows another one; `None`: not at all.
fn number_of(namespace: &Netns) -> io::Result<Option<i32>> {
    let mut body = vec![0; GENERIC];
    put_attribute(&mut body, DESCRIPTOR, &namespace.as_fd().as_raw_fd().to_ne_bytes());
    let number = netlink::ask(ROUTE, GET_NAMESPACE, &body, |body| {
        attribute(body.get(GENERIC..)?, NUMBER)?.try_into().ok().map(i32::from_ne_bytes)
    })?;
    Ok(number.filter(|number| *number >= 0))
}

impl Device {
    fn read(body: &[u8]) -> Option<Self> {
        let word = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_ne_bytes);
        let attributes = body.get(INFO..)?;
        let kind = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, INFO_KIND));
        let name =
            attribute(attributes, NAME).map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
        let other_namespace = attribute(attributes, OTHER_NAMESPACE);
        Some(Self {
            index: word(body.get(4..8)?)?,
            name: name.unwrap_or_default(),
            is_loopback: u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?) == LOOPBACK,
            is_virtual: kind.is_some(),
            is_veth: kind == Some(b"veth\0"),
            other: attribute(attributes, LINK).and_then(word),
            other_namespace: other_namespace.and_then(|number| number.try_into().ok().map(i32::from_ne_bytes)),
        })
    }

    /// Whether its other end is in another namespace, or it is no virtual device at all.
    fn leads_out(&self) -> bool {
        !self.is_loopback && (!self.is_virtual || self.other_namespace.is_some())
    }
}
