//! From a server's answer to powers.
//!
//! In: bytes of the server. Out: powers in words, each with what takes it away; `None` where the answer is not that of our command.
//! Names and paths are the server's: cut, of printable ASCII alone.

use super::Held;
use crate::upstream::power::{Power, some};

const BEGIN: &str = "gateway-looks";
const END: &str = "gateway-looked";
/// Things of one kind that are kept.
const MOST: usize = 200;

/// Groups that are more than a name: what a member does, what that comes to.
const GROUPS: [(&str, &str, &str); 14] = [
    ("root", "owns what root's group may change", "files of the system that are writable for its group"),
    ("sudo", "may run all as root by sudo, with a password where one is asked for", "the whole host"),
    ("wheel", "may run all as root by sudo or su, with a password where one is asked for", "the whole host"),
    ("docker", "orders a container engine about that runs as root", "root on the host, by one container with its disk"),
    ("lxd", "orders a container engine about that runs as root", "root on the host, by one container with its disk"),
    (
        "incus-admin",
        "orders a container engine about that runs as root",
        "root on the host, by one container with its disk",
    ),
    ("podman", "may order a container engine about", "what that engine's user may, up to root"),
    ("libvirt", "makes virtual machines with any disk of the host", "root on the host, by one machine with its disk"),
    ("kvm", "makes virtual machines", "the memory of others' machines, where their files let it"),
    ("disk", "reads and writes disks past their file systems", "every file, root's too"),
    ("shadow", "reads the hashes of all passwords", "passwords that are guessed elsewhere"),
    ("adm", "reads the logs of the host", "what programs and people wrote there, secrets among it"),
    ("systemd-journal", "reads the logs of the host", "what programs and people wrote there, secrets among it"),
    ("staff", "writes to /usr/local", "programs that root runs by name"),
];

/// What was told, by what it is.
#[derive(Debug, Default)]
struct Told {
    uid: Option<u32>,
    groups: Vec<String>,
    sudo: Vec<String>,
    writes: Vec<String>,
    engines: Vec<String>,
    reads: Vec<String>,
    enters: Vec<String>,
    keys: Vec<String>,
    logins: Vec<String>,
    agents: Vec<String>,
}

/// What the answer says of our login.
pub(super) fn held(login: &str, answer: &[u8]) -> Option<Held> {
    let told = read(answer)?;
    let uid = told.uid?;
    let user = in_a_shell(login);
    let mut held = Held::default();
    if uid == 0 {
        let narrow = "give the gateway a login of its own that is not uid 0, and run what needs root by a sudo rule that names the command";
        held.powers.push(power(
            "root",
            (
                format!("`{login}` is root (uid 0)"),
                "the host checks nothing behind policy: one command that is read wrongly has all of it",
            ),
            narrow.to_owned(),
        ));
        held.notes.push("root may do all else too: the rest was not looked at".to_owned());
        return Some(held);
    }
    for (name, does, cost) in GROUPS {
        if told.groups.iter().any(|group| group == name) {
            let what = format!("`{login}` is in the group {name}: it {does}");
            held.powers.push(power(&format!("group_{name}"), (what, cost), format!("gpasswd -d {user} {name}")));
        }
    }
    held_by_sudo(login, &told.sudo, &mut held);
    held.powers.extend(places(login, &told));
    Some(held)
}

