//! The settings of a session: what a client asks for at startup, and what is pinned.
//!
//! In: the parameters of a StartupMessage, `options` included, and later the server's ParameterStatus. Out: the
//! StartupMessage for the server, written by us, and whether a reported value still is the pinned one. The pins are
//! what keeps our reading of a statement equal to the server's (with `standard_conforming_strings = off` both read
//! different statements); a client never gets past them. `client_encoding` is one that we read as the server does.

use crate::protocol::postgres::encoding::{Encoding, UTF8};
use crate::protocol::postgres::message::put_length;
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::startup::StartupMessage;

/// What every session has. The server reports the first; the second is not reported, and harmless once that holds.
const PINNED: [(&str, &str); 2] = [("standard_conforming_strings", "on"), ("backslash_quote", "safe_encoding")];

/// Said of its texts, at startup and by SET.
pub(super) const ENCODING: &str = "client_encoding";

/// Names that are no settings in a StartupMessage: in `options` they would become what they mean there.
const RESERVED: [&str; 4] = ["user", "database", "options", "replication"];

/// More settings than this are no client's.
const MAX_SETTINGS: usize = 128;

/// Who wants in, where to, and with which settings: untrusted, but well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The login that the client names.
    pub user: String,
    /// The database; the user's name where the client names none, as the server has it.
    pub database: String,
    /// What the client calls itself.
    pub application_name: Option<String>,
    /// All further settings in the order of their effect, pinned ones left out; names in lower case.
    pub settings: Vec<(String, String)>,
    /// In which its texts are.
    pub encoding: &'static Encoding,
}

/// Why the startup parameters are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No user.
    #[error("startup without `user`: name a login")]
    NoUser,
    /// Replication.
    #[error("replication connections are not read, and so refused: use an ordinary connection")]
    Replication,
    /// Another encoding.
    #[error(
        "client_encoding `{asked}` is refused: how servers convert it is not known for certain; set PGCLIENTENCODING=UTF8"
    )]
    Encoding {
        /// As asked.
        asked: String,
    },
    /// A pinned setting at another value.
    #[error("`{name} = {asked}` is refused: it changes how statements are read; leave it at `{pinned}`")]
    Pinned {
        /// The setting.
        name: &'static str,
        /// As asked.
        asked: String,
        /// Its only value.
        pinned: &'static str,
    },
    /// `options` that are not settings.
    #[error("startup `options` hold `{word}`: only `-c name=value` and `--name=value` are read")]
    Options {
        /// What is not understood.
        word: String,
    },
    /// Too many.
    #[error("more than {MAX_SETTINGS} startup settings")]
    TooMany,
}

impl SettingsError {
    /// What the client reads.
    #[must_use]
    pub(super) fn to_denial(&self) -> Denial {
        let code = match self {
            Self::NoUser => SqlState::LOGIN,
            Self::Replication => SqlState::NOT_SUPPORTED,
            Self::Encoding { .. } | Self::Pinned { .. } | Self::Options { .. } | Self::TooMany => SqlState::BAD_SETTING,
        };
        Denial::fatal(code, self.to_string())
    }
}

impl Startup {
    /// Reads what a client asks for.
    ///
    /// # Errors
    /// When it asks for replication, for a pinned setting at another value, or in a form that the server would not take.
    pub(super) fn read(message: &StartupMessage) -> Result<Self, SettingsError> {
        let mut asked = Self {
            user: String::new(),
            database: String::new(),
            application_name: None,
            settings: Vec::new(),
            encoding: &UTF8,
        };
        // The server applies `options` first, whatever their place (process_startup_options, postinit.c).
        if let Some((_, options)) = message.parameters.iter().find(|(name, _)| name == "options") {
            for (name, value) in read_options(options)? {
                asked.take(name, value)?;
            }
        }
        for (name, value) in &message.parameters {
            match name.as_str() {
                "user" => asked.user.clone_from(value),
                "database" => asked.database.clone_from(value),
                "options" => {}
                "replication" if is_false(value) => {}
                "replication" => return Err(SettingsError::Replication),
                protocol if protocol.starts_with("_pq_.") => {}
                _ => asked.take(name.to_ascii_lowercase(), value.clone())?,
            }
        }
        if asked.user.is_empty() {
            return Err(SettingsError::NoUser);
        }
        if asked.database.is_empty() {
            asked.database.clone_from(&asked.user);
        }
        Ok(asked)
    }

