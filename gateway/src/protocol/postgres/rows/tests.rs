//! Messages in, messages out: what is hidden is gone, what comes out is whole, and what is malformed is refused.

use proptest::prelude::*;

use super::*;
use crate::instructions::at_most;
use crate::masking::class::{Class, Show};
use crate::masking::detect::tests::samples;
use crate::masking::plan::Columns;
use crate::protocol::postgres::copy_out::CopyFormat;
use crate::protocol::postgres::values::put_value;

const TEXT: u32 = 25;

pub(super) fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

/// Columns by type and format.
fn description(columns: &[(u32, u16)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (oid, format) in columns {
        body.extend_from_slice(b"name\0");
        body.extend_from_slice(&16_400_u32.to_be_bytes());
        body.extend_from_slice(&1_i16.to_be_bytes());
        body.extend_from_slice(&oid.to_be_bytes());
        body.extend_from_slice(&[0xff; 6]);
        body.extend_from_slice(&format.to_be_bytes());
    }
    framed(b'T', &body)
}

pub(super) fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    assert!(values.iter().all(|value| put_value(*value, &mut body)));
    framed(b'D', &body)
}

/// The values of a row; panics where it is none.
fn values(message: &[u8]) -> Vec<Option<Vec<u8>>> {
    assert_eq!(u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize + 1, message.len());
    let (count, mut rest) = body(message).split_first_chunk::<2>().unwrap();
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (value, after) = split_value(rest).unwrap();
        values.push(value.map(<[u8]>::to_vec));
        rest = after;
    }
    assert!(rest.is_empty());
    values
}

fn rewriter(columns: Columns, texts: Texts) -> ResultRewriter {
    let plan = StatementPlan { result: ResultPlan { columns, texts }, copy: None };
    ResultRewriter::new(Arc::default(), vec![plan])
}

fn detecting() -> ResultRewriter {
    rewriter(Columns::All(Treatment::default()), Texts::Detect)
}

fn rewritten(rewriter: &mut ResultRewriter, kind: Backend, message: &[u8]) -> Result<Vec<u8>, RewriteError> {
    let mut out = b"before".to_vec();
    match rewriter.rewrite(kind, message, &mut out)? {
        Pass::Forward => Ok(message.to_vec()),
        Pass::Replaced => Ok(out.split_off(6)),
    }
}

fn secret() -> Arc<Class> {
    Class::new("secret", None, Show::Redact)
}

#[test]
fn masks_labelled_columns_and_passes_the_rest_on() {
    let columns = vec![Treatment::Mask(secret()), Treatment::default(), Treatment::Unknown(secret()), Treatment::Pass];
    let mut rewriter = rewriter(Columns::Each(columns), Texts::Scrub);
    let described = description(&[(TEXT, 0), (23, 1), (20, 1), (TEXT, 0)]);
    assert_eq!(rewritten(&mut rewriter, Backend::RowDescription, &described).unwrap(), described);
    let card = b"4242424242424242";
    let message = row(&[Some(b"Anna"), Some(&7_i32.to_be_bytes()), Some(&[0, 0, 0, 0, 0, 0, 0, 9]), Some(card)]);
    let out = values(&rewritten(&mut rewriter, Backend::DataRow, &message).unwrap());
    assert_eq!(out[0].as_deref(), Some("[secret•••]".as_bytes()));
    assert_eq!(out[1].as_deref(), Some(&7_i32.to_be_bytes()[..]));
    assert_eq!(out[2].as_deref(), Some(&[0; 8][..]));
    assert_eq!(out[3].as_deref(), Some(&card[..]));
    let nulls = row(&[None, None, None, None]);
    let out = values(&rewritten(&mut rewriter, Backend::DataRow, &nulls).unwrap());
    // An expression can be NULL for what its label holds.
    assert_eq!(out, [None, None, Some(vec![0; 8]), None]);
}

#[test]
fn a_row_takes_so_many_instructions() {
    let columns = vec![Treatment::Mask(secret()), Treatment::default(), Treatment::Mask(secret()), Treatment::Pass];
    let mut rewriter = rewriter(Columns::Each(columns), Texts::Detect);
    rewritten(&mut rewriter, Backend::RowDescription, &description(&[(TEXT, 0); 4])).unwrap();
    let text = "a line of text as tables have them, 12 of 2026-11-01, nothing that is hidden";
    let message = row(&[Some(b"Anna"), Some(text.as_bytes()), Some(b"hunter2"), Some(b"7")]);
    let mut out = Vec::with_capacity(4096);
    at_most(module_path!(), "a_row_takes_so_many_instructions", 42_000, || {
        out.clear();
        assert_eq!(rewriter.rewrite(Backend::DataRow, &message, &mut out).unwrap(), Pass::Replaced);
    });
}

