//! Asks servers for names, as ourselves.
//!
//! In: a question, and the servers of this host. Out: the first answer that is one. Each query has a number and a socket
//! of its own, and with the socket a port that the kernel chose by chance: who cannot read our packets has to guess both.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

use crate::protocol::dns::{Answer, Asked, MAX_DATAGRAM, Question};

const DNS_PORT: u16 = 53;
/// How long a server may take; clients give up after five seconds or more.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often each server is asked.
const ROUNDS: usize = 2;
/// Wrong answers to one query before it is given up: somebody guesses.
const MAX_WRONG: usize = 16;

/// How the client asked, and we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// UDP. An answer that does not fit says so, and the client comes back by TCP.
    Datagram,
    /// TCP.
    Stream,
}

/// No server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no_answer")]
pub(super) struct NoAnswer;

/// Asks the servers in turn.
pub(super) async fn ask(servers: &[IpAddr], question: &Question, transport: Transport) -> Result<Answer, NoAnswer> {
    for server in servers.repeat(ROUNDS) {
        let server = SocketAddr::new(server, DNS_PORT);
        let Ok(asked) = question.ask() else { return Err(NoAnswer) };
        let answer = async {
            match transport {
                Transport::Datagram => by_datagram(server, question, &asked).await,
                Transport::Stream => by_stream(server, question, &asked).await,
            }
        };
        match tokio::time::timeout(TIMEOUT, answer).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => tracing::warn!(%server, %error, "a server for names could not be asked"),
            Err(_) => tracing::warn!(%server, "a server for names did not answer"),
        }
    }
    Err(NoAnswer)
}

async fn by_datagram(server: SocketAddr, question: &Question, asked: &Asked) -> io::Result<Answer> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    // Connected, so that the kernel drops what comes from elsewhere.
    rustix::net::connect(&socket, &server)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send(&asked.bytes).await?;
    let mut buffer = [0; MAX_DATAGRAM as usize + 1];
    for _ in 0..MAX_WRONG {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).filter(|bytes| bytes.len() <= MAX_DATAGRAM.into()).unwrap_or_default();
        if let Ok(answer) = question.answer(asked, bytes) {
            return Ok(answer);
        }
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "its answers are to other questions"))
}

async fn by_stream(server: SocketAddr, question: &Question, asked: &Asked) -> io::Result<Answer> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(asked.bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes()[..], &asked.bytes].concat()).await?;
    let mut bytes = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut bytes).await?;
    question.answer(asked, &bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
