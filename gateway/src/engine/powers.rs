//! What credentials may do at their servers, held against what policies permit.
//!
//! In: names of targets, and who asks. Out: for each target what its credential may do there, asked of the server itself over a
//! connection that is verified like a session's. The credential stays here: who asks reads what it may do. A server that
//! does not answer costs its own answer alone. Nothing of a client's goes this way, and no request of one is permitted by it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gateway_common::Verdict;
use serde_json::{Value, json};

use super::resolver::{self, Transport};
use super::{DialError, Engine, Settings, protocol_name};
use crate::audit::event::{CredentialUsed, Event, TargetChecked};
use crate::bridge::PowersOf;
use crate::chain::chain;
use crate::config::{CredentialSource, Target};
use crate::conn::BoxConn;
use crate::control::check::{CheckedTarget, Finding};
use crate::host::network::{Network, is_local};
use crate::masking::file::ColumnName;
use crate::policy::vocabulary::names::Action;
use crate::policy::{PolicySnapshot, Whereabouts};
use crate::protocol::dns::Question;
use crate::protocol::kubernetes;
use crate::protocol::postgres::{self, Asking, Dial, LoginMode};
use crate::protocol::ssh;
use crate::upstream::power::Power;

/// How long one target may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Targets that are asked at once.
pub const AT_ONCE: usize = 8;

/// Of a login that says for whom it asks.
const NAMES_OTHERS: &str = "requests go on under the name of the workload (`impersonate = true`), and the roles bound to that name narrow them; what \
                            this login may do by itself they do not narrow: it needs impersonate, of the names `gateway:…` and their groups, and nothing else";
const UNNEEDED: &str = "not needed: requests go on under the name of the workload, whose own roles count";

/// What a server told.
#[derive(Default)]
struct Told {
    powers: Vec<Power>,
    notes: Vec<String>,
}

impl Engine {
    pub(super) async fn powers(self: &Arc<Self>, of: PowersOf) -> Value {
        let settings = self.settings();
        let targets = settings.config().targets.iter().filter(|target| of.targets.contains(&target.name));
        let targets: Vec<_> = targets.cloned().collect();
        let check = |target: Target| {
            let (settings, person) = (Arc::clone(&settings), of.person.name.clone());
            async move { self.check(&settings, &target, person).await }
        };
        // In the order of the configuration.
        let checked: Vec<_> = futures_util::stream::iter(targets).map(check).buffered(AT_ONCE).collect().await;
        json!(checked)
    }

    /// Which of these actions policies permit to nobody, by target: whoever tries one there is denied, whatever it is about.
    pub(super) fn closed(&self, actions: &[String]) -> Value {
        let settings = self.settings();
        let of = |target: &Target| {
            let at = Whereabouts { target: &target.name, environment: target.environment.as_deref() };
            let is_closed = |name: &&String| {
                Action::from_name(name).is_some_and(|action| settings.policies().reach(action, at).is_empty())
            };
            (target.name.clone(), json!(actions.iter().filter(is_closed).collect::<Vec<_>>()))
        };
        settings.config().targets.iter().map(of).collect::<serde_json::Map<_, _>>().into()
    }

    async fn check(self: &Arc<Self>, settings: &Settings, target: &Target, person: String) -> CheckedTarget {
        let mut checked = CheckedTarget {
            name: target.name.clone(),
            protocol: protocol_name(target.protocol).to_owned(),
            ..CheckedTarget::default()
        };
        let Some(credential) = &target.credential else {
            checked.notes.push("the gateway holds no credential for it: clients log in with their own".to_owned());
            return checked;
        };
        checked.login = Some(credential.user.clone());
        let asked = tokio::time::timeout(PATIENCE, self.ask_server(settings, (target, credential), &mut checked));
        match asked.await {
            Ok(Ok(told)) => {
                checked.notes.extend(told.notes);
                compare(settings.policies(), target, told.powers, &mut checked);
            }
            Ok(Err(reason)) => checked.error = Some(reason),
            Err(_) => checked.error = Some(format!("it did not answer within {} seconds", PATIENCE.as_secs())),
        }
        let names = |findings: &[Finding]| findings.iter().map(|finding| finding.name.clone()).collect();
        let event = Event::TargetChecked(TargetChecked {
            target: target.name.clone(),
            login: credential.user.clone(),
            server_identity: checked.server_identity.clone().unwrap_or_default(),
            person,
            beyond: names(&checked.findings),
            permitted: names(&checked.permitted),
            error: checked.error.clone(),
        });
        if let Err(error) = self.journal().append_unsynced(None, &event) {
            return CheckedTarget {
                error: Some(format!("what was found could not be recorded: {error}")),
                findings: Vec::new(),
                permitted: Vec::new(),
                ..checked
            };
        }
        checked
    }

