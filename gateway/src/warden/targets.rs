//! Which targets an operator asks about, and how long the answer may take.
//!
//! In: names. Out: what the engine, which alone speaks with servers, found of their credentials. It reads nothing that a server
//! said, and holds no credential out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Warden;
use crate::bridge::{PowersOf, Question};
use crate::control::check::{CheckWanted, Checked};
use crate::control::service::OperatorError;
use crate::engine;

/// For the engine's own work beside the waiting.
const ALLOWANCE: Duration = Duration::from_secs(5);

impl Warden {
    /// What credentials may do at their servers.
    pub(super) async fn check_targets(
        self: &Arc<Self>,
        uid: u32,
        wanted: CheckWanted,
    ) -> Result<Checked, OperatorError> {
        let declared: Vec<_> = self.config.lock().targets.iter().map(|target| target.name.clone()).collect();
        let wanted: BTreeSet<_> = wanted.targets.into_iter().collect();
        let unknown: Vec<_> = wanted.iter().filter(|name| !declared.contains(name)).cloned().collect();
        if !unknown.is_empty() {
            return Ok(Checked { unknown, ..Checked::default() });
        }
        let runtimes = match wanted.is_empty() {
            true => {
                let warden = Arc::clone(self);
                let looking = tokio::task::spawn_blocking(move || warden.readable());
                looking.await.map_err(|error| OperatorError::Refused(error.to_string()))?
            }
            false => Vec::new(),
        };
        let is_wanted = |name: &String| wanted.is_empty() || wanted.contains(name);
        let targets: Vec<_> = declared.into_iter().filter(is_wanted).collect();
        let rounds = u32::try_from(targets.len().div_ceil(engine::AT_ONCE)).unwrap_or(u32::MAX);
        let time = engine::PATIENCE.saturating_mul(rounds) + ALLOWANCE;
        let question = Question::Powers(PowersOf { targets, person: self.person(uid) });
        let answer = self.engine.ask_within(question, time).await.map_err(OperatorError::Refused)?;
        let targets = serde_json::from_value(answer).map_err(|error| OperatorError::Refused(error.to_string()))?;
        Ok(Checked { targets, runtimes, ..Checked::default() })
    }
}
