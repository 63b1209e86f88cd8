//! Each rule, shown to fail on a bad file and to pass a good one.

use super::faults;
use super::source::Source;

/// The faults of a file whose first line is as it should be.
fn found(path: &str, body: &str) -> Vec<String> {
    let text = format!("//! A file.\n{body}");
    faults(&Source::new(path, &text)).into_iter().map(|fault| fault.text).collect()
}

#[track_caller]
fn breaks(path: &str, body: &str, rule: &str) {
    let found = found(path, body);
    assert!(found.iter().any(|text| text.contains(rule)), "{body:?} should break {rule:?}, found {found:?}");
}

#[track_caller]
fn passes(path: &str, body: &str) {
    assert_eq!(found(path, body), Vec::<String>::new(), "{body:?}");
}

#[test]
fn wants_a_header_on_the_first_line() {
    let source = Source::new("xtask/src/a.rs", "use std::fs;\n//! Late.\n");
    assert!(faults(&source).iter().any(|fault| fault.text.contains("start with `//!`") && fault.line == 1));
    passes("xtask/src/a.rs", "fn a() {}\n");
}

#[test]
fn counts_lines_without_tests() {
    let code = "fn a() {}\n".repeat(601);
    breaks("xtask/src/a.rs", &code, "lines without tests");
    passes("xtask/src/a.rs", &format!("// TABLE:\n{code}"));
    passes("xtask/src/a/tests.rs", &code);
    let half = "fn a() {}\n".repeat(590);
    passes("xtask/src/a.rs", &format!("{half}#[cfg(test)]\nmod tests {{\n{}}}\n", "fn b() {}\n".repeat(100)));
}

#[test]
fn wants_long_tests_in_their_own_file_and_short_ones_at_the_bottom() {
    let module = |lines: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn a() {}\n".repeat(lines));
    breaks("xtask/src/a.rs", &module(160), "move them to `tests.rs`");
    breaks("xtask/src/a.rs", &format!("{}fn b() {{}}\n", module(3)), "at the bottom");
    passes("xtask/src/a.rs", &module(100));
}

#[test]
fn bans_unfinished_code_and_skipped_tests() {
    breaks("xtask/src/a.rs", "fn a() { todo!() }\n", "unfinished");
    breaks("xtask/src/a.rs", "fn a() { unimplemented!() }\n", "unfinished");
    breaks("xtask/src/a.rs", "fn a() { dbg!(1); }\n", "dbg");
    breaks("xtask/src/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n", "skipped");
    passes("xtask/src/a.rs", "// A todo!() in words.\nconst A: &str = \"dbg!(#[ignore])\";\n");
}

#[test]
fn wants_an_issue_beside_a_todo() {
    breaks("xtask/src/a.rs", "// TODO later\n", "TODO(#issue)");
    breaks("xtask/src/a.rs", "/* FIXME(#3) */\n", "TODO(#issue)");
    passes("xtask/src/a.rs", "// TODO(#12): later\nconst A: &str = \"TODO\";\n");
}

#[test]
fn keeps_unsafe_in_its_two_crates() {
    breaks("gateway/src/host/a.rs", "fn a() { unsafe { b() } }\n", "`unsafe` outside");
    breaks("gateway/tests/it/a.rs", "unsafe fn a() {}\n", "`unsafe` outside");
    passes("gateway-common/src/sys.rs", "fn a() { unsafe { b() } }\n");
    passes("gateway-ebpf/src/main.rs", "fn a() { unsafe { b() } }\n");
    passes("gateway/src/host/a.rs", "// unsafe\nconst A: &str = r#\"unsafe \"quoted\"\"#;\n");
}

#[test]
fn wants_unsafe_forbidden_in_the_crate_roots() {
    breaks("gateway/src/lib.rs", "pub mod id;\n", "forbid(unsafe_code)");
    passes("gateway/src/lib.rs", "#![forbid(unsafe_code)]\npub mod id;\n");
}

