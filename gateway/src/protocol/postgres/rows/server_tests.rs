//! Against a real server: what stands in place of a value is read back by the type's own input and receive functions,
//! which are stricter than any driver.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::masking::class::{Class, Partial, Show};
use crate::masking::plan::Columns;
use crate::protocol::postgres::copy_out::CopyFormat;
use crate::protocol::postgres::frame::Header;
use crate::secret::Secret;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server of our own on a unix socket; stopped when dropped.
struct Server {
    process: Child,
    directory: tempfile::TempDir,
}

fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(Path::new(PROGRAMS).join(program));
    command.env("LC_ALL", "C.UTF-8").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let chown = Command::new("chown").arg("postgres:").arg(directory.path()).status().unwrap();
        let data = directory.path().join("data");
        let made =
            as_postgres("initdb").args(["-N", "-A", "trust", "-U", "postgres", "-D"]).arg(&data).status().unwrap();
        assert!(chown.success() && made.success());
        let mut server = as_postgres("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(directory.path());
        let process = server.args(["-c", "listen_addresses=", "-c", "fsync=off"]).spawn().unwrap();
        Self { process, directory }
    }

    fn connect(&self) -> Session {
        let path = self.directory.path().join(".s.PGSQL.5432");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if let Some(session) = UnixStream::connect(&path).ok().and_then(Session::start) {
                return session;
            }
            assert!(std::time::Instant::now() < deadline, "the server did not come up");
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// A session that reads and writes whole messages.
struct Session(UnixStream);

fn framed(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag][..], &i32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body].concat()
}

impl Session {
    fn start(mut stream: UnixStream) -> Option<Self> {
        let body = b"\0\x03\0\0user\0postgres\0client_encoding\0UTF8\0\0";
        let length = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], body].concat()).ok()?;
        let mut session = Self(stream);
        let ready = session.until_ready().last().is_some_and(|message| message[0] == b'Z');
        ready.then_some(session)
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut message = vec![0; HEADER];
        self.0.read_exact(&mut message).ok()?;
        message.resize(Header::read(&message).unwrap().unwrap().size, 0);
        self.0.read_exact(&mut message[HEADER..]).ok()?;
        Some(message)
    }

    /// The messages up to the next ReadyForQuery, or the end.
    fn until_ready(&mut self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while let Some(message) = self.read() {
            let is_ready = message[0] == b'Z';
            messages.push(message);
            if is_ready {
                break;
            }
        }
        messages
    }

    fn query(&mut self, text: &str) -> Vec<Vec<u8>> {
        self.0.write_all(&framed(b'Q', &[text.as_bytes(), b"\0"])).unwrap();
        checked(self.until_ready())
    }

    /// Runs a statement with one parameter, if there is one, and all results in one format.
    fn execute(&mut self, text: &str, parameter: Option<(u16, &[u8])>, result: u16) -> Vec<Vec<u8>> {
        let bound = match parameter {
            Some((format, value)) => {
                let length = i32::try_from(value.len()).unwrap().to_be_bytes();
                [b"\0\x01", &format.to_be_bytes()[..], b"\0\x01", &length, value].concat()
            }
            None => vec![0; 4],
        };
        let messages = [
            framed(b'P', &[b"\0", text.as_bytes(), b"\0\0\0"]),
            framed(b'B', &[b"\0\0", &bound, b"\0\x01", &result.to_be_bytes()]),
            framed(b'D', &[b"P\0"]),
            framed(b'E', &[b"\0\0\0\0\0"]),
            framed(b'S', &[]),
        ];
        self.0.write_all(&messages.concat()).unwrap();
        checked(self.until_ready())
    }
}

fn checked(messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if let Some(error) = messages.iter().find(|message| message[0] == b'E') {
        panic!("{}", String::from_utf8_lossy(error));
    }
    messages
}

