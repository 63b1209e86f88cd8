//! What is known of a connection before its first byte, in the words of policies and of events.

use std::sync::{Arc, OnceLock};

use super::forward::Within;
use super::place::Place;
use crate::approval::Window;
use crate::audit::KeptInput;
use crate::audit::event::{self, Decision, EndCause, Mode, NetworkDecision, SessionStart, Verdict};
use crate::bridge::Connection;
use crate::config::Target;
use crate::engine::{Engine, Settings};
use crate::id::SessionId;
use crate::identity::Workload;
use crate::policy::request::Entity;
use crate::policy::vocabulary::names::{Handling, ProtocolName};
use crate::policy::vocabulary::{self, TargetFacts, network};
use crate::policy::{self, ConnectDecision, Moment, Principal, Question, Request, record};
use crate::protocol::Protocol;

/// What a session goes to.
struct What {
    protocol: Protocol,
    handling: Handling,
    target: Option<Target>,
    within: Option<Within>,
}

/// The connection, who makes it and what it goes to.
pub struct Facts {
    /// The session.
    pub id: SessionId,
    /// What the kernel noted.
    pub connection: Connection,
    /// Who speaks.
    pub workload: Workload,
    /// What is spoken.
    pub protocol: Protocol,
    /// Configuration and policies when it began.
    pub settings: Arc<Settings>,
    /// The declared target, where one names the destination.
    pub target: Option<Target>,
    /// The session that it runs inside of.
    pub within: Option<Within>,
    /// The windows that were open for it when it began, on which it rests.
    pub windows: Vec<Arc<Window>>,
    handling: Handling,
    principal: Principal,
    target_entity: Arc<Entity>,
    /// Why the workload is not who it has to be.
    stranger: Option<String>,
    /// What ended it, where that was neither side of it.
    pub ended_by: Arc<OnceLock<EndCause>>,
}

impl Facts {
    /// `None`: the attachment is not known any more, or nothing is spoken there.
    pub async fn gather(engine: &Engine, id: SessionId, connection: Connection) -> Option<Self> {
        let settings = engine.settings();
        let protocol = Protocol::of(connection.verdict())?;
        let attachment = settings.attachment(&connection.attachment)?;
        let (workload, stranger) = known(engine, Workload::of(&connection, attachment)).await;
        let target = target(engine, &settings, &connection);
        let handling = match protocol {
            Protocol::Postgres => Handling::Inspected,
            // Of a server that nobody declared, nobody could say which certificate to show.
            Protocol::Kubernetes if target.is_some() => Handling::Inspected,
            // A client's key signature is bound to our host key: only with a login of ours is there a way to the server.
            Protocol::Ssh if target.is_some() => Handling::Inspected,
            Protocol::Ssh | Protocol::Kubernetes | Protocol::Tcp => Handling::Unread,
        };
        let what = What { protocol, handling, target, within: None };
        let facts = Self { stranger, ..Self::put_together((id, connection, workload), settings, what) };
        Some(facts.with_windows(engine))
    }

    fn with_windows(self, engine: &Engine) -> Self {
        let windows = engine.windows_of(&self.workload.name, self.target_name());
        Self { windows, ..self }
    }

    /// Why the credential of its target is not supplied now, where that waits for a window.
    #[must_use]
    pub fn shut(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        let wanted = target.credential.as_ref()?.window.as_ref()?;
        let is_open = self.windows.iter().any(|window| window.asked.name == *wanted);
        (!is_open).then(|| {
            let (name, workload) = (&target.name, &self.workload.name);
            format!(
                "the credential of {name} is supplied only while the window {wanted} is open for {workload}: a person \
                 asks for it by `gateway request {wanted} --workload {workload} --target {name} --reason WHY`"
            )
        })
    }

