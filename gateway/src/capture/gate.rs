//! The programs and maps of one attachment: loaded, pinned, attached, asked.
//!
//! In: a cgroup, the tables, the eBPF object that the build embedded. Out: a gate that is closed until the heartbeat
//! is written. An attachment that finds its pins replaces the programs in place, so that there are never two rewriting
//! copies and never none. It adopts the maps that another process of the same build left; those of another build are
//! closed, and left behind once no program looks at them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{Array, Map, MapData, MapError, MapInfo, RingBuf};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader};
use gateway_common::sys::{self, AttachType};
use gateway_common::{ConnectRecord, Endpoint, FlowKey, ListenerState, Reason};
use rustix::io::Errno;

use super::backstop::{self, Put, Root};
use super::events::Ring;
use super::lsm::{self, Lsm, LsmError};
use super::maps::Maps;
use super::names;
use super::pins::{self, Pins};
use super::tables::Tables;
use crate::host::cgroup::Cgroup;

/// The kernel side, as the build made it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("GATEWAY_EBPF_OBJECT_PATH"));

/// The programs with the hook of each, in the order of attaching: the backstop first. `detach` goes the other way.
pub const HOOKS: [(&str, AttachType); 14] = [
    ("egress", AttachType::Egress),
    ("connect4", AttachType::Connect4),
    ("connect6", AttachType::Connect6),
    ("sendmsg4", AttachType::Sendmsg4),
    ("sendmsg6", AttachType::Sendmsg6),
    ("recvmsg4", AttachType::Recvmsg4),
    ("recvmsg6", AttachType::Recvmsg6),
    ("flow", AttachType::SockOps),
    ("getpeername4", AttachType::Getpeername4),
    ("getpeername6", AttachType::Getpeername6),
    ("sock_create", AttachType::SockCreate),
    ("setsockopt", AttachType::Setsockopt),
    ("bind4", AttachType::Bind4),
    ("bind6", AttachType::Bind6),
];

/// All maps of the object: pinned, so that a restarted gateway of the same build finds the sockets and records of the old
/// one.
const MAPS: [&str; 15] = [
    "SETTINGS",
    "HEARTBEAT",
    "LISTENER",
    "PORT",
    "NETWORK",
    "NETWORK_PORT",
    "NAMED",
    "UNIX",
    "SOCKET",
    "TOLD",
    "FRESH",
    "FLOW",
    "ASKER",
    "EVENT",
    "COUNT",
];

/// Why the kernel side could not be put in place or asked.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The pins could not be made or removed.
    #[error("cannot {what} the pins of cgroup {cgroup} in /sys/fs/bpf: is the BPF file system mounted and writable?")]
    Pins {
        /// What was tried.
        what: &'static str,
        /// The cgroup's id.
        cgroup: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// The object could not be loaded.
    #[error("cannot load the eBPF object: `gateway doctor` tells what this kernel lacks")]
    Object(#[source] Box<aya::EbpfError>),
    /// A program could not be loaded.
    #[error("cannot load the eBPF program {program}: needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and Linux 5.10")]
    Load {
        /// Which one.
        program: &'static str,
        /// The verifier's or the kernel's answer.
        source: Box<aya::programs::ProgramError>,
    },
    /// An LSM program could not be loaded, where a trial had worked.
    #[error(transparent)]
    Lsm(#[from] LsmError),
    /// A program could not be attached.
    #[error("cannot attach {program} to `{path}`: EPERM means that a program on an ancestor allows no other")]
    Attach {
        /// Which one.
        program: &'static str,
        /// To which cgroup.
        path: String,
        /// The kernel's answer.
        source: Cause,
    },
    /// The second backstop could not be put in place.
    #[error(
        "cannot put a program on device {device}: needs CONFIG_NET_CLS_BPF, and no filter of another kind before it (`tc filter show`)"
    )]
    Link {
        /// The device's index.
        device: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The object lacks something that this build of the gateway expects.
    #[error("the eBPF object has no {name}: the build embedded an object of another version")]
    Missing {
        /// A program or map.
        name: &'static str,
    },
    /// A map could not be used.
    #[error("cannot {what} the eBPF map {map}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// Which one.
        map: &'static str,
        /// The kernel's answer.
        source: Box<MapError>,
    },
}

