//! Sessions by hand, and OpenSSH's own client and server with the decoder between them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use aws_lc_rs::digest::{SHA256, digest};

use super::packet::{self, Field, packet};
use super::*;

fn request(kind: u8, id: u32, fields: &[Field<'_>]) -> Vec<u8> {
    packet(kind, &[&[Field::Number(id)], fields].concat())
}

fn path(path: &str) -> Field<'_> {
    Field::Bytes(path.as_bytes())
}

/// A session behind both versions.
fn session() -> Sftp<u64> {
    let mut sftp = Sftp::new();
    sftp.push_client(&packet(packet::INIT, &[Field::Number(6)]));
    let Ok(Some(Step::Forward(init))) = sftp.next_client() else { panic!("no version") };
    assert_eq!(&init.bytes[..], [0, 0, 0, 5, 1, 0, 0, 0, 3], "other versions are not asked for");
    sftp.push_server(&packet(
        packet::VERSION,
        &[Field::Number(3), path("posix-rename@openssh.com"), path("1"), path("x@y"), path("1")],
    ));
    let version = sftp.next_server().unwrap().unwrap().bytes;
    assert_eq!(
        version,
        packet(packet::VERSION, &[Field::Number(3), path("posix-rename@openssh.com"), path("1")]),
        "what is not read is not offered"
    );
    sftp
}

fn client(sftp: &mut Sftp<u64>, bytes: &[u8]) -> Result<Option<Step>, Fault> {
    sftp.push_client(bytes);
    sftp.next_client()
}

fn server(sftp: &mut Sftp<u64>, bytes: &[u8]) -> Result<Option<Passed>, Fault> {
    sftp.push_server(bytes);
    sftp.next_server()
}

fn open(sftp: &mut Sftp<u64>, id: u32, name: &str, flags: u32, handle: &str) {
    let asked =
        client(sftp, &request(packet::OPEN, id, &[path(name), Field::Number(flags), Field::Number(0)])).unwrap();
    assert!(matches!(asked, Some(Step::Ask(Operation::Open { .. }))), "{asked:?}");
    sftp.allow(u64::from(id)).unwrap();
    server(sftp, &request(packet::HANDLE, id, &[path(handle)])).unwrap().unwrap();
}

fn status_of(id: u32, code: u32) -> Vec<u8> {
    request(packet::STATUS, id, &[Field::Number(code), path(""), path("")])
}

fn write(id: u32, handle: &str, offset: u32, data: &str) -> Vec<u8> {
    request(packet::WRITE, id, &[path(handle), Field::Number(0), Field::Number(offset), path(data)])
}

#[test]
fn a_denied_request_never_reaches_the_server_and_the_next_one_does() {
    let mut sftp = session();
    let remove = request(packet::REMOVE, 1, &[path("/etc/passwd")]);
    let next = request(packet::REMOVE, 2, &[path("/srv/x")]);
    sftp.push_client(&[remove, next.clone()].concat());
    assert_eq!(sftp.next_client(), Ok(Some(Step::Ask(Operation::Remove { path: "/etc/passwd".to_owned() }))));
    assert_eq!(sftp.next_client(), Ok(None), "nothing is read while a decision is awaited");
    let reply = sftp.deny("denied by policy x\n\u{1b}[2J").unwrap();
    assert_eq!(reply, request(packet::STATUS, 1, &[Field::Number(3), path("denied by policy x  [2J"), path("en")]));
    assert_eq!(sftp.deny("again"), None);
    assert!(matches!(sftp.next_client(), Ok(Some(Step::Ask(_)))));
    assert_eq!(sftp.allow(7).unwrap().bytes, next);
}

#[test]
fn writes_and_reads_are_counted_and_hashed_in_order_only() {
    let mut sftp = session();
    open(&mut sftp, 1, "/srv/a", 0x1a, "h");
    for (id, offset, data) in [(2, 0, "ab"), (3, 2, "c")] {
        let Ok(Some(Step::Forward(passed))) = client(&mut sftp, &write(id, "h", offset, data)) else { panic!("{id}") };
        let content = passed.content.unwrap();
        assert_eq!((&passed.bytes[content.at.clone()], content.direction), (data.as_bytes(), Direction::Write));
        server(&mut sftp, &status_of(id, 0)).unwrap();
    }
    client(&mut sftp, &request(packet::CLOSE, 4, &[path("h")])).unwrap();
    server(&mut sftp, &status_of(4, 0)).unwrap();
    open(&mut sftp, 5, "/srv/b", 1, "h");
    for (id, offset) in [(6, 0), (7, 9)] {
        client(
            &mut sftp,
            &request(packet::READ, id, &[path("h"), Field::Number(0), Field::Number(offset), Field::Number(3)]),
        )
        .unwrap();
    }
    server(&mut sftp, &request(packet::DATA, 6, &[path("abc")])).unwrap();
    server(&mut sftp, &request(packet::DATA, 7, &[path("d")])).unwrap();
    let transfers = [sftp.transfers(), sftp.end()].concat();
    let abc = Some(digest(&SHA256, b"abc").as_ref().try_into().unwrap());
    let expected = [
        Transfer {
            request: 1,
            path: "/srv/a".into(),
            direction: Direction::Write,
            bytes: 3,
            sha256: abc,
            is_complete: true,
        },
        Transfer {
            request: 5,
            path: "/srv/b".into(),
            direction: Direction::Read,
            bytes: 4,
            sha256: None,
            is_complete: false,
        },
    ];
    assert_eq!(transfers, expected);
}

