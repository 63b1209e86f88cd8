//! Questions for names: judged by the list, asked of this host's own servers, answered when their addresses are open.
//!
//! In: a workload's question with the kernel's record, in a datagram or on a connection. Out: the server's answer, or one
//! that says there is no such name. Never answers with an allowed name's addresses before the warden has opened them, and
//! never asks a server for a name that nobody allowed.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::refused_questions::RefusedQuestions;
use super::resolver::{self, Transport};
use super::{Engine, Settings};
use crate::bridge::{Connection, ToWarden};
use crate::identity::Workload;
use crate::protocol::dns::{Answer, Instead, MAX_QUESTION, Question, not_understood};

/// Questions and connections of one attachment at once: beyond, datagrams are refused and connections closed.
const MAX_QUESTIONS: usize = 256;
/// Why those are refused.
const TOO_MANY: &str = "too_many_questions";
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);
/// How long a connection may take from the hook to here.
const LATE: Duration = Duration::from_secs(10);
/// How long the warden may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What waits for the warden, and what was refused.
#[derive(Debug)]
pub(super) struct Forwarder {
    outbox: mpsc::Sender<ToWarden>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Result<Duration, String>>>>,
    /// By attachment and address: the name, and until when.
    opened: Mutex<HashMap<(String, IpAddr), (String, Instant)>>,
    next: AtomicU64,
    places: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    refused: Mutex<RefusedQuestions>,
}

impl Forwarder {
    pub(super) fn new(outbox: mpsc::Sender<ToWarden>) -> Self {
        Self {
            outbox,
            waiting: Mutex::default(),
            opened: Mutex::default(),
            next: AtomicU64::new(1),
            places: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// The warden's answer to `ToWarden::Admit`.
    pub(super) fn admitted(&self, request: u64, result: Result<Duration, String>) {
        if let Some(waiting) = self.waiting.lock().remove(&request) {
            let _ = waiting.send(result);
        }
    }

    fn place(&self, attachment: &str) -> Option<OwnedSemaphorePermit> {
        let mut places = self.places.lock();
        // Who asks nothing needs no entry: attachments come and go.
        places.retain(|_, theirs| Arc::strong_count(theirs) > 1);
        let places = places.entry(attachment.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MAX_QUESTIONS)));
        Arc::clone(places).try_acquire_owned().ok()
    }

    /// Has the warden open the addresses of an answer.
    async fn open(&self, attachment: &str, name: &str, answer: &Answer) -> Result<(), String> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = oneshot::channel();
        self.waiting.lock().insert(request, send);
        let admit = ToWarden::Admit {
            request,
            attachment: attachment.to_owned(),
            name: name.to_owned(),
            addresses: answer.addresses.clone(),
            seconds: answer.ttl.as_secs(),
        };
        let asked = self.outbox.send(admit).await;
        let said = tokio::time::timeout(TIMEOUT, receive).await;
        self.waiting.lock().remove(&request);
        let (Ok(()), Ok(Ok(result))) = (asked, said) else { return Err("no_warden".to_owned()) };
        self.note_opened(attachment, name, answer, result?);
        Ok(())
    }

    fn note_opened(&self, attachment: &str, name: &str, answer: &Answer, time: Duration) {
        let mut opened = self.opened.lock();
        let now = Instant::now();
        opened.retain(|_, (_, until)| *until > now);
        for address in &answer.addresses {
            opened.insert((attachment.to_owned(), *address), (name.to_owned(), now + time + LATE));
        }
    }

    pub(super) fn name_of(&self, attachment: &str, address: IpAddr) -> Option<String> {
        let opened = self.opened.lock();
        let (name, until) = opened.get(&(attachment.to_owned(), address))?;
        (*until > Instant::now()).then(|| name.clone())
    }
}

