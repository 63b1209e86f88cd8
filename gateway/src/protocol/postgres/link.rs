//! Both legs of a session in its query phase: the reading, writing and matching that goes on whatever the client's
//! messages wait for.
//!
//! In: what either leg has to give. Out: the server's messages to the client, ours between them, the client's bytes to
//! whoever looks at them. Passed messages are written straight from the buffer they were read into, a batch at a time.
//! It never decides about a client's message, and never puts a word of ours into the middle of a server's message.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep};

use crate::conn::BoxConn;
use crate::protocol::postgres::frame::{BATCH, Header, Inbox};
use crate::protocol::postgres::interrupt::Interrupt;
use crate::protocol::postgres::judge::{Judge, Pass, Say};
use crate::protocol::postgres::message::Backend;
use crate::protocol::postgres::reply::Denial;
use crate::protocol::postgres::state::{Fault, State};
use crate::protocol::postgres::{Cause, Limits};

/// The longest message of a server that has to be read whole though nothing masks it: errors, notices, tags.
const MAX_READ: usize = 4 << 20;
/// The type of a DataRow.
const DATA_ROW: u8 = b'D';
/// How often a quiet session is looked at; a buffer that was empty since the last look is given back.
const LOOK: Duration = Duration::from_secs(2);

/// Bytes on their way out.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    sent: usize,
    unflushed: bool,
}

impl Outbox {
    pub(super) fn backlog(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, conn: &mut BoxConn) -> Poll<std::io::Result<()>> {
        while self.backlog() > 0 {
            let rest = self.bytes.get(self.sent..).unwrap_or_default();
            self.sent += std::task::ready!(poll_write(cx, conn, rest))?;
        }
        self.bytes.clear();
        self.sent = 0;
        if self.bytes.capacity() > 2 * BATCH {
            self.bytes = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_write(cx: &mut Context<'_>, conn: &mut BoxConn, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
    match Pin::new(conn).poll_write(cx, bytes) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
        other => other,
    }
}

/// Who is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSide {
    /// It reads and writes.
    Present,
    /// It sends no more: what it sent before is still dealt with, and answered.
    Ended,
    /// It is beyond reach: what the server still says is read, and dropped.
    Gone,
}

/// Both legs.
pub(super) struct Link<J: Judge> {
    pub(super) client: BoxConn,
    pub(super) server: BoxConn,
    pub(super) to_client: Outbox,
    pub(super) to_server: Outbox,
    pub(super) state: State<J>,
    pub(super) side: ClientSide,
    judge: Arc<J>,
    back: Back,
    watch: Watch,
}

/// What was read from the server.
struct Back {
    inbox: Inbox,
    /// The first bytes of `inbox` that may go to the client as they are.
    passed: usize,
    /// What is still to come of a message that passes without being read whole.
    left: usize,
    /// The size of the message that is being read whole.
    whole: usize,
    max_masked_row: usize,
    /// What stands for the message that was just looked at; kept for its memory.
    replacement: Vec<u8>,
    read: u64,
}

/// What ends a session from outside.
struct Watch {
    /// None once it has ended.
    ended: Option<Pin<Box<dyn Future<Output = Box<Denial>> + Send>>>,
    look: Pin<Box<Sleep>>,
    active: bool,
    quiet_since: Instant,
    idle: Option<Duration>,
    from_client: u64,
    interrupt: Arc<Interrupt>,
}

impl<J: Judge> Link<J> {
    pub(super) fn new(session: super::login::Session, judge: Arc<J>, limits: &Limits) -> (Self, Inbox) {
        let watched = Arc::clone(&judge);
        let watch = Watch {
            ended: Some(Box::pin(async move { watched.ended().await })),
            look: Box::pin(sleep(LOOK)),
            active: true,
            quiet_since: Instant::now(),
            idle: limits.idle,
            from_client: 0,
            interrupt: session.interrupt,
        };
        let back = Back {
            inbox: session.from_server,
            passed: 0,
            left: 0,
            whole: 0,
            max_masked_row: limits.max_masked_row,
            replacement: Vec::new(),
            read: 0,
        };
        let link = Self {
            client: session.client,
            server: session.server,
            to_client: Outbox::default(),
            to_server: Outbox::default(),
            state: State::new(session.transaction, session.speech),
            side: ClientSide::Present,
            judge,
            back,
            watch,
        };
        (link, session.from_client)
    }

    pub(super) fn interrupt(&self) -> &Arc<Interrupt> {
        &self.watch.interrupt
    }

    /// Bytes read so far, from the client and from the server.
    pub(super) fn read(&self) -> (u64, u64) {
        (self.watch.from_client, self.back.read)
    }

    /// Whether the client's stream is between two messages of the server.
    pub(super) fn is_between_messages(&self) -> bool {
        self.back.left == 0
    }

