//! One thread that enters network namespaces on behalf of all others.
//!
//! In: a namespace (as a descriptor) and what to open there. Out: sockets, which keep the namespace that they were
//! made in whoever uses them. No other thread of the process ever changes its namespace, so that none can be left in
//! a wrong one.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto, sockopt};
use rustix::thread::LinkNameSpaceType;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;

/// Why a namespace could not be used.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The namespace could not be entered.
    #[error("cannot enter the network namespace")]
    Enter(#[source] io::Error),
    /// A socket could not be opened in it.
    #[error("cannot listen on {address} in the network namespace")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// A socket could not be made in it.
    #[error("cannot make a socket in the network namespace")]
    Socket(#[source] io::Error),
    /// The kernel does not tell of the namespace.
    #[error("cannot ask the kernel about the network namespace")]
    Ask(#[source] io::Error),
    /// The namespace is not told apart from others.
    #[error("cannot learn the cookie of the network namespace")]
    Cookie(#[source] io::Error),
    /// The namespace of a process could not be opened: the process is gone, or we may not look at it.
    #[error("cannot open the network namespace of process {pid}")]
    Process {
        /// Which process.
        pid: i32,
        /// The system's answer.
        source: io::Error,
    },
    /// The thread ended, which only happens when it could not return from a namespace.
    #[error("the thread that enters network namespaces has ended: restart the gateway")]
    Gone,
}

/// Tells the cookie of the namespace that a socket was made in.
type CookieOf = Box<dyn Fn(BorrowedFd<'_>) -> io::Result<u64> + Send>;
type Job = Box<dyn FnOnce(&CookieOf) + Send>;

/// The thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NetnsThread {
    jobs: mpsc::Sender<Job>,
}

impl NetnsThread {
    /// Starts it; sockets tell the cookie of their namespace themselves (Linux 5.14).
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        Self::start_with(|socket| gateway_common::sys::netns_cookie(socket))
    }

    /// Starts it with another way to learn the cookie of a socket's namespace.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start_with(cookie_of: impl Fn(BorrowedFd<'_>) -> io::Result<u64> + Send + 'static) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let cookie_of: CookieOf = Box::new(cookie_of);
        thread::Builder::new().name("netns".into()).spawn(move || queue.iter().for_each(|job| job(&cookie_of)))?;
        Ok(Self { jobs })
    }

    /// Listens on an address in a namespace.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or the address is taken or absent there.
    pub fn listen(&self, namespace: &Netns, address: SocketAddr) -> Result<TcpListener, NetnsError> {
        self.inside(namespace, move || listen(address).map_err(|source| NetnsError::Listen { address, source }))
    }

    /// Takes datagrams at an address in a namespace.
    ///
    /// # Errors
    /// As `listen`.
    pub fn take_datagrams(&self, namespace: &Netns, address: SocketAddr) -> Result<UdpSocket, NetnsError> {
        self.inside(namespace, move || bind_datagrams(address).map_err(|source| NetnsError::Listen { address, source }))
    }

    /// A TCP socket of a family, made in a namespace and not connected yet.
    ///
    /// # Errors
    /// Where the namespace cannot be entered or the socket not be made.
    pub fn stream_socket(&self, namespace: &Netns, family: AddressFamily) -> Result<OwnedFd, NetnsError> {
        self.inside(namespace, move || {
            rustix::net::socket_with(
                family,
                SocketType::STREAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                Some(ipproto::TCP),
            )
            .map_err(|error| NetnsError::Socket(error.into()))
        })
    }

    /// Runs something in a namespace and waits for it.
    ///
    /// # Errors
    /// Where the namespace cannot be entered, or what was run fails.
    pub fn inside<T: Send + 'static>(
        &self,
        namespace: &Netns,
        work: impl FnOnce() -> Result<T, NetnsError> + Send + 'static,
    ) -> Result<T, NetnsError> {
        self.inside_with(namespace, |_| work())
    }

    fn inside_with<T: Send + 'static>(
        &self,
        namespace: &Netns,
        work: impl FnOnce(&CookieOf) -> Result<T, NetnsError> + Send + 'static,
    ) -> Result<T, NetnsError> {
        let namespace = namespace.try_clone()?;
        let (answer, result) = mpsc::channel();
        let job: Job = Box::new(move |cookie_of| {
            let _ = answer.send(enter_and(&namespace.0, || work(cookie_of)));
        });
        self.jobs.send(job).map_err(|_| NetnsError::Gone)?;
        result.recv().map_err(|_| NetnsError::Gone)?
    }
}

