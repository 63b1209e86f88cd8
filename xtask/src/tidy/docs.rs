//! What documents point at is there. In: the Markdown of the checkout and the names of its files. Out: links to files and
//! headings, files and tests that do not exist. It must never ask a network.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::Fault;

/// What can be pointed at.
pub(super) struct Tree {
    root: PathBuf,
    files: Vec<String>,
    functions: BTreeSet<String>,
}

impl Tree {
    /// Of the Rust files of the checkout, with their texts.
    pub(super) fn new(root: &Path, rust: &[(String, String)]) -> Self {
        let name = |line: &str| {
            let (before, name) = line.trim_start().split_once("fn ")?;
            let is_plain = before.split_whitespace().all(|word| word.starts_with("pub") || word == "async");
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            is_plain.then(|| name[..end].to_owned())
        };
        let functions = rust.iter().flat_map(|(_, text)| text.lines().filter_map(name)).collect();
        Self { root: root.to_owned(), files: rust.iter().map(|(path, _)| path.clone()).collect(), functions }
    }

    /// The breaches of one document; `path` is that in the checkout.
    pub(super) fn faults(&self, path: &str, text: &str) -> Vec<Fault> {
        let mut found = Vec::new();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            if is_code || line.starts_with("    ") {
                continue;
            }
            let missing_link = |target: &&str| !self.leads_somewhere(path, target);
            let missing_word = |word: &&str| self.is_missing(word);
            let links = links(line).filter(missing_link).map(|target| format!("`{target}` leads nowhere"));
            let words = line.split('`').skip(1).step_by(2);
            let words = words.filter(missing_word).map(|word| format!("`{word}` is not in the tree"));
            found.extend(links.chain(words).map(|text| Fault { path: path.to_owned(), line: number + 1, text }));
        }
        found
    }

    fn leads_somewhere(&self, from: &str, target: &str) -> bool {
        if target.contains("://") || target.starts_with("mailto:") {
            return true;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() {
            self.root.join(from)
        } else {
            self.root.join(from).parent().unwrap_or(&self.root).join(file)
        };
        let stays = plain(&file).starts_with(&self.root);
        if heading.is_empty() {
            return stays && file.exists();
        }
        stays && fs::read_to_string(&file).is_ok_and(|text| text.lines().filter_map(slug).any(|slug| slug == heading))
    }

    /// Whether it names a Rust file or a function, and there is none.
    fn is_missing(&self, word: &str) -> bool {
        if word.contains('/') && word.ends_with(".rs") {
            let ends =
                |file: &String| file.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'));
            return !self.files.iter().any(ends);
        }
        let is_lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let mut parts = word.split("::");
        let last = word.rsplit("::").next().unwrap_or_default();
        // A test says in its name what is so; other names with colons are of libraries, or of modules.
        let is_test = word.contains("::")
            && parts.all(|part| !part.is_empty() && part.chars().all(is_lower))
            && last.matches('_').count() >= 3;
        is_test && !self.functions.contains(last)
    }
}

/// The Markdown of the checkout by its paths, without what is built or fetched.
pub(super) fn documents(root: &Path) -> Result<Vec<(String, String)>> {
    let (mut found, mut waiting) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list `{}`", folder.display()))? {
            let path = entry?.path();
            let is_ours = |name: &str| !name.starts_with('.') && !matches!(name, "target" | "node_modules");
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| is_ours(name)) else {
                continue;
            };
            if path.is_dir() {
                waiting.push(path);
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
                found.push((path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// How a heading is called in links.
fn slug(line: &str) -> Option<String> {
    let text = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
    let letters = text.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(letters.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect())
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_points_at_has_to_be_there() {
        let folder = std::env::temp_dir().join(format!("gateway-docs-{}", std::process::id()));
        fs::create_dir_all(folder.join("docs")).unwrap();
        fs::write(folder.join("README.md"), "# One\n\n## What is, and what `is` not\n").unwrap();
        let rust = [("gateway/src/a/b.rs".to_owned(), "    pub async fn it_is_so_indeed(x: u8) {}".to_owned())];
        let tree = Tree::new(&folder, &rust);
        let lines = |text: &str| {
            tree.faults("docs/a.md", text).into_iter().map(|fault| (fault.line, fault.text)).collect::<Vec<_>>()
        };
        let well = "[a](../README.md#what-is-and-what-is-not) [b](https://example.org/x) `a/b.rs` `x::it_is_so_indeed` \
            `std::fs` `Action::x_y_z_a`\n    [code](nowhere)\n```\n[code](nowhere)\n```\n";
        assert_eq!(lines(well), []);
        for (word, said) in [
            ("[a](../NO.md)", "leads nowhere"),
            ("[a](../README.md#no)", "leads nowhere"),
            ("[a](../../README.md)", "leads nowhere"),
            ("`b/a.rs`", "is not in the tree"),
            ("`x::it_is_not_so_at_all`", "is not in the tree"),
        ] {
            let found = lines(&format!("\n{word}"));
            assert!(matches!(&found[..], [(2, text)] if text.ends_with(said)), "{word}: {found:?}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
