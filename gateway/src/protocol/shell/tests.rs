//! What command lines become, and that real shells run nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::*;

const CORPUS: &str = include_str!("corpus.toml");

#[derive(Deserialize)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    class: String,
    line: String,
    names: Vec<String>,
    #[serde(default)]
    opaque: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
}

fn corpus() -> Vec<Case> {
    toml::from_str::<Corpus>(CORPUS).unwrap().case
}

fn names(facts: &Facts) -> Vec<String> {
    facts.commands.iter().map(|command| command.name.clone().unwrap_or_else(|| "?".to_owned())).collect()
}

fn kinds(facts: &Facts) -> BTreeSet<&'static str> {
    facts.commands.iter().flat_map(|command| command.kinds.iter().map(|kind| kind.name())).collect()
}

#[test]
fn the_corpus_of_evasions_has_the_facts_that_it_names() {
    let corpus = corpus();
    assert!(corpus.len() > 400, "{} cases", corpus.len());
    for case in corpus {
        let facts = facts(&case.line);
        let what = format!("{}: {:?}: {facts:?}", case.class, case.line);
        assert_eq!(names(&facts), case.names, "{what}");
        let opaque: Vec<_> = facts.opaque().iter().map(|reason| reason.name().to_owned()).collect();
        assert_eq!(opaque, case.opaque, "{what}");
        assert_eq!(kinds(&facts).into_iter().collect::<Vec<_>>(), case.kinds, "{what}");
    }
}

