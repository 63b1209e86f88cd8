//! Windows: a workload may do at a target what policies say of them, until a time.
//!
//! In: requests that people approved, or one of them opened alone in an emergency. Out: the windows that are open for a
//! workload and a target, and word of each that ends. It must never keep one open past its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::ticket::{Approves, Cast, later};
use crate::audit::Timestamp;
use crate::id::TicketId;

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowAsked {
    /// As policies name it.
    pub name: String,
    /// For which workload, or for all of an attachment.
    pub workload: String,
    /// To which target.
    pub target: String,
    /// For how long, from its opening on.
    pub time: Duration,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub person: String,
    /// Their number on this host.
    pub uid: Option<u32>,
}

/// A window that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// That of the request for it.
    pub id: TicketId,
    /// What was asked.
    #[serde(flatten)]
    pub asked: WindowAsked,
    /// Since when.
    pub opened: Timestamp,
    /// Until when.
    pub ends: Timestamp,
    /// Who approved it; nobody where it was opened by one alone.
    pub votes: Vec<Cast>,
    /// It was opened in an emergency, by one person alone.
    pub break_glass: bool,
}

impl Window {
    /// Opens now.
    #[must_use]
    pub fn open(id: TicketId, asked: WindowAsked, votes: Vec<Cast>) -> Self {
        let opened = Timestamp::now();
        let (ends, break_glass) = (later(opened, asked.time), votes.is_empty());
        Self { id, asked, opened, ends, votes, break_glass }
    }

    fn is_for(&self, workload: &str, target: &str) -> bool {
        let attachment = workload.split('/').next().unwrap_or_default();
        self.asked.target == target && [workload, attachment].contains(&self.asked.workload.as_str())
    }

    /// How long it is open still.
    fn left(&self) -> Duration {
        Duration::from_micros(self.ends.as_micros().saturating_sub(Timestamp::now().as_micros()))
    }
}

/// The windows of an engine.
#[derive(Debug, Default)]
pub struct Windows(watch::Sender<BTreeMap<TicketId, Arc<Window>>>);

impl Windows {
    /// Those that were kept; what has ended meanwhile is not open.
    #[must_use]
    pub fn of(kept: Vec<Window>) -> Self {
        Self(watch::Sender::new(kept.into_iter().map(|window| (window.id, Arc::new(window))).collect()))
    }

    /// All that are open.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Window>> {
        self.0.borrow().values().filter(|window| !window.left().is_zero()).cloned().collect()
    }

    /// Those of a workload at a target.
    #[must_use]
    pub fn of_session(&self, workload: &str, target: &str) -> Vec<Arc<Window>> {
        self.all().into_iter().filter(|window| window.is_for(workload, target)).collect()
    }

    /// From now on it is open.
    pub fn insert(&self, window: Window) {
        self.0.send_modify(|all| {
            all.insert(window.id, Arc::new(window));
        });
    }

    /// Ends one. `None`: it is not open.
    pub fn remove(&self, id: TicketId) -> Option<Arc<Window>> {
        let mut removed = None;
        self.0.send_if_modified(|all| {
            removed = all.remove(&id);
            removed.is_some()
        });
        removed
    }

    /// Takes those out whose time is over.
    #[must_use]
    pub fn expire(&self) -> Vec<Arc<Window>> {
        let due: Vec<_> =
            self.0.borrow().values().filter(|window| window.left().is_zero()).map(|window| window.id).collect();
        due.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Takes those out that somebody approved who no longer votes for all that it counted for.
    #[must_use]
    pub fn revoke(&self, votes: impl Fn(u32, &String) -> bool) -> Vec<Arc<Window>> {
        let stands = |cast: &Cast| {
            cast.approves == Approves::No
                || cast.uid.is_none_or(|uid| cast.groups.iter().all(|group| votes(uid, group)))
        };
        let gone: Vec<_> = self
            .0
            .borrow()
            .values()
            .filter(|window| !window.votes.iter().all(stands))
            .map(|window| window.id)
            .collect();
        gone.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Resolves once one of these is open no longer, with its name. Never, where there are none.
    pub async fn ended(&self, of_session: &[Arc<Window>]) -> String {
        let ids: BTreeSet<_> = of_session.iter().map(|window| window.id).collect();
        let mut now = self.0.subscribe();
        let first = of_session.iter().min_by_key(|window| window.ends);
        let Some(first) = first else { return std::future::pending().await };
        let gone = async {
            let all = now.wait_for(|all| ids.iter().any(|id| !all.contains_key(id))).await;
            let is_gone = |window: &&Arc<Window>| all.as_ref().is_ok_and(|all| !all.contains_key(&window.id));
            of_session.iter().find(is_gone).map_or_else(String::new, |window| window.asked.name.clone())
        };
        tokio::select! {
            name = gone => name,
            () = over(first) => first.asked.name.clone(),
        }
    }
}

/// Its time is over, by the clock of the day, which may be set.
async fn over(window: &Window) {
    /// How often it is looked at.
    const LOOK: Duration = Duration::from_secs(5);
    while !window.left().is_zero() {
        tokio::time::sleep(window.left().min(LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(workload: &str, time: Duration) -> Window {
        let asked = WindowAsked {
            name: "repair".into(),
            workload: workload.into(),
            target: "shop".into(),
            time,
            reason: "why".into(),
            person: "alice".into(),
            uid: None,
        };
        Window::open(TicketId::generate(), asked, Vec::new())
    }

    #[test]
    fn a_window_is_for_its_workload_and_target_alone() {
        let windows = Windows::of(vec![
            window("agents/a.service", Duration::from_secs(60)),
            window("ci", Duration::from_secs(60)),
        ]);
        for (workload, target, count) in [
            ("agents/a.service", "shop", 1),
            ("agents/b.service", "shop", 0),
            ("agents", "shop", 0),
            ("agents/a.service", "other", 0),
            ("ci", "shop", 1),
            ("ci/x.service", "shop", 1),
            ("cities", "shop", 0),
        ] {
            assert_eq!(windows.of_session(workload, target).len(), count, "{workload} {target}");
        }
    }

    #[tokio::test]
    async fn who_rests_on_a_window_hears_of_its_end() {
        let (short, long) = (window("ci", Duration::from_millis(30)), window("ci", Duration::from_secs(60)));
        let windows = Windows::of(vec![short, long.clone()]);
        let both = windows.of_session("ci", "shop");
        assert_eq!(windows.ended(&both).await, "repair");
        assert_eq!((windows.expire().len(), windows.all().len()), (1, 1));
        let left = windows.of_session("ci", "shop");
        let ended = windows.ended(&left);
        tokio::pin!(ended);
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut ended).await.is_err());
        assert!(windows.remove(long.id).is_some() && windows.remove(long.id).is_none());
        assert_eq!(ended.await, "repair");
    }
}
