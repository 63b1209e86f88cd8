//! What is kept of results: what the client got, from its beginning, within bounds.

use std::fmt::Write as _;

use super::*;
use crate::masking::plan::{Columns as Plan, ResultPlan, Texts, Treatment};
use crate::protocol::postgres::copy_out::{CopyFormat, CopyShape};
use crate::protocol::postgres::rows::StatementPlan;
use crate::protocol::postgres::rows::tests::{framed, row};

fn description(columns: &[(&str, u32, u16)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (name, oid, format) in columns {
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&[0; 7]);
        body.extend_from_slice(&oid.to_be_bytes());
        body.extend_from_slice(&[0xff; 6]);
        body.extend_from_slice(&format.to_be_bytes());
    }
    framed(b'T', &body)
}

/// A recorder of so many rows over statements in which detectors mask.
fn recorder(rows: u64, statements: usize) -> Recorder {
    let copy = Some(CopyShape {
        format: CopyFormat::Text { delimiter: b'\t', null: b"\\N".as_slice().into() },
        has_header: false,
        types: Vec::new(),
    });
    let result = ResultPlan { columns: Plan::All(Treatment::default()), texts: Texts::Detect };
    let plans = (0..statements).map(|_| StatementPlan { result: result.clone(), copy: copy.clone() }).collect();
    Recorder::new(ResultRewriter::new(Arc::default(), plans), rows)
}

/// Gives it messages, and says what is kept.
fn kept(mut recorder: Recorder, messages: &[(Backend, Vec<u8>)]) -> ResultsShown {
    let mut out = Vec::new();
    for (kind, message) in messages {
        out.clear();
        recorder.rewrite(*kind, message, &mut out).unwrap();
    }
    recorder.shown()
}

fn rows_of(shown: &ResultsShown) -> String {
    let mut text = String::new();
    for result in &shown.results {
        let _ = write!(text, "{}:", result.columns.join(","));
        for row in &result.rows {
            let values: Vec<_> = row.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
            let _ = write!(text, " {}", values.join(","));
        }
        let _ = write!(text, " +{}; ", result.more);
    }
    text
}

const DONE: (Backend, &[u8]) = (Backend::CommandComplete, b"C\0\0\0\x0dSELECT 2\0");

fn done() -> (Backend, Vec<u8>) {
    (DONE.0, DONE.1.to_vec())
}

#[test]
fn the_first_rows_are_kept_as_the_client_got_them() {
    let shown = kept(
        recorder(3, 2),
        &[
            (Backend::RowDescription, description(&[("id", 23, 0), ("card", 25, 0)])),
            (Backend::DataRow, row(&[Some(b"1"), Some(b"4111111111111111")])),
            (Backend::DataRow, row(&[Some(b"2"), None])),
            done(),
            (Backend::RowDescription, description(&[("n", 25, 0)])),
            (Backend::DataRow, row(&[Some(b"a")])),
            (Backend::DataRow, row(&[Some(b"b")])),
            (Backend::DataRow, row(&[Some(b"c")])),
            done(),
        ],
    );
    let text = rows_of(&shown);
    assert!(!text.contains("4111111111111111"), "{text}");
    assert!(text.starts_with("id,card: 1,") && text.ends_with(" 2,- +0; n: a +2; "), "{text}");
    assert_eq!(shown.left_out, None);
}

#[test]
fn values_in_binary_are_read_or_kept_in_digits() {
    let columns = [
        ("bool", 16_u32),
        ("int2", 21),
        ("int4", 23),
        ("oid", 26),
        ("int8", 20),
        ("float4", 700),
        ("float8", 701),
        ("text", 25),
        ("jsonb", 3802),
        ("uuid", 2950),
        ("timestamp", 1114),
        ("timestamptz", 1184),
        ("numeric", 1700),
        ("int4", 23),
    ];
    let micros = 1_500_000_i64.to_be_bytes();
    let values: [&[u8]; 14] = [
        &[1],
        &[0xff, 0xfe],
        &7_i32.to_be_bytes(),
        &u32::MAX.to_be_bytes(),
        &(-9_i64).to_be_bytes(),
        &1.5_f32.to_be_bytes(),
        &(-0.25_f64).to_be_bytes(),
        "ä".as_bytes(),
        b"\x01{}",
        &[0xab; 16],
        &micros,
        &micros,
        &[0, 1, 0xfe],
        &[1, 2],
    ];
    let described: Vec<_> = columns.iter().map(|(name, oid)| (*name, *oid, 1)).collect();
    let shown = kept(
        recorder(1, 1),
        &[(Backend::RowDescription, description(&described)), (Backend::DataRow, row(&values.map(Some)))],
    );
    let read: Vec<_> = shown.results[0].rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(
        read,
        [
            "t",
            "-2",
            "7",
            "4294967295",
            "-9",
            "1.5",
            "-0.25",
            "ä",
            "{}",
            "abababab-abab-abab-abab-abababababab",
            "2000-01-01T00:00:01.500000",
            "2000-01-01T00:00:01.500000Z",
            "\\x0001fe",
            "\\x0102",
        ]
    );
}

