//! What our login may do at a cluster, asked of the API server itself.
//!
//! In: a connection to the server and our credential for it. Out: powers, in the whole cluster and in the namespaces that were looked
//! at. It asks for reviews of its own access and for names of namespaces: nothing is kept there by that but the server's own
//! audit. It never names another user to the server, and nothing of a client's goes this way.

mod own;
mod rights;
mod rules;
mod said;

use serde_json::{Value, json};

use self::own::Own;
pub use self::own::{AskError, Asking};
use self::rights::{Ask, EVERYTHING, RIGHTS, Right, Scope};
use self::rules::{Namespaces, Review, Rules, Who};
use crate::conn::BoxConn;
use crate::upstream::power::Power;

/// Namespaces that are looked into, beside those that every cluster has.
const MAX_NAMESPACES: usize = 8;
const ALWAYS: [&str; 2] = ["default", "kube-system"];
/// Words of a server that are handed on.
const MAX_NOTES: usize = 16;
/// What a server may say about why it is not sure.
const MAX_REASON: usize = 200;

const ACCESS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// What a login may do.
#[derive(Debug, Default)]
pub struct Held {
    /// All of it.
    pub powers: Vec<Power>,
    /// What was not looked at.
    pub notes: Vec<String>,
}

/// Asks the server.
///
/// # Errors
/// Where it was not verified, does not let us in, or gives no answer that is understood.
pub async fn powers(conn: BoxConn, asking: &Asking<'_>) -> Result<Held, AskError> {
    let mut server = Own::open(conn, asking).await?;
    let mut notes = Vec::new();
    // Known to servers since 1.28: an older one has no word for it, and the login stays what the configuration calls it.
    let who = server.post::<Who>(SELF, &review(SELF, &json!({}))).await.unwrap_or_default();
    let told = said::Login::new(asking.login, &who);
    if is_allowed(&mut server, &EVERYTHING, &mut notes).await? {
        notes.push("who may all may all else too: namespaces were not looked at".to_owned());
        return Ok(Held { powers: vec![told.everything()], notes });
    }
    let mut powers = Vec::new();
    let mut wide = Vec::new();
    for right in &RIGHTS {
        let held = held(&mut server, right, &mut notes).await?;
        if !held.is_empty() {
            powers.push(told.right(right, &held));
            wide.push(right.name);
        }
    }
    let namespaces = namespaces(&mut server, &mut notes).await?;
    let mut rules = Rules::default();
    for namespace in &namespaces {
        let answer: Review = server.post(RULES, &review(RULES, &json!({ "namespace": namespace }))).await?;
        if answer.is_incomplete() {
            notes.push(format!(
                "the server says that what it told of the namespace `{namespace}` is not all{}",
                because(answer.reason())
            ));
        }
        rules.add(namespace, answer);
    }
    powers.extend(told.rules(&rules, &wide));
    Ok(Held { powers, notes })
}

/// Which parts of a right the login has, where it is asked for as a whole.
async fn held(server: &mut Own, right: &Right, notes: &mut Vec<String>) -> Result<Vec<&'static Ask>, AskError> {
    let mut held = Vec::new();
    for ask in right.asks {
        let asked = match right.scope {
            Scope::Cluster | Scope::Namespaced => is_allowed(server, ask, notes).await?,
            Scope::In(namespace) => is_allowed_in(server, ask, (namespace, notes)).await?,
        };
        if asked {
            held.push(ask);
        }
    }
    Ok(held)
}

async fn is_allowed(server: &mut Own, ask: &Ask, notes: &mut Vec<String>) -> Result<bool, AskError> {
    is_allowed_in(server, ask, ("", notes)).await
}

async fn is_allowed_in(
    server: &mut Own,
    ask: &Ask,
    (namespace, notes): (&str, &mut Vec<String>),
) -> Result<bool, AskError> {
    let (resource, subresource) = ask.resource.split_once('/').unwrap_or((ask.resource, ""));
    let attributes = json!({
        "namespace": namespace, "verb": ask.verb, "group": ask.group, "resource": resource, "subresource": subresource,
    });
    let answer: Review = server.post(ACCESS, &review(ACCESS, &json!({ "resourceAttributes": attributes }))).await?;
    if !answer.is_allowed() && !answer.reason().is_empty() {
        let note = format!("the server is not sure of all that it was asked{}", because(answer.reason()));
        if !notes.contains(&note) && notes.len() < MAX_NOTES {
            notes.push(note);
        }
    }
    Ok(answer.is_allowed())
}

/// Those to look into: their names are the server's, and only such as can be names go back to it.
async fn namespaces(server: &mut Own, notes: &mut Vec<String>) -> Result<Vec<String>, AskError> {
    let listed = server.get::<Namespaces>(&format!("/api/v1/namespaces?limit={MAX_NAMESPACES}")).await;
    let mut names = match listed {
        Ok(listed) => {
            if listed.has_more() {
                notes.push(format!("of its namespaces the first {MAX_NAMESPACES} were looked into"));
            }
            listed.names(MAX_NAMESPACES)
        }
        Err(AskError::Refused { .. }) => {
            notes.push("the login may not list namespaces: others than `default` and `kube-system` were not looked into, roles in them give it more".to_owned());
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    for name in ALWAYS {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The body that asks for a review.
fn review(path: &str, spec: &Value) -> Value {
    let (group, kind) = match path {
        ACCESS => ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        RULES => ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
        _ => ("authentication.k8s.io/v1", "SelfSubjectReview"),
    };
    json!({ "apiVersion": group, "kind": kind, "spec": spec })
}

fn because(reason: &str) -> String {
    let plain: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    if plain.is_empty() { String::new() } else { format!(": {plain}") }
}
