//! The bytes of one command or shell, in both directions.
//!
//! In: both ends of a channel on which something runs. Out: what the client may see of it, until either side closes or
//! what it rests on ends; then the command is told to end, and killed if it does not. Nothing is shown before it was
//! masked, and nothing of a terminal goes unrecorded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use russh::server::{Handle, Msg};
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig, client};
use tokio::time::Instant;

use super::channel::{Inner, Outer};
use super::connection::Connection;
use super::files::Files;
use super::flow::{Flow, Turns};
use super::output::{self, Holds, Output, Stream};
use super::recording::{self, Lost, Recorder};
use super::request::Size;
use super::words::{NOT_RUN, STDERR, Speaker, visible};
use crate::audit::event::FrameStream;
use crate::policy::Question;

/// How long a command has to end when it is told to, before it is killed.
const TERM: Duration = Duration::from_millis(1_500);
const KILL: Duration = Duration::from_millis(500);
/// How long a server's end of output waits for the exit status. A client that has both ends closes the channel, on which
/// nothing can be said any more then.
const EXIT: Duration = Duration::from_secs(5);
/// How long the client has to take in why.
const TOLD: Duration = Duration::from_millis(500);

/// What came of a command.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) exit_status: Option<u32>,
    pub(super) signal: Option<String>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) masked: BTreeMap<String, u64>,
}

/// Why nothing more is passed on, while both sides are there.
pub(super) enum Stop {
    /// A side is gone.
    Gone,
    /// With what the client reads.
    Because(String),
}

impl From<russh::Error> for Stop {
    fn from(_: russh::Error) -> Self {
        Self::Gone
    }
}

impl From<Lost> for Stop {
    fn from(lost: Lost) -> Self {
        Self::Because(match lost {
            Lost::Unwritten => "the recording cannot be written".to_owned(),
            Lost::TooLarge => "the recording is as large as one may be".to_owned(),
        })
    }
}

/// What passes one command on.
pub(super) struct Relay<'a> {
    pub(super) connection: &'a Arc<Connection>,
    pub(super) speaker: Speaker,
    pub(super) recorder: Option<Arc<Mutex<Recorder>>>,
    /// Whether the client's channel ends with what runs.
    pub(super) whole: bool,
    /// Whether what the client sends is for it.
    pub(super) takes_input: bool,
    /// Of the terminal, the last that was told.
    pub(super) size: Mutex<Size>,
    pub(super) output: Mutex<Output>,
    /// Where files go over it: then nothing else does.
    pub(super) files: Option<Files<'a>>,
}

impl<'a> Relay<'a> {
    /// The terminal has this size.
    pub(super) fn resized(&self, size: Size) {
        *self.size.lock() = size;
        if let Some(recorder) = &self.recorder {
            // What cannot be written is noticed with the next output.
            let _ = recorder.lock().resized(size.columns, size.rows);
        }
    }

    /// The size that it has.
    pub(super) fn size(&self) -> Size {
        *self.size.lock()
    }

    /// Until the end.
    pub(super) async fn run(mut self, questions: &[Arc<Question>], mut inner: Inner, outer: Outer) -> Ended {
        let (ended, stop) = self.part(questions, &mut inner, outer).await;
        if let Stop::Because(_) = stop {
            let _ = inner.write.exit_status(NOT_RUN).await;
        }
        let _ = inner.write.close().await;
        inner.flow.close();
        if let Some(files) = self.files.take() {
            files.end();
        }
        ended
    }

    /// Until what runs has ended; the client's channel is as it was.
    pub(super) async fn part(&self, questions: &[Arc<Question>], inner: &mut Inner, outer: Outer) -> (Ended, Stop) {
        let judge = &self.connection.judge;
        let Inner { read: from_client, write: to_client, flow: client_flow, handle } = inner;
        let Outer { read: mut from_server, write: to_server, flow: server_flow } = outer;
        let (mut sent, mut ended) = (0, Ended::default());
        let stop = {
            let up = async {
                if self.takes_input {
                    return self.up(from_client, &to_server, client_flow, &mut sent).await;
                }
                client_flow.closed().await;
                Stop::Gone
            };
            let (server, to, flow, ended) = (&to_server, &**to_client, &server_flow, &mut ended);
            let mut down = Down { relay: self, server, to, flow, handle, ended, eof: None, turns: Turns::default() };
            tokio::select! {
                stop = down.run(&mut from_server) => stop,
                stop = up => stop,
                reason = judge.withdrawn(questions) => Stop::Because(reason),
                reason = self.connection.ended() => Stop::Because(reason),
            }
        };
        if let Stop::Because(reason) = &stop {
            // A client that reads nothing must not keep it alive.
            let words = judge.refusal(&format!("ended: {reason}")).0;
            let told = tokio::time::timeout(TOLD, self.speaker.say(&words));
            let ((), _) = tokio::join!(stop_command(&to_server, &mut from_server, &server_flow, &mut ended), told);
        }
        let _ = to_server.close().await;
        server_flow.close();
        if let Some(recorder) = &self.recorder {
            let _ = recorder.lock().flush();
        }
        ended.sent = sent;
        ended.masked = self.output.lock().masked();
        (ended, stop)
    }

