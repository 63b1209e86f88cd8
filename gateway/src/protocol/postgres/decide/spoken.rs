//! Statements that may change in which encoding the session speaks.
//!
//! In: what a message sets, and how the session speaks now. Out: whether it may change that, and a refusal where what
//! follows could not be read: behind another statement of the same message, or in an encoding that is not served.

use super::analysis::{Scope, Unreadable};
use super::{PolicyJudge, Understood};
use crate::protocol::postgres::encoding::{Encoding, Wanted};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::sql::facts::{Discard, Facts, SettingReach, SettingValue, Statement, Verb};
use crate::protocol::postgres::sql::{Caps, may_be_other_names};

/// What a statement makes of the encoding, where it says anything of it.
fn wanted(statement: &Statement) -> impl Iterator<Item = Wanted> + '_ {
    let of_session = |reach| matches!(reach, SettingReach::Session | SettingReach::Transaction);
    let changes = statement.settings.iter().filter(move |change| of_session(change.reach));
    let set = changes.filter_map(|change| match (change.name.as_deref(), &change.value) {
        (Some("client_encoding"), SettingValue::Constant(name)) => Encoding::find(name).map(Wanted::Encoding),
        (Some("client_encoding" | "all"), SettingValue::Reset) => Some(Wanted::Startup),
        _ => None,
    });
    let discards = statement.verbs.contains(&Verb::Discard(Discard::All));
    set.chain(discards.then_some(Wanted::Startup))
}

fn of_facts(facts: &Facts) -> impl Iterator<Item = Wanted> + '_ {
    facts.statements.iter().flat_map(wanted)
}

impl PolicyJudge {
    /// Whether it may change the encoding of the session.
    pub(super) fn sets_encoding(&self, understood: &Understood) -> bool {
        let all = std::iter::once(&understood.own).chain(&understood.named);
        let mut wanted = all.flat_map(|analysis| of_facts(&analysis.facts)).peekable();
        wanted.peek().is_some() && wanted.any(|wanted| self.speech.lock().is_moved_by(wanted))
    }

    /// Refuses names that the server could take for others than we do.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) fn check_names(&self, scope: &Scope, text: &str) -> Result<(), Denial> {
        let catalog = scope.scene().calls.as_ref().filter(|catalog| !catalog.is_utf8());
        if catalog.is_none() || !may_be_other_names(text, &Caps::default()) {
            return Ok(());
        }
        let reason = "a name of it is long, or has a capital letter beyond ASCII, and the database is not in UTF8: write \
            such letters small or in quotes, and long names in another way";
        Err(self.unreadable(text, &Unreadable::Catalog { reason: reason.to_owned() }))
    }

    /// Refuses a change that nobody could follow.
    ///
    /// # Errors
    /// With what the client reads.
    pub(super) fn check_speech(&self, understood: &Understood) -> Result<(), Box<Denial>> {
        if !self.sets_encoding(understood) {
            return Ok(());
        }
        let speech = *self.speech.lock();
        let facts = &understood.own.facts;
        let reason = if of_facts(facts).any(|wanted| !speech.serves(wanted)) {
            "the database is in another encoding than UTF8 and the one that is asked for, and how it converts between the \
             two is not known: leave client_encoding at UTF8"
        } else if !matches!(facts.statements.as_slice(), [one] if matches!(&*one.command, "SET" | "RESET" | "DISCARD ALL"))
        {
            "client_encoding is changed by SET, RESET or DISCARD ALL alone: send it as a message of its own"
        } else {
            return Ok(());
        };
        self.note_refusal(understood.own.kept.clone(), reason.to_owned());
        Err(Box::new(self.refusal(SqlState::DENIED, reason)))
    }
}
