//! Masks said in SQL: what the server itself computes in place of a value.
//!
//! In: a column, its type and class. Out: an expression of the same type, whose value is what [`mask`](super::mask) would
//! show, or says less. Every name in it is qualified: nothing on the client's search path can be called with a value. A
//! hash is never said: its key would stand in the statement.

use super::{Kind, time, write_json};
use crate::masking::class::{Class, MARK, Partial, Show};
use crate::protocol::postgres::values::Format;

/// What [`str::trim_end`] takes away: `White_Space` of Unicode.
const SPACES: &str = "\u{9}\u{a}\u{b}\u{c}\u{d}\u{20}\u{85}\u{a0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\
    \u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";

/// The expression that stands for a column. `column` is its name; whether it is NULL is shown with `keep_null`.
#[must_use]
pub fn in_sql(column: &str, type_oid: u32, class: &Class, keep_null: bool) -> String {
    let name = identifier(column);
    // No value, of whatever type the column has: the planner reads nothing of it.
    let nothing = || format!("CASE WHEN false THEN {name} END");
    let (Some(type_name), false) = (type_name(type_oid), matches!(class.show, Show::Null)) else { return nothing() };
    let cast = |text: &str| format!("{text}::pg_catalog.{type_name}");
    let (masked, of_null) = match Kind::of(type_oid) {
        Kind::Text => of_text(&name, class),
        Kind::Json | Kind::Jsonb => {
            let mut text = Vec::new();
            write_json(&[], Kind::Json, Format::Text, &sayable(class), &mut text);
            same(literal(&String::from_utf8_lossy(&text)))
        }
        Kind::Xml => return in_xml(&name, class, keep_null),
        Kind::Bytea => {
            let hex: String = redacted(class).bytes().map(|byte| format!("{byte:02x}")).collect();
            same(literal(&format!("\\x{hex}")))
        }
        Kind::Number(_) => same(literal("0")),
        Kind::Uuid => same(literal("00000000-0000-0000-0000-000000000000")),
        Kind::Time(clock) => of_time(&name, clock, matches!(class.show, Show::Year)),
        Kind::Plain | Kind::TextArray | Kind::Compound => return nothing(),
    };
    let of_null = if keep_null { "NULL".to_owned() } else { cast(&of_null) };
    format!("CASE WHEN {name} IS NULL THEN {of_null} ELSE {} END", cast(&format!("({masked})")))
}

/// The name of a type whose masks have a value of their own (`pg_type.dat`).
fn type_name(oid: u32) -> Option<&'static str> {
    Some(match oid {
        // The deparser writes bpchar as `char`, which is one character: its mask is a text.
        25 | 1042 => "text",
        1043 => "varchar",
        19 => "name",
        114 => "json",
        3802 => "jsonb",
        142 => "xml",
        17 => "bytea",
        21 => "int2",
        23 => "int4",
        20 => "int8",
        26 => "oid",
        700 => "float4",
        701 => "float8",
        1700 => "numeric",
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamptz",
        2950 => "uuid",
        _ => return None,
    })
}

/// An identifier, quoted.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A constant; `standard_conforming_strings` is pinned.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn same(expression: String) -> (String, String) {
    (expression.clone(), expression)
}

/// A hash would need its key.
fn sayable(class: &Class) -> Class {
    let show = match &class.show {
        Show::Hash { .. } => Show::Redact,
        show => show.clone(),
    };
    Class { show, ..class.clone() }
}

