//! The query phase: the client's messages, one by one, and the end of the session.
//!
//! In: both legs, logged in, and the judge. Out: the session's end. A message goes on when it is ruled on and recorded;
//! while a ruling is awaited the server's messages still reach the client, and what the client sends behind it waits.
//! The session never ends with something still running at the server, as far as the server answers.

mod capped;
mod spoken;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::masking::class::{MARK, MaskFinder};
use crate::protocol::postgres::encoding::in_utf8;
use crate::protocol::postgres::frame::{BATCH, HEADER, Header, Inbox};
use crate::protocol::postgres::judge::{Judge, Ruling, Say};
use crate::protocol::postgres::link::{ClientSide, Link};
use crate::protocol::postgres::login::Session;
use crate::protocol::postgres::message::{Frontend, ours};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::state::{Ask, State, Step, Taken, Unread};
use crate::protocol::postgres::{Cause, Counters, End, Limits};
use spoken::in_hex;

/// Describe, Close, Execute, Sync and the like: two names and some numbers.
const MAX_SMALL: usize = 64 * 1024;

/// Runs a session from its first ReadyForQuery to its end.
pub(super) async fn run<J: Judge>(mut session: Session, judge: Arc<J>, limits: Limits) -> End {
    let key = session.key.take();
    let (link, inbox) = Link::new(session, Arc::clone(&judge), &limits);
    let front = Front {
        inbox,
        behind: Inbox::default(),
        whole: 0,
        left: 0,
        unread: Unread::Drop,
        header_left: 0,
        masks: MaskFinder::default(),
    };
    let mut engine = Engine { link, front, judge, say: Say::default(), limits };
    let cause = engine.serve().await;
    let cause = engine.end(cause).await;
    drop(key);
    let (from_client, from_server) = engine.link.read();
    let state = &engine.link.state;
    let counters = Counters {
        from_client,
        from_server,
        statements: state.statements_sent,
        denied: state.denied,
        rows: state.rows,
    };
    End { cause, counters }
}

struct Engine<J: Judge> {
    link: Link<J>,
    front: Front,
    judge: Arc<J>,
    say: Say,
    limits: Limits,
}

/// What was read from the client.
struct Front {
    inbox: Inbox,
    /// Read while a ruling on a message in `inbox` was awaited.
    behind: Inbox,
    /// The size of the message that is being read whole.
    whole: usize,
    /// What is still to come of a message that is not read whole.
    left: usize,
    /// What is done with it.
    unread: Unread,
    /// Of that, what is still to come of its header.
    header_left: usize,
    /// Looks for masks in COPY data.
    masks: MaskFinder,
}

impl Front {
    /// Puts what was read meanwhile behind what was there before.
    fn join(&mut self) {
        if !self.behind.filled().is_empty() {
            self.inbox.append(self.behind.filled());
            self.behind = Inbox::default();
        }
    }
}

impl<J: Judge> Engine<J> {
    async fn serve(&mut self) -> Cause {
        loop {
            if let Err(cause) = self.advance().await {
                return cause;
            }
            let is_through = !self.link.state.is_stalled() && self.link.to_server.backlog() <= BATCH;
            if self.link.side == ClientSide::Gone || (self.link.side == ClientSide::Ended && is_through) {
                return Cause::ClientLost;
            }
            let Self { link, front, .. } = self;
            if let Err(cause) = poll_fn(|cx| link.poll_turn(cx, &mut front.inbox, front.whole)).await {
                return cause;
            }
        }
    }

