//! The shell that we offer in the place of the server's: each line is a command, judged like one that came alone.
//!
//! In: a channel on which a client asked for a shell. Out: lines, each decided and in the journal before it runs, on a
//! channel of the server that is its own. A directory and exported variables are carried along; what else a shell would
//! keep is not there, and `help` says so. Nothing that was typed reaches the server before its line was decided.

mod carried;
mod editor;
#[cfg(any(fuzzing, test))]
pub(super) mod fuzzing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use russh::ChannelMsg;

use super::ask;
use super::channel::{Inner, Outer, Run};
use super::judge::{Asked, Granted};
use super::output::Output;
use super::recording::{Lost, Recorder};
use super::relay::{Ended, Relay, Stop};
use super::request::{Size, Wanted};
use super::words::{NOT_RUN, Speaker, visible};
use crate::audit::event::{FrameStream, SshPhase};
use crate::policy::vocabulary::data::Use;
use carried::{Carried, Line};
use editor::{Editor, Typed};

/// The longest line without a terminal; longer ones are read by nobody.
const LONGEST: usize = 64 * 1024;
/// Lines of one shell: the library keeps some memory of each channel.
const MOST: u32 = 4_096;
/// What is read of where a `cd` led, and for how long.
const SAID: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(20);
/// What a shell returns for a command that a signal ended (POSIX: more than 128).
const SIGNALLED: u32 = 130;
const INTERRUPT: u8 = 0x03;

const HELP: &str = "Each line is one command, judged by policy, in a shell of its own. Kept from line to line: the directory \
                    (cd DIR) and exported variables (export NAME=VALUE, unset NAME). Not kept: other variables, functions, \
                    aliases, jobs, options and $?. Also here: history, exit [STATUS], help. ^C ends what runs, ^D the shell.";

/// Serves one to its end.
pub(super) async fn serve(run: &Run, (asked, granted): (&Asked, &Granted), mut inner: Inner) -> Ended {
    let judge = &run.connection.judge;
    let has_terminal = asked.pty;
    let recorder =
        has_terminal.then(|| Arc::new(Mutex::new(Recorder::new(Arc::clone(judge.guard()), granted.request))));
    let size = run.preparation.terminal.as_ref().map_or(Size::new(80, 24, 0, 0), |terminal| terminal.size);
    let speaker = Speaker::new(Arc::clone(&inner.write), has_terminal).of_shell();
    let mut shell = Shell {
        run,
        speaker,
        recorder,
        size,
        carried: Carried::default(),
        editor: has_terminal.then(|| Editor::new(size.columns)),
        waiting: VecDeque::new(),
        is_over: false,
        status: 0,
    };
    shell.resized(size);
    let stop = tokio::select! {
        stop = shell.lines(&mut inner) => stop,
        reason = judge.withdrawn(&asked.questions) => Stop::Because(reason),
    };
    if let Stop::Because(reason) = stop {
        shell.speaker.say(&judge.refusal(&format!("ended: {reason}")).0).await;
    }
    if let Some(recorder) = &shell.recorder {
        let _ = recorder.lock().flush();
    }
    let _ = inner.write.exit_status(shell.status).await;
    let _ = inner.write.eof().await;
    let _ = inner.write.close().await;
    inner.flow.close();
    Ended { exit_status: Some(shell.status), ..Ended::default() }
}

struct Shell<'a> {
    run: &'a Run,
    speaker: Speaker,
    recorder: Option<Arc<Mutex<Recorder>>>,
    size: Size,
    carried: Carried,
    /// With a terminal.
    editor: Option<Editor>,
    /// Bytes that came and were not looked at, and whether no more come.
    waiting: VecDeque<u8>,
    is_over: bool,
    /// Of the last command.
    status: u32,
}

/// A line that may run.
struct Allowed {
    asked: Asked,
    granted: Granted,
    outer: Outer,
}