/// A network namespace, held open.
#[derive(Debug)]
pub struct Netns(File);

impl Netns {
    /// Our own.
    ///
    /// # Errors
    /// Where /proc is not there.
    pub fn own() -> Result<Self, NetnsError> {
        File::open("/proc/thread-self/ns/net").map(Self).map_err(NetnsError::Enter)
    }

    /// That of a process.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn of_process(pid: i32) -> Result<Self, NetnsError> {
        File::open(format!("/proc/{pid}/ns/net")).map(Self).map_err(|source| NetnsError::Process { pid, source })
    }

    /// The cookie under which the kernel side knows it.
    ///
    /// # Errors
    /// Where it cannot be entered, or the cookie is not told.
    pub fn cookie(&self, thread: &NetnsThread) -> Result<u64, NetnsError> {
        thread.inside_with(self, |cookie_of| {
            let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .map_err(|error| NetnsError::Socket(error.into()))?;
            cookie_of(socket.as_fd()).map_err(NetnsError::Cookie)
        })
    }

    /// Another descriptor of it.
    ///
    /// # Errors
    /// Where there are no more.
    pub fn try_clone(&self) -> Result<Self, NetnsError> {
        self.0.try_clone().map(Self).map_err(NetnsError::Enter)
    }

    /// The inode number under which `/proc` shows it.
    ///
    /// # Errors
    /// Where the descriptor cannot be looked at.
    pub fn inode(&self) -> Result<u64, NetnsError> {
        use std::os::unix::fs::MetadataExt;
        Ok(self.0.metadata().map_err(NetnsError::Enter)?.ino())
    }

    /// Whether it belongs to the user namespace that we are in: in another one, its root is the workload's.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn is_ours(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let owner = File::from(gateway_common::sys::owning_user_namespace(&self.0)?);
        let own = std::fs::metadata("/proc/self/ns/user")?;
        let found = owner.metadata()?;
        Ok((found.dev(), found.ino()) == (own.dev(), own.ino()))
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn enter_and<T>(namespace: &File, work: impl FnOnce() -> Result<T, NetnsError>) -> Result<T, NetnsError> {
    let home = File::open("/proc/thread-self/ns/net").map_err(NetnsError::Enter)?;
    enter(namespace).map_err(NetnsError::Enter)?;
    let result = work();
    if enter(&home).is_err() {
        // Going on in a foreign namespace would dial from there: the process ends and the gates close.
        tracing::error!("cannot return to the gateway's own network namespace: stopping");
        std::process::abort();
    }
    result
}

fn enter(namespace: &File) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

fn bind_datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    Ok(UdpSocket::from(bound(address, SocketType::DGRAM, ipproto::UDP)?))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, SocketType::STREAM, ipproto::TCP)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn bound(address: SocketAddr, kind: SocketType, protocol: Protocol) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, Some(protocol))?;
    if kind == SocketType::STREAM {
        // Old connections in TIME_WAIT must not keep us from our port; never SO_REUSEPORT, which others could join.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_made_inside_has_the_cookie_of_its_namespace() {
        let thread = NetnsThread::start().unwrap();
        let own = Netns::own().unwrap();
        let cookie = own.cookie(&thread).unwrap();
        let fresh = {
            let (send, receive) = mpsc::channel();
            let (done, wait) = mpsc::channel::<()>();
            thread::spawn(move || {
                gateway_common::sys::unshare(gateway_common::sys::Unshare::Network).unwrap();
                send.send(Netns::own().unwrap()).unwrap();
                let _ = wait.recv();
            });
            let netns = receive.recv().unwrap();
            drop(done);
            netns
        };
        assert_ne!(fresh.cookie(&thread).unwrap(), cookie);
        assert!(fresh.is_ours().unwrap());
        let socket = thread.stream_socket(&fresh, AddressFamily::INET).unwrap();
        assert_eq!(gateway_common::sys::netns_cookie(&socket).unwrap(), fresh.cookie(&thread).unwrap());
        assert_eq!(own.cookie(&thread).unwrap(), cookie, "the thread came back");
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_with_the_address() {
        let thread = NetnsThread::start().unwrap();
        let own = Netns::own().unwrap();
        let first = thread.listen(&own, "127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.local_addr().unwrap();
        let error = thread.listen(&own, taken).unwrap_err().to_string();
        assert!(error.contains(&taken.to_string()), "{error}");
    }
}
