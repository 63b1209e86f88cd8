//! What runs inside: this test binary, started anew in a world and asked line by line.
//!
//! In: a call in words on standard input. Out: `= ok TEXT` or `= error NUMBER`. It is the client under test, so that no
//! other program with habits of its own stands in between.

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

// By path: the program `pg` has this file too.
#[path = "hand_over.rs"]
mod hand_over;
#[path = "load.rs"]
mod load;

/// The variable that makes a test binary a helper.
pub const ROLE: &str = "GATEWAY_IT_ROLE";
/// What a helper's lines begin with.
pub const ANSWER: &str = "= ";
/// Longer than the retransmission of a SYN, shorter than any patience.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same for an answer, on a busy machine.
const RECEIVE: Duration = Duration::from_secs(12);
/// `MSG_FASTOPEN` of linux/socket.h.
const MSG_FASTOPEN: u32 = 0x2000_0000;
/// Length and code (PostgreSQL's protocol, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// `ETH_P_ALL` of linux/if_ether.h, in network order.
const ETH_P_ALL: u32 = 0x0003_u16.to_be() as u32;
/// Ports that the server listens on: protected, refused and ordinary ones.
const SERVER_PORTS: [u16; 8] = [22, 443, 2379, 5432, 6432, 6443, 8080, 10250];

/// The entry of helpers. Without a role, as in an ordinary run of the tests, it does nothing.
#[test]
fn serves_as_a_helper_process_when_asked() {
    match std::env::var(ROLE).as_deref() {
        Ok("agent") => serve(Calls::default()),
        Ok("server") => serve(Seen::start()),
        _ => return,
    }
    std::process::exit(0);
}

trait Serve {
    fn perform(&mut self, words: &[&str]) -> Result<String, Errno>;
}

fn serve(mut served: impl Serve) {
    let answer = |text: String| {
        // A line of its own: the harness has begun one with the test's name.
        println!("\n{ANSWER}{text}");
        std::io::stdout().flush().unwrap();
    };
    answer("ok ready".to_owned());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        answer(match served.perform(&words) {
            Ok(text) => format!("ok {text}"),
            Err(error) => format!("error {}", error.raw_os_error()),
        });
    }
}

/// The client: named sockets.
#[derive(Default)]
struct Calls(BTreeMap<String, OwnedFd>);

impl Serve for Calls {
    fn perform(&mut self, words: &[&str]) -> Result<String, Errno> {
        let (call, name, rest) = (words[0], words[1], words.get(2..).unwrap_or_default());
        let number = |at: usize| rest[at].parse::<u32>().unwrap();
        let address = || rest[0].parse::<SocketAddr>().unwrap();
        match call {
            "tcp" => {
                let family = if rest[0] == "6" { AddressFamily::INET6 } else { AddressFamily::INET };
                self.make(name, family, SocketType::STREAM, 0)
            }
            "unix" => self.keep(name, hand_over::connect(rest[0])?),
            "unix_serve" => self.keep(name, hand_over::serve(rest[0], rest[1])?),
            "unix_send" => hand_over::send(name),
            "file" => self.keep(name, std::fs::File::open(rest[0]).unwrap().into()),
            "fetch" => self.keep(name, hand_over::fetch(rest[0].parse().unwrap(), rest[1].parse().unwrap())?),
            "udp" => {
                let family = if rest.first() == Some(&"6") { AddressFamily::INET6 } else { AddressFamily::INET };
                self.make(name, family, SocketType::DGRAM, 0)
            }
            "socket" => self.make(
                name,
                AddressFamily::from_raw(u16::try_from(number(0)).unwrap()),
                SocketType::from_raw(number(1)),
                number(2),
            ),
            "run" => run(name, rest),
            "storm" | "latency" | "flood" => load::make(call, name.parse().unwrap(), rest),
            "hold" => self.hold(name.parse().unwrap(), address()),
            "join" => {
                let written = std::fs::write(format!("{name}/cgroup.procs"), std::process::id().to_string());
                written.map(|()| String::new()).map_err(|error| Errno::from_io_error(&error).unwrap())
            }
            "close" => {
                self.0.remove(name);
                Ok(String::new())
            }
            _ => {
                let socket = &self.0[name];
                match call {
                    "connect" => done(rustix::net::connect(socket, &address())),
                    "connect_later" => connect_later(socket, address()),
                    "disconnect" => done(rustix::net::connect_unspec(socket)),
                    "listen" => done(rustix::net::listen(socket, 8)),
                    "accept_at_once" => {
                        rustix::io::ioctl_fionbio(socket, true)?;
                        rustix::net::accept(socket).map(|_| String::new())
                    }
                    "ssl_request" => {
                        rustix::net::send(socket, &SSL_REQUEST, SendFlags::NOSIGNAL).map(|sent| sent.to_string())
                    }
                    "bind" => done(rustix::net::bind(socket, &address())),
                    "peer" => {
                        let peer = rustix::net::getpeername(socket)?.unwrap();
                        Ok(SocketAddr::try_from(peer).unwrap().to_string())
                    }
                    "fastopen" => send_to(socket, b"hello", SendFlags::from_bits_retain(MSG_FASTOPEN), address()),
                    "sendto" => send_to(socket, b"hello", SendFlags::empty(), address()),
                    "sendto_long" => send_to(socket, &vec![0; number(1) as usize], SendFlags::empty(), address()),
                    "ask_many" => ask_many(socket, address(), rest[1], number(2)),
                    "ask_name" => ask_name(socket, address(), rest[1]),
                    "syn" => send_to(socket, &syn(address().port()), SendFlags::empty(), address()),
                    "send" => rustix::net::send(socket, rest[0].as_bytes(), SendFlags::NOSIGNAL).map(|n| n.to_string()),
                    "recv" => receive(socket),
                    "get" => http(socket, ["GET", rest[0], "", ""]),
                    "get_from" => http(socket, ["GET", rest[1], "", rest[0]]),
                    "post" => http(socket, ["POST", rest[0], rest[1], ""]),
                    "tls" => Ok(tls(socket)),
                    "number" => Ok(socket.as_raw_fd().to_string()),
                    "accept" => {
                        let accepted = rustix::net::accept(socket)?;
                        self.keep(rest[0], accepted)
                    }
                    "give" => hand_over::give(socket, &self.0[rest[0]]),
                    "take" => match hand_over::take(socket)? {
                        Some(taken) => self.keep(rest[0], taken),
                        None => Ok("nothing".to_owned()),
                    },
                    _ => panic!("no such call: {words:?}"),
                }
            }
        }
    }
}

