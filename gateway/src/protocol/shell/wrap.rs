//! Programs that run other programs.
//!
//! In: a command. Out: what it runs in turn, where its options are ones that are known and its words are; else a doubt.
//! It must never guess where an unknown option ends.

use super::builtin::is_loaded;
use super::facts::{Argument, Certainty, Command, Kind};
use super::reader::Inner;
use super::reason::Reason;
use super::word::is_name;

/// The options of a program that runs what follows them.
struct Prefix {
    names: &'static [&'static str],
    /// Letters of options without a value, and of options with one.
    flags: &'static str,
    values: &'static str,
    long_flags: &'static [&'static str],
    long_values: &'static [&'static str],
    /// Operands before the command.
    operands: usize,
}

const PLAIN: Prefix = Prefix { names: &[], flags: "", values: "", long_flags: &[], long_values: &[], operands: 0 };

const PREFIXES: [Prefix; 12] = [
    Prefix { names: &["nohup", "builtin", "busybox", "toybox"], ..PLAIN },
    Prefix { names: &["nice"], values: "n", long_values: &["adjustment"], ..PLAIN },
    Prefix { names: &["ionice"], flags: "t", values: "cn", long_values: &["class", "classdata"], ..PLAIN },
    Prefix { names: &["setsid"], flags: "cfw", long_flags: &["ctty", "fork", "wait"], ..PLAIN },
    Prefix { names: &["stdbuf"], values: "ioe", long_values: &["input", "output", "error"], ..PLAIN },
    Prefix {
        names: &["timeout"],
        flags: "v",
        values: "ks",
        long_flags: &["foreground", "preserve-status", "verbose"],
        long_values: &["kill-after", "signal"],
        operands: 1,
    },
    Prefix { names: &["time"], flags: "pvV", values: "f", ..PLAIN },
    Prefix { names: &["command"], flags: "p", ..PLAIN },
    Prefix { names: &["exec"], flags: "cl", values: "a", ..PLAIN },
    Prefix { names: &["chrt"], flags: "bfiora", operands: 1, ..PLAIN },
    Prefix { names: &["taskset"], flags: "ac", operands: 1, ..PLAIN },
    Prefix { names: &["doas"], flags: "n", values: "u", ..PLAIN },
];

const SUDO: Prefix = Prefix {
    names: &["sudo"],
    flags: "AbEHnPSkNisKlvV",
    values: "ugpCTD",
    long_flags: &[
        "askpass",
        "background",
        "preserve-env",
        "set-home",
        "non-interactive",
        "stdin",
        "login",
        "shell",
        "list",
        "validate",
        "version",
    ],
    long_values: &["user", "group", "prompt", "chdir"],
    operands: 0,
};

const XARGS: Prefix = Prefix {
    names: &["xargs"],
    flags: "0rtpxoi",
    values: "nPILsdEa",
    long_flags: &["null", "no-run-if-empty", "verbose", "interactive", "exit", "open-tty"],
    long_values: &["max-args", "max-procs", "replace", "max-lines", "max-chars", "delimiter", "arg-file", "eof"],
    operands: 0,
};

const ENV: Prefix = Prefix {
    names: &["env"],
    flags: "i0v",
    values: "uC",
    long_flags: &["ignore-environment", "null", "debug"],
    long_values: &["unset", "chdir"],
    operands: 0,
};

/// Programs that run others in ways that nobody here reads.
const UNREAD: [&str; 68] = [
    "at",
    "batch",
    "bwrap",
    "capsh",
    "catchsegv",
    "chpst",
    "choom",
    "chroot",
    "cpulimit",
    "daemon",
    "daemonize",
    "dbus-launch",
    "dbus-run-session",
    "entr",
    "eatmydata",
    "fakechroot",
    "fakeroot",
    "firejail",
    "flock",
    "forkstat",
    "i386",
    "incus",
    "linux32",
    "linux64",
    "logsave",
    "ltrace",
    "lxc",
    "lxc-attach",
    "lxc-execute",
    "machinectl",
    "newgrp",
    "nsenter",
    "numactl",
    "parallel",
    "perf",
    "pkexec",
    "prlimit",
    "proot",
    "proxychains",
    "proxychains4",
    "rlwrap",
    "run-parts",
    "runcon",
    "runuser",
    "runsv",
    "script",
    "scriptlive",
    "setarch",
    "setpriv",
    "setuidgid",
    "sg",
    "softlimit",
    "ssh-agent",
    "start-stop-daemon",
    "strace",
    "systemd-nspawn",
    "systemd-run",
    "torify",
    "torsocks",
    "tsocks",
    "unbuffer",
    "unshare",
    "uncoproc",
    "valgrind",
    "watch",
    "x86_64",
    "xvfb-run",
    "zrun",
];