    /// Those of a stream that is forwarded inside a session. `None`: the attachment is not known any more.
    #[must_use]
    pub(super) fn inside(around: &Self, engine: &Engine, place: Place, within: Within) -> Option<Self> {
        let settings = engine.settings();
        let attachment = settings.attachment(&around.connection.attachment)?;
        let workload = Workload::of(&around.connection, attachment);
        let workload = match around.workload.token() {
            Some(token) => workload.with_token(Arc::clone(token)).ok()?,
            None => workload,
        };
        let mut target = place.target;
        if let (Some(target), Some(name)) = (&mut target, place.name) {
            target.tls.name.get_or_insert(name);
        }
        let handling = match place.protocol {
            Protocol::Ssh | Protocol::Kubernetes if target.is_none() => Handling::Unread,
            _ => place.handling,
        };
        let connection = Connection { original: place.address, ..around.connection.clone() };
        let what = What { protocol: place.protocol, handling, target, within: Some(within) };
        let facts = Self::put_together((SessionId::generate(), connection, workload), settings, what);
        Some(facts.with_windows(engine))
    }

    fn put_together(
        (id, connection, workload): (SessionId, Connection, Workload),
        settings: Arc<Settings>,
        what: What,
    ) -> Self {
        let What { protocol, handling, target, within } = what;
        let extra: &[&str] = if settings.is_open() { &[vocabulary::OPEN_GROUP] } else { &[] };
        let principal = workload.principal(extra);
        let target_entity = vocabulary::target(TargetFacts {
            name: target.as_ref().map_or(vocabulary::UNDECLARED, |target| target.name.as_str()),
            protocol: protocol_name(protocol),
            address: connection.original.ip(),
            port: connection.original.port(),
            environment: target.as_ref().and_then(|target| target.environment.as_deref()),
        });
        Self {
            id,
            connection,
            workload,
            protocol,
            settings,
            target,
            within,
            windows: Vec::new(),
            handling,
            principal,
            target_entity,
            stranger: None,
            ended_by: Arc::default(),
        }
    }

    /// Why nobody knows who the workload is, where that has to be known by a token.
    #[must_use]
    pub fn stranger(&self) -> Option<&str> {
        self.stranger.as_deref()
    }

    /// The target's name, or `undeclared`.
    #[must_use]
    pub fn target_name(&self) -> &str {
        self.target.as_ref().map_or(vocabulary::UNDECLARED, |target| target.name.as_str())
    }

    /// Who asks.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The target as policies see it.
    #[must_use]
    pub fn target_entity(&self) -> &Arc<Entity> {
        &self.target_entity
    }

    /// Whether decisions block.
    #[must_use]
    pub fn mode(&self) -> policy::Mode {
        if self.workload.observed() { policy::Mode::Observe } else { policy::Mode::Enforce }
    }

    /// The session as policies see it.
    #[must_use]
    pub fn session(&self, login: &str, application: Option<&str>) -> policy::Session {
        policy::Session {
            id: self.id,
            login: login.into(),
            application: application.map(Into::into),
            grants: Arc::new(self.windows.iter().map(|window| window.asked.name.as_str().into()).collect()),
        }
    }

    /// How the session begins, for the journal.
    #[must_use]
    pub fn start(&self) -> SessionStart {
        SessionStart {
            who: self.workload.who(&self.connection),
            destination: self.destination(),
            parent: self.within.as_ref().map(|within| within.parent),
            mode: if self.workload.observed() { Mode::Observe } else { Mode::Enforce },
        }
    }

    /// May this workload connect there at all?
    pub fn judge_connect(&self) -> ConnectDecision {
        let session = self.session("", None);
        let questions = [self.connect_question()];
        let request =
            Request { principal: &self.principal, session: &session, at: Moment::now(), questions: &questions };
        self.settings.policies().judge_connect(&request, self.mode())
    }

    /// What ends this session now that the settings are new, and why; `None`: it goes on.
    #[must_use]
    pub fn no_longer_admitted(&self, settings: &Settings) -> Option<(EndCause, String)> {
        if settings.attachment(&self.connection.attachment).is_none() {
            return Some((EndCause::Operator, "its attachment was detached".to_owned()));
        }
        let session = self.session("", None);
        let questions = [self.connect_question()];
        let request =
            Request { principal: &self.principal, session: &session, at: Moment::now(), questions: &questions };
        match settings.policies().judge_connect(&request, self.mode()) {
            ConnectDecision::Allow(_) => None,
            ConnectDecision::Deny(denial) => Some((EndCause::Policy, denial.to_string())),
        }
    }

