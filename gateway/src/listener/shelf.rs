//! Listeners that outlive this process.
//!
//! In: listening sockets by name. Out: the same sockets after a restart, from the service manager, which holds them
//! meanwhile (sd_pid_notify_with_fds(3), FDSTORE; sd_listen_fds(3)): their port is never free for somebody else to take,
//! and who connects while we are away is served when we are back. Without a service manager nothing is held. It
//! never accepts a connection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use listenfd::ListenFd;
use parking_lot::Mutex;
use rustix::io::{FdFlags, fcntl_setfd};
use sd_notify::NotifyState;

/// Listeners that were held, and names of those that are.
#[derive(Debug, Default)]
pub struct Shelf {
    kept: Mutex<BTreeMap<String, TcpListener>>,
    names: Mutex<BTreeSet<String>>,
}

impl Shelf {
    /// Takes over what the service manager held. Once in a process, before anything else reads its environment.
    #[must_use]
    pub fn open() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut held = ListenFd::from_env();
        let mut kept = BTreeMap::new();
        for (index, name) in names.split(':').enumerate().take(held.len()) {
            match held.take_tcp_listener(index) {
                Ok(Some(listener)) => {
                    let _ = fcntl_setfd(&listener, FdFlags::CLOEXEC);
                    kept.insert(name.to_owned(), listener);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(name, %error, "the service manager held what is no listener"),
            }
        }
        Self { names: Mutex::new(kept.keys().cloned().collect()), kept: Mutex::new(kept) }
    }

    /// The port of the listeners of an attachment that were held.
    #[must_use]
    pub fn port_of(&self, attachment: &str) -> Option<u16> {
        let kept = self.kept.lock();
        let (_, listener) = kept.iter().find(|(name, _)| is_of(name, attachment))?;
        listener.local_addr().ok().map(|address| address.port())
    }

    /// The listener of an attachment at an address in the namespace of that cookie, if it was held.
    #[must_use]
    pub fn take(&self, attachment: &str, cookie: u64, address: SocketAddr) -> Option<TcpListener> {
        let listener = self.kept.lock().remove(&name(attachment, cookie, address))?;
        let fits = listener.local_addr().ok() == Some(address) && listener.set_nonblocking(true).is_ok();
        fits.then_some(listener)
    }

    /// Has it held from now on.
    pub fn keep(&self, attachment: &str, cookie: u64, listener: &TcpListener) {
        let Ok(address) = listener.local_addr() else { return };
        let name = name(attachment, cookie, address);
        if !self.names.lock().insert(name.clone()) {
            return;
        }
        // A listener in a namespace that nobody is in would look hung up: it is held until we say otherwise.
        let state = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
        if let Err(error) = sd_notify::notify_with_fds(&state, &[listener.as_fd()]) {
            tracing::warn!(%error, name, "the service manager does not hold a listener: a restart leaves its port free");
        }
    }

    /// No longer holds the listeners of an attachment in the namespace of that cookie; without one, in any.
    pub fn forget(&self, attachment: &str, cookie: Option<u64>) {
        let goes =
            |name: &str| is_of(name, attachment) && cookie.is_none_or(|cookie| name.contains(&format!("/{cookie}/")));
        self.kept.lock().retain(|name, _| !goes(name));
        self.names.lock().retain(|name| {
            if !goes(name) {
                return true;
            }
            if let Err(error) = sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]) {
                tracing::warn!(%error, name, "the service manager goes on holding a listener");
            }
            false
        });
    }
}

/// Names of attachments have no `/`.
fn name(attachment: &str, cookie: u64, address: SocketAddr) -> String {
    format!("{attachment}/{cookie}/{}", if address.is_ipv4() { 4 } else { 6 })
}

fn is_of(name: &str, attachment: &str) -> bool {
    name.split_once('/').is_some_and(|(of, _)| of == attachment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_taken_once_by_its_attachment_namespace_and_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shelf = Shelf::default();
        shelf.kept.lock().insert(name("agents", 7, address), listener);
        assert_eq!((shelf.port_of("agents"), shelf.port_of("agent")), (Some(address.port()), None));
        assert!(shelf.take("agents", 8, address).is_none() && shelf.take("agent", 7, address).is_none());
        assert!(shelf.take("agents", 7, address).is_some() && shelf.take("agents", 7, address).is_none());
    }

    #[test]
    fn what_was_held_at_another_address_is_let_go() {
        let shelf = Shelf::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = SocketAddr::from(([127, 0, 0, 1], 9));
        shelf.kept.lock().insert(name("agents", 7, other), listener);
        assert!(shelf.take("agents", 7, other).is_none());
    }

    #[test]
    fn what_is_forgotten_is_not_held() {
        let shelf = Shelf::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for cookie in [7, 77] {
            shelf.keep("agents", cookie, &listener);
        }
        shelf.keep("others", 7, &listener);
        shelf.forget("agents", Some(7));
        assert_eq!(shelf.names.lock().iter().collect::<Vec<_>>(), ["agents/77/4", "others/7/4"]);
        shelf.forget("agents", None);
        assert_eq!(shelf.names.lock().len(), 1);
    }
}