    /// From the client to the server, until the client closes.
    async fn up(
        &self,
        from: &mut ChannelReadHalf,
        to: &ChannelWriteHalf<client::Msg>,
        flow: &Flow,
        sent: &mut u64,
    ) -> Stop {
        let mut turns = Turns::default();
        loop {
            let message = from.wait().await;
            if let Some(message) = &message {
                flow.took(message);
            }
            let passed = match message {
                None | Some(ChannelMsg::Close) => return Stop::Gone,
                Some(ChannelMsg::Data { data }) => {
                    let length = data.len();
                    if let Some(Err(lost)) = self.recorder.as_ref().map(|recorder| recorder.lock().typed(length)) {
                        return lost.into();
                    }
                    let passed = match &self.files {
                        Some(files) => files.take_client(data, to).await,
                        None => to.data_bytes(data).await.map_err(Stop::from),
                    };
                    flow.passed(length);
                    turns.after(length).await;
                    *sent += length as u64;
                    match passed {
                        Ok(()) => Ok(()),
                        Err(stop) => return stop,
                    }
                }
                // Clients have no second stream (RFC 4254, section 5.2).
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    flow.passed(data.len());
                    Ok(())
                }
                Some(ChannelMsg::Eof) => to.eof().await,
                Some(ChannelMsg::Signal { signal }) => to.signal(signal).await,
                Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                    let size = Size::new(col_width, row_height, pix_width, pix_height);
                    self.resized(size);
                    to.window_change(size.columns, size.rows, size.width, size.height).await
                }
                Some(_) => Ok(()),
            };
            if passed.is_err() {
                return Stop::Gone;
            }
        }
    }
}

/// Tells a command to end, and kills it if it does not; what it still says is lost.
async fn stop_command(to: &ChannelWriteHalf<client::Msg>, from: &mut ChannelReadHalf, flow: &Flow, ended: &mut Ended) {
    for (signal, patience) in [(Sig::TERM, TERM), (Sig::KILL, KILL)] {
        let _ = to.signal(signal).await;
        let gone = async {
            loop {
                match from.wait().await {
                    None | Some(ChannelMsg::Close) => return,
                    Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => flow.passed(data.len()),
                    Some(ChannelMsg::ExitStatus { exit_status }) => ended.exit_status = Some(exit_status),
                    Some(ChannelMsg::ExitSignal { signal_name, .. }) => ended.signal = Some(name_of(&signal_name)),
                    Some(_) => {}
                }
            }
        };
        if tokio::time::timeout(patience, gone).await.is_ok() {
            return;
        }
    }
}

/// From the server to the client.
struct Down<'a> {
    relay: &'a Relay<'a>,
    server: &'a ChannelWriteHalf<client::Msg>,
    to: &'a ChannelWriteHalf<Msg>,
    flow: &'a Flow,
    handle: &'a Handle,
    ended: &'a mut Ended,
    /// The end of output waits, until then at most.
    eof: Option<Instant>,
    turns: Turns,
}

