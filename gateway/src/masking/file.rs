//! `masking.toml`: what is sensitive, where it is, and what stands in its place.
//!
//! In: the text of the file. Out: classes, labels and detectors, valid by construction. Unknown keys are errors, all
//! faults are reported at once, and a file with one changes nothing that is running. It never reads a key by itself:
//! where a hash key comes from is its caller's matter.

mod field;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

use crate::config::table::{Section, Source};
use crate::config::{ConfigError, SecretSource};
use crate::masking::Masking;
use crate::masking::class::{Class, ClassSpec, Classes, Partial, Show, shipped_specs};
use crate::masking::detect::{Builtin, Detector, Detectors, MOST};
use crate::secret::Secret;

pub use field::{FieldLabel, FieldPart, FieldPath, Filter, PathError};
pub use pattern::{ColumnName, ColumnPattern, Glob, PatternError};

/// Reads the key of a hash.
pub type ReadKey<'k> = &'k dyn Fn(&SecretSource) -> Result<Secret, String>;

/// A whole file.
#[derive(Clone, Debug)]
pub struct MaskingFile {
    /// The data classes, shipped ones included.
    pub classes: Classes,
    /// `[default]`
    pub default: Defaults,
    /// Labels on columns, in the order of the file.
    pub columns: Vec<ColumnLabel>,
    /// Labels on fields of objects, likewise.
    pub fields: Vec<Arc<FieldLabel>>,
    /// `[detector]`
    pub detector: DetectorSection,
}

/// `[default]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// NULL stays NULL in a masked column.
    pub keep_null: bool,
}

/// `[[column]]`
#[derive(Clone, Debug)]
pub struct ColumnLabel {
    /// Which columns.
    pub at: Vec<ColumnPattern>,
    /// What they hold.
    pub class: Arc<Class>,
}

/// `[detector]`
#[derive(Clone, Debug)]
pub struct DetectorSection {
    /// Those that are on everywhere.
    pub on: Vec<Builtin>,
    /// The longest value that is found across the border of two chunks of a stream.
    pub window: usize,
    /// The longest time that a byte of a stream waits.
    pub delay: Duration,
    /// `[[detector.custom]]`
    pub custom: Vec<Custom>,
    /// `[[detector.except]]`
    pub except: Vec<Except>,
}

/// `[[detector.custom]]`
#[derive(Clone, Debug)]
pub struct Custom {
    /// As events name it.
    pub name: String,
    /// What its finds are.
    pub class: Arc<Class>,
    /// What it finds.
    pub pattern: Regex,
    /// The targets where it is on; empty: all.
    pub within: Vec<Glob>,
}

/// `[[detector.except]]`
#[derive(Clone, Debug)]
pub struct Except {
    /// The detector's name.
    pub detector: String,
    /// The columns that it leaves alone.
    pub at: Vec<ColumnPattern>,
}

/// As the file's own default: most JWTs are shorter.
const WINDOW: usize = 4096;
/// Nobody sees this in a terminal.
const DELAY: Duration = Duration::from_millis(20);
/// Longer compiled patterns are no look-ups any more.
const PATTERN_SIZE: usize = 1 << 20;

