//! Rows of COPY: masks change no other value.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::masking::class::{Class, Show};

fn rows(format: CopyFormat, masked: &[bool]) -> CopyRows {
    let class = Class::new("secret", None, Show::Redact);
    let treatment = |is_masked: &bool| match is_masked {
        true => Treatment::Mask(Arc::clone(&class)),
        false => Treatment::default(),
    };
    let columns = masked.iter().map(treatment).map(|treatment| Column {
        kind: Kind::Text,
        format: Format::Text,
        treatment,
        hidden: 0,
    });
    CopyRows { format, awaits_header: false, columns: columns.collect(), masks: masked.contains(&true) }
}

/// One CopyData, as a server writes it.
fn written(rows: &CopyRows, delimiter: u8, null: &[u8], values: &[Option<String>]) -> Vec<u8> {
    let mut message = vec![b'd', 0, 0, 0, 0];
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            message.push(delimiter);
        }
        match value {
            Some(value) => rows.encode(value.as_bytes(), &mut message),
            None => message.extend_from_slice(null),
        }
    }
    message.push(b'\n');
    close(0, &mut message).unwrap();
    message
}

/// The values of a row.
fn read(rows: &CopyRows, delimiter: u8, null: &[u8], message: &[u8]) -> Vec<Option<String>> {
    let mut rest = body(message).strip_suffix(b"\n");
    let mut values = Vec::new();
    while let Some(row) = rest {
        let (raw, after) = rows.split(row, delimiter).unwrap();
        values.push((raw != null).then(|| String::from_utf8(rows.decode(raw)).unwrap()));
        rest = after;
    }
    values
}

proptest! {
    #[test]
    fn a_masked_row_is_a_row_with_the_other_values_as_they_were(
        cells in proptest::collection::vec((proptest::option::of("[a-z\\\\\t\n\r,|;\"' 4]{0,12}"), any::<bool>()), 1..6),
        which in 0_usize..4,
    ) {
        let (delimiter, null, format) = match which {
            0 => (b'\t', &b"\\N"[..], CopyFormat::Text { delimiter: b'\t', null: b"\\N".to_vec() }),
            1 => (b'|', &b"NIL"[..], CopyFormat::Text { delimiter: b'|', null: b"NIL".to_vec() }),
            2 => (b',', &b""[..], CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: Vec::new() }),
            _ => (b';', &b"NIL"[..], CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'\\', null: b"NIL".to_vec() }),
        };
        let (values, masked): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
        let mut rows = rows(format, &masked);
        let message = written(&rows, delimiter, null, &values);
        prop_assert_eq!(&read(&rows, delimiter, null, &message), &values);
        let mut out = Vec::new();
        if rows.row(&message, &Masking::default(), &mut out).unwrap() == Pass::Forward {
            out.clone_from(&message);
        }
        let expected = values.iter().zip(&masked).map(|(value, is_masked)| match value {
            Some(_) if *is_masked => Some("[secret•••]".to_owned()),
            value => value.clone(),
        });
        let expected = expected.collect::<Vec<_>>();
        prop_assert_eq!(read(&rows, delimiter, null, &out), expected);
        if !masked.contains(&true) {
            prop_assert_eq!(out, message);
        }
    }
}