#[test]
fn what_goes_to_a_handle_that_no_server_gave_or_by_an_unread_extension_is_refused() {
    let mut sftp = session();
    for packet in [
        write(1, "x", 0, "data"),
        request(packet::FSETSTAT, 1, &[path("x"), Field::Number(0)]),
        request(packet::READDIR, 1, &[path("x")]),
        request(packet::EXTENDED, 1, &[path("evil@example"), path("/etc/shadow")]),
    ] {
        let step = client(&mut sftp, &packet).unwrap();
        assert!(matches!(&step, Some(Step::Refuse { reply, .. }) if reply[4] == packet::STATUS), "{step:?}");
    }
    // A change by handle is asked about under the name that the handle was opened with.
    open(&mut sftp, 2, "/srv/a", 2, "h");
    let asked = client(&mut sftp, &request(packet::FSETSTAT, 3, &[path("h"), Field::Number(4), Field::Number(0o4755)]))
        .unwrap();
    let attributes = Attributes { mode: Some(0o4755), ..Attributes::default() };
    assert_eq!(asked, Some(Step::Ask(Operation::Attributes { path: "/srv/a".to_owned(), attributes })));
}

#[test]
fn what_breaks_the_protocol_ends_the_session() {
    let fault = |bytes: &[u8]| client(&mut session(), bytes).unwrap_err();
    assert_eq!(fault(&[0, 0, 0, 0]), Fault::Length { length: 0 });
    assert_eq!(fault(&[0xff, 0, 0, 0]), Fault::Length { length: 0xff00_0000 });
    assert_eq!(fault(&request(99, 1, &[])), Fault::Malformed);
    assert_eq!(fault(&request(packet::REMOVE, 1, &[path("/srv/x\0/etc/passwd")])), Fault::Malformed);
    assert_eq!(fault(&request(packet::REMOVE, 1, &[path("/srv/x"), path("/etc/passwd")])), Fault::Malformed);
    assert_eq!(
        fault(&request(packet::OPEN, 1, &[path("/srv/x"), Field::Number(1), Field::Number(0x10)])),
        Fault::Malformed
    );
    let mut sftp = session();
    client(&mut sftp, &request(packet::STAT, 1, &[path("/")])).unwrap();
    sftp.allow(0).unwrap();
    assert_eq!(client(&mut sftp, &request(packet::STAT, 1, &[path("/")])), Err(Fault::IdInUse(1)));
    assert_eq!(server(&mut sftp, &request(packet::HANDLE, 1, &[path("h")])), Err(Fault::Reply(1)));
    assert_eq!(server(&mut sftp, &status_of(9, 0)), Err(Fault::Reply(9)));
    let mut early = Sftp::<u64>::new();
    assert_eq!(client(&mut early, &request(packet::OPEN, 1, &[])), Err(Fault::Version));
    assert_eq!(server(&mut Sftp::new(), &packet(packet::VERSION, &[Field::Number(3)])), Err(Fault::Version));
}

#[test]
fn a_session_cut_at_every_byte_is_the_same() {
    let bytes = [
        packet(packet::INIT, &[Field::Number(3)]),
        request(packet::OPEN, 1, &[path("/srv/a"), Field::Number(2), Field::Number(0)]),
        request(packet::MKDIR, 2, &[path("/srv/b"), Field::Number(0)]),
    ]
    .concat();
    let steps = |cut: usize| {
        let mut sftp = Sftp::<u64>::new();
        let mut steps = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            sftp.push_client(part);
            while let Some(step) = sftp.next_client().unwrap() {
                steps.push(format!("{step:?}"));
                sftp.allow(0);
            }
        }
        assert_eq!(sftp.held(), 0);
        steps
    };
    let whole = steps(bytes.len());
    assert_eq!(whole.len(), 3);
    for cut in 0..bytes.len() {
        assert_eq!(steps(cut), whole);
    }
}

