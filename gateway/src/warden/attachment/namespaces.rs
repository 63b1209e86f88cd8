//! The network namespaces of an attachment: where we listen, for connections and for questions for names.
//!
//! In: processes of the subtree, and what the hooks tell of new namespaces. Out: listeners there, and the hooks told of them.
//! It must never listen where the root is the workload's.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use gateway_common::{ConnectRecord, LISTENER_ENTRIES, ListenerState};
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use super::{Attachment, QUESTIONS_LOST};
use crate::budget::{Budget, Share};
use crate::host::netns::{Netns, NetnsError};
use crate::host::process;
use crate::listener;
use crate::warden::{Warden, WardenError, forwarder};

/// Descriptors that one takes: its own, two for connections, two for questions, and as much to spare.
const DESCRIPTORS_EACH: usize = 8;
/// Counted of namespaces where nobody listens since the attachment has as many as it may: connects there are refused.
const TOO_MANY: &str = "too_many_namespaces";

/// For as many network namespaces as this process may have descriptors for. Of those where it does not listen, the hooks
/// know half as many as their map has room for.
pub(in crate::warden) fn budget() -> Arc<Budget> {
    Budget::new(process::descriptors() / DESCRIPTORS_EACH, LISTENER_ENTRIES / 2)
}

/// Looks at an unused namespace before its listener goes; the listener keeps the namespace alive.
const LOOKS_BEFORE_CLOSE: u8 = 2;

/// All of an attachment.
#[derive(Default)]
pub(super) struct Namespaces {
    /// By cookie: those that we listen in.
    pub(super) open: HashMap<u64, Namespace>,
    /// Inodes of those that are too many, with the cookie that the hooks refuse by.
    refused: HashMap<u64, u64>,
}

/// One that we listen in.
pub(super) struct Namespace {
    _share: Share,
    pub(super) handle: Netns,
    pub(super) inode: u64,
    pub(super) state: ListenerState,
    /// Where questions for names arrive, and how many were lost there for want of room.
    pub(super) questions: Vec<(Arc<UdpSocket>, u32)>,
    pub(super) tasks: Vec<AbortHandle>,
    pub(super) unused: u8,
}

impl Attachment {
    /// The namespace with a cookie, if we listen there.
    pub(in crate::warden) fn with_namespace<T>(&self, cookie: u64, work: impl FnOnce(&Netns) -> T) -> Option<T> {
        self.namespaces.lock().open.get(&cookie).map(|namespace| work(&namespace.handle))
    }

    /// All of them, for work that must not hold the others up.
    pub(in crate::warden) fn clone_namespaces(&self) -> Vec<Netns> {
        self.namespaces.lock().open.values().filter_map(|namespace| namespace.handle.try_clone().ok()).collect()
    }

    pub(in crate::warden) fn is_in_several_namespaces(&self) -> bool {
        let namespaces = self.namespaces.lock();
        namespaces.open.len() + namespaces.refused.len() > 1
    }

    /// Listens where the runtime's processes are, and leaves namespaces that nobody is in.
    pub(in crate::warden) fn tend_namespaces(self: &Arc<Self>, warden: &Arc<Warden>) {
        let Some(cgroup) = self.cgroup() else { return };
        let pids = warden.hierarchy.processes(&cgroup).unwrap_or_default();
        let mut used = HashSet::new();
        for pid in pids {
            let Ok(found) = std::fs::metadata(format!("/proc/{pid}/ns/net")) else { continue };
            if used.insert(found.ino()) && !self.knows(warden, found.ino()) {
                self.listen_at(warden, pid);
            }
        }
        let own = std::fs::metadata("/proc/self/ns/net").map(|found| found.ino()).unwrap_or_default();
        let mut namespaces = self.namespaces.lock();
        namespaces.refused.retain(|inode, cookie| {
            let keep = used.contains(inode);
            if !keep && let Some(gate) = self.gate.lock().as_mut() {
                gate.remove_listener(*cookie);
            }
            keep
        });
        namespaces.open.retain(|cookie, namespace| {
            let in_use = namespace.inode == own || used.contains(&namespace.inode);
            namespace.unused = if in_use { 0 } else { namespace.unused + 1 };
            let keep = namespace.unused <= LOOKS_BEFORE_CLOSE;
            if !keep {
                namespace.tasks.iter().for_each(AbortHandle::abort);
                warden.shelf.forget(self.name(), Some(*cookie));
                if let Some(gate) = self.gate.lock().as_mut() {
                    gate.remove_listener(*cookie);
                }
            }
            keep
        });
    }

    /// Whether there is nothing to do about a namespace: one that was too many is looked at again when there is room.
    fn knows(&self, warden: &Warden, inode: u64) -> bool {
        let namespaces = self.namespaces.lock();
        namespaces.open.values().any(|namespace| namespace.inode == inode)
            || (namespaces.refused.contains_key(&inode) && !warden.namespace_budget.has_room(self.name()))
    }

    /// A connect came from a namespace without a listener.
    pub(super) fn listen_where(self: &Arc<Self>, warden: &Arc<Warden>, record: &ConnectRecord) {
        if self.namespaces.lock().open.contains_key(&record.netns) {
            return;
        }
        if let Ok(pid) = i32::try_from(record.pid) {
            self.listen_at(warden, pid);
        }
    }