fn places(login: &str, told: &Told) -> Vec<Power> {
    let kinds = [
        (
            "writes",
            &told.writes,
            "may write to",
            "it becomes root or another user when the host next runs or reads them",
            "chmod o-w, chown or setfacl -b on them: they are root's alone",
        ),
        (
            "engine",
            &told.engines,
            "may order about, by a socket,",
            "root on the host, by one container with its disk",
            "take the group's or the others' right to write off the socket",
        ),
        (
            "reads",
            &told.reads,
            "may read",
            "hashes of passwords, keys of the host, an administrator's login",
            "chmod o-r, chown or setfacl -b on them",
        ),
        (
            "enters",
            &told.enters,
            "may write the authorized keys of",
            "it logs in as them, past the gateway",
            "chmod go-w ~/.ssh ~/.ssh/authorized_keys, as each of them",
        ),
        (
            "key",
            &told.keys,
            "has there private keys",
            "logins elsewhere, which no policy of the gateway sees",
            "delete them there: what this login does elsewhere, the gateway should log in for",
        ),
        (
            "login",
            &told.logins,
            "has there files of logins",
            "logins elsewhere, which no policy of the gateway sees",
            "delete them there: what this login does elsewhere, the gateway should log in for",
        ),
        (
            "agent",
            &told.agents,
            "reaches sockets of agents that hold keys",
            "it logs in elsewhere with the keys of whoever forwarded them",
            "no AllowAgentForwarding for this login, and an end to those that run",
        ),
    ];
    let found = kinds.into_iter().filter(|(_, things, ..)| !things.is_empty());
    found
        .map(|(name, things, does, cost, narrow)| {
            power(name, (format!("`{login}` {does}: {}", some(things)), cost), narrow.to_owned())
        })
        .collect()
}

/// What sudo lists: entries such as `(ALL : ALL) NOPASSWD: /usr/bin/systemctl`.
fn held_by_sudo(login: &str, lines: &[String], held: &mut Held) {
    if lines.iter().any(|line| line.contains("a password is required")) {
        held.notes
            .push("sudo lists nothing without the login's password: what it may do with it is not known".to_owned());
    }
    let mut entries: Vec<String> = Vec::new();
    let listed = lines.iter().skip_while(|line| !line.contains(" may run the following commands on ")).skip(1);
    for line in listed {
        let text = line.trim();
        match entries.last_mut() {
            // Older versions break long lines.
            Some(last) if !text.starts_with('(') => *last = format!("{last} {text}"),
            _ => entries.push(text.to_owned()),
        }
    }
    let (free, asked): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.contains("NOPASSWD:"));
    let narrow = |what: &str| format!("visudo (sudo -l -U {} shows the rules): {what}", in_a_shell(login));
    if free.iter().any(|entry| is_all(entry)) {
        let what = format!("`{login}` may run all by sudo, without a password: {}", some(&free));
        let said = "take NOPASSWD: ALL away, name the commands that it needs, each with its arguments";
        held.powers.push(power(
            "sudo_all",
            (what, "the whole host: what policy lets through once, root does"),
            narrow(said),
        ));
    } else if !free.is_empty() {
        let what = format!("`{login}` may run by sudo, without a password: {}", some(&free));
        let cost = "what these do as another user; editors, pagers, interpreters and whatever takes a file to run are a shell of root's";
        held.powers.push(power("sudo", (what, cost), narrow("leave those that it needs, each with its arguments")));
    }
    if !asked.is_empty() {
        let what = format!("`{login}` may run by sudo, with its password: {}", some(&asked));
        let cost = "what these do as another user, for who learns the password";
        held.powers.push(power("sudo_password", (what, cost), narrow("take away what it does not need")));
    }
}

/// Whether it is for every command, as root.
fn is_all(entry: &str) -> bool {
    let (users, _) = entry.trim_start_matches('(').split_once(')').unwrap_or_default();
    let users = users.split_once(':').map_or(users, |(users, _)| users);
    let commands = entry.rsplit_once("NOPASSWD:").map_or("", |(_, commands)| commands);
    users.split(',').any(|user| matches!(user.trim(), "ALL" | "root" | "#0"))
        && commands.split(',').any(|command| command.split_whitespace().next_back() == Some("ALL"))
}

fn power(name: &str, (what, cost): (String, &str), narrow: String) -> Power {
    // Policies judge commands and paths one by one: of what a login is by itself they have no word.
    Power { name: name.to_owned(), what, cost: cost.to_owned(), narrow, uses: Vec::new() }
}