/// Engines of containers and clusters: what they run inside something else, and what only looks.
const ENGINES: [&str; 9] =
    ["docker", "podman", "nerdctl", "ctr", "crictl", "docker-compose", "podman-compose", "kubectl", "oc"];
const LOOKS: [&str; 28] = [
    "ps",
    "images",
    "logs",
    "inspect",
    "version",
    "info",
    "stats",
    "top",
    "port",
    "history",
    "diff",
    "events",
    "search",
    "stop",
    "start",
    "restart",
    "rm",
    "rmi",
    "get",
    "describe",
    "api-resources",
    "explain",
    "cluster-info",
    "rollout",
    "scale",
    "delete",
    "auth",
    "pull",
];

/// What a program runs in turn.
pub(super) fn inner(command: &Command) -> Vec<Inner> {
    let name = command.name.as_deref().unwrap_or_default();
    let arguments = command.arguments.as_slice();
    let found = match name {
        "env" => env(arguments),
        "sudo" => sudo(arguments),
        "su" => su(arguments),
        "xargs" => xargs(arguments),
        "find" => find(arguments),
        "command" if arguments.first().is_some_and(|first| matches!(first.text.as_str(), "-v" | "-V")) => {
            Ok(Vec::new())
        }
        "git" => git(arguments),
        "tar" | "bsdtar" | "rsync" | "sort" | "split" | "zip" | "cpio" | "man" | "scp" | "sftp" | "less" | "more" => {
            Ok(hooks(arguments))
        }
        _ if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name.starts_with("ld.so") => {
            Err(Reason::Wrapper)
        }
        _ if UNREAD.contains(&name) => Err(Reason::Wrapper),
        _ if ENGINES.contains(&name) => engine(arguments),
        _ => match PREFIXES.iter().find(|prefix| prefix.names.contains(&name)) {
            Some(prefix) => rest_of(prefix, arguments).map(|rest| run(rest, name == "doas")),
            None => Ok(Vec::new()),
        },
    };
    found.unwrap_or_else(|reason| vec![Inner::Doubt(reason)])
}

fn run(rest: &[Argument], as_root: bool) -> Vec<Inner> {
    match (rest.is_empty(), as_root) {
        (true, _) => Vec::new(),
        (false, true) => vec![Inner::RunAsRoot(rest.to_vec())],
        (false, false) => vec![Inner::Run(rest.to_vec())],
    }
}

/// The command behind the options and operands of a program.
fn rest_of<'a>(prefix: &Prefix, arguments: &'a [Argument]) -> Result<&'a [Argument], Reason> {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        // What is expanded here may be an option, several words or none.
        let text = argument.known().ok_or(Reason::Wrapper)?;
        if text == "--" {
            at += 1;
            break;
        }
        if text.len() < 2 || !text.starts_with('-') {
            break;
        }
        at += match text.strip_prefix("--") {
            Some(long) => long_option(prefix, long)?,
            None => short_options(prefix, text.get(1..).unwrap_or_default())?,
        };
    }
    let operands = arguments.get(at..at + prefix.operands).unwrap_or_default();
    if operands.iter().any(|operand| operand.known().is_none()) {
        return Err(Reason::Wrapper);
    }
    let values = arguments.get(..at.min(arguments.len())).unwrap_or_default();
    if values.iter().any(|value| value.known().is_none()) {
        return Err(Reason::Wrapper);
    }
    Ok(arguments.get(at + prefix.operands..).unwrap_or_default())
}

/// How many arguments the option takes up.
fn long_option(prefix: &Prefix, long: &str) -> Result<usize, Reason> {
    let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
    if prefix.long_flags.contains(&name) {
        Ok(1)
    } else if prefix.long_values.contains(&name) {
        Ok(if value.is_some() { 1 } else { 2 })
    } else {
        Err(Reason::Wrapper)
    }
}

