//! One channel of a client, from its opening to its close.
//!
//! In: the channel as the client opened it. Out: one request, decided and in the journal before the server hears of it,
//! and the bytes of both directions until either side closes. A channel that fails, or whose task panics, takes no
//! other with it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use russh::server::{ChannelOpenHandle, Handle, Msg};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};
use tokio::sync::Mutex as Turn;

use super::ask;
use super::connection::Connection;
use super::files::{Files, Protocol};
use super::flow::Flow;
use super::forward;
use super::judge::{Asked, Granted, status};
use super::line_shell;
use super::output::Output;
use super::recording::Recorder;
use super::relay::{Ended, Relay};
use super::request::{Preparation, SFTP, Size, Terminal, Wanted};
use super::words::Speaker;
use crate::audit::event::{SshOutcome, SshPhase};
use crate::config::Shell;
use crate::policy::vocabulary::data::Use;
use crate::policy::vocabulary::ssh as vocabulary;
use crate::protocol::forward::Onward;
use crate::protocol::sftp::Sftp;

/// Longer commands are read on a thread of their own: it may take a while.
const SHORT: usize = 1_024;

/// Serves a channel in a task of its own.
pub(super) fn spawn(connection: Arc<Connection>, channel: Channel<Msg>, reply: ChannelOpenHandle, handle: Handle) {
    let id = channel.id();
    let flow = connection.flows.open(id.number());
    let serving = serve(Arc::clone(&connection), channel, reply, flow, handle.clone());
    spawn_counted(connection, (id, handle), serving);
}

/// Serves a channel that leads on to another server.
pub(super) fn spawn_forward(
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    handle: Handle,
    wanted: Onward,
) {
    let id = channel.id();
    let flow = connection.flows.open(id.number());
    let serving = forward::serve(Arc::clone(&connection), channel, reply, flow, wanted);
    spawn_counted(connection, (id, handle), serving);
}

fn spawn_counted(
    connection: Arc<Connection>,
    (id, handle): (ChannelId, Handle),
    serving: impl Future<Output = ()> + Send + 'static,
) {
    let counted = connection.count();
    tokio::spawn(async move {
        if let Err(error) = tokio::spawn(serving).await {
            tracing::error!(channel = id.number(), %error, "a channel failed");
            let _ = handle.close(id).await;
        }
        drop(counted);
        connection.flows.close(id.number());
    });
}

/// The client's end of a channel.
pub(super) struct Inner {
    pub(super) read: ChannelReadHalf,
    pub(super) write: Arc<ChannelWriteHalf<Msg>>,
    pub(super) flow: Arc<Flow>,
    pub(super) handle: Handle,
}

impl Inner {
    /// The client's next message. Of data, what was passed on is told to the flow.
    pub(super) async fn next(&mut self) -> Option<ChannelMsg> {
        let message = self.read.wait().await;
        if let Some(message) = &message {
            self.flow.took(message);
        }
        message
    }
}

/// The server's end.
pub(super) struct Outer {
    pub(super) read: ChannelReadHalf,
    pub(super) write: ChannelWriteHalf<client::Msg>,
    pub(super) flow: Arc<Flow>,
}

async fn serve(
    connection: Arc<Connection>,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    flow: Arc<Flow>,
    handle: Handle,
) {
    let Some(server) = connection.server().await else {
        // The whole connection ends, with the reason: a client that is refused its channel first would not read it.
        return flow.closed().await;
    };
    let (outer, outer_flow) = match server.open().await {
        Ok(opened) => opened,
        Err(reason) => return reply.reject(reason).await,
    };
    reply.accept().await;
    let id = channel.id().number();
    let (read, write) = channel.split();
    let mut inner = Inner { read, write: Arc::new(write), flow, handle };
    let (read, write) = outer.split();
    let outer = Outer { read, write, flow: outer_flow };
    let mut preparation = Preparation::default();
    let wanted = loop {
        match inner.next().await {
            None | Some(ChannelMsg::Close) => break None,
            // Nothing runs that could read them.
            Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => inner.flow.passed(data.len()),
            Some(message) => {
                if let Some(wanted) = preparation.take(message) {
                    break Some(wanted);
                }
            }
        }
    };
    if let Some(wanted) = wanted {
        let run = Run { connection, id, preparation };
        run.decide_and_relay(wanted, inner, outer).await;
    } else {
        let _ = outer.write.close().await;
        outer.flow.close();
    }
}