/// The kernel side of one attachment.
pub struct Gate {
    cgroup: Cgroup,
    pins: Pins,
    programs: Vec<(&'static str, AttachType, u32)>,
    maps: Maps,
    /// Where each map is pinned that the programs look at, by its id.
    pinned: Vec<(&'static str, u32)>,
    tables: Tables,
    listener_port: u16,
    /// Programs live as long as their links; kept for their descriptors.
    ebpf: Ebpf,
}

impl Gate {
    /// Puts the hooks of an attachment in force, closed until the first heartbeat. Adopts what is pinned. `lsm`: those
    /// hooks too.
    ///
    /// # Errors
    /// Where the kernel refuses a map, a program or a hook. What was attached before stays attached.
    pub fn close_over(
        cgroup: &Cgroup,
        directory: &OwnedFd,
        tables: &Tables,
        listener_port: u16,
        lsm: Option<&Lsm>,
    ) -> Result<(Self, Ring), CaptureError> {
        let pins = Pins::of(cgroup.id);
        pins.create().map_err(|source| CaptureError::Pins { what: "make", cgroup: cgroup.id, source })?;
        close_other_builds(&pins);
        let mut ebpf = load(&pins, lsm)?;
        let pinned =
            MAPS.into_iter().map(|map| Ok((map, pinned_map(&pins, map)?))).collect::<Result<_, CaptureError>>()?;
        let ring = RingBuf::try_from(take(&mut ebpf, "EVENT")?).map_err(|error| map_error("open", "EVENT", error))?;
        let mut maps = Maps::take(&mut ebpf)?;
        maps.configure(tables, listener_port, cgroup.id)?;
        let mut programs = Vec::new();
        for (name, attach_type) in HOOKS.into_iter().chain(lsm.map(|_| lsm::HOOKS).into_iter().flatten()) {
            attach(&ebpf, (name, attach_type), directory, &pins).map_err(|source| CaptureError::Attach {
                program: name,
                path: cgroup.path.clone(),
                source,
            })?;
            programs.push((name, attach_type, program_id(&ebpf, name)?));
        }
        leave_other_builds(&pins, cgroup.id)?;
        // The loader read all types of the kernel, which takes some ten MiB.
        sys::return_freed_memory();
        let (cgroup, tables) = (cgroup.clone(), tables.clone());
        Ok((Self { cgroup, pins, programs, maps, pinned, tables, listener_port, ebpf }, Ring(ring)))
    }

    /// The cgroup that it closes over.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Opens it for two seconds from `now`, `CLOCK_MONOTONIC` in nanoseconds; 0 closes it at once.
    ///
    /// # Errors
    /// Where the map cannot be written.
    pub fn beat(&mut self, now: u64) -> Result<(), CaptureError> {
        self.maps.heartbeat.set(0, now, 0).map_err(|error| map_error("write", "HEARTBEAT", error))
    }

    /// Replaces the tables. What is protected before and after is protected all the while.
    ///
    /// # Errors
    /// Where a map is full or cannot be written.
    pub fn set_tables(&mut self, tables: &Tables, listener_port: u16) -> Result<(), CaptureError> {
        self.maps.configure(tables, listener_port, self.cgroup.id)?;
        (self.tables, self.listener_port) = (tables.clone(), listener_port);
        Ok(())
    }

    /// Tells the hooks what we listen on in a namespace.
    ///
    /// # Errors
    /// Where the map is full or cannot be written.
    pub fn set_listener(&mut self, netns: u64, state: ListenerState) -> Result<(), CaptureError> {
        self.maps.listener.insert(netns, state, 0).map_err(|error| map_error("write", "LISTENER", error))
    }

    /// Forgets a namespace that is gone.
    pub fn remove_listener(&mut self, netns: u64) {
        // One that is not there needs no forgetting.
        let _ = self.maps.listener.remove(&netns);
    }

    /// Takes the record of an accepted connection. `None`: it was not redirected by us, or its record was taken.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn take_record(
        &mut self,
        netns: u64,
        client: SocketAddr,
        listener: SocketAddr,
    ) -> Result<Option<ConnectRecord>, CaptureError> {
        let key = FlowKey { netns, client: Endpoint::from(client), listener: Endpoint::from(listener) };
        match self.maps.flow.get(&key, 0) {
            // The close callback may remove it first; the record is ours either way.
            Ok(record) => {
                let _ = self.maps.flow.remove(&key);
                Ok(Some(record))
            }
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(map_error("read", "FLOW", error)),
        }
    }

    /// Who sent a datagram to our forwarder. `None`: nobody whom we sent there.
    #[must_use]
    pub fn asker(&self, netns: u64, client: SocketAddr, listener: SocketAddr) -> Option<ConnectRecord> {
        let key = FlowKey { netns, client: Endpoint::from(client), listener: Endpoint::from(listener) };
        // A map that cannot be read has no record either: the question is not answered.
        self.maps.asker.get(&key, 0).ok()
    }

    /// The addresses that names stand for.
    pub fn names(&mut self) -> &mut names::Names {
        &mut self.maps.named
    }

    /// How many records wait for an accept, or were left behind.
    #[must_use]
    pub fn records(&self) -> usize {
        self.maps.flow.keys().count()
    }

    /// The counters, summed over CPUs. A map that an earlier version made has none for what only this one counts.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counts(&self) -> Result<Vec<(Reason, u64)>, CaptureError> {
        let read = |reason: Reason| match self.maps.count.get(&(reason as u32), 0) {
            Ok(values) => Ok((reason, values.iter().sum())),
            Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => Ok((reason, 0)),
            Err(error) => Err(map_error("read", "COUNT", error)),
        };
        Reason::ALL.into_iter().map(read).collect()
    }

