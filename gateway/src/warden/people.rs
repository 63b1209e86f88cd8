//! The users of this host whom the configuration names.
//!
//! In: names and numbers of `[approval] host` and `[exec] users`, passwd(5) as it is now. Out: who a uid is, which
//! groups it votes for, and whether it runs commands.
//! A uid comes from the kernel, never from the one who asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::host::user::Users;
use crate::policy::vocabulary::{APPROVERS_GROUP, DBA_GROUP};

/// A user of this host who votes on held requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Approver {
    /// The first name of the uid; a number without one is its own.
    pub(super) name: String,
    /// What they vote for.
    pub(super) groups: BTreeSet<String>,
}

/// All who vote, by uid.
pub(super) fn approvers(config: &Config) -> BTreeMap<u32, Approver> {
    resolve(config, &users())
}

/// What they vote for, by uid.
pub(super) fn votes(config: &Config) -> BTreeMap<u32, BTreeSet<String>> {
    approvers(config).into_iter().map(|(uid, approver)| (uid, approver.groups)).collect()
}

/// All who run commands by `exec` without root.
pub(super) fn exec_users(config: &Config) -> BTreeSet<u32> {
    let users = users();
    config.exec_users.iter().filter_map(|user| users.uid(user)).collect()
}

/// Names that the configuration has and this host has not: nobody is them.
pub(super) fn unknown(config: &Config) -> Vec<&str> {
    let users = users();
    let named = config.approval.host.keys().chain(&config.exec_users);
    named.map(String::as_str).filter(|user| users.uid(user).is_none()).collect()
}

/// The name of a uid, or the number where it has none.
pub(super) fn name(uid: u32) -> String {
    users().name(uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn users() -> Users {
    Users::read().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot read /etc/passwd: users are known by number alone");
        Users::default()
    })
}

fn resolve(config: &Config, users: &Users) -> BTreeMap<u32, Approver> {
    let by_default = [APPROVERS_GROUP, DBA_GROUP].map(str::to_owned);
    let mut groups = BTreeMap::from([(0, BTreeSet::from(by_default))]);
    let mut named = BTreeSet::new();
    for (user, theirs) in &config.approval.host {
        let Some(uid) = users.uid(user) else { continue };
        // Names that share a uid are one person, with the groups of all.
        let known: &mut BTreeSet<String> = groups.entry(uid).or_default();
        if named.insert(uid) {
            known.clear();
        }
        known.extend(theirs.iter().cloned());
    }
    let approver = |(uid, groups): (u32, BTreeSet<String>)| {
        let name = users.name(uid).unwrap_or_else(|| if uid == 0 { "root".into() } else { format!("uid {uid}") });
        (uid, Approver { name, groups })
    };
    groups.into_iter().filter(|(_, groups)| !groups.is_empty()).map(approver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(host: &str) -> Vec<(u32, String, String)> {
        let config = Config::parse("gateway.toml", &format!("version = 1\n[approval]\nhost = {host}\n")).unwrap();
        let users = Users::of("root:x:0:0::/:\nalice:x:1000:1::/:\nalicia:x:1000:1::/:\nbob:x:1001:1::/:\n", "");
        let flat = |(uid, approver): (u32, Approver)| {
            (uid, approver.name, approver.groups.into_iter().collect::<Vec<_>>().join(" "))
        };
        resolve(&config, &users).into_iter().map(flat).collect()
    }

    fn row(uid: u32, name: &str, groups: &str) -> (u32, String, String) {
        (uid, name.into(), groups.into())
    }

    #[test]
    fn root_votes_for_the_shipped_groups_until_the_configuration_says_otherwise() {
        assert_eq!(who("{}"), [row(0, "root", "local:approvers local:dba")]);
        assert_eq!(who(r#"{ root = ["local:sre"] }"#), [row(0, "root", "local:sre")]);
        assert_eq!(who("{ root = [] }"), []);
    }

    #[test]
    fn names_of_one_uid_are_one_person_and_unknown_names_are_nobody() {
        let found =
            who(r#"{ root = [], alicia = ["local:b"], alice = ["local:a"], 70000 = ["local:c"], eve = ["local:d"] }"#);
        assert_eq!(found, [row(1000, "alice", "local:a local:b"), row(70_000, "uid 70000", "local:c")]);
    }
}
