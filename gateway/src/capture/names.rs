//! The addresses that names stand for, as the kernel side looks them up.
//!
//! In: addresses, what their name says of their ports, and for how long. Out: entries of a map that the hooks read, which
//! end by themselves when their time is over. Never holds more than the map does, and forgets nothing that still counts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aya::maps::{HashMap as KernelMap, MapData};
use gateway_common::{Endpoint, NAMED_ENTRIES, Named, Verdict};
use rustix::time::ClockId;

use super::tables::is_nameable;

/// The least that an address is kept: clients resolve first and connect a while later, whatever the TTL.
const LEAST: Duration = Duration::from_secs(60);
/// The most: an address that its name has left is closed within this time.
const MOST: Duration = Duration::from_secs(3_600);

/// Why addresses were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// No name may stand for one of them.
    #[error("rebinding")]
    Forbidden,
    /// The attachment has as many as it may.
    #[error("too_many_addresses")]
    Full,
    /// The map could not be written.
    #[error("map_failed")]
    Failed,
}

/// The addresses of one attachment.
pub struct Names {
    map: KernelMap<MapData, Endpoint, Named>,
    /// The same entries, with the name of each.
    kept: HashMap<Endpoint, (Named, String)>,
}

impl Names {
    /// Those of a map that an earlier gateway may have filled by other rules: they are gone.
    pub(super) fn over(map: KernelMap<MapData, Endpoint, Named>) -> Self {
        let mut names = Self { map, kept: HashMap::new() };
        names.clear();
        names
    }

    /// Takes the addresses of a name, with a verdict for each of its ports, and says for how long.
    ///
    /// # Errors
    /// Where one of them is refused: then none is taken.
    pub fn admit(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        ports: &[(Option<u16>, Verdict)],
        ttl: Duration,
    ) -> Result<Duration, NotTaken> {
        if !addresses.iter().all(|address| is_nameable(*address)) {
            return Err(NotTaken::Forbidden);
        }
        if self.kept.len() + addresses.len() * ports.len() > NAMED_ENTRIES {
            self.sweep();
        }
        if self.kept.len() + addresses.len() * ports.len() > NAMED_ENTRIES {
            return Err(NotTaken::Full);
        }
        let time = ttl.clamp(LEAST, MOST);
        let until = now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        for address in addresses {
            for (port, verdict) in ports {
                let endpoint = Endpoint::from(SocketAddr::new(*address, port.unwrap_or(0)));
                self.insert(endpoint, Named { until, verdict: *verdict as u32, unused: 0 }, name)?;
            }
        }
        Ok(time)
    }

    /// The name that an address was last reached by.
    #[must_use]
    pub fn name_of(&self, endpoint: Endpoint) -> Option<&str> {
        let kept = self.kept.get(&endpoint).or_else(|| self.kept.get(&Endpoint { port: 0, ..endpoint }));
        kept.map(|(_, name)| name.as_str())
    }

    /// Removes what is over.
    pub fn sweep(&mut self) {
        let now = now();
        let over: Vec<_> = self.kept.iter().filter(|(_, (named, _))| named.until <= now).map(|(key, _)| *key).collect();
        for endpoint in over {
            self.kept.remove(&endpoint);
            // The hooks look at its time: one that stays says nothing any more.
            let _ = self.map.remove(&endpoint);
        }
    }

    /// Closes all: other rules are in force, or nobody keeps to them. What was connected before is still to be named in
    /// the journal.
    pub fn clear(&mut self) {
        self.kept.values_mut().for_each(|(named, _)| named.until = 0);
        for endpoint in self.map.keys().flatten().collect::<Vec<_>>() {
            let _ = self.map.remove(&endpoint);
        }
    }

    fn insert(&mut self, endpoint: Endpoint, mut named: Named, name: &str) -> Result<(), NotTaken> {
        if let Some((before, _)) = self.kept.get(&endpoint).filter(|(before, _)| before.until > now()) {
            named.until = named.until.max(before.until);
            // Two names for one address: what protects it counts.
            if before.verdict != Verdict::Allow as u32 {
                named.verdict = before.verdict;
            }
        }
        self.map.insert(endpoint, named, 0).map_err(|_| NotTaken::Failed)?;
        self.kept.insert(endpoint, (named, name.to_owned()));
        Ok(())
    }
}

/// The clock of the hooks.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
