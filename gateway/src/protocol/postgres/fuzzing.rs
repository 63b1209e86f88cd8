//! What fuzz targets reach of this engine; no ordinary build has it.
//!
//! In: bytes of either side. Out: what became of them. It must never hold logic of its own: it strings together what
//! the engine strings together, without sockets.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use super::encoding::{Encoding, Speech, in_utf8, names};
use super::frame::Header;
use super::judge::{BindRequest, CopyIn, Forgets, Forward, Judge, Outcome, ParseRequest, Pass, Ruling, Say};
use super::message::{Backend, Frontend, ours};
use super::reply::{Denial, SqlState};
use super::settings::Startup;
use super::startup::{First, read};
use super::state::{Ask, State, Step, Taken, Transaction, Unread};

/// A startup, with the message that the server would get.
pub type Started = (Startup, Vec<u8>);

/// The first packet: none while bytes are missing; a startup with the message that the server would get.
#[must_use]
pub fn startup(bytes: &[u8]) -> Option<Result<Option<Started>, String>> {
    let (first, _) = match read(bytes) {
        Ok(first) => first?,
        Err(error) => return Some(Err(error.to_string())),
    };
    let First::Startup(message) = first else { return Some(Ok(None)) };
    Some(match Startup::read(&message) {
        Ok(startup) => Ok(Some((startup.clone(), startup.to_message(&startup.user, 0x0003_0002)))),
        Err(error) => Err(error.to_string()),
    })
}

/// Any bytes in any encoding, and a message of a client's in it: what is read of them says no more and no less.
pub fn spoken(bytes: &[u8]) {
    let Some((which, text)) = bytes.split_first() else { return };
    let Some(encoding) = names().nth(usize::from(*which) % names().count()).and_then(Encoding::find) else { return };
    // Below the digits no byte is a part of a character of several.
    let signs = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte < b'0').collect::<Vec<_>>();
    let lossy = encoding.decode_lossy(text);
    assert_eq!(signs(lossy.as_bytes()), signs(text), "{}", encoding.name());
    if let Some(read) = encoding.decode(text) {
        assert_eq!(read, lossy);
        if let Some(written) = encoding.encode(&read) {
            assert_eq!(encoding.decode(&written).as_deref(), Some(&*read));
        }
    }
    assert!(encoding.is_utf8() || encoding.encode_ours(&lossy).len() <= 4 * lossy.len());
    for tag in 0..=u8::MAX {
        let Some(kind) = Frontend::from_tag(tag) else { continue };
        let length = u32::try_from(text.len() + 4).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(read) = in_utf8(kind, &[&[tag][..], &length, text].concat(), encoding) {
            assert_eq!(Header::read(&read), Ok(Some(Header { tag, size: read.len() })));
        }
    }
}

/// Judges by the text alone, and counts permits and their outcomes.
#[derive(Default)]
pub struct ByText {
    outcomes: AtomicU64,
}

fn forward(text: &str) -> Forward<()> {
    let mut forward = Forward::plain(());
    if text.contains("from stdin") {
        forward.copy = CopyIn::Expected;
    }
    if text.contains("discard") {
        forward.forgets.push(Forgets::Everything);
    }
    forward
}

impl Judge for ByText {
    type Prepared = String;
    type Bound = String;
    type Permit = ();

    async fn startup(&self, _: &Startup) -> Ruling<()> {
        Ruling::Forward(())
    }

    async fn query(&self, text: &str, _: &Say) -> Ruling<Forward<()>> {
        Ruling::Forward(forward(text))
    }

    async fn parse(&self, statement: ParseRequest<'_>, _: &Say) -> Ruling<String> {
        Ruling::Forward(statement.text.to_owned())
    }

    async fn bind(&self, prepared: &String, _: BindRequest<'_>, _: &Say) -> Ruling<String> {
        Ruling::Forward(prepared.clone())
    }

    async fn execute(&self, bound: &String, _: u32, _: &Say) -> Ruling<Forward<()>> {
        Ruling::Forward(forward(bound))
    }

    async fn change(&self, (): &(), _: u64, _: &Say) -> Ruling<()> {
        Ruling::Forward(())
    }

    fn outcome(&self, (): (), _: &Outcome<'_>) {
        self.outcomes.fetch_add(1, Ordering::Relaxed);
    }

    async fn ended(&self) -> Box<Denial> {
        std::future::pending().await
    }
}

/// A session's query phase with a judge that answers at once.
pub struct Machine {
    state: State<ByText>,
    judge: ByText,
    permits: u64,
    /// For each Execute in `to_server`: the text that was judged for it.
    pub judged: VecDeque<String>,
    /// What goes to the server.
    pub to_server: Vec<u8>,
    /// What goes to the client.
    pub to_client: Vec<u8>,
}

