//! The user that a command runs as.

use std::fs;

use anyhow::{Context, bail};

/// A user as passwd(5) and group(5) have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
    pub(super) shell: String,
}

/// The user behind sudo, the one that was named, or root where that was asked for.
pub(super) fn choose(named: Option<&str>, as_root: bool) -> anyhow::Result<User> {
    let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    let wanted = match (named, std::env::var("SUDO_UID").ok(), as_root) {
        (Some(name), _, _) => name.to_owned(),
        (None, _, true) => "0".to_owned(),
        (None, Some(uid), false) => uid,
        (None, None, false) => bail!(
            "as whom? Run it by sudo, which tells; or name a user with --user; or, if the command may undo everything, --as-root"
        ),
    };
    let user = find(&passwd, &group, &wanted).with_context(|| format!("there is no user `{wanted}` in /etc/passwd"))?;
    if user.uid == 0 && !as_root {
        bail!("root can get around the gateway: name another user with --user, or accept that with --as-root");
    }
    Ok(user)
}

fn find(passwd: &str, group: &str, wanted: &str) -> Option<User> {
    let mut user = passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        if *name != wanted && *uid != wanted {
            return None;
        }
        Some(User {
            name: (*name).to_owned(),
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            groups: Vec::new(),
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    })?;
    user.groups = group
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            let [_, _, gid, members] = fields.as_slice() else { return None };
            members.split(',').any(|member| member == user.name).then(|| gid.parse().ok())?
        })
        .collect();
    Some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1001:Alice:/home/alice:/bin/zsh\n";
    const GROUP: &str = "root:x:0:\ndocker:x:998:bob,alice\nalice:x:1001:\n";

    #[test]
    fn finds_by_name_and_by_number_with_groups() {
        let alice = find(PASSWD, GROUP, "alice").unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups.as_slice()), (1000, 1001, [998].as_slice()));
        assert_eq!(find(PASSWD, GROUP, "1000"), Some(alice));
        assert_eq!(find(PASSWD, GROUP, "eve"), None);
    }
}