    /// Moves what can be moved. Ready when the client's messages should be looked at again; `sink` gets what it sends.
    pub(super) fn poll_turn(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Inbox,
        whole: usize,
    ) -> Poll<Result<(), Cause>> {
        let side = self.side;
        let mut moved = self.poll_server(cx)?;
        // Before the client is read: it is not while too much waits here, and has to be as soon as that is gone.
        moved |= self.send_to_server(cx)?;
        moved |= self.poll_client(cx, sink, whole);
        moved |= self.side != side;
        if let Some(Poll::Ready(denial)) = self.watch.ended.as_mut().map(|ended| ended.as_mut().poll(cx)) {
            self.watch.ended = None;
            return Poll::Ready(Err(Cause::Ended(denial)));
        }
        self.look(cx, sink)?;
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Server to client, until either blocks.
    fn poll_server(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let mut moved = false;
        // Bounded, so that one busy direction does not starve the other, or what ends the session.
        for _ in 0..16 {
            self.send_to_client(cx);
            if self.to_client.backlog() > BATCH || !self.back.inbox.has_room(self.back.whole) {
                return Ok(moved);
            }
            match self.back.inbox.poll_read(cx, &mut self.server, self.back.whole) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0) | Err(_)) => return Err(Cause::ServerClosed),
                Poll::Ready(Ok(count)) => self.back.read += count as u64,
            }
            self.watch.active = true;
            moved = true;
            self.scan().map_err(Cause::ServerProtocol)?;
        }
        cx.waker().wake_by_ref();
        Ok(moved)
    }

    fn poll_client(&mut self, cx: &mut Context<'_>, sink: &mut Inbox, whole: usize) -> bool {
        if self.side != ClientSide::Present || !sink.has_room(whole) || self.to_server.backlog() > BATCH {
            return false;
        }
        match sink.poll_read(cx, &mut self.client, whole) {
            Poll::Pending => return false,
            Poll::Ready(Ok(0) | Err(_)) => self.side = ClientSide::Ended,
            Poll::Ready(Ok(count)) => self.watch.from_client += count as u64,
        }
        self.watch.active = true;
        true
    }

    /// Client to server; whether there is room again.
    fn send_to_server(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let was_full = self.to_server.backlog() > BATCH;
        self.to_server.unflushed |= self.to_server.backlog() > 0;
        if !self.to_server.unflushed {
            return Ok(false);
        }
        let lost = |_| Cause::ServerClosed;
        let _blocked = self.to_server.poll_send(cx, &mut self.server).map_err(lost)?;
        // A stream that encrypts keeps what it could not write, even when it took all.
        if Pin::new(&mut self.server).poll_flush(cx).map_err(lost)?.is_ready() {
            self.to_server.unflushed = self.to_server.backlog() > 0;
        }
        Ok(was_full && self.to_server.backlog() <= BATCH)
    }

    /// What is ours first, then what was passed. A client that cannot be written to is gone.
    fn send_to_client(&mut self, cx: &mut Context<'_>) {
        if self.side != ClientSide::Gone && self.poll_send_client(cx).is_err() {
            self.side = ClientSide::Gone;
        }
        if self.side == ClientSide::Gone {
            self.to_client = Outbox::default();
            self.back.inbox.consume(std::mem::take(&mut self.back.passed));
        }
    }

    fn poll_send_client(&mut self, cx: &mut Context<'_>) -> std::io::Result<()> {
        self.to_client.unflushed |= self.to_client.backlog() > 0 || self.back.passed > 0;
        if self.to_client.backlog() == 0 || self.to_client.poll_send(cx, &mut self.client)?.is_ready() {
            while self.back.passed > 0 {
                let rest = self.back.inbox.filled().get(..self.back.passed).unwrap_or_default();
                let Poll::Ready(count) = poll_write(cx, &mut self.client, rest)? else { break };
                self.back.inbox.consume(count);
                self.back.passed -= count.min(self.back.passed);
            }
        }
        if self.to_client.unflushed && Pin::new(&mut self.client).poll_flush(cx)?.is_ready() {
            self.to_client.unflushed = self.to_client.backlog() > 0 || self.back.passed > 0;
        }
        Ok(())
    }

    /// Looks at what was read from the server, message by message.
    fn scan(&mut self) -> Result<(), Fault> {
        loop {
            let unread = self.back.inbox.filled().get(self.back.passed..).unwrap_or_default();
            if self.back.left > 0 {
                let count = self.back.left.min(unread.len());
                self.back.passed += count;
                self.back.left -= count;
                if self.back.left > 0 {
                    return Ok(());
                }
                self.speak();
                continue;
            }
            self.back.whole = 0;
            let Some(Header { tag, size }) = Header::read(unread).map_err(|_| Fault::BadLength)? else { return Ok(()) };
            let kind = Backend::from_tag(tag).ok_or(Fault::UnknownMessage { tag })?;
            let is_rewritten = self.state.rewrites();
            if kind == Backend::DataRow
                && self.state.rewrites_rows()
                && unread.len() >= size
                && size <= self.back.max_masked_row
            {
                self.rows()?;
                continue;
            }
            if kind.streams() && !is_rewritten {
                self.state.pass(kind, size)?;
                self.back.left = size;
                continue;
            }
            if size > if is_rewritten { self.back.max_masked_row } else { MAX_READ } {
                return Err(Fault::TooLarge { kind, size });
            }
            let Some(message) = unread.get(..size) else {
                self.back.whole = self.back.passed + size;
                return Ok(());
            };
            let mut replacement = std::mem::take(&mut self.back.replacement);
            replacement.clear();
            match self.state.reply(kind, message, &self.judge, &mut replacement)? {
                Pass::Forward => self.back.passed += size,
                Pass::Replaced => {
                    // It is put behind what was passed before it.
                    self.detach();
                    self.to_client.bytes.extend_from_slice(&replacement);
                    self.back.inbox.consume(size);
                }
            }
            self.back.replacement = if replacement.capacity() > BATCH { Vec::new() } else { replacement };
            self.speak();
        }
    }

    /// Rows that are here whole, one after the other: a row that stays as it is is not even copied.
    fn rows(&mut self) -> Result<(), Fault> {
        let Self { back, state, to_client, .. } = self;
        let unread = back.inbox.filled();
        // What was written for this batch, and up to where the buffer has been taken over.
        let (mut at, mut taken) = (back.passed, 0);
        while let Some(rest) = unread.get(at..)
            && let Ok(Some(Header { tag: DATA_ROW, size })) = Header::read(rest)
            && size <= back.max_masked_row
            && let Some(message) = rest.get(..size)
        {
            if state.row(message, &mut back.replacement)? == Pass::Replaced {
                to_client.bytes.extend_from_slice(unread.get(taken..at).unwrap_or_default());
                to_client.bytes.append(&mut back.replacement);
                taken = at + size;
            }
            at += size;
        }
        back.passed = at - taken;
        back.inbox.consume(taken);
        Ok(())
    }

    /// Moves what was passed out of the buffer, so that something can be put behind it.
    fn detach(&mut self) {
        let passed = self.back.inbox.filled().get(..self.back.passed).unwrap_or_default();
        self.to_client.bytes.extend_from_slice(passed);
        self.back.inbox.consume(std::mem::take(&mut self.back.passed));
    }

    /// Puts something of ours behind what the client was sent, between two messages of the server's.
    pub(super) fn tell(&mut self, bytes: &[u8]) {
        self.detach();
        self.to_client.bytes.extend_from_slice(bytes);
    }

    /// Says what is ours to say now, if anything is.
    pub(super) fn speak(&mut self) {
        if self.state.has_say() && self.back.left == 0 {
            self.detach();
            self.state.say(&mut self.to_client.bytes);
        }
        self.state.settled();
    }

    /// Shows the notices of a judge that waits.
    pub(super) fn show(&mut self, say: &Say) {
        // A session that waits for a person is not idle.
        self.watch.active = true;
        if self.back.left == 0 && !say.is_silent() {
            self.detach();
            say.take(self.state.encoding(), &mut self.to_client.bytes);
        }
    }

    /// Gives memory back, and ends a session that is idle for too long.
    fn look(&mut self, cx: &mut Context<'_>, sink: &mut Inbox) -> Result<(), Cause> {
        while self.watch.look.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            self.watch.look.as_mut().reset(now + LOOK);
            if std::mem::take(&mut self.watch.active) || self.state.awaits() {
                self.watch.quiet_since = now;
                continue;
            }
            sink.shrink();
            self.back.inbox.shrink();
            for outbox in [&mut self.to_client, &mut self.to_server] {
                if outbox.backlog() == 0 && !outbox.unflushed {
                    *outbox = Outbox::default();
                }
            }
            if self.watch.idle.is_some_and(|idle| now - self.watch.quiet_since >= idle) {
                return Err(Cause::IdleTimeout);
            }
        }
        Ok(())
    }

    /// Writes what is left, as far as the legs take it.
    pub(super) async fn flush(&mut self) {
        if self.side != ClientSide::Gone {
            self.detach();
            let rest = self.to_client.bytes.get(self.to_client.sent..).unwrap_or_default();
            if self.client.write_all(rest).await.is_err() || self.client.flush().await.is_err() {
                self.side = ClientSide::Gone;
            }
        }
        self.to_client = Outbox::default();
    }
}
