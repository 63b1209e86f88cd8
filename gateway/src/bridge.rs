//! What the warden and the engine say to each other, and how descriptors pass between them.
//!
//! In: messages of either side. Out: the same on the other side of a SOCK_SEQPACKET pair, whose packets keep their
//! borders, each with up to `MAX_DESCRIPTORS` descriptors. The engine is the less trusted end: the warden takes no
//! path, program or command from it.

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use gateway_common::{ConnectRecord, Verdict};
use parking_lot::Mutex;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

pub use people::{
    Begun, Decide, FiledAs, LogIn, LoggedIn, LoginFault, Person, PowersOf, Question, Revoke, SlackSaid, WindowRequest,
};

use crate::host::cgroup::Place;
use crate::id::{HostId, JournalId};
use crate::state::Change;
use crate::trust::leaf::Leaf;

/// The largest message in one packet: what does not fit travels as a file, which nobody can change any more.
const MAX_MESSAGE: usize = 64 * 1024;
/// The largest message at all.
const MAX_LONG: usize = 64 * 1024 * 1024;
/// Stands for a message that came as a file; no JSON begins so.
const LONG: &[u8] = b"L";
/// Descriptors with one message, the file of a long one among them.
const MAX_DESCRIPTORS: usize = 4;

/// What the warden tells the engine.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToEngine {
    /// First of all. With it: the segment to append to, a file that holds the `Bundle`, and one of what was kept.
    Start {
        /// This installation.
        host: HostId,
        /// The journal that the engine writes.
        journal: JournalId,
    },
    /// Go on in another segment of the journal. With it: the segment.
    Segment,
    /// Other policies. With it: a file that holds the `Bundle`.
    Reload,
    /// An attachment's connections come by a socket pair of their own. With it: the engine's end.
    Lane {
        /// Its name.
        attachment: String,
    },
    /// The answer to `ToWarden::Admit`.
    Admitted {
        /// The number of the request.
        request: u64,
        /// For how long they are open, or why they are not.
        result: Result<Duration, String>,
    },
    /// The answer to `ToWarden::Dial`. With it, where it worked: the socket, not connected yet. Also that to
    /// `ToWarden::DialIssuer`, whose socket is.
    Socket {
        /// The number of the request.
        request: u64,
        /// Why there is none.
        error: Option<String>,
    },
    /// The answer to `ToWarden::Certify`.
    Certified {
        /// The number of the request.
        request: u64,
        /// The certificate, or why there is none.
        result: Result<String, String>,
    },
    /// The answer to `ToWarden::Keep`.
    Kept {
        /// The number of the request.
        request: u64,
        /// Why it is not kept.
        result: Result<(), String>,
    },
    /// An operator's question.
    Ask {
        /// Comes back with the answer.
        request: u64,
        /// What is asked.
        question: Box<Question>,
    },
    /// Take nothing new, end what runs.
    Drain,
}

/// What comes by the lane of an attachment.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToLane {
    /// A connection of a workload. With it: its socket.
    Connection(Box<Connection>),
    /// A question for a name, as a workload sent it in a datagram.
    Asked {
        /// Comes back with the answer.
        request: u64,
        /// Who asks, and which server was meant.
        connection: Box<Connection>,
        /// The bytes.
        datagram: Vec<u8>,
    },
}

