//! docs/events.md: what stands in the journal. In: the source of the events, with its comments. Out: a page. It must never say
//! of a field what its comment does not say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::checkout;

const SOURCE: &str = "gateway/src/audit/event";
const PAGE: &str = "docs/events.md";
const INTRODUCTION: &str = "\
Written by `cargo xtask reference`, from the source of the events (`gateway/src/audit/event`). A line of the journal is a JSON object:

| | |
| --- | --- |
| `v` | 1 |
| `journal` | the id of the journal: each engine and each warden has one of its own |
| `session` | the id of the session, or `null` |
| `time` | when it was, in UTC, to the microsecond |
| `seq` | its number in the journal, from 1 |
| `kind` | what happened: see below |
| `body` | an object with the fields of its kind |
| `prev` | SHA-256 of the line before: [journal.md](journal.md) |

Fields are only ever added. `?`: the field may be absent or `null`. Texts of clients and servers stand there masked and bounded: of a longer one its
beginning, with length and SHA-256 of the whole. Rows, payloads and credentials never do.";

/// Writes the page.
pub(crate) fn perform() -> Result<()> {
    let root = checkout()?;
    let path = root.join(PAGE);
    fs::write(&path, page(root)?).with_context(|| format!("cannot write {}", path.display()))
}

/// A thing with a comment and members with comments.
#[derive(Default)]
struct Shape {
    words: String,
    /// Name, type where it has one, words.
    members: Vec<(String, String, String)>,
    is_enum: bool,
}

fn page(root: &Path) -> Result<String> {
    let folder = root.join(SOURCE);
    let mut texts = BTreeMap::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.insert(path, text);
        }
    }
    let shapes: BTreeMap<String, Shape> = texts.values().flat_map(|text| shapes(text)).collect();
    let all = texts.values().flat_map(|text| kinds(text)).collect::<Vec<_>>();
    let mut page =
        format!("# Events\n\n{INTRODUCTION}\n\n## Kinds\n\n| kind | what happened | `body` |\n| --- | --- | --- |\n");
    for (kind, body, words) in &all {
        writeln!(page, "| `{kind}` | {words} | {} |", linked(body, &shapes))?;
    }
    let mut wanted: Vec<String> = all.iter().flat_map(|(_, body, _)| words_of(body)).collect();
    let mut told: Vec<String> = Vec::new();
    while let Some(name) = wanted.pop() {
        if let Some(shape) = shapes.get(&name)
            && !told.contains(&name)
        {
            wanted.extend(shape.members.iter().flat_map(|(_, of, _)| words_of(of)));
            told.push(name);
        }
    }
    told.sort();
    for (name, shape) in told.iter().filter_map(|name| shapes.get_key_value(name)) {
        write!(page, "\n## {name}\n\n{}\n\n", shape.words)?;
        page += if shape.is_enum { "| | |\n| --- | --- |\n" } else { "| field | type | |\n| --- | --- | --- |\n" };
        for (member, of, words) in &shape.members {
            match shape.is_enum {
                true => writeln!(page, "| `{member}` | {words} |")?,
                false => writeln!(page, "| `{member}` | {} | {words} |", linked(of, &shapes))?,
            }
        }
    }
    Ok(page)
}

/// `Variant = "kind" => Body,` with the comment above it.
fn kinds(text: &str) -> Vec<(String, String, String)> {
    let Some((_, block)) = text.split_once("\nevents! {\n") else { return Vec::new() };
    let (mut found, mut words) = (Vec::new(), Vec::new());
    for line in block.lines().take_while(|line| *line != "}").map(str::trim) {
        match (line.strip_prefix("///"), line.split_once("=>")) {
            (Some(comment), _) => words.push(comment.trim().to_owned()),
            (None, Some((name, body))) => {
                let kind = name.split('"').nth(1).unwrap_or_default().to_owned();
                found.push((kind, body.trim().trim_end_matches(',').to_owned(), cell(&words)));
                words.clear();
            }
            _ => {}
        }
    }
    found
}