#[test]
fn null_looks_like_any_value_where_it_may_not_be_told() {
    let masking = Masking { keep_null: false, ..Masking::default() };
    let plan = StatementPlan {
        result: ResultPlan { columns: Columns::All(Treatment::Mask(secret())), texts: Texts::Scrub },
        copy: None,
    };
    let mut rewriter = ResultRewriter::new(Arc::new(masking), vec![plan]);
    rewritten(&mut rewriter, Backend::RowDescription, &description(&[(TEXT, 0)])).unwrap();
    let null = rewritten(&mut rewriter, Backend::DataRow, &row(&[None])).unwrap();
    assert_eq!(null, rewritten(&mut rewriter, Backend::DataRow, &row(&[Some(b"Anna")])).unwrap());
}

#[test]
fn each_statement_of_a_query_has_its_own_plan_and_no_more() {
    let masked = StatementPlan {
        result: ResultPlan { columns: Columns::All(Treatment::Mask(secret())), texts: Texts::Detect },
        copy: None,
    };
    let mut rewriter = ResultRewriter::new(Arc::default(), vec![StatementPlan::default(), masked]);
    let (described, message) = (description(&[(TEXT, 0)]), row(&[Some(b"Anna")]));
    let done = framed(b'C', b"SELECT 1\0");
    for is_masked in [false, true] {
        assert!(rewritten(&mut rewriter, Backend::DataRow, &message).is_err());
        rewritten(&mut rewriter, Backend::RowDescription, &described).unwrap();
        assert_eq!(rewritten(&mut rewriter, Backend::DataRow, &message).unwrap() != message, is_masked);
        assert_eq!(rewritten(&mut rewriter, Backend::CommandComplete, &done).unwrap(), done);
    }
    assert!(rewritten(&mut rewriter, Backend::RowDescription, &described).is_err());
}

#[test]
fn every_malformed_row_and_description_is_refused() {
    let mut rewriter = detecting();
    let described = description(&[(TEXT, 0), (TEXT, 1)]);
    for end in 0..described.len() {
        assert!(rewritten(&mut rewriter, Backend::RowDescription, &described[..end]).is_err(), "{end}");
    }
    rewritten(&mut rewriter, Backend::RowDescription, &described).unwrap();
    let message = row(&[Some(b"ab"), Some(b"c")]);
    for end in 0..message.len() {
        assert!(rewritten(&mut rewriter, Backend::DataRow, &message[..end]).is_err(), "{end}");
    }
    for odd in [
        [&message[..], b"x"].concat(),
        row(&[Some(b"ab")]),
        row(&[None, None, None]),
        framed(b'D', b"\0\x02\xff\xff\xff\xfe\0\0\0\0"),
        framed(b'D', b"\0\x02\x7f\xff\xff\xff\0\0\0\0"),
    ] {
        assert!(rewritten(&mut rewriter, Backend::DataRow, &odd).is_err());
    }
    for kind in [Backend::FunctionCallResponse, Backend::CopyBothResponse, Backend::CopyData, Backend::CopyOutResponse]
    {
        assert!(rewritten(&mut rewriter, kind, &message).is_err());
    }
}

#[test]
fn a_scrubbed_error_keeps_what_programs_act_on() {
    let error = framed(
        b'E',
        b"SERROR\0VERROR\0C23505\0Mkey 123-45-6789\0DKey (ssn)=(123-45-6789)\0Hx\0Wy\0qz\0P7\0nuq\0Fnbt.c\0L1\0Rf\0\0",
    );
    let scrubbed =
        rewritten(&mut rewriter(Columns::All(Treatment::Pass), Texts::Scrub), Backend::ErrorResponse, &error);
    let scrubbed = scrubbed.unwrap();
    let fields: Vec<_> = body(&scrubbed).split(|byte| *byte == 0).filter_map(|field| field.first()).collect();
    assert_eq!(fields, [&b'S', &b'V', &b'C', &b'M', &b'F', &b'L', &b'R']);
    assert!(!String::from_utf8_lossy(&scrubbed).contains("123"));
    let searched = rewritten(&mut detecting(), Backend::NoticeResponse, &error).unwrap();
    let text = String::from_utf8_lossy(&searched).into_owned();
    assert!(text.contains("Key (ssn)=([ssn•••])") && text.contains("nuq") && !text.contains("6789"), "{text}");
    for end in 5..error.len() {
        let cut = framed(b'E', &error[5..end]);
        assert!(rewritten(&mut detecting(), Backend::ErrorResponse, &cut).is_err(), "{end}");
    }
}