    /// The decision with its whole input, for the journal.
    #[must_use]
    pub fn decided(&self, decision: &ConnectDecision) -> NetworkDecision {
        let (verdict, policies, message) = match decision {
            ConnectDecision::Allow(permit) => {
                let verdict = if permit.would_be().is_some() { Verdict::WouldDeny } else { Verdict::Allow };
                (verdict, permit.policies().to_vec(), None)
            }
            ConnectDecision::Deny(denial) => (Verdict::Deny, denial.policies().to_vec(), Some(denial.to_string())),
        };
        let epoch = self.settings.policies().epoch();
        // Addresses, names of the configuration and of cgroups: nothing that a client sent.
        let input = KeptInput::after_redaction(record::input(&self.principal.facts(), &[self.connect_question()]));
        NetworkDecision {
            destination: self.destination(),
            decision: Decision {
                verdict,
                policies,
                policy_set: self.settings.policies().name(),
                epoch: epoch.counter(),
                message,
                ticket: None,
                grants: self.windows.iter().map(|window| window.asked.name.clone()).collect(),
                input,
            },
        }
    }

    fn connect_question(&self) -> Arc<Question> {
        let facts = network::EndpointFacts {
            address: self.connection.original.ip(),
            port: self.connection.original.port(),
            names: self.forwarded_name().map(Into::into).into_iter().collect(),
            protocol: protocol_name(self.protocol),
            handling: self.handling,
        };
        let via = self.within.as_ref().map(|within| &within.server);
        network::connect(network::endpoint(&self.target_entity, facts), via)
    }

    /// The name by which a server was told where to, where it was one.
    fn forwarded_name(&self) -> Option<&str> {
        self.within.as_ref()?.name.as_deref()
    }

    /// The server as policies of SSH see it.
    #[must_use]
    pub fn host(&self) -> Arc<Entity> {
        let name = self.target.as_ref().and_then(|target| target.tls.name.as_deref());
        vocabulary::ssh::host(&self.target_entity, self.connection.original.ip(), name)
    }

    fn destination(&self) -> event::Destination {
        event::Destination {
            address: self.connection.original.ip(),
            port: self.connection.original.port(),
            protocol: self.protocol.name().to_owned(),
            target: self.target.as_ref().map(|target| target.name.clone()),
            environment: self.target.as_ref().and_then(|target| target.environment.clone()),
            name: self.forwarded_name().map(str::to_owned),
        }
    }
}

/// A workload with its token, where it has to have one; or why that does not count.
async fn known(engine: &Engine, workload: Workload) -> (Workload, Option<String>) {
    let carried = match engine.token_of(workload.attachment()).await {
        Ok(Some(token)) => workload.clone().with_token(token),
        Ok(None) => return (workload, None),
        Err(reason) => Err(reason),
    };
    match carried {
        Ok(workload) => (workload, None),
        Err(reason) => (workload, Some(reason)),
    }
}

/// The target that is declared by address or, of those that are not, by the name that the workload was told it for. Of
/// that one the server has to prove the name.
fn target(engine: &Engine, settings: &Settings, connection: &Connection) -> Option<Target> {
    let (config, to) = (settings.config(), connection.original);
    if let Some(target) = config.target_of(to, &connection.attachment) {
        return Some(target.clone());
    }
    let name = engine.name_of(&connection.attachment, to.ip())?;
    let mut target = config.target_named(&name, to.port(), &connection.attachment)?.clone();
    target.tls.name.get_or_insert(name);
    Some(target)
}

fn protocol_name(protocol: Protocol) -> ProtocolName {
    match protocol {
        Protocol::Postgres => ProtocolName::Postgres,
        Protocol::Ssh => ProtocolName::Ssh,
        Protocol::Kubernetes => ProtocolName::Kubernetes,
        Protocol::Tcp => ProtocolName::Tcp,
    }
}
