//! The reference as a page of the documentation, and as gateway.toml(5).
//!
//! In: the table, and what the readers ask for. Out: Markdown and roff. Both say the same.

use std::collections::BTreeMap;

use super::super::table::{self, Source, Takes};
use super::{Key, SAMPLE, SECTIONS, Section, Unless};

const INTRODUCTION: &str = "\
The file is `/etc/gateway/gateway.toml`, or what `--config` names. It is TOML. Unknown keys are errors, and all faults are told at once. \
`gateway config check` reads it as a start would, with the files that it names; after a change `systemctl reload gateway` puts it \
in force, and one with faults leaves the old one in force. `gateway config show` prints what is in force, each value with the line that it \
comes from. No secret stands in the file: where one belongs, there is the place of one.";

/// What the readers ask for, by table and key; of secrets without the ways to write their place.
pub(super) fn asked() -> BTreeMap<(String, &'static str), Takes> {
    let (source, table) = Source::parse(SAMPLE);
    super::super::read(&table::Section::root(&source, &table));
    let all = source.asked();
    let is_secret = |place: &str| {
        let parts = place.rsplit_once('.');
        parts.is_some_and(|(place, key)| {
            all.iter().any(|((at, name), takes)| at == place && *name == key && *takes == Takes::Secret)
        })
    };
    all.iter().filter(|((place, _), _)| !is_secret(place)).map(|(key, takes)| (key.clone(), takes.clone())).collect()
}

/// As a page of the documentation.
#[must_use]
pub fn markdown() -> String {
    let asked = asked();
    let mut page = format!("# Configuration\n\nWritten by `gateway config reference`.\n\n{INTRODUCTION}\n");
    for section in SECTIONS {
        let title = header(section).map_or_else(|| "The beginning".to_owned(), |header| format!("`{header}`"));
        page += &format!(
            "\n## {title}\n\n{}\n\n| key | takes | without it | |\n| --- | --- | --- | --- |\n",
            words(section)
        );
        for key in section.keys {
            let cells = [format!("`{}`", key.name), takes(&asked, section, key), without(key), meaning(key)];
            page += &format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
    }
    page + &format!(
        "\n## A file with each table\n\nWith the keys alone that have to be there.\n\n```toml\n{SAMPLE}```\n"
    )
}

/// As gateway.toml(5).
#[must_use]
pub fn manual() -> String {
    let asked = asked();
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH gateway.toml 5 \"\" \"gateway {version}\"\n.SH NAME\ngateway.toml \\- the configuration of gateway\n"
    );
    page += &format!(".SH DESCRIPTION\n{}\n", roff(INTRODUCTION));
    for section in SECTIONS {
        let title = header(section).unwrap_or_else(|| "The beginning".to_owned());
        page += &format!(".SH \"{}\"\n{}\n", roff(&title), roff(&words(section)));
        for key in section.keys {
            let text = format!("{} Takes {}. Without it: {}.", meaning(key), takes(&asked, section, key), without(key));
            page += &format!(".TP\n.B {}\n{}\n", roff(key.name), roff(&text));
        }
    }
    page + &format!(
        ".SH EXAMPLE\nA file with each table, and with the keys alone that have to be there:\n.PP\n.nf\n{}.fi\n",
        verbatim(SAMPLE)
    )
}

fn header(section: &Section) -> Option<String> {
    match section.place {
        "" => None,
        place if section.is_list => Some(format!("[[{place}]]")),
        place => Some(format!("[{place}]")),
    }
}

fn words(section: &Section) -> String {
    let without = section.without.map(|without| format!(" Without it: {without}."));
    format!("{}{}", section.words, without.unwrap_or_default())
}

fn meaning(key: &Key) -> String {
    let title = |protocol: &&str| match *protocol {
        "postgres" => "Postgres",
        "ssh" => "SSH",
        _ => "Kubernetes",
    };
    let of: Vec<_> = key.protocols.iter().map(title).collect();
    if of.is_empty() { key.words.to_owned() } else { format!("{} Of {}.", key.words, of.join(" and ")) }
}

fn without(key: &Key) -> String {
    match key.unless {
        Unless::Must(example) => format!("an error; for example `{example}`"),
        Unless::Is(default) => format!("`{default}`"),
        Unless::Else(words) => words.to_owned(),
    }
}

fn takes(asked: &BTreeMap<(String, &'static str), Takes>, section: &Section, key: &Key) -> String {
    /// Nobody gets there.
    const UNBOUNDED: u64 = 1 << 60;
    match asked.get(&(section.place.to_owned(), key.name)) {
        None => String::new(),
        Some(Takes::Text) => "a string".to_owned(),
        Some(Takes::Texts) => "strings".to_owned(),
        Some(Takes::OneOf(words)) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Some(Takes::Time) => "a time from `\"1s\"` to `\"24h\"`".to_owned(),
        Some(Takes::Flag) => "`true`, `false`".to_owned(),
        Some(Takes::Number(range)) if range.start() == range.end() => format!("`{}`", range.start()),
        Some(Takes::Number(range)) if *range.end() >= UNBOUNDED => format!("a number from {}", range.start()),
        Some(Takes::Number(range)) => format!("a number from {} to {}", range.start(), range.end()),
        Some(Takes::Ports) => "port numbers".to_owned(),
        Some(Takes::Lists) => "lists of strings, by name".to_owned(),
        Some(Takes::Secret) => {
            "`{ file = \"…\" }`, `{ env = \"…\" }` or `{ credential = \"…\" }` (systemd's)".to_owned()
        }
    }
}

/// A text of roff, what stands between backquotes in bold.
fn roff(text: &str) -> String {
    let bold = |(at, part): (usize, &str)| if at % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() };
    plain(text).split('`').enumerate().map(bold).collect()
}

fn verbatim(text: &str) -> String {
    text.lines().map(|line| plain(line) + "\n").collect()
}

/// So that nothing in it is an instruction (groff(7)).
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let kept = std::fs::read_to_string(file).unwrap_or_default();
        assert!(kept == markdown(), "write it anew: gateway config reference > docs/configuration.md");
    }

    #[test]
    fn the_manual_has_every_key_and_no_instruction_of_its_own() {
        let page = manual();
        for key in SECTIONS.iter().flat_map(|section| section.keys) {
            assert!(page.contains(&format!(".B {}\n", key.name)), "{}", key.name);
        }
        let known = [".TH ", ".SH ", ".TP", ".B ", ".PP", ".nf", ".fi"];
        assert!(
            page.lines()
                .filter(|line| line.starts_with(['.', '\'']))
                .all(|line| known.iter().any(|one| line.starts_with(one)))
        );
    }
}