impl Down<'_> {
    /// Until the server closes, or something is found that must not go out.
    async fn run(&mut self, from: &mut ChannelReadHalf) -> Stop {
        loop {
            let wait = self.wait();
            let message = match wait {
                Some(wait) => tokio::time::timeout(wait, from.wait()).await,
                None => Ok(from.wait().await),
            };
            let passed = match message {
                Ok(None | Some(ChannelMsg::Close)) => Err(Stop::Gone),
                Ok(Some(message)) => self.pass(message).await,
                Err(_) => self.overdue().await,
            };
            if let Err(stop) = passed {
                // Of what stopped it, nothing that waits is shown.
                if matches!(stop, Stop::Gone) {
                    let _ = self.flush().await;
                    let _ = self.end_output().await;
                }
                return stop;
            }
        }
    }

    /// How long at most until something has to go out that waits.
    fn wait(&self) -> Option<Duration> {
        let output = self.relay.output.lock().is_waiting().then_some(output::WAIT);
        let is_recorded = |recorder: &Arc<Mutex<Recorder>>| recorder.lock().is_waiting().then_some(recording::WAIT);
        let recorder = self.relay.recorder.as_ref().and_then(is_recorded);
        let eof = self.eof.map(|until| until.saturating_duration_since(Instant::now()));
        [output.or(recorder), eof].into_iter().flatten().min()
    }

    async fn overdue(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        if self.eof.is_some_and(|until| until <= Instant::now()) {
            self.end_output().await?;
        }
        Ok(())
    }

    /// Passes the end of output on, if it waits.
    async fn end_output(&mut self) -> Result<(), Stop> {
        match self.eof.take() {
            Some(_) if self.relay.whole => Ok(self.to.eof().await?),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        let waited = self.relay.output.lock().flush();
        for (stream, bytes) in waited {
            self.show(stream, bytes).await?;
        }
        match &self.relay.recorder {
            Some(recorder) => Ok(recorder.lock().flush()?),
            None => Ok(()),
        }
    }

    async fn pass(&mut self, message: ChannelMsg) -> Result<(), Stop> {
        match message {
            ChannelMsg::Data { data } => self.data(Stream::Out, data).await,
            ChannelMsg::ExtendedData { data, ext: STDERR } => self.data(Stream::Err, data).await,
            // No other stream has a meaning.
            ChannelMsg::ExtendedData { data, .. } => {
                self.flow.passed(data.len());
                Ok(())
            }
            // What waits comes before that.
            ChannelMsg::Eof => {
                self.flush().await?;
                self.eof = Some(Instant::now() + EXIT);
                if self.ended.exit_status.is_some() || self.ended.signal.is_some() {
                    self.end_output().await?;
                }
                Ok(())
            }
            ChannelMsg::ExitStatus { exit_status } => {
                self.flush().await?;
                self.ended.exit_status = Some(exit_status);
                if self.relay.whole {
                    self.to.exit_status(exit_status).await?;
                }
                self.end_output().await
            }
            ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag } => {
                self.flush().await?;
                self.ended.signal = Some(name_of(&signal_name));
                if self.relay.whole {
                    let (id, message) = (self.to.id(), visible(&error_message));
                    let told = self.handle.exit_signal_request(id, signal_name, core_dumped, message, lang_tag);
                    told.await.map_err(|()| Stop::Gone)?;
                }
                self.end_output().await
            }
            ChannelMsg::Failure => {
                let words = "gateway: the server refused to run this";
                if self.relay.whole {
                    self.relay.speaker.refuse(words).await
                } else {
                    self.relay.speaker.say(words).await
                }
                Err(Stop::Gone)
            }
            _ => Ok(()),
        }
    }

    async fn data(&mut self, stream: Stream, data: Bytes) -> Result<(), Stop> {
        let length = data.len();
        self.turns.after(length).await;
        self.ended.received += length as u64;
        if let (Stream::Out, Some(files)) = (stream, &self.relay.files) {
            let passed = files.take_server(data, self.server).await;
            self.flow.passed(length);
            return passed;
        }
        let pushed = self.relay.output.lock().push(stream, data);
        let shown = match pushed {
            Ok(bytes) => self.show(stream, bytes).await,
            Err(Holds(class)) => Err(Stop::Because(format!(
                "the output is binary, which is not masked, and holds a value of the class {class}"
            ))),
        };
        self.flow.passed(length);
        shown
    }

    async fn show(&mut self, stream: Stream, bytes: Bytes) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(recorder) = &self.relay.recorder {
            let of = match stream {
                Stream::Out => FrameStream::Out,
                Stream::Err => FrameStream::Err,
            };
            recorder.lock().shown(of, &bytes)?;
        }
        match stream {
            Stream::Out => Ok(self.to.data_bytes(bytes).await?),
            Stream::Err => Ok(self.to.extended_data_bytes(STDERR, bytes).await?),
        }
    }
}

/// As RFC 4254, section 6.10, names it.
fn name_of(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => visible(name).chars().take(32).collect(),
        known => format!("{known:?}"),
    }
}
