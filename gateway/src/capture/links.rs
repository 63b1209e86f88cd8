//! Devices by which a network namespace is connected to elsewhere.
//!
//! In: processes of a subtree. Out: a gap where one of them may send packets that no hook sees: its network namespace
//! belongs to a user namespace of the workload, whose root forwards, injects and rewrites packets as it likes, and
//! somebody gave that network namespace a link. Without one it is an island. Asks rtnetlink(7) and decides nothing.

use std::collections::HashSet;

use super::gaps::Gap;
use super::netlink::{self, ROUTE, attribute};
use crate::host::netns::{Netns, NetnsError, NetnsThread};
use crate::host::process::Process;

/// `RTM_GETLINK` of linux/rtnetlink.h, and the size of `struct ifinfomsg`.
const GET_LINK: u16 = 18;
const INFO: usize = 16;
/// `IFLA_*` of linux/if_link.h: the name, what kind of virtual device, the namespace of the other end (Linux 4.0).
const NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const OTHER_NAMESPACE: u16 = 37;
/// `ARPHRD_LOOPBACK` of linux/if_arp.h.
const LOOPBACK: u16 = 772;

/// The gap of a subtree with these processes.
#[must_use]
pub fn gap(thread: &NetnsThread, pids: &[i32]) -> Option<Gap> {
    let mut seen = HashSet::new();
    pids.iter().find_map(|&pid| {
        let namespace = Netns::of_process(pid).ok()?;
        let is_new = seen.insert(namespace.inode().ok()?);
        if !is_new || namespace.is_ours().unwrap_or(false) || !Process::read(pid)?.may_send_any_packet() {
            return None;
        }
        let links = match leading_out(thread, &namespace) {
            Ok(links) => links,
            Err(error) => vec![error.to_string()],
        };
        let link = links.first()?;
        let detail = format!(
            "the network namespace of process {pid} belongs to a user namespace of its own and has a link to outside ({link}): its root can send packets that no hook sees; take NET_ADMIN and NET_RAW from its bounding set, or give it no link"
        );
        Some(Gap { name: "linked_namespace".into(), detail })
    })
}

/// The names of devices whose other end is in another namespace, or that are no virtual devices at all.
fn leading_out(thread: &NetnsThread, namespace: &Netns) -> Result<Vec<String>, NetnsError> {
    let found =
        thread.inside(namespace, || netlink::dump(ROUTE, GET_LINK, &[0; INFO], device).map_err(NetnsError::Ask))?;
    Ok(found.into_iter().flatten().collect())
}

/// A device's name where it leads out.
fn device(body: &[u8]) -> Option<Option<String>> {
    let kind = u16::from_ne_bytes(body.get(2..4)?.try_into().ok()?);
    let attributes = body.get(INFO..)?;
    let is_virtual = attribute(attributes, LINK_INFO).and_then(|info| attribute(info, INFO_KIND)).is_some();
    let leads_out = kind != LOOPBACK && (!is_virtual || attribute(attributes, OTHER_NAMESPACE).is_some());
    let name = attribute(attributes, NAME).map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
    Some(leads_out.then(|| name.unwrap_or_default()))
}
