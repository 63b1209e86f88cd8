//! What a file comes to: every setting, with the line that it comes from.
//!
//! In: a file's text, which has no faults. Out: its tables with all of their keys, in the order of the reference. It must
//! never show a secret: the file has none but in what is called private, of which the host is shown.

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::table::{Source, line_of};
use super::{Key, SECTIONS, Section, Unless};

/// A table of the file, or one that it might have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// As it is written: `[[attach]]`; empty for what stands before all tables.
    pub header: String,
    /// It is not there, and this holds.
    pub without: Option<String>,
    /// All of its keys.
    pub settings: Vec<Setting>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// Its value in TOML; `None`: what `otherwise` says.
    pub value: Option<String>,
    /// The line that says so, counted from 1; `None`: it holds because nothing else is said.
    pub line: Option<usize>,
    /// What holds where there is no value.
    pub otherwise: Option<String>,
}

/// The settings of a file.
#[must_use]
pub fn settings(text: &str) -> Vec<Table> {
    let (_, root) = Source::parse(text);
    let mut tables = Vec::new();
    for section in SECTIONS {
        let is_below = |other: &Section, by: fn(&Section) -> bool| is_part(section.place, other.place) && by(other);
        let is_absent = |other: &&Section| {
            is_below(other, |other| other.without.is_some()) && !is_there(root.get_ref(), other.place)
        };
        if SECTIONS.iter().any(|other| is_below(other, |other| other.is_list))
            || SECTIONS.iter().any(|other| is_absent(&other))
        {
            continue;
        }
        if section.is_list {
            let of = list(root.get_ref(), section.place);
            if of.is_empty() {
                tables.push(absent(section, format!("[[{}]]", section.place)));
            }
            for table in of {
                entry(text, section, table, &mut tables);
            }
        } else {
            let header = if section.place.is_empty() { String::new() } else { format!("[{}]", section.place) };
            tables.push(one(text, section, header, find(root.get_ref(), section.place), ""));
        }
    }
    tables
}

/// An entry of a list, with its own tables.
fn entry(text: &str, section: &Section, table: &DeTable<'_>, tables: &mut Vec<Table>) {
    tables.push(one(text, section, format!("[[{}]]", section.place), Some(table), protocol(table)));
    for part in SECTIONS.iter().filter(|part| is_part(part.place, section.place)) {
        let fits = |key: &Key| key.protocols.is_empty() || key.protocols.contains(&protocol(table));
        if !part.keys.iter().any(fits) {
            continue;
        }
        let below = find(table, part.place.get(section.place.len() + 1..).unwrap_or_default());
        tables.push(one(text, part, format!("[{}]", part.place), below, protocol(table)));
    }
}

fn protocol<'t>(table: &'t DeTable<'_>) -> &'t str {
    table.get("protocol").and_then(|value| value.get_ref().as_str()).unwrap_or_default()
}

fn one(text: &str, section: &Section, header: String, table: Option<&DeTable<'_>>, protocol: &str) -> Table {
    if table.is_none() && section.without.is_some() {
        return absent(section, header);
    }
    let is_for = |key: &&Key| key.protocols.is_empty() || key.protocols.contains(&protocol);
    let settings = section.keys.iter().filter(is_for).map(|key| setting(text, key, table)).collect();
    Table { header, without: None, settings }
}

fn absent(section: &Section, header: String) -> Table {
    Table { header, without: section.without.map(str::to_owned), settings: Vec::new() }
}

fn setting(text: &str, key: &Key, table: Option<&DeTable<'_>>) -> Setting {
    let found = table.and_then(|table| table.get_key_value(key.name));
    let (value, line) = match found {
        Some((name, value)) => (Some(written(value, key.is_private)), Some(line_of(text, name.span().start))),
        None => match key.unless {
            Unless::Is(default) => (Some(default.to_owned()), None),
            Unless::Must(_) | Unless::Else(_) => (None, None),
        },
    };
    let otherwise = match key.unless {
        Unless::Else(words) if value.is_none() => Some(words.to_owned()),
        _ => None,
    };
    Setting { key: key.name.to_owned(), value, line, otherwise }
}

