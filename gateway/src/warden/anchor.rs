//! The last seal, told to a syslog server: off this host, where whoever takes it over later cannot take it back.
//!
//! In: seals, and where to tell them. Out: one syslog message (RFC 5424) for the last of them, since it names the one before, and
//! so stands for all. It reads nothing that the server says, holds nothing up, and keeps no queue: what was not told is told
//! with the next one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::audit::Timestamp;
use crate::audit::feed::Severity;
use crate::audit::feed::syslog::{self, Head};
use crate::config::{Syslog, Transport};

/// How long a server may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is told, and what was told last.
#[derive(Debug, Default)]
pub(super) struct Anchor {
    last: Option<String>,
    /// Gives back what was told.
    telling: Option<JoinHandle<Option<String>>>,
}

impl Anchor {
    /// Takes the last seal, where there is a new one, and tells it, or the one before where that was not told.
    pub(super) async fn tell(&mut self, place: Option<Syslog>, seal: Option<String>) {
        let busy = match &mut self.telling {
            Some(telling) if telling.is_finished() => {
                // Another one may have come meanwhile.
                let told = telling.await.unwrap_or_default();
                self.last = self.last.take().filter(|last| told.as_ref() != Some(last));
                self.telling = None;
                false
            }
            telling => telling.is_some(),
        };
        self.last = seal.or_else(|| self.last.take());
        let (Some(place), Some(seal), false) = (place, &self.last, busy) else { return };
        let seal = seal.clone();
        self.telling = Some(tokio::spawn(async move {
            let sent = tokio::time::timeout(TIMEOUT, send(place, &message(&seal))).await;
            let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            sent.inspect_err(|error| tracing::warn!(%error, address = %place.address, "no seal is told for now"))
                .is_ok()
                .then_some(seal)
        }));
    }

    /// Waits for what is being told, and tells the very last one.
    pub(super) async fn finish(mut self, place: Option<Syslog>, seal: Option<String>) {
        for seal in [seal, None] {
            if let Some(telling) = &mut self.telling {
                let told = telling.await.unwrap_or_default();
                self.telling = None;
                self.last = self.last.filter(|last| told.as_ref() != Some(last));
            }
            self.tell(place, seal).await;
        }
    }
}

fn message(seal: &str) -> String {
    let name = rustix::system::uname();
    let host = name.nodename().to_string_lossy();
    let head = Head { severity: Severity::Informational, time: Timestamp::now(), host: &host, kind: "seal" };
    syslog::message(&head, seal)
}

async fn send(Syslog { address, transport }: Syslog, message: &str) -> io::Result<()> {
    match transport {
        Transport::Udp => {
            let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
            let socket = UdpSocket::bind(any).await?;
            socket.connect(address).await?;
            socket.send(message.as_bytes()).await.map(drop)
        }
        Transport::Tcp => {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(syslog::counted(message).as_bytes()).await?;
            stream.shutdown().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_seal_that_comes_while_another_is_told_is_told_too() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = Some(Syslog { address: server.local_addr().unwrap(), transport: Transport::Udp });
        let mut anchor = Anchor::default();
        // Nothing runs between these two.
        anchor.tell(place, Some("one".to_owned())).await;
        anchor.tell(place, Some("two".to_owned())).await;
        let mut buffer = [0; 512];
        for seal in ["one", "two"] {
            let told = tokio::time::timeout(TIMEOUT, server.recv(&mut buffer)).await;
            let length = told.expect("it is told").unwrap();
            assert!(buffer[..length].ends_with(format!(" seal - {seal}").as_bytes()), "{seal}");
            while anchor.telling.as_ref().is_some_and(|telling| !telling.is_finished()) {
                tokio::task::yield_now().await;
            }
            anchor.tell(place, None).await;
        }
        assert_eq!(anchor.last, None);
    }
}
