//! The servers themselves say what each byte and each sequence is in every encoding that is served.
//!
//! In: every byte, every sequence of two and three, those of four; every name of an encoding. Out: a failure wherever we
//! read another character than the server, or write bytes that it reads as another; and how many we leave out.

use std::collections::{BTreeMap, BTreeSet};

use gateway::protocol::postgres::{Encoding, encodings};

use crate::cluster::Version;
use crate::sql_oracle::Client;

const READS: &str = "CREATE FUNCTION reads(b bytea, e text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN RETURN convert_from(b, e); EXCEPTION WHEN others THEN RETURN NULL; END $$";

/// Sequences by their first bytes: one, two, and three behind those that begin one of three.
const SEQUENCES: &str = "SELECT b, reads(b, $e) FROM (
    SELECT set_byte('\\x00', 0, g) b FROM generate_series(1, 255) g
    UNION ALL SELECT set_byte(set_byte('\\x0000', 0, g), 1, h) FROM generate_series(128, 255) g, generate_series(1, 255) h
        WHERE $long
    UNION ALL SELECT set_byte(set_byte(set_byte('\\x000000', 0, f), 1, g), 2, h)
        FROM generate_series(142, 143) f, generate_series(128, 255) g, generate_series(128, 255) h WHERE $e LIKE 'EUC%'
    UNION ALL SELECT decode(lpad(to_hex(129 + i / 12600), 2, '0') || to_hex(48 + i / 1260 % 10)
        || lpad(to_hex(129 + i / 10 % 126), 2, '0') || to_hex(48 + i % 10), 'hex')
        FROM generate_series(0, 39419) i WHERE $e = 'GB18030') all_of_it";

/// How many sequences with a character have none here, where that is not zero: private use, JIS X 0212 beyond what is
/// common, and those on which the servers and the WHATWG differ.
const LEFT_OUT: [(&str, usize); 5] = [("UHC", 189), ("EUC_KR", 1), ("EUC_JP", 107), ("BIG5", 288), ("GB18030", 24)];

fn every_sequence_is_read_as_the_server_reads_it(version: Version) {
    let client = Client::connect(version.plain(), &format!("encodings_{}", version.number()));
    client.must(READS);
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for name in encodings().filter(|name| *name != "UTF8") {
        let encoding = Encoding::find(name).unwrap();
        let long =
            if ["LATIN", "WIN", "KOI", "ISO"].iter().any(|kind| name.starts_with(kind)) { "false" } else { "true" };
        let text = SEQUENCES.replace("$e", &format!("'{name}'")).replace("$long", long);
        let mut known: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        for row in client.query(&text) {
            asked += 1;
            if let Some(read) = row.get::<_, Option<String>>(1) {
                known.insert(row.get(0), read);
            }
        }
        let mut left_out = 0;
        for (bytes, theirs) in &known {
            match encoding.decode(bytes) {
                Some(ours) if ours == *theirs => {}
                // Two characters side by side, of which one is left out.
                None if theirs.chars().count() > 1 => {}
                None => left_out += 1,
                Some(ours) => wrong.push(format!("{name}: {bytes:x?} is {theirs} there, {ours} here")),
            }
        }
        let single: BTreeSet<char> = known.values().flat_map(|text| text.chars()).collect();
        for character in single {
            let written = encoding.encode(&character.to_string());
            if let Some(bytes) = written.filter(|bytes| known.get(bytes) != Some(&character.to_string())) {
                wrong.push(format!("{name}: {character} is written as {bytes:x?}"));
            }
        }
        let may = LEFT_OUT.iter().find(|(of, _)| *of == name).map_or(0, |(_, count)| *count);
        if left_out > may {
            wrong.push(format!("{name}: {left_out} of {} are left out", known.len()));
        }
        println!("{name}: {} characters, {left_out} left out", known.len());
    }
    let beyond =
        "SELECT convert_to(string_agg(chr(g), '' ORDER BY g), 'GB18030') FROM generate_series(65536, 1114111) g";
    let bytes: Vec<u8> = client.query(beyond)[0].get(0);
    let all: String = (0x1_0000..=0x10_ffff).filter_map(char::from_u32).collect();
    assert!(
        Encoding::find("GB18030").unwrap().decode(&bytes).is_some_and(|text| text == all),
        "beyond the first plane"
    );
    assert!(wrong.is_empty() && asked > 300_000, "{asked} asked\n{}", wrong.join("\n"));
}

#[test]
fn every_sequence_is_read_as_15_reads_it() {
    every_sequence_is_read_as_the_server_reads_it(Version::V15);
}

#[test]
fn every_sequence_is_read_as_18_reads_it() {
    every_sequence_is_read_as_the_server_reads_it(Version::V18);
}

#[test]
fn every_name_of_an_encoding_is_the_servers() {
    let spellings = "abc alt big5 euccn eucjis2004 eucjp euckr euctw gb18030 gbk iso88591 iso885910 iso885913 iso885914 \
        iso885915 iso885916 iso88592 iso88593 iso88594 iso88595 iso88596 iso88597 iso88598 iso88599 johab koi8 koi8r koi8u \
        latin1 latin10 latin2 latin3 latin4 latin5 latin6 latin7 latin8 latin9 mskanji muleinternal shiftjis shiftjis2004 \
        sjis sqlascii tcvn tcvn5712 uhc unicode utf8 vscii win win1250 win1251 win1252 win1253 win1254 win1255 win1256 \
        win1257 win1258 win866 win874 win932 win936 win949 win950 windows1250 windows1251 windows1252 windows1253 \
        windows1254 windows1255 windows1256 windows1257 windows1258 windows866 windows874 windows932 windows936 \
        windows949 windows950 latin iso885911 windows win31j cp1252 ISO-8859-15 Win-1252 'utf-8' koi8-r Shift_JIS";
    let client = Client::connect(Version::V18.plain(), "encoding_names");
    for spelling in spellings.split_ascii_whitespace() {
        let text = format!("SELECT pg_encoding_to_char(pg_char_to_encoding('{}'))::text", spelling.replace('\'', "''"));
        let theirs: String = client.query(&text)[0].get(0);
        let ours = Encoding::find(spelling).map(Encoding::name);
        let is_served = encodings().any(|name| name == theirs);
        assert_eq!(ours, is_served.then_some(theirs.as_str()), "{spelling}");
    }
}