    /// Deals with the client's messages as far as they are there and may go on.
    async fn advance(&mut self) -> Result<(), Cause> {
        while !self.link.state.is_stalled() && self.link.to_server.backlog() <= BATCH {
            if self.front.left > 0 {
                if self.front.inbox.filled().is_empty() {
                    return Ok(());
                }
                self.pass_on()?;
                continue;
            }
            self.front.whole = 0;
            let header = Header::read(self.front.inbox.filled());
            let Some(header) = header.map_err(|error| self.violation(error.to_string()))? else { return Ok(()) };
            let Some(kind) = Frontend::from_tag(header.tag) else {
                return Err(self.violation(format!("a message of unknown type 0x{:02x}", header.tag)));
            };
            let unread = self.link.state.unread(kind);
            if unread != Unread::Read {
                (self.front.left, self.front.unread) = (header.size, unread);
                self.front.header_left = HEADER;
                continue;
            }
            self.front.masks = MaskFinder::with(self.link.state.encoding().mark());
            if header.size > self.cap(kind) {
                self.refuse_oversized(kind, header.size)?;
                continue;
            }
            if self.front.inbox.filled().len() < header.size {
                self.front.whole = header.size;
                return Ok(());
            }
            self.message(kind, header.size).await?;
        }
        Ok(())
    }

    /// The part that is here of a message that nobody reads.
    ///
    /// # Errors
    /// Where it is COPY data that would write a mask back: a row that was begun cannot be taken back, so the session ends,
    /// and the server undoes the COPY.
    fn pass_on(&mut self) -> Result<(), Cause> {
        let filled = self.front.inbox.filled();
        let part = filled.get(..self.front.left.min(filled.len())).unwrap_or_default();
        let count = part.len();
        if self.front.unread == Unread::Pass {
            let header = self.front.header_left.min(count);
            self.front.header_left -= header;
            if self.front.masks.ends_in(part.get(header..).unwrap_or_default()) {
                let what =
                    format!("the COPY data holds a mask ({MARK}), and what was shown masked is not written back");
                let denial = Denial::fatal(SqlState::DENIED, what).with_hint("Leave out what was not changed.");
                self.judge.refused(&denial);
                return Err(Cause::Refused(Box::new(denial)));
            }
            self.link.to_server.bytes.extend_from_slice(part);
        }
        self.front.inbox.consume(count);
        self.front.left -= count;
        Ok(())
    }

    fn cap(&self, kind: Frontend) -> usize {
        match kind {
            Frontend::Query | Frontend::Parse => self.limits.max_statement,
            Frontend::Bind => self.limits.max_parameters,
            _ => MAX_SMALL,
        }
    }

    /// A statement that is too long is refused like any other, its text dropped as it comes.
    fn refuse_oversized(&mut self, kind: Frontend, size: usize) -> Result<(), Cause> {
        if self.link.state.reads_copy() || !matches!(kind, Frontend::Query | Frontend::Parse | Frontend::Bind) {
            return Err(self.violation(format!("{kind:?} of {size} bytes")));
        }
        let cap = self.cap(kind);
        let denial = Denial::error(SqlState::TOO_LARGE, format!("{kind:?} of {size} bytes: at most {cap} are taken"))
            .with_hint("Split the statement, or send the data with COPY.");
        self.judge.refused(&denial);
        self.refuse(kind, Box::new(denial));
        (self.front.left, self.front.unread) = (size, Unread::Drop);
        Ok(())
    }