    /// Looks at what arrives by a device of our own namespace; false where that was so already.
    ///
    /// # Errors
    /// Where the device is gone, or the kernel refuses.
    pub fn guard(&self, device: u32, root: Root, how: Put) -> Result<bool, CaptureError> {
        let refused = |source| CaptureError::Link { device, source };
        let name = root.program();
        let Some(Program::SchedClassifier(program)) = self.ebpf.program(name) else {
            return Err(CaptureError::Missing { name });
        };
        let program = program.fd().map_err(|error| refused(io::Error::other(error)))?;
        backstop::put(device, self.cgroup.id, program.as_fd(), how).map_err(refused)
    }

    /// The hooks of a cgroup that are not ours any more: detached by somebody, or gone with a cgroup that was removed
    /// and made anew. `directory` is opened by path, not kept.
    #[must_use]
    pub fn missing_hooks(&self, directory: impl AsFd) -> Vec<&'static str> {
        let missing = |(name, attach_type, id): &(&'static str, AttachType, u32)| {
            let attached = sys::attached_programs(directory.as_fd(), *attach_type).unwrap_or_default();
            (!attached.contains(id)).then_some(*name)
        };
        self.programs.iter().filter_map(missing).collect()
    }

    /// The maps that are not pinned any more, or in whose place others are.
    #[must_use]
    pub fn missing_maps(&self) -> Vec<&'static str> {
        let missing = |(map, id): &(&'static str, u32)| (pinned_map(&self.pins, map).ok() != Some(*id)).then_some(*map);
        self.pinned.iter().filter_map(missing).collect()
    }

    /// Pins maps again that are not where they were, so that who closes over the cgroup anew goes on with what the programs
    /// know of open connections.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn pin_maps(&self) -> Result<(), CaptureError> {
        self.pin_maps_at(&self.pins, self.cgroup.id)
    }

    fn pin_maps_at(&self, pins: &Pins, cgroup: u64) -> Result<(), CaptureError> {
        let failed = |source| CaptureError::Pins { what: "make", cgroup, source };
        pins.create().map_err(failed)?;
        for (map, id) in self.pinned.iter().filter(|(map, id)| pinned_map(pins, map).ok() != Some(*id)) {
            let pin = pins.map(map);
            pins::absent_is_fine(std::fs::remove_file(&pin)).map_err(failed)?;
            let data = MapData::from_id(*id).map_err(|error| map_error("find", map, error))?;
            data.pin(&pin).map_err(|error| failed(io::Error::other(error)))?;
        }
        Ok(())
    }

    /// Goes over to the cgroup that stands in the place of its own, which is gone. Its programs are loaded already, and stay as
    /// they are: that takes a thousandth of the time that loading takes, and less than a service to start.
    ///
    /// # Errors
    /// Where the kernel refuses a pin or a hook: it stays where it was.
    pub fn follow(&mut self, cgroup: &Cgroup, directory: &OwnedFd) -> Result<(), CaptureError> {
        let pins = Pins::of(cgroup.id);
        let done = self.put_over(cgroup, directory, &pins);
        let (left, id) = match &done {
            Ok(()) => {
                let old = std::mem::replace(&mut self.cgroup, cgroup.clone());
                (std::mem::replace(&mut self.pins, pins), old.id)
            }
            Err(_) => (pins, cgroup.id),
        };
        if let Err(error) = remove(&left, id) {
            tracing::warn!(%error, "pins of a cgroup that is gone are left behind");
        }
        done
    }

    fn put_over(&mut self, cgroup: &Cgroup, directory: &OwnedFd, pins: &Pins) -> Result<(), CaptureError> {
        self.pin_maps_at(pins, cgroup.id)?;
        self.maps.set_cgroup(&self.tables, self.listener_port, cgroup.id)?;
        self.programs.iter().try_for_each(|(name, attach_type, _)| {
            attach(&self.ebpf, (*name, *attach_type), directory, pins).map_err(|source| CaptureError::Attach {
                program: name,
                path: cgroup.path.clone(),
                source,
            })
        })
    }

    /// A map that does not hold what was written to it.
    #[must_use]
    pub fn changed_map(&self) -> Option<&'static str> {
        self.maps.changed(&self.tables, self.listener_port, self.cgroup.id)
    }

    /// Whether LSM hooks are among its own.
    #[must_use]
    pub fn has_lsm(&self) -> bool {
        self.programs.iter().any(|(_, attach_type, _)| *attach_type == AttachType::LsmCgroup)
    }

    /// Opens the gate for good: removes hooks and maps, the backstop last.
    ///
    /// # Errors
    /// Where a pin cannot be removed; the hooks before it are gone.
    pub fn detach(self) -> Result<(), CaptureError> {
        let cgroup = self.cgroup.id;
        remove(&self.pins, cgroup)
    }
}