#[test]
fn what_code_of_the_database_says_is_hidden_and_what_the_server_says_is_not() {
    let said = |context: &str| framed(b'N', format!("SNOTICE\0C00000\0Mraw words\0W{context}\0Fa.c\0\0").as_bytes());
    let told = |message: &[u8]| {
        let mut rewriter = rewriter(Columns::All(Treatment::Pass), Texts::ScrubCode);
        let out = rewritten(&mut rewriter, Backend::NoticeResponse, message).unwrap();
        String::from_utf8_lossy(&out).contains("raw words")
    };
    let trigger = "SQL statement \"INSERT INTO t\"\nPL/pgSQL function tells() line 1 at RAISE";
    assert!(!told(&said(trigger)) && !told(&said("JSON data, line 1: x\nSQL function \"f\" statement 1")));
    assert!(told(&said("")) && told(&said("COPY t, line 3, column a: \"x\"")) && told(&said("JSON data, line 1: x")));
    assert!(told(&framed(b'N', b"SNOTICE\0C00000\0Mraw words\0Fa.c\0\0")));
    let mut rewriter = rewriter(Columns::All(Treatment::Pass), Texts::ScrubCode);
    let notified = framed(b'A', b"\0\0\0\x01c\0raw words\0");
    let out = rewritten(&mut rewriter, Backend::NotificationResponse, &notified).unwrap();
    assert!(!String::from_utf8_lossy(&out).contains("raw words"));
}

#[test]
fn notifications_and_settings_are_searched_or_scrubbed() {
    let notified = framed(b'A', b"\0\0\0\x01channel\x00123-45-6789\0");
    let out = rewritten(&mut detecting(), Backend::NotificationResponse, &notified).unwrap();
    assert!(String::from_utf8_lossy(&out).contains("[ssn•••]"));
    let mut scrubs = rewriter(Columns::All(Treatment::Pass), Texts::Scrub);
    let out = rewritten(&mut scrubs, Backend::NotificationResponse, &framed(b'A', b"\0\0\0\x01c\0data\0")).unwrap();
    assert!(!String::from_utf8_lossy(&out).contains("data"));
    let setting = framed(b'S', b"application_name\x00123-45-6789\0");
    let out = rewritten(&mut detecting(), Backend::ParameterStatus, &setting).unwrap();
    assert!(!String::from_utf8_lossy(&out).contains("6789"));
    assert!(rewritten(&mut detecting(), Backend::ParameterStatus, &framed(b'S', b"a\0b")).is_err());
}

fn copying(format: CopyFormat, columns: Vec<Treatment>) -> ResultRewriter {
    let shape = CopyShape { format, has_header: false, types: Vec::new() };
    let plan = StatementPlan {
        result: ResultPlan { columns: Columns::Each(columns), texts: Texts::Scrub },
        copy: Some(shape),
    };
    ResultRewriter::new(Arc::default(), vec![plan])
}

fn text() -> CopyFormat {
    CopyFormat::Text { delimiter: b'\t', null: b"\\N".to_vec() }
}

fn csv() -> CopyFormat {
    CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: Vec::new() }
}

