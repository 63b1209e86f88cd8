//! What the gateway itself says to a client: errors and notices.
//!
//! In: a [`Denial`]. Out: ErrorResponse and NoticeResponse messages of bounded length, without NUL or control
//! characters, so that nothing that an agent or a server wrote can forge a field or a terminal sequence through us.
//! It never carries what the log reads: causes stay there.

use crate::protocol::postgres::encoding::{Encoding, UTF8};
use crate::protocol::postgres::message::put_length;

/// The longest text of one field.
const FIELD: usize = 2_000;

/// How bad it is, as clients read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The session is over.
    Fatal,
    /// Nothing failed.
    Notice,
}

impl Severity {
    fn text(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Notice => "NOTICE",
        }
    }
}

/// A five-letter error code (PostgreSQL documentation, appendix A).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// insufficient_privilege: what a policy denies.
    pub const DENIED: Self = Self(*b"42501");
    /// protocol_violation.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// feature_not_supported.
    pub const NOT_SUPPORTED: Self = Self(*b"0A000");
    /// invalid_authorization_specification.
    pub const LOGIN: Self = Self(*b"28000");
    /// sqlclient_unable_to_establish_sqlconnection.
    pub const NO_SERVER: Self = Self(*b"08001");
    /// connection_failure.
    pub const CONNECTION_LOST: Self = Self(*b"08006");
    /// program_limit_exceeded.
    pub const TOO_LARGE: Self = Self(*b"54000");
    /// character_not_in_repertoire.
    pub const NOT_UTF8: Self = Self(*b"22021");
    /// invalid_parameter_value.
    pub const BAD_SETTING: Self = Self(*b"22023");
    /// invalid_sql_statement_name.
    pub const NO_STATEMENT: Self = Self(*b"26000");
    /// invalid_cursor_name.
    pub const NO_PORTAL: Self = Self(*b"34000");
    /// query_canceled.
    pub const CANCELED: Self = Self(*b"57014");
    /// admin_shutdown.
    pub const ENDED: Self = Self(*b"57P01");
    /// idle_session_timeout.
    pub const IDLE: Self = Self(*b"57P05");

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

/// Why something did not happen, for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The error code that drivers look at.
    pub code: SqlState,
    /// Whether the session goes on.
    pub severity: Severity,
    /// What was refused and by what, in one line.
    pub message: String,
    /// On which thing, with the session's id.
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// The server would have failed the statement too: it cannot be parsed, or what it names is not there.
    pub is_the_servers_too: bool,
}

impl Denial {
    /// A refused statement.
    #[must_use]
    pub fn error(code: SqlState, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            detail: None,
            hint: None,
            is_the_servers_too: false,
        }
    }

    /// A refused session.
    #[must_use]
    pub fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// A notice.
    #[must_use]
    pub fn notice(message: impl Into<String>) -> Self {
        Self { severity: Severity::Notice, ..Self::error(SqlState(*b"00000"), message) }
    }

    /// The same where the server too would have failed the statement, and the transaction around it.
    #[must_use]
    pub(super) fn failing_at_the_server(self) -> Self {
        Self { is_the_servers_too: true, ..self }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with a detail, where it has none.
    #[must_use]
    pub(super) fn or_detail(mut self, detail: &str) -> Self {
        self.detail.get_or_insert_with(|| detail.to_owned());
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the message, with one more sentence at the end of its hint.
    pub(super) fn write(&self, note: &str, encoding: &Encoding, out: &mut Vec<u8>) {
        let tag = if self.severity == Severity::Notice { b'N' } else { b'E' };
        let mut fields = Vec::with_capacity(256);
        let put_field = |fields: &mut Vec<u8>, field, text: &str| put_field(fields, field, text, encoding);
        put_field(&mut fields, b'S', self.severity.text());
        // The second severity is never translated; protocol 3.0 since PostgreSQL 9.6.
        put_field(&mut fields, b'V', self.severity.text());
        put_field(&mut fields, b'C', self.code.as_str());
        put_field(&mut fields, b'M', &self.message);
        if let Some(detail) = &self.detail {
            put_field(&mut fields, b'D', detail);
        }
        match (&self.hint, note) {
            (None, "") => {}
            (None, note) => put_field(&mut fields, b'H', note),
            (Some(hint), "") => put_field(&mut fields, b'H', hint),
            (Some(hint), note) => put_field(&mut fields, b'H', &format!("{hint} {note}")),
        }
        fields.push(0);
        out.push(tag);
        put_length(out, fields.len());
        out.extend_from_slice(&fields);
    }

    /// The message by itself.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write("", &UTF8, &mut out);
        out
    }
}

