//! Changes of settings, and which of them change how SQL is read.
//!
//! In: a name and value as SET, `set_config` or ALTER … SET give them. Out: the change and its class. Must never pass a
//! change of a pinned setting to another value: with `standard_conforming_strings = off`, or in an encoding that we do not
//! read as it does, the server reads another statement than we do.

use crate::protocol::postgres::encoding::Encoding;

/// A change that a statement makes to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Lower case, as PostgreSQL compares them; `None` where it is computed.
    pub name: Option<String>,
    /// The new value.
    pub value: SettingValue,
    /// For whom it is changed.
    pub reach: SettingReach,
    /// What it means to us.
    pub class: SettingClass,
}

/// The new value of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingValue {
    /// As written, elements of a list joined by `, `.
    Constant(String),
    /// DEFAULT or RESET: the value of the startup packet.
    Reset,
    /// FROM CURRENT: what the session has.
    Current,
    /// Computed.
    Unknown,
}

/// For whom a setting is changed.
#[expect(missing_docs, reason = "the words of the grammar")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingReach {
    Session,
    Transaction,
    Function,
    Role,
    Database,
    System,
}

/// What a change of a setting means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingClass {
    /// A pinned setting keeps the pinned value: passes.
    PinnedKept,
    /// A pinned setting would change, or may: refuse.
    PinnedChanged,
    /// `search_path`, `role`, `session_authorization`: changes what names mean, and is followed.
    Tracked,
    /// `client_encoding`, to one that is read as servers read it: changes what bytes mean, and is followed.
    Encoding,
    /// Any other.
    Plain,
}

impl SettingChange {
    /// Classes a change of `name`, or of a computed name.
    pub(super) fn new(name: Option<&str>, value: SettingValue, reach: SettingReach) -> Self {
        let name = name.map(str::to_ascii_lowercase);
        let class = match name.as_deref() {
            None => SettingClass::PinnedChanged,
            Some("client_encoding") => encoding(&value, reach),
            Some(name) => class(name, &value),
        };
        Self { name, value, reach, class }
    }
}

fn class(name: &str, value: &SettingValue) -> SettingClass {
    let is_pinned_value: fn(&str) -> bool = match name {
        "standard_conforming_strings" => is_on,
        "backslash_quote" => |value| value.eq_ignore_ascii_case("safe_encoding"),
        // RESET ALL takes the search path back too.
        "search_path" | "role" | "session_authorization" | "all" => return SettingClass::Tracked,
        _ => return SettingClass::Plain,
    };
    match value {
        SettingValue::Constant(value) if is_pinned_value(value) => SettingClass::PinnedKept,
        SettingValue::Reset | SettingValue::Current => SettingClass::PinnedKept,
        SettingValue::Constant(_) | SettingValue::Unknown => SettingClass::PinnedChanged,
    }
}

/// True as `parse_bool` reads it: `on`, `1`, or a beginning of `true` or `yes`.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value == "on" || value == "1" || (!value.is_empty() && ("true".starts_with(&value) || "yes".starts_with(&value)))
}

/// An encoding that is read as servers read it is followed. What is stored for later sessions does not matter: their startup
/// names one. A function that changes it speaks of it to nobody before it has said something.
fn encoding(value: &SettingValue, reach: SettingReach) -> SettingClass {
    let found = match value {
        SettingValue::Constant(value) => Encoding::find(value),
        SettingValue::Reset | SettingValue::Current => return SettingClass::PinnedKept,
        SettingValue::Unknown => None,
    };
    match (found, reach) {
        (Some(found), _) if found.is_utf8() => SettingClass::PinnedKept,
        (Some(_), SettingReach::Session | SettingReach::Transaction) => SettingClass::Encoding,
        _ => SettingClass::PinnedChanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(name: &str, value: &str) -> SettingClass {
        SettingChange::new(Some(name), SettingValue::Constant(value.into()), SettingReach::Session).class
    }

    #[test]
    fn pinned_values_pass_in_every_spelling() {
        for value in ["on", "ON", "1", "t", "yes", "True"] {
            assert_eq!(class_of("Standard_Conforming_Strings", value), SettingClass::PinnedKept, "{value}");
        }
        for value in ["utf8", "UTF-8", "'unicode'"] {
            assert_eq!(class_of("client_encoding", value), SettingClass::PinnedKept, "{value}");
        }
    }

    #[test]
    fn other_values_and_computed_ones_do_not_pass() {
        assert_eq!(class_of("standard_conforming_strings", "off"), SettingClass::PinnedChanged);
        assert_eq!(class_of("standard_conforming_strings", "o"), SettingClass::PinnedChanged);
        assert_eq!(class_of("standard_conforming_strings", ""), SettingClass::PinnedChanged);
        assert_eq!(class_of("client_encoding", "latin-1"), SettingClass::Encoding);
        assert_eq!(class_of("client_encoding", "MULE_INTERNAL"), SettingClass::PinnedChanged);
        let of_function = SettingValue::Constant("SJIS".into());
        let of_function = SettingChange::new(Some("client_encoding"), of_function, SettingReach::Function);
        assert_eq!(of_function.class, SettingClass::PinnedChanged);
        assert_eq!(class_of("backslash_quote", "on"), SettingClass::PinnedChanged);
        let computed = SettingChange::new(None, SettingValue::Unknown, SettingReach::Session);
        assert_eq!(computed.class, SettingClass::PinnedChanged);
    }
}