/// Removes the pins of an attachment that no process serves.
///
/// # Errors
/// Where a pin cannot be removed.
pub fn detach_pinned(cgroup: u64) -> Result<(), CaptureError> {
    remove(&Pins::of(cgroup), cgroup)
}

fn every_hook() -> impl DoubleEndedIterator<Item = &'static str> {
    HOOKS.iter().chain(&lsm::HOOKS).map(|(name, _)| *name)
}

fn remove(pins: &Pins, cgroup: u64) -> Result<(), CaptureError> {
    leave_other_builds(pins, cgroup)?;
    for pin in every_hook().rev().map(|name| pins.link(name)) {
        // Where it cannot be taken off at once, it goes with its pin below.
        let _ = sys::pinned_object(&pin).and_then(sys::link_detach);
    }
    pins.remove(every_hook().rev()).map_err(|source| CaptureError::Pins { what: "remove", cgroup, source })?;
    backstop::remove(cgroup).map_err(|source| CaptureError::Link { device: 0, source })
}

/// Closes the gate of another build at once: its listener may be elsewhere, and its programs are replaced one by one.
fn close_other_builds(pins: &Pins) {
    for heartbeat in pins.of_other_builds("HEARTBEAT") {
        let map = MapData::from_pin(&heartbeat).and_then(|map| Array::<_, u64>::try_from(Map::Array(map)));
        // A heartbeat that nobody can write ends by itself: whoever wrote it is gone.
        if let Err(error) = map.and_then(|mut map| map.set(0, 0, 0)) {
            tracing::warn!(%error, path = %heartbeat.display(), "the gate of another build closes within two seconds");
        }
    }
}

/// Takes off what programs of another build still hold, and forgets its maps.
fn leave_other_builds(pins: &Pins, cgroup: u64) -> Result<(), CaptureError> {
    let failed = |source| CaptureError::Pins { what: "remove", cgroup, source };
    for link in pins.other_links(every_hook()) {
        // Where it cannot be taken off at once, it goes with its pin.
        let _ = sys::pinned_object(&link).and_then(sys::link_detach);
        std::fs::remove_file(&link).map_err(failed)?;
    }
    pins.forget_other_builds().map_err(failed)
}

/// Loads the object with its maps pinned, and every program.
fn load(pins: &Pins, lsm: Option<&Lsm>) -> Result<Ebpf, CaptureError> {
    let attempt = |has_set_retval| {
        let mut ebpf = load_object(pins, has_set_retval, lsm)?;
        load_programs(&mut ebpf)?;
        Ok(ebpf)
    };
    // `bpf_set_retval` came to connect hooks with Linux 5.18; without it the caller reads EPERM.
    let mut ebpf = match attempt(1) {
        Err(CaptureError::Load { .. }) => attempt(0)?,
        other => other?,
    };
    lsm.map_or(Ok(()), |lsm| lsm.load(&mut ebpf))?;
    Ok(ebpf)
}