impl MaskingFile {
    /// Reads a file's text; `file` is its name for messages.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(file: &str, text: &str, key: ReadKey<'_>) -> Result<Self, ConfigError> {
        let (source, table) = Source::parse(text);
        let root = Section::root(&source, &table);
        if root.number("version", 0..=u64::MAX) != Some(1) {
            root.fault("version", "write `version = 1`: the first line of every file");
        }
        let default = defaults(&root.section("default"));
        let classes = classes(&root, key);
        let columns = root.sections("column").iter().filter_map(|section| column(section, &classes)).collect();
        let fields = root.sections("field").iter().filter_map(|section| field(section, &classes)).collect();
        let detector = detector(&root.section("detector"), &classes);
        root.finish();
        let faults = source.into_faults();
        if faults.is_empty() {
            Ok(Self { classes, default, columns, fields, detector })
        } else {
            Err(ConfigError { file: file.to_owned(), faults })
        }
    }

    /// What masks the replies of one target.
    #[must_use]
    pub fn masking(&self, target: &str) -> Masking {
        let builtin = self.detector.on.iter().filter_map(|builtin| {
            let (_, _, _, class) = Builtin::ALL.iter().find(|(one, ..)| one == builtin)?;
            Some(Detector::builtin(*builtin, Arc::clone(self.classes.find(class)?)))
        });
        let is_here = |custom: &&Custom| custom.within.is_empty() || custom.within.iter().any(|at| at.matches(target));
        let custom = self.detector.custom.iter().filter(is_here);
        let custom =
            custom.map(|custom| Detector::custom(&custom.name, Arc::clone(&custom.class), custom.pattern.clone()));
        let is_of =
            |label: &&Arc<FieldLabel>| label.targets.is_empty() || label.targets.iter().any(|at| at.matches(target));
        Masking {
            fields: self.fields.iter().filter(is_of).map(Arc::clone).collect(),
            classes: self.classes.clone(),
            detectors: Arc::new(Detectors::new(builtin.chain(custom).collect())),
            keep_null: self.default.keep_null,
        }
    }

    /// The class of a column: the first label that names it.
    #[must_use]
    pub fn class_of(&self, column: &ColumnName<'_>) -> Option<&Arc<Class>> {
        let named = |label: &&ColumnLabel| label.at.iter().any(|pattern| pattern.matches(column));
        self.columns.iter().find(named).map(|label| &label.class)
    }

    /// The names of the detectors that leave a column alone.
    pub fn exceptions<'f>(&'f self, column: &'f ColumnName<'_>) -> impl Iterator<Item = &'f str> {
        let named = |except: &&Except| except.at.iter().any(|pattern| pattern.matches(column));
        self.detector.except.iter().filter(named).map(|except| except.detector.as_str())
    }
}

fn defaults(section: &Section<'_, '_>) -> Defaults {
    // What these two deny can be permitted by policy (`Data::compare`), not here.
    let () = section.one_of("predicate", &[("deny", ())]).unwrap_or_default();
    let () = section.one_of("opaque", &[("deny", ())]).unwrap_or_default();
    // What an output derives from is known when its description comes, and then the statement runs already.
    let () = section.one_of("unknown_origin", &[("mask", ())]).unwrap_or_default();
    let default = Defaults { keep_null: section.flag("keep_null").unwrap_or(true) };
    if section.flag("source") == Some(true) {
        section.fault("source", "is said of each target in gateway.toml: `masking = \"source\"`");
    }
    section.finish();
    default
}

fn classes(root: &Section<'_, '_>, key: ReadKey<'_>) -> Classes {
    let mut specs = shipped_specs();
    let sections = root.named("class");
    for (name, section) in &sections {
        if !is_name(name) {
            root.fault("class", format!("`{name}` is no name: use letters, digits, `_` and `-`, at most 63"));
        }
        let spec = ClassSpec { parent: section.string("parent"), show: show(section, key) };
        section.finish();
        specs.insert(name.clone(), spec);
    }
    match Classes::resolve(specs) {
        Ok(classes) => classes,
        Err(lost) => {
            for (_, section) in sections.iter().filter(|(name, _)| lost.contains(name)) {
                section.fault("parent", "there is no such class, or it is part of this one");
            }
            Classes::default()
        }
    }
}

fn show(section: &Section<'_, '_>, key: ReadKey<'_>) -> Option<Show> {
    if !section.has_table("show") {
        return section.one_of("show", &[("redact", Show::Redact), ("null", Show::Null)]);
    }
    let form = section.section("show");
    let forms = [
        form.section("partial").is_there().then(|| partial(&form.section("partial"))),
        form.section("hash").is_there().then(|| hash(&form.section("hash"), key)).flatten(),
        fixed(&form),
        form.one_of("truncate", &[("year", Show::Year)]),
    ];
    form.finish();
    let mut forms = forms.into_iter().flatten();
    let (first, second) = (forms.next(), forms.next());
    if second.is_some() {
        section.fault("show", "write one of `redact`, `null`, partial, hash, fixed, truncate");
    }
    first
}

