//! The documentation as a book. In: docs/SUMMARY.md, and the pages that it names. Out: HTML with a search of its own, in the
//! target folder. It must never have a page that the summary does not name, nor leave one of docs/ out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::dist;
use crate::ebpf;
use crate::run::{checkout, run};
use crate::setup;

const SUMMARY: &str = "docs/SUMMARY.md";
const SETTINGS: &str = "\
[book]
title = \"gateway\"
src = \"pages\"
[build]
build-dir = \"html\"
create-missing = false
[output.html]
no-section-label = true
";

/// Makes it, and returns its first page.
pub(crate) fn build() -> Result<PathBuf> {
    let root = checkout()?;
    let book = dist::target()?.join("book");
    let left_out = left_out(root)?;
    ensure!(left_out.is_empty(), "{SUMMARY} does not name {}", left_out.join(", "));
    if book.exists() {
        fs::remove_dir_all(&book).with_context(|| format!("cannot remove {}", book.display()))?;
    }
    let summary = read(&root.join(SUMMARY))?;
    let pages = pages(&summary);
    for page in &pages {
        put(&book.join("pages").join(page), &read(&root.join(page))?)?;
    }
    // Its links are those of a page of docs/; the book's begin at the root.
    put(
        &book.join("pages/SUMMARY.md"),
        &summary.replace("](../", "](./").replace("](", "](docs/").replace("](docs/./", "]("),
    )?;
    put(&book.join("book.toml"), SETTINGS)?;
    run(Command::new(setup::mdbook(&ebpf::cache_dir()?)).arg("build").arg(&book))?;
    let first = book.join("html/index.html");
    ensure!(first.is_file(), "the book has no first page");
    for page in &pages {
        let html = book.join("html").join(page).with_extension("html");
        ensure!(html.is_file() || page.ends_with("README.md"), "the book has no page {}", page.display());
    }
    Ok(first)
}

/// What the summary names, from the root of the checkout.
fn pages(summary: &str) -> Vec<PathBuf> {
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links
        .map(|(link, _)| link.strip_prefix("../").map_or_else(|| Path::new("docs").join(link), PathBuf::from))
        .collect()
}

/// Pages of docs/ that the summary does not name.
fn left_out(root: &Path) -> Result<Vec<String>> {
    let named: BTreeSet<_> = pages(&read(&root.join(SUMMARY))?).into_iter().collect();
    let folder = root.join("docs");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let page = Path::new("docs").join(entry?.file_name());
        if page.extension().is_some_and(|extension| extension == "md")
            && page != Path::new(SUMMARY)
            && !named.contains(&page)
        {
            found.push(page.display().to_string());
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn put(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a page is in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_documentation_is_in_the_book() {
        let first = fs::read_to_string(build().unwrap()).unwrap();
        assert!(first.contains("eBPF programs point the") && first.contains("docs/metrics.html"), "{first}");
    }
}