impl Engine {
    /// Answers a datagram.
    pub(super) fn answer_datagram(self: &Arc<Self>, request: u64, connection: Connection, datagram: Vec<u8>) {
        let Some(place) = self.place(&connection) else { return };
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(datagram) = engine.answer(&connection, &datagram, Transport::Datagram).await {
                let _ = engine.outbox.send(ToWarden::Answered { request, datagram }).await;
            }
            drop(place);
        });
    }

    fn place(&self, connection: &Connection) -> Option<OwnedSemaphorePermit> {
        let place = self.forwarder.place(&connection.attachment);
        if place.is_none() {
            self.note_refused(&self.settings(), connection, None, TOO_MANY);
        }
        place
    }

    /// Answers the questions of a connection, one after the other.
    pub(super) fn answer_connection(self: &Arc<Self>, connection: Connection, socket: TcpStream) {
        let Some(place) = self.place(&connection) else { return };
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            // Its end is the client's matter: no session rests on it.
            if let Err(error) = engine.answer_all(&connection, socket).await {
                tracing::debug!(%error, "a connection for names ended");
            }
            drop(place);
        });
    }

    async fn answer_all(self: &Arc<Self>, connection: &Connection, socket: TcpStream) -> std::io::Result<()> {
        let mut socket = tokio::net::TcpStream::from_std(socket)?;
        loop {
            // A length, then as many bytes (RFC 1035, section 4.2.2).
            let length = usize::from(tokio::time::timeout(IDLE, socket.read_u16()).await??);
            if length > MAX_QUESTION {
                self.note_refused(&self.settings(), connection, None, "too_long");
                return Ok(());
            }
            let mut bytes = vec![0; length];
            tokio::time::timeout(IDLE, socket.read_exact(&mut bytes)).await??;
            let Some(answer) = self.answer(connection, &bytes, Transport::Stream).await else { return Ok(()) };
            let length = u16::try_from(answer.len()).unwrap_or_default();
            let message = [&length.to_be_bytes()[..], &answer].concat();
            tokio::time::timeout(IDLE, socket.write_all(&message)).await??;
        }
    }

    /// The answer to one question; none, where the bytes are not even that.
    async fn answer(&self, connection: &Connection, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let settings = self.settings();
        let question = match Question::read(bytes) {
            Ok(question) => question,
            Err(unread) => {
                self.note_refused(&settings, connection, None, &unread.to_string());
                return not_understood(bytes);
            }
        };
        match self.judge_and_ask(&settings, connection, &question, transport).await {
            Ok(answer) => Some(answer),
            Err((instead, reason)) => {
                self.note_refused(&settings, connection, Some(&question), &reason);
                Some(question.instead(instead))
            }
        }
    }

    async fn judge_and_ask(
        &self,
        settings: &Settings,
        connection: &Connection,
        question: &Question,
        transport: Transport,
    ) -> Result<Vec<u8>, (Instead, String)> {
        let config = settings.config();
        let is_named = |name: &&str| !config.of_name(name, &connection.attachment).is_empty();
        let name = question.host_name().filter(is_named);
        if name.is_none() && !config.egress.allow_by_default {
            return Err((Instead::NoName, "not_allowed".to_owned()));
        }
        if name.is_some() && question.wants_hidden_addresses() {
            return Ok(question.instead(Instead::NoRecords));
        }
        let answer = resolver::ask(settings.resolvers(), question, transport)
            .await
            .map_err(|error| (Instead::Failure, error.to_string()))?;
        if let Some(name) = name.filter(|_| !answer.addresses.is_empty()) {
            let opened = self.forwarder.open(&connection.attachment, name, &answer).await;
            opened.map_err(|reason| (Instead::NoName, reason))?;
        }
        Ok(answer.bytes)
    }

    fn note_refused(&self, settings: &Settings, connection: &Connection, question: Option<&Question>, reason: &str) {
        let Some(attachment) = settings.attachment(&connection.attachment) else { return };
        let who = Workload::of(connection, attachment).who(connection);
        let masking = settings.masking().masking("");
        self.forwarder.refused.lock().add(who, connection, (question, reason), &masking.detectors);
    }

    /// Journals refused questions.
    pub(super) fn flush_refused_questions(&self) {
        for event in self.forwarder.refused.lock().take() {
            if let Err(error) = self.journal.append_unsynced(None, &event) {
                tracing::error!(%error, "a refused question could not be recorded");
            }
        }
    }
}
