//! Sessions in every encoding that is served, and databases in others than UTF8: what is masked is masked, what is
//! forbidden does not happen, and all else is the same to the byte.
//!
//! In: statements in the bytes of each encoding, with a letter of it in names, constants and parameters, where there is one
//! with a byte that looks like a backslash. Out: what a client reads with a gateway and without.

use gateway::protocol::postgres::{Encoding, encodings};

use crate::canary::in_messages;
use crate::cluster::{self, Cluster};
use crate::shop::{Shop, Side};
use crate::talk::{Door, Message, Talk, frame};

/// One that an encoding has.
const LETTERS: &str = "éжωאبกソ功誠가中";

fn letter(encoding: &Encoding) -> char {
    // Their last byte is 0x5c.
    match encoding.name() {
        "SJIS" => 'ソ',
        "BIG5" => '功',
        "GBK" | "GB18030" => '誠',
        _ => LETTERS.chars().find(|letter| encoding.encode(&letter.to_string()).is_some()).unwrap(),
    }
}

/// Texts in one encoding, with its letter for each `%`.
#[derive(Clone, Copy)]
struct Words {
    encoding: &'static Encoding,
    letter: char,
}

impl Words {
    fn of(name: &str) -> Self {
        let encoding = Encoding::find(name).unwrap();
        Self { encoding, letter: letter(encoding) }
    }

    fn bytes(self, text: &str) -> Vec<u8> {
        self.encoding.encode(&text.replace('%', &self.letter.to_string())).unwrap()
    }

    fn query(self, text: &str) -> Vec<u8> {
        frame(b'Q', &[&self.bytes(text)[..], b"\0"].concat())
    }

    /// By names, with a parameter; results in this format.
    fn extended(self, text: &str, format: u8) -> Vec<u8> {
        let (name, portal, value) = (self.bytes("s%"), self.bytes("p%"), self.bytes("%'%\\"));
        let length = u32::try_from(value.len()).unwrap().to_be_bytes();
        [
            frame(b'P', &[&name[..], b"\0", &self.bytes(text), b"\0\0\0"].concat()),
            frame(b'D', &[b"S", &name[..], b"\0"].concat()),
            frame(b'B', &[&portal[..], b"\0", &name, b"\0\0\0\0\x01", &length, &value, &[0, 1, 0, format]].concat()),
            frame(b'E', &[&portal[..], b"\0\0\0\0\0"].concat()),
            frame(b'C', &[b"P", &portal[..], b"\0"].concat()),
            frame(b'C', &[b"S", &name[..], b"\0"].concat()),
            frame(b'S', b""),
        ]
        .concat()
    }

    /// Without a Sync.
    fn unnamed(self, text: &str) -> Vec<u8> {
        [
            frame(b'P', &[b"\0", &self.bytes(text)[..], b"\0\0\0"].concat()),
            frame(b'B', b"\0\0\0\0\0\0\0\0"),
            frame(b'E', b"\0\0\0\0\0"),
        ]
        .concat()
    }
}

fn tables(shop: &Shop) {
    for letter in LETTERS.chars() {
        shop.admin(&format!(
            "SET ROLE agent; CREATE TABLE \"kept_{letter}\" (id int, ssn text, \"note_{letter}\" text);
             INSERT INTO \"kept_{letter}\" VALUES (1, '{letter} 000-73-9184 {letter}', 'a {letter} \\ note'),
                (2, NULL, '{letter}{letter}'), (3, 'Quillfeather', ''); GRANT ALL ON \"kept_{letter}\" TO PUBLIC"
        ));
    }
}

fn labels(database: &str) -> String {
    let label =
        |letter| format!("[[column]]\nat = [\"undeclared/{database}/public.kept_{letter}.ssn\"]\nclass = \"ssn\"\n");
    format!("version = 1\n{}", LETTERS.chars().map(label).collect::<String>())
}