/// One request and what it needs.
pub(super) struct Run {
    pub(super) connection: Arc<Connection>,
    pub(super) id: u32,
    pub(super) preparation: Preparation,
}

impl Run {
    async fn decide_and_relay(self, wanted: Wanted, inner: Inner, outer: Outer) {
        let judge = &self.connection.judge;
        let pty = self.preparation.terminal.is_some();
        let speaker = Speaker::new(Arc::clone(&inner.write), pty);
        let asked = self.asked(&wanted).await;
        let decided = match &asked {
            Ok(asked) => {
                tokio::select! {
                    decided = judge.decide(asked, Some(&speaker)) => decided.map_err(|refused| refused.0),
                    // Who waits for a person and leaves, or loses the server, waits no more.
                    () = inner.flow.closed() => Err(String::new()),
                    reason = self.connection.ended() => Err(judge.refusal(&reason).0),
                }
            }
            Err(reason) => {
                judge.note_refusal(Some(self.id), &self.text(&wanted), reason);
                Err(judge.refusal(reason).0)
            }
        };
        let (asked, granted) = match (asked, decided) {
            (Ok(asked), Ok(granted)) => (asked, granted),
            (_, decided) => {
                speaker.refuse(&decided.err().unwrap_or_default()).await;
                let _ = outer.write.close().await;
                return outer.flow.close();
            }
        };
        let ended = if self.is_of_lines(&wanted) {
            // Each line gets a channel of its own.
            let _ = outer.write.close().await;
            outer.flow.close();
            line_shell::serve(&self, (&asked, &granted), inner).await
        } else {
            match self.start(&wanted, &outer, self.preparation.terminal.as_ref()).await {
                Ok(()) => self.relay((&asked, &granted), &wanted, inner, outer).await,
                Err(_) => Ended::default(),
            }
        };
        self.record(&granted, ended);
    }

    /// Whether it is the shell that we offer in the place of the server's.
    fn is_of_lines(&self, wanted: &Wanted) -> bool {
        *wanted == Wanted::Shell && self.connection.options.shell == Shell::Lines
    }

    fn text(&self, wanted: &Wanted) -> String {
        match wanted {
            Wanted::Shell if self.is_of_lines(wanted) => "shell of lines".to_owned(),
            Wanted::Exec(command) => String::from_utf8_lossy(command).into_owned(),
            Wanted::Shell => "shell".to_owned(),
            Wanted::Sftp => SFTP.to_owned(),
        }
    }

