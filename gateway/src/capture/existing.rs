//! Connections that were open before the hooks were in force.
//!
//! In: the processes of a cgroup and the tables. Out: their TCP sockets that go to a protected destination, listed or
//! ended. Sockets that such a process holds but that belong to another cgroup, since they were made before it moved,
//! are among them: the hooks never see those. Uses sock_diag(7): dumps need CAP_NET_ADMIN, SOCK_DESTROY needs Linux
//! 4.5 with CONFIG_INET_DIAG_DESTROY.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::netlink::{self, SOCK_DIAG, attribute};
use super::tables::Tables;
use crate::host::netns::{Netns, NetnsError, NetnsThread};
use crate::host::process;

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// `INET_DIAG_CGROUP_ID` of linux/inet_diag.h, Linux 5.9.
const CGROUP_ID: u16 = 21;
const TCP: u8 = 6;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// All states but TIME_WAIT (6), CLOSE (7) and LISTEN (10): what still carries data.
const STATES: u32 = 0x0fff & !(1 << 6 | 1 << 7 | 1 << 10);
const DIAG: usize = 72;

/// A TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenConnection {
    /// Where it goes.
    pub remote: SocketAddr,
    /// The cgroup that it was made in; 0 where the kernel does not tell.
    pub cgroup: u64,
    inode: u32,
    /// `struct inet_diag_sockid`, to name it again.
    id: [u8; 48],
    family: u8,
}

/// Those of a namespace that go to a protected destination and belong to one of the cgroups, or to a process that
/// holds one of the inodes.
///
/// # Errors
/// Where the namespace cannot be entered or the kernel not be asked.
pub fn protected(
    thread: &NetnsThread,
    namespace: &Netns,
    tables: &Tables,
    cgroups: &HashSet<u64>,
    inodes: &HashSet<u32>,
) -> Result<Vec<OpenConnection>, NetnsError> {
    let all = thread.inside(namespace, || {
        let mut all = dump(AF_INET).map_err(NetnsError::Socket)?;
        all.extend(dump(AF_INET6).map_err(NetnsError::Socket)?);
        Ok(all)
    })?;
    let ours = |open: &OpenConnection| cgroups.contains(&open.cgroup) || inodes.contains(&open.inode);
    Ok(all.into_iter().filter(|open| ours(open) && tables.verdict(open.remote).redirects()).collect())
}

/// Ends connections: their processes read ECONNABORTED. Returns how many the kernel ended.
///
/// # Errors
/// Where the namespace cannot be entered.
pub fn destroy(thread: &NetnsThread, namespace: &Netns, connections: Vec<OpenConnection>) -> Result<usize, NetnsError> {
    thread.inside(namespace, move || {
        let ended = connections.iter().filter(|open| destroy_one(open).is_ok()).count();
        Ok(ended)
    })
}

/// The inodes of the sockets that processes hold.
#[must_use]
pub fn socket_inodes(pids: &[i32]) -> HashSet<u32> {
    let held = pids.iter().flat_map(|pid| process::sockets(*pid));
    held.filter_map(|(_, inode)| u32::try_from(inode).ok()).collect()
}

fn dump(family: u8) -> io::Result<Vec<OpenConnection>> {
    netlink::dump(SOCK_DIAG, BY_FAMILY, &request(family, STATES, &[0; 48]), connection)
}

fn destroy_one(open: &OpenConnection) -> io::Result<()> {
    netlink::order(SOCK_DIAG, DESTROY, 0, &request(open.family, u32::MAX, &open.id))
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, states: u32, id: &[u8; 48]) -> Vec<u8> {
    let mut body = vec![family, TCP, 0, 0];
    body.extend_from_slice(&states.to_ne_bytes());
    body.extend_from_slice(id);
    body
}

/// `struct inet_diag_msg` and its attributes.
fn connection(body: &[u8]) -> Option<OpenConnection> {
    let family = *body.first()?;
    let id: [u8; 48] = body.get(4..52)?.try_into().ok()?;
    let port = u16::from_be_bytes(id.get(2..4)?.try_into().ok()?);
    let address: [u8; 16] = id.get(20..36)?.try_into().ok()?;
    let address = if family == AF_INET {
        let [a, b, c, d, ..] = address;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        Ipv6Addr::from(address).to_canonical()
    };
    let inode = u32::from_ne_bytes(body.get(68..72)?.try_into().ok()?);
    let cgroup =
        attribute(body.get(DIAG..)?, CGROUP_ID).and_then(|value| value.try_into().ok()).map_or(0, u64::from_ne_bytes);
    Some(OpenConnection { remote: SocketAddr::new(address, port), cgroup, inode, id, family })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn finds_and_ends_a_connection_to_a_protected_port() {
        use gateway_common::Verdict;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        let mut tables = Tables::new(Verdict::Allow);
        tables.set(crate::host::network::Network::host(address.ip()), Some(address.port()), Verdict::Postgres);
        let thread = NetnsThread::start().unwrap();
        let own = Netns::own().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let inodes = socket_inodes(&[pid]);
        let found = protected(&thread, &own, &tables, &HashSet::new(), &inodes).unwrap();
        assert_eq!(found.iter().map(|open| open.remote).collect::<Vec<_>>(), [address]);
        assert_eq!(destroy(&thread, &own, found).unwrap(), 1);
        let error = io::Read::read(&mut stream, &mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn no_datagram_makes_the_reader_panic() {
        let seed: Vec<u8> = (0_u16..300).map(|n| (n * 37 % 251) as u8).collect();
        for start in 0..seed.len() {
            let bytes = &seed[start..];
            let _ = connection(bytes);
            let _ = attribute(bytes, CGROUP_ID);
        }
    }
}
