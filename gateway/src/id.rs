//! Identifiers that events, errors and operators quote.
//!
//! In: nothing but the clock and the system's randomness. Out: UUIDs of version 7 (RFC 9562, section 5.7), which sort
//! by the time they were made. An identifier never carries meaning: nothing is looked up by parsing one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier, later in sort order than those made before it on this host.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Its text, in ASCII.
            #[must_use]
            pub fn to_text(&self) -> [u8; 36] {
                let mut text = [0; 36];
                self.0.as_hyphenated().encode_lower(&mut text);
                text
            }

            /// The sixteen bytes, most significant first.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { text: text.chars().take(40).collect() })
            }
        }
    };
}

identifier! {
    /// One connection of a workload, from accept to close.
    SessionId
}
identifier! {
    /// One writer of the journal: a new one each time a process opens it.
    JournalId
}
identifier! {
    /// A request that waits for a person.
    TicketId
}
identifier! {
    /// This installation, made at first start.
    HostId
}

/// What was given is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no id: expected a UUID such as 01989b5e-7c3a-7c1d-9d0e-5f2b8a4c6d10")]
pub struct InvalidId {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        let id = SessionId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn later_ids_sort_later() {
        let first = JournalId::generate();
        assert!(JournalId::generate() > first);
    }
}