fn ask(talk: &mut Talk, bytes: &[u8], readies: usize) -> Vec<Message> {
    talk.send(bytes);
    talk.answer(readies)
}

fn session(door: &Door, encoding: &str) -> Talk {
    let (talk, greeting) = door.with(&[("client_encoding", encoding), ("application_name", "agent")]);
    assert_eq!(greeting.last().map(|message| message.kind), Some(b'Z'), "{encoding}: {greeting:?}");
    talk
}

fn lines(messages: &[Message]) -> String {
    messages.iter().map(Message::line).collect::<Vec<_>>().join("\n")
}

/// What shows a labelled column of the table with that letter, whose second row has nothing to hide.
const SHOWN: [&str; 8] = [
    "SELECT id, ssn, note_% FROM kept_%",
    "SELECT k.\"ssn\" || '%', upper(ssn), note_% FROM public.\"kept_%\" AS k",
    "SELECT to_json(k), k, ARRAY[ssn, '%'] FROM kept_% k",
    "WITH % AS (SELECT ssn AS \"%%\" FROM kept_%) SELECT \"%%\" FROM %",
    "COPY kept_% TO STDOUT",
    "COPY (SELECT '%\\', ssn, note_% FROM kept_%) TO STDOUT (FORMAT csv, HEADER)",
    "SELECT ssn::date FROM kept_%",
    "SELECT * FROM kept_% /* % */ -- %",
];

/// What tells of it.
const DENIED: [&str; 4] = [
    "SELECT id FROM kept_% WHERE ssn LIKE '%%'",
    "CREATE TEMP TABLE copied_% AS SELECT ssn FROM kept_%",
    "UPDATE kept_% SET note_% = ssn",
    "COPY kept_% TO STDOUT (FORMAT binary)",
];