/// What a message did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// It was taken, whatever became of it.
    Taken,
    /// It has to come again, once the server has answered.
    Waits,
    /// The session is over.
    Ended,
}

impl Default for Machine {
    fn default() -> Self {
        let (to_server, to_client) = (Vec::new(), Vec::new());
        let (judge, judged) = (ByText::default(), VecDeque::new());
        Self {
            state: State::new(Transaction::Idle, Speech::default()),
            judge,
            permits: 0,
            judged,
            to_server,
            to_client,
        }
    }
}

impl Machine {
    /// Takes one whole message of the client.
    pub fn client(&mut self, message: &[u8]) -> Did {
        let Ok(Some(header)) = Header::read(message) else { return Did::Ended };
        let Some(kind) = Frontend::from_tag(header.tag) else { return Did::Ended };
        if self.state.is_stalled() {
            return Did::Waits;
        }
        match self.state.unread(kind) {
            Unread::Pass => self.to_server.extend_from_slice(message),
            Unread::Drop => {}
            Unread::Read => return self.read(kind, message),
        }
        Did::Taken
    }

    fn read(&mut self, kind: Frontend, message: &[u8]) -> Did {
        match self.state.offer(kind, message) {
            Step::Forward => self.to_server.extend_from_slice(message),
            Step::ForwardAndFlush => self.to_server.extend([message, ours::FLUSH].concat()),
            Step::Drop => {}
            // As the engine has it: nothing can settle it any more.
            Step::Settle if !self.state.awaits() => return Did::Ended,
            Step::Settle => {
                let flush = self.state.settle();
                self.to_server.extend_from_slice(flush);
                self.speak();
                return Did::Waits;
            }
            Step::Ask(ask) => self.ask(kind, ask, message),
            Step::Refuse(denial) => self.refuse(kind, denial),
            Step::Leave | Step::Fatal(_) => return Did::Ended,
        }
        Did::Taken
    }

    fn ask(&mut self, kind: Frontend, ask: Ask<'_, ByText>, message: &[u8]) {
        if let Ask::Query(text) | Ask::Parse(ParseRequest { text, .. }) = &ask
            && text.contains("drop")
        {
            return self.refuse(kind, Box::new(Denial::error(SqlState::DENIED, "no")));
        }
        let runs = matches!(ask, Ask::Query(_) | Ask::Execute { .. });
        let taken = match ask {
            Ask::Query(text) => self.state.send_query(forward(text), &self.judge),
            Ask::Parse(request) => self.state.send_parse(request.name, request.text.to_owned()),
            Ask::Bind(prepared, request) => self.state.send_bind(request.portal, prepared),
            Ask::Execute { portal, bound, .. } => {
                let taken = self.state.send_execute(portal, forward(&bound), &self.judge, &mut self.to_server);
                self.judged.extend((taken == Taken::Sent).then_some(bound));
                taken
            }
        };
        self.permits += u64::from(runs);
        if taken == Taken::Sent {
            self.to_server.extend_from_slice(message);
        }
    }

    fn refuse(&mut self, kind: Frontend, denial: Box<Denial>) {
        self.state.refuse(kind, denial, &mut self.to_server);
        self.speak();
    }

    /// Takes one whole message of the server.
    ///
    /// # Errors
    /// When it answers nothing that was asked.
    pub fn server(&mut self, message: &[u8]) -> Result<(), String> {
        let header = Header::read(message).map_err(|error| error.to_string())?.ok_or("no header")?;
        let kind = Backend::from_tag(header.tag).ok_or("no such message")?;
        let passed = if kind.streams() && !self.state.rewrites() {
            self.state.pass(kind, message.len()).map(|()| Pass::Forward)
        } else {
            self.state.reply(kind, message, &self.judge, &mut self.to_client)
        };
        if passed.map_err(|fault| fault.to_string())? == Pass::Forward {
            self.to_client.extend_from_slice(message);
        }
        self.speak();
        Ok(())
    }

    fn speak(&mut self) {
        self.state.say(&mut self.to_client);
        self.state.settled();
    }

    /// Whether the server owes anything.
    #[must_use]
    pub fn awaits(&self) -> bool {
        self.state.awaits()
    }

    /// Ends the session: how many runs were permitted, and how many outcomes the judge heard of.
    pub fn end(&mut self) -> (u64, u64) {
        self.state.abandon(&self.judge);
        (self.permits, self.judge.outcomes.load(Ordering::Relaxed))
    }
}