/// Whether a hook can say which error a refused connect reads (`bpf_set_retval`): found by loading one that does.
#[must_use]
pub fn can_name_errors() -> bool {
    let mut loader = EbpfLoader::new();
    let Ok(mut ebpf) = loader.override_global("HAS_SET_RETVAL", &1_u32, true).load(OBJECT) else { return false };
    let Some(Program::CgroupSockAddr(program)) = ebpf.program_mut("connect4") else { return false };
    program.load().is_ok()
}

fn load_object(pins: &Pins, has_set_retval: u32, lsm: Option<&Lsm>) -> Result<Ebpf, CaptureError> {
    let syn_timeout = syn_timeout();
    let mut loader = EbpfLoader::new();
    for map in MAPS {
        loader.map_pin_path(map, pins.map(map));
    }
    if let Some(lsm) = lsm {
        lsm.prepare(&mut loader);
    }
    loader.override_global("HAS_SET_RETVAL", &has_set_retval, true);
    loader.override_global("SYN_TIMEOUT", &syn_timeout, true);
    loader.load(OBJECT).map_err(|error| CaptureError::Object(Box::new(error)))
}

/// How long a SYN waits for the listener of a new namespace before it is sent again, in ticks of the kernel's clock, whose
/// length is the resolution of its coarse clocks (`hrtimer_resolution` of KTIME_LOW_RES, time/posix-timers.c).
fn syn_timeout() -> u32 {
    const TIMEOUT_NANOS: i64 = 50_000_000;
    let tick = rustix::time::clock_getres(rustix::time::ClockId::MonotonicCoarse).tv_nsec.max(1);
    u32::try_from(TIMEOUT_NANOS / tick).unwrap_or(1).max(1)
}

fn load_programs(ebpf: &mut Ebpf) -> Result<(), CaptureError> {
    for name in HOOKS.into_iter().map(|(name, _)| name).chain([Root::OfHost, Root::OfWorkload].map(Root::program)) {
        let program = ebpf.program_mut(name).ok_or(CaptureError::Missing { name })?;
        let loaded = match program {
            Program::CgroupSkb(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::CgroupSock(program) => program.load(),
            Program::CgroupSockopt(program) => program.load(),
            Program::SockOps(program) => program.load(),
            Program::SchedClassifier(program) => program.load(),
            _ => return Err(CaptureError::Missing { name }),
        };
        loaded.map_err(|error| CaptureError::Load { program: name, source: Box::new(error) })?;
    }
    Ok(())
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Attaches a program by a pinned link, or puts it behind the link that is pinned already.
fn attach(ebpf: &Ebpf, (name, attach_type): (&str, AttachType), directory: &OwnedFd, pins: &Pins) -> Result<(), Cause> {
    let pin = pins.link(name);
    let program = ebpf.program(name).ok_or("no such program")?;
    if pin.exists() {
        match sys::link_update(sys::pinned_object(&pin)?, program.fd()?.as_fd()) {
            Ok(()) => return Ok(()),
            // The link's cgroup is gone: the pin holds nothing any more.
            Err(error) if error.raw_os_error() == Some(Errno::NOLINK.raw_os_error()) => std::fs::remove_file(&pin)?,
            Err(error) => return Err(error.into()),
        }
    }
    sys::attach_pinned(program.fd()?.as_fd(), directory, attach_type, &pin)?;
    Ok(())
}

fn program_id(ebpf: &Ebpf, name: &'static str) -> Result<u32, CaptureError> {
    let program = ebpf.program(name).ok_or(CaptureError::Missing { name })?;
    program.info().map(|info| info.id()).map_err(|error| CaptureError::Load { program: name, source: Box::new(error) })
}

/// The id of the map that is pinned under a name of the object.
fn pinned_map(pins: &Pins, map: &'static str) -> Result<u32, CaptureError> {
    MapInfo::from_pin(pins.map(map)).map(|info| info.id()).map_err(|error| map_error("find", map, error))
}

pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, CaptureError> {
    ebpf.take_map(name).ok_or(CaptureError::Missing { name })
}

pub(super) fn map_error(what: &'static str, map: &'static str, error: MapError) -> CaptureError {
    CaptureError::Map { what, map, source: Box::new(error) }
}