fn put_field(out: &mut Vec<u8>, field: u8, text: &str, encoding: &Encoding) {
    out.push(field);
    let shown = |character| if is_unsafe(character) { ' ' } else { character };
    let text: String = text.chars().take(FIELD).map(shown).collect();
    out.extend_from_slice(&encoding.encode_ours(&text));
    out.push(0);
}

/// Control characters, and those that change the direction of the text around them (Unicode, UAX 9).
fn is_unsafe(character: char) -> bool {
    (character.is_control() && character != '\n')
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// ReadyForQuery with this transaction status byte.
pub(super) fn ready(status: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
}

/// AuthenticationOk.
pub(super) const AUTHENTICATED: &[u8] = b"R\0\0\0\x08\0\0\0\0";
/// AuthenticationCleartextPassword.
pub(super) const ASK_PASSWORD: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

/// BackendKeyData.
pub(super) fn key_data(process: u32, key: &[u8], out: &mut Vec<u8>) {
    out.push(b'K');
    put_length(out, 4 + key.len());
    out.extend_from_slice(&process.to_be_bytes());
    out.extend_from_slice(key);
}

/// NegotiateProtocolVersion: the version that is agreed, never newer than what the client asked for, and the options that we do not know.
pub(super) fn negotiate_version(version: u32, unknown: &[String], out: &mut Vec<u8>) {
    let names: usize = unknown.iter().map(|name| name.len() + 1).sum();
    out.push(b'v');
    put_length(out, 8 + names);
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(&u32::try_from(unknown.len()).unwrap_or(u32::MAX).to_be_bytes());
    for name in unknown {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
    }
}

/// The fields of an ErrorResponse or NoticeResponse body: code letter and text.
pub(super) fn fields(mut body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (field, rest) = body.split_first()?;
        let (text, rest) = crate::protocol::postgres::frame::split_string(rest)?;
        body = rest;
        Some((*field, text))
    })
}

/// The SQLSTATE of an ErrorResponse body.
pub(super) fn sql_state(body: &[u8]) -> SqlState {
    let code = fields(body).find(|(field, _)| *field == b'C');
    code.and_then(|(_, text)| text.try_into().ok()).map_or(SqlState(*b"XX000"), SqlState)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::postgres::frame::{Header, body};

    #[test]
    fn carries_code_message_detail_and_hint() {
        let denial = Denial::error(SqlState::DENIED, "denied by policy x").with_detail("session 1").with_hint("ask");
        let bytes = denial.to_bytes();
        assert_eq!(Header::read(&bytes).unwrap().unwrap().size, bytes.len());
        let found: Vec<_> = fields(body(&bytes)).map(|(field, text)| (field, text.to_vec())).collect();
        assert_eq!(found.iter().map(|(field, _)| *field).collect::<Vec<_>>(), b"SVCMDH");
        assert_eq!(sql_state(body(&bytes)), SqlState::DENIED);
    }

    #[test]
    fn hostile_text_forges_no_field_and_no_terminal_sequence() {
        let denial = Denial::error(SqlState::DENIED, "a\0C00000\0\u{1b}[2J\u{202e}b").with_hint("x".repeat(9_000));
        let bytes = denial.to_bytes();
        assert_eq!(sql_state(body(&bytes)), SqlState::DENIED);
        assert!(!bytes.contains(&0x1b) && bytes.len() < 3_000);
        assert!(!String::from_utf8_lossy(&bytes).contains('\u{202e}'));
    }

    #[test]
    fn an_error_without_a_code_has_the_internal_one() {
        assert_eq!(sql_state(b"Mx\0C123\0"), SqlState(*b"XX000"));
        assert_eq!(sql_state(b"garbage"), SqlState(*b"XX000"));
    }
}
