//! The state of one host in a file.
//!
//! In: changes. Out: each on disk before it is said to be kept, or an error; several at once are kept together or not at
//! all. A file that is damaged, or was made by a newer version, is never opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, Row};

use super::{Change, Kept, KeptTicket};

/// Its name in the state directory.
pub const FILE: &str = "state.sqlite";
/// What this version makes.
const VERSION: i64 = 1;
/// Bytes of the key.
const KEY: usize = 32;

/// Requests that are gone take their votes along. Numbers keep the order in which things happened.
const SCHEMA: &str = "
    CREATE TABLE secret (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE ticket (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, binding BLOB NOT NULL, text TEXT NOT NULL) STRICT;
    CREATE TABLE vote (number INTEGER PRIMARY KEY, ticket TEXT NOT NULL REFERENCES ticket (id) ON DELETE CASCADE, text TEXT NOT NULL) STRICT;
    CREATE INDEX vote_ticket ON vote (ticket);
    CREATE TABLE window (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL) STRICT;
    PRAGMA user_version = 1;";

/// Why there is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be made.
    #[error("cannot open `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It cannot be used as a database.
    #[error("cannot use `{path}`: {what}; move it away, and what waits for approval is asked anew")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// It is not ours to read.
    #[error("`{path}` was made by a newer gateway (version {version} of it): run that one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i64,
    },
    /// A change was not kept.
    #[error("the state could not be written")]
    Write(#[source] sqlx::Error),
    /// There is no randomness.
    #[error("the system has no randomness for a key")]
    Randomness,
}

/// The open file.
#[derive(Debug)]
pub struct Sqlite(SqliteConnection);

