//! `[console]`: the page and the API for people, on loopback.
//!
//! In: the section. Out: where it listens, what it is called, and who may look. Nothing is opened here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::oidc::Place;
use super::table::Section;
use super::target::{SecretSource, read_secret};

/// The console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// A loopback address: what stands before it brings people here.
    pub listen: SocketAddr,
    /// What people's browsers call it.
    pub public: Place,
    /// As which client it is known to the issuer of `[identity.oidc]`.
    pub client_id: String,
    /// The secret of that client.
    pub client_secret: SecretSource,
    /// The client of `gateway login`: one without a secret, which comes back to a port of the person's own host.
    pub cli_client_id: Option<String>,
    /// People may log in by a code that they type at the issuer, on another host than their command line.
    pub device_code: bool,
    /// Groups whose members see sessions, policies and health.
    pub viewers: Vec<String>,
    /// Groups whose members see all that waits, too.
    pub admins: Vec<String>,
    /// A chat in which people decide.
    pub slack: Option<Slack>,
}

/// `[console.slack]`: an app of Slack whose buttons are taken for people's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slack {
    /// The app's signing secret.
    pub signing_secret: SecretSource,
    /// The workspace: users of others are nobody.
    pub team: String,
    /// Who its users are.
    pub people: Vec<SlackPerson>,
    /// The server that takes what people read of their decisions; without a path.
    pub replies: Place,
    /// PEM file of the authorities of that server; `None`: those of the system.
    pub ca: Option<PathBuf>,
}

/// `[[console.slack.person]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackPerson {
    /// The id of a user of the workspace.
    pub user: String,
    /// Who that is at the issuer, so that one person has one vote.
    pub subject: String,
    /// The groups that they vote for.
    pub groups: Vec<String>,
}

/// Where Slack takes what is said after a button was pressed.
const SLACK: &str = "https://hooks.slack.com";

pub(super) fn read(root: &Section<'_, '_>) -> Option<Console> {
    let section = root.section("console");
    if !section.is_there() {
        return None;
    }
    let listen = section.required("listen").and_then(|text| {
        let address: Option<SocketAddr> = text.parse().ok();
        if !address.is_some_and(|address| address.ip().is_loopback()) {
            section.fault("listen", format!("`{text}` is no loopback address with a port, such as `127.0.0.1:7443`"));
        }
        address
    });
    let public = section.required("public_url").and_then(|url| {
        let place = Place::parse(&url).map_err(|reason| section.fault("public_url", reason)).ok()?;
        if !place.path.is_empty() {
            section.fault("public_url", "a host alone: the console has no path of its own");
        }
        Some(place)
    });
    let client_id = section.required("client_id");
    let client_secret = read_secret(&section, "client_secret");
    if client_secret.is_none() {
        section.fault("client_secret", "is missing");
    }
    let cli_client_id = section.string("cli_client_id");
    if cli_client_id.is_some() && cli_client_id == client_id {
        section.fault("cli_client_id", "a client of its own, without a secret: that of browsers has one");
    }
    let device_code = section.flag("device_code").unwrap_or(false);
    if device_code && cli_client_id.is_none() {
        section.fault("device_code", "needs `cli_client_id`: the client that the codes are for");
    }
    let (viewers, admins) = (section.strings("viewers"), section.strings("admins"));
    let slack = read_slack(&section);
    section.finish();
    Some(Console {
        listen: listen?,
        public: public?,
        client_id: client_id?,
        client_secret: client_secret?,
        cli_client_id,
        device_code,
        viewers,
        admins,
        slack,
    })
}

fn read_slack(console: &Section<'_, '_>) -> Option<Slack> {
    let section = console.section("slack");
    if !section.is_there() {
        return None;
    }
    let signing_secret = read_secret(&section, "signing_secret");
    if signing_secret.is_none() {
        section.fault("signing_secret", "is missing");
    }
    let is_id = |id: &str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let team = section.required("team");
    if team.as_deref().is_some_and(|team| !is_id(team)) {
        section.fault("team", "the id of a workspace, such as `T0123ABCD`");
    }
    let replies = section.string("replies").unwrap_or_else(|| SLACK.to_owned());
    let replies = match Place::parse(&replies) {
        Ok(place) if place.path.is_empty() => Some(place),
        Ok(_) => {
            section.fault("replies", "a host alone: Slack says where there");
            None
        }
        Err(reason) => {
            section.fault("replies", reason);
            None
        }
    };
    let ca = section.string("ca").map(PathBuf::from);
    let (mut people, mut users) = (Vec::new(), BTreeSet::new());
    for person in section.sections("person") {
        let user = person.required("user");
        if user.as_ref().is_some_and(|user| !is_id(user) || !users.insert(user.clone())) {
            person.fault("user", "the id of a user, such as `U0123ABCD`, once");
        }
        let (subject, groups) = (person.required("subject"), person.strings("groups"));
        person.finish();
        if let (Some(user), Some(subject)) = (user, subject) {
            people.push(SlackPerson { user, subject, groups });
        }
    }
    section.finish();
    Some(Slack { signing_secret: signing_secret?, team: team?, people, replies: replies?, ca })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const CONSOLE: &str = "version = 1\n[identity.oidc]\nissuer = \"https://id.example.com\"\naudience = \"gateway\"\n[console]\nlisten = \"127.0.0.1:7443\"\n\
        public_url = \"https://gateway.example.com\"\nclient_id = \"c\"\nclient_secret = { file = \"/s\" }\n";
    const SLACK: &str = "[console.slack]\nsigning_secret = { file = \"/k\" }\nteam = \"T1\"\n";
    const ALICE: &str = "[[console.slack.person]]\nuser = \"U1\"\nsubject = \"alice\"\ngroups = [\"idp:dba\"]\n";
    const HOOK: &str =
        "[[audit.webhook]]\nname = \"w\"\nurl = \"https://hooks.slack.com/services/x\"\nbuttons = true\n";

    fn parsed(parts: &[&str]) -> Result<Config, String> {
        Config::parse("gateway.toml", &parts.concat()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_chat_has_its_workspace_its_people_and_slacks_server() {
        let slack =
            parsed(&[CONSOLE, SLACK, ALICE, HOOK, "format = \"slack\"\n"]).unwrap().console.unwrap().slack.unwrap();
        assert_eq!((slack.team.as_str(), slack.replies.authority()), ("T1", "hooks.slack.com".to_owned()));
        assert_eq!((slack.people[0].user.as_str(), slack.people[0].subject.as_str()), ("U1", "alice"));
        assert_eq!(parsed(&[CONSOLE]).unwrap().console.unwrap().slack, None);
    }

    #[test]
    fn what_would_let_somebody_else_decide_is_a_fault() {
        let faults: [(&[&str], &str); 6] = [
            (&[CONSOLE, SLACK, ALICE, ALICE], "the id of a user, such as `U0123ABCD`, once"),
            (&[CONSOLE, &SLACK.replace("team = \"T1\"", "team = \"T1 T2\"")], "the id of a workspace"),
            (&[CONSOLE, &SLACK.replace("signing_secret = { file = \"/k\" }\n", "")], "is missing"),
            (&[CONSOLE, SLACK, "replies = \"https://hooks.slack.com/actions\"\n"], "a host alone"),
            (&[CONSOLE, SLACK, ALICE, HOOK], "needs `format = \"slack\"`"),
            (&[CONSOLE, HOOK, "format = \"slack\"\n"], "and `[console.slack]`"),
        ];
        for (parts, why) in faults {
            let said = parsed(parts).unwrap_err();
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}