#[test]
fn an_argument_is_what_the_program_gets() {
    let facts = facts(r#"tool 'a b' "c $x" d\ e $'f\n' *.g ~/h"#);
    let [command] = facts.commands.as_slice() else { panic!("{facts:?}") };
    let arguments: Vec<_> =
        command.arguments.iter().map(|argument| (argument.text.as_str(), argument.certainty)).collect();
    assert_eq!(
        arguments,
        [
            ("a b", Certainty::Known),
            ("\"c $x\"", Certainty::Unknown),
            ("d e", Certainty::Known),
            ("f\n", Certainty::Known),
            ("*.g", Certainty::Pattern),
            ("~/h", Certainty::Pattern),
        ]
    );
}

#[test]
fn options_operands_root_and_redirections_are_told_apart() {
    let facts = facts("sudo -u root tar -xf a.tar -- -odd < in > out 2>> log");
    let [sudo, tar] = facts.commands.as_slice() else { panic!("{facts:?}") };
    assert!(!sudo.as_root && tar.as_root);
    assert_eq!(tar.options().collect::<Vec<_>>(), ["-xf"]);
    assert_eq!(tar.operands().collect::<Vec<_>>(), ["a.tar", "-odd"]);
    assert_eq!(
        (sudo.reads.as_slice(), sudo.writes.as_slice()),
        (&["in".to_owned()][..], &["out".to_owned(), "log".to_owned()][..])
    );
}

#[test]
fn lines_that_overflow_or_exhaust_parsers_are_opaque_within_a_second() {
    let nested = |open: &str, close: &str, depth: usize| format!("{}ls{}", open.repeat(depth), close.repeat(depth));
    let mut lines =
        vec!["a".repeat(70_000), "$((".repeat(20_000), "((((".repeat(2_000), "<(".repeat(3_000), "`".repeat(3_001)];
    for depth in [3, 5, 8, 12, 40, 63, 64, 65, 1_000, 10_000] {
        for (open, close) in [
            ("{ ", "; }"),
            ("(", ")"),
            ("( ", " )"),
            ("$(", ")"),
            ("echo $(", ")"),
            ("\"$(", ")\""),
            ("if ", "; then a; fi"),
            ("if a; then ", "; fi"),
            ("case a in a) ", " ;; esac"),
            ("while ", "; do a; done"),
            ("for i in a; do ", "; done"),
            ("sh -c ", ""),
            ("cat <(", ")"),
            ("! ", ""),
            ("f() { ", "; }"),
            ("[[ ( ", " ) ]]"),
            ("${x:-", "}"),
            ("sudo ", ""),
            ("eval ", ""),
            ("time ", ""),
            ("env ", ""),
            ("x=", ""),
            ("<<a ", ""),
        ] {
            lines.push(nested(open, close, depth));
            lines.push(nested(open, "", depth));
        }
    }
    // What one reader takes and the other does not: that one tries every other reading of each level.
    for (open, close) in [("case a in a) ", " ;; esac"), ("(a; ", ")")] {
        lines.push(format!("{}[[ a b c ]]{}", open.repeat(40), close.repeat(40)));
    }
    for line in &lines {
        let start = Instant::now();
        let facts = facts(line);
        let shown = line.get(..60).unwrap_or(line);
        assert!(start.elapsed() < Duration::from_secs(5), "{shown} took {:?}", start.elapsed());
        assert!(!facts.commands.is_empty(), "{shown}");
    }
    for line in lines.iter().filter(|line| line.len() > 64 * 1024) {
        assert_eq!(facts(line).opaque(), BTreeSet::from([Reason::TooLong]));
    }
}

/// As the fuzz target has it, for every beginning of every line of the corpus.
#[test]
fn any_text_has_facts_and_a_shell_in_a_shell_runs_the_same() {
    for case in corpus() {
        let cuts = case.line.char_indices().map(|(at, _)| at).chain([case.line.len()]).step_by(4);
        for line in cuts.map(|end| &case.line[..end]) {
            let plain = facts(line);
            assert!(
                plain.commands.iter().all(|command| command.name.is_some() || !command.opaque.is_empty()),
                "{line:?}"
            );
            let wrapped = facts(format!("sh -c '{}'", line.replace('\'', "'\\''")));
            let inner = |facts: &Facts| names(facts).into_iter().filter(|name| name != ":").collect::<Vec<_>>();
            if !wrapped.opaque().contains(&Reason::Encoding) && !wrapped.opaque().contains(&Reason::Control) {
                assert_eq!(inner(&wrapped)[1..], inner(&plain), "{line:?}");
            }
        }
    }
    assert_eq!(facts(b"ls \xff").opaque(), BTreeSet::from([Reason::Encoding]));
}

/// A folder with programs that only note how they were called.
struct Stubs {
    folder: tempfile::TempDir,
}

/// The programs of the lines below.
const STUBS: [&str; 10] = ["a", "b", "c", "d", "ls", "rm", "cat", "tee", "nc", "x"];

impl Stubs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for place in ["bin", "work"] {
            fs::create_dir(folder.path().join(place)).unwrap();
        }
        let text = "#!/bin/dash\nprintf '%s\\037' \"${0##*/}\" \"$@\" > \"$LOG/$$\"\n";
        for name in STUBS {
            let path = folder.path().join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // Wrappers run what they wrap, without the machine's own programs.
        for name in ["env", "nohup", "nice", "timeout", "xargs", "sh", "bash", "setsid"] {
            let real =
                ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists());
            std::os::unix::fs::symlink(real.unwrap(), folder.path().join("bin").join(name)).unwrap();
        }
        Self { folder }
    }

    /// What `shell` runs for `line`. Who still runs in the background notes it where nobody looks any more.
    fn run(&self, shell: &str, line: &str) -> Vec<Vec<String>> {
        let at = |place: &str| self.folder.path().join(place);
        let log = tempfile::tempdir_in(self.folder.path()).unwrap();
        Process::new("/usr/bin/timeout")
            .args(["-s", "KILL", "20", shell, "-c", line])
            .env_clear()
            .env("PATH", at("bin"))
            .env("LOG", log.path())
            .env("HOME", at("work"))
            .current_dir(at("work"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let logged = fs::read_dir(log.path()).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        logged.map(|text| text.split_terminator('\u{1f}').map(str::to_owned).collect()).collect()
    }
}

/// Whether the facts say that this may run.
fn is_named(facts: &Facts, argv: &[String]) -> bool {
    // A stub that was killed before it wrote.
    let Some((name, arguments)) = argv.split_first() else { return true };
    facts.commands.iter().filter(|command| command.name.as_ref() == Some(name)).any(|command| {
        let known = command.arguments.iter().take_while(|argument| argument.certainty == Certainty::Known);
        let known: Vec<_> = known.map(|argument| &argument.text).collect();
        let is_whole = known.len() == command.arguments.len();
        arguments.len() >= known.len()
            && arguments.iter().zip(&known).all(|(got, said)| got == *said)
            && (!is_whole || arguments.len() == known.len())
    })
}

/// Fails where a shell ran what the facts do not name.
fn compare(stubs: &Stubs, line: &str) -> usize {
    let facts = facts(line);
    let mut ran = 0;
    for shell in ["/bin/bash", "/bin/dash"] {
        let all = stubs.run(shell, line);
        ran += all.len();
        if !facts.opaque().is_empty() {
            continue;
        }
        for argv in all {
            assert!(is_named(&facts, &argv), "{shell} ran {argv:?} for {line:?}: {facts:?}");
        }
    }
    ran
}

/// Each form of the grammar, with programs that are stubs.
const LINES: &[&str] = &[
    "a",
    "a 1 2",
    "a; b",
    "a && b || c",
    "a | b | c",
    "a & b",
    "! a",
    "a\nb\n",
    "a 'x y' \"z\" q\\ r",
    "a $'\\x41' b",
    "r\\m 1",
    "r''m",
    "'rm' x",
    "a $(b 1)",
    "a `b 1`",
    "a \"$(b)\" '$(c)'",
    "a \"`b`\"",
    "x=$(a) b",
    "x=1 a",
    "x=1; a $x",
    "a > f; b < f",
    "a 2>&1 >f",
    "> f a 1",
    "a <<E\n$(b)\nE\nc",
    "a <<'E'\n$(b)\nE\nc",
    "a <<-E\n\tx\n\tE\nb",
    "a <<E1 <<E2\n$(b)\nE1\n$(c)\nE2\nd",
    "{ a; b; }",
    "(a; b)",
    "if a; then b; else c; fi",
    "if ! a; then b; fi",
    "until a; do b; done",
    "for i in 1 2; do a $i; done",
    "for i; do a; done",
    "case x in (x) a;; *) b;; esac",
    "case $(a) in x) b;; y|z) c;; esac",
    "f() { a; }; f",
    "f() (a); f 1",
    "a # b\nc",
    "a#b",
    "a \\\n b",
    "eval 'a 1; b'",
    "eval a '$(b)'",
    "command a",
    "exec a 1",
    "env a 1",
    "env X=1 a",
    "env -i PATH=$PATH a",
    "nohup a",
    "nice -n 1 a 1",
    "timeout 5 a",
    "sh -c 'a 1; b'",
    "bash -c 'a; b' c",
    "bash -ec 'a'",
    "sh <<'E'\na\nb\nE",
    "bash <<< 'a 1'",
    "b | xargs a 1",
    "time a 1",
    "time -p a",
    "trap 'a 1' EXIT; b",
    "a *",
    "a {x,y}",
    "a ~",
    "a ~/x",
    "a \"*\"",
    "a [x]",
    "a x=1",
    "a -- -x",
    "a '' b",
    "a \"\"",
    "cat < f | b",
    "x() { a; }; b | x",
    "a;b;",
    "a ;\nb",
    "[ -n x ] && a",
    "test -z x || a",
    "[[ -n x ]] && a",
    "a $((1+2))",
    "a ${x:-y}",
    "a ${#x}",
    "a $# $?",
    "a \"$@\"",
    "echo x | cat | tee f",
    "a <(b)",
    "a >f 2>f",
    "a &> f",
    "a |& b",
    "a <<< \"$(b)\"",
    "a b>f c",
    "a 2>f b",
    "a 2 >f",
    "a \"x\ny\"",
    "if a\nthen b\nfi",
    "while ! a; do b; done",
    "a && { b; } || (c)",
    "a; { b; }; (c)",
    "a $(b $(c))",
    "a $(b \"$(c ')')\")",
    "a \"$(b ')')\"",
    "a $(b '#' x)",
    "a `b 'x'`",
    "case a in a) b;& b) c;; esac",
    "setsid -w a",
    "a\\\tb",
    "a ';' b",
    "a \\; b",
    "a '|' \\| b",
    "\\a",
    "a\"b\"c",
    "''a",
    "a''",
    "$'a' 1",
    "a $\"x\"",
    "export X=1; a",
    "x=a; b $x",
    "unset x; a",
    "set -e; a",
    "cd .; a",
    "a ${x#y} ${x%y}",
    "a $x[0]",
    "a ?",
    "a $$",
];

#[test]
fn real_shells_run_nothing_that_the_facts_do_not_name() {
    let stubs = Stubs::new();
    let ran: usize = LINES.iter().map(|line| compare(&stubs, line)).sum();
    assert!(ran > LINES.len(), "{ran} programs ran");
}

#[test]
fn real_shells_run_nothing_else_for_words_and_operators_in_any_order() {
    const PIECES: [&str; 62] = [
        "a", "b", "c", "ls", "rm", "x=1", "'", "\"", "\\", "`", "$(", ")", "(", "{", "}", ";", "&", "|", "&&", "||",
        "\n", "#", "<<E\n", "\nE\n", ">f", "<f", "2>&1", "if", "then", "fi", "case", "in", "esac", ";;", "for", "do",
        "done", "!", "$'", "\\'", "$x", "${x}", "${x:-", "*", "a=", "=(", "<(", "$((", "))", "[[", "]]", "time",
        "exec", "eval", "-c", "sh", "command", "1", "\\\n", "else", "\t", "function",
    ];
    let stubs = Stubs::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % most
    };
    let (mut clear, mut ran) = (0, 0);
    for _ in 0..ROUNDS {
        let mut line = String::from(["", "a ", "x=1 ", "echo "][next(4)]);
        for _ in 0..2 + next(12) {
            line.push_str(PIECES[next(PIECES.len())]);
            line.push_str(["", " ", " "][next(3)]);
        }
        ran += compare(&stubs, &line);
        clear += usize::from(facts(&line).opaque().is_empty());
    }
    assert!(ran > 0 && clear > 0, "{ran} programs ran, {clear} lines are clear");
}

/// Enough to see every piece beside every other, in seconds.
const ROUNDS: usize = 250;
