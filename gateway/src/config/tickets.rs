//! `[[approval.tickets]]`: systems in which what waits for people is a ticket.
//!
//! In: the sections. Out: where tickets are made and what they say. Nothing is opened here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::attach::is_name;
use super::oidc::Place;
use super::table::Section;
use super::target::{SecretSource, read_secret};

/// A system of tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketSystem {
    /// For people, and for its checkpoint.
    pub name: String,
    /// Whose words it understands, and where in it tickets are made.
    pub system: System,
    /// Where it is; a path is put before those of its API.
    pub url: Place,
    /// The value of `Authorization`.
    pub authorization: SecretSource,
    /// A file with the fields of a ticket, as JSON; `None`: the gateway's own.
    pub template: Option<PathBuf>,
    /// PEM file of the authorities of its server; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// `system`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum System {
    /// Jira Cloud or Data Center, by version 2 of its REST API.
    Jira {
        /// The key of the project.
        project: String,
        /// The name of the issue type.
        issue_type: String,
    },
    /// ServiceNow, by its Table API.
    ServiceNow {
        /// The name of the table.
        table: String,
    },
}

impl System {
    /// As the configuration names it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Jira { .. } => "jira",
            Self::ServiceNow { .. } => "servicenow",
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Jira,
    ServiceNow,
}

/// Those whose names are none of `others`.
pub(super) fn read(approval: &Section<'_, '_>, others: &[&str]) -> Vec<TicketSystem> {
    let mut all: Vec<TicketSystem> = Vec::new();
    for section in approval.sections("tickets") {
        let name = section.required("name");
        let taken = |name: &str| others.contains(&name) || all.iter().any(|one| one.name == name);
        if name.as_deref().is_some_and(|name| !is_name(name) || taken(name)) {
            section.fault(
                "name",
                "a name of its own, and none of a webhook's or feed's, of letters, digits, `-`, `_` and `.`",
            );
        }
        let kind = section.one_of("system", &[("jira", Kind::Jira), ("servicenow", Kind::ServiceNow)]);
        if kind.is_none() {
            section.fault("system", "write `jira` or `servicenow`");
        }
        let url = section.required("url");
        let url = url.and_then(|url| Place::parse(&url).map_err(|reason| section.fault("url", reason)).ok());
        let authorization = read_secret(&section, "authorization");
        if authorization.is_none() {
            section.fault("authorization", "is missing");
        }
        // They go into paths and queries as they are.
        let word = |key| {
            let word = section.string(key);
            if word.as_deref().is_some_and(|word| !is_word(word)) {
                section.fault(key, "letters, digits and `_`");
            }
            word
        };
        let (project, table) = (word("project"), word("table"));
        let issue_type = section.string("issue_type");
        let (template, ca) = (section.string("template").map(PathBuf::from), section.string("ca").map(PathBuf::from));
        let system = match kind {
            Some(Kind::Jira) => {
                if project.is_none() {
                    section.fault("project", "is missing: the key of the project in which tickets are made");
                }
                if table.is_some() {
                    section.fault("table", "is ServiceNow's");
                }
                let issue_type = issue_type.unwrap_or_else(|| "Task".to_owned());
                project.map(|project| System::Jira { project, issue_type })
            }
            Some(Kind::ServiceNow) => {
                for (key, given) in [("project", project.is_some()), ("issue_type", issue_type.is_some())] {
                    if given {
                        section.fault(key, "is Jira's");
                    }
                }
                Some(System::ServiceNow { table: table.unwrap_or_else(|| "incident".to_owned()) })
            }
            None => None,
        };
        section.finish();
        if let (Some(name), Some(system), Some(url), Some(authorization)) = (name, system, url, authorization) {
            all.push(TicketSystem { name, system, url, authorization, template, ca });
        }
    }
    all
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.len() <= 80 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const JIRA: &str = "version = 1\n[[approval.tickets]]\nname = \"ops\"\nsystem = \"jira\"\nurl = \"https://t.example.com/jira\"\n\
        authorization = { file = \"/a\" }\nproject = \"OPS\"\n";

    fn parsed(text: &str) -> Result<Config, String> {
        Config::parse("gateway.toml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_system_has_the_keys_of_its_own_words() {
        let read = |text: &str| parsed(text).unwrap().tickets.remove(0);
        let jira = read(JIRA);
        let issue_type = "Task".to_owned();
        assert_eq!(
            (jira.system, jira.url.path.as_str()),
            (System::Jira { project: "OPS".to_owned(), issue_type }, "/jira")
        );
        let now = read(&JIRA.replace("jira\"\nurl", "servicenow\"\nurl").replace("project = \"OPS\"\n", ""));
        assert_eq!(now.system, System::ServiceNow { table: "incident".to_owned() });
        for (from, to, why) in [
            ("project = \"OPS\"", "", "is missing: the key of the project"),
            ("\"OPS\"", "\"OPS/../x\"", "letters, digits and `_`"),
            ("project", "table = \"x\"\nproject", "is ServiceNow's"),
            ("\"jira\"\nurl", "\"servicenow\"\nurl", "is Jira's"),
            ("\"jira\"\nurl", "\"redmine\"\nurl", "jira"),
            ("authorization", "# authorization", "is missing"),
            ("https:", "http:", "https"),
            ("[[approval", "[[audit.webhook]]\nname = \"ops\"\nurl = \"https://x\"\n[[approval", "none of a webhook's"),
        ] {
            let said = parsed(&JIRA.replace(from, to)).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
