//! Reading the copy back.
//!
//! In: a login that may read, and an installation, or a question of the operator's. Out: the lines of its journals as they
//! stand in the copy, in order, or the answer. It trusts no other column than those that say which line it is.

use bytes::Bytes;
use clickhouse::Row;
use clickhouse::query::{BytesCursor, RowCursor};
use serde::Deserialize;

use super::store::{Store, StoreError, words};
use crate::audit::journal::Seq;
use crate::id::{HostId, JournalId};

/// A line in the copy.
#[derive(Debug, Row, Deserialize)]
pub struct Copied {
    /// Its number, as its row says.
    pub seq: u64,
    /// Its kind, as its row says.
    pub event: String,
    /// The line itself; what is not UTF-8 in it is replaced, as no line of ours holds such.
    pub line: String,
}

/// The lines of one journal.
pub struct CopiedLines<'a> {
    store: &'a Store,
    rows: RowCursor<Copied>,
}

#[derive(Debug, Row, Deserialize)]
struct Name {
    journal: String,
}

#[derive(Debug, Row, Deserialize)]
struct First {
    found: u8,
    seq: u64,
}

/// What the server answers to a question.
pub struct Answer<'a> {
    store: &'a Store,
    bytes: BytesCursor,
}

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The server is not reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It says no; whoever asks may read what it says.
    #[error("ClickHouse refuses: {answer}")]
    Refused {
        /// Its words.
        answer: String,
    },
}

impl Store {
    /// Puts a question; `format` is ClickHouse's name of one. Nothing of an answer comes before the server has all of it.
    ///
    /// # Errors
    /// Where the server is not reached.
    pub fn ask(&self, sql: &str, format: &str) -> Result<Answer<'_>, QueryError> {
        let query = self.client().query_raw(sql).with_setting("wait_end_of_query", "1");
        Ok(Answer { store: self, bytes: query.fetch_bytes(format).map_err(|error| self.no_answer(&error))? })
    }

    fn no_answer(&self, error: &clickhouse::error::Error) -> QueryError {
        match error {
            clickhouse::error::Error::BadResponse(answer) => QueryError::Refused { answer: words(answer) },
            error => QueryError::Store(self.explain(error)),
        }
    }

    /// The journals of an installation that the copy has anything of.
    ///
    /// # Errors
    /// Where the server is not reached or says no.
    pub async fn copied_journals(&self, host: HostId) -> Result<Vec<JournalId>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT toString(journal_id) AS journal FROM events WHERE host_id = toUUID('{host}') ORDER BY journal"
        );
        let names: Vec<Name> = self.client().query_raw(&sql).fetch_all().await.map_err(|error| self.explain(&error))?;
        Ok(names.iter().filter_map(|name| name.journal.parse().ok()).collect())
    }

    /// The first number under which the copy has two lines.
    ///
    /// # Errors
    /// Where the server is not reached or says no.
    pub async fn first_conflict(&self, host: HostId, journal: JournalId) -> Result<Option<Seq>, StoreError> {
        let sql = format!(
            "SELECT toUInt8(count() > 0) AS found, min(seq) AS seq FROM conflict WHERE {}",
            of_journal(host, journal)
        );
        let first: First = self.client().query_raw(&sql).fetch_one().await.map_err(|error| self.explain(&error))?;
        Ok((first.found != 0).then_some(Seq(first.seq)))
    }

    /// The lines of a journal by number; one that was sent twice may come twice, the row that came first before the others.
    ///
    /// # Errors
    /// Where the server is not reached or says no.
    pub fn copied_lines(&self, host: HostId, journal: JournalId) -> Result<CopiedLines<'_>, StoreError> {
        let sql = format!(
            "SELECT seq, toString(event) AS event, toValidUTF8(line) AS line FROM events WHERE {} \
             ORDER BY seq, line_hash, earliness DESC",
            of_journal(host, journal)
        );
        let rows = self.client().query_raw(&sql).fetch().map_err(|error| self.explain(&error))?;
        Ok(CopiedLines { store: self, rows })
    }
}

impl Answer<'_> {
    /// The next piece.
    ///
    /// # Errors
    /// Where the server says no, or stops answering.
    pub async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        self.bytes.next().await.map_err(|error| self.store.no_answer(&error))
    }
}

impl CopiedLines<'_> {
    /// The next one.
    ///
    /// # Errors
    /// Where the server stops answering.
    pub async fn next(&mut self) -> Result<Option<Copied>, StoreError> {
        self.rows.next().await.map_err(|error| self.store.explain(&error))
    }
}

fn of_journal(host: HostId, journal: JournalId) -> String {
    format!("host_id = toUUID('{host}') AND journal_id = toUUID('{journal}')")
}