/// The messages of one statement, as a client sees them under this treatment of all its columns.
fn shown(messages: &[Vec<u8>], treatment: Treatment, copy: Option<CopyShape>) -> Vec<Vec<u8>> {
    let result = ResultPlan { columns: Columns::All(treatment), texts: Texts::Detect };
    let mut rewriter = ResultRewriter::new(Arc::default(), vec![StatementPlan { result, copy }]);
    let rewrite = |message: &Vec<u8>| {
        let mut out = Vec::new();
        let kind = Backend::from_tag(message[0]).unwrap();
        if rewriter.rewrite(kind, message, &mut out).unwrap() == Pass::Forward {
            out.clone_from(message);
        }
        out
    };
    messages.iter().map(rewrite).collect()
}

/// The first value of the first row.
fn value(messages: &[Vec<u8>]) -> Option<Vec<u8>> {
    let row = messages.iter().find(|message| message[0] == b'D').unwrap();
    assert_eq!(Header::read(row).unwrap().unwrap().size, row.len());
    split_value(&row[HEADER + 2..]).unwrap().0.map(<[u8]>::to_vec)
}

const TYPES: &str = "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN code AS text; CREATE TYPE spans AS RANGE (subtype = text)";

/// A type, a value, and whether a mask other than NULL stands for it.
const VALUES: [(&str, &str, bool); 62] = [
    ("text", "Anna Example", true),
    ("varchar(20)", "Anna Example", true),
    ("char(20)", "Anna Example", true),
    ("name", "anna_example", true),
    ("code", "Anna Example", true),
    ("\"char\"", "x", false),
    ("bool", "t", false),
    ("int2", "12345", true),
    ("int4", "1234567", true),
    ("int8", "1234567890123", true),
    ("oid", "4294967295", true),
    ("float4", "1.5", true),
    ("float8", "-1.5e300", true),
    ("numeric", "12345678901234567890.123", true),
    ("numeric", "NaN", true),
    ("money", "12.34", false),
    ("date", "1984-05-03", true),
    ("date", "infinity", true),
    ("date", "0044-03-15 BC", true),
    ("time", "12:13:14.5", true),
    ("timetz", "12:13:14.5+02", false),
    ("timestamp", "1984-05-03 12:13:14.5", true),
    ("timestamptz", "1984-05-03 12:13:14.5+02", true),
    ("timestamptz", "-infinity", true),
    ("interval", "1 year 2 days", false),
    ("uuid", "6d0f0b0c-8f6e-4bb0-9b55-2f4f1f5a0f11", true),
    ("inet", "10.1.2.3/8", false),
    ("cidr", "10.0.0.0/8", false),
    ("macaddr", "08:00:2b:01:02:03", false),
    ("macaddr8", "08:00:2b:01:02:03:04:05", false),
    ("bit(3)", "101", false),
    ("varbit", "10101", false),
    ("json", "{\"name\": \"Anna\"}", true),
    ("jsonb", "{\"name\": \"Anna\"}", true),
    ("jsonb", "12345", true),
    ("jsonpath", "$.name", false),
    ("xml", "<name>Anna</name>", true),
    ("bytea", "\\x416e6e61", true),
    ("point", "(1,2)", false),
    ("line", "{1,2,3}", false),
    ("lseg", "[(1,2),(3,4)]", false),
    ("box", "(3,4),(1,2)", false),
    ("path", "((1,2),(3,4))", false),
    ("polygon", "((1,2),(3,4))", false),
    ("circle", "<(1,2),3>", false),
    ("tsvector", "'anna':1 'example':2", false),
    ("tsquery", "'anna' & 'example'", false),
    ("int4range", "[1,5)", false),
    ("datemultirange", "{[2000-01-01,2001-01-01)}", false),
    ("spans", "[a,b)", false),
    ("int4[]", "{1,2,3}", false),
    ("text[]", "{Anna,Example}", false),
    ("text[]", "{{Anna},{Example}}", false),
    ("jsonb[]", "{\"{}\"}", false),
    ("numeric[]", "{1.5,NULL}", false),
    ("uuid[]", "{6d0f0b0c-8f6e-4bb0-9b55-2f4f1f5a0f11}", false),
    ("mood", "happy", false),
    ("pair", "(1,Anna)", false),
    ("pair[]", "{\"(1,Anna)\"}", false),
    ("pg_lsn", "16/B374D848", false),
    ("xid8", "123456", false),
    ("regclass", "pg_class", false),
];