    async fn ask_server(
        self: &Arc<Self>,
        settings: &Settings,
        (target, credential): (&Target, &CredentialSource),
        checked: &mut CheckedTarget,
    ) -> Result<Told, String> {
        if let Some(window) = &credential.window {
            return Err(format!("its credential is supplied only while the window `{window}` is open for a workload"));
        }
        let (target, address) = place(target, settings).await?;
        checked.address = Some(address.to_string());
        match target.protocol {
            Verdict::Postgres => self.ask_postgres(settings, &target, (address, checked)).await,
            Verdict::Kubernetes => self.ask_kubernetes(settings, &target, (address, checked)).await,
            Verdict::Ssh => self.ask_ssh(settings, &target, (address, checked)).await,
            _ => Err("servers of this protocol are not asked by this version".to_owned()),
        }
    }

    async fn ask_postgres(
        self: &Arc<Self>,
        settings: &Settings,
        target: &Target,
        (address, checked): (SocketAddr, &mut CheckedTarget),
    ) -> Result<Told, String> {
        let upstream = settings.upstreams().to(Some(target), address.ip())?;
        let LoginMode::Credentials(credentials) = &upstream.login else {
            return Err("its credential cannot be used: the operator's log says why".to_owned());
        };
        let credential = credentials.first().ok_or("it has no credential")?;
        self.record_use(target, &credential.user, (upstream.tls.identity(), checked)).await?;
        let rules = settings.masking();
        let is_labelled = |[database, schema, relation, column]: postgres::Named<'_>| {
            let name = ColumnName { target: &target.name, database, schema, relation, column };
            rules.labels(&target.name, database).class_of(&name).is_some()
        };
        let dialer = To { engine: Arc::clone(self), address };
        let asking = Asking { dialer: &dialer, tls: &upstream.tls, credential, is_labelled: &is_labelled };
        let held = postgres::powers(&asking).await.map_err(|error| chain(&error))?;
        Ok(Told { powers: held.powers, notes: held.notes })
    }

    async fn ask_kubernetes(
        self: &Arc<Self>,
        settings: &Settings,
        target: &Target,
        (address, checked): (SocketAddr, &mut CheckedTarget),
    ) -> Result<Told, String> {
        let way = Arc::clone(&settings.upstreams().cluster(target, address.ip())?.way);
        let login = way.login.clone().ok_or("it has no credential")?;
        self.record_use(target, &login, (way.tls.identity(), checked)).await?;
        let host = target.tls.name.clone();
        let authority = host.map_or_else(|| address.to_string(), |host| format!("{host}:{}", address.port()));
        let to = To { engine: Arc::clone(self), address };
        let conn = to.dial().await.map_err(|error| chain(&error))?;
        let asking = kubernetes::Asking { way: &way, authority: &authority, login: &login };
        let mut held = kubernetes::powers(conn, &asking).await.map_err(|error| chain(&error))?;
        if way.impersonates {
            held.notes.push(NAMES_OTHERS.to_owned());
        }
        Ok(Told { powers: held.powers, notes: held.notes })
    }

    async fn ask_ssh(
        self: &Arc<Self>,
        settings: &Settings,
        target: &Target,
        (address, checked): (SocketAddr, &mut CheckedTarget),
    ) -> Result<Told, String> {
        let options = settings.upstreams().to_ssh(Some(target), self.certifier())?;
        let to = To { engine: Arc::clone(self), address };
        let dial = Box::pin(async move { to.dial().await });
        let credential = &options.credential;
        let reached = ssh::reach(dial, Arc::clone(&options.known), credential).await.map_err(|error| chain(&error))?;
        self.record_use(target, &credential.user, (reached.identity(), checked)).await?;
        let held = ssh::powers(reached, credential).await.map_err(|error| chain(&error))?;
        Ok(Told { powers: held.powers, notes: held.notes })
    }

    /// Writes that a credential is used, before it is.
    async fn record_use(
        &self,
        target: &Target,
        login: &str,
        (identity, checked): (String, &mut CheckedTarget),
    ) -> Result<(), String> {
        checked.server_identity = Some(identity.clone());
        let event = Event::CredentialUsed(CredentialUsed {
            credential: format!("{}/{login}", target.name),
            target: target.name.clone(),
            login: login.to_owned(),
            server_identity: identity,
        });
        let recorded = self.journal().append_durable(None, &event).await;
        recorded.map(drop).map_err(|error| format!("the use of its credential could not be recorded: {error}"))
    }
}