    /// One whole message.
    async fn message(&mut self, kind: Frontend, size: usize) -> Result<(), Cause> {
        let is_asked = matches!(kind, Frontend::Query | Frontend::Parse | Frontend::Bind | Frontend::Execute);
        if is_asked
            && self.link.state.is_between_pipelines()
            && let Some(question) = self.judge.question(self.link.state.transaction(), self.reads(kind, size))
        {
            if !self.link.state.is_at_rest() {
                let flush = self.link.state.settle();
                self.link.to_server.bytes.extend_from_slice(flush);
                return Ok(());
            }
            self.inquire(question).await?;
        }
        let Self { link, front, judge, say, .. } = self;
        let Front { inbox, behind, .. } = front;
        let message = inbox.filled().get(..size).unwrap_or_default();
        let read = in_utf8(kind, message, link.state.encoding());
        let refused = match link.state.offer(kind, read.as_deref().unwrap_or(message)) {
            Step::Forward => {
                link.to_server.bytes.extend_from_slice(message);
                None
            }
            Step::ForwardAndFlush => {
                link.to_server.bytes.extend_from_slice(message);
                link.to_server.bytes.extend_from_slice(ours::FLUSH);
                None
            }
            Step::Drop => None,
            Step::Settle if !link.state.awaits() => {
                // Nothing can settle it: to wait would be to wait for ever.
                return Err(Cause::ClientProtocol { what: "a name whose meaning is not known for certain".into() });
            }
            Step::Settle => {
                let flush = link.state.settle();
                link.to_server.bytes.extend_from_slice(flush);
                link.speak();
                return Ok(());
            }
            Step::Refuse(denial) => {
                judge.refused(&denial);
                Some(denial)
            }
            Step::Leave => return Err(Cause::ClientClosed),
            Step::Fatal(denial) => return Err(Cause::ClientProtocol { what: denial.message }),
            Step::Ask(ask) => Asked { link, judge, say, behind }.put(ask, message).await?,
        };
        if let Some(denial) = refused {
            self.refuse(kind, denial);
        }
        self.front.inbox.consume(size);
        self.front.join();
        Ok(())
    }

    /// Whether the next message reads or writes rows as the first thing that it does.
    fn reads(&self, kind: Frontend, size: usize) -> bool {
        const WORDS: [&[u8]; 9] =
            [b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"WITH", b"TABLE", b"VALUES", b"MERGE", b"COPY"];
        let body = self.front.inbox.filled().get(HEADER..size).unwrap_or_default();
        let text = match kind {
            Frontend::Query => body,
            // Behind the statement's name.
            Frontend::Parse => body.splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default(),
            _ => return false,
        };
        let text = text.trim_ascii_start();
        let word = text.split(|byte| !byte.is_ascii_alphabetic()).next().unwrap_or_default();
        WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
    }

    /// Puts a question of ours to the server; what the client sends meanwhile waits.
    async fn inquire(&mut self, question: String) -> Result<(), Cause> {
        let Self { link, front, judge, .. } = self;
        // What the session's encoding lacks would fail the question.
        let question = if link.state.encoding().is_utf8() { question } else { in_hex(&question) };
        link.to_server.bytes.extend_from_slice(&ours::question(&question));
        link.state.send_question();
        let answer = poll_fn(|cx| {
            loop {
                if let Some(answer) = link.state.take_answer() {
                    return Poll::Ready(Ok(answer));
                }
                std::task::ready!(link.poll_turn(cx, &mut front.behind, 0))?;
                if link.side != ClientSide::Present {
                    return Poll::Ready(Err(Cause::ClientLost));
                }
            }
        })
        .await?;
        judge.answered(answer.as_ref().map_err(|code| *code));
        front.join();
        Ok(())
    }

    fn refuse(&mut self, kind: Frontend, denial: Box<Denial>) {
        self.link.state.refuse(kind, denial, &mut self.link.to_server.bytes);
        self.link.speak();
    }

    fn violation(&self, what: String) -> Cause {
        Cause::ClientProtocol { what }
    }

    /// Tells the client, stops what runs, and closes both legs.
    async fn end(&mut self, cause: Cause) -> Cause {
        let told = self.last_words(&cause);
        if let (Some(denial), true) = (told, self.link.is_between_messages()) {
            denial.write("", self.link.state.encoding(), &mut self.link.to_client.bytes);
        }
        let end = self.limits.end;
        let _ = timeout(end, self.link.flush()).await;
        let mut cause = cause;
        if matches!(cause, Cause::ClientClosed) {
            cause = self.leave().await;
        }
        if !matches!(cause, Cause::ServerClosed | Cause::ClientClosed) {
            self.stop().await;
        }
        self.link.state.abandon(&self.judge);
        // Best effort: the other side may be gone, and the session is over all the same.
        let _ = timeout(end, self.link.client.shutdown()).await;
        let _ = timeout(end, self.link.server.shutdown()).await;
        cause
    }