fn fixed(form: &Section<'_, '_>) -> Option<Show> {
    let text = form.string("fixed")?;
    // It goes into errors, rows of COPY and terminals too.
    if text.chars().any(char::is_control) {
        form.fault("fixed", "holds a control character");
    }
    Some(Show::Fixed(text.into()))
}

fn partial(section: &Section<'_, '_>) -> Show {
    let count = |key| section.number(key, 0..=64).and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let partial = Partial { first: count("first"), last: count("last"), from: section.string("from") };
    if partial.last > 0 && partial.from.is_some() {
        section.fault("last", "`from` already says what stays at the end: write one of the two");
    }
    section.finish();
    Show::Partial(partial)
}

fn hash(section: &Section<'_, '_>, read: ReadKey<'_>) -> Option<Show> {
    let key = section.section("key");
    let sources = [
        key.string("file").map(|path| SecretSource::File(path.into())),
        key.string("env").map(SecretSource::Env),
        key.string("credential").map(SecretSource::Credential),
    ];
    key.finish();
    let length = section.number("length", 8..=64).and_then(|length| usize::try_from(length).ok()).unwrap_or(16);
    section.finish();
    let mut sources = sources.into_iter().flatten();
    let (Some(source), None) = (sources.next(), sources.next()) else {
        section.fault("key", "write one of `{ file = \"…\" }`, `{ env = \"…\" }`, `{ credential = \"…\" }`");
        return None;
    };
    match read(&source) {
        // Under a short key, whoever sees hashes can try them all.
        Ok(secret) if secret.expose().len() >= 16 => Some(Show::hash(&secret, length)),
        Ok(_) => {
            section.fault("key", "has less than 16 bytes: make one with `openssl rand -hex 32`");
            None
        }
        Err(reason) => {
            section.fault("key", reason);
            None
        }
    }
}

fn column(section: &Section<'_, '_>, classes: &Classes) -> Option<ColumnLabel> {
    let at = section.all_parsed::<ColumnPattern>("at");
    if at.is_empty() {
        section.fault("at", "names no column: write `target/database/schema.table.column`");
    }
    let class = class_of(section, classes);
    section.finish();
    Some(ColumnLabel { at, class: class? })
}

fn field(section: &Section<'_, '_>, classes: &Classes) -> Option<Arc<FieldLabel>> {
    let kind = section.required("kind").and_then(|kind| {
        let is_kind = !kind.is_empty() && !kind.contains(|c: char| c.is_ascii_uppercase() || "/ ".contains(c));
        if !is_kind {
            section.fault(
                "kind",
                "is written as in the paths of the API, in lower case: `configmaps`, `deployments.apps`",
            );
        }
        kind.parse().ok().filter(|_| is_kind)
    });
    let paths = section.all_parsed("paths");
    if paths.is_empty() {
        section.fault("paths", "names no field: write `data.*`");
    }
    let [targets, namespaces, names] = ["targets", "namespaces", "names"].map(|key| section.all_parsed(key));
    let class = class_of(section, classes);
    section.finish();
    Some(Arc::new(FieldLabel { kind: kind?, targets, namespaces, names, paths, class: class? }))
}

fn class_of(section: &Section<'_, '_>, classes: &Classes) -> Option<Arc<Class>> {
    let name = section.required("class")?;
    let class = classes.find(&name);
    if class.is_none() {
        section.fault("class", format!("there is no class `{name}`: declare it with [class.{name}]"));
    }
    class.cloned()
}

