//! How the cookie of a network namespace is learned.
//!
//! In: the cgroup that we run in. Out: the thread that enters namespaces, with a way to learn their cookies: sockets
//! tell them since Linux 5.14, before that a program of ours notes them on our own cgroup. It must never make one up: a
//! cookie that is not known is an error, and nobody listens there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, SkStorage};
use aya::programs::{CgroupAttachMode, Program, ProgramError};
use aya::{Ebpf, EbpfLoader};
use gateway_common::sys;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::gate::OBJECT;
use crate::host::cgroup::{CgroupError, Hierarchy};
use crate::host::netns::NetnsThread;

const PROGRAM: &str = "namespace";
const MAP: &str = "NAMESPACE";

/// Why cookies cannot be learned.
#[derive(Debug, thiserror::Error)]
pub enum CookieError {
    /// A socket or the thread could not be made.
    #[error("cannot {what} to tell network namespaces apart")]
    Start {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Our own cgroup could not be found.
    #[error("cannot find the cgroup that the gateway runs in: is /proc mounted?")]
    OwnCgroup,
    /// It could not be opened.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The object could not be loaded, or is another build's.
    #[error("cannot load the eBPF object that tells network namespaces apart: before Linux 5.14 there is no other way")]
    Object(#[source] Box<aya::EbpfError>),
    /// The program could not be put in place.
    #[error("cannot attach {PROGRAM} to the gateway's own cgroup `{path}`")]
    Attach {
        /// Where.
        path: String,
        /// The kernel's answer.
        source: Box<ProgramError>,
    },
    /// The object lacks something that this build of the gateway expects.
    #[error("the eBPF object has no {name}: the build embedded an object of another version")]
    Missing {
        /// A program or map.
        name: &'static str,
    },
}

/// Starts the thread that enters namespaces, with the way that this kernel has.
///
/// # Errors
/// Where there is none.
pub fn start_thread(hierarchy: &Hierarchy) -> Result<NetnsThread, CookieError> {
    let failed = |what| move |source: io::Error| CookieError::Start { what, source };
    if !tell().map_err(failed("make a socket"))? {
        let noted = Noted::attach(hierarchy)?;
        return NetnsThread::start_with(move |socket| noted.of(socket)).map_err(failed("start a thread"));
    }
    NetnsThread::start().map_err(failed("start a thread"))
}

/// Whether a socket tells the cookie of its namespace here (`SO_NETNS_COOKIE`, Linux 5.14).
#[must_use]
pub fn sockets_tell() -> bool {
    tell().unwrap_or(false)
}

fn tell() -> io::Result<bool> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let unknown = Some(Errno::NOPROTOOPT.raw_os_error());
    Ok(sys::netns_cookie(&socket).err().is_none_or(|error| error.raw_os_error() != unknown))
}

/// Cookies that our program notes with each socket that is made in our cgroup.
struct Noted {
    values: SkStorage<MapData, u64>,
    /// The program is attached as long as this lives: nothing is pinned.
    _ebpf: Ebpf,
}

impl Noted {
    fn attach(hierarchy: &Hierarchy) -> Result<Self, CookieError> {
        let pid = i32::try_from(std::process::id()).map_err(|_| CookieError::OwnCgroup)?;
        let path = hierarchy.of_process(pid).ok_or(CookieError::OwnCgroup)?;
        let own = hierarchy.at(path.as_ref())?;
        let directory = hierarchy.open(&own)?;
        let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|error| CookieError::Object(Box::new(error)))?;
        let Some(Program::CgroupSock(program)) = ebpf.program_mut(PROGRAM) else {
            return Err(CookieError::Missing { name: PROGRAM });
        };
        // A link allows other programs whatever the mode says.
        let attached = program.load().and_then(|()| program.attach(directory.as_fd(), CgroupAttachMode::Single));
        attached.map_err(|error| CookieError::Attach { path: own.path.clone(), source: Box::new(error) })?;
        let map = ebpf.take_map(MAP).ok_or(CookieError::Missing { name: MAP })?;
        let values = SkStorage::try_from(map).map_err(|_| CookieError::Missing { name: MAP })?;
        Ok(Self { values, _ebpf: ebpf })
    }

    fn of(&self, socket: BorrowedFd<'_>) -> io::Result<u64> {
        self.values.get(&socket, 0).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_way_tells_the_same_cookie_as_the_socket() {
        let noted = Noted::attach(&Hierarchy::find().unwrap()).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(noted.of(socket.as_fd()).unwrap(), sys::netns_cookie(&socket).unwrap());
    }

    #[test]
    fn a_socket_from_before_has_no_cookie() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let noted = Noted::attach(&Hierarchy::find().unwrap()).unwrap();
        assert!(noted.of(socket.as_fd()).is_err());
    }
}