    /// What a client reads when its session ends for a reason of ours.
    fn last_words(&self, cause: &Cause) -> Option<Denial> {
        match cause {
            Cause::Ended(denial) | Cause::Refused(denial) => Some((**denial).clone()),
            Cause::ClientProtocol { what } => Some(Denial::fatal(SqlState::PROTOCOL_VIOLATION, what.clone())),
            Cause::ServerProtocol(_) => Some(Denial::fatal(SqlState::CONNECTION_LOST, cause.to_string()).with_hint(
                "What the server sent could not be matched to what was asked; nothing of it was passed on.",
            )),
            Cause::IdleTimeout => Some(Denial::fatal(SqlState::IDLE, cause.to_string())),
            Cause::ServerClosed if self.link.state.awaits() => {
                Some(Denial::fatal(SqlState::CONNECTION_LOST, cause.to_string()))
            }
            _ => None,
        }
    }

    /// The client said goodbye: the server finishes what it was sent, as it would without us, and closes.
    async fn leave(&mut self) -> Cause {
        // Nothing more is read from it, but what it asked for before is still answered.
        self.link.side = ClientSide::Ended;
        self.link.to_server.bytes.extend_from_slice(ours::TERMINATE);
        let cause = self.drain(Drain::WhileItRuns).await;
        let _ = timeout(self.limits.end, self.link.flush()).await;
        match cause {
            Cause::ServerClosed => Cause::ClientClosed,
            other => other,
        }
    }

    /// Cancels what the server runs, and waits until it has rolled back and closed, within the bound.
    async fn stop(&mut self) {
        self.link.side = ClientSide::Gone;
        if self.link.state.awaits() {
            let interrupt = Arc::clone(self.link.interrupt());
            interrupt.at_server().await;
        }
        // In the middle of a message a goodbye would be taken for a part of it: the end of the stream says as much.
        if self.front.left == 0 {
            self.link.to_server.bytes.extend_from_slice(ours::TERMINATE);
        }
        self.drain(Drain::WithinTheBound).await;
    }

    /// Reads what the server still says, for its outcomes, until it closes.
    async fn drain(&mut self, drain: Drain) -> Cause {
        let Self { link, front, limits, .. } = self;
        loop {
            let bounded = drain == Drain::WithinTheBound || !link.state.awaits();
            let turn = poll_fn(|cx| link.poll_turn(cx, &mut front.inbox, 0));
            let turned = if bounded { timeout(limits.end, turn).await } else { Ok(turn.await) };
            match turned {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => return cause,
                Err(_) => return Cause::ServerClosed,
            }
        }
    }
}

/// How long a server is listened to that nobody asks anything any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    /// Until what it was sent is answered, and then within the bound.
    WhileItRuns,
    WithinTheBound,
}

/// What is needed to put a question and wait for the answer.
struct Asked<'a, J: Judge> {
    link: &'a mut Link<J>,
    judge: &'a J,
    say: &'a Say,
    behind: &'a mut Inbox,
}