/// What the engine tells the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWarden {
    /// Policies are in force and the journal is open.
    Ready,
    /// Neither is; the process ends.
    CannotStart(String),
    /// The engine's runtime is running. Without it the gates close.
    Heartbeat {
        /// Attachments whose own threads are not: theirs close all the same.
        stuck: BTreeSet<String>,
    },
    /// A new bundle was looked at: `None`, or why the old one stays in force.
    Reloaded(Option<String>),
    /// A socket in the network namespace of a connection is wanted.
    Dial {
        /// Comes back with the answer.
        request: u64,
        /// The namespace's cookie.
        netns: u64,
        /// Whether an IPv6 socket is wanted.
        ipv6: bool,
    },
    /// A connection to the server of the issuer of tokens is wanted. Which that is, the warden's own configuration says.
    DialIssuer {
        /// Comes back with the answer.
        request: u64,
        /// Which of those that the configuration names.
        server: u16,
    },
    /// A certificate for one login at an SSH target is wanted. For which user, the warden's own configuration says.
    Certify {
        /// Comes back with the answer.
        request: u64,
        /// The name of the target.
        target: String,
        /// The public key, made for this login.
        key: String,
    },
    /// Changes are to outlive the engine: all of them, or none.
    Keep {
        /// Comes back with the answer.
        request: u64,
        /// In their order.
        changes: Vec<Change>,
    },
    /// A name stands for these addresses, and may be connected to. What it opens, and for how long at most, the
    /// warden's own configuration says.
    Admit {
        /// Comes back with the answer.
        request: u64,
        /// For whom.
        attachment: String,
        /// The name, in lower case.
        name: String,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// Its time to live.
        seconds: u64,
    },
    /// What a workload reads for its question.
    Answered {
        /// The number of the question.
        request: u64,
        /// The bytes.
        datagram: Vec<u8>,
    },
    /// The answer to an operator's question.
    Answer {
        /// The number of the question.
        request: u64,
        /// JSON for the one who asked.
        answer: serde_json::Value,
    },
}

/// A connection of a workload, as the kernel noted it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    /// The attachment whose hook caught it.
    pub attachment: String,
    /// The path of the process's cgroup; empty where it is gone already.
    pub cgroup: String,
    /// The beginning of that path, which nobody but root can have named.
    pub named_by_root: String,
    /// Its id.
    pub cgroup_id: u64,
    /// The cookie of the network namespace.
    pub netns: u64,
    /// Where the client meant to go.
    pub original: SocketAddr,
    /// The client's own address.
    pub client: SocketAddr,
    /// The process, for attribution.
    pub pid: u32,
    /// Its user, for attribution.
    pub uid: u32,
    /// Its executable, or the task's name; for attribution.
    pub executable: String,
    /// Number of the `Verdict` that caught it.
    pub verdict: u32,
}

impl Connection {
    /// What is spoken at the destination, as far as port and target tell.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict::from_value(self.verdict)
    }

    /// From the kernel's record.
    #[must_use]
    pub fn new(attachment: &str, place: Place, record: &ConnectRecord, client: SocketAddr) -> Self {
        let comm = record.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            attachment: attachment.to_owned(),
            cgroup: place.path,
            named_by_root: place.named_by_root,
            cgroup_id: record.cgroup,
            netns: record.netns,
            original: record.original.into(),
            client,
            pid: record.pid,
            uid: record.uid,
            executable: String::from_utf8_lossy(comm).into_owned(),
            verdict: record.protocol,
        }
    }
}

/// What the engine works with, read by the warden from files that the engine cannot open.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Bundle {
    /// The text of the configuration file; empty where there is none.
    pub config: String,
    /// Policy files by name.
    pub policies: Vec<(String, String)>,
    /// What is masked; none: the shipped detectors mask.
    pub masking: Option<MaskingText>,
    /// Attachments by name, besides those of the configuration.
    pub attachments: Vec<AttachmentInfo>,
    /// The groups that users of this host vote for, by uid.
    pub approvers: BTreeMap<u32, BTreeSet<String>>,
    /// Servers that are asked for names.
    pub resolvers: Vec<IpAddr>,
    /// What targets need, by their names; the empty name stands for undeclared destinations.
    pub materials: BTreeMap<String, Material>,
    /// The tokens of attachments, and who vouches for them.
    pub tokens: Tokens,
}

/// What says who workloads and people are.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Authorities that sign the issuer's server, in PEM.
    pub ca: Option<Vec<u8>>,
    /// By attachment, the bytes of its file, or why they could not be read.
    pub given: BTreeMap<String, Result<Vec<u8>, String>>,
    /// What Slack signs with, where people decide there.
    pub slack: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

/// The masking file, with the keys of its hashes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskingText {
    /// The text.
    pub text: String,
    /// Keys, by how the text names their source.
    pub keys: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for MaskingText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MaskingText")
    }
}