fn forms() -> Vec<Arc<Class>> {
    let partial =
        |first, last, from: Option<&str>| Show::Partial(Partial { first, last, from: from.map(str::to_owned) });
    let shows = [
        Show::Redact,
        partial(1, 2, None),
        partial(1, 0, Some("E")),
        Show::hash(&Secret::new(vec![7; 32]), 16),
        Show::Fixed("Jane \"<Doe>\" \\".into()),
        Show::Year,
        Show::Null,
    ];
    shows.into_iter().map(|show| Class::new("name", None, show)).collect()
}

#[test]
fn the_server_itself_reads_every_mask_of_every_type_in_both_formats() {
    let server = Server::start();
    let mut session = server.connect();
    session.query(TYPES);
    for (name, text, has_mask) in VALUES {
        for format in [0, 1] {
            let statement = format!("SELECT '{}'::{name}", text.replace('\'', "''"));
            let plain = session.execute(&statement, None, format);
            // Nothing is found in it: not a byte changes.
            assert_eq!(shown(&plain, Treatment::default(), None), plain, "{name}");
            for class in forms() {
                let masked = value(&shown(&plain, Treatment::Mask(Arc::clone(&class)), None));
                let is_null = !has_mask || matches!(class.show, Show::Null);
                assert_eq!(masked.is_none(), is_null, "{name} {class:?}");
                let Some(masked) = masked else { continue };
                assert_ne!(Some(&masked), value(&plain).as_ref(), "{name} {class:?}");
                // Without a length: a mask may be longer than the column's values.
                let base = name.split('(').next().unwrap();
                let base = if base == "char" { "bpchar" } else { base };
                let back = format!("SELECT ($1::{base})::text");
                let read = value(&session.execute(&back, Some((format, &masked)), 0)).unwrap();
                assert!(!String::from_utf8_lossy(&read).contains("Anna Ex"), "{name} {class:?}");
            }
        }
    }
}

