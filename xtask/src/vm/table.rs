//! README's table of kernels. In: what tests on a kernel came to. Out: a file of results beside this one, in which each
//! test stands as it ended last, and the table made of all such files. It must never say that a guarantee holds where a
//! test of it did not pass.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

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
    /// How many tests there are.
    all: usize,
    guarantees: BTreeMap<String, Count>,
    /// Feature and cost, as `gateway doctor` says them.
    without: Vec<String>,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
}

/// Tests of a guarantee.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    hold: usize,
    /// Those that show nothing but that the gap is named, since the kernel cannot close it.
    name: usize,
    /// How many there are.
    all: usize,
}

/// Writes down what came of the tests of a run, of all that there are.
pub(super) fn record(kernel: Kernel, outcome: &Outcome, all: &[String]) -> Result<()> {
    let root = checkout()?;
    let file = file(root, kernel);
    let before = if file.exists() { Results::read_file(&file)? } else { Results::default() };
    let results = before.after(kernel, outcome, all);
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
            known.push((kernel.series, Results::read_file(&file)?));
        }
    }
    Ok(rendered(&known))
}

fn rendered(known: &[(&str, Results)]) -> String {
    if known.is_empty() {
        return "No kernel was tried yet; `cargo xtask test` runs the usual list on Linux 6.1.\n".to_owned();
    }
    let names: BTreeSet<&str> =
        known.iter().flat_map(|(_, results)| results.guarantees.keys().map(String::as_str)).collect();
    let mut text =
        format!("| kernel | {} all tests |\n", names.iter().map(|name| format!("{name} |")).collect::<String>());
    text += &format!("| --- | {} --- |\n", "--- |".repeat(names.len()));
    for (_, results) in known {
        let cells = names
            .iter()
            .map(|name| format!(" {} |", results.guarantees.get(*name).map_or_else(String::new, Count::cell)));
        text += &format!("| {} |{} {} |\n", results.release, cells.collect::<String>(), results.outcome());
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
        let hold = of(self.hold, self.all - self.name);
        match self.name {
            0 => format!("{hold} hold"),
            name => format!("{hold} hold, {name} only name the gap"),
        }
    }
}

fn of(some: usize, all: usize) -> String {
    if some == all { all.to_string() } else { format!("{some} of {all}") }
}

impl Results {
    /// These, and what a later run came to.
    fn after(mut self, kernel: Kernel, outcome: &Outcome, all: &[String]) -> Self {
        for (test, passed) in &outcome.tests {
            let (now, before) =
                if *passed { (&mut self.passed, &mut self.failed) } else { (&mut self.failed, &mut self.passed) };
            before.remove(test);
            now.insert(test.clone());
        }
        let is_there = |test: &String| all.contains(test);
        self.passed.retain(is_there);
        self.failed.retain(is_there);
        let mut guarantees: BTreeMap<String, Count> = BTreeMap::new();
        for (guarantee, test) in mutate::guaranteed().into_iter().filter(|(_, test)| is_there(&(*test).to_owned())) {
            let count = guarantees.entry(guarantee.to_owned()).or_default();
            count.all += 1;
            if self.passed.contains(test) {
                let closes = kernel.runs_lsm || !test.starts_with("lsm::");
                *(if closes { &mut count.hold } else { &mut count.name }) += 1;
            }
        }
        let (release, without) = (outcome.release.clone(), outcome.without.clone());
        Self { release, all: all.len(), guarantees, without, ..self }
    }

    fn outcome(&self) -> String {
        let passed = format!("{} pass", of(self.passed.len(), self.all));
        match self.failed.len() {
            0 => passed,
            failed => format!("{passed}, {failed} failed"),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("release {}\nall {}\n", self.release, self.all);
        for (name, count) in &self.guarantees {
            text += &format!("{name} {} {} {}\n", count.hold, count.name, count.all);
        }
        let of_each = self.without.iter().map(|lack| ("without", lack));
        let passed = self.passed.iter().map(|test| ("passed", test));
        let failed = self.failed.iter().map(|test| ("failed", test));
        text + &of_each.chain(failed).chain(passed).map(|(word, rest)| format!("{word} {rest}\n")).collect::<String>()
    }

    fn read_file(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::read(&text).with_context(|| file.display().to_string())
    }

    fn read(text: &str) -> Result<Self> {
        let mut results = Self::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').with_context(|| format!("`{line}` has no value"))?;
            match word {
                "release" => rest.clone_into(&mut results.release),
                "all" => results.all = rest.parse()?,
                "without" => results.without.push(rest.to_owned()),
                "passed" => drop(results.passed.insert(rest.to_owned())),
                "failed" => drop(results.failed.insert(rest.to_owned())),
                guarantee => {
                    let counts = rest.split(' ').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
                    let [hold, name, all] =
                        <[usize; 3]>::try_from(counts).map_err(|_| anyhow!("`{line}` has not three counts"))?;
                    results.guarantees.insert(guarantee.to_owned(), Count { hold, name, all });
                }
            }
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests() -> Vec<String> {
        let all = mutate::guaranteed().into_iter().map(|(_, test)| test.to_owned());
        all.filter(|test| test.starts_with("lsm::") || test.starts_with("redirect::")).collect()
    }

    fn outcome(passed: impl Fn(&str) -> bool) -> Outcome {
        let without = vec!["LSM hooks          before Linux 6.0".to_owned()];
        let tests = tests().into_iter().map(|test| (test.clone(), passed(&test))).collect();
        Outcome { release: "5.10.0".into(), without, tests, ..Outcome::default() }
    }

    fn results(kernel: Kernel) -> Results {
        Results::default().after(kernel, &outcome(|_| true), &tests())
    }

    #[test]
    fn results_come_back_from_their_file() {
        let results = Results::default().after(ALL[0], &outcome(|test| test.starts_with("lsm::")), &tests());
        assert!(!results.failed.is_empty());
        assert_eq!(Results::read(&results.text()).unwrap(), results);
        assert!(Results::read("G1 3 4").is_err() && Results::read("nothing").is_err());
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
    fn each_test_counts_as_it_ended_last_and_what_was_not_tried_does_not() {
        let all = tests();
        let failed = Results::default().after(ALL[1], &outcome(|test| test != all[0]), &all);
        assert_eq!(failed.outcome(), format!("{} of {} pass, 1 failed", all.len() - 1, all.len()));
        assert!(failed.guarantees["G1"].cell().contains(" of "), "{failed:?}");
        let again = Outcome { tests: [(all[0].clone(), true)].into(), ..outcome(|_| true) };
        let mended = failed.after(ALL[1], &again, &all);
        assert_eq!(mended.outcome(), format!("{} pass", all.len()));
        let more = [all.clone(), vec!["one::more".to_owned()]].concat();
        let more = mended.after(ALL[1], &Outcome::default(), &more);
        assert_eq!(more.outcome(), format!("{} of {} pass", all.len(), all.len() + 1));
        assert_eq!(more.after(ALL[1], &Outcome::default(), &[]).outcome(), "0 pass", "tests that are gone");
    }

    #[test]
    fn the_table_of_readme_is_what_the_results_say() {
        let root = checkout().unwrap();
        let readme = fs::read_to_string(root.join("README.md")).unwrap();
        assert!(with_table(&readme, &table(root).unwrap()).unwrap() == readme, "run `cargo xtask vm KERNEL --record`");
    }
}
