//! `[[attach]]`: who is intercepted.

use std::collections::HashSet;
use std::path::PathBuf;

use super::table::Section;

/// A subtree of cgroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attach {
    /// In events, policies and commands.
    pub name: String,
    /// Below the cgroup2 mount or in full.
    pub cgroup: PathBuf,
    /// Groups of its workloads, `local:NAME`.
    pub groups: Vec<String>,
    /// Decide and record, but block nothing.
    pub observe: bool,
    /// The file of the token that says who its workloads are; `None`: the cgroup alone says it.
    pub token_file: Option<PathBuf>,
}

pub(super) fn read(root: &Section<'_, '_>) -> Vec<Attach> {
    let mut names = HashSet::new();
    let mut attachments = Vec::new();
    for section in root.sections("attach") {
        let name = section.required("name");
        let cgroup = section.required("cgroup");
        let groups = section.strings("groups");
        let observe = section.flag("observe").unwrap_or(false);
        let token_file = section.string("token_file").map(PathBuf::from);
        if token_file.as_ref().is_some_and(|path| !path.is_absolute() || path.file_name().is_none()) {
            section.fault("token_file", "write the path of a file in full");
        }
        if let Some(name) = &name {
            if !is_name(name) {
                section.fault("name", "a name is made of letters, digits, `-`, `_` and `.`, at most 64 of them");
            }
            if !names.insert(name.clone()) {
                section.fault("name", format!("`{name}` is there twice"));
            }
        }
        if groups.iter().any(|group| !group.strip_prefix("local:").is_some_and(is_name)) {
            section.fault("groups", "a group of the configuration is written `local:NAME`");
        }
        section.finish();
        if let (Some(name), Some(cgroup)) = (name, cgroup) {
            attachments.push(Attach { name, cgroup: cgroup.into(), groups, observe, token_file });
        }
    }
    attachments
}

/// Whether a text can be the name of an attachment, a target or a group.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.len() <= 64 && text.chars().all(allowed)
}
