//! The rules of the tree that no other tool knows. In: the checkout's Rust files and documents. Out: one line for each breach, and
//! an error when there is one. It must never change a file.

mod docs;
mod layers;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use source::Source;

/// The folders that hold Rust files of ours.
const FOLDERS: [&str; 5] = ["gateway", "gateway-common", "gateway-ebpf", "xtask", "vm-tests"];

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    /// From 1.
    line: usize,
    text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Prints every breach; errs when there is one, or when there was nothing to look at.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        files.extend(rust_files(&root.join(folder))?);
    }
    ensure!(!files.is_empty(), "no Rust file under `{}`", root.display());
    let (mut found, mut rust) = (Vec::new(), Vec::new());
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(file).to_string_lossy();
        found.extend(faults(&Source::new(&path, &text)));
        rust.push((path.into_owned(), text));
    }
    let tree = docs::Tree::new(root, &rust);
    let documents = docs::documents(root)?;
    found.extend(documents.iter().flat_map(|(path, text)| tree.faults(path, text)));
    found.iter().for_each(|fault| println!("{fault}"));
    if !found.is_empty() {
        bail!("tidy: {} breaches of the tree's rules", found.len());
    }
    println!("tidy: {} files and {} documents, no breach", files.len(), documents.len());
    Ok(())
}

fn faults(source: &Source) -> Vec<Fault> {
    let mut found = rules::check(source);
    found.extend(layers::check(source));
    found.sort_by_key(|fault| fault.line);
    found
}

/// All Rust files below a folder, none when it does not exist.
fn rust_files(start: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut waiting = if start.is_dir() { vec![start.to_path_buf()] } else { Vec::new() };
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list `{}`", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