impl Sqlite {
    /// Opens the file of a state directory, or makes it; readable by its owner alone.
    ///
    /// # Errors
    /// Where it cannot be made, is damaged or newer.
    pub async fn open(state_dir: &Path) -> Result<Self, StateError> {
        let path = state_dir.join(FILE);
        let made = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        made.map_err(|source| StateError::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            // What is said to be kept survives power loss too.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let unusable = |error: sqlx::Error| StateError::Unusable { path: path.clone(), what: error.to_string() };
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(unusable)?;
        let version: i64 =
            sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.map_err(unusable)?;
        match version {
            0 => sqlx::raw_sql(SCHEMA).execute(&mut connection).await.map(drop).map_err(unusable)?,
            VERSION => {}
            version => return Err(StateError::Newer { path, version }),
        }
        let sound: String =
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await.map_err(unusable)?;
        if sound != "ok" {
            return Err(StateError::Unusable { path, what: sound });
        }
        Ok(Self(connection))
    }

    /// All that is kept; the key is made where there is none.
    ///
    /// # Errors
    /// Where the file cannot be read or written.
    pub async fn kept(&mut self) -> Result<Kept, StateError> {
        let key = self.key().await?;
        let read = async |connection: &mut SqliteConnection| {
            let mut tickets = Vec::new();
            for row in
                sqlx::query("SELECT id, binding, text FROM ticket ORDER BY number").fetch_all(&mut *connection).await?
            {
                let id: String = row.try_get(0)?;
                let votes = sqlx::query_scalar("SELECT text FROM vote WHERE ticket = ? ORDER BY number").bind(id);
                let votes = votes.fetch_all(&mut *connection).await?;
                tickets.push(KeptTicket { binding: row.try_get(1)?, text: row.try_get(2)?, votes });
            }
            let windows = sqlx::query_scalar("SELECT text FROM window ORDER BY number").fetch_all(connection).await?;
            Ok(Kept { key, tickets, windows })
        };
        read(&mut self.0).await.map_err(StateError::Write)
    }

    async fn key(&mut self) -> Result<Vec<u8>, StateError> {
        let mut fresh = [0; KEY];
        rand::fill(&mut fresh).map_err(|_| StateError::Randomness)?;
        let insert = sqlx::query("INSERT OR IGNORE INTO secret VALUES ('binding', ?)").bind(&fresh[..]);
        insert.execute(&mut self.0).await.map_err(StateError::Write)?;
        let select = sqlx::query_scalar("SELECT value FROM secret WHERE name = 'binding'");
        select.fetch_one(&mut self.0).await.map_err(StateError::Write)
    }

    /// Keeps changes in their order: all of them, or none.
    ///
    /// # Errors
    /// Where none was kept.
    pub async fn keep(&mut self, changes: &[Change]) -> Result<(), StateError> {
        let write = async |connection: &mut SqliteConnection| {
            let mut transaction = connection.begin().await?;
            for change in changes {
                apply(&mut transaction, change).await?;
            }
            transaction.commit().await
        };
        write(&mut self.0).await.map_err(StateError::Write)
    }
}

async fn apply(connection: &mut SqliteConnection, change: &Change) -> Result<(), sqlx::Error> {
    let mut run =
        async |query: sqlx::query::Query<'_, sqlx::Sqlite, _>| query.execute(&mut *connection).await.map(drop);
    match change {
        Change::Asked { ticket, binding, text } => {
            let query = sqlx::query("INSERT INTO ticket (id, binding, text) VALUES (?, ?, ?)");
            run(query.bind(ticket.to_string()).bind(binding).bind(text)).await
        }
        Change::Said { ticket, vote, text } => {
            let said = sqlx::query("INSERT INTO vote (ticket, text) SELECT id, ? FROM ticket WHERE id = ?");
            run(said.bind(vote).bind(ticket.to_string())).await?;
            run(sqlx::query("UPDATE ticket SET text = ? WHERE id = ?").bind(text).bind(ticket.to_string())).await
        }
        Change::Told { ticket, text } => {
            run(sqlx::query("UPDATE ticket SET text = ? WHERE id = ?").bind(text).bind(ticket.to_string())).await
        }
        Change::Gone { ticket } => run(sqlx::query("DELETE FROM ticket WHERE id = ?").bind(ticket.to_string())).await,
        Change::Opened { window, text } => {
            let query = sqlx::query("INSERT INTO window (id, text) VALUES (?, ?)");
            run(query.bind(window.to_string()).bind(text)).await
        }
        Change::Closed { window } => run(sqlx::query("DELETE FROM window WHERE id = ?").bind(window.to_string())).await,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::id::TicketId;

    fn asked(ticket: TicketId, text: &str) -> Change {
        Change::Asked { ticket, binding: vec![1, 2], text: text.to_owned() }
    }

    fn said(ticket: TicketId, vote: &str) -> Change {
        Change::Said { ticket, vote: vote.to_owned(), text: "changed".to_owned() }
    }

    async fn texts(state: &mut Sqlite) -> Vec<(String, String)> {
        let kept = state.kept().await.unwrap();
        kept.tickets.into_iter().map(|ticket| (ticket.text, ticket.votes.join(" "))).collect()
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = Sqlite::open(folder.path()).await.unwrap();
        let key = state.kept().await.unwrap().key;
        assert_eq!(key.len(), KEY);
        let (one, other) = (TicketId::generate(), TicketId::generate());
        state.keep(&[asked(one, "one"), asked(other, "other"), said(one, "a"), said(one, "b")]).await.unwrap();
        state
            .keep(&[Change::Gone { ticket: other }, Change::Opened { window: other, text: "w".into() }])
            .await
            .unwrap();
        drop(state);
        let mut state = Sqlite::open(folder.path()).await.unwrap();
        assert_eq!(texts(&mut state).await, [("changed".to_owned(), "a b".to_owned())]);
        let kept = state.kept().await.unwrap();
        assert_eq!((kept.key, kept.windows), (key, vec!["w".to_owned()]));
        assert_eq!(kept.tickets[0].binding, [1, 2]);
        for name in [FILE, "state.sqlite-wal"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_gone_does_not_come_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = Sqlite::open(folder.path()).await.unwrap();
        let ticket = TicketId::generate();
        state.keep(&[asked(ticket, "one"), Change::Gone { ticket }, said(ticket, "late")]).await.unwrap();
        assert!(texts(&mut state).await.is_empty());
    }

    #[tokio::test]
    async fn of_changes_that_are_kept_together_all_are_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = Sqlite::open(folder.path()).await.unwrap();
        let ticket = TicketId::generate();
        assert!(state.keep(&[asked(ticket, "one"), asked(ticket, "again")]).await.is_err());
        assert!(texts(&mut state).await.is_empty());
    }

    #[tokio::test]
    async fn a_damaged_or_newer_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), [7; 5_000]).unwrap();
        let error = Sqlite::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("move it away"), "{error}");
        std::fs::remove_file(folder.path().join(FILE)).unwrap();
        let mut state = Sqlite::open(folder.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 7").execute(&mut state.0).await.unwrap();
        drop(state);
        let error = Sqlite::open(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("a newer gateway (version 7"), "{error}");
    }
}