/// As the fuzz target has it: any bytes of either side.
#[test]
fn any_bytes_of_either_side_are_taken_or_refused() {
    let mut seed = 7_u32;
    for _ in 0..20_000 {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            u8::try_from(seed >> 24).unwrap()
        };
        let mut sftp = session();
        let body: Vec<u8> = (0..next() % 40).map(|_| if next() < 128 { 0 } else { next() % 32 }).collect();
        let kind = [next() % 24, 200, 101, 102, 103][usize::from(next() % 5)];
        let framed = [&u32::try_from(body.len() + 1).unwrap().to_be_bytes()[..], &[kind], &body].concat();
        let _ = client(&mut sftp, &framed);
        sftp.allow(0);
        let _ = server(&mut sftp, &framed);
        assert!(sftp.end().is_empty(), "no file was opened");
    }
}

/// What happens between OpenSSH's `sftp` and its server, `denied` being refused.
fn run(folder: &Path, batch: &str, denied: &str) -> (String, Vec<Operation>, Vec<Transfer<u64>>) {
    for name in ["up", "down"] {
        assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
    }
    let bridge = folder.join("bridge");
    let (up, down) = (folder.join("up"), folder.join("down"));
    fs::write(&bridge, format!("#!/bin/sh\ncat {} &\nexec cat > {}\n", down.display(), up.display())).unwrap();
    fs::set_permissions(&bridge, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("batch"), batch).unwrap();
    let client = Command::new("timeout")
        .args(["120", "sftp", "-b", "batch", "-D"])
        .arg(&bridge)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = Command::new("/usr/lib/openssh/sftp-server")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to_server, from_server) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
    let (sender, chunks) = mpsc::channel::<(bool, Vec<u8>)>();
    let pump = |is_client: bool, mut from: Box<dyn Read + Send>| {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 10_007];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let _ = sender.send((is_client, buffer[..read].to_vec()));
            }
            let _ = sender.send((is_client, Vec::new()));
        });
    };
    pump(true, Box::new(fs::File::open(&up).unwrap()));
    let mut to_client = fs::File::create(&down).unwrap();
    pump(false, Box::new(from_server));
    let (mut sftp, mut operations, mut transfers) = (Sftp::new(), Vec::new(), Vec::new());
    for (is_client, chunk) in chunks {
        if chunk.is_empty() {
            break;
        }
        if is_client {
            sftp.push_client(&chunk);
        } else {
            sftp.push_server(&chunk);
        }
        while let Some(step) = sftp.next_client().unwrap() {
            match step {
                Step::Forward(passed) => to_server.write_all(&passed.bytes).unwrap(),
                Step::Ask(operation) if operation.paths().0.ends_with(denied) => {
                    to_client.write_all(&sftp.deny("no").unwrap()).unwrap()
                }
                Step::Ask(operation) => {
                    operations.push(operation);
                    let request = u64::try_from(operations.len()).unwrap();
                    to_server.write_all(&sftp.allow(request).unwrap().bytes).unwrap();
                }
                Step::Refuse { reason, .. } => panic!("{reason}"),
            }
        }
        while let Some(passed) = sftp.next_server().unwrap() {
            to_client.write_all(&passed.bytes).unwrap();
        }
        transfers.extend(sftp.transfers());
    }
    transfers.extend(sftp.end());
    drop((to_server, to_client));
    let output = client.wait_with_output().unwrap();
    server.wait().unwrap();
    (
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        operations,
        transfers,
    )
}

#[test]
fn openssh_does_its_work_through_it_and_what_is_denied_stays_undone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    fs::write(at("local"), &data).unwrap();
    let batch = "put local remote\nget remote back\nmkdir d\nrename remote d/r\nln d/r hard\nln -s d/r soft\nchmod 600 hard\nls -l d\ncp d/r copy\n-rm secret\nrm soft\ndf\nrmdir d\n";
    fs::write(at("secret"), "x").unwrap();
    let (said, operations, transfers) = run(folder.path(), &batch.replace("rmdir d\n", "rm d/r\nrmdir d\n"), "secret");
    assert_eq!(fs::read(at("back")).unwrap(), data, "{said}");
    assert_eq!(fs::read(at("copy")).unwrap(), data, "{said}");
    assert!(at("secret").exists() && !at("d").exists() && !at("soft").exists(), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    let full = |name: &str| at(name).display().to_string();
    for wanted in [
        Operation::Rename { from: full("remote"), to: full("d/r") },
        Operation::Hardlink { target: full("d/r"), link: full("hard") },
        Operation::Symlink { target: "d/r".to_owned(), link: full("soft") },
        Operation::RemoveDirectory { path: full("d") },
        Operation::List { path: format!("{}/", full("d")) },
    ] {
        assert!(operations.contains(&wanted), "{wanted:?} is not in {operations:?}");
    }
    let sha256 = Some(digest(&SHA256, &data).as_ref().try_into().unwrap());
    for direction in [Direction::Write, Direction::Read] {
        let found = transfers.iter().find(|one| one.direction == direction && *one.path == *full("remote")).unwrap();
        assert_eq!((found.bytes, found.sha256, found.is_complete), (data.len() as u64, sha256, true));
    }
}
