//! The tables of README and docs/masking.md are what happens: each line has an example, and each example is asked, with
//! labels and, where the line says what it is then, with masking at the source (G4).
//!
//! In: the tables. Out: a failure for a line that has no example, or whose example does not come to what the line says.

use std::fs;
use std::path::Path;

use crate::cluster;
use crate::corpus::Outcome;
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Way};

/// One line of the table.
struct Line {
    says: String,
    example: String,
    at_source: Option<String>,
}

fn lines(file: &str) -> Vec<Line> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = fs::read_to_string(file).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| a statement that |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    let line = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (says, example, at_source) = match cells[..] {
            [_, says, example] => (says, example, None),
            [_, says, example, at_source] => (says, example, Some(at_source.to_owned())),
            _ => panic!("not three or four cells: {row}"),
        };
        let example = example.strip_prefix('`').and_then(|example| example.strip_suffix('`'));
        let example = example.unwrap_or_else(|| panic!("no example: {row}")).to_owned();
        Line { says: says.to_owned(), example, at_source }
    };
    rows.map(line).collect()
}

/// The outcome that a cell begins with.
fn outcome(cell: &str) -> Outcome {
    match cell.split([' ', ':', ',']).next().unwrap() {
        "passed" => Outcome::Passes,
        "masked" => Outcome::Masked,
        "scrubbed" => Outcome::Scrubbed,
        "denied" => Outcome::Denied,
        word => panic!("`{word}` is no outcome"),
    }
}

#[test]
fn every_line_of_the_tables_of_masking_is_what_happens() {
    let (of_readme, of_docs) = (lines("README.md"), lines("docs/masking.md"));
    assert!(of_readme.len() >= 8 && of_docs.len() >= 12, "{} and {} lines", of_readme.len(), of_docs.len());
    let lines: Vec<_> = of_readme.into_iter().chain(of_docs).collect();
    for masking in ["rows", "source"] {
        let (shop, _) = Shop::with_corpus(cluster::remote());
        let _gateway = shop.attach_corpus(masking, crate::story_source::UNGUARDED);
        let (inside, outside) = (Door::new(&shop, Side::Inside), shop.beside());
        let mut wrong = Vec::new();
        for Line { says, example, at_source } in &lines {
            let cell = match at_source {
                _ if masking == "rows" => says,
                Some(cell) => cell,
                None => continue,
            };
            let (mut ours, mut theirs) = (inside.session("postgres"), outside.session("postgres"));
            theirs.ask(Way::Simple, "BEGIN");
            let (ours, theirs) = (ours.ask(Way::Simple, example), theirs.ask(Way::Simple, example));
            let found = Outcome::of(&ours, &theirs);
            if found != outcome(cell) {
                let told: Vec<_> = ours.iter().map(Message::line).collect();
                wrong.push(format!("{masking}: {example}: {found}, not {cell}: {told:?}"));
            }
            for action in ["Data::compare", "Data::export"].iter().filter(|action| cell.contains(**action)) {
                let said: String = ours.iter().filter_map(Message::refusal).collect();
                if !said.contains(*action) {
                    wrong.push(format!("{masking}: {example}: no word of {action}: {said}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
