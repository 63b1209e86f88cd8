//! What the shell's own commands run or change.
//!
//! In: a command. Out: scripts that it runs, and doubts: some builtins evaluate subscripts in names that they are handed,
//! some change how later words are read. It must never take a builtin for a plain program.

use super::facts::{Argument, Certainty, Command};
use super::reader::Inner;
use super::reason::Reason;
use super::word::is_name;

/// Variables that have shells, loaders and programs run or load something.
const LOADED: [&str; 52] = [
    "BASHOPTS",
    "BASH_ENV",
    "BROWSER",
    "CDPATH",
    "CLASSPATH",
    "DYLD_INSERT_LIBRARIES",
    "EDITOR",
    "ENV",
    "FCEDIT",
    "FPATH",
    "GCONV_PATH",
    "GEM_PATH",
    "GLOBIGNORE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCPATH",
    "LUA_INIT",
    "MAKEFLAGS",
    "MANPAGER",
    "NLSPATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "NPM_CONFIG_USERCONFIG",
    "OPENSSL_CONF",
    "PAGER",
    "PATH",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PHPRC",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SHELL",
    "SHELLOPTS",
    "TAR_OPTIONS",
    "TEXTDOMAINDIR",
    "VISUAL",
    "ZDOTDIR",
];

/// Whether a variable of that name has other programs run or load something.
pub(super) fn is_loaded(name: &str) -> bool {
    LOADED.contains(&name)
        || [
            "LD_",
            "BASH_FUNC",
            "GIT_",
            "SUDO_",
            "SSH_ASKPASS",
            "DYLD_",
            "KUBECONFIG",
            "RSYNC_",
            "CVS_",
            "SVN_",
            "MALLOC_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
}

/// What a builtin runs in turn.
pub(super) fn inner(command: &Command) -> Vec<Inner> {
    let arguments = command.arguments.as_slice();
    let doubt = |reason| vec![Inner::Doubt(reason)];
    let first = arguments.first();
    match command.name.as_deref().unwrap_or_default() {
        "eval" => match joined(arguments) {
            Some(text) => vec![Inner::Script(text)],
            None => doubt(Reason::Eval),
        },
        "." | "source" => doubt(Reason::Script),
        "trap" => trap(arguments),
        "alias" if !arguments.is_empty() => doubt(Reason::Alias),
        "shopt" | "enable" | "bind" | "complete" | "compgen" | "compopt" | "fc" | "emulate" | "autoload"
        | "zmodload" | "disable" => doubt(Reason::ShellState),
        "history" if !arguments.is_empty() => doubt(Reason::ShellState),
        "hash" if arguments.iter().any(|argument| argument.text.starts_with('-') && argument.text.contains('p')) => {
            doubt(Reason::ShellState)
        }
        "set" => set(arguments),
        "let" | "coproc" | "select" => doubt(Reason::Arithmetic),
        "[[" => doubt(Reason::Expansion),
        "mapfile" | "readarray"
            if arguments.iter().any(|argument| argument.text.contains("-C") || is_element(argument)) =>
        {
            doubt(Reason::Eval)
        }
        "declare" | "typeset" | "local" | "readonly" | "export" => declares(arguments),
        "unset" | "read" | "getopts" | "mapfile" | "readarray" if arguments.iter().any(is_element) => {
            doubt(Reason::Array)
        }
        "test" | "[" if tests_names(arguments) => doubt(Reason::Array),
        "printf" if first.is_some_and(|first| first.known().is_none_or(|text| text.starts_with("-v"))) => {
            doubt(Reason::Array)
        }
        "wait" if arguments.iter().any(|argument| argument.text.starts_with("-p") || argument.known().is_none()) => {
            doubt(Reason::Array)
        }
        _ => Vec::new(),
    }
}

/// `test -v NAME` evaluates a subscript in the name, and an argument that is expanded may become `-v`.
fn tests_names(arguments: &[Argument]) -> bool {
    let arguments =
        arguments.strip_suffix(&[Argument { text: "]".to_owned(), certainty: Certainty::Known }]).unwrap_or(arguments);
    let is_bare = |argument: &Argument| argument.certainty == Certainty::Unknown && !argument.text.starts_with('"');
    let may_be_operator = matches!(arguments, [first, _] if first.certainty != Certainty::Known);
    let names = arguments.iter().any(|argument| matches!(argument.text.as_str(), "-v" | "-R"));
    may_be_operator || names || arguments.iter().any(is_bare)
}

/// The arguments as `eval` joins them.
pub(super) fn joined(arguments: &[Argument]) -> Option<String> {
    let texts: Option<Vec<_>> = arguments.iter().map(Argument::known).collect();
    texts.map(|texts| texts.join(" "))
}

fn trap(arguments: &[Argument]) -> Vec<Inner> {
    let arguments =
        arguments.strip_prefix(&[Argument { text: "--".to_owned(), certainty: Certainty::Known }]).unwrap_or(arguments);
    match arguments.first() {
        None => Vec::new(),
        Some(first) => match first.known() {
            Some("-" | "-l" | "-p") => Vec::new(),
            Some(code) => vec![Inner::Script(code.to_owned())],
            None => vec![Inner::Doubt(Reason::Eval)],
        },
    }
}

/// Options that change neither grammar nor what a word expands to.
fn set(arguments: &[Argument]) -> Vec<Inner> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(text) = argument.known() else { return vec![Inner::Doubt(Reason::ShellState)] };
        match text.strip_prefix(['-', '+']) {
            Some("-") => break,
            Some("o")
                if rest.next().is_some_and(|name| {
                    matches!(name.known(), Some("pipefail" | "errexit" | "nounset" | "xtrace"))
                }) => {}
            Some("eo" | "euo" | "exo" | "euxo") if rest.next().and_then(Argument::known) == Some("pipefail") => {}
            Some(letters)
                if letters.chars().all(|letter| matches!(letter, 'e' | 'u' | 'x' | 'f' | 'v' | 'n' | 'C' | 'm')) => {}
            Some(_) => return vec![Inner::Doubt(Reason::ShellState)],
            None => break,
        }
    }
    Vec::new()
}

/// `-i`, `-n` and `-a` have later assignments evaluated.
fn declares(arguments: &[Argument]) -> Vec<Inner> {
    let mut found = Vec::new();
    for argument in arguments {
        let (name, value) = argument.text.split_once('=').unwrap_or((&argument.text, ""));
        let name = name.strip_suffix('+').unwrap_or(name);
        if name.starts_with(['-', '+']) {
            if argument.known().is_none_or(|text| {
                !text.chars().skip(1).all(|letter| matches!(letter, 'x' | 'r' | 'g' | 'p' | 'l' | 'u'))
            }) {
                found.push(Inner::Doubt(Reason::ShellState));
            }
        } else if !is_name(name) || value.starts_with('(') {
            found.push(Inner::Doubt(Reason::Array));
        } else if is_loaded(name) {
            found.push(Inner::Doubt(Reason::Environment));
        }
    }
    found
}

/// A name with a subscript, or one that nobody knows yet.
fn is_element(argument: &Argument) -> bool {
    argument.certainty != Certainty::Known || argument.text.contains('[')
}
