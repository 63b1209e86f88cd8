//! Programs that run code: shells, interpreters, and tools whose arguments are programs.
//!
//! In: a command and where its standard input comes from. Out: scripts of shells, where their text is known; a doubt for
//! all other code. It must never take code for data because it is short.

use std::sync::LazyLock;

use regex::Regex;

use super::facts::{Argument, Command};
use super::reader::{Inner, Stdin};
use super::reason::Reason;

/// Shells whose grammar this is.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "rbash"];
/// Shells with another one.
const FOREIGN: [&str; 15] = [
    "zsh", "fish", "csh", "tcsh", "ksh", "ksh93", "mksh", "lksh", "pdksh", "yash", "xonsh", "nu", "elvish", "pwsh",
    "rc",
];
/// Interpreters, without their versions.
const INTERPRETERS: [&str; 60] = [
    "R",
    "Rscript",
    "bpftrace",
    "bun",
    "cargo",
    "clickhouse",
    "clickhouse-client",
    "clickhouse-local",
    "clisp",
    "coffee",
    "cqlsh",
    "dc",
    "deno",
    "dotnet",
    "duckdb",
    "emacs",
    "emacsclient",
    "erl",
    "expect",
    "gdb",
    "ghci",
    "gnuplot",
    "groovy",
    "guile",
    "iex",
    "irb",
    "java",
    "jjs",
    "jrunscript",
    "jshell",
    "julia",
    "lldb",
    "lua",
    "luajit",
    "m4",
    "mariadb",
    "mongo",
    "mongosh",
    "mysql",
    "node",
    "nodejs",
    "ocaml",
    "octave",
    "osascript",
    "perl",
    "php",
    "psql",
    "pypy",
    "python",
    "redis-cli",
    "ruby",
    "runghc",
    "sbcl",
    "scala",
    "sqlite",
    "sqlite3",
    "stap",
    "swipl",
    "tclsh",
    "wish",
];
/// Programs that run what the current folder says.
const BUILDERS: [&str; 33] = [
    "ansible",
    "ansible-playbook",
    "ant",
    "bmake",
    "bundle",
    "cmake",
    "composer",
    "dpkg-reconfigure",
    "fab",
    "gem",
    "gmake",
    "go",
    "gradle",
    "invoke",
    "just",
    "make",
    "meson",
    "mvn",
    "ninja",
    "nox",
    "npm",
    "npx",
    "pip",
    "pip3",
    "pipx",
    "pnpm",
    "poetry",
    "pytest",
    "rake",
    "scons",
    "tox",
    "vagrant",
    "yarn",
];
/// Programs that take commands from their user.
const INTERACTIVE: [&str; 21] = [
    "vi", "vim", "vimdiff", "view", "nvim", "ex", "ed", "red", "nano", "pico", "joe", "mc", "most", "pg", "screen",
    "tmux", "tmate", "zellij", "htop", "visudo", "sudoedit",
];

/// Code in or behind the arguments.
pub(super) fn inner(command: &Command, stdin: &Stdin) -> Vec<Inner> {
    let name = command.name.as_deref().unwrap_or_default();
    let arguments = command.arguments.as_slice();
    let base = name.trim_end_matches(|last: char| last.is_ascii_digit() || last == '.');
    if SHELLS.contains(&name) {
        return shell(arguments, stdin);
    }
    let doubt = if FOREIGN.contains(&name) || FOREIGN.contains(&base) {
        Some(Reason::ForeignShell)
    } else if INTERPRETERS.contains(&name) || INTERPRETERS.contains(&base) {
        interpreter(arguments, stdin)
    } else if BUILDERS.contains(&name) {
        (!is_question(arguments)).then_some(Reason::Script)
    } else if INTERACTIVE.contains(&name) {
        (!is_question(arguments)).then_some(Reason::Interactive)
    } else {
        match name {
            "awk" | "gawk" | "mawk" | "nawk" | "original-awk" => awk(arguments),
            "sed" | "gsed" | "ssed" => sed(arguments),
            _ => None,
        }
    };
    doubt.map(Inner::Doubt).into_iter().collect()
}

/// Only its version or its help is asked for.
fn is_question(arguments: &[Argument]) -> bool {
    matches!(arguments, [only] if matches!(only.known(), Some("--version" | "--help" | "-V" | "-version" | "-h")))
}

