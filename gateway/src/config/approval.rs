//! `[approval]`, `[[window]]` and `[exec]`: whom the gateway knows by name, how held requests wait for them, and which
//! windows they may open.
//!
//! In: names and numbers of OS users. Out: the same with their groups, `local:NAME` each. Which user a name is now is
//! for the warden to look up: this file opens none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::attach::is_name;
use super::table::Section;
use super::{Config, Target, TicketSystem, tickets};

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
    /// Windows that can be asked for.
    pub windows: Vec<WindowRule>,
}

/// `[[window]]`: what policies call by its name in `context.session.grants`, opened for a workload, a target and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRule {
    /// As policies and credentials name it.
    pub name: String,
    /// The group that has to approve it.
    pub group: String,
    /// How many of its members.
    pub approvers: u8,
    /// The targets that it can be opened to; empty: all.
    pub targets: Vec<String>,
    /// The attachments that it can be opened for; empty: all.
    pub within: Vec<String>,
    /// The longest time that it can be open.
    pub longest: Duration,
    /// Groups whose members may open it alone, at once: break-glass.
    pub break_glass: Vec<String>,
}

/// How long a window may be open unless the configuration says more: as long as a task takes, not as a day does.
const LONGEST: Duration = Duration::from_secs(3_600);

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
        Self { timeout: Duration::from_secs(15 * 60), on_hold: None, host: HostApprovers::new(), windows: Vec::new() }
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

/// With the systems of tickets, whose names are none of `others`.
pub(super) fn read(root: &Section<'_, '_>, others: &[&str]) -> (ApprovalSection, Vec<TicketSystem>) {
    let defaults = ApprovalSection::default();
    let section = root.section("approval");
    let read = ApprovalSection {
        timeout: section.duration("timeout").unwrap_or(defaults.timeout),
        on_hold: section.one_of("on_hold", &[("wait", OnHold::Wait), ("return", OnHold::Return)]),
        host: host(&section),
        windows: root.sections("window").iter().filter_map(window).collect(),
    };
    let tickets = tickets::read(&section, others);
    section.finish();
    (read, tickets)
}

fn window(section: &Section<'_, '_>) -> Option<WindowRule> {
    let (name, group) = (section.required("name"), section.required("approval"));
    if name.as_ref().is_some_and(|name| !is_name(name)) {
        section.fault("name", "a name is made of letters, digits, `-`, `_` and `.`, at most 64 of them");
    }
    let approvers = section.number("approvers", 1..=9).unwrap_or(1);
    let (targets, within) = (section.strings("targets"), section.strings("within"));
    let longest = section.duration("longest").unwrap_or(LONGEST);
    let break_glass = section.strings("break_glass");
    section.finish();
    let approvers = u8::try_from(approvers).unwrap_or(1);
    Some(WindowRule { name: name?, group: group?, approvers, targets, within, longest, break_glass })
}

/// What only the whole file can tell: names that it does not have.
pub(super) fn check_windows(root: &Section<'_, '_>, config: &Config) {
    let windows = &config.approval.windows;
    let mut names = BTreeSet::new();
    let is_target = |name: &String| config.targets.iter().any(|target| target.name == *name);
    for (section, window) in root.sections("window").iter().zip(windows) {
        if !names.insert(&window.name) {
            section.fault("name", format!("`{}` is there twice", window.name));
        }
        for name in window.targets.iter().filter(|name| !is_target(name)) {
            section.fault("targets", format!("there is no target `{name}`"));
        }
    }
    let wanted = |target: &Target| target.credential.as_ref().and_then(|credential| credential.window.clone());
    for (target, window) in config.targets.iter().filter_map(|target| Some((target, wanted(target)?))) {
        if !names.contains(&window) {
            let reason =
                format!("the credential of `{}` waits for the window `{window}`, which no [[window]] is", target.name);
            root.fault("target", reason);
        }
    }
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