/// The public structs and enums of a file.
fn shapes(text: &str) -> Vec<(String, Shape)> {
    let (mut found, mut words, mut attributes) = (Vec::new(), Vec::new(), String::new());
    let mut open: Option<(String, Shape)> = None;
    for line in text.lines() {
        let bare = line.trim();
        if let Some(comment) = bare.strip_prefix("///") {
            words.push(comment.trim().to_owned());
            continue;
        }
        if bare.starts_with("#[") {
            attributes += bare;
            continue;
        }
        match &mut open {
            None => {
                let name = bare.strip_prefix("pub struct ").map(|rest| (rest, false));
                let name = name.or_else(|| bare.strip_prefix("pub enum ").map(|rest| (rest, true)));
                if let Some((rest, is_enum)) = name.filter(|(rest, _)| rest.ends_with('{') && !rest.contains('<')) {
                    let shape = Shape { words: words.join(" "), is_enum, ..Shape::default() };
                    open = Some((rest.trim_end_matches('{').trim().to_owned(), shape));
                }
            }
            Some(_) if line == "}" => found.extend(open.take()),
            Some((_, shape)) => {
                let member = bare.trim_end_matches(',');
                if shape.is_enum && line.starts_with("    ") && !line.starts_with("     ") && !member.is_empty() {
                    shape.members.push((snake(member), String::new(), cell(&words)));
                } else if let Some((name, of)) = member.strip_prefix("pub ").and_then(|field| field.split_once(": ")) {
                    let name = if attributes.contains("flatten") { format!("{name}.*") } else { name.to_owned() };
                    shape.members.push((name, of.to_owned(), cell(&words)));
                }
            }
        }
        words.clear();
        attributes.clear();
    }
    found
}

/// What is in a cell of a table.
fn cell(words: &[String]) -> String {
    words.join(" ").replace('|', "\\|")
}

/// `rename_all = "snake_case"`
fn snake(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

fn words_of(of: &str) -> Vec<String> {
    of.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A type in words of JSON, with links to what stands on this page.
fn linked(of: &str, shapes: &BTreeMap<String, Shape>) -> String {
    let inside = |start: &str| of.strip_prefix(start).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inside("Option<") {
        return format!("{}?", linked(inner, shapes));
    }
    if let Some(inner) = inside("Vec<").or_else(|| inside("BTreeSet<")) {
        return format!("list of {}", linked(inner, shapes));
    }
    if let Some(inner) = inside("Arc<").or_else(|| inside("Box<")) {
        return match inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(one) => format!("list of {}", linked(one, shapes)),
            None => linked(inner, shapes),
        };
    }
    if let Some((_, value)) = inside("BTreeMap<").and_then(|inner| inner.split_once(", ")) {
        return format!("object of {}", linked(value, shapes));
    }
    match of {
        "String" | "str" | "&'static str" => "text".to_owned(),
        "Seq" => "number".to_owned(),
        "IpAddr" => "address".to_owned(),
        "bool" => "true or false".to_owned(),
        "Timestamp" => "time".to_owned(),
        "Kept" => "text, masked".to_owned(),
        "KeptInput" => "object".to_owned(),
        "(u32, u32)" => "list of number".to_owned(),
        number if number.starts_with(['u', 'i']) && number[1..].chars().all(|c| c.is_ascii_digit()) => {
            "number".to_owned()
        }
        name if shapes.contains_key(name) => format!("[{name}](#{})", name.to_lowercase()),
        id if id.ends_with("Id") => "id".to_owned(),
        other => format!("`{other}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let root = checkout().unwrap();
        let page = page(root).unwrap();
        assert!(page.contains("| `session.start` |") && page.contains("\n## Decision\n"), "{page}");
        assert!(page == fs::read_to_string(root.join(PAGE)).unwrap(), "write it anew: cargo xtask reference");
    }
}