    fn take(&mut self, name: String, value: String) -> Result<(), SettingsError> {
        if RESERVED.contains(&name.as_str()) || name.starts_with("_pq_.") {
            return Err(SettingsError::Options { word: shorten(&name) });
        }
        if name == ENCODING {
            self.encoding = encoding(&value)?;
            return Ok(());
        }
        if let Some((pinned, required)) = PINNED.iter().find(|(pinned, _)| *pinned == name) {
            return check_pinned(pinned, required, &value);
        }
        if name == "application_name" {
            self.application_name = Some(value);
            return Ok(());
        }
        self.settings.retain(|(known, _)| *known != name);
        if self.settings.len() >= MAX_SETTINGS {
            return Err(SettingsError::TooMany);
        }
        self.settings.push((name, value));
        Ok(())
    }

    /// The StartupMessage for the server, in protocol 3.0, with `user` as the login.
    pub(super) fn to_message(&self, user: &str, version: u32) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        let mut put = |name: &str, value: &str| {
            for text in [name, value] {
                body.extend_from_slice(text.as_bytes());
                body.push(0);
            }
        };
        put("user", user);
        put("database", &self.database);
        if let Some(name) = &self.application_name {
            put("application_name", name);
        }
        for (name, value) in &self.settings {
            put(name, value);
        }
        put(ENCODING, self.encoding.name());
        for (name, value) in PINNED {
            put(name, value);
        }
        body.push(0);
        let mut message = Vec::with_capacity(body.len() + 4);
        put_length(&mut message, body.len());
        message.extend_from_slice(&body);
        message
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// SQL_ASCII is what libpq makes of `auto` in the C locale: bytes as they are, which is what UTF8 gives too for a database
/// in UTF8; the session is told that it has UTF8.
fn encoding(asked: &str) -> Result<&'static Encoding, SettingsError> {
    let letters = asked.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase());
    if letters.eq("sqlascii".chars()) {
        return Ok(&UTF8);
    }
    Encoding::find(asked).ok_or_else(|| SettingsError::Encoding { asked: shorten(asked) })
}

fn check_pinned(name: &'static str, pinned: &'static str, asked: &str) -> Result<(), SettingsError> {
    let holds = match pinned {
        "on" => is_true(asked),
        _ => asked.eq_ignore_ascii_case(pinned),
    };
    if holds { Ok(()) } else { Err(SettingsError::Pinned { name, asked: shorten(asked), pinned }) }
}

/// The spellings that drivers use; the server takes more, which nobody sends.
fn is_true(value: &str) -> bool {
    ["on", "true", "yes", "1"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn is_false(value: &str) -> bool {
    ["off", "false", "no", "0"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Reads `options` as the server does (pg_split_opts and process_postgres_switches): words between white space, a
/// backslash takes the next character as it is; of the switches only the two that set a setting.
fn read_options(options: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let mut settings = Vec::new();
    let mut words = split_words(options).into_iter();
    while let Some(word) = words.next() {
        let refused = || SettingsError::Options { word: shorten(&word) };
        let assignment = if word == "-c" {
            words.next().ok_or_else(refused)?
        } else if let Some(assignment) = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            assignment.to_owned()
        } else {
            return Err(refused());
        };
        let (name, value) = assignment.split_once('=').ok_or_else(refused)?;
        if name.is_empty() {
            return Err(refused());
        }
        settings.push((name.replace('-', "_").to_ascii_lowercase(), value.to_owned()));
        if settings.len() > MAX_SETTINGS {
            return Err(SettingsError::TooMany);
        }
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            // isspace() in the C locale.
            ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// What a reported setting means for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// Not a pinned setting.
    Free,
    /// A pinned setting, at its value.
    Holds,
    /// A pinned setting has changed: nothing that follows can be read with certainty.
    Broken,
}

/// Judges the body of a ParameterStatus, but for that of the encoding.
pub(super) fn watch(name: &[u8], value: &[u8]) -> Report {
    let Some((_, pinned)) = PINNED.iter().find(|(pinned, _)| pinned.as_bytes() == name) else { return Report::Free };
    if value == pinned.as_bytes() { Report::Holds } else { Report::Broken }
}

/// How many of the pinned settings a PostgreSQL server reports at startup.
pub(super) const REPORTED: usize = 1;

#[cfg(test)]
mod tests;
