//! Messages of the API, by number and name.
//!
//! In: the lines of `messages.txt`. Out: for an API version and kind its message, for a message its fields. It must
//! never guess: what it does not list nobody reads.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Printed by `xtask/src/lab/kube_messages.py`, which says what its marks mean.
const LINES: &str = include_str!("messages.txt");

/// Fields by their number.
pub(super) type Message = HashMap<u32, Field>;

/// How many of a field there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// One, and none is as good as a zero.
    One,
    /// One, or none.
    Optional,
    /// Any number of them.
    Many,
    /// One for each key.
    ByKey,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int32,
    Int64,
    Message(&'static str),
}

#[derive(Debug)]
pub(super) struct Field {
    /// As JSON calls it; `None`: its own fields stand in its place.
    pub(super) name: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) count: Count,
}

struct Table {
    /// How the names of messages of an API version begin.
    versions: HashMap<&'static str, &'static str>,
    messages: HashMap<&'static str, Message>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| table(LINES));

/// The message of a kind, such as `core.v1.Pod`.
pub(super) fn of_kind(api_version: &str, kind: &str) -> Option<&'static str> {
    // Every group has them.
    let name = if kind == "DeleteOptions" {
        "meta.v1.DeleteOptions".to_owned()
    } else {
        format!("{}.{kind}", TABLE.versions.get(api_version)?)
    };
    TABLE.messages.get_key_value(name.as_str()).map(|(name, _)| *name)
}

pub(super) fn message(name: &str) -> Option<&'static Message> {
    TABLE.messages.get(name)
}

fn table(lines: &'static str) -> Table {
    let mut table = Table { versions: HashMap::new(), messages: HashMap::new() };
    let mut message = None;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("@"), Some(version), Some(start)) => {
                table.versions.insert(version, start);
            }
            (Some(name), None, None) => message = Some(table.messages.entry(name).or_default()),
            (Some(number), Some(name), Some(kind)) => {
                if let (Some(message), Ok(number)) = (&mut message, number.parse()) {
                    message.insert(number, field(name, kind));
                }
            }
            _ => {}
        }
    }
    table
}

fn field(name: &'static str, kind: &'static str) -> Field {
    let marks = [("*", Count::Many), ("{", Count::ByKey), ("?", Count::Optional)];
    let marked = marks.iter().find_map(|(mark, count)| kind.strip_prefix(mark).map(|kind| (kind, *count)));
    let (kind, count) = marked.unwrap_or((kind, Count::One));
    let kind = match kind {
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        message => Kind::Message(message),
    };
    Field { name: Some(name).filter(|name| *name != "-"), kind, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_message_is_listed() {
        let lines = LINES.lines().filter(|line| line.starts_with(' ')).count();
        assert_eq!(TABLE.messages.values().map(HashMap::len).sum::<usize>(), lines);
        for field in TABLE.messages.values().flat_map(HashMap::values) {
            if let Kind::Message(name) = field.kind {
                assert!(message(name).is_some(), "{name}");
            }
        }
        assert_eq!(of_kind("apps/v1", "Deployment"), Some("apps.v1.Deployment"));
        assert_eq!(of_kind("apps/v1", "DeleteOptions"), Some("meta.v1.DeleteOptions"));
        assert_eq!((of_kind("apps/v1", "Pod"), of_kind("example.com/v1", "Pod")), (None, None));
    }
}
