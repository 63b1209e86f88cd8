//! Loads that a helper process makes, and what a single connect takes beside them.
//!
//! In: an address, and how often, how many at once or for how long. Out: numbers in words. Bounded in count and time.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

/// Longer than any wait of a client that is served.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A load by its name: how often or how long, where to, and for a flood how many at once.
pub fn make(load: &str, amount: u32, rest: &[&str]) -> Result<String, Errno> {
    let address = rest[0].parse().unwrap();
    match load {
        "storm" => Ok(storm(amount, address)),
        "latency" => latency(amount, address),
        _ => flood(amount, rest[1].parse().unwrap(), address),
    }
}

/// Connects so many times, one after the other, and counts who answered: `gateway`, `server`, `nobody`.
fn storm(times: u32, address: SocketAddr) -> String {
    let mut answers = BTreeMap::from([("gateway", 0), ("server", 0), ("nobody", 0)]);
    for _ in 0..times {
        let mut greeting = [0; 3];
        let connected = TcpStream::connect_timeout(&address, Duration::from_millis(500)).and_then(|mut stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.read_exact(&mut greeting)
        });
        let who = match (connected, &greeting) {
            (Ok(()), b"SSH") => "gateway",
            (Ok(()), _) => "server",
            (Err(_), _) => "nobody",
        };
        *answers.entry(who).or_default() += 1;
    }
    answers.iter().map(|(who, count)| format!("{who} {count}")).collect::<Vec<_>>().join(" ")
}

/// The median time, in microseconds, from a connect to the first bytes, which all have to come.
fn latency(times: u32, address: SocketAddr) -> Result<String, Errno> {
    let mut took: Vec<_> = (0..times)
        .map(|_| {
            let start = Instant::now();
            let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.read_exact(&mut [0; 3])?;
            Ok(start.elapsed().as_micros())
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::TIMEDOUT))?;
    took.sort_unstable();
    Ok(took[took.len() / 2].to_string())
}

/// For so many milliseconds, keeps so many connects going at once; each ends with what comes first, by a reset. Counts
/// those that the gateway answered.
fn flood(milliseconds: u32, at_once: usize, address: SocketAddr) -> Result<String, Errno> {
    let end = Instant::now() + Duration::from_millis(milliseconds.into());
    let mut answered = 0;
    let mut open: Vec<OwnedFd> = Vec::new();
    while Instant::now() < end {
        while open.len() < at_once {
            match begin(address) {
                Ok(socket) => open.push(socket),
                Err(Errno::CONNREFUSED | Errno::PERM | Errno::ADDRNOTAVAIL) => break,
                Err(error) => return Err(error),
            }
        }
        let mut polled: Vec<_> = open.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }))?;
        let over: Vec<_> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        let mut over = over.into_iter();
        open.retain(|socket| {
            let is_over = over.next().unwrap();
            answered += usize::from(is_over && is_greeted(socket));
            !is_over
        });
    }
    Ok(answered.to_string())
}

fn is_greeted(socket: &OwnedFd) -> bool {
    let mut greeting = [0; 3];
    rustix::net::recv(socket, greeting.as_mut_slice(), RecvFlags::empty()).is_ok() && greeting == *b"SSH"
}

/// Begins a connect, and does not wait for it.
pub fn begin(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}