/// A value in one line of TOML; of a private one as far as the host.
fn written(value: &Spanned<DeValue<'_>>, is_private: bool) -> String {
    let all = |parts: Vec<String>, [open, close]: [&str; 2]| match parts.len() {
        0 => format!("{}{}", open.trim_end(), close.trim_start()),
        _ => format!("{open}{}{close}", parts.join(", ")),
    };
    match value.get_ref() {
        DeValue::String(text) if is_private => quoted(&host_of(text)),
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(array) => all(array.iter().map(|value| written(value, is_private)).collect(), ["[", "]"]),
        DeValue::Table(table) => {
            let pairs =
                table.iter().map(|(key, value)| format!("{} = {}", name(key.get_ref()), written(value, is_private)));
            all(pairs.collect(), ["{ ", " }"])
        }
    }
}

/// What JSON writes in a string, TOML reads the same (TOML 1.0, basic strings), but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

fn name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// `https://HOST/…`
fn host_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "…".to_owned() };
    match rest.split_once('/') {
        Some((host, path)) if !path.is_empty() => format!("{scheme}://{host}/…"),
        _ => url.to_owned(),
    }
}

/// Whether a place is below another.
fn is_part(place: &str, of: &str) -> bool {
    !of.is_empty() && place.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'))
}

fn is_there(root: &DeTable<'_>, place: &str) -> bool {
    find(root, place).is_some()
}

fn find<'t, 's>(root: &'t DeTable<'s>, place: &str) -> Option<&'t DeTable<'s>> {
    if place.is_empty() {
        return Some(root);
    }
    place.split('.').try_fold(root, |table, part| match table.get(part)?.get_ref() {
        DeValue::Table(below) => Some(below),
        _ => None,
    })
}

fn list<'t, 's>(root: &'t DeTable<'s>, place: &str) -> Vec<&'t DeTable<'s>> {
    let (above, key) = place.rsplit_once('.').unwrap_or(("", place));
    let array = find(root, above).and_then(|table| table.get(key)?.get_ref().as_array());
    let table = |value: &'t Spanned<DeValue<'s>>| match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    };
    array.into_iter().flatten().filter_map(table).collect()
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLE;
    use super::*;
    use crate::config::Config;

    /// As `gateway config show` prints them.
    fn file(tables: &[Table]) -> String {
        let mut text = String::new();
        for table in tables.iter().filter(|table| table.without.is_none()) {
            text += &format!("{}\n", table.header);
            for setting in &table.settings {
                text += &setting.value.as_ref().map(|value| format!("{} = {value}\n", setting.key)).unwrap_or_default();
            }
        }
        text
    }

    #[test]
    fn what_is_shown_means_the_same_when_it_is_read() {
        for text in ["version = 1\n", SAMPLE, crate::config::tests::WHOLE] {
            let shown = file(&settings(text)).replace("example.com/…", "example.com/gateway");
            assert_eq!(Config::parse("shown", &shown), Config::parse("shown", text), "{shown}");
        }
    }

    #[test]
    fn each_value_has_its_line_and_what_nobody_wrote_has_none() {
        let tables = settings("# ours\nversion = 1\n\n[[attach]]\nname = \"a\"\ncgroup = \"/a.slice\"\n");
        let attach = tables.iter().find(|table| table.header == "[[attach]]").unwrap();
        let lines: Vec<_> = attach.settings.iter().map(|setting| (setting.key.as_str(), setting.line)).collect();
        assert_eq!(
            lines,
            [("name", Some(5)), ("cgroup", Some(6)), ("groups", None), ("observe", None), ("token_file", None)]
        );
        let target = tables.iter().find(|table| table.header == "[[target]]").unwrap();
        assert!(target.without.is_some() && target.settings.is_empty());
        assert!(!tables.iter().any(|table| table.header == "[audit.clickhouse.tls]"), "there is no copy");
    }

    #[test]
    fn a_url_that_may_hold_a_key_is_shown_as_far_as_its_host() {
        let text =
            "version = 1\n[[audit.webhook]]\nname = \"chat\"\nurl = \"https://hooks.example.com/T0/B0/secret\"\n";
        let shown = file(&settings(text));
        assert!(shown.contains("\"https://hooks.example.com/…\"") && !shown.contains("secret"), "{shown}");
    }
}