#[test]
fn masks_copy_rows_in_text_and_csv() {
    let columns = || vec![Treatment::default(), Treatment::Mask(secret()), Treatment::default()];
    for (format, from, to) in [
        (text(), "a\\tb\tAnna\t\\N\n", "a\\tb\t[secret•••]\t\\N\n"),
        (text(), "4242424242424242\t\\N\tx\\\\\n", "•••4242\t\\N\tx\\\\\n"),
        (text(), "123-45-6789\\n\tAnna\\\\\t\n", "[ssn•••]\\n\t[secret•••]\t\n"),
        (csv(), "\"a,\"\"b\n\",Anna,\n", "\"a,\"\"b\n\",\"[secret•••]\",\n"),
        (csv(), "\"x\"\"123-45-6789\",,\"\"\n", "\"x\"\"[ssn•••]\",,\"\"\n"),
    ] {
        let mut rewriter = copying(format, columns());
        rewritten(&mut rewriter, Backend::CopyOutResponse, &framed(b'H', &[0, 0, 3, 0, 0, 0, 0, 0, 0])).unwrap();
        let out = rewritten(&mut rewriter, Backend::CopyData, &framed(b'd', from.as_bytes())).unwrap();
        assert_eq!(out, framed(b'd', to.as_bytes()), "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn copy_data_that_is_not_one_row_is_refused() {
    for (format, data) in [
        (text(), "a\tb\nc\td\n"),
        (text(), "a\tb"),
        (text(), "a\n"),
        (text(), "a\tb\tc\n"),
        (text(), "a\tb\\\n"),
        (csv(), "a,b\nc,d\n"),
        (csv(), "a,\"b\n"),
        (csv(), "a\n"),
    ] {
        let mut rewriter = copying(format, vec![Treatment::default(), Treatment::Mask(secret())]);
        rewritten(&mut rewriter, Backend::CopyOutResponse, &framed(b'H', &[0, 0, 2, 0, 0, 0, 0])).unwrap();
        assert!(rewritten(&mut rewriter, Backend::CopyData, &framed(b'd', data.as_bytes())).is_err(), "{data}");
    }
    // Another format than the planned one, and binary with a mask.
    let binary = framed(b'H', &[1, 0, 1, 0, 1]);
    assert!(rewritten(&mut copying(text(), vec![Treatment::default()]), Backend::CopyOutResponse, &binary).is_err());
    let mut masked = copying(CopyFormat::Binary, vec![Treatment::Mask(secret())]);
    assert!(rewritten(&mut masked, Backend::CopyOutResponse, &binary).is_err());
    let mut searched = copying(CopyFormat::Binary, vec![Treatment::default()]);
    rewritten(&mut searched, Backend::CopyOutResponse, &binary).unwrap();
    assert!(rewritten(&mut searched, Backend::CopyData, &framed(b'd', b"\0\x01\0\0\0\x0b123-45-6789")).is_err());
    assert!(rewritten(&mut searched, Backend::CopyData, &framed(b'd', b"\0\x01\0\0\0\x01x")).is_ok());
}

/// A cell of each kind that holds a secret, as the server would send it.
fn cell(kind: usize, before: &str, secret: &str, after: &str) -> (u32, u16, Vec<u8>) {
    let text = format!("{before}\n{secret}\n{after}");
    let json = serde_json::json!({ "k": [1, { "v": text }] }).to_string();
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    match kind {
        0 => (TEXT, 0, text.into_bytes()),
        1 => (1043, 1, text.into_bytes()),
        2 => (114, 0, json.into_bytes()),
        3 => (3802, 1, [&[1], json.as_bytes()].concat()),
        4 => (17, 0, format!("\\x{hex}").into_bytes()),
        5 => (17, 1, text.into_bytes()),
        6 => (1009, 0, format!("{{\"{}\"}}", text.replace('\\', "\\\\").replace('"', "\\\"")).into_bytes()),
        7 => (2249, 1, [&[0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 99], text.as_bytes()].concat()),
        _ => (142, 0, format!("<a>{}</a>", text.replace('&', "&amp;").replace('<', "&lt;")).into_bytes()),
    }
}

proptest! {
    #[test]
    fn no_secret_survives_in_any_cell(
        kinds in proptest::collection::vec((0_usize..9, 0_usize..13, any::<bool>()), 1..6),
        before in "[ -~\\n•]{0,30}",
        after in "[ -~\\n•]{0,30}",
    ) {
        let samples = samples();
        let cells: Vec<_> = kinds.iter().map(|(kind, which, _)| cell(*kind, &before, &samples[*which].1, &after)).collect();
        let treatments = kinds.iter().map(|(_, _, labelled)| match labelled {
            true => Treatment::Mask(secret()),
            false => Treatment::default(),
        });
        let mut rewriter = rewriter(Columns::Each(treatments.collect()), Texts::Scrub);
        let described: Vec<_> = cells.iter().map(|(oid, format, _)| (*oid, *format)).collect();
        rewritten(&mut rewriter, Backend::RowDescription, &description(&described)).unwrap();
        let message = row(&cells.iter().map(|(_, _, value)| Some(value.as_slice())).collect::<Vec<_>>());
        let out = rewritten(&mut rewriter, Backend::DataRow, &message).unwrap();
        let shown = values(&out);
        prop_assert_eq!(shown.len(), cells.len());
        for ((value, (oid, format, _)), (_, which, _)) in shown.iter().zip(&cells).zip(&kinds) {
            let Some(value) = value else { continue };
            let secret = &samples[*which].1;
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let text = String::from_utf8_lossy(value);
            prop_assert!(!text.contains(secret.as_str()) && !text.contains(&hex), "{}", text);
            prop_assert!(!text.contains(&secret.replace('\n', "\\n")), "{}", text);
            if *oid == 114 || *oid == 3802 {
                let json = &value[usize::from(*format == 1)..];
                prop_assert!(serde_json::from_slice::<serde_json::Value>(json).is_ok(), "{}", text);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for kind in [Backend::RowDescription, Backend::DataRow, Backend::ErrorResponse, Backend::NotificationResponse] {
            let mut rewriter = detecting();
            rewriter.columns = Some(vec![Column { kind: Kind::Json, format: Format::Text, treatment: Treatment::default(), hidden: 0 }; 2]);
            let _ = rewritten(&mut rewriter, kind, &framed(b'x', &bytes));
        }
    }
}
