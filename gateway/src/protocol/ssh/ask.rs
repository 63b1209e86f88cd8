//! What a request means, in the words of policy.
//!
//! In: a command line or another request of a client. Out: questions, one for each command. What cannot be read is
//! opaque, and said so; it is never left out.

use std::sync::Arc;

use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::command::CommandFacts;
use crate::policy::vocabulary::names::Action;
use crate::policy::vocabulary::ssh::{self as vocabulary, FileFacts};
use crate::protocol::scp::{self, Scp};
use crate::protocol::sftp;
use crate::protocol::shell::{self, Command, Kind};

/// One question for each command of a line, and whether the line copies files over its channel.
pub(super) fn exec(account: &Arc<Entity>, command: &[u8], pty: bool) -> Vec<Arc<Question>> {
    let text: Arc<str> = String::from_utf8_lossy(command).into();
    let commands = shell::facts(command).commands;
    let is_read = |command: &Command| commands.len() == 1 && !pty && Scp::<()>::of(command).is_some();
    let ask = |command: &Command| {
        let mut facts = CommandFacts::from(command);
        // Files that go over a channel are judged one by one, or not at all.
        if is_scp_peer(command) && !is_read(command) {
            facts.opaque.push("transfer".into());
        }
        vocabulary::exec(Arc::clone(account), &facts, pty, Arc::clone(&text))
    };
    let mut questions: Vec<Arc<Question>> = Vec::new();
    for question in commands.iter().map(ask) {
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    if questions.is_empty() {
        // A line of blanks or comments runs nothing; the login shell starts all the same.
        questions.push(vocabulary::exec(Arc::clone(account), &CommandFacts::default(), pty, text));
    }
    questions
}

/// Whether a line is one command that copies files over its channel: its output is a protocol, no text.
pub(super) fn is_transfer(command: &[u8]) -> bool {
    matches!(shell::facts(command).commands.as_slice(), [only] if only.kinds.contains(&Kind::Transfer))
}

/// The server's side of scp's old protocol: `scp -t`, `scp -f`.
fn is_scp_peer(command: &Command) -> bool {
    let is_peer = |option: &str| !option.starts_with("--") && option.contains(['t', 'f']);
    command.name.as_deref() == Some("scp") && command.options().any(is_peer)
}

/// The scp that a line runs over its channel, if that is all that it runs.
pub(super) fn scp_of<R: Clone>(command: &[u8]) -> Option<Scp<R>> {
    match shell::facts(command).commands.as_slice() {
        [only] => Scp::of(only),
        _ => None,
    }
}

/// An interactive shell.
pub(super) fn shell(account: &Arc<Entity>, pty: bool) -> Vec<Arc<Question>> {
    vec![vocabulary::open(Action::SshShell, Arc::clone(account), pty)]
}

/// One question for each command of a line that people wrote into a table of tests or on a command line.
#[must_use]
pub fn questions_of(line: &str, target: &Arc<Entity>, user: &str) -> Vec<Arc<Question>> {
    let address = target.attributes().iter().find_map(|(name, value)| match (name, value) {
        (&"address", crate::policy::request::Value::Address(address)) => Some(*address),
        _ => None,
    });
    let address = address.unwrap_or(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let account = vocabulary::account(&vocabulary::host(target, address, None), user);
    exec(&account, line.as_bytes(), false)
}

/// What an SFTP request would do, in words and as questions.
pub(super) fn sftp(account: &Arc<Entity>, operation: &sftp::Operation) -> (String, Vec<Arc<Question>>) {
    use sftp::Operation as Does;
    let (path, other) = operation.paths();
    let (verb, actions): (&str, &[Action]) = match operation {
        Does::Open { reads: true, writes: true, .. } => {
            ("read and write", &[Action::SshSftpRead, Action::SshSftpWrite])
        }
        Does::Open { writes: true, .. } => ("write", &[Action::SshSftpWrite]),
        Does::Open { .. } => ("read", &[Action::SshSftpRead]),
        Does::List { .. } => ("list", &[Action::SshSftpList]),
        Does::Look { .. } => ("look at", &[Action::SshSftpList]),
        Does::Attributes { .. } => ("change attributes of", &[Action::SshSftpAttributes]),
        Does::Remove { .. } | Does::RemoveDirectory { .. } => ("remove", &[Action::SshSftpRemove]),
        Does::MakeDirectory { .. } => ("make directory", &[Action::SshSftpMakeDirectory]),
        Does::Rename { .. } => ("rename", &[Action::SshSftpRename]),
        Does::Symlink { .. } | Does::Hardlink { .. } => ("link", &[Action::SshSftpLink]),
    };
    let text = match other {
        Some(other) => format!("{verb} {path} to {other}"),
        None => format!("{verb} {path}"),
    };
    let ask = |action: &Action| file(account, *action, path, other);
    (text, actions.iter().map(ask).collect())
}

/// The same of a record of scp. Where it depends on what is there, each path is asked about.
pub(super) fn scp(account: &Arc<Entity>, operation: &scp::Operation) -> (String, Vec<Arc<Question>>) {
    use scp::Operation as Does;
    let one = std::slice::from_ref;
    let (verb, action, paths) = match operation {
        Does::Read { path, .. } => ("read", Action::SshSftpRead, one(path)),
        Does::List { path } => ("list", Action::SshSftpList, one(path)),
        Does::Write { paths, .. } => ("write", Action::SshSftpWrite, paths.as_slice()),
        Does::MakeDirectory { paths, .. } => ("make directory", Action::SshSftpMakeDirectory, paths.as_slice()),
    };
    let questions = paths.iter().map(|path| file(account, action, path, None)).collect();
    (format!("{verb} {}", paths.join(" or ")), questions)
}

fn file(account: &Arc<Entity>, action: Action, path: &str, other: Option<&str>) -> Arc<Question> {
    let is_startup = shell::is_startup(path) || other.is_some_and(shell::is_startup);
    let other = other.map(plain);
    let facts = FileFacts { path: &plain(path), new_path: other.as_deref(), startup: is_startup };
    vocabulary::file(action, Arc::clone(account), facts)
}

/// A path without empty parts, `.` and `..`. Where links lead only the server knows.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => drop(parts.pop()),
            ("..", None) if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::Deserialize;

    use super::{plain, questions_of};
    use crate::id::SessionId;
    use crate::policy::load::{KnownIds, Source, load};
    use crate::policy::request::{Moment, Request, Session};
    use crate::policy::vocabulary::names::ProtocolName;
    use crate::policy::vocabulary::{OPEN_GROUP, TargetFacts, target};
    use crate::policy::{Decision, Mode, Principal, WorkloadFacts};

    #[derive(Deserialize)]
    struct Corpus {
        case: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        line: String,
        decision: String,
    }

    /// What the shipped packs make of a line.
    fn decided(line: &str, policies: &crate::policy::PolicySnapshot) -> &'static str {
        let address = "10.0.0.5".parse().unwrap();
        let target = target(TargetFacts {
            name: "undeclared",
            protocol: ProtocolName::Ssh,
            address,
            port: 22,
            environment: None,
        });
        let principal = Principal::new(WorkloadFacts {
            name: "w".into(),
            attachment: "none".into(),
            groups: vec![OPEN_GROUP.into()],
            ..WorkloadFacts::default()
        });
        let session =
            Session { id: SessionId::generate(), login: "deploy".into(), application: None, grants: Arc::default() };
        let questions = &questions_of(line, &target, "deploy");
        let request = Request { principal: &principal, session: &session, at: Moment::now(), questions };
        match policies.judge(&request, Mode::Enforce) {
            Decision::Allow(_) => "allow",
            Decision::Hold(_) => "hold",
            Decision::Deny(_) => "deny",
        }
    }

    #[test]
    fn the_shipped_packs_decide_each_command_line_of_the_corpus_as_it_says() {
        let corpus: Corpus = toml::from_str(include_str!("../shell/corpus.toml")).unwrap();
        let known = KnownIds::default().with_built_in();
        let policies = load(&Source { known, ..Source::default() }, 1).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let wrong: Vec<_> = corpus
            .case
            .iter()
            .map(|case| (case, decided(&case.line, &policies)))
            .filter(|(case, decided)| case.decision != *decided)
            .map(|(case, decided)| format!("{:?}: {decided}, not {}", case.line, case.decision))
            .collect();
        assert!(wrong.is_empty() && corpus.case.len() > 400, "{}", wrong.join("\n"));
    }

    #[test]
    fn paths_are_plain_before_policies_see_them() {
        for (path, plainly) in [
            ("/a//b/./c", "/a/b/c"),
            ("/a/../../etc/passwd", "/etc/passwd"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("", "."),
            ("/", "/"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(plain(path), plainly, "{path}");
        }
    }
}