    /// What policy is asked.
    async fn asked(&self, wanted: &Wanted) -> Result<Asked, &'static str> {
        let pty = self.preparation.terminal.is_some();
        let account = self.connection.judge.account().ok_or("no login came first")?;
        let (phase, questions) = match wanted {
            Wanted::Exec(command) if command.len() > SHORT => {
                let command = command.clone();
                // Others have the thread meanwhile.
                let read = tokio::task::spawn_blocking(move || ask::exec(&account, &command, pty)).await;
                (SshPhase::Exec, read.map_err(|_| "it cannot be read")?)
            }
            Wanted::Exec(command) => (SshPhase::Exec, ask::exec(&account, command, pty)),
            // Each line is a question of its own.
            Wanted::Shell if self.is_of_lines(wanted) => (SshPhase::Shell, vec![vocabulary::login(account)]),
            Wanted::Shell => (SshPhase::Shell, ask::shell(&account, pty)),
            // Each operation is a question of its own.
            Wanted::Sftp => (SshPhase::Subsystem, vec![vocabulary::login(account)]),
        };
        Ok(Asked { phase, channel: Some(self.id), text: self.text(wanted), pty, questions })
    }

    /// Has the server start it.
    pub(super) async fn start(
        &self,
        wanted: &Wanted,
        outer: &Outer,
        terminal: Option<&Terminal>,
    ) -> Result<(), russh::Error> {
        for (name, value) in &self.preparation.variables {
            outer.write.set_env(false, name.as_str(), value.as_str()).await?;
        }
        if let Some(terminal) = terminal {
            let Size { columns, rows, width, height } = terminal.size;
            outer.write.request_pty(false, &terminal.name, columns, rows, width, height, &terminal.modes).await?;
        }
        match wanted {
            Wanted::Exec(command) => outer.write.exec(true, command.as_slice()).await,
            Wanted::Shell => outer.write.request_shell(true).await,
            Wanted::Sftp => outer.write.request_subsystem(true, SFTP).await,
        }
    }

    /// Whether files go over it.
    fn files(&self, wanted: &Wanted, to_client: &Arc<ChannelWriteHalf<Msg>>) -> Option<Files<'_>> {
        let protocol = match wanted {
            Wanted::Sftp => Protocol::Sftp(Box::new(Mutex::new(Sftp::new()))),
            Wanted::Exec(command) if self.preparation.terminal.is_none() => {
                Protocol::Scp(Box::new(Turn::new(ask::scp_of(command)?)))
            }
            Wanted::Exec(_) | Wanted::Shell => return None,
        };
        let judge = &self.connection.judge;
        let masking = judge.masking();
        let exported = judge.allowed(&masking, Use::Export);
        let output = Output::new(masking, exported, exported, false).of_transfer();
        Some(Files {
            connection: &self.connection,
            channel: self.id,
            protocol,
            to_client: Turn::new(Arc::clone(to_client)),
            output: Mutex::new(output),
        })
    }

    async fn relay(&self, (asked, granted): (&Asked, &Granted), wanted: &Wanted, inner: Inner, outer: Outer) -> Ended {
        let judge = &self.connection.judge;
        let has_terminal = asked.pty;
        let recorder = has_terminal.then(|| Recorder::new(Arc::clone(judge.guard()), granted.request));
        let masking = judge.masking();
        let files = self.files(wanted, &inner.write);
        let (shown, exported) = (judge.allowed(&masking, Use::Unmask), judge.allowed(&masking, Use::Export));
        let output = Output::new(masking, shown, exported, has_terminal);
        let is_transfer = matches!(wanted, Wanted::Exec(command) if ask::is_transfer(command));
        let output = if is_transfer && !has_terminal { output.of_transfer() } else { output };
        let relay = Relay {
            connection: &self.connection,
            speaker: Speaker::new(Arc::clone(&inner.write), has_terminal),
            recorder: recorder.map(|recorder| Arc::new(Mutex::new(recorder))),
            whole: true,
            takes_input: true,
            size: Mutex::new(Size::new(0, 0, 0, 0)),
            output: Mutex::new(output),
            files,
        };
        if let Some(terminal) = &self.preparation.terminal {
            relay.resized(terminal.size);
        }
        relay.run(&asked.questions, inner, outer).await
    }

    pub(super) fn record(&self, granted: &Granted, ended: Ended) {
        let counts = self.connection.judge.guard().counts();
        counts.bytes_sent.fetch_add(ended.sent, std::sync::atomic::Ordering::Relaxed);
        counts.bytes_received.fetch_add(ended.received, std::sync::atomic::Ordering::Relaxed);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.connection.judge.record_outcome(SshOutcome {
            request: granted.request,
            status: status(ended.exit_status, ended.signal.as_deref()),
            exit_status: ended.exit_status,
            signal: ended.signal,
            bytes_sent: ended.sent,
            bytes_received: ended.received,
            duration_us: micros(granted.since.elapsed()),
            held_us: micros(granted.held),
            masked: ended.masked,
        });
    }
}
