//! What becomes of a change whose rows were counted.
//!
//! In: the permit that it ran under, and how many rows it changed; nothing of it is committed. Out: leave to commit it,
//! or why it is rolled back. A person's yes is for this statement with this many rows, and is recorded before the commit.

use super::hold::{Answer, Matter};
use super::{Permit, PolicyJudge, Understood};
use crate::policy::{Change, CommitPermit, RequestPermit};
use crate::protocol::postgres::judge::Say;
use crate::protocol::postgres::reply::{Denial, SqlState};

impl PolicyJudge {
    /// What people would be asked if it changes more rows than go without approval; none where nobody can raise that.
    pub(super) fn matter_of_change(
        &self,
        understood: &Understood,
        parameters: Option<&[u8]>,
        permit: &Permit,
    ) -> Option<Box<Matter>> {
        let can_wait = may_wait(&permit.permit);
        parameters.filter(|_| can_wait).map(|parameters| Box::new(self.matter(understood, parameters, permit.request)))
    }

    /// Leave to commit, of policy or of people.
    pub(super) async fn permit_commit(
        &self,
        permit: &Permit,
        rows: u64,
        say: &Say,
    ) -> Result<CommitPermit, Box<Denial>> {
        let hold = match permit.permit.change(rows) {
            Change::Within(permit) => return Ok(permit),
            Change::Over => return Err(Box::new(too_many(&permit.permit, rows))),
            Change::Waits(hold) => hold,
        };
        let Some(matter) = &permit.matter else {
            let reason = "refused by the gateway: its rows need an approval since other policies came into force";
            return Err(Box::new(Denial::error(SqlState::DENIED, reason).with_hint("Bind the statement anew.")));
        };
        let binding = self.shared.desk.bind([matter.binding.as_bytes(), &rows.to_be_bytes()]);
        let (summary, opaque) = (matter.summary.clone(), matter.opaque.clone());
        let matter = Matter { binding, summary, opaque, request: matter.request, changed: Some(rows) };
        match self.ask_people(&matter, hold, say).await? {
            Answer::Approved(permit) => Ok(permit),
            Answer::JudgeAgain => {
                let reason = "refused by the gateway: other policies came into force while it waited for approval";
                Err(Box::new(Denial::error(SqlState::DENIED, reason).with_hint("Send it again.")))
            }
        }
    }
}

/// Whether people can let it change more rows than go without them.
pub(super) fn may_wait(permit: &RequestPermit) -> bool {
    let caps = permit.caps();
    caps.alone.is_some() && caps.alone != caps.affected
}

fn too_many(permit: &RequestPermit, rows: u64) -> Denial {
    let (by, caps) = (permit.policies().join(", "), permit.caps());
    let allowed = caps.affected.or(caps.alone).unwrap_or_default();
    let message = format!("cut by policy {by}: it would change {rows} rows, {allowed} are allowed");
    Denial::error(SqlState::TOO_LARGE, message).with_hint("Change fewer rows at a time, or ask a person to do it.")
}
