//! Paths that matter: what runs later by itself, what is a device, what is too wide to remove.
//!
//! In: a path as a command or a file transfer names it, and the folders that it may be relative to. Out: whether it is
//! one of them. Links are the host's: nobody here follows them. It must never take a relative path for harmless because
//! it lacks a folder.
// TABLE:

use super::facts::{Certainty, Command};

/// Names of files that shells, logins and daemons run or obey, wherever they lie.
const FILES: [&str; 57] = [
    ".bash_aliases",
    ".bash_login",
    ".bash_logout",
    ".bash_profile",
    ".bashrc",
    ".cshrc",
    ".emacs",
    ".exrc",
    ".forward",
    ".gdbinit",
    ".gitconfig",
    ".gitmodules",
    ".inputrc",
    ".irbrc",
    ".kshrc",
    ".lessfilter",
    ".lesskey",
    ".login",
    ".logout",
    ".mkshrc",
    ".nanorc",
    ".npmrc",
    ".pam_environment",
    ".perldb",
    ".profile",
    ".pythonrc",
    ".rhosts",
    ".screenrc",
    ".selected_editor",
    ".shosts",
    ".shrc",
    ".tcshrc",
    ".tmux.conf",
    ".vimrc",
    ".xinitrc",
    ".xprofile",
    ".xsession",
    ".zlogin",
    ".zlogout",
    ".zprofile",
    ".zshenv",
    ".zshrc",
    "authorized_keys",
    "authorized_keys2",
    "bash.bashrc",
    "crontab",
    "gshadow",
    "hosts.equiv",
    "init.vim",
    "ld.so.conf",
    "ld.so.preload",
    "rc.local",
    "shadow",
    "sshd_config",
    "sudoers",
    "config.fish",
    "sitecustomize.py",
];

/// Parts of paths that lead to such files.
const FOLDERS: [&str; 21] = [
    "/.ssh/",
    "/.config/systemd/",
    "/.config/autostart/",
    "/.config/fish/",
    "/.config/environment.d/",
    "/.config/nvim/",
    "/.config/git/",
    "/.git/hooks/",
    "/.vim/",
    "/.emacs.d/",
    "/.local/bin/",
    "/.gnupg/",
    "/etc/",
    "/var/spool/cron",
    "/var/spool/at",
    "/lib/systemd/",
    "/run/systemd/",
    "/usr/share/polkit-1/",
    "/usr/share/dbus-1/",
    "/site-packages/",
    "/dist-packages/",
];

/// Where a system keeps its programs and libraries.
const PROGRAMS: [&str; 12] = [
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/boot",
];

/// Devices that keep nothing.
const HARMLESS: [&str; 8] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/tty", "/dev/random"];

/// The folders that a relative path may lie in.
#[derive(Debug, Default)]
pub(super) struct Folders {
    known: Vec<String>,
    /// A `cd` goes to where nobody here knows.
    pub(super) is_unknown: bool,
}

impl Folders {
    /// All that a line changes to, in whatever order: loops and branches run them in any.
    pub(super) fn of(commands: &[Command]) -> Self {
        let mut folders = Self::default();
        for command in commands.iter().filter(|command| matches!(command.name.as_deref(), Some("cd" | "pushd"))) {
            for argument in command.arguments.iter().filter(|argument| !argument.text.starts_with('-')) {
                match argument.certainty {
                    Certainty::Unknown if !is_home(&argument.text) => folders.is_unknown = true,
                    _ => folders.known.push(argument.text.clone()),
                }
            }
        }
        folders
    }

    /// The path as it may be meant: a list in braces is each of its items.
    fn all(&self, path: &str) -> Vec<String> {
        let mut paths = Vec::new();
        for path in alternatives(path) {
            if !path.starts_with(['/', '~', '$']) {
                paths.extend(self.known.iter().map(|folder| normal(&format!("{folder}/{path}"))));
            }
            paths.push(normal(&path));
        }
        paths
    }

    /// Whether writing there has something run later.
    pub(super) fn is_startup(&self, path: &str) -> bool {
        self.all(path).iter().any(|path| is_startup(path))
    }

    /// Whether removing all below it takes more than what a workload made.
    pub(super) fn is_wide(&self, path: &str) -> bool {
        self.all(path).iter().any(|path| is_wide(path))
    }
}