/// What a target needs from files.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Material {
    /// Authorities that sign its server, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Our client certificate and its key, in PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// The password of its credential.
    pub password: Option<Vec<u8>>,
    /// What its clients are shown.
    pub leaf: Option<Leaf>,
    /// What an SSH server needs besides.
    pub ssh: Option<SshMaterial>,
}

/// What an SSH target needs from files.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct SshMaterial {
    /// The key that clients are shown.
    pub host_key: Vec<u8>,
    /// Its certificate for the names of the target, if it has any.
    pub host_certificate: Option<String>,
    /// The private key of its credential.
    pub key: Option<Vec<u8>>,
    /// The text of the file of known hosts.
    pub known_hosts: Option<String>,
}

impl std::fmt::Debug for SshMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SshMaterial")
    }
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Material")
    }
}

/// What the engine has to know of an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentInfo {
    /// Its name.
    pub name: String,
    /// Its groups, `local:NAME`.
    pub groups: Vec<String>,
    /// Decide and record, but block nothing.
    pub observe: bool,
    /// The file of its token, where it is bound to one.
    pub token_file: Option<PathBuf>,
}

/// One end of the pair.
#[derive(Debug)]
pub struct Bridge {
    /// A SOCK_SEQPACKET socket. Only its readiness is used, which is the same for both kinds.
    socket: UnixDatagram,
    /// For one packet.
    packet: Mutex<Vec<u8>>,
}

/// Makes the pair; the second end is for the engine's standard input.
///
/// # Errors
/// Where the system has no descriptors left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

impl Bridge {
    /// Takes an end over; needs a running runtime.
    ///
    /// # Errors
    /// Where the descriptor cannot be watched.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let packet = Mutex::new(vec![0; MAX_MESSAGE]);
        Ok(Self { socket: UnixDatagram::from_std(socket.into())?, packet })
    }

    /// Sends a message with descriptors.
    ///
    /// # Errors
    /// Where the other end is gone or the message is larger than 64 MiB.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = Packet::new(message, descriptors)?;
        self.socket.async_io(Interest::WRITABLE, || packet.send(self.socket.as_fd())).await
    }

    /// Receives a message with its descriptors; `None` once the other end is gone.
    ///
    /// # Errors
    /// Where what came is no message of `T`.
    pub async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let take = || {
            let mut packet = self.packet.lock();
            let (length, descriptors) = receive(self.socket.as_fd(), &mut packet)?;
            decode(packet.get(..length).unwrap_or_default(), descriptors)
        };
        self.socket.async_io(Interest::READABLE, take).await
    }
}

/// One end of such a pair that only sends, and is watched by nobody while it has room: else a thread here would wake for
/// each packet that the other end takes.
pub struct Outlet(OwnedFd);

impl Outlet {
    /// Takes an end over.
    ///
    /// # Errors
    /// Where the descriptor is no socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// Sends a message with descriptors; waits where there is no room, which needs a running runtime.
    ///
    /// # Errors
    /// Where the other end is gone or the message is larger than 64 MiB.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = Packet::new(message, descriptors)?;
        match packet.send(self.0.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        let full = UnixDatagram::from_std(self.0.try_clone()?.into())?;
        full.async_io(Interest::WRITABLE, || packet.send(full.as_fd())).await
    }
}

/// A message on its way.
struct Packet<'a> {
    bytes: Vec<u8>,
    descriptors: &'a [BorrowedFd<'a>],
    /// What is too long for a packet.
    file: Option<OwnedFd>,
}

impl<'a> Packet<'a> {
    fn new(message: &impl Serialize, descriptors: &'a [BorrowedFd<'a>]) -> io::Result<Self> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_LONG {
            let text = "a message between warden and engine exceeds 64 MiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let file = (bytes.len() > MAX_MESSAGE).then(|| sealed_file(&bytes)).transpose()?;
        Ok(Self { bytes, descriptors, file })
    }

    fn send(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let Some(file) = &self.file else { return send(socket, &self.bytes, self.descriptors) };
        let mut all = self.descriptors.to_vec();
        all.push(file.as_fd());
        send(socket, LONG, &all)
    }
}