#[test]
fn lets_no_test_sleep_but_the_one_that_waits() {
    breaks("gateway/tests/it/a.rs", "fn a() { std::thread::sleep(x); }\n", "sleeps");
    breaks(
        "gateway/src/host/a.rs",
        "#[cfg(test)]\nmod tests {\n    async fn a() { tokio::time::sleep(x).await; }\n}\n",
        "sleeps",
    );
    passes("gateway/tests/it/wait.rs", "fn a() { std::thread::sleep(x); }\n");
    passes(
        "gateway/tests/it/a.rs",
        "#[tokio::test(start_paused = true)]\nasync fn a() { tokio::time::sleep(x).await; }\n",
    );
    passes("gateway/src/host/a.rs", "fn a() { std::thread::sleep(x); }\n");
}

#[test]
fn lets_imports_go_down_the_flow_only() {
    breaks("gateway/src/policy/evaluate.rs", "use crate::protocol::Protocol;\n", "`policy` must not import `protocol`");
    breaks(
        "gateway/src/policy/evaluate.rs",
        "use crate::{id::A, capture::{B, C}};\n",
        "`policy` must not import `capture`",
    );
    breaks(
        "gateway/src/policy/evaluate.rs",
        "use super::super::identity::Workload;\n",
        "`policy` must not import `identity`",
    );
    breaks("gateway/src/policy/mod.rs", "use super::identity::Workload;\n", "`policy` must not import `identity`");
    breaks("gateway/src/policy/decision.rs", "use crate::approval::Ticket;\n", "`policy` must not import `approval`");
    breaks("gateway/src/secret.rs", "use crate::audit::Journal;\n", "`secret` must not import `audit`");
    breaks("gateway/src/audit/event.rs", "use crate::session::Session;\n", "`audit` must not import `session`");
    passes("gateway/src/protocol/mod.rs", "use crate::{policy::A, masking::{self, B}, id::C};\nuse super::audit::D;\n");
    passes("gateway/src/policy/evaluate.rs", "use super::decision::Decision;\npub(in crate::policy) fn a() {}\n");
    passes("gateway/src/session.rs", "use crate::capture::Origin;\nuse crate::engine::Engine;\n");
    passes("gateway/src/policy/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::protocol::Protocol;\n}\n");
}

#[test]
fn knows_every_module_of_the_root() {
    breaks("gateway/src/extra/mod.rs", "use crate::id::A;\n", "`extra` is in no layer");
    breaks("gateway/src/policy/a.rs", "use crate::SessionId;\n", "`SessionId` is in no layer");
}

#[test]
fn keeps_each_big_library_at_home() {
    breaks("gateway/src/host/cgroup.rs", "use aya::maps::HashMap;\n", "`aya` outside");
    breaks("gateway/src/protocol/mod.rs", "fn a(p: &cedar_policy::PolicySet) {}\n", "`cedar_policy` outside");
    breaks("gateway/src/protocol/postgres/sql/classify.rs", "use pg_raw_parse::Node;\n", "`pg_raw_parse` outside");
    breaks("gateway/src/policy/load.rs", "use hyper;\n", "`hyper` outside");
    breaks("gateway/src/warden/mod.rs", "fn a() { ::landlock::x(); }\n", "`landlock` outside");
    passes("gateway/src/capture/hook.rs", "use aya::Ebpf;\n");
    passes("gateway/src/protocol/postgres/sql/parse/walk.rs", "use pg_raw_parse::Node;\n");
    passes("gateway/src/host/a.rs", "fn a(hyper: u8) { b(hyper); gateway_common::aya::c(); }\n");
}

#[test]
fn wants_the_steps_declared_in_flow_order() {
    breaks("gateway/src/lib.rs", "#![forbid(unsafe_code)]\npub mod policy;\npub mod protocol;\n", "flow order");
    passes("gateway/src/lib.rs", "#![forbid(unsafe_code)]\npub mod protocol;\npub mod upstream;\npub mod policy;\n");
}

#[test]
fn tells_code_from_literals_and_comments() {
    let text = "//! A.\nlet a = '\"'; unsafe_name(); // b \"\nlet c = b\"x\\\"unsafe\"; let d: &'a str = \"\n unsafe \"; /* unsafe /* in */ unsafe */ e();\nlet f = '\\''; let g = br##\"unsafe \"# \"##;";
    let source = Source::new("xtask/src/a.rs", text);
    let code: Vec<&str> = source.lines.iter().map(|line| line.code.trim()).collect();
    assert_eq!(
        code,
        ["", "let a = ; unsafe_name();", "let c = b; let d: &'a str =", ";  e();", "let f = ; let g = b;"]
    );
    assert_eq!(faults(&source), []);
}
