//! The console as the warden sees it: a process that is started, fed with a listening socket, and answered.
//!
//! In: questions of an unprivileged process, each for a login whose token the engine verified. Out: what that person's groups
//! let them know or do, and connections to the issuer. When it dies, or its configuration changes, a new one is started, and
//! everybody logs in again.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::process::Child;

use super::console_logins::Logins;
use super::console_record::{recording, session, sessions};
use super::{Warden, materials};
use crate::audit::Reader;
use crate::bridge::{self, Bridge, Decide, LogIn, LoggedIn, LoginFault, Person, Question, Revoke};
use crate::chain::chain;
use crate::config::Console;
use crate::console::{Settings, ToConsole, ToWarden, Wanted};
use crate::trust::ca::Authority;

/// How long a new console may take.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// Pauses between tries double between these.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

impl Warden {
    /// Serves the console of the configuration, for as long as the gateway runs.
    pub async fn serve_console(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        loop {
            let Some(console) = self.config.lock().console.clone() else {
                self.console_changed.notified().await;
                continue;
            };
            match self.start_console(&console).await {
                Ok((child, bridge)) => {
                    pause = PAUSES.0;
                    self.listen_to_console(child, bridge).await;
                    tracing::warn!("the console ended: another one is started where one is configured");
                }
                Err(reason) => tracing::error!(reason, "there is no console"),
            }
            let _ = tokio::time::timeout(pause, self.console_changed.notified()).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn start_console(&self, console: &Console) -> Result<(Child, Arc<Bridge>), String> {
        let text = |error: std::io::Error| error.to_string();
        let listener = TcpListener::bind(console.listen)
            .map_err(|error| format!("cannot listen on {}: {error}", console.listen))?;
        let settings = serde_json::to_vec(&self.console_settings(console)?).map_err(|error| error.to_string())?;
        let settings = bridge::sealed_file(&zeroize::Zeroizing::new(settings)).map_err(text)?;
        let (ours, theirs) = bridge::pair().map_err(text)?;
        let child = super::start_part("console", theirs).map_err(text)?;
        let bridge = Arc::new(Bridge::new(ours).map_err(text)?);
        bridge.send(&ToConsole::Start, &[settings.as_fd(), listener.as_fd()]).await.map_err(text)?;
        match tokio::time::timeout(READY_TIMEOUT, bridge.receive::<ToWarden>()).await {
            Ok(Ok(Some((ToWarden::Ready, _)))) => Ok((child, bridge)),
            Ok(Ok(Some((ToWarden::CannotStart(why), _)))) => Err(why),
            _ => Err("it ended before it was ready".to_owned()),
        }
    }

    fn console_settings(&self, console: &Console) -> Result<Settings, String> {
        let config = self.config_file.as_ref().map(std::fs::read_to_string).transpose();
        let ca = self.config.lock().oidc.as_ref().and_then(|oidc| oidc.ca.clone());
        let authority = Authority::open(&self.config.lock().state_dir).map_err(|error| chain(&error))?;
        let host = &console.public.host;
        let (names, addresses) = match host.parse() {
            Ok(address) => (Vec::new(), vec![address]),
            Err(_) => (vec![host.clone()], Vec::new()),
        };
        Ok(Settings {
            config: config.map_err(|error| error.to_string())?.unwrap_or_default(),
            client_secret: materials::secret(&console.client_secret)?,
            ca: materials::authorities(ca.as_deref())?,
            slack_ca: console
                .slack
                .as_ref()
                .map(|slack| materials::authorities(slack.ca.as_deref()))
                .transpose()?
                .flatten(),
            leaf: authority.leaf(&names, &addresses).map_err(|error| chain(&error))?,
        })
    }

    /// Takes what it says until it says no more.
    async fn listen_to_console(self: &Arc<Self>, mut child: Child, bridge: Arc<Bridge>) {
        let logins = Arc::new(Mutex::new(Logins::default()));
        loop {
            let said = tokio::select! {
                _ = child.wait() => return,
                () = self.console_changed.notified() => {
                    // Its socket goes with it: the next one may listen there.
                    if let Err(error) = child.kill().await {
                        tracing::error!(%error, "the console cannot be ended");
                    }
                    return;
                }
                said = bridge.receive::<ToWarden>() => said,
            };
            let Ok(Some((message, _))) = said else { return };
            let (warden, bridge, logins) = (Arc::clone(self), Arc::clone(&bridge), Arc::clone(&logins));
            match message {
                ToWarden::Ready | ToWarden::CannotStart(_) => {}
                ToWarden::DialIssuer { request, server } => {
                    tokio::spawn(warden.dial_for(bridge, request, move |warden| warden.dial_issuer(server)));
                }
                ToWarden::DialSlack { request } => {
                    tokio::spawn(warden.dial_for(bridge, request, Self::dial_slack));
                }
                ToWarden::Slack { request, said } => {
                    tokio::spawn(async move {
                        answer(bridge, request, warden.asked(Question::Slack(said)).await).await;
                    });
                }
                ToWarden::Begin { request, begun } => {
                    let nonce = logins.lock().begin(begun).map(Value::from);
                    tokio::spawn(answer(bridge, request, nonce));
                }
                ToWarden::BeginDevice { request } => {
                    tokio::spawn(async move {
                        answer(bridge, request, warden.asked(Question::BeginDevice).await).await;
                    });
                }
                ToWarden::PollDevice { request, login } => {
                    tokio::spawn(async move { answer(bridge, request, warden.poll(&logins, login).await).await });
                }
                ToWarden::LogIn { request, said } => {
                    tokio::spawn(async move { answer(bridge, request, warden.log_in(&logins, said).await).await });
                }
                ToWarden::LoginFailed { request, fault } => {
                    tokio::spawn(async move {
                        let counted = warden.asked(Question::LoginFailed(fault)).await;
                        answer(bridge, request, counted).await;
                    });
                }
                ToWarden::LogOut(login) => logins.lock().leave(login),
                ToWarden::Ask { request, login, wanted } => {
                    let found = logins.lock().find(login);
                    tokio::spawn(async move {
                        let result = match found {
                            Some((person, is_fresh)) => warden.answer_person(person, is_fresh, wanted).await,
                            None => Err("your login is over: log in again".to_owned()),
                        };
                        answer(bridge, request, result).await;
                    });
                }
            }
        }
    }

    async fn dial_for(
        self: Arc<Self>,
        bridge: Arc<Bridge>,
        request: u64,
        dial: impl FnOnce(&Self) -> Result<TcpStream, String> + Send + 'static,
    ) {
        let dialled = tokio::task::spawn_blocking(move || dial(&self)).await;
        let stream = dialled.unwrap_or_else(|error| Err(error.to_string()));
        let (descriptors, error) = match &stream {
            Ok(stream) => (vec![stream.as_fd()], None),
            Err(error) => (Vec::new(), Some(error.clone())),
        };
        let _ = bridge.send(&ToConsole::Socket { request, error }, &descriptors).await;
    }

    async fn log_in(&self, logins: &Mutex<Logins>, said: LogIn) -> Result<Value, String> {
        // Apart: the lock is not for the time of an answer.
        let begun = logins.lock().take(&said.nonce);
        let Some(begun) = begun else {
            self.asked(Question::LoginFailed(LoginFault::NotBegunHere)).await?;
            return Err("this login was not begun here, or long ago".to_owned());
        };
        let answer = self.asked(Question::LogIn { said, begun }).await?;
        let known: LoggedIn = serde_json::from_value(answer).map_err(|_| "the engine was not understood".to_owned())?;
        logins.lock().enter(known).map(|login| json!(login))
    }

    /// A login by device code: no token passes here, nor where it was begun.
    async fn poll(&self, logins: &Mutex<Logins>, login: String) -> Result<Value, String> {
        let answer = self.asked(Question::PollDevice(login)).await?;
        if answer.get("waiting").is_some() {
            return Ok(answer);
        }
        let known: LoggedIn = serde_json::from_value(answer).map_err(|_| "the engine was not understood".to_owned())?;
        logins.lock().enter(known).map(|login| json!(login))
    }

    /// The engine's answer; what it calls an error is one.
    pub(super) async fn asked(&self, question: Question) -> Result<Value, String> {
        let answer = self.engine.ask(question).await?;
        match answer.get("error").and_then(Value::as_str) {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(answer),
        }
    }

    /// What a person gets, who is one of the issuer: no user of this host.
    async fn answer_person(self: &Arc<Self>, person: Person, is_fresh: bool, wanted: Wanted) -> Result<Value, String> {
        let (views, administers) = self.roles(&person);
        let looks =
            || if views { Ok(()) } else { Err("you are in no group that `[console] viewers` names".to_owned()) };
        match wanted {
            Wanted::Decide { .. } | Wanted::Revoke(_) if !is_fresh => {
                Err("your login is too old for a decision: log in again".to_owned())
            }
            Wanted::Approvals => self.of_person(&person, administers).await,
            Wanted::Approval(ticket) => {
                let all = self.of_person(&person, administers).await?;
                self.whole(&all, ticket).await.map_err(|error| error.to_string())
            }
            Wanted::Decide { ticket, approve, reason } => {
                self.asked(Question::Decide(Decide { ticket, approve, person, reason })).await
            }
            Wanted::Windows if views || self.approves_windows(&person) => self.asked(Question::Windows).await,
            Wanted::Windows => Err("you are in no group that approves windows".to_owned()),
            Wanted::Revoke(window) => self.asked(Question::Revoke(Revoke { window, person, reason: None })).await,
            Wanted::Sessions(search) => looks().map(|()| self.read(move |reader| sessions(reader, &search)))?.await,
            Wanted::Session(id) => looks().map(|()| self.read(move |reader| session(reader, &id)))?.await,
            Wanted::Recording { session, request } => {
                looks().map(|()| self.read(move |reader| recording(reader, &session, request)))?.await
            }
            Wanted::Policies => looks().map(|()| self.asked(Question::Policies))?.await,
            Wanted::Health => {
                looks()?;
                Ok(json!(self.whole_status().await))
            }
        }
    }

    /// Whether a person may look at sessions, policies and health, and whether they may see all that waits.
    fn roles(&self, person: &Person) -> (bool, bool) {
        let config = self.config.lock();
        let Some(console) = &config.console else { return (false, false) };
        let is_of = |groups: &[String]| groups.iter().any(|group| person.groups.contains(group));
        (is_of(&console.viewers) || is_of(&console.admins), is_of(&console.admins))
    }

    fn approves_windows(&self, person: &Person) -> bool {
        let rules = &self.config.lock().approval.windows;
        let groups = rules.iter().flat_map(|rule| std::iter::once(&rule.group).chain(&rule.break_glass));
        groups.into_iter().any(|group| person.groups.contains(group))
    }

    async fn of_person(&self, person: &Person, administers: bool) -> Result<Value, String> {
        let of_groups = (!administers).then(|| person.groups.clone());
        self.engine.ask(Question::Approvals { of_groups }).await
    }

    async fn read(
        &self,
        what: impl FnOnce(&Reader) -> Result<Value, String> + Send + 'static,
    ) -> Result<Value, String> {
        let reader = Reader::new(self.engine.layout().clone());
        let read = tokio::task::spawn_blocking(move || what(&reader)).await;
        read.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn answer(bridge: Arc<Bridge>, request: u64, result: Result<Value, String>) {
    // A console that is gone asks no more.
    let _ = bridge.send(&ToConsole::Answer { request, result }, &[]).await;
}
