//! A run that ends, and leaves nothing running. In: our own command line. Out: the exit status of that run in a process
//! of its own, an error where it takes too long or leaves a process behind. It must never wait for what holds our output
//! open: whoever reads that output would wait with us.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};

/// Set for the run itself.
const GUARDED: &str = "GATEWAY_GUARDED";
/// The whole, with everything that a bare machine gets first.
const LIMIT: Duration = Duration::from_secs(80 * 60);
/// For what ends by itself once its parent is gone: commands of a server that was left by hostile clients take half a minute.
const GRACE: Duration = Duration::from_secs(40);
const TURN: Duration = Duration::from_millis(20);

/// Whether this process is such a run.
pub(crate) fn guarded() -> bool {
    std::env::var_os(GUARDED).is_some()
}

/// Runs our own command line again, guarded.
pub(crate) fn perform() -> Result<ExitCode> {
    let mut again = Command::new(std::env::current_exe().context("no path to this program")?);
    end_of(again.args(std::env::args_os().skip(1)).env(GUARDED, "1"), LIMIT, GRACE)
}

/// Runs a command to its end, and then ends whatever it left.
///
/// Waits for any child of this process, so there must be no other.
fn end_of(command: &mut Command, limit: Duration, grace: Duration) -> Result<ExitCode> {
    // Processes without a parent become our children, so that we see them, and nobody sees them as zombies.
    set_child_subreaper(Some(getpid())).context("cannot adopt what loses its parent")?;
    let run = Pid::from_child(&command.spawn().context("cannot start")?);
    let start = Instant::now();
    let status = loop {
        match wait(WaitOptions::NOHANG)? {
            Some((pid, status)) if pid == run => break status,
            Some(_) => {}
            None if start.elapsed() > limit => {
                let running = end_all()?;
                bail!("it ran for more than {} s and was ended, with:\n{running}", limit.as_secs());
            }
            None => sleep(TURN),
        }
    };
    let end = Instant::now();
    while let Ok(ended) = wait(WaitOptions::NOHANG) {
        if ended.is_none() && end.elapsed() > grace {
            let left = end_all()?;
            bail!("processes were left behind, and were ended:\n{left}");
        }
        if ended.is_none() {
            sleep(TURN);
        }
    }
    Ok(if status.exit_status() == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Kills all that descends from us; returns a line for each.
fn end_all() -> Result<String> {
    let start = Instant::now();
    let mut ended = BTreeMap::new();
    while start.elapsed() < GRACE {
        for pid in descendants(getpid())? {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
            if !command.is_empty() {
                ended.insert(pid.as_raw_nonzero(), command);
            }
            // It may be gone by now, or be root's.
            let _ = kill_process(pid, Signal::KILL);
        }
        while wait(WaitOptions::NOHANG).is_ok_and(|ended| ended.is_some()) {}
        if wait(WaitOptions::NOHANG).is_err() {
            break;
        }
        sleep(TURN);
    }
    Ok(ended.iter().map(|(pid, command)| format!("  {pid} {command}\n")).collect())
}

/// Everything that has this process as an ancestor.
fn descendants(ancestor: Pid) -> Result<Vec<Pid>> {
    let mut found = vec![ancestor];
    let pairs: Vec<(Pid, Pid)> =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| parent(entry.file_name().to_str()?)).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(pairs.iter().filter(|pair| pair.1 == parent).map(|pair| pair.0));
        next += 1;
    }
    Ok(found.split_off(1))
}

/// A process and its parent, as `proc_pid_stat(5)` has them; none for what is gone or no process.
fn parent(name: &str) -> Option<(Pid, Pid)> {
    let pid = Pid::from_raw(name.parse().ok()?)?;
    let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
    // The name of the program may hold anything, a parenthesis too.
    let (_, after) = stat.rsplit_once(") ")?;
    Some((pid, Pid::from_raw(after.split(' ').nth(1)?.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the process is to guard, where it is started for that.
    const SCRIPT: &str = "GATEWAY_GUARD_THIS";

    /// In a process of its own: it waits for any child.
    #[test]
    fn guards_when_asked() {
        let Some(script) = std::env::var_os(SCRIPT) else { return };
        let mut shell = Command::new("sh");
        match end_of(shell.arg("-c").arg(script), Duration::from_secs(3), Duration::from_millis(500)) {
            Ok(code) => println!("guard: {}", if code == ExitCode::SUCCESS { "ok" } else { "failed" }),
            Err(error) => println!("guard: {error:#}"),
        }
    }

    fn guard(script: &str) -> String {
        let mut this = Command::new(std::env::current_exe().unwrap());
        this.args(["--exact", "guard::tests::guards_when_asked", "--nocapture"]).env(SCRIPT, script);
        // Reading its output to the end is what hung where a process was left behind.
        let text = String::from_utf8(this.output().unwrap().stdout).unwrap();
        text[text.find("guard: ").unwrap()..].to_owned()
    }

    #[test]
    fn passes_on_how_a_run_ended() {
        assert!(guard("exit 0").starts_with("guard: ok"));
        assert!(guard("exit 3").starts_with("guard: failed"));
        assert!(guard("(sleep 0.2 &) ; exit 0").starts_with("guard: ok"), "it ended within the grace");
    }

    #[test]
    fn ends_what_was_left_behind_and_names_it() {
        let said = guard("(setsid sh -c 'while :; do sleep 4.321; done' &) ; exit 0");
        assert!(said.contains("left behind") && said.contains("sleep 4.321"), "{said}");
    }

    #[test]
    fn ends_a_run_that_takes_too_long() {
        let said = guard("sleep 43.21");
        assert!(said.contains("more than 3 s") && said.contains("sleep 43.21"), "{said}");
    }
}