fn short_options(prefix: &Prefix, letters: &str) -> Result<usize, Reason> {
    if prefix.names.contains(&"nice") && letters.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(1);
    }
    for (at, letter) in letters.char_indices() {
        if prefix.values.contains(letter) {
            return Ok(if at + 1 == letters.len() { 2 } else { 1 });
        }
        if !prefix.flags.contains(letter) {
            return Err(Reason::Wrapper);
        }
    }
    Ok(1)
}

/// Assignments in front of a command, and the command.
fn assigned(rest: &[Argument]) -> Result<(Vec<Inner>, &[Argument]), Reason> {
    let mut found = Vec::new();
    for (at, argument) in rest.iter().enumerate() {
        let Some((name, _)) = argument.text.split_once('=') else {
            return Ok((found, rest.get(at..).unwrap_or_default()));
        };
        // Not quoted, it may become several words.
        if argument.certainty == Certainty::Unknown {
            return Err(Reason::Wrapper);
        }
        if !is_name(name) || is_loaded(name) {
            found.push(Inner::Doubt(Reason::Environment));
        }
    }
    Ok((found, &[]))
}

fn env(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let (mut found, rest) = assigned(rest_of(&ENV, arguments)?)?;
    found.extend(run(rest, false));
    Ok(found)
}

fn sudo(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let rest = rest_of(&SUDO, arguments)?;
    let options: Vec<&str> =
        arguments.iter().take(arguments.len() - rest.len()).map(|argument| argument.text.as_str()).collect();
    let value = |letter: char, long: &str| {
        options.iter().enumerate().find_map(|(at, option)| match option.strip_prefix("--") {
            Some(name) => name.strip_prefix(long)?.strip_prefix('=').or_else(|| options.get(at + 1).copied()),
            None => option
                .strip_prefix('-')
                .and_then(|letters| letters.split_once(letter))
                .and_then(|(_, value)| if value.is_empty() { options.get(at + 1).copied() } else { Some(value) }),
        })
    };
    let as_root = matches!(value('u', "user"), None | Some("root" | "#0"));
    let (mut found, rest) = assigned(rest)?;
    let is_shell = options.iter().any(|option| {
        matches!(*option, "--login" | "--shell")
            || (option.starts_with('-') && !option.starts_with("--") && option.contains(['i', 's']))
    });
    if rest.is_empty() && is_shell {
        found.push(Inner::Doubt(Reason::Interactive));
    }
    found.extend(run(rest, as_root));
    Ok(found)
}

fn su(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let texts: Vec<&str> =
        arguments.iter().map(|argument| argument.known().ok_or(Reason::Wrapper)).collect::<Result<_, _>>()?;
    let (mut script, mut user, mut rest) = (None, None, texts.iter());
    while let Some(text) = rest.next() {
        match *text {
            "-" | "-l" | "--login" | "-m" | "-p" | "--preserve-environment" => {}
            "-c" | "--command" | "-lc" => script = Some(*rest.next().ok_or(Reason::Wrapper)?),
            text if text.starts_with('-') || user.is_some() => return Err(Reason::Wrapper),
            name => user = Some(name),
        }
    }
    Ok(vec![match (script, user) {
        (None, _) => Inner::Doubt(Reason::Interactive),
        (Some(script), None | Some("root")) => Inner::ScriptAsRoot(script.to_owned()),
        (Some(script), Some(_)) => Inner::Script(script.to_owned()),
    }])
}

/// What comes by standard input is appended, or stands wherever the placeholder does.
fn xargs(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let rest = rest_of(&XARGS, arguments)?;
    let options = arguments.get(..arguments.len() - rest.len()).unwrap_or_default();
    let placeholder = options.iter().enumerate().find_map(|(at, option)| match option.text.as_str() {
        "-I" | "--replace" => options.get(at + 1).map(|next| next.text.as_str()),
        "-i" => Some("{}"),
        text => text.strip_prefix("-I").or_else(|| text.strip_prefix("--replace=")),
    });
    // A cluster that ends in one of these is not worth taking apart.
    let is_cluster =
        |text: &str| text.len() > 2 && !text.starts_with("--") && !text.starts_with("-I") && text.contains(['I', 'i']);
    if options.iter().any(|option| is_cluster(&option.text)) {
        return Err(Reason::Wrapper);
    }
    let mut argv: Vec<Argument> = rest.to_vec();
    match placeholder {
        Some(placeholder) => {
            for argument in argv.iter_mut().filter(|argument| argument.text.contains(placeholder)) {
                argument.certainty = Certainty::Unknown;
            }
        }
        None if argv.is_empty() => {}
        None => argv.push(Argument::unknown("…")),
    }
    Ok(run(&argv, false))
}