/// The way to a server from our own network namespace.
struct To {
    engine: Arc<Engine>,
    address: SocketAddr,
}

impl Dial for To {
    fn dial(&self) -> Pin<Box<dyn Future<Output = io::Result<BoxConn>> + Send + '_>> {
        Box::pin(async {
            let dialled: Result<_, DialError> = self.engine.dialler().from_here(self.address).await;
            dialled.map(|stream| Box::new(stream) as BoxConn).map_err(io::Error::other)
        })
    }
}

/// One address of the target: a network is many servers. Of one that is found by a name, the server has to prove the name.
async fn place(target: &Target, settings: &Settings) -> Result<(Target, SocketAddr), String> {
    let mut target = target.clone();
    let port = target.ports.first().copied().ok_or("a target has a port")?;
    if let Some(address) = target.addresses.iter().find_map(Network::host_address) {
        return Ok((target, SocketAddr::new(address, port)));
    }
    let name = target.names.first().map(ToString::to_string);
    let name = name.ok_or("it is declared by networks alone, which are many servers: give it an address or a name")?;
    let address = addresses(&name, settings).await.into_iter().find(|address| !is_local(*address));
    let address = address.ok_or_else(|| format!("no server for names told an address of `{name}`"))?;
    target.tls.name.get_or_insert(name);
    Ok((target, SocketAddr::new(address, port)))
}

async fn addresses(name: &str, settings: &Settings) -> Vec<IpAddr> {
    for question in Question::of_addresses(name) {
        let answer = resolver::ask(settings.resolvers(), &question, Transport::Datagram).await;
        match answer {
            Ok(answer) if !answer.addresses.is_empty() => return answer.addresses,
            _ => {}
        }
    }
    Vec::new()
}

/// Puts each power where it belongs: beyond what policies permit, or within.
fn compare(policies: &PolicySnapshot, target: &Target, powers: Vec<Power>, checked: &mut CheckedTarget) {
    let at = Whereabouts { target: &target.name, environment: target.environment.as_deref() };
    let names_others = target.credential.as_ref().is_some_and(|credential| credential.impersonate);
    for power in powers {
        let (is_beyond, policy) = match power.uses.as_slice() {
            [_, ..] if names_others => (true, UNNEEDED.to_owned()),
            _ => said_of(policies, &power, at),
        };
        let Power { name, what, cost, narrow, .. } = power;
        let place = if is_beyond { &mut checked.findings } else { &mut checked.permitted };
        place.push(Finding { name, what, cost, policy, narrow });
    }
}

/// Whether it is beyond policies, and their say on it.
fn said_of(policies: &PolicySnapshot, power: &Power, at: Whereabouts<'_>) -> (bool, String) {
    if power.uses.is_empty() {
        return (true, "not compared: policies have no word for it".to_owned());
    }
    let (mut nobody, mut somebody) = (Vec::new(), Vec::new());
    for action in &power.uses {
        let permits = policies.reach(*action, at);
        match permits.as_slice() {
            [] => nobody.push(format!("{action} to nobody")),
            permits => somebody.push(format!("{action} by {}", permits.join(", "))),
        }
    }
    let is_beyond = !nobody.is_empty();
    nobody.extend(somebody);
    (is_beyond, format!("they permit {}", nobody.join("; ")))
}