impl Shell<'_> {
    async fn lines(&mut self, inner: &mut Inner) -> Stop {
        let connection = &self.run.connection;
        for _ in 0..MOST {
            let line = tokio::select! {
                line = self.next_line(inner) => line,
                reason = connection.ended() => return Stop::Because(reason),
            };
            let done = match line {
                Ok(Some(line)) => self.line(&line, inner).await,
                Ok(None) => Err(Stop::Gone),
                Err(stop) => Err(stop),
            };
            if let Err(stop) = done {
                return stop;
            }
        }
        Stop::Because(format!("one shell runs {MOST} lines"))
    }

    async fn line(&mut self, line: &str, inner: &mut Inner) -> Result<(), Stop> {
        match carried::read(line) {
            Line::Blank => {}
            Line::Exit(status) => {
                self.status = status.unwrap_or(self.status);
                return Err(Stop::Gone);
            }
            Line::Help => self.show(HELP, inner).await?,
            Line::History => {
                let lines: Vec<String> = self.editor.iter().flat_map(Editor::remembered).map(visible).collect();
                for line in lines {
                    self.show(&line, inner).await?;
                }
            }
            Line::Unclear(why) => {
                self.status = NOT_RUN;
                self.speaker.say(&format!("gateway: {why}")).await;
            }
            Line::Unset(names) => self.carried.unset(&names),
            Line::Directory => {
                if let Some(said) = self.asks(&self.carried.compose_directory(line), inner).await?
                    && let Err(why) = self.carried.moved(&said)
                {
                    self.speaker.say(&format!("gateway: {why}")).await;
                }
            }
            Line::Export(variables) => {
                if self.asks(&self.carried.compose(line), inner).await?.is_some()
                    && let Err(why) = self.carried.export(variables)
                {
                    self.speaker.say(&format!("gateway: {why}")).await;
                }
            }
            Line::Run => self.runs(&self.carried.compose(line), inner).await?,
        }
        Ok(())
    }

    /// Runs a line with the client's terminal.
    async fn runs(&mut self, line: &str, inner: &mut Inner) -> Result<(), Stop> {
        let pty = self.editor.is_some();
        let Some(Allowed { asked, granted, outer }) = self.allowed(line, pty, inner).await? else { return Ok(()) };
        let terminal = self.run.preparation.terminal.clone();
        let terminal = terminal.map(|terminal| super::request::Terminal { size: self.size, ..terminal });
        let wanted = Wanted::Exec(line.as_bytes().to_vec());
        let ended = match self.run.start(&wanted, &outer, terminal.as_ref()).await {
            Ok(()) => {
                if !pty {
                    // What follows on the client's input are lines.
                    let _ = outer.write.eof().await;
                }
                let relay = self.relay(pty);
                // Why it was stopped, if it was, the client was told.
                let (ended, _) = relay.part(&asked.questions, inner, outer).await;
                self.size = relay.size();
                ended
            }
            Err(_) => Ended::default(),
        };
        if let Some(editor) = &mut self.editor {
            editor.resized(self.size.columns);
        }
        self.status = ended.exit_status.unwrap_or(SIGNALLED);
        self.run.record(&granted, ended);
        Ok(())
    }

    fn relay(&self, pty: bool) -> Relay<'_> {
        let judge = &self.run.connection.judge;
        let masking = judge.masking();
        let (shown, exported) = (judge.allowed(&masking, Use::Unmask), judge.allowed(&masking, Use::Export));
        Relay {
            connection: &self.run.connection,
            speaker: self.speaker.clone(),
            recorder: self.recorder.clone(),
            whole: false,
            takes_input: pty,
            size: Mutex::new(self.size),
            output: Mutex::new(Output::new(masking, shown, exported, pty)),
            files: None,
        }
    }

    /// Runs a line for what it says, without a terminal; `None` where it did not end well.
    async fn asks(&mut self, line: &str, inner: &mut Inner) -> Result<Option<Vec<u8>>, Stop> {
        let Some(Allowed { granted, mut outer, .. }) = self.allowed(line, false, inner).await? else { return Ok(None) };
        let (mut ended, mut out, mut err) = (Ended::default(), Vec::new(), Vec::new());
        let listening = async {
            self.run.start(&Wanted::Exec(line.as_bytes().to_vec()), &outer, None).await?;
            outer.write.eof().await?;
            loop {
                match outer.read.wait().await {
                    None | Some(ChannelMsg::Close) => return Ok::<_, russh::Error>(()),
                    Some(ChannelMsg::Data { data }) => {
                        keep(&mut out, &data);
                        outer.flow.passed(data.len());
                    }
                    Some(ChannelMsg::ExtendedData { data, .. }) => {
                        keep(&mut err, &data);
                        outer.flow.passed(data.len());
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => ended.exit_status = Some(exit_status),
                    Some(_) => {}
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(PATIENCE, listening) => {}
            () = inner.flow.closed() => {}
        }
        let _ = outer.write.close().await;
        outer.flow.close();
        ended.received = (out.len() + err.len()) as u64;
        self.status = ended.exit_status.unwrap_or(SIGNALLED);
        self.run.record(&granted, ended);
        for line in String::from_utf8_lossy(&err).lines() {
            self.speaker.say(self.run.connection.judge.kept(line).as_str()).await;
        }
        Ok((self.status == 0).then_some(out))
    }

    /// Asks policy, and people; `^C` gives it up.
    async fn allowed(&mut self, line: &str, pty: bool, inner: &mut Inner) -> Result<Option<Allowed>, Stop> {
        let connection = &self.run.connection;
        let judge = &connection.judge;
        let account = judge.account().ok_or(Stop::Gone)?;
        let questions = ask::exec(&account, line.as_bytes(), pty);
        let (phase, channel) = (SshPhase::Exec, Some(self.run.id));
        let asked = Asked { phase, channel, text: line.to_owned(), pty, questions };
        let flow = Arc::clone(&inner.flow);
        let decided = tokio::select! {
            decided = judge.decide(&asked, Some(&self.speaker)) => decided,
            () = interrupted(inner), if pty => return Ok(None),
            () = flow.closed() => return Err(Stop::Gone),
            reason = connection.ended() => return Err(Stop::Because(reason)),
        };
        let opened = match decided {
            Err(refused) => Err(refused.0),
            Ok(granted) => match connection.server().await {
                Some(server) => match server.open().await {
                    Ok((channel, flow)) => Ok((granted, channel, flow)),
                    Err(_) => {
                        self.run.record(&granted, Ended::default());
                        Err("gateway: the server opens no more channels".to_owned())
                    }
                },
                None => return Err(Stop::Gone),
            },
        };
        match opened {
            Ok((granted, channel, flow)) => {
                let (read, write) = channel.split();
                Ok(Some(Allowed { asked, granted, outer: Outer { read, write, flow } }))
            }
            Err(words) => {
                self.status = NOT_RUN;
                self.speaker.say(&words).await;
                Ok(None)
            }
        }
    }

    /// The next line that the client sends; none: there is no more.
    async fn next_line(&mut self, inner: &mut Inner) -> Result<Option<String>, Stop> {
        let mut out = Vec::new();
        let prompt = self.prompt();
        if let Some(editor) = &mut self.editor {
            editor.begin(prompt, &mut out);
        }
        let mut plain = Vec::new();
        loop {
            while let Some(byte) = self.waiting.pop_front() {
                let typed = match &mut self.editor {
                    Some(editor) => editor.push(byte, &mut out),
                    None => plain_line(&mut plain, byte),
                };
                match typed {
                    None => {}
                    Some(Typed::Line(line)) => {
                        self.entered(&line)?;
                        inner.write.data_bytes(Bytes::from(out)).await?;
                        return Ok(Some(line));
                    }
                    Some(Typed::Interrupt) => {
                        let prompt = self.prompt();
                        self.status = SIGNALLED;
                        if let Some(editor) = &mut self.editor {
                            editor.begin(prompt, &mut out);
                        }
                    }
                    Some(Typed::End) => {
                        inner.write.data_bytes(Bytes::from(out)).await?;
                        return Ok(None);
                    }
                }
            }
            if !out.is_empty() {
                inner.write.data_bytes(Bytes::from(std::mem::take(&mut out))).await?;
            }
            if self.is_over || !self.hears(inner).await {
                self.is_over = true;
                // The last line needs no end.
                return Ok((!plain.is_empty()).then(|| text(plain)));
            }
        }
    }

    /// Takes one message; false where no more input comes.
    async fn hears(&mut self, inner: &mut Inner) -> bool {
        match inner.next().await {
            None | Some(ChannelMsg::Close | ChannelMsg::Eof) => return false,
            Some(ChannelMsg::Data { data }) => {
                self.waiting.extend(&data);
                inner.flow.passed(data.len());
                if let Some(recorder) = &self.recorder {
                    // What cannot be written is noticed with the next output.
                    let _ = recorder.lock().typed(data.len());
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => inner.flow.passed(data.len()),
            Some(ChannelMsg::WindowChange { col_width, row_height, pix_width, pix_height }) => {
                self.resized(Size::new(col_width, row_height, pix_width, pix_height));
            }
            Some(_) => {}
        }
        true
    }

    fn resized(&mut self, size: Size) {
        self.size = size;
        if let Some(editor) = &mut self.editor {
            editor.resized(size.columns);
        }
        if let Some(recorder) = &self.recorder {
            let _ = recorder.lock().resized(size.columns, size.rows);
        }
    }

    fn prompt(&self) -> String {
        let place = self.run.connection.judge.place();
        format!("{}:{}$ ", visible(&place), visible(self.carried.directory()))
    }

    /// The line as a recording shows it: what was typed, masked.
    fn entered(&self, line: &str) -> Result<(), Lost> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        let kept = self.run.connection.judge.kept(line);
        let shown = format!("{}{}\r\n", self.prompt(), kept.as_str());
        let mut recorder = recorder.lock();
        recorder.shown(FrameStream::Out, shown.as_bytes())?;
        recorder.flush()
    }

    /// Something of ours on standard output.
    async fn show(&self, line: &str, inner: &Inner) -> Result<(), Stop> {
        let end = if self.editor.is_some() { "\r\n" } else { "\n" };
        Ok(inner.write.data_bytes(Bytes::from(format!("{line}{end}"))).await?)
    }
}

/// Without a terminal, lines are what newlines end.
fn plain_line(line: &mut Vec<u8>, byte: u8) -> Option<Typed> {
    if byte == b'\n' {
        return Some(Typed::Line(text(std::mem::take(line))));
    }
    // One byte more than is read makes it unreadable.
    if line.len() <= LONGEST {
        line.push(byte);
    }
    None
}

fn text(line: Vec<u8>) -> String {
    String::from_utf8(line).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn keep(kept: &mut Vec<u8>, data: &[u8]) {
    let room = SAID.saturating_sub(kept.len()).min(data.len());
    kept.extend_from_slice(data.get(..room).unwrap_or_default());
}

/// Resolves when `^C` was typed; what else was, meanwhile, is lost.
async fn interrupted(inner: &mut Inner) {
    loop {
        match inner.next().await {
            None | Some(ChannelMsg::Close) => return std::future::pending().await,
            Some(ChannelMsg::Data { data }) => {
                inner.flow.passed(data.len());
                if data.contains(&INTERRUPT) {
                    return;
                }
            }
            Some(_) => {}
        }
    }
}
