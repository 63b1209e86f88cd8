//! What the kernel side tells, counted and coalesced until it is journaled.
//!
//! In: entries of an attachment's ring buffer. Out: events, at most a bounded number per
//! second. Nothing decides by what comes here: the kernel has acted already.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use gateway_common::{ConnectRecord, Endpoint, KernelEvent, Reason, SocketName};

use crate::audit::Timestamp;
use crate::audit::event::{Destination, Event, NetworkBypass, NetworkConnect, NetworkRefused, Who};
use crate::host::cgroup::Hierarchy;
use crate::host::process;
use crate::host::unix_name;

/// Different calls of a kind that are told apart between two flushes; the rest is counted together.
const CALL_LIMIT: usize = 1_024;

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

/// How much of single calls is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Each with process and destination, as far as they differ.
    Apart,
    /// Their number.
    Counted,
}

/// Collects until somebody takes.
#[derive(Debug, Default)]
pub struct Collected {
    connects: Calls,
    refusals: Calls,
    bypass: BTreeMap<&'static str, u64>,
    about: BTreeMap<String, u64>,
    since: Option<Timestamp>,
}

impl Collected {
    /// Adds an entry.
    pub fn add(&mut self, event: &KernelEvent) {
        self.since.get_or_insert_with(Timestamp::now);
        let reason = Reason::ALL.get(event.reason as usize).copied().unwrap_or(Reason::MapFailed);
        if reason == Reason::Passed {
            self.connects.add(reason, event);
            return;
        }
        *self.bypass.entry(reason.name()).or_default() += 1;
        if matches!(reason, Reason::FamilyRefused | Reason::ReceiveRefused) {
            self.add_about(family(event.detail));
        }
        if has_destination(reason) {
            self.refusals.add(reason, event);
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

    /// Counts what user space refused.
    pub fn count(&mut self, reason: &'static str, times: u64) {
        if times > 0 {
            self.since.get_or_insert_with(Timestamp::now);
            *self.bypass.entry(reason).or_default() += times;
        }
    }

    /// Leaves of single calls how many they were.
    pub fn tell_nothing_apart(&mut self) {
        for calls in [&mut self.connects, &mut self.refusals] {
            calls.not_told_apart += calls.told.drain().map(|(_, call)| call.count).sum::<u64>();
        }
    }

    /// Takes what was collected, as events of an attachment; `name_of` tells which name stands for an address.
    pub fn take(
        &mut self,
        attachment: &str,
        hierarchy: &Hierarchy,
        name_of: impl Fn(Endpoint) -> Option<String>,
    ) -> Vec<Event> {
        let Self { connects, refusals, bypass, about, since } = std::mem::take(self);
        let not_told_apart = connects.not_told_apart + refusals.not_told_apart;
        let of = |call: &Call| {
            let destination = Destination::of(SocketAddr::from(call.record.original), transport(call.protocol));
            let name = name_of(call.record.original);
            (who(attachment, hierarchy, &call.record), Destination { name, ..destination })
        };
        let passed = connects.told.into_values().map(|call| {
            let ((who, destination), count) = (of(&call), call.count);
            Event::NetworkConnect(Box::new(NetworkConnect { who, destination, count }))
        });
        let refused = refusals.told.into_iter().map(|((_, _, _, reason), call)| {
            let ((who, destination), count) = (of(&call), call.count);
            let reason = reason.name().to_owned();
            Event::NetworkRefused(Box::new(NetworkRefused { who, destination, reason, count }))
        });
        let mut events: Vec<Event> = passed.chain(refused).collect();
        let (mut dropped, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (reason, count) in bypass {
            let packets = [Reason::PacketDropped, Reason::LinkDropped, Reason::PacketUnreadable]
                .map(Reason::name)
                .contains(&reason);
            let counts = if packets { &mut dropped } else { &mut refused };
            counts.insert(reason.to_owned(), count);
        }
        if not_told_apart > 0 {
            refused.insert("connects_not_told_apart".into(), not_told_apart);
        }
        if !dropped.is_empty() || !refused.is_empty() {
            let attachment = attachment.to_owned();
            events.push(Event::NetworkBypass(NetworkBypass { attachment, dropped, refused, about, since }));
        }
        events
    }
}

/// Calls of one kind, told apart by cgroup, destination, protocol and reason.
#[derive(Debug, Default)]
struct Calls {
    told: HashMap<(u64, SocketAddr, u32, Reason), Call>,
    not_told_apart: u64,
}

/// One, and how many were like it.
#[derive(Debug)]
struct Call {
    record: ConnectRecord,
    protocol: u32,
    count: u64,
}

impl Calls {
    fn add(&mut self, reason: Reason, event: &KernelEvent) {
        let KernelEvent { record, detail: protocol, .. } = *event;
        let key = (record.cgroup, SocketAddr::from(record.original), protocol, reason);
        if let Some(call) = self.told.get_mut(&key) {
            call.count += 1;
        } else if self.told.len() < CALL_LIMIT {
            self.told.insert(key, Call { record, protocol, count: 1 });
        } else {
            self.not_told_apart += 1;
        }
    }
}

/// Whether events of this reason are about a destination, and their detail an IP protocol.
fn has_destination(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::SocketRefused
            | Reason::BindRefused
            | Reason::PacketUnreadable
            | Reason::MapFailed
            | Reason::EventLost
            | Reason::FamilyRefused
            | Reason::ReceiveRefused
            | Reason::UnixRefused
    )
}

fn transport(protocol: u32) -> &'static str {
    match protocol {
        1 | 58 => "icmp",
        17 => "udp",
        _ => "tcp",
    }
}

fn family(number: u32) -> String {
    let known = FAMILIES.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("address family {number}"), |(_, name)| (*name).to_owned())
}

/// Who connected, as far as the kernel's record and `/proc` tell.
fn who(attachment: &str, hierarchy: &Hierarchy, record: &ConnectRecord) -> Who {
    Who {
        attachment: attachment.to_owned(),
        workload: attachment.to_owned(),
        cgroup: hierarchy.place_of(record.cgroup).path,
        uid: record.uid,
        pid: record.pid,
        executable: executable(record),
        ..Who::default()
    }
}

/// The executable's path, or the task's name where the process is gone; empty for a packet, which names no task.
#[must_use]
pub fn executable(record: &ConnectRecord) -> String {
    let path = i32::try_from(record.pid).ok().filter(|pid| *pid != 0).and_then(process::executable);
    path.map_or_else(
        || String::from_utf8_lossy(record.comm.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned(),
        |path| path.to_string_lossy().into_owned(),
    )
}
