//! What is written to the server in a session that does not speak UTF8.
//!
//! In: SQL of ours. Out: the same in the session's encoding, or a denial: nothing is sent in which a character is missing.
//! A statement that may change the encoding goes alone.

use super::{Asked, Cause};
use crate::masking::class::MARK;
use crate::protocol::postgres::catalog::WIDTH;
use crate::protocol::postgres::judge::{Forward, Judge};
use crate::protocol::postgres::reply::{Denial, SqlState};

/// A question of ours with its answer in hexadecimal.
pub(super) fn in_hex(question: &str) -> String {
    let names: Vec<_> = (0..WIDTH).map(|column| format!("c{column}")).collect();
    let shown = |name: &String| format!("pg_catalog.encode(pg_catalog.convert_to({name}, 'UTF8'), 'hex')");
    let shown: Vec<_> = names.iter().map(shown).collect();
    format!("SELECT {} FROM ({question}) question({})", shown.join(", "), names.join(", "))
}

impl<J: Judge> Asked<'_, J> {
    /// What is sent in place of a text.
    pub(super) fn in_words(&self, text: &str, instead: &str) -> Result<Vec<u8>, Box<Denial>> {
        let encoding = self.link.state.encoding();
        // Masks are written in another form than its own then.
        let says_mark = !encoding.is_utf8() && text.contains(MARK);
        encoding.encode_sql(instead).filter(|_| !says_mark).ok_or_else(|| {
            let what =
                format!("refused by the gateway: what is sent in its place cannot be said in {}", encoding.name());
            Box::new(Denial::error(SqlState::DENIED, what).with_hint("SET client_encoding TO UTF8, and send it again."))
        })
    }

    /// A permitted run that cannot be sent all the same.
    pub(super) fn unsent(&self, forward: Forward<J::Permit>, denial: Box<Denial>) -> Option<Box<Denial>> {
        self.link.state.drop_run(forward, self.judge);
        self.link.state.still(denial)
    }

    /// Waits until all is answered before a run that may change the encoding: what came before is read in the old one.
    pub(super) async fn alone(&mut self, sets: bool) -> Result<(), Cause> {
        if sets && self.link.state.awaits() {
            let flush = self.link.state.settle();
            self.link.to_server.bytes.extend_from_slice(flush);
            self.until(|state| (!state.awaits()).then_some(())).await?;
            self.link.state.settled();
        }
        Ok(())
    }
}
