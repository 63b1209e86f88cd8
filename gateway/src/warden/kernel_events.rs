//! What the kernel side tells, counted and coalesced until it is journaled.
//!
//! In: entries of an attachment's ring buffer. Out: events, at most a bounded number per
//! second. Nothing decides by what comes here: the kernel has acted already.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use gateway_common::{ConnectRecord, KernelEvent, Reason, SocketName};

use crate::audit::Timestamp;
use crate::audit::event::{Destination, Event, NetworkBypass, NetworkConnect, Who};
use crate::host::cgroup::Hierarchy;
use crate::host::process;
use crate::host::unix_name;

/// Different connects that are told apart between two flushes; the rest is counted together.
const CONNECT_LIMIT: usize = 1_024;

/// Names and families of refused sockets that are told between two flushes; of the rest only the number is.
const ABOUT_LIMIT: usize = 64;

/// Address families that hosts have (linux/socket.h).
const FAMILIES: [(u32, &str); 14] = [
    (2, "AF_INET"),
    (10, "AF_INET6"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (29, "AF_CAN"),
    (30, "AF_TIPC"),
    (31, "AF_BLUETOOTH"),
    (33, "AF_RXRPC"),
    (38, "AF_ALG"),
    (40, "AF_VSOCK"),
    (41, "AF_KCM"),
    (42, "AF_QIPCRTR"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
];

/// Collects until somebody takes.
#[derive(Debug, Default)]
pub struct Collected {
    connects: HashMap<(u64, SocketAddr), (ConnectRecord, u32, u64)>,
    uncounted_connects: u64,
    bypass: BTreeMap<&'static str, u64>,
    about: BTreeMap<String, u64>,
    since: Option<Timestamp>,
}

impl Collected {
    /// Adds an entry.
    pub fn add(&mut self, event: &KernelEvent) {
        self.since.get_or_insert_with(Timestamp::now);
        let reason = Reason::ALL.get(event.reason as usize).copied().unwrap_or(Reason::MapFailed);
        if reason != Reason::Passed {
            *self.bypass.entry(reason.name()).or_default() += 1;
            if matches!(reason, Reason::FamilyRefused | Reason::ReceiveRefused) {
                self.add_about(family(event.detail));
            }
            return;
        }
        let key = (event.record.cgroup, SocketAddr::from(event.record.original));
        if let Some((_, _, count)) = self.connects.get_mut(&key) {
            *count += 1;
        } else if self.connects.len() < CONNECT_LIMIT {
            self.connects.insert(key, (event.record, event.detail, 1));
        } else {
            self.uncounted_connects += 1;
        }
    }

    /// Adds the name of a unix socket that was refused.
    pub fn add_name(&mut self, name: &SocketName) {
        self.add_about(unix_name::shown(name));
    }

    fn add_about(&mut self, what: String) {
        if self.about.len() < ABOUT_LIMIT || self.about.contains_key(&what) {
            *self.about.entry(what).or_default() += 1;
        }
    }

    /// Counts a connection to our listener that the kernel has no record of.
    pub fn add_without_record(&mut self) {
        self.since.get_or_insert_with(Timestamp::now);
        *self.bypass.entry("no_record").or_default() += 1;
    }

    /// Takes what was collected, as events of an attachment.
    pub fn take(&mut self, attachment: &str, hierarchy: &Hierarchy) -> Vec<Event> {
        let Self { connects, uncounted_connects, bypass, about, since } = std::mem::take(self);
        let mut events: Vec<Event> = connects
            .into_iter()
            .map(|((cgroup, destination), (record, protocol, count))| {
                let who = who(attachment, hierarchy, cgroup, &record);
                let destination = Destination {
                    address: destination.ip(),
                    port: destination.port(),
                    protocol: if protocol == 17 { "udp".into() } else { "tcp".into() },
                    target: None,
                    environment: None,
                    name: None,
                };
                Event::NetworkConnect(Box::new(NetworkConnect { who, destination, count }))
            })
            .collect();
        let (mut dropped, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (reason, count) in bypass {
            let packets = [Reason::PacketDropped.name(), Reason::PacketUnreadable.name()].contains(&reason);
            let counts = if packets { &mut dropped } else { &mut refused };
            counts.insert(reason.to_owned(), count);
        }
        if uncounted_connects > 0 {
            refused.insert("connects_not_told_apart".into(), uncounted_connects);
        }
        if !dropped.is_empty() || !refused.is_empty() {
            let attachment = attachment.to_owned();
            events.push(Event::NetworkBypass(NetworkBypass { attachment, dropped, refused, about, since }));
        }
        events
    }
}

fn family(number: u32) -> String {
    let known = FAMILIES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("address family {number}"), |(_, name)| (*name).to_owned())
}

/// Who connected, as far as the kernel's record and `/proc` tell.
#[must_use]
pub fn who(attachment: &str, hierarchy: &Hierarchy, cgroup: u64, record: &ConnectRecord) -> Who {
    Who {
        attachment: attachment.to_owned(),
        workload: attachment.to_owned(),
        cgroup: hierarchy.place_of(cgroup).path,
        uid: record.uid,
        pid: record.pid,
        executable: executable(record),
        ..Who::default()
    }
}

/// The executable's path, or the task's name where the process is gone.
#[must_use]
pub fn executable(record: &ConnectRecord) -> String {
    let path = i32::try_from(record.pid).ok().and_then(process::executable);
    path.map_or_else(
        || String::from_utf8_lossy(record.comm.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}