fn decode<T: DeserializeOwned>(packet: &[u8], mut descriptors: Vec<OwnedFd>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    match packet {
        LONG => {
            let file = descriptors.pop().ok_or(io::ErrorKind::InvalidData)?;
            Ok(Some((serde_json::from_slice(&read_sealed(file)?)?, descriptors)))
        }
        [] => Ok(None),
        bytes => Ok(Some((serde_json::from_slice(bytes)?, descriptors))),
    }
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    // A cut message or lost descriptors would be understood wrongly.
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message between warden and engine was cut"));
    }
    Ok((received.bytes, descriptors))
}

/// Puts bytes into an anonymous file that nobody can change any more.
///
/// # Errors
/// Where the system has no memory or descriptors left.
pub fn sealed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    use std::io::{Seek, Write};
    let fd = rustix::fs::memfd_create("gateway", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

/// What such a file holds. Any other, which could change or keep the reader waiting, is refused.
fn read_sealed(file: OwnedFd) -> io::Result<Vec<u8>> {
    use rustix::fs::SealFlags;
    use std::io::{Read, Seek};
    let seals = rustix::fs::fcntl_get_seals(&file)?;
    let mut file = std::fs::File::from(file);
    let length = file.metadata()?.len();
    if !seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE) || length > MAX_LONG as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a long message between warden and engine is not sealed",
        ));
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[tokio::test]
    async fn a_message_arrives_whole_with_its_descriptor() {
        let (one, other) = pair().unwrap();
        let (one, other) = (Bridge::new(one).unwrap(), Bridge::new(other).unwrap());
        let file = sealed_file(b"policies").unwrap();
        one.send(&ToEngine::Reload, &[file.as_fd()]).await.unwrap();
        let (message, mut descriptors) = other.receive::<ToEngine>().await.unwrap().unwrap();
        assert!(matches!(message, ToEngine::Reload));
        let mut text = String::new();
        std::fs::File::from(descriptors.pop().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "policies");
        drop(one);
        assert!(other.receive::<ToEngine>().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_long_message_travels_as_a_file_that_nobody_can_change() {
        let (one, other) = pair().unwrap();
        let (one, other) = (Bridge::new(one).unwrap(), Bridge::new(other).unwrap());
        let text = "x".repeat(3 * MAX_MESSAGE);
        let file = sealed_file(b"policies").unwrap();
        one.send(&text, &[file.as_fd()]).await.unwrap();
        let (message, descriptors) = other.receive::<String>().await.unwrap().unwrap();
        assert_eq!((message, descriptors.len()), (text, 1));
        // A compromised engine could keep the warden waiting on what it reads, or change it.
        let (reading, _writing) = io::pipe().unwrap();
        let open = rustix::fs::memfd_create("open", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        for hostile in [OwnedFd::from(reading), open] {
            send(one.socket.as_fd(), LONG, &[hostile.as_fd()]).unwrap();
            assert!(other.receive::<String>().await.is_err());
        }
    }

    #[tokio::test]
    async fn what_only_sends_waits_for_room() {
        let (one, other) = pair().unwrap();
        let (one, other) = (Outlet::new(one).unwrap(), Bridge::new(other).unwrap());
        const MESSAGES: usize = 2_000;
        let text = "x".repeat(MAX_MESSAGE / 2);
        let sending = async {
            for _ in 0..MESSAGES {
                one.send(&text, &[]).await.unwrap();
            }
        };
        let receiving = async {
            for _ in 0..MESSAGES {
                tokio::task::yield_now().await;
                assert_eq!(other.receive::<String>().await.unwrap().unwrap().0, text);
            }
        };
        tokio::join!(sending, receiving);
        drop(other);
        assert!(one.send(&text, &[]).await.is_err());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_refused_where_it_is_sent() {
        let (one, _other) = pair().unwrap();
        let one = Bridge::new(one).unwrap();
        let error = one.send(&"x".repeat(MAX_LONG), &[]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
