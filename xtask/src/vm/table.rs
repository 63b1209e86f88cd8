//! README's table of kernels. In: what a whole run on a kernel came to. Out: a file of results beside this one, and the
//! table made of all such files. It must never say that a guarantee holds where a test of it did not pass.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::boot::Outcome;
use super::kernels::{ALL, Kernel};
use crate::mutate;
use crate::run::checkout;

const BEGIN: &str = "<!-- made by `cargo xtask vm KERNEL --whole` -->\n";
const END: &str = "<!-- end -->\n";

/// What a kernel came to: a line for each, `word rest`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Results {
    release: String,
    tests: usize,
    guarantees: BTreeMap<String, Count>,
    /// Feature and cost, as `gateway doctor` says them.
    without: Vec<String>,
}

/// Tests of a guarantee that passed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    hold: usize,
    /// Those that show nothing but that the gap is named, since the kernel cannot close it.
    name: usize,
}

/// Writes down a run in which all these tests passed.
pub(super) fn record(kernel: Kernel, outcome: &Outcome, passed: &[String]) -> Result<()> {
    let root = checkout()?;
    let results = Results::of(kernel, outcome, passed);
    let file = file(root, kernel);
    fs::create_dir_all(file.parent().context("results have no folder")?)
        .context("cannot make the folder of results")?;
    fs::write(&file, results.text()).with_context(|| format!("cannot write {}", file.display()))?;
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).context("cannot read README.md")?;
    fs::write(&readme, with_table(&text, &table(root)?)?).context("cannot write README.md")
}

fn file(root: &Path, kernel: Kernel) -> PathBuf {
    root.join("xtask/src/vm/results").join(kernel.series)
}

fn with_table(text: &str, table: &str) -> Result<String> {
    let marks = "README.md has no place for the table of kernels";
    let (before, rest) = text.split_once(BEGIN).context(marks)?;
    let (_, after) = rest.split_once(END).context(marks)?;
    Ok(format!("{before}{BEGIN}{table}{END}{after}"))
}

/// All kernels with results, from the oldest to the newest, and what they lack.
fn table(root: &Path) -> Result<String> {
    let mut known = Vec::new();
    for kernel in ALL {
        let file = file(root, kernel);
        if file.exists() {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            known.push((kernel.series, Results::read(&text).with_context(|| format!("{}", file.display()))?));
        }
    }
    Ok(rendered(&known))
}

fn rendered(known: &[(&str, Results)]) -> String {
    if known.is_empty() {
        return "No kernel was run whole yet; `cargo xtask test` runs the usual list on Linux 6.1.\n".to_owned();
    }
    let names: std::collections::BTreeSet<&str> =
        known.iter().flat_map(|(_, results)| results.guarantees.keys().map(String::as_str)).collect();
    let mut text =
        format!("| kernel | {} all tests |\n", names.iter().map(|name| format!("{name} |")).collect::<String>());
    text += &format!("| --- | {} --- |\n", "--- |".repeat(names.len()));
    for (_, results) in known {
        let cells = names
            .iter()
            .map(|name| format!(" {} |", results.guarantees.get(*name).map_or_else(String::new, Count::cell)));
        text += &format!("| {} |{} {} pass |\n", results.release, cells.collect::<String>(), results.tests);
    }
    text += "\nWhat they lack, in the words of `gateway doctor`:\n\n";
    let mut lacks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (series, results) in known {
        for lack in &results.without {
            lacks.entry(lack).or_default().push(series);
        }
    }
    for (lack, kernels) in lacks {
        let (feature, cost) = lack.split_once("  ").unwrap_or((lack, ""));
        text += &format!("- {} (Linux {}): {}\n", feature.trim(), kernels.join(", "), cost.trim());
    }
    text
}

impl Count {
    fn cell(&self) -> String {
        match self.name {
            0 => format!("{} hold", self.hold),
            name => format!("{} hold, {name} only name the gap", self.hold),
        }
    }
}

impl Results {
    fn of(kernel: Kernel, outcome: &Outcome, passed: &[String]) -> Self {
        let mut guarantees: BTreeMap<String, Count> = BTreeMap::new();
        for (guarantee, test) in mutate::guaranteed() {
            if !passed.iter().any(|name| name == test) {
                continue;
            }
            let count = guarantees.entry(guarantee.to_owned()).or_default();
            let closes = kernel.runs_lsm || !test.starts_with("lsm::");
            *(if closes { &mut count.hold } else { &mut count.name }) += 1;
        }
        let (release, without) = (outcome.release.clone(), outcome.without.clone());
        Self { release, tests: passed.len(), guarantees, without }
    }

    fn text(&self) -> String {
        let guarantees = self.guarantees.iter().map(|(name, count)| format!("{name} {} {}\n", count.hold, count.name));
        let without = self.without.iter().map(|lack| format!("without {lack}\n"));
        let rest: String = guarantees.chain(without).collect();
        format!("release {}\ntests {}\n{rest}", self.release, self.tests)
    }

    fn read(text: &str) -> Result<Self> {
        let mut results = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').with_context(|| format!("`{line}` has no value"))?;
            match word {
                "release" => rest.clone_into(&mut results.release),
                "tests" => results.tests = rest.parse()?,
                "without" => results.without.push(rest.to_owned()),
                guarantee => {
                    let (hold, name) = rest.split_once(' ').with_context(|| format!("`{line}` has not two counts"))?;
                    let count = Count { hold: hold.parse()?, name: name.parse()? };
                    results.guarantees.insert(guarantee.to_owned(), count);
                }
            }
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(kernel: Kernel) -> Results {
        let passed = mutate::guaranteed().into_iter().map(|(_, test)| test.to_owned());
        let passed: Vec<_> =
            passed.filter(|test| test.starts_with("lsm::") || test.starts_with("redirect::")).collect();
        let without = vec!["LSM hooks          before Linux 6.0".to_owned()];
        Results::of(kernel, &Outcome { release: "5.10.0".into(), without, ..Outcome::default() }, &passed)
    }

    #[test]
    fn results_come_back_from_their_file() {
        let results = results(ALL[0]);
        assert_eq!(Results::read(&results.text()).unwrap(), results);
        assert!(Results::read("G1 3").is_err() && Results::read("nothing").is_err());
    }

    #[test]
    fn a_test_of_a_hook_that_the_kernel_does_not_run_holds_nothing() {
        let (old, usual) = (results(ALL[0]), results(ALL[1]));
        assert!(old.guarantees["G1"].name > 0 && usual.guarantees["G1"].name == 0);
        let text = rendered(&[("5.10", old), ("6.1", usual)]);
        assert!(
            text.contains("only name the gap") && text.contains("- LSM hooks (Linux 5.10, 6.1): before Linux 6.0\n"),
            "{text}"
        );
    }

    #[test]
    fn the_table_of_readme_is_what_the_results_say() {
        let root = checkout().unwrap();
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        assert!(with_table(&readme, &table(root).unwrap()).unwrap() == readme, "run `cargo xtask vm KERNEL --whole`");
    }
}