#[test]
fn no_run_makes_a_line_of_the_journal_long() {
    let long = "x".repeat(5_000);
    let big: Vec<_> = (0..80).map(|_| (Backend::DataRow, row(&[Some(long.as_bytes())]))).collect();
    let messages = [vec![(Backend::RowDescription, description(&[("n", 25, 0)]))], big, vec![done()]].concat();
    let shown = kept(recorder(10_000, 1), &messages);
    let result = &shown.results[0];
    assert_eq!((result.rows.len() as u64 + result.more, result.rows.len()), (80, 64), "the beginning");
    assert!(result.rows[0][0].as_ref().unwrap().ends_with('…'));
    let nulls: Vec<_> = (0..10_000).map(|_| (Backend::DataRow, row(&[None; 100]))).collect();
    let messages = [vec![(Backend::RowDescription, description(&[("n", 25, 0); 100]))], nulls, vec![done()]].concat();
    let shown = kept(recorder(10_000, 1), &messages);
    assert!(serde_json::to_string(&shown.results).unwrap().len() < 70_000 && shown.results[0].more > 9_000);
    let many: Vec<_> =
        (0..30).flat_map(|_| [(Backend::RowDescription, description(&[("n", 25, 0)])), done()]).collect();
    let shown = kept(recorder(10, 30), &many);
    assert_eq!((shown.results.len(), shown.left_out.is_some()), (20, true));
}

#[test]
fn a_copy_is_kept_line_by_line_and_not_in_binary() {
    let copied = |format: u8| {
        let begin = framed(b'H', &[format, 0, 2, 0, format, 0, format]);
        [
            (Backend::CopyOutResponse, begin),
            (Backend::CopyData, framed(b'd', b"1\tabc\n")),
            (Backend::CopyData, framed(b'd', b"2\t\\N\n")),
            done(),
        ]
    };
    assert_eq!(rows_of(&kept(recorder(1, 1), &copied(0))), ": 1\tabc +1; ");
    let mut binary = recorder(1, 1);
    binary.look(Backend::CopyOutResponse, &copied(1)[0].1);
    binary.look(Backend::CopyData, &copied(1)[1].1);
    let shown = binary.shown();
    assert_eq!((rows_of(&shown), shown.left_out.as_deref()), (": +1; ".to_owned(), Some("COPY in binary is not read")));
}

#[test]
fn a_session_in_another_encoding_is_kept_in_utf8() {
    let mut latin = recorder(5, 1);
    latin.speaks(Encoding::find("LATIN1").unwrap());
    let shown = kept(
        latin,
        &[(Backend::RowDescription, description(&[("n", 25, 0)])), (Backend::DataRow, row(&[Some(b"\xe4")])), done()],
    );
    assert_eq!(rows_of(&shown), "n: ä +0; ");
}

proptest::proptest! {
    #[test]
    fn anything_holds(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), kind in 0..6_usize) {
        let mut recorder = recorder(3, 3);
        let kinds = [Backend::RowDescription, Backend::DataRow, Backend::CopyOutResponse, Backend::CopyData, Backend::CommandComplete, Backend::PortalSuspended];
        recorder.look(Backend::RowDescription, &description(&[("n", 2950, 1), ("m", 25, 0)]));
        recorder.look(kinds[kind], &bytes);
        recorder.look(Backend::DataRow, &bytes);
        recorder.shown();
    }
}
