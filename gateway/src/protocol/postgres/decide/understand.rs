//! What a text means to this session, as it is now.
//!
//! In: a text, or what was understood of it before. Out: its analysis, with that of all that it runs by name; or what the
//! client reads. What was prepared under other words than it would be sent in now is refused.

use std::sync::Arc;

use super::analysis::{Analysis, Scope, Unreadable};
use super::questions::Scene;
use super::{PolicyJudge, Understood, names};
use crate::protocol::postgres::reply::{Denial, SqlState};

impl PolicyJudge {
    /// Reads a text, following what it does to the search path.
    pub(super) async fn understand(&self, text: &str, in_transaction: bool) -> Result<Arc<Understood>, Denial> {
        let mut scope = self.scope(in_transaction)?;
        let mut own = self.analyse(&scope, text).await.map_err(|error| self.unreadable(text, &error))?;
        let added =
            names::schemas_added(&own.facts, &self.user()).map_err(|reason| self.refusal(SqlState::DENIED, &reason))?;
        if !added.is_empty() {
            // Every schema that was ever on the path stays a candidate: which one it is now depends on transactions.
            let mut path = scope.scene().path.clone();
            path.extend(added.into_iter().filter(|schema| !scope.scene().path.contains(schema)));
            self.set_path(path);
            scope = self.scope(in_transaction)?;
            own = self.analyse(&scope, text).await.map_err(|error| self.unreadable(text, &error))?;
        }
        self.check_names(&scope, text)?;
        let known = self.view.lock().as_ref().map(|view| view.check(&own.facts));
        if let Some(Err(reason)) = known {
            return Err(self.unreadable(text, &Unreadable::Catalog { reason }));
        }
        let named = self.named(&scope, &own).await?;
        Ok(Arc::new(Understood { scope, own, named }))
    }

    /// What a text runs by name, as it is understood now.
    async fn named(&self, scope: &Scope, own: &Analysis) -> Result<Vec<Arc<Analysis>>, Denial> {
        let run = self.names.lock().run_by(own.verbs()).map_err(|name| {
            let reason = format!("`{name}` is not known in this session, so that nobody knows what it runs");
            self.refusal(SqlState::NO_STATEMENT, &reason)
        })?;
        let mut named = Vec::with_capacity(run.len());
        for analysis in run {
            let text = &analysis.text;
            let now = self.analyse(scope, text).await.map_err(|error| self.unreadable(text, &error))?;
            self.check_sent(&analysis, &now)?;
            named.push(now);
        }
        Ok(named)
    }

    /// The same as it is understood now: the names in it, and the labels, may have changed since it was prepared.
    pub(super) async fn now(&self, understood: &Arc<Understood>) -> Result<Arc<Understood>, Denial> {
        let scene = understood.scope.scene();
        let scope = self.scope(scene.in_transaction)?;
        let catalog = |scene: &Scene| scene.calls.as_ref().map(|catalog| *catalog.digest());
        let differs = catalog(scope.scene()) != catalog(scene) || !scope.masks_as(&understood.scope);
        // What is masked at the source, policies say: they may be others by now.
        if differs || self.about.masks_at_source {
            let now = self.understand(&understood.own.text, scene.in_transaction).await?;
            self.check_sent(&understood.own, &now.own)?;
            return Ok(now);
        }
        let named = self.named(&understood.scope, &understood.own).await?;
        Ok(if named.is_empty() && understood.named.is_empty() {
            Arc::clone(understood)
        } else {
            Arc::new(Understood { scope: understood.scope.clone(), own: Arc::clone(&understood.own), named })
        })
    }
}