fn detector(section: &Section<'_, '_>, classes: &Classes) -> DetectorSection {
    let words: BTreeMap<&str, Builtin> = Builtin::ALL.iter().map(|(one, name, ..)| (*name, *one)).collect();
    let listed = |key| {
        let find = |name: String| {
            let found = words.get(name.as_str()).copied();
            if found.is_none() {
                let known: Vec<_> = words.keys().copied().collect();
                section.fault(key, format!("there is no detector `{name}`; there are {}", known.join(", ")));
            }
            found
        };
        section.strings(key).into_iter().filter_map(find).collect::<Vec<_>>()
    };
    let (on, off) = (listed("on"), listed("off"));
    if on.iter().any(|one| off.contains(one)) {
        section.fault("off", "a detector is both on and off");
    }
    let shipped = Builtin::ALL.iter().filter(|(_, _, is_on, _)| *is_on).map(|(one, ..)| *one);
    let mut on: Vec<_> = shipped.filter(|one| !off.contains(one)).chain(on).collect();
    on.sort();
    on.dedup();
    let custom: Vec<_> = section.sections("custom").iter().filter_map(|one| custom(one, classes)).collect();
    if on.len() + custom.len() > MOST {
        section.fault("custom", format!("there are more than {MOST} detectors"));
    }
    let names: Vec<_> = words.keys().copied().chain(custom.iter().map(|one| one.name.as_str())).collect();
    let except = section.sections("except").iter().filter_map(|one| except(one, &names)).collect();
    let window = measure(section, "window", &[("B", 1), ("KiB", 1024)], 64..=65_536).unwrap_or(WINDOW as u64);
    let delay = measure(section, "delay", &[("ms", 1), ("s", 1000)], 1..=1000).map_or(DELAY, Duration::from_millis);
    section.finish();
    DetectorSection { on, window: usize::try_from(window).unwrap_or(WINDOW), delay, custom, except }
}

fn custom(section: &Section<'_, '_>, classes: &Classes) -> Option<Custom> {
    let name = section.required("name").filter(|name| {
        let is_free = is_name(name) && Builtin::ALL.iter().all(|(_, builtin, ..)| builtin != name);
        if !is_free {
            section.fault("name", "a detector is named by letters, digits, `_` and `-`, and not as a built-in one");
        }
        is_free
    });
    let pattern = section.required("pattern").and_then(|pattern| {
        let built = regex::bytes::RegexBuilder::new(&pattern).size_limit(PATTERN_SIZE).build();
        let matches_nothing = built.as_ref().is_ok_and(|built| built.is_match(b""));
        if matches_nothing {
            section.fault("pattern", "matches the empty text, and so everywhere");
        }
        built.map_err(|error| section.fault("pattern", error.to_string())).ok()
    });
    let class = class_of(section, classes);
    let within = section.all_parsed("within");
    section.finish();
    Some(Custom { name: name?, class: class?, pattern: pattern?, within })
}

fn except(section: &Section<'_, '_>, names: &[&str]) -> Option<Except> {
    let detector = section.required("detector");
    if detector.as_deref().is_some_and(|detector| !names.contains(&detector)) {
        section.fault("detector", format!("there is no such detector; there are {}", names.join(", ")));
    }
    let at = section.all_parsed("at");
    section.finish();
    Some(Except { detector: detector?, at })
}

/// A number with its unit, such as `20 ms`.
fn measure(
    section: &Section<'_, '_>,
    key: &'static str,
    units: &[(&str, u64)],
    range: std::ops::RangeInclusive<u64>,
) -> Option<u64> {
    let text = section.string(key)?;
    let digits = text.len() - text.trim_start_matches(|byte: char| byte.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = units.iter().find(|(name, _)| *name == unit.trim());
    let value = unit.and_then(|(_, factor)| number.parse::<u64>().ok()?.checked_mul(*factor));
    let value = value.filter(|value| range.contains(value));
    if value.is_none() {
        let (least, most) = (range.start(), range.end());
        let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
        let reason = format!("`{text}` is no number with a unit ({}), from {least} to {most}", names.join(", "));
        section.fault(key, reason);
    }
    value
}

fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
