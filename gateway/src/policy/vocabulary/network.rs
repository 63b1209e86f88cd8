//! Namespace `Network`: connections.
//!
//! In: where a connection goes and who can read it. Out: the question whether the gateway may dial. It must never take
//! a name that the client sent for a name of the endpoint.

use std::net::IpAddr;
use std::sync::Arc;

use super::names::{Action, EntityType, Handling, ProtocolName};
use crate::policy::request::{Entity, Fields, Question, Value};

/// What is known of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointFacts {
    /// Where the client meant to connect to.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Names under which we resolved the address.
    pub names: Vec<Arc<str>>,
    /// What the target or the port speaks; `Tcp` where nothing says more.
    pub protocol: ProtocolName,
    /// Who reads what goes over it.
    pub handling: Handling,
}

/// An endpoint of `target`: `target/address:port`.
#[must_use]
pub fn endpoint(target: &Arc<Entity>, facts: EndpointFacts) -> Arc<Entity> {
    let id = format!("{}/{}", target.id(), std::net::SocketAddr::new(facts.address, facts.port));
    let attributes = vec![
        ("address", Value::Address(facts.address)),
        ("port", Value::Long(facts.port.into())),
        ("names", Value::Texts(facts.names.into())),
        ("protocol", facts.protocol.into()),
        ("handling", facts.handling.into()),
    ];
    Entity::new(EntityType::Endpoint, id, attributes, std::slice::from_ref(target))
}

/// May the gateway dial `endpoint`, by itself, through an SSH server, or in a pod?
#[must_use]
pub fn connect(endpoint: Arc<Entity>, through: Option<&Arc<Entity>>) -> Arc<Question> {
    let context = through.map(|server| {
        let name = if server.kind() == EntityType::KubernetesObject { "pod" } else { "via" };
        (name, Value::Entity(Arc::clone(server)))
    });
    Question::new(Action::NetworkConnect, endpoint, context.into_iter().collect::<Fields>())
}