impl Calls {
    fn keep(&mut self, name: &str, descriptor: OwnedFd) -> Result<String, Errno> {
        self.0.insert(name.to_owned(), descriptor);
        Ok(String::new())
    }

    /// Begins as many connects, and keeps them.
    fn hold(&mut self, count: u32, address: SocketAddr) -> Result<String, Errno> {
        for n in 0..count {
            self.keep(&format!("held {n}"), load::begin(address)?)?;
        }
        Ok(String::new())
    }

    fn make(&mut self, name: &str, family: AddressFamily, kind: SocketType, protocol: u32) -> Result<String, Errno> {
        let protocol = NonZeroU32::new(protocol).map(Protocol::from_raw);
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(TIMEOUT))?;
        sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(RECEIVE))?;
        self.0.insert(name.to_owned(), socket);
        Ok(String::new())
    }
}

fn done(result: Result<(), Errno>) -> Result<String, Errno> {
    result.map(|()| String::new())
}

fn connect_later(socket: &OwnedFd, address: SocketAddr) -> Result<String, Errno> {
    rustix::io::ioctl_fionbio(socket, true)?;
    match rustix::net::connect(socket, &address) {
        Err(Errno::INPROGRESS) => {}
        other => return done(other),
    }
    let timeout = Timespec { tv_sec: 5, tv_nsec: 0 };
    if poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&timeout))? == 0 {
        return Err(Errno::TIMEDOUT);
    }
    sockopt::socket_error(socket)??;
    rustix::io::ioctl_fionbio(socket, false)?;
    Ok("in progress first".to_owned())
}

fn send_to(socket: &OwnedFd, bytes: &[u8], flags: SendFlags, address: SocketAddr) -> Result<String, Errno> {
    rustix::net::sendto(socket, bytes, flags | SendFlags::NOSIGNAL, &address).map(|sent| sent.to_string())
}

fn receive(socket: &OwnedFd) -> Result<String, Errno> {
    let mut buffer = [0; 4096];
    let (count, _) = rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    Ok(if count == 0 { "end".to_owned() } else { buffer[..count].escape_ascii().to_string() })
}

/// Asks a server for an address of a name so many times, and waits for no answer.
fn ask_many(socket: &OwnedFd, server: SocketAddr, name: &str, times: u32) -> Result<String, Errno> {
    for _ in 0..times {
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        rustix::net::sendto(socket, &question.to_vec().unwrap(), SendFlags::NOSIGNAL, &server)?;
    }
    Ok(String::new())
}

