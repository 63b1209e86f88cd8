//! `gateway masking check`: is the masking file right, what do its masks look like, and what do detectors find?
//!
//! In: the configuration, the file that it names, and texts to try. Out: classes with a masked example, labels, detectors; faults,
//! also of labels that no declared target can have. It asks no server: a name of a column that is not there matches nothing,
//! and no one is told. It reads no key: what a hash looks like is told by another one.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Output;
use super::policy::{self, Given};
use super::terminal::visible;
use crate::config::Config;
use crate::masking::file::{Glob, MaskingFile};
use crate::masking::masked::mask_found;
use crate::masking::rules::Rules;
use crate::policy::vocabulary::UNDECLARED;

/// What to do with masking.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the file, show what each class looks like, and try detectors
    Check(Arguments),
}

/// Which file, and what to try.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A text that detectors look at, as if it came from the target
    #[arg(long = "text", value_name = "TEXT")]
    texts: Vec<String>,
    /// The target whose detectors do
    #[arg(long, value_name = "NAME", default_value = UNDECLARED)]
    target: String,
    #[command(flatten)]
    files: super::Files,
}

/// What each class makes of this.
const EXAMPLE: &str = "alice.jones@example.com";

/// A masking file without faults.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    classes: Vec<ShownClass>,
    columns: usize,
    fields: usize,
    detectors: Vec<String>,
    /// Each text with what was found masked.
    texts: Vec<String>,
    /// Labels that nothing can have.
    idle: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownClass {
    name: String,
    /// What it is part of, the nearest first.
    within: Vec<String>,
    example: String,
}

pub(super) fn run(command: Command, output: Output) -> anyhow::Result<()> {
    let Command::Check(arguments) = command;
    let Given { config, rules, .. } = policy::read(&arguments.files)?;
    let checked = check(&config, &rules, &arguments);
    output.print(&checked, page)?;
    match checked.idle.as_slice() {
        [] => Ok(()),
        idle => bail!("{} of its labels are of targets that the configuration does not have", idle.len()),
    }
}

fn check(config: &Config, rules: &Rules, arguments: &Arguments) -> Checked {
    let masking = rules.masking(&arguments.target);
    let class = |class: &std::sync::Arc<crate::masking::class::Class>| {
        let mut example = Vec::new();
        class.write_text(EXAMPLE.as_bytes(), &mut example);
        let within = class.lineage().skip(1).map(str::to_owned).collect();
        ShownClass { name: class.name.to_string(), within, example: String::from_utf8_lossy(&example).into_owned() }
    };
    let masked = |text: &String| {
        let mut out = Vec::new();
        let found = mask_found(text.as_bytes(), &masking.detectors, &mut out);
        if found { String::from_utf8_lossy(&out).into_owned() } else { text.clone() }
    };
    let (columns, fields) = rules.file().map_or((0, 0), |file| (file.columns.len(), file.fields.len()));
    Checked {
        file: config.masking.as_ref().map_or_else(|| "the shipped rules".to_owned(), |file| file.display().to_string()),
        classes: masking.classes.iter().map(class).collect(),
        columns,
        fields,
        detectors: masking.detectors.iter().map(|detector| detector.name.to_string()).collect(),
        texts: arguments.texts.iter().map(masked).collect(),
        idle: rules.file().map(|file| idle(config, file)).unwrap_or_default(),
    }
}

/// Labels that are of no target: who wrote them meant one.
fn idle(config: &Config, file: &MaskingFile) -> Vec<String> {
    let names = || config.targets.iter().map(|target| target.name.as_str()).chain([UNDECLARED]);
    let is_there = |glob: &Glob| names().any(|name| glob.matches(name));
    let columns = file.columns.iter().enumerate().filter(|(_, label)| !label.at.iter().any(|at| is_there(at.target())));
    let columns =
        columns.map(|(number, label)| format!("column[{}], {}: of no declared target", number + 1, label.class.name));
    let fields = file.fields.iter().enumerate();
    let fields = fields.filter(|(_, label)| !label.targets.is_empty() && !label.targets.iter().any(is_there));
    let fields =
        fields.map(|(number, label)| format!("field[{}], {}: of no declared target", number + 1, label.class.name));
    columns.chain(fields).collect()
}

fn page(checked: &Checked) -> String {
    let mut page = format!(
        "{}: valid; labels: {} on columns, {} on fields of objects\n\n{:<16} {:<24} {EXAMPLE} is shown as\n",
        checked.file, checked.columns, checked.fields, "CLASS", "WITHIN"
    );
    for class in &checked.classes {
        page += &format!("{:<16} {:<24} {}\n", class.name, class.within.join(", "), visible(&class.example));
    }
    page += &format!("\ndetectors: {}\n", checked.detectors.join(", "));
    for text in &checked.texts {
        page += &format!("  {}\n", visible(text));
    }
    for idle in &checked.idle {
        page += &format!("{idle}\n");
    }
    page
}
