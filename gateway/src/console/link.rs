//! The way to the warden: questions with a number, and their answers.

use std::collections::HashMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::oneshot;

use super::words::{Login, ToWarden, Wanted};
use crate::bridge::{Begun, Bridge, LogIn, LoginFault, SlackSaid};

/// How long the warden may take: it reads journals.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Questions that wait at once.
const MAX_WAITING: usize = 512;

enum Waiting {
    Answer(oneshot::Sender<Result<Value, String>>),
    Socket(oneshot::Sender<Result<TcpStream, String>>),
}

/// The way.
pub(super) struct Link {
    bridge: Arc<Bridge>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
}

impl Link {
    pub(super) fn new(bridge: Arc<Bridge>) -> Self {
        Self { bridge, waiting: Mutex::default(), next: AtomicU64::new(1) }
    }

    pub(super) fn answer(&self, request: u64, result: Result<Value, String>) {
        if let Some(Waiting::Answer(waiting)) = self.waiting.lock().remove(&request) {
            let _ = waiting.send(result);
        }
    }

    pub(super) fn socket(&self, request: u64, socket: Option<OwnedFd>, error: Option<String>) {
        if let Some(Waiting::Socket(waiting)) = self.waiting.lock().remove(&request) {
            let socket = socket.ok_or_else(|| error.unwrap_or_else(|| "no connection came".to_owned()));
            let _ = waiting.send(socket.map(TcpStream::from));
        }
    }

    /// Asks for a person.
    pub(super) async fn ask(&self, login: u64, wanted: Wanted) -> Result<Value, String> {
        self.question(|request| ToWarden::Ask { request, login, wanted }).await
    }

    /// What the token of a new login has to say.
    pub(super) async fn begin(&self, begun: Begun) -> Result<String, String> {
        let nonce = self.question(|request| ToWarden::Begin { request, begun }).await?;
        nonce.as_str().map(str::to_owned).ok_or_else(|| "the gateway's answer was not understood".to_owned())
    }

    /// Whom a token names.
    pub(super) async fn log_in(&self, said: LogIn) -> Result<Login, String> {
        let login = self.question(|request| ToWarden::LogIn { request, said }).await?;
        serde_json::from_value(login).map_err(|_| "the gateway's answer was not understood".to_owned())
    }

    /// A device code for somebody.
    pub(super) async fn begin_device(&self) -> Result<Value, String> {
        self.question(|request| ToWarden::BeginDevice { request }).await
    }

    /// The login of who typed the code; where nobody did yet, when to ask again.
    pub(super) async fn poll_device(&self, login: String) -> Result<Result<Login, u64>, String> {
        let answer = self.question(|request| ToWarden::PollDevice { request, login }).await?;
        if let Some(seconds) = answer.get("waiting").and_then(Value::as_u64) {
            return Ok(Err(seconds));
        }
        let login = serde_json::from_value(answer).map_err(|_| "the gateway's answer was not understood")?;
        Ok(Ok(login))
    }

    /// Has a login counted that let nobody in, before the person reads so: who fails often waits for it each time.
    pub(super) async fn login_failed(&self, fault: LoginFault) {
        // A way that is gone counts no more, and lets nobody in.
        let _ = self.question(|request| ToWarden::LoginFailed { request, fault }).await;
    }

    /// What somebody who says to be Slack is answered.
    pub(super) async fn slack(&self, said: SlackSaid) -> Result<Value, String> {
        self.question(|request| ToWarden::Slack { request, said }).await
    }

    /// Ends a login.
    pub(super) async fn log_out(&self, login: u64) {
        // A way that is gone ends all of them.
        let _ = self.bridge.send(&ToWarden::LogOut(login), &[]).await;
    }

    async fn question(&self, of: impl FnOnce(u64) -> ToWarden) -> Result<Value, String> {
        let (send, receive) = oneshot::channel();
        let request = self.note(Waiting::Answer(send))?;
        let sent = self.bridge.send(&of(request), &[]).await;
        self.finish(request, sent, receive).await
    }

    /// A connection to a server of the issuer.
    pub(super) async fn dial(&self, server: u16) -> Result<TcpStream, String> {
        self.socket_for(|request| ToWarden::DialIssuer { request, server }).await
    }

    /// A connection to Slack's server.
    pub(super) async fn dial_slack(&self) -> Result<TcpStream, String> {
        self.socket_for(|request| ToWarden::DialSlack { request }).await
    }

    async fn socket_for(&self, of: impl FnOnce(u64) -> ToWarden) -> Result<TcpStream, String> {
        let (send, receive) = oneshot::channel();
        let request = self.note(Waiting::Socket(send))?;
        let sent = self.bridge.send(&of(request), &[]).await;
        self.finish(request, sent, receive).await
    }

    fn note(&self, waiting: Waiting) -> Result<u64, String> {
        let mut all = self.waiting.lock();
        if all.len() >= MAX_WAITING {
            return Err("too much is asked at once: try again".to_owned());
        }
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        all.insert(request, waiting);
        Ok(request)
    }

    async fn finish<T>(
        &self,
        request: u64,
        sent: std::io::Result<()>,
        receive: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, String> {
        let answer = tokio::time::timeout(TIMEOUT, receive).await;
        self.waiting.lock().remove(&request);
        match (sent, answer) {
            (Ok(()), Ok(Ok(result))) => result,
            _ => Err("the gateway did not answer".to_owned()),
        }
    }
}