fn masks_in(words: Words, inside: &Door, outside: &Door) -> usize {
    let name = words.encoding.name();
    let (mut ours, mut theirs) = (session(inside, name), session(outside, name));
    let mut asked = 0;
    let mut quiet = |text: &str, told: &[Message]| {
        asked += 1;
        assert_eq!(in_messages(told), None, "{name}: {text}\n{}", lines(told));
    };
    for text in SHOWN {
        let extended = text.replace("kept_%", "kept_% WHERE note_% IS DISTINCT FROM $1");
        for bytes in [words.query(text), words.extended(&extended, 0), words.extended(&extended, 1)] {
            let told = ask(&mut ours, &bytes, 1);
            quiet(text, &told);
        }
    }
    // Beside what is hidden all is as it was.
    let (our, their) = (words.query(SHOWN[0]), words.query(SHOWN[0]));
    let (our, their) = (ask(&mut ours, &our, 1), ask(&mut theirs, &their, 1));
    let cells = |messages: &[Message], row: usize| {
        let cells = messages.iter().filter(|message| message.kind == b'D').nth(row).unwrap().cells();
        cells.into_iter().map(|cell| cell.map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    let expected = [cells(&their, 0)[0].clone(), Some(b"[ssn*~*]".to_vec()), cells(&their, 0)[2].clone()];
    assert_eq!(cells(&our, 0), expected, "{name}");
    assert_eq!(cells(&our, 1), cells(&their, 1), "{name}");
    let copied = ask(&mut ours, &words.query(SHOWN[4]), 1);
    let row = [&b"1\t[ssn*~*]\t"[..], &words.bytes("a % \\\\ note\n")].concat();
    assert!(copied.iter().any(|message| message.body == row), "{name}: {}", lines(&copied));
    for text in DENIED {
        let told = ask(&mut ours, &words.query(text), 1);
        quiet(text, &told);
        assert!(told.iter().any(|message| message.refusal().is_some()), "{name}: {text}: {}", lines(&told));
    }
    // What is found wherever it stands.
    let found = ask(&mut ours, &words.query("SELECT '%\\ 4111 1111 1111 1111 %'"), 1);
    assert!(
        found.iter().any(|message| message.cells() == [Some(&words.bytes("%\\ *~*1111 %")[..])]),
        "{name}: {found:?}"
    );
    let failed = ask(&mut ours, &words.query("SELECT '% 4111 1111 1111 1111'::int, '%'"), 1);
    let text = words.bytes("\"% *~*1111\"");
    let told =
        failed.iter().any(|message| message.kind == b'E' && message.body.windows(text.len()).any(|at| at == text));
    assert!(told, "{name}: {}", lines(&failed));
    // Who sends what no server takes for a text is told, and goes on.
    let halves = [frame(b'Q', b"SELECT '\xff\xff'\0"), words.query("SELECT '%'")].concat();
    let told = if name.starts_with("LATIN") { Vec::new() } else { ask(&mut ours, &halves, 2) };
    assert!(told.is_empty() || told.iter().any(|message| message.kind == b'D'), "{name}: {}", lines(&told));
    asked
}

/// What is neither masked nor denied, with the number of ReadyForQuery that answer it.
fn harmless(words: Words) -> Vec<(Vec<u8>, usize)> {
    let one = |text: &str| (words.query(text), 1);
    vec![
        one(
            "SELECT '%', U&'\\0041', E'%\\n', '%\\', \"note_%\", length('%%'), octet_length('%') FROM kept_% ORDER BY id",
        ),
        one("SELECT missing_% FROM kept_%"),
        one("SELECT '%' AS %, 1 AS \"% %\""),
        one("SELECT '%"),
        one("SELECT '%'::int"),
        one("PREPARE \"n%\" AS SELECT '%' || $1"),
        one("EXECUTE n%('%')"),
        one("EXECUTE \"n%\"('\\')"),
        one("BEGIN; DECLARE c_% CURSOR FOR SELECT note_% FROM kept_%; FETCH ALL FROM c_%; COMMIT"),
        one("COPY (SELECT '%\\', note_% FROM kept_%) TO STDOUT"),
        one("COPY (SELECT '%\\', note_% FROM kept_%) TO STDOUT (FORMAT csv)"),
        one("SHOW client_encoding"),
        one("SELECT set_config('application_name', 'x', false), current_setting('client_encoding')"),
        (words.extended("SELECT $1 || '%', '%' AS \"%\"", 0), 1),
        (words.extended("SELECT $1::text, ARRAY['%', $1]", 1), 1),
        (words.extended("SELECT $1::int", 0), 1),
        (words.extended("SELEC $1", 0), 1),
    ]
}

/// Changes of the encoding, one after the other, and several in one write.
fn changes(words: Words) -> Vec<(Vec<u8>, usize)> {
    let utf8 = Words { encoding: Encoding::find("UTF8").unwrap(), letter: words.letter };
    let one = |text: &str| (words.query(text), 1);
    let set = |text: &str| (utf8.query(text), 1);
    let back = format!("SET client_encoding TO '{}'", words.encoding.name());
    vec![
        set("SET client_encoding TO UTF8"),
        set("SELECT '%', note_% FROM kept_%"),
        set("RESET client_encoding"),
        one("SELECT '%'"),
        set("BEGIN"),
        set("SET LOCAL client_encoding = 'UTF8'"),
        set("SELECT '%'"),
        set("COMMIT"),
        one("SELECT '%'"),
        set("BEGIN"),
        set("SET NAMES 'utf8'"),
        set("SELECT '%'::int"),
        one("SELECT '%'"),
        one("ROLLBACK"),
        one("SELECT '%'"),
        set("BEGIN"),
        set("SAVEPOINT a"),
        set("SET client_encoding TO UTF8"),
        set("SELECT '%'"),
        set("ROLLBACK TO a"),
        one("SELECT '%'"),
        set("SET client_encoding TO UTF8"),
        set("COMMIT"),
        set("SELECT '%'"),
        set("DISCARD ALL"),
        one("SELECT '%'"),
        (
            [
                words.query("SELECT '1%'"),
                words.query("SET client_encoding TO UTF8"),
                utf8.query("SELECT '2%'"),
                utf8.query(&back),
                words.query("SELECT '3%'"),
                words.query("SELECT '4%'"),
            ]
            .concat(),
            6,
        ),
        (
            [
                words.unnamed("SELECT '1%'"),
                words.unnamed("SET client_encoding TO UTF8"),
                frame(b'S', b""),
                utf8.unnamed("SELECT '2%'"),
                utf8.unnamed("RESET ALL"),
                frame(b'S', b""),
                words.unnamed("SELECT '3%'"),
                frame(b'S', b""),
            ]
            .concat(),
            3,
        ),
        ([words.query("BEGIN"), words.query("SET client_encoding TO UTF8"), utf8.query("SELECT '2%'")].concat(), 3),
        ([utf8.query("SELECT '%'::int"), words.query("SELECT '%'"), words.query("ROLLBACK")].concat(), 3),
        one("SELECT '%'"),
        one("SET client_encoding TO 'nothing'"),
        one("SELECT '%'"),
    ]
}

fn is_the_same_in(words: Words, inside: &Door, outside: &Door) -> usize {
    let name = words.encoding.name();
    let (mut ours, mut theirs) = (session(inside, name), session(outside, name));
    let mut messages = 0;
    for (bytes, readies) in harmless(words).into_iter().chain(changes(words)) {
        let (our, their) = (ask(&mut ours, &bytes, readies), ask(&mut theirs, &bytes, readies));
        let plain = |all: &[Message]| all.iter().map(of_syntax).collect::<Vec<_>>();
        assert_eq!(
            plain(&our),
            plain(&their),
            "{name}: {}\n{}\nwithout\n{}",
            bytes.escape_ascii(),
            lines(&our),
            lines(&their)
        );
        messages += their.len();
    }
    messages
}

/// What cannot be parsed, and an encoding that is none, the gateway refuses itself.
fn of_syntax(message: &Message) -> Message {
    let is_of = |code: &[u8]| message.kind == b'E' && message.body.windows(code.len()).any(|at| at == code);
    let is_ours =
        is_of(b"C42601\0") || is_of(b"invalid value for parameter \"client_encoding\"") || is_of(b"`client_encoding`");
    if is_ours { Message { kind: b'E', body: Vec::new() } } else { message.clone() }
}

fn in_every_encoding(cluster: &'static Cluster) {
    let shop = Shop::at(cluster);
    tables(&shop);
    // Nothing has a label in the second: there every word is the same.
    let second = format!("{}_second", shop.database);
    shop.cluster.admin(&format!("CREATE DATABASE {second} TEMPLATE {} OWNER agent", shop.database));
    let file = shop.world.file("masking.toml", &labels(&shop.database));
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", file.display()));
    let (inside, outside) = (Door::new(&shop, Side::Inside), Door::new(&shop, Side::Outside));
    let others: Vec<&str> = encodings().filter(|name| *name != "UTF8").collect();
    assert!(others.len() >= 35, "{others:?}");
    for name in &others {
        let words = Words::of(name);
        println!("{name}, {}: {} asked for what is hidden", words.letter, masks_in(words, &inside, &outside));
    }
    drop((inside, outside));
    let (inside, outside) = (Door::to(&shop, Side::Inside, &second), Door::to(&shop, Side::Outside, &second));
    for name in others {
        println!("{name}: {} messages the same", is_the_same_in(Words::of(name), &inside, &outside));
    }
}

#[test]
fn every_encoding_is_masked_and_otherwise_the_same_on_15() {
    in_every_encoding(cluster::remote());
}

#[test]
fn every_encoding_is_masked_and_otherwise_the_same_on_18() {
    in_every_encoding(cluster::remote_newest());
}

/// Where a reader of bytes, of UTF-8 or of another encoding sees a string end elsewhere than the server.
const TRICKS: [&[u8]; 14] = [
    b"SELECT E'@'; DELETE FROM orders; --'",
    b"SELECT E'@\\'; DELETE FROM orders; --'",
    b"SELECT '@'; DELETE FROM orders; --'",
    b"SELECT \"@\"; DELETE FROM orders; --\"",
    b"SELECT '^'; DELETE FROM orders; --'",
    b"SELECT E'^'; DELETE FROM orders; --'",
    b"SELECT E'^\\'; DELETE FROM orders; --'",
    b"/* ^*/ DELETE FROM orders /* */",
    b"SELECT $@$ ' $@$; DELETE FROM orders; --'",
    b"SELECT $^$ ' $^$; DELETE FROM orders; --'",
    b"SELECT U&'@\\0027; DELETE FROM orders; --'",
    b"SELECT 1 --^\nDELETE FROM orders",
    b"SELECT 1 --^\n; DELETE FROM orders",
    b"WITH @ AS (DELETE FROM orders RETURNING 1) SELECT * FROM @",
];

#[test]
fn no_byte_of_a_character_opens_a_way() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let inside = Door::new(&shop, Side::Inside);
    for name in encodings() {
        let words = Words::of(name);
        let whole = words.bytes("%");
        // The first byte of a character alone, and one that is none.
        for broken in [&whole[..1], b"\xff"] {
            for trick in TRICKS {
                let fill = |byte: &u8| match byte {
                    b'@' => whole.clone(),
                    b'^' => broken.to_vec(),
                    byte => vec![*byte],
                };
                let text: Vec<u8> = trick.iter().flat_map(fill).collect();
                let mut talk = session(&inside, name);
                ask(&mut talk, &frame(b'Q', &[&text[..], b"\0"].concat()), 1);
                let parse = frame(b'P', &[b"\0", &text[..], b"\0\0\0"].concat());
                let run =
                    [parse, frame(b'B', b"\0\0\0\0\0\0\0\0"), frame(b'E', b"\0\0\0\0\0"), frame(b'S', b"")].concat();
                ask(&mut talk, &run, 1);
            }
        }
        assert_eq!(shop.admin("SELECT count(*) FROM orders"), "100", "{name}");
    }
}

#[test]
fn a_change_that_nobody_could_follow_is_refused() {
    let shop = Shop::new();
    let _gateway = shop.world.attach(&[]);
    let inside = Door::new(&shop, Side::Inside);
    let mut talk = session(&inside, "UTF8");
    let utf8 = Words::of("UTF8");
    let sync = frame(b'S', b"");
    let hidden = frame(b'Q', b"SELECT '\xe9\xe9'\0");
    for (bytes, readies, reason) in [
        (utf8.query("SET client_encoding = LATIN1; SELECT 1"), 1, "alone"),
        (utf8.query("BEGIN; SET LOCAL client_encoding = LATIN1; COMMIT"), 1, "alone"),
        (utf8.query("SELECT set_config('client_encoding', 'LATIN1', false)"), 1, "alone"),
        (utf8.query("SELECT set_config('client_encoding', 'LAT' || 'IN1', false)"), 1, "client_encoding"),
        (utf8.query("SET client_encoding = JOHAB"), 1, "client_encoding"),
        (utf8.query("SET client_encoding = 'SQL_ASCII'"), 1, "client_encoding"),
        ([utf8.unnamed("SET client_encoding = LATIN1"), utf8.unnamed("SELECT 1"), sync].concat(), 1, "Send Sync"),
        ([utf8.unnamed("SET client_encoding = LATIN1"), hidden].concat(), 1, "Send Sync"),
    ] {
        let told = ask(&mut talk, &bytes, readies);
        assert!(lines(&told).contains(reason), "{}: {}", bytes.escape_ascii(), lines(&told));
        let still = ask(&mut talk, &utf8.query("SELECT current_setting('client_encoding'), 'é'"), 1);
        assert!(lines(&still).contains(r"D UTF8 | \xc3\xa9"), "{}: {}", bytes.escape_ascii(), lines(&still));
    }
    // What changes nothing stands wherever it likes.
    let same = ask(&mut talk, &utf8.query("SET client_encoding = 'utf-8'; RESET ALL; SELECT 1"), 1);
    assert!(same.iter().any(|message| message.kind == b'D'), "{}", lines(&same));
}

#[test]
fn masks_are_not_written_back_in_whatever_bytes() {
    let shop = Shop::new();
    shop.admin("SET ROLE agent; CREATE TABLE notes (a text)");
    let _gateway = shop.world.attach(&[]);
    let inside = Door::new(&shop, Side::Inside);
    for (name, mark) in [("LATIN1", &b"*~*"[..]), ("WIN1252", b"\x95\x95\x95"), ("BIG5", b"[ssn*~*]"), ("UTF8", b"*~*")]
    {
        let mut talk = session(&inside, name);
        let text = [&b"INSERT INTO notes VALUES ('\xa4\xa4 "[..], mark, b"')"].concat();
        let text = if name == "UTF8" { text.into_iter().filter(u8::is_ascii).collect() } else { text };
        let told = ask(&mut talk, &frame(b'Q', &[&text[..], b"\0"].concat()), 1);
        assert!(told.iter().any(|message| message.refusal().is_some()), "{name}: {}", lines(&told));
        // As a text, and in binary.
        for format in [0, 1] {
            let length = u32::try_from(mark.len()).unwrap().to_be_bytes();
            let bytes = [
                frame(b'P', b"\0INSERT INTO notes VALUES ($1)\0\0\0"),
                frame(b'B', &[b"\0\0\0\x01\0", &[format][..], b"\0\x01", &length, mark, b"\0\0"].concat()),
                frame(b'E', b"\0\0\0\0\0"),
                frame(b'S', b""),
            ];
            let told = ask(&mut talk, &bytes.concat(), 1);
            assert!(told.iter().any(|message| message.refusal().is_some()), "{name}: {}", lines(&told));
        }
        talk.send(&frame(b'Q', b"COPY notes FROM STDIN\0"));
        while talk.next().is_some_and(|message| message.kind != b'G') {}
        let (first, last) = mark.split_at(1);
        talk.send(
            &[frame(b'd', first), frame(b'd', &[last, b"\n"].concat()), frame(b'd', mark), frame(b'c', b"")].concat(),
        );
        let told = talk.answer(1);
        assert!(told.iter().any(|message| message.refusal().is_some()), "{name}: {}", lines(&told));
    }
    assert_eq!(shop.admin("SELECT count(*) FROM notes"), "0");
}

#[test]
fn the_server_itself_masks_in_every_encoding() {
    let shop = Shop::new();
    tables(&shop);
    let _gateway = shop.attach_target("source", &labels("*"), "");
    let inside = Door::new(&shop, Side::Inside);
    for name in ["LATIN1", "WIN1252", "SJIS", "EUC_KR", "UTF8"] {
        let words = Words::of(name);
        let mark = if name == "UTF8" { "[ssn\u{2022}\u{2022}\u{2022}]" } else { "[ssn*~*]" };
        let mut talk = session(&inside, name);
        let texts = [
            "SELECT ssn, note_% FROM kept_% WHERE ssn LIKE '[ssn_%' AND note_% <> '' AND id = 1",
            "SELECT ssn, note_% FROM kept_% WHERE id = 1",
        ];
        for text in texts {
            let text = text.replace("_%'", "_@'").replace('%', &words.letter.to_string()).replace('@', "%");
            let bytes = words.encoding.encode(&text).unwrap();
            let told = ask(&mut talk, &frame(b'Q', &[&bytes[..], b"\0"].concat()), 1);
            let row =
                told.iter().find(|message| message.kind == b'D').unwrap_or_else(|| panic!("{name}: {}", lines(&told)));
            assert_eq!(row.cells(), [Some(mark.as_bytes()), Some(&words.bytes("a % \\ note")[..])], "{name}");
        }
        let told = ask(&mut talk, &words.extended("SELECT ssn FROM kept_% WHERE note_% IS DISTINCT FROM $1", 1), 1);
        assert_eq!(in_messages(&told), None, "{name}: {}", lines(&told));
        assert!(lines(&told).contains("[ssn"), "{name}: {}", lines(&told));
    }
    let mut talk = session(&inside, "UTF8");
    for (text, mark) in [("SET client_encoding TO WIN1252", "SET"), ("SELECT ssn FROM kept_é", "[ssn*~*]")] {
        let told = ask(&mut talk, &Words::of(if mark == "SET" { "UTF8" } else { "WIN1252" }).query(text), 1);
        assert!(lines(&told).contains(mark), "{text}: {}", lines(&told));
    }
    let told = ask(&mut talk, &frame(b'Q', b"SELECT ssn FROM \"kept_\xe9\" WHERE ssn <> '\x95\x95\x95'\0"), 1);
    assert!(lines(&told).contains("cannot be said in WIN1252"), "{}", lines(&told));
}

#[test]
fn databases_in_other_encodings_are_masked_where_both_read_them_alike() {
    let shop = Shop::new();
    let file = shop.world.file("masking.toml", &labels("*"));
    let _gateway = shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", file.display()));
    for (server, letter, spoken, refused) in [
        ("LATIN1", 'é', ["UTF8", "LATIN1"], ["WIN1252", "SJIS"]),
        ("EUC_JP", 'ソ', ["UTF8", "EUC_JP"], ["SJIS", "LATIN1"]),
        ("SQL_ASCII", 'é', ["UTF8", "UTF8"], ["LATIN1", "GBK"]),
    ] {
        let database = format!("{}_{}", shop.database, server.to_lowercase());
        shop.cluster.admin(&format!(
            "CREATE DATABASE {database} ENCODING '{server}' LOCALE 'C' TEMPLATE template0 OWNER agent"
        ));
        shop.cluster.admin_of(
            &database,
            &format!(
                "SET ROLE agent; CREATE TABLE \"kept_{letter}\" (id int, ssn text, note text);
                 INSERT INTO \"kept_{letter}\" VALUES (1, '000-73-9184 {letter}', '{letter}')"
            ),
        );
        let inside = Door::to(&shop, Side::Inside, &database);
        for name in spoken {
            let words = Words { encoding: Encoding::find(name).unwrap(), letter };
            let mark = if name == "UTF8" { "[ssn\u{2022}\u{2022}\u{2022}]" } else { "[ssn*~*]" };
            let mut talk = session(&inside, name);
            let told = ask(&mut talk, &words.query("SELECT ssn, note FROM kept_%"), 1);
            let row = told.iter().find(|message| message.kind == b'D').unwrap_or_else(|| panic!("{}", lines(&told)));
            assert_eq!(row.cells(), [Some(mark.as_bytes()), Some(&words.bytes("%")[..])], "{server} {name}");
            // Capitals that the server may fold and we do not, and what both cut at other letters.
            for other in
                ["SELECT upper(ssn) FROM KEPT_É".to_owned(), format!("SELECT upper(ssn) FROM {}", "%".repeat(40))]
            {
                let other = if letter == 'é' { other } else { other.replace('É', "Ж") };
                let told = ask(&mut talk, &words.query(&other), 1);
                assert!(lines(&told).contains("the database is not in UTF8"), "{server} {name}: {}", lines(&told));
            }
            let set = ask(&mut talk, &words.query(&format!("SET client_encoding TO {}", refused[0])), 1);
            assert!(lines(&set).contains("another encoding than UTF8"), "{server} {name}: {}", lines(&set));
        }
        for name in refused {
            let (_, greeting) = inside.with(&[("client_encoding", name)]);
            assert!(greeting.iter().any(|message| message.kind == b'E'), "{server} {name}: {greeting:?}");
        }
    }
}
