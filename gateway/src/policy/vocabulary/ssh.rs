//! Namespace `Ssh`: accounts of servers, commands and files.
//!
//! In: facts of a request on a channel. Out: entities, ids escaped, and questions. It must never read a command line or
//! a path.

use std::net::IpAddr;
use std::sync::Arc;

use super::command::CommandFacts;
use super::id_below;
use super::names::{Action, EntityType};
use crate::policy::request::{Entity, Fields, Question, Value};

/// A server of `target`; `name` is what we resolved its address from.
#[must_use]
pub fn host(target: &Arc<Entity>, address: IpAddr, name: Option<&str>) -> Arc<Entity> {
    let mut attributes = vec![("address", Value::Address(address))];
    attributes.extend(name.map(|name| ("name", name.into())));
    Entity::new(EntityType::Host, id_below(target, &address.to_string()), attributes, std::slice::from_ref(target))
}

/// A user of `host`.
#[must_use]
pub fn account(host: &Arc<Entity>, user: &str) -> Arc<Entity> {
    Entity::new(EntityType::Account, id_below(host, user), vec![("user", user.into())], std::slice::from_ref(host))
}

/// May this client log in as `account`?
#[must_use]
pub fn login(account: Arc<Entity>) -> Arc<Question> {
    Question::new(Action::SshLogin, account, Fields::new())
}

/// May `command`, which stands in the line `text`, run as `account`?
#[must_use]
pub fn exec(account: Arc<Entity>, command: &CommandFacts, pty: bool, text: Arc<str>) -> Arc<Question> {
    let context = vec![("command", command.to_value()), ("pty", pty.into())];
    Question::with_text(Action::SshExec, account, context, Some(text))
}

/// May that be opened, which nobody can read?
#[must_use]
pub fn open(action: Action, account: Arc<Entity>, pty: bool) -> Arc<Question> {
    Question::new(action, account, vec![("pty", pty.into())])
}

/// What is known of a file operation.
#[derive(Clone, Copy, Debug)]
pub struct FileFacts<'a> {
    /// The file.
    pub path: &'a str,
    /// Where it is moved or linked to.
    pub new_path: Option<&'a str>,
    /// What is written there runs later by itself, or says who gets in.
    pub startup: bool,
}

/// May that be done to this file?
#[must_use]
pub fn file(action: Action, account: Arc<Entity>, facts: FileFacts<'_>) -> Arc<Question> {
    let FileFacts { path, new_path, startup } = facts;
    let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
    let directory = if directory.is_empty() { "/" } else { directory };
    let mut context = vec![("path", path.into()), ("directory", directory.into()), ("startup", startup.into())];
    context.extend(new_path.map(|path| ("newPath", path.into())));
    Question::new(action, account, context)
}
