//! Questions for names between the sockets of namespaces and the engine.
//!
//! In: datagrams that hooks sent to us, with the kernel's record of who sent them. Out: the same bytes for the engine,
//! and its bytes for whoever asked; addresses into the kernel's map, by the warden's own configuration. The warden reads
//! none of these bytes, and the engine reaches nobody who has not asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway_common::HeldQuestion;
use parking_lot::Mutex;
use tokio::net::UdpSocket;

use super::Warden;
use super::attachment::{Attachment, QUESTIONS_LOST};
use crate::audit::event::{DnsAdmitted, Event};
use crate::bridge::{Connection, ToLane};
use crate::config::is_host_name;
use crate::protocol::dns::MAX_QUESTION;

/// Questions of one attachment that may wait at once: beyond, they are refused, and asked again.
const MAX_WAITING: usize = 256;
/// Why questions are refused here, as the journal counts them.
const TOO_LONG: &str = "questions_too_long";
const TOO_MANY: &str = "too_many_questions";
const NOBODY: &str = "questions_without_engine";
/// After this a client asks again, on its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause after a failed receive, so that it does not become a busy loop.
const PAUSE: Duration = Duration::from_millis(50);

/// Questions that wait for the engine.
#[derive(Debug, Default)]
pub(super) struct Forwarder {
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    attachment: String,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    since: Instant,
}

impl Forwarder {
    /// Notes who asks; `None` where the attachment has as many questions as it may.
    fn note(&self, attachment: &str, socket: &Arc<UdpSocket>, client: SocketAddr) -> Option<u64> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, question| question.since.elapsed() < PATIENCE);
        let theirs = waiting.values().filter(|question| question.attachment == attachment).count();
        if theirs >= MAX_WAITING {
            return None;
        }
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (attachment, socket) = (attachment.to_owned(), Arc::clone(socket));
        waiting.insert(request, Waiting { attachment, socket, client, since: Instant::now() });
        Some(request)
    }

    /// Sends an answer to whoever asked.
    pub(super) fn answer(&self, request: u64, datagram: &[u8]) {
        let Some(question) = self.waiting.lock().remove(&request) else { return };
        // A client that is gone, or whose socket is full, asks again.
        let _ = question.socket.try_send_to(datagram, question.client);
    }
}

/// Hands questions to the engine for ever.
pub(super) async fn serve(warden: Arc<Warden>, attachment: Arc<Attachment>, netns: u64, socket: Arc<UdpSocket>) {
    let Ok(here) = socket.local_addr() else { return };
    let mut buffer = vec![0; MAX_QUESTION + 1];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "cannot receive a question for a name");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(connection) = attachment.asker(&warden.hierarchy, netns, client, here) else { continue };
        let Some(datagram) = buffer.get(..length).filter(|_| length <= MAX_QUESTION) else {
            attachment.count_refused(TOO_LONG);
            continue;
        };
        hand_over(&warden, &attachment, &socket, (connection, client, datagram)).await;
    }
}

/// The same with a question that was held until somebody listened.
pub(super) async fn ask_held(warden: &Warden, attachment: &Attachment, question: HeldQuestion) {
    let HeldQuestion { record, client, listener, bytes } = question;
    let Some(socket) = attachment.questions_at(record.netns, listener) else {
        attachment.count_refused(QUESTIONS_LOST);
        return;
    };
    let connection = attachment.connection(&warden.hierarchy, &record, client);
    hand_over(warden, attachment, &socket, (connection, client, &bytes)).await;
}

async fn hand_over(
    warden: &Warden,
    attachment: &Attachment,
    socket: &Arc<UdpSocket>,
    (connection, client, datagram): (Connection, SocketAddr, &[u8]),
) {
    let Some(request) = warden.forwarder.note(attachment.name(), socket, client) else {
        attachment.count_refused(TOO_MANY);
        return;
    };
    let asked = ToLane::Asked { request, connection: Box::new(connection), datagram: datagram.to_vec() };
    if let Err(error) = warden.engine.hand_over(attachment.name(), &asked, &[]).await {
        attachment.count_refused(NOBODY);
        tracing::warn!(attachment = attachment.name(), %error, "no engine takes a question for a name");
    }
}

impl Warden {
    /// Opens the addresses of a name, as the configuration has it, and says for how long.
    ///
    /// # Errors
    /// With the reason, in a word, why none of them is opened.
    pub(super) fn admit(
        &self,
        attachment: &str,
        name: String,
        addresses: Vec<IpAddr>,
        ttl: Duration,
    ) -> Result<Duration, String> {
        let ports = self.config.lock().of_name(&name, attachment);
        if !is_host_name(&name) || ports.is_empty() {
            return Err("not_allowed".to_owned());
        }
        let attachment = self.attachments.lock().get(attachment).cloned().ok_or("detached")?;
        let time = attachment.admit(&name, &addresses, &ports, ttl)?;
        let (attachment, seconds) = (attachment.name().to_owned(), time.as_secs());
        self.record(&Event::DnsAdmitted(DnsAdmitted { attachment, name, addresses, seconds }));
        Ok(time)
    }
}
