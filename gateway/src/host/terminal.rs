//! Terminals that processes share.
//!
//! In: processes of a subtree. Out: one of them whose terminal somebody outside reads: what it types there (`TIOCSTI` of
//! ioctl_tty(2)), the other carries out. Asks `/proc` and decides nothing.

use std::collections::HashSet;
use std::fs;

use super::process;

/// Whether anything types at all (Linux 6.2; before, everything does).
const TYPES: &str = "/proc/sys/dev/tty/legacy_tiocsti";

/// One of these processes that can type what a process outside would read, with that process.
#[must_use]
pub fn shared(pids: &[i32]) -> Option<(i32, i32)> {
    if fs::read_to_string(TYPES).is_ok_and(|types| types.trim() == "0") {
        return None;
    }
    let inside: HashSet<i32> = pids.iter().copied().collect();
    let sessions: Vec<(i32, i32)> = pids.iter().filter_map(|&pid| Some((pid, session_with_terminal(pid)?))).collect();
    let outside = process::all().filter(|pid| !sessions.is_empty() && !inside.contains(pid));
    outside.into_iter().find_map(|other| {
        let session = session_with_terminal(other)?;
        sessions.iter().find(|(_, own)| *own == session).map(|(pid, _)| (*pid, other))
    })
}

/// The session of a process that has a terminal (proc_pid_stat(5)): no two share one.
fn session_with_terminal(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything, parentheses too.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let session = fields.nth(3)?.parse().ok()?;
    (fields.next()? != "0").then_some(session)
}