fn find(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument.certainty == Certainty::Unknown {
            return Err(Reason::Wrapper);
        }
        if !matches!(argument.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir") {
            continue;
        }
        let mut argv = Vec::new();
        for next in rest.by_ref() {
            let is_end =
                next.text == ";" || (next.text == "+" && argv.last().is_some_and(|last: &Argument| last.text == "{}"));
            if is_end && next.certainty == Certainty::Known {
                break;
            }
            argv.push(next.clone());
        }
        for argument in argv.iter_mut().filter(|argument| argument.text.contains("{}")) {
            argument.certainty = Certainty::Unknown;
        }
        found.extend(run(&argv, false));
    }
    Ok(found)
}

/// Options and subcommands of git that run what they are handed, or have a later git run it.
fn git(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        match argument.known().ok_or(Reason::Wrapper)? {
            "-C" => at += 2,
            "--no-pager" | "--bare" | "--version" | "--help" => at += 1,
            option if option.starts_with('-') => return Err(Reason::Wrapper),
            _ => break,
        }
    }
    let Some((verb, rest)) = arguments.get(at..).and_then(<[_]>::split_first) else { return Ok(Vec::new()) };
    let rest = || rest.iter().map(|argument| argument.text.as_str());
    let runs = |text: &str| {
        [
            "-x",
            "--exec",
            "--upload-pack",
            "--receive-pack",
            "--extcmd",
            "--tool",
            "--open-files-in-pager",
            "-O",
            "--config",
            "-c",
        ]
        .iter()
        .any(|option| text == *option || text.starts_with(&format!("{option}=")))
            || text.contains("ext::")
    };
    match verb.text.as_str() {
        "bisect" | "filter-branch" | "submodule" | "difftool" | "mergetool" | "send-email" | "daemon" | "instaweb"
        | "shell" => Err(Reason::Wrapper),
        "config" if rest().filter(|text| !text.starts_with('-')).count() > 1 => {
            Ok(vec![Inner::Doubt(Reason::Environment)])
        }
        _ if rest().any(runs) => Err(Reason::Wrapper),
        _ => Ok(Vec::new()),
    }
}

/// Options by which archivers, pagers and copiers run another program.
fn hooks(arguments: &[Argument]) -> Vec<Inner> {
    let runs = |text: &str| {
        [
            "--checkpoint-action",
            "--use-compress-program",
            "--to-command",
            "--info-script",
            "--new-volume-script",
            "--rsh-command",
            "--rmt-command",
            "--rsh",
            "--rsync-path",
            "--compress-program",
            "--filter=",
            "--unzip-command",
            "--pager",
            "--html",
            "--rsync-",
            "-oProxy",
            "-o",
        ]
        .iter()
        .any(|option| text.starts_with(option))
            || matches!(text, "-I" | "-F" | "-e" | "-TT" | "-P" | "-H" | "-S" | "-D")
    };
    // tar's -o and -H and kin are harmless, and rare enough to ask.
    let is_unclear = |argument: &Argument| argument.certainty == Certainty::Unknown && !argument.text.starts_with('"');
    if arguments.iter().any(|argument| runs(&argument.text) || is_unclear(argument)) {
        vec![Inner::Doubt(Reason::Wrapper)]
    } else {
        Vec::new()
    }
}

fn engine(arguments: &[Argument]) -> Result<Vec<Inner>, Reason> {
    let verb = arguments.iter().find(|argument| !argument.text.starts_with('-'));
    let is_first = arguments.first() == verb;
    match verb.and_then(Argument::known) {
        Some("port-forward" | "proxy") => Ok(vec![Inner::Is(Kind::Relay)]),
        Some(verb) if is_first && LOOKS.contains(&verb) => Ok(Vec::new()),
        None if arguments.is_empty() => Ok(Vec::new()),
        _ => Err(Reason::Wrapper),
    }
}
