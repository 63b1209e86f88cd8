//! A command in the words of policies.
//!
//! In: a command that was read. Out: its facts. It must never leave out a reason.

use super::facts::Command;
use crate::policy::vocabulary::command::CommandFacts;

impl From<&Command> for CommandFacts {
    fn from(command: &Command) -> Self {
        let texts = |items: &[String]| items.iter().map(|item| item.as_str().into()).collect();
        Self {
            name: command.name.as_deref().map(Into::into),
            path: command.path.as_deref().map(Into::into),
            options: command.options().map(Into::into).collect(),
            operands: command.operands().map(Into::into).collect(),
            reads: texts(&command.reads),
            writes: texts(&command.writes),
            as_root: command.as_root,
            kinds: command.kinds.iter().map(|kind| kind.name().into()).collect(),
            opaque: command.opaque.iter().map(|reason| reason.name().into()).collect(),
        }
    }
}