#[test]
fn what_is_found_in_a_value_is_gone_and_the_rest_is_still_of_its_type() {
    const CARD: &str = "4242 4242 4242 4242";
    let server = Server::start();
    let mut session = server.connect();
    session.query(TYPES);
    for (name, text) in [
        ("text", format!("paid by {CARD}.")),
        ("char(60)", CARD.to_owned()),
        ("json", format!("{{\"a\": [\"{CARD}\", 4242424242424242, 1], \"{CARD}\": \"\\n{CARD}\\\"\"}}")),
        ("jsonb", format!("{{\"a\": [\"{CARD}\", 4242424242424242, 1], \"{CARD}\": \"\\n{CARD}\\\"\"}}")),
        ("jsonb", "4242424242424242".to_owned()),
        ("xml", format!("<a b=\"{CARD}\">{CARD}</a>")),
        ("bytea", format!("\\x{}", CARD.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())),
        ("text[]", format!("{{a,\"{CARD}\",4242424242424242,NULL}}")),
        ("text[]", format!("[0:1][3:3]={{{{{CARD}}},{{x}}}}")),
        ("jsonb[]", r#"{"{\"a\": 4242424242424242}"}"#.to_owned()),
        ("jsonb[]", format!("{{\"{{\\\"a\\\": \\\"{CARD}\\\"}}\"}}")),
        ("pair", format!("(1,\"{CARD}\")")),
        ("pair[]", format!("{{\"(1,\\\"{CARD}\\\")\"}}")),
        ("spans", format!("[,\"{CARD}\")")),
        ("tsvector", format!("'{CARD}':1")),
    ] {
        for format in [0, 1] {
            let literal = text.replace('\'', "''");
            let plain = session.execute(&format!("SELECT '{literal}'::{name}"), None, format);
            let masked = value(&shown(&plain, Treatment::default(), None));
            assert_ne!(masked, value(&plain), "{name} {format}");
            let Some(masked) = masked else { continue };
            let base = name.split('(').next().unwrap();
            let base = if base == "char" { "bpchar" } else { base };
            let back = format!("SELECT ($1::{base})::text");
            let read = value(&session.execute(&back, Some((format, &masked)), 0)).unwrap();
            let read = String::from_utf8(read).unwrap();
            assert!(!read.contains(CARD) && !read.contains("4242424242424242"), "{name} {read}");
            assert!(read.contains("•••4242") || name == "bytea", "{name} {read}");
        }
    }
}

#[test]
fn masked_copy_rows_are_copied_back_and_the_rest_is_equal() {
    let server = Server::start();
    let mut session = server.connect();
    let quotes = r#"SELECT E'a\tb\nc\\d,"e"', 'card 4242424242424242', NULL::text, '', '\.', E'x\\4242424242424242\n123-45-6789'"#;
    for (options, format) in [
        ("", CopyFormat::Text { delimiter: b'\t', null: b"\\N".to_vec() }),
        ("WITH (DELIMITER '|', NULL 'nil')", CopyFormat::Text { delimiter: b'|', null: b"nil".to_vec() }),
        ("WITH (FORMAT csv)", CopyFormat::Csv { delimiter: b',', quote: b'"', escape: b'"', null: Vec::new() }),
        (
            "WITH (FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', ESCAPE E'\\\\', NULL 'nil', FORCE_QUOTE *)",
            CopyFormat::Csv { delimiter: b';', quote: b'\'', escape: b'\\', null: b"nil".to_vec() },
        ),
    ] {
        let shape = CopyShape { format, has_header: options.contains("HEADER"), types: vec![25; 6] };
        session.query("CREATE TEMP TABLE back (a text, b text, c text, d text, e text, f text)");
        let plain = session.query(&format!("COPY ({quotes}) TO STDOUT {options}"));
        let masked = shown(&plain, Treatment::default(), Some(shape));
        let data: Vec<u8> = masked.iter().filter(|message| message[0] == b'd').flatten().copied().collect();
        let options = options.replace(", FORCE_QUOTE *", "");
        session.0.write_all(&framed(b'Q', &[format!("COPY back FROM STDIN {options}\0").as_bytes()])).unwrap();
        assert_eq!(session.read().unwrap()[0], b'G');
        session.0.write_all(&[data, framed(b'c', &[])].concat()).unwrap();
        checked(session.until_ready());
        let expected = r"E'a\tb\nc\\d,\x22e\x22' AND b = 'card •••4242' AND c IS NULL AND d = '' AND e = '\.'";
        let last = r"E'x\\•••4242\n[ssn•••]'";
        let same = session.query(&format!("SELECT a = {expected} AND f = {last} FROM back"));
        assert_eq!(value(&same).unwrap(), b"t", "{options}");
        session.query("DROP TABLE back");
    }
}

#[test]
fn an_error_of_the_server_says_nothing_of_a_value() {
    let server = Server::start();
    let mut session = server.connect();
    session.query("CREATE TABLE uq (v text PRIMARY KEY); INSERT INTO uq VALUES ('Anna Example')");
    for statement in ["SELECT 'Anna Example'::date", "INSERT INTO uq VALUES ('Anna Example')"] {
        session.0.write_all(&framed(b'Q', &[statement.as_bytes(), b"\0"])).unwrap();
        let messages = session.until_ready();
        let error = messages.iter().find(|message| message[0] == b'E').unwrap();
        let result = ResultPlan { columns: Columns::All(Treatment::default()), texts: Texts::Scrub };
        let mut rewriter = ResultRewriter::new(Arc::default(), vec![StatementPlan { result, copy: None }]);
        let mut out = Vec::new();
        assert_eq!(rewriter.rewrite(Backend::ErrorResponse, error, &mut out).unwrap(), Pass::Replaced);
        assert!(String::from_utf8_lossy(error).contains("Anna"));
        assert!(!String::from_utf8_lossy(&out).contains("Anna") && out.windows(2).any(|pair| pair == b"C2"));
    }
}
