//! The user that a command runs as.

use anyhow::{Context, bail};

use crate::host::user::{User, Users};

/// The user behind sudo, the one that was named, or root where that was asked for.
pub(super) fn choose(named: Option<&str>, as_root: bool) -> anyhow::Result<User> {
    let users = Users::read().context("cannot read /etc/passwd")?;
    let wanted = match (named, std::env::var("SUDO_UID").ok(), as_root) {
        (Some(name), _, _) => name.to_owned(),
        (None, _, true) => "0".to_owned(),
        (None, Some(uid), false) => uid,
        (None, None, false) => bail!(
            "as whom? Run it by sudo, which tells; or name a user with --user; or, if the command may undo everything, --as-root"
        ),
    };
    let user = users.find(&wanted).with_context(|| format!("there is no user `{wanted}` in /etc/passwd"))?;
    if user.uid == 0 && !as_root {
        bail!("root can get around the gateway: name another user with --user, or accept that with --as-root");
    }
    Ok(user)
}