/// Asks a server for an address of a name, and says who answered what.
fn ask_name(socket: &OwnedFd, server: SocketAddr, name: &str) -> Result<String, Errno> {
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    rustix::net::sendto(socket, &question.to_vec().unwrap(), SendFlags::NOSIGNAL, &server)?;
    let mut buffer = [0; 4096];
    let (count, _, from) = rustix::net::recvfrom(socket, buffer.as_mut_slice(), RecvFlags::empty())?;
    let answer = Message::from_vec(&buffer[..count]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    let from = SocketAddr::try_from(from.unwrap()).unwrap();
    Ok(format!("{} records by {from}: {}", answer.answers.len(), answer.metadata.response_code))
}

/// Runs a script file, and returns what it prints in a line.
fn run(script: &str, arguments: &[&str]) -> Result<String, Errno> {
    let output = std::process::Command::new("sh").arg("-e").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout).unwrap().trim_end().replace('\n', " "))
}

/// Has a child ask by HTTP on the socket that it inherits: method, path, body, and another cgroup where one is named.
fn http(socket: &OwnedFd, words: [&str; 4]) -> Result<String, Errno> {
    let script = r#"test -z "$4" || echo $$ > "$4/cgroup.procs"
        printf '%s %s HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\ncontent-length: %s\r\n\r\n%s' \
            "$1" "$2" "${#3}" "$3" >&0; exec cat"#;
    let socket = socket.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap())?;
    let output =
        std::process::Command::new("sh").args(["-c", script, "sh"]).args(words).stdin(socket).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Ok(output.stdout.escape_ascii().to_string())
}

/// A TCP header with SYN (RFC 9293, section 3.1); the checksum is wrong, which only the far end's TCP would mind.
fn syn(port: u16) -> [u8; 20] {
    let mut header = [0; 20];
    header[0..2].copy_from_slice(&40_000_u16.to_be_bytes());
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = 2;
    header
}

/// The error that a TLS handshake ends with.
fn tls(socket: &OwnedFd) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "kubernetes.example".try_into().unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::from(socket.try_clone().unwrap());
    connection.complete_io(&mut stream).unwrap_err().to_string()
}

/// The server: what arrived at its namespace, as frames, packets and connections.
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn start() -> Self {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        for port in SERVER_PORTS {
            let listener = TcpListener::bind(("::", port)).unwrap();
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    seen.lock().push(format!("accept {port}"));
                    let seen = Arc::clone(&seen);
                    std::thread::spawn(move || echo(stream, port, &seen));
                }
            });
        }
        let protocol = Protocol::from_raw(NonZeroU32::new(ETH_P_ALL).unwrap());
        let tap =
            rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))
                .unwrap();
        let packets = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            loop {
                let (count, _) = rustix::net::recv(tap.as_fd(), buffer.as_mut_slice(), RecvFlags::empty()).unwrap();
                packets.lock().extend(described(&buffer[..count]));
            }
        });
        Self(seen)
    }
}

impl Serve for Seen {
    fn perform(&mut self, words: &[&str]) -> Result<String, Errno> {
        assert_eq!(words, ["report"]);
        Ok(self.0.lock().join(";"))
    }
}

/// Greets, then notes each piece of data and answers it.
fn echo(mut stream: TcpStream, port: u16, seen: &Mutex<Vec<String>>) {
    let mut buffer = [0; 2048];
    let mut greeting = stream.write_all(b"hello from the server");
    while greeting.is_ok() {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => {
                seen.lock().push(format!("data {port} {}", buffer[..count].escape_ascii()));
                greeting = stream.write_all(&buffer[..count]);
            }
            _ => return,
        }
    }
}

/// `tcp 5432`, `udp 53`, `ip 132`: protocol and destination port of a packet without extension headers; `frame 8864`: of
/// another kind, in hexadecimal.
fn described(frame: &[u8]) -> Option<String> {
    let kind = u16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
    let packet = frame.get(14..)?;
    let (protocol, header) = match kind {
        0x0800 => (*packet.get(9)?, usize::from(packet[0] & 0x0f) * 4),
        0x86dd => (*packet.get(6)?, 40),
        // Neighbours look for each other.
        0x0806 => return None,
        other => return Some(format!("frame {other:x}")),
    };
    let port = || Some(u16::from_be_bytes(packet.get(header + 2..header + 4)?.try_into().ok()?));
    match protocol {
        6 => Some(format!("tcp {}", port()?)),
        17 => Some(format!("udp {}", port()?)),
        other => Some(format!("ip {other}")),
    }
}