/// Each line in its place; what a profile prints before is passed over.
fn read(answer: &[u8]) -> Option<Told> {
    let text = String::from_utf8_lossy(answer);
    let mut lines = text.lines().skip_while(|line| *line != BEGIN).skip(1);
    let mut told = Told::default();
    loop {
        let line = lines.next()?;
        if line == END {
            return lines.next().is_none().then_some(told);
        }
        let (word, value) = line.split_once(' ')?;
        let list = match word {
            "uid" => {
                told.uid = Some(value.parse().ok()?);
                continue;
            }
            "group" => &mut told.groups,
            "sudo" => &mut told.sudo,
            "writes" => &mut told.writes,
            "engine" => &mut told.engines,
            "reads" => &mut told.reads,
            "enters" => &mut told.enters,
            "key" => &mut told.keys,
            "login" => &mut told.logins,
            "agent" => &mut told.agents,
            _ => return None,
        };
        if list.len() < MOST {
            list.push(printable(value));
        }
    }
}

fn printable(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

/// A word that a shell takes as it is.
fn in_a_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Option<Vec<(String, String)>> {
        let held = held("bot", format!("welcome!\n{BEGIN}\n{lines}{END}\n").as_bytes())?;
        Some(held.powers.into_iter().map(|power| (power.name, power.what)).collect())
    }

    fn names(lines: &str) -> Vec<String> {
        told(lines).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_plain_login_has_no_power() {
        assert_eq!(names("uid 1000\ngroup bot\ngroup users\nsudo Sorry, user bot may not run sudo on web.\n"), [""; 0]);
    }

    #[test]
    fn what_sudo_lists_is_told_by_what_it_takes() {
        let list = |entries: &str| {
            format!(
                "uid 1000\nsudo Matching Defaults entries for bot on web:\nsudo     env_reset, secure_path=/bin\\:ALL\nsudo \nsudo User bot may run the following commands on web:\n{entries}"
            )
        };
        assert_eq!(names(&list("sudo     (ALL : ALL) NOPASSWD: ALL\n")), ["sudo_all"]);
        assert_eq!(names(&list("sudo     (root) NOPASSWD: /bin/true, SETENV: ALL\n")), ["sudo_all"]);
        assert_eq!(names(&list("sudo     (web) NOPASSWD: ALL\n")), ["sudo"]);
        assert_eq!(names(&list("sudo     (ALL : ALL) ALL\n")), ["sudo_password"]);
        let some = told(&list("sudo     (root) NOPASSWD: /usr/bin/systemctl restart app,\nsudo         /usr/bin/less /var/log/app\nsudo     (web) ALL\n")).unwrap();
        assert_eq!(some[0], ("sudo".to_owned(), "`bot` may run by sudo, without a password: (root) NOPASSWD: /usr/bin/systemctl restart app, /usr/bin/less /var/log/app".to_owned()));
        assert_eq!(some[1].0, "sudo_password");
    }

    #[test]
    fn root_is_one_power() {
        assert_eq!(names("uid 0\ngroup root\nwrites /etc/passwd\n"), ["root"]);
    }

    #[test]
    fn an_answer_that_is_not_that_of_the_command_is_none() {
        for answer in [
            "",
            "This account is not available.\n",
            "gateway-looks\nuid 1000\n",
            "gateway-looks\ngateway-looked\n",
            "gateway-looks\nuid 1000\ngateway-looked\nuid 0\n",
            "gateway-looks\nuid many\ngateway-looked\n",
            "gateway-looks\nuid 1000\nrm -rf /\ngateway-looked\n",
        ] {
            assert!(held("bot", answer.as_bytes()).is_none(), "{answer}");
        }
    }

    #[test]
    fn what_a_server_writes_is_shown_in_printable_characters() {
        let told = told("uid 1000\nkey /home/b\u{1b}[2J\u{202e}ot/.ssh/id\nenters a\tb\n").unwrap();
        assert_eq!(told[0].1, "`bot` may write the authorized keys of: a?b");
        assert_eq!(told[1].1, "`bot` has there private keys: /home/b?[2J?ot/.ssh/id");
    }
}