fn redacted(class: &Class) -> String {
    let mut out = Vec::new();
    class.write_redacted(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// The mask of a text, and that of none.
fn of_text(name: &str, class: &Class) -> (String, String) {
    match &class.show {
        Show::Partial(partial) => (of_part(name, partial), literal(MARK)),
        _ => {
            let mut out = Vec::new();
            sayable(class).write_text(&[], &mut out);
            same(literal(&String::from_utf8_lossy(&out)))
        }
    }
}

/// As `Partial::kept` has it.
fn of_part(name: &str, partial: &Partial) -> String {
    let value = format!("pg_catalog.rtrim({name}::pg_catalog.text, {})", literal(SPACES));
    let length = format!("pg_catalog.char_length({value})");
    let mark = literal(MARK);
    let start = format!("pg_catalog.\"left\"({value}, {})", partial.first);
    let twice = |count: usize| count.saturating_mul(2);
    let Some(from) = partial.from.as_deref().filter(|from| !from.is_empty()) else {
        let end = format!("pg_catalog.\"right\"({value}, {})", partial.last);
        let least = twice(partial.first + partial.last).max(1);
        return format!(
            "CASE WHEN {length} OPERATOR(pg_catalog.>=) {least} THEN pg_catalog.concat({start}, {mark}, {end}) ELSE {mark} END"
        );
    };
    // The last place of a text is the first one in what is written backwards; a collation may know other equals.
    let backwards = literal(&from.chars().rev().collect::<String>());
    let place = format!("pg_catalog.strpos(pg_catalog.reverse({value}) COLLATE pg_catalog.\"C\", {backwards})");
    let more = from.chars().count() as i64 - 1;
    let kept =
        format!("CASE WHEN {place} OPERATOR(pg_catalog.=) 0 THEN 0 ELSE {place} OPERATOR(pg_catalog.+) {more} END");
    let hidden = format!("({length} OPERATOR(pg_catalog.-) ({kept}))");
    let end = format!("pg_catalog.\"right\"({value}, {kept})");
    format!(
        "CASE WHEN {hidden} OPERATOR(pg_catalog.<=) 0 THEN {mark} WHEN {hidden} OPERATOR(pg_catalog.>=) {} THEN \
         pg_catalog.concat({start}, {mark}, {end}) ELSE pg_catalog.concat({mark}, {end}) END",
        twice(partial.first)
    )
}

/// XMLPARSE, whatever the session's `xmloption` is.
fn in_xml(name: &str, class: &Class, keep_null: bool) -> String {
    let text = match &class.show {
        Show::Fixed(text) if !text.contains(['<', '>', '&']) => format!("{text}{MARK}"),
        _ => redacted(class),
    };
    let mask = format!("XMLPARSE(CONTENT {})", literal(&text));
    let of_null = if keep_null { "NULL" } else { &mask };
    format!("CASE WHEN {name} IS NULL THEN {of_null} ELSE {mask} END")
}

fn of_time(name: &str, clock: time::Clock, keeps_year: bool) -> (String, String) {
    let epoch = match clock {
        time::Clock::Date => "'1970-01-01'",
        time::Clock::Time => "'00:00:00'",
        time::Clock::Timestamp => "'1970-01-01 00:00:00'",
        time::Clock::Timestamptz => "'1970-01-01 00:00:00+00'",
    };
    let year = |of: String| format!("pg_catalog.date_trunc('year', {of})");
    let (start, type_name) = match clock {
        _ if !keeps_year => return same(epoch.to_owned()),
        time::Clock::Time => return same(epoch.to_owned()),
        time::Clock::Date => (year(format!("{name}::pg_catalog.timestamp")), "date"),
        time::Clock::Timestamp => (year(name.to_owned()), "timestamp"),
        // The year of UTC, as in binary.
        time::Clock::Timestamptz => (
            format!("pg_catalog.timezone('UTC', {})", year(format!("pg_catalog.timezone('UTC', {name})"))),
            "timestamptz",
        ),
    };
    // Beyond it a date is no timestamp, and what is infinite or before our era has no year to show.
    let within = |bound: &str, than: &str| {
        let zone = if clock == time::Clock::Timestamptz { " 00:00:00+00" } else { "" };
        format!("{name} OPERATOR(pg_catalog.{than}) '{bound}{zone}'::pg_catalog.{type_name}")
    };
    let bounds = format!("{} AND {}", within("0001-01-01", ">="), within("290000-01-01", "<"));
    let masked =
        format!("CASE WHEN {bounds} THEN {start}::pg_catalog.{type_name} ELSE {epoch}::pg_catalog.{type_name} END");
    (masked, epoch.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::postgres::sql::facts::RelationName;
    use crate::protocol::postgres::sql::source::{Meant, Sources, rewrite};
    use crate::secret::Secret;

    struct One(String);

    impl Sources for One {
        fn meant(&self, _: &RelationName, _: bool) -> Meant<'_> {
            Meant::Query(&self.0, ("s", "c"))
        }
    }

    const TYPES: [u32; 22] = [
        25, 1043, 1042, 19, 114, 3802, 142, 17, 21, 23, 20, 26, 700, 701, 1700, 1082, 1083, 1114, 1184, 2950, 1009, 16,
    ];

    fn forms() -> Vec<Show> {
        let part = |first, last, from: Option<&str>| Show::Partial(Partial { first, last, from: from.map(Into::into) });
        let parts = [part(1, 0, Some("@")), part(0, 4, None), part(2, 2, None), part(0, 0, Some("'\\"))];
        let others = [Show::Redact, Show::Null, Show::Year, Show::Fixed("a 'b' \\".into())];
        parts.into_iter().chain(others).collect()
    }

    #[test]
    fn every_mask_of_every_type_is_written_as_the_tree_that_was_made() {
        let mut wrong = Vec::new();
        for (type_oid, show) in TYPES.iter().flat_map(|oid| forms().into_iter().map(move |show| (*oid, show))) {
            for keep_null in [true, false] {
                let class = Class::new("c", None, show.clone());
                let mask = in_sql("a \"b", type_oid, &class, keep_null);
                let one = One(format!("SELECT {mask} AS x FROM s.c"));
                if !matches!(rewrite("SELECT x FROM c", &one), Ok(Some(_))) {
                    wrong.push(format!("{type_oid}, {show:?}: {mask}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_key_is_never_said() {
        let key = "a key of sixteen bytes";
        let class = Class::new("c", None, Show::hash(&Secret::new(key.into()), 16));
        for type_oid in TYPES {
            let mask = in_sql("a", type_oid, &class, true);
            assert!(!mask.contains(key) && !mask.contains("sha"), "{mask}");
        }
        assert!(in_sql("a", 25, &class, true).contains("[c\u{2022}\u{2022}\u{2022}]"));
    }
}
