//! A session of our own with a server: a login and a few questions, nobody else's.
//!
//! In: the way to the server and our credential. Out: rows of texts. It logs in as sessions of clients do: the credential goes
//! to a verified server, or to none. All that it sends is read-only by the server's own word, and ends by itself.

use super::super::auth::{AuthError, Login, Proof};
use super::super::catalog::Rows;
use super::super::encoding::UTF8;
use super::super::frame::{Inbox, body};
use super::super::message::{Backend, ours};
use super::super::settings::Startup;
use super::super::startup::OLDEST;
use super::super::upstream::{Server, Upstream, UpstreamError};
use super::super::values::split_value;
use super::Asking;
use crate::conn::BoxConn;
use crate::secret::Secret;

/// Rows of one answer, and bytes of all its values.
const MAX_ROWS: usize = 50_000;
const MAX_BYTES: usize = 8 << 20;
/// As `pg_stat_activity` of the server has it.
const APPLICATION: &str = "gateway target check";
/// What keeps it from changing, waiting or running on, and names from meaning something else.
const SETTINGS: [(&str, &str); 4] = [
    ("default_transaction_read_only", "on"),
    ("statement_timeout", "5000"),
    ("lock_timeout", "1000"),
    ("search_path", "pg_catalog"),
];

pub(super) struct Own {
    conn: BoxConn,
    inbox: Inbox,
}

impl Own {
    /// Logs in.
    pub(super) async fn open(asking: &Asking<'_>, database: &str) -> Result<Self, UpstreamError> {
        let Upstream { mut conn, peer } = Upstream::open(asking.dialer, asking.tls).await?;
        let credential = asking.credential;
        if !credential.may_go_to(&peer) {
            return Err(AuthError::UnverifiedServer.into());
        }
        let startup = Startup {
            user: credential.user.clone(),
            database: database.to_owned(),
            application_name: Some(APPLICATION.to_owned()),
            settings: SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            encoding: &UTF8,
        };
        let mut inbox = Inbox::default();
        let mut server = Server { conn: &mut conn, inbox: &mut inbox };
        server.send(&startup.to_message(&credential.user, OLDEST)).await?;
        let password = credential.password.as_ref().map(Secret::expose);
        server.log_in(Login::new(Proof { user: &credential.user, password }, &peer)).await?;
        server.greet(&UTF8).await?;
        Ok(Self { conn, inbox })
    }

    /// Asks one question.
    pub(super) async fn rows(&mut self, question: &str) -> Result<Rows, UpstreamError> {
        let mut server = Server { conn: &mut self.conn, inbox: &mut self.inbox };
        server.send(&ours::query(question)).await?;
        let (mut rows, mut bytes) = (Rows::new(), 0);
        loop {
            let (kind, message) = server.next().await?;
            match kind {
                Backend::DataRow => {
                    bytes += message.len();
                    if rows.len() >= MAX_ROWS || bytes > MAX_BYTES {
                        return Err(UpstreamError::Protocol { what: "an answer too large for its question" });
                    }
                    rows.push(row(&message).ok_or(UpstreamError::Protocol { what: "a malformed row" })?);
                }
                Backend::RowDescription
                | Backend::CommandComplete
                | Backend::NoticeResponse
                | Backend::ParameterStatus => {}
                Backend::ReadyForQuery => return Ok(rows),
                _ => return Err(UpstreamError::Protocol { what: "a message out of turn" }),
            }
        }
    }
}

fn row(message: &[u8]) -> Option<Vec<Option<Box<str>>>> {
    let (count, mut rest) = body(message).split_first_chunk::<2>()?;
    // A column takes four bytes at least.
    let count = usize::from(u16::from_be_bytes(*count)).min(rest.len() / 4);
    let mut row = Vec::with_capacity(count);
    for _ in 0..count {
        let (value, after) = split_value(rest)?;
        rest = after;
        row.push(match value {
            Some(value) => Some(std::str::from_utf8(value).ok()?.into()),
            None => None,
        });
    }
    rest.is_empty().then_some(row)
}