    fn listen_at(self: &Arc<Self>, warden: &Arc<Warden>, pid: i32) {
        let listening =
            Netns::of_process(pid).map_err(WardenError::from).and_then(|netns| self.listen_in(warden, netns));
        if let Err(error) = listening {
            tracing::warn!(
                attachment = self.name(),
                pid,
                error = &error as &dyn std::error::Error,
                "cannot listen in a network namespace"
            );
        }
    }

    /// Listens in a namespace and tells the hooks. In one that belongs to another user namespace nobody listens, since
    /// its root is the workload's: connects there are refused.
    pub(super) fn listen_in(self: &Arc<Self>, warden: &Arc<Warden>, handle: Netns) -> Result<(), WardenError> {
        let cookie = handle.cookie(&warden.namespaces)?;
        // Held to the end: of two who come here at once, the second would find the port taken and close the namespace.
        let mut namespaces = self.namespaces.lock();
        if namespaces.open.contains_key(&cookie) {
            return Ok(());
        }
        let Some(share) = warden.namespace_budget.take(self.name()) else {
            return self.refuse_in(&mut namespaces, &handle, cookie);
        };
        namespaces.refused.remove(&handle.inode()?);
        let mut state = ListenerState::default();
        let (mut tasks, mut questions) = (Vec::new(), Vec::new());
        if handle.is_ours().unwrap_or(false) {
            for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), (Ipv6Addr::LOCALHOST, self.port).into()]
            {
                match self.serve_at(warden, &handle, cookie, address) {
                    Ok((serving, socket)) => {
                        let listening = if address.is_ipv4() { &mut state.v4 } else { &mut state.v6 };
                        *listening = 1;
                        tasks.extend(serving);
                        questions.push((socket, 0));
                    }
                    Err(error @ NetnsError::Listen { .. }) => {
                        tracing::warn!(
                            attachment = self.name(),
                            error = &error as &dyn std::error::Error,
                            "connects of this address family are refused here"
                        );
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let namespace = Namespace { _share: share, inode: handle.inode()?, handle, state, questions, tasks, unused: 0 };
        let handle = namespace.handle.try_clone()?;
        namespaces.open.insert(cookie, namespace);
        if let Some(gate) = self.gate.lock().as_mut() {
            gate.set_listener(cookie, state)?;
        }
        drop(namespaces);
        // Not before: who connects waits for the listener.
        self.guard_links_of(warden, &handle)
    }

    /// Has the hooks refuse what goes from a namespace to a protected destination, so that nobody waits there.
    fn refuse_in(&self, namespaces: &mut Namespaces, handle: &Netns, cookie: u64) -> Result<(), WardenError> {
        if namespaces.refused.insert(handle.inode()?, cookie).is_none() {
            self.count_refused(TOO_MANY);
        }
        if let Some(gate) = self.gate.lock().as_mut() {
            gate.set_listener(cookie, ListenerState::default())?;
        }
        Ok(())
    }

    /// Takes connections, and questions for names, at an address of a namespace.
    fn serve_at(
        self: &Arc<Self>,
        warden: &Arc<Warden>,
        namespace: &Netns,
        cookie: u64,
        address: SocketAddr,
    ) -> Result<([AbortHandle; 2], Arc<UdpSocket>), NetnsError> {
        let held = warden.shelf.take(self.name(), cookie, address);
        let listener = held.map_or_else(|| warden.namespaces.listen(namespace, address), Ok)?;
        warden.shelf.keep(self.name(), cookie, &listener);
        let datagrams = warden.namespaces.take_datagrams(namespace, address)?;
        let datagrams = Arc::new(UdpSocket::from_std(datagrams).map_err(NetnsError::Socket)?);
        let (attachment, of) = (Arc::clone(self), Arc::clone(warden));
        let connections = tokio::spawn(async move {
            let take = |accepted| attachment.accepted(&of, cookie, accepted);
            if let Err(error) = listener::accept(listener, take).await {
                tracing::error!(%error, "a listener ended");
            }
        });
        let serving = forwarder::serve(Arc::clone(warden), Arc::clone(self), cookie, Arc::clone(&datagrams));
        let questions = tokio::spawn(serving);
        Ok(([connections.abort_handle(), questions.abort_handle()], datagrams))
    }

    /// Where questions arrive at one of our addresses in a namespace.
    pub(in crate::warden) fn questions_at(&self, netns: u64, here: SocketAddr) -> Option<Arc<UdpSocket>> {
        let namespaces = self.namespaces.lock();
        let mut sockets = namespaces.open.get(&netns)?.questions.iter().map(|(socket, _)| socket);
        sockets.find(|socket| socket.local_addr().is_ok_and(|address| address == here)).cloned()
    }

    /// Counts questions that came faster than they could be read.
    pub(super) fn count_lost_questions(&self) {
        for (socket, known) in self.namespaces.lock().open.values_mut().flat_map(|namespace| &mut namespace.questions) {
            let lost = gateway_common::sys::lost_datagrams(&**socket).unwrap_or(*known);
            let more = lost.wrapping_sub(std::mem::replace(known, lost));
            self.collected.lock().count(QUESTIONS_LOST, more.into());
        }
    }
}
