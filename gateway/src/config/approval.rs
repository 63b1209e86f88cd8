//! `[approval]` and `[exec]`: whom the gateway knows by name, and how held requests wait for them.
//!
//! In: names and numbers of OS users. Out: the same with their groups, `local:NAME` each. Which user a name is now is
//! for the warden to look up: this file opens none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attach::is_name;
use super::table::Section;

/// The groups of approvers on this host, by OS user: its name, or its number for users of a directory service.
pub type HostApprovers = BTreeMap<String, BTreeSet<String>>;

/// `[approval]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalSection {
    /// After which a held request is denied.
    pub timeout: Duration,
    /// `None`: an interactive psql waits, everybody else is told to come back.
    pub on_hold: Option<OnHold>,
    /// Who votes by `gateway approve` and `deny`.
    pub host: HostApprovers,
}

/// `on_hold`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHold {
    /// The client waits.
    Wait,
    /// The client is denied at once, with the ticket: the same request sent again after approval goes through once.
    Return,
}

impl Default for ApprovalSection {
    fn default() -> Self {
        // Long enough for a person who is asked by a message, short enough that a forgotten request does not surprise.
        Self { timeout: Duration::from_secs(15 * 60), on_hold: None, host: HostApprovers::new() }
    }
}

/// `[exec] users`: who runs commands by `gateway exec` without root. Nobody, unless named.
pub(super) fn exec_users(root: &Section<'_, '_>) -> BTreeSet<String> {
    let section = root.section("exec");
    let users = section.strings("users");
    for user in users.iter().filter(|user| !is_user(user)) {
        section.fault("users", format!("`{user}` is no name of a user"));
    }
    section.finish();
    users.into_iter().collect()
}

pub(super) fn read(root: &Section<'_, '_>) -> ApprovalSection {
    let defaults = ApprovalSection::default();
    let section = root.section("approval");
    let read = ApprovalSection {
        timeout: section.duration("timeout").unwrap_or(defaults.timeout),
        on_hold: section.one_of("on_hold", &[("wait", OnHold::Wait), ("return", OnHold::Return)]),
        host: host(&section),
    };
    section.finish();
    read
}

fn host(section: &Section<'_, '_>) -> HostApprovers {
    let mut approvers = HostApprovers::new();
    for (user, groups) in section.lists("host") {
        if !is_user(&user) {
            section.fault("host", format!("`{user}` is no name of a user"));
        }
        for group in groups.iter().filter(|group| !group.strip_prefix("local:").is_some_and(is_name)) {
            section.fault("host", format!("`{group}`: a group of the configuration is written `local:NAME`"));
        }
        // Root has a vote unless it is taken away; others have none unless they are given one.
        if groups.is_empty() && !matches!(user.as_str(), "root" | "0") {
            section.fault("host", format!("`{user}` is in no group: name one, or leave the user out"));
        }
        approvers.insert(user, groups.into_iter().collect());
    }
    approvers
}

/// Whether a text can be the name or number of an OS user (useradd(8)).
fn is_user(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
    !text.is_empty() && text.len() <= 32 && !text.starts_with('-') && text.chars().all(allowed)
}