fn shell(arguments: &[Argument], stdin: &Stdin) -> Vec<Inner> {
    let doubt = |reason| vec![Inner::Doubt(reason)];
    let (mut is_code, mut is_stdin, mut rest) = (false, false, arguments.iter().peekable());
    while let Some(argument) = rest.peek() {
        let Some(text) = argument.known() else { return doubt(Reason::InlineCode) };
        let Some(letters) = text.strip_prefix(['-', '+']).filter(|letters| !letters.is_empty()) else { break };
        rest.next();
        match letters {
            "-" => break,
            "-login" | "-norc" | "-noprofile" | "-posix" | "-restricted" | "-verbose" | "-noediting" => {}
            "-version" | "-help" => return Vec::new(),
            letters if letters.starts_with('-') => return doubt(Reason::Script),
            letters => {
                if letters.contains(['i', 'O', 'D']) {
                    return doubt(Reason::Interactive);
                }
                is_code |= letters.contains('c');
                is_stdin |= letters.contains('s');
                // `-o NAME`: only names that change no grammar.
                if letters.contains('o')
                    && !rest
                        .next()
                        .is_some_and(|name| matches!(name.known(), Some("pipefail" | "errexit" | "nounset" | "xtrace")))
                {
                    return doubt(Reason::ShellState);
                }
            }
        }
    }
    match (is_code, rest.next()) {
        (true, Some(code)) => {
            code.known().map_or_else(|| doubt(Reason::InlineCode), |code| vec![Inner::Script(code.to_owned())])
        }
        (true, None) => Vec::new(),
        (false, Some(_)) if !is_stdin => doubt(Reason::Script),
        (false, _) => match stdin {
            Stdin::Known(text) => vec![Inner::Script(text.clone())],
            other => doubt(of_stdin(other)),
        },
    }
}

fn of_stdin(stdin: &Stdin) -> Reason {
    match stdin {
        Stdin::Pipe => Reason::PipedCode,
        Stdin::File => Reason::Script,
        Stdin::Known(_) => Reason::InlineCode,
        Stdin::Inherited => Reason::StdinCode,
    }
}

fn interpreter(arguments: &[Argument], stdin: &Stdin) -> Option<Reason> {
    if is_question(arguments) || matches!(arguments, [only] if only.known() == Some("-v")) {
        return None;
    }
    let is_option = |argument: &&Argument| argument.text.len() > 1 && argument.text.starts_with('-');
    if arguments.iter().any(|argument| is_option(&argument)) {
        return Some(Reason::InlineCode);
    }
    Some(if arguments.iter().any(|argument| argument.text != "-") { Reason::Script } else { of_stdin(stdin) })
}

/// Programs of awk that neither run others nor write files.
fn awk(arguments: &[Argument]) -> Option<Reason> {
    let mut rest = arguments.iter();
    let program = loop {
        let argument = rest.next()?;
        let Some(text) = argument.known() else { return Some(Reason::InlineCode) };
        match text {
            "-F" | "-v" => drop(rest.next()),
            "--version" | "--help" => return None,
            _ if text.starts_with("-F") || text.starts_with("-v") => {}
            _ if text.starts_with('-') && text.len() > 1 => return Some(Reason::InlineCode),
            program => break program,
        }
    };
    let program = program.replace("||", " ").replace(">=", " ");
    let prints_to = program.contains('>') && program.contains("print");
    let is_code =
        ["system", "|", "getline", "@", "close", "fflush", "ENVIRON", "\\"].iter().any(|word| program.contains(word));
    (is_code || prints_to).then_some(Reason::InlineCode)
}

/// Commands of sed that only print, delete and substitute.
fn sed(arguments: &[Argument]) -> Option<Reason> {
    static PLAIN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let address = r"(?:\d+|\$|/[^/\\\n;{}]*/)";
        let command = format!(
            r"(?:{address}(?:,{address})?)?(?:[pdq=]|s/[^/\n;]*/[^/\n;]*/[gpiI\d]*|s\|[^|\n;]*\|[^|\n;]*\|[gpiI\d]*|s#[^#\n;]*#[^#\n;]*#[gpiI\d]*|s,[^,\n;]*,[^,\n;]*,[gpiI\d]*)"
        );
        Regex::new(&format!(r"^\s*{command}(?:\s*;\s*{command})*\s*;?\s*$")).ok()
    });
    let plain = |argument: &Argument| {
        argument
            .known()
            .is_some_and(|text| PLAIN.as_ref().is_some_and(|regex| regex.is_match(text)) && !text.contains("\\\n"))
    };
    let (mut scripts, mut operands) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.text.as_str() {
            "-e" | "--expression" => scripts.extend(rest.next()),
            "-n" | "-E" | "-r" | "-s" | "-u" | "-z" | "-i" | "-ne" | "-nE" | "-nr" | "-Ei" | "-ri" | "-ni"
            | "--quiet" | "--silent" | "--in-place" | "--sandbox" => {
                if argument.text.ends_with('e') && argument.text == "-ne" {
                    scripts.extend(rest.next());
                }
            }
            text if text.starts_with("-i")
                && text.chars().skip(2).all(|next| next.is_ascii_alphanumeric() || ".~_".contains(next)) => {}
            "--version" | "--help" => return None,
            text if text.len() > 1 && text.starts_with('-') => return Some(Reason::InlineCode),
            _ => operands.push(argument),
        }
    }
    if scripts.is_empty() {
        scripts.extend(operands.first());
    }
    // An operand that is expanded may be an option.
    let is_bare = |argument: &&Argument| argument.known().is_none() && argument.text.starts_with('$');
    (scripts.is_empty() || !scripts.into_iter().all(plain) || operands.iter().any(is_bare))
        .then_some(Reason::InlineCode)
}
