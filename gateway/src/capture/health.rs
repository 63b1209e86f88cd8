//! Whether the hooks still catch what they should: looked at from outside, with their maps, and tried from inside (`canary`).
//!
//! In: a gate and its cgroup's path. Out: what is wrong. Pins prove nothing, since they outlive a cgroup that was
//! removed and made anew; the programs attached to the cgroup that the path leads to now do, and a connect from inside
//! proves that sockets meet them at all.

use std::path::Path;

use super::canary::{self, Trial};
use super::gate::Gate;
use crate::host::cgroup::Hierarchy;

/// What is wrong with an attachment's hooks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// The cgroup is not there.
    #[error("the cgroup `{path}` is gone: nothing is intercepted until it is made again")]
    CgroupGone {
        /// Where it was.
        path: String,
    },
    /// It was removed and made anew.
    #[error("the cgroup `{path}` was removed and made anew: its hooks went with it")]
    CgroupReplaced {
        /// Where it is.
        path: String,
    },
    /// Hooks of ours are not attached.
    #[error("the hooks {} are not attached to `{path}` any more", .hooks.join(", "))]
    HooksMissing {
        /// Which cgroup.
        path: String,
        /// Their programs.
        hooks: Vec<&'static str>,
    },
    /// Maps of ours are not where they were pinned.
    #[error("the eBPF maps {} of `{path}` are not pinned any more: who starts next would not find them", .maps.join(", "))]
    MapsMissing {
        /// Which cgroup.
        path: String,
        /// Their names.
        maps: Vec<&'static str>,
    },
    /// Somebody wrote to a map of ours.
    #[error("the eBPF map {map} of `{path}` does not hold what was written to it")]
    MapChanged {
        /// Which cgroup.
        path: String,
        /// Its name.
        map: &'static str,
    },
    /// A connect from inside was not redirected.
    #[error("a connect from inside `{path}` was not redirected: {reason}")]
    CanaryLost {
        /// Which cgroup.
        path: String,
        /// What happened instead.
        reason: String,
    },
}

/// Looks at the hooks of a gate.
///
/// # Errors
/// With what is wrong.
pub fn look(gate: &Gate, hierarchy: &Hierarchy) -> Result<(), Unhealthy> {
    let path = gate.cgroup().path.clone();
    let Ok(now) = hierarchy.at(Path::new(&path)) else { return Err(Unhealthy::CgroupGone { path }) };
    if now.id != gate.cgroup().id {
        return Err(Unhealthy::CgroupReplaced { path });
    }
    let Ok(directory) = hierarchy.open(&now) else { return Err(Unhealthy::CgroupGone { path }) };
    let hooks = gate.missing_hooks(&directory);
    if !hooks.is_empty() {
        return Err(Unhealthy::HooksMissing { path, hooks });
    }
    let maps = gate.missing_maps();
    if !maps.is_empty() {
        return Err(Unhealthy::MapsMissing { path, maps });
    }
    gate.changed_map().map_or(Ok(()), |map| Err(Unhealthy::MapChanged { path, map }))
}

/// Has a process of ours inside the cgroup connect. The listener sees the record and closes it. Where the gate has LSM
/// hooks, it tries these too.
///
/// # Errors
/// Where the connect was not redirected, the LSM hooks did not run, or the process could not be started.
pub fn send_canary(cgroup: &str, directory: &Path, has_lsm: bool) -> Result<(), Unhealthy> {
    let trials: &[Trial] = if has_lsm { &[Trial::Connect, Trial::Lsm] } else { &[Trial::Connect] };
    let lost = |reason: String| Unhealthy::CanaryLost { path: cgroup.to_owned(), reason };
    match canary::send(directory, trials) {
        Ok(None) => Ok(()),
        Ok(Some(said)) => Err(lost(said)),
        Err(error) => Err(lost(format!("the canary did not start: {error}"))),
    }
}
