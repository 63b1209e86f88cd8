//! Questions of SSH that are written out as facts.
//!
//! In: the facts of one question. Out: the question. A fact that is left out is the harmless one.

use std::sync::Arc;

use super::Facts;
use crate::policy::request::Question;
use crate::policy::vocabulary::command::CommandFacts;
use crate::policy::vocabulary::names::{Action, ProtocolName};
use crate::policy::vocabulary::ssh::{self, FileFacts};

impl Facts<'_> {
    pub(super) fn ssh(&mut self, action: Action) -> Result<Arc<Question>, String> {
        let target = self.target(ProtocolName::Ssh)?;
        let host = ssh::host(&target, self.address()?, self.text("host_name")?);
        let account = ssh::account(&host, self.text("user")?.unwrap_or("agent"));
        match action {
            Action::SshLogin => Ok(ssh::login(account)),
            Action::SshExec => {
                let command = self.command()?;
                Ok(ssh::exec(account, &command, self.flag("pty")?, self.text.into()))
            }
            action if action.name().starts_with("Ssh::sftp_") => {
                let path = self.text("path")?.ok_or("a file operation without `path`")?;
                let (new_path, startup) = (self.text("new_path")?, self.flag("startup")?);
                Ok(ssh::file(action, account, FileFacts { path, new_path, startup }))
            }
            action => Ok(ssh::open(action, account, self.flag("pty")?)),
        }
    }

    pub(super) fn command(&mut self) -> Result<CommandFacts, String> {
        Ok(CommandFacts {
            name: self.text("name")?.map(Into::into),
            path: self.text("path")?.map(Into::into),
            options: self.texts("options")?,
            operands: self.texts("operands")?,
            reads: self.texts("reads")?,
            writes: self.texts("writes")?,
            as_root: self.flag("as_root")?,
            kinds: self.texts("kinds")?,
            opaque: self.texts("opaque")?,
        })
    }
}
