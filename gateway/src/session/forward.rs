//! Streams that are forwarded inside a session: each is a session of its own, as if it had come by itself.
//!
//! In: where a client wants to go through the server that it is logged in to. Out: the story of `session`, with the same
//! workload, over channels of that server. A session inside ends with the one around it, and they nest so deep and no
//! deeper.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::place::{self, Ends, Place};
use super::{Admission, Client, Ending, Facts, admit, end, go_on, open};
use crate::audit::event::EndCause;
use crate::conn::BoxConn;
use crate::engine::{Engine, Settings};
use crate::id::SessionId;
use crate::policy::request::Entity;
use crate::policy::vocabulary::kubernetes::{self, ObjectFacts};
use crate::protocol::Protocol;
use crate::protocol::forward::{Channels, Forwards, Inside, Onward, Pending};

/// Sessions around one; ProxyJump over more servers than these is nobody's.
const DEPTH: usize = 4;

/// What a session runs inside of.
#[derive(Clone)]
pub struct Within {
    /// The session around it.
    pub parent: SessionId,
    /// The server of that session, or the pod behind it, as policies see it.
    pub server: Arc<Entity>,
    /// The name by which that server was told where to.
    pub name: Option<String>,
    /// Why the session around it ends, once it does.
    pub ending: Ending,
    /// What ended that.
    pub ended_by: Arc<OnceLock<EndCause>>,
    depth: usize,
    host: String,
    port: u16,
    channels: Arc<dyn Channels>,
}

impl Within {
    /// A stream to the server of this session.
    pub(super) fn dial(&self) -> Pending<io::Result<BoxConn>> {
        self.channels.open(&self.host, self.port)
    }
}

/// Forwards inside one session.
pub(super) struct Forwarded {
    engine: Arc<Engine>,
    around: Arc<Facts>,
    ending: Ending,
    into: Into,
}

/// What lies behind the server of a session.
#[derive(Clone, Copy)]
enum Into {
    /// Whatever it reaches.
    Hosts,
    /// Pods of its cluster.
    Pods,
}

impl Forwarded {
    /// Of a session, and what ends it.
    pub(super) fn new(engine: &Arc<Engine>, around: &Arc<Facts>, ending: Ending) -> Self {
        Self { engine: Arc::clone(engine), around: Arc::clone(around), ending, into: Into::Hosts }
    }

    /// The same of a session with a cluster, where hosts are called `POD.NAMESPACE`.
    pub(super) fn into_pods(engine: &Arc<Engine>, around: &Arc<Facts>, ending: Ending) -> Self {
        Self { into: Into::Pods, ..Self::new(engine, around, ending) }
    }

    /// Where it leads, and through what, as policies see it.
    fn find(&self, settings: &Settings, wanted: &Onward) -> Result<(Place, Arc<Entity>), String> {
        let around = &self.around;
        let attachment = &around.connection.attachment;
        if let Into::Pods = self.into {
            let (name, namespace) = wanted.host.rsplit_once('.').ok_or("it names no pod")?;
            let pod = ObjectFacts { version: "v1", resource: "pods", namespace, name, ..ObjectFacts::default() };
            let pod = kubernetes::object(around.target_entity(), pod);
            let namespace = format!("{namespace}.pods.{}", around.target_name());
            let names = [format!("{name}.{namespace}"), namespace];
            return Ok((place::in_pod(settings.config(), attachment, &names, wanted.port)?, pod));
        }
        let told = |address: IpAddr| self.engine.name_of(attachment, address);
        let ends = Ends {
            config: settings.config(),
            attachment,
            server: around.connection.original.ip(),
            server_name: around.within.as_ref().and_then(|within| within.name.as_deref()),
            told: &told,
        };
        Ok((place::find(&ends, wanted)?, around.host()))
    }

    fn facts(&self, wanted: &Onward, channels: Arc<dyn Channels>) -> Result<Facts, String> {
        let around = &self.around;
        let depth = around.within.as_ref().map_or(0, |within| within.depth) + 1;
        if depth > DEPTH {
            return Err(format!("sessions nest {DEPTH} deep and no deeper"));
        }
        let settings = self.engine.settings();
        let (place, server) = self.find(&settings, wanted)?;
        let within = Within {
            parent: around.id,
            server,
            name: place.name.clone(),
            ending: self.ending.clone(),
            ended_by: Arc::clone(&around.ended_by),
            depth,
            host: place.host.clone(),
            port: place.address.port(),
            channels,
        };
        Facts::inside(around, &self.engine, place, within).ok_or_else(|| "its attachment was detached".to_owned())
    }
}

impl Forwards for Forwarded {
    fn enter(&self, wanted: Onward, channels: Arc<dyn Channels>) -> Pending<Result<Inside, String>> {
        let (facts, engine) = (self.facts(&wanted, channels), Arc::clone(&self.engine));
        Box::pin(async move {
            let facts = Arc::new(facts?);
            let running = engine.enlist(facts.id, &facts.connection, facts.within.as_ref().map(|within| within.parent));
            let guard = open(&engine, &facts).ok_or("the journal takes no more")?;
            let admission = admit(&facts, &guard, &running).await;
            if let (Protocol::Tcp, Admission::Refused(cause, reason)) = (facts.protocol, &admission) {
                end(&guard, *cause);
                return Err(reason.clone());
            }
            let inside: Inside = Box::new(move |client, gone| {
                Box::pin(async move {
                    let _running = running;
                    let client = Client { stream: client, gone };
                    go_on(&engine, facts, &guard, client, admission).await;
                })
            });
            Ok(inside)
        })
    }
}
