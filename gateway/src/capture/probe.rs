//! What this kernel and host offer, found by trying: `gateway doctor`.
//!
//! In: nothing. Out: one line per feature, with what a missing one costs. Versions are not compared, since vendors
//! backport; the real programs are loaded over a cgroup made for it.

use std::net::Ipv4Addr;

use gateway_common::Verdict;
use serde::Serialize;

use super::cookies;
use super::gaps;
use super::gate::{Gate, can_name_errors};
use super::lsm::Lsm;
use super::tables::Tables;
use super::trial::Trial;
use crate::chain::chain;
use crate::host::cgroup::Hierarchy;
use crate::host::netns::Netns;
use crate::sandbox;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was tried.
    pub feature: &'static str,
    /// It works.
    pub works: bool,
    /// Nothing goes without it; the others only cost what `detail` says.
    pub needed: bool,
    /// How it is here, or what its absence costs and how to get it.
    pub detail: String,
}

/// Tries everything.
#[must_use]
pub fn probe() -> Vec<Finding> {
    vec![root(), cgroups(), hooks(), errors(), namespaces(), controllers(), lsm(), landlock(), loopback6()]
}

fn root() -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    let detail = if is_root { "uid 0".into() } else { "run it with sudo: hooks need root".into() };
    Finding { feature: "root", works: is_root, needed: true, detail }
}

fn cgroups() -> Finding {
    let (works, detail) = match Hierarchy::find() {
        Ok(hierarchy) => (true, format!("mounted at {}", hierarchy.mount().display())),
        Err(error) => (false, error.to_string()),
    };
    Finding { feature: "cgroup v2", works, needed: true, detail }
}

fn hooks() -> Finding {
    let (works, detail) = match try_hooks() {
        Ok(count) => (true, format!("all {count} programs load and attach")),
        Err(error) => (false, error),
    };
    Finding { feature: "eBPF hooks", works, needed: true, detail }
}

fn try_hooks() -> Result<usize, String> {
    let hierarchy = Hierarchy::find().map_err(|error| chain(&error))?;
    let trial = Trial::begin(&hierarchy).map_err(|error| chain(&error))?;
    let (cgroup, directory) = trial.open(&hierarchy).map_err(|error| chain(&error))?;
    let tables = Tables::new(Verdict::Allow);
    let (gate, _) = Gate::close_over(&cgroup, &directory, &tables, 1, None).map_err(|error| chain(&error))?;
    gate.detach().map_err(|error| chain(&error))?;
    Ok(super::gate::HOOKS.len())
}

fn errors() -> Finding {
    let works = can_name_errors();
    let detail = if works {
        "a refused connect reads ECONNREFUSED"
    } else {
        "a refused connect reads EPERM instead of ECONNREFUSED: before Linux 5.18 hooks cannot say which error"
    };
    Finding { feature: "errors of hooks", works, needed: false, detail: detail.into() }
}

fn namespaces() -> Finding {
    let feature = "namespace cookies";
    let cookie = Hierarchy::find()
        .map_err(|error| chain(&error))
        .and_then(|hierarchy| cookies::start_thread(&hierarchy).map_err(|error| chain(&error)))
        .and_then(|thread| Netns::own().and_then(|own| own.cookie(&thread)).map_err(|error| chain(&error)));
    match (cookie, cookies::sockets_tell()) {
        (Ok(_), true) => {
            let detail = "network namespaces are told apart by the cookie that a socket tells".into();
            Finding { feature, works: true, needed: true, detail }
        }
        (Ok(_), false) => {
            let detail = "before Linux 5.14 sockets do not tell the cookie of their namespace: a program on the gateway's own cgroup notes it instead".into();
            Finding { feature, works: false, needed: false, detail }
        }
        (Err(error), _) => {
            let detail = format!("{error}: without it nothing can be redirected");
            Finding { feature, works: false, needed: true, detail }
        }
    }
}

fn controllers() -> Finding {
    let works = gaps::separates_cgroup_data();
    let detail = if works {
        "net_cls and net_prio (cgroup v1) take no socket out"
    } else {
        "before Linux 5.15 net_cls and net_prio (cgroup v1) take sockets out of every hook: attach refuses while they are in use"
    };
    Finding { feature: "old controllers", works, needed: false, detail: detail.into() }
}

fn lsm() -> Finding {
    let found = Hierarchy::find()
        .map_err(|error| chain(&error))
        .and_then(|hierarchy| Lsm::find(&hierarchy).map_err(|error| chain(&error)));
    let (works, detail) = match found {
        Ok(_) => (true, format!("all {} programs load and run", super::lsm::HOOKS.len())),
        Err(error) => (false, gaps::without_lsm(&error)),
    };
    Finding { feature: "LSM hooks", works, needed: false, detail }
}

fn landlock() -> Finding {
    let works = sandbox::has_landlock();
    let detail = if works {
        "the engine can open no path"
    } else {
        "before Linux 5.13, or without `landlock` among the active security modules, files are closed to the engine by its user and its seccomp filter alone"
    };
    Finding { feature: "Landlock", works, needed: false, detail: detail.into() }
}

fn loopback6() -> Finding {
    let works = std::net::TcpListener::bind((std::net::Ipv6Addr::LOCALHOST, 0)).is_ok();
    let v4 = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).is_ok();
    let detail = match (v4, works) {
        (true, true) => "127.0.0.1 and ::1 are there".into(),
        (true, false) => "::1 is not there: IPv6 connects to protected ports are refused".into(),
        (false, _) => "127.0.0.1 is not there: connects to protected ports are refused".into(),
    };
    Finding { feature: "loopback", works: v4 && works, needed: false, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_needed_works_here() {
        for finding in probe() {
            assert!(finding.works || !finding.needed, "{finding:?}");
        }
    }
}