impl<J: Judge> Asked<'_, J> {
    /// Puts the question; a message that may go on has gone on when this returns nothing.
    async fn put(mut self, ask: Ask<'_, J>, message: &[u8]) -> Result<Option<Box<Denial>>, Cause> {
        let (judge, say) = (self.judge, self.say);
        say.set_in_transaction(self.link.state.transaction());
        match ask {
            Ask::Query(text) => match self.wait(judge.query(text, say)).await? {
                Ruling::Forward(mut forward) => {
                    let instead = match forward.text.take().map(|instead| self.in_words(text, &instead)) {
                        Some(Ok(instead)) => Some(ours::query(instead)),
                        Some(Err(denial)) => return Ok(self.unsent(forward, denial)),
                        None => None,
                    };
                    let message = instead.as_deref().unwrap_or(message);
                    self.alone(forward.sets_encoding).await?;
                    if forward.limit.is_some() {
                        return self.query_capped(message, forward).await;
                    }
                    self.send(message, |state, _| state.send_query(forward, judge));
                }
                Ruling::Refuse(denial) => return Ok(self.link.state.still(denial)),
            },
            Ask::Parse(request) => match self.wait(judge.parse(request, say)).await? {
                Ruling::Forward(prepared) => {
                    let instead = match judge.sent(&prepared).map(|instead| self.in_words(request.text, instead)) {
                        Some(Ok(text)) => {
                            let name = self.link.state.encoding().encode_ours(request.name);
                            Some(ours::parse(name, text, request.types))
                        }
                        Some(Err(denial)) => return Ok(self.link.state.still(denial)),
                        None => None,
                    };
                    let message = instead.as_deref().unwrap_or(message);
                    self.send(message, |state, _| state.send_parse(request.name, prepared));
                }
                Ruling::Refuse(denial) => return Ok(self.link.state.still(denial)),
            },
            Ask::Bind(prepared, request) => match self.wait(judge.bind(&prepared, request, say)).await? {
                Ruling::Forward(bound) => self.send(message, |state, _| state.send_bind(request.portal, bound)),
                Ruling::Refuse(denial) => return Ok(self.link.state.still(denial)),
            },
            Ask::Execute { portal, bound, rows } => match self.wait(judge.execute(&bound, rows, say)).await? {
                Ruling::Forward(forward) => {
                    self.alone(forward.sets_encoding).await?;
                    if forward.limit.is_some() {
                        return self.execute_capped((portal, rows, message), forward).await;
                    }
                    self.send(message, |state, out| state.send_execute(portal, forward, judge, out));
                }
                Ruling::Refuse(denial) => return Ok(self.link.state.still(denial)),
            },
        }
        Ok(None)
    }

    fn send(&mut self, message: &[u8], note: impl FnOnce(&mut State<J>, &mut Vec<u8>) -> Taken) {
        let Link { state, to_server, .. } = &mut *self.link;
        if note(state, &mut to_server.bytes) == Taken::Sent {
            to_server.bytes.extend_from_slice(message);
        }
    }

    /// Waits for a ruling. Meanwhile the server's messages reach the client, and notices do; the wait ends with either
    /// side, with the session's grant, and by a CancelRequest.
    async fn wait<T>(&mut self, ruling: impl Future<Output = Ruling<T>>) -> Result<Ruling<T>, Cause> {
        let Self { link, say, behind, .. } = self;
        let interrupt = Arc::clone(link.interrupt());
        let hold = interrupt.hold();
        let mut ruling = pin!(ruling);
        let (mut polls, mut waits) = (0_u8, false);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(ruling) = ruling.as_mut().poll(cx) {
                return Poll::Ready(Ok(ruling));
            }
            polls = polls.saturating_add(1);
            if polls == 1 {
                // Most wait for the journal's write alone, which comes with the next turn: both legs may wait as long,
                // and what was passed on before goes out together with this message.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !std::mem::replace(&mut waits, true) {
                hold.begin();
            }
            if hold.poll_canceled(cx.waker()) {
                let denial = Denial::error(SqlState::CANCELED, "canceling statement due to user request");
                return Poll::Ready(Ok(Ruling::Refuse(Box::new(denial))));
            }
            link.show(say);
            loop {
                std::task::ready!(link.poll_turn(cx, behind, 0))?;
                if link.side != ClientSide::Present {
                    return Poll::Ready(Err(Cause::ClientLost));
                }
            }
        })
        .await;
        if waits {
            hold.end();
        }
        answer
    }
}

#[cfg(test)]
mod tests;
