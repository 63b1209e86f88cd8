//! Changes of settings, and which of them change how SQL is read.
//!
//! In: a name and value as SET, `set_config` or ALTER … SET give them. Out: the change and its class. Must never pass a
//! change of a pinned setting to another value: with `standard_conforming_strings = off`, or a client encoding in which
//! `\` can be the second byte of a character, the server reads another statement than we do.

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
    /// Any other.
    Plain,
}

impl SettingChange {
    /// Classes a change of `name`, or of a computed name.
    pub(super) fn new(name: Option<&str>, value: SettingValue, reach: SettingReach) -> Self {
        let name = name.map(str::to_ascii_lowercase);
        let class = match name.as_deref() {
            None => SettingClass::PinnedChanged,
            Some(name) => class(name, &value),
        };
        Self { name, value, reach, class }
    }
}

fn class(name: &str, value: &SettingValue) -> SettingClass {
    let is_pinned_value: fn(&str) -> bool = match name {
        "standard_conforming_strings" => is_on,
        "client_encoding" => is_utf8,
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

/// UTF8 as `pg_char_to_encoding` reads it: letters and digits count, case does not; `unicode` is an alias.
fn is_utf8(value: &str) -> bool {
    let value: String = value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    value == "utf8" || value == "unicode"
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
        assert_eq!(class_of("client_encoding", "SJIS"), SettingClass::PinnedChanged);
        assert_eq!(class_of("backslash_quote", "on"), SettingClass::PinnedChanged);
        let computed = SettingChange::new(None, SettingValue::Unknown, SettingReach::Session);
        assert_eq!(computed.class, SettingClass::PinnedChanged);
    }
}