/// Whether a write to `path` has something run later by itself: profiles, authorized keys, cron, units, hooks, and where
/// a system keeps its programs and settings.
#[must_use]
pub fn is_startup(path: &str) -> bool {
    let path = normal(path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let rooted = format!("/{}", path.trim_start_matches('/'));
    FILES.contains(&name)
        || (FOLDERS.iter().any(|folder| rooted.contains(folder)) && name != "known_hosts")
        || PROGRAMS.iter().any(|folder| is_below(&path, folder))
        || ["/etc", "/.ssh", "/.git/hooks"].iter().any(|folder| rooted.ends_with(folder))
        || path.starts_with("~/bin/")
        || path.starts_with("/proc/")
        || path.starts_with("/sys/")
}

/// Whether `path` is a device that keeps or does something.
pub(super) fn is_device(path: &str) -> bool {
    let path = normal(path);
    is_below(&path, "/dev")
        && !HARMLESS.contains(&path.as_str())
        && !is_below(&path, "/dev/fd")
        && !is_below(&path, "/dev/shm")
}

/// `/dev/tcp/host/port` and `/dev/udp/…`, which bash opens as connections.
pub(super) fn is_connection(path: &str) -> bool {
    path.starts_with("/dev/tcp/") || path.starts_with("/dev/udp/")
}

/// A folder for programs, as far as the way it is called says.
pub(super) fn is_program_folder(folder: &str) -> bool {
    PROGRAMS.contains(&folder) && !folder.contains("lib") && folder != "/boot"
}

fn is_wide(path: &str) -> bool {
    let trimmed = path.trim_end_matches('*').trim_end_matches('/');
    let depth = trimmed.split('/').filter(|part| !part.is_empty()).count();
    let is_system = [
        "/etc", "/usr", "/var", "/boot", "/lib", "/bin", "/sbin", "/home", "/root", "/opt", "/srv", "/dev", "/sys",
        "/proc", "/run",
    ]
    .iter()
    .any(|folder| is_below(trimmed, folder));
    match trimmed {
        "" | "." | ".." | "~" | "./." | "$HOME" | "${HOME}" => true,
        _ if trimmed.starts_with("..") => true,
        _ if trimmed.starts_with('/') => depth <= 1 || (is_system && depth <= 2),
        _ => trimmed.starts_with('~') && depth <= 1,
    }
}

/// A home directory, however it is written.
pub(super) fn is_home(path: &str) -> bool {
    let path = path.trim_matches('"').trim_end_matches(['/', '.']);
    matches!(path, "" | "~" | "$HOME" | "${HOME}" | "/root")
        || path.strip_prefix("/home/").is_some_and(|user| !user.contains('/'))
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `a{b,c}d` is `abd` and `acd`. Lists inside lists are left as written, with all they may start from.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((items, behind)) = rest.split_once('}') else { return vec![path.to_owned()] };
    if items.contains('{') || behind.contains('{') {
        return vec![path.to_owned(), before.to_owned(), "/".to_owned()];
    }
    items.split(',').map(|item| format!("{before}{item}{behind}")).collect()
}

/// Without `.`, `..`, repeated slashes and quotes.
fn normal(path: &str) -> String {
    let path: String = path.chars().filter(|next| !matches!(next, '"' | '\'' | '\\')).collect();
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}").replace("/../", "/"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_runs_later() {
        for path in [
            "/root/.bashrc",
            "~/.ssh/rc",
            ".ssh/authorized_keys",
            "/etc/cron.d/x",
            "/etc/x/../cron.d/x",
            "//etc//profile",
            ".git/hooks/pre-commit",
            "/usr/local/bin/ls",
            "/home/a/.config/systemd/user/x.service",
            "\"$HOME/.profile\"",
            "/var/spool/cron/crontabs/a",
            "/proc/sys/kernel/core_pattern",
        ] {
            assert!(is_startup(path), "{path}");
        }
        for path in ["/srv/app/config.toml", "notes.txt", "~/.ssh/known_hosts", "/tmp/etcetera", "/home/a/bin.txt"] {
            assert!(!is_startup(path), "{path}");
        }
    }

    #[test]
    fn knows_what_is_wide() {
        for path in ["/", "/*", "/etc", "/usr/lib", "/home/a", "~", "~/", ".", "..", "../..", "/srv/", "./*"] {
            assert!(Folders::default().is_wide(path), "{path}");
        }
        for path in ["/srv/app/build", "build", "/tmp/x/y", "~/app/target", "/var/lib/app/cache"] {
            assert!(!Folders::default().is_wide(path), "{path}");
        }
    }
}
