//! Sessions by hand, and OpenSSH's own scp on both sides with the decoder between them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::mpsc;

use aws_lc_rs::digest::{SHA256, digest};

use super::super::shell::facts;
use super::*;

fn scp(line: &str) -> Option<Scp<u64>> {
    Scp::of(facts(line).commands.first().unwrap())
}

/// What follows when a side says something.
fn say(scp: &mut Scp<u64>, from: Peer, text: &str) -> Result<Option<Step>, Fault> {
    scp.push(from, text.as_bytes());
    scp.step()
}

fn pass(to: Peer, text: &str) -> Result<Option<Step>, Fault> {
    Ok(Some(Step::Pass { to, bytes: text.to_owned().into(), content: None }))
}

#[test]
fn reads_how_the_servers_scp_is_called() {
    assert_eq!(scp("scp -t /srv").unwrap().direction(), Direction::Write);
    assert_eq!(scp("scp -v -r -p -d -t -- '/srv/a b'").unwrap().operands, ["/srv/a b"]);
    assert_eq!(scp("scp -f /srv/*.log /srv/b").unwrap().direction(), Direction::Read);
    for line in [
        "scp -t",
        "scp -t a b",
        "scp -t $x",
        "scp -f $x",
        "scp -o x -t a",
        "scp a b",
        "scp -t -S sh a",
        "scp -t -f a",
        "ls -t a",
    ] {
        assert!(scp(line).is_none(), "{line}");
    }
}

#[test]
fn an_upload_asks_for_each_file_and_tells_what_went_over() {
    let mut scp = scp("scp -rpt /srv/up").unwrap();
    assert_eq!(say(&mut scp, Peer::Client, "C0644 3 a\n"), Ok(None), "the server speaks first");
    assert_eq!(say(&mut scp, Peer::Server, "\0"), pass(Peer::Client, "\0"));
    let paths = vec!["/srv/up".to_owned(), "/srv/up/a".to_owned()];
    assert_eq!(scp.step(), Ok(Some(Step::Ask(Operation::Write { paths, size: 3, mode: 0o644 }))));
    assert_eq!(scp.allow(1), pass(Peer::Server, "C0644 3 a\n"));
    assert_eq!(say(&mut scp, Peer::Client, "abc\0"), Ok(None), "data waits for the answer");
    assert_eq!(say(&mut scp, Peer::Server, "\0"), pass(Peer::Client, "\0"));
    let Ok(Some(Step::Pass { bytes, content: Some(_), .. })) = scp.step() else { panic!("no data") };
    assert_eq!(&bytes[..], b"abc");
    assert_eq!(scp.step(), pass(Peer::Server, "\0"));
    assert_eq!(say(&mut scp, Peer::Server, "\0"), pass(Peer::Client, "\0"));
    let sha256 = Some(digest(&SHA256, b"abc").as_ref().try_into().unwrap());
    let expected = Transfer {
        request: 1,
        path: "/srv/up/a".into(),
        direction: Direction::Write,
        bytes: 3,
        sha256,
        is_complete: true,
    };
    assert_eq!(scp.transfers(), [expected]);
    assert_eq!(say(&mut scp, Peer::Client, "T1 0 2 0\n"), pass(Peer::Server, "T1 0 2 0\n"));
    say(&mut scp, Peer::Server, "\0").unwrap();
    say(&mut scp, Peer::Client, "D0755 0 d\n").unwrap();
    scp.allow(2).unwrap();
    say(&mut scp, Peer::Server, "\0").unwrap();
    let paths = vec!["/srv/up/d/b".to_owned()];
    assert_eq!(
        say(&mut scp, Peer::Client, "C0755 9 b\n"),
        Ok(Some(Step::Ask(Operation::Write { paths, size: 9, mode: 0o755 })))
    );
    scp.deny("no\n");
    assert_eq!(scp.step(), pass(Peer::Client, "\u{1}scp: /srv/up/d/b: no \n"));
    assert_eq!(say(&mut scp, Peer::Client, "E\n"), pass(Peer::Server, "E\n"));
}

#[test]
fn a_denied_download_is_told_to_both_sides_and_the_next_file_goes_on() {
    let mut scp = scp("scp -f /srv/a /srv/b").unwrap();
    assert_eq!(say(&mut scp, Peer::Client, "\0"), pass(Peer::Server, "\0"));
    let read = |path: &str| Ok(Some(Step::Ask(Operation::Read { path: path.to_owned(), size: 1 })));
    assert_eq!(say(&mut scp, Peer::Server, "C0644 1 a\n"), read("/srv/a"));
    scp.deny("no");
    assert_eq!(scp.step(), pass(Peer::Server, "\u{1}scp: /srv/a: no\n"));
    assert_eq!(scp.step(), pass(Peer::Client, "\u{1}scp: /srv/a: no\n"));
    assert_eq!(say(&mut scp, Peer::Server, "C0644 1 b\n"), read("/srv/b"));
    assert_eq!(scp.allow(1), pass(Peer::Client, "C0644 1 b\n"));
    assert_eq!(scp.end().len(), 1);
}

#[test]
fn what_breaks_the_protocol_ends_the_session() {
    let fault = |line: &str, said: &str| {
        let mut scp = scp(line).unwrap();
        let receiver = scp.receiver();
        say(&mut scp, receiver, "\0").unwrap();
        let source = scp.source;
        say(&mut scp, source, said).unwrap_err()
    };
    for line in ["scp -t /srv", "scp -f /srv"] {
        for name in ["..", ".", "", "a/b", "../../etc/passwd"] {
            assert_eq!(fault(line, &format!("C0644 1 {name}\n")), Fault::Name(name.to_owned()));
            assert_eq!(fault(line, &format!("D0755 0 {name}\n")), Fault::Name(name.to_owned()));
        }
        for record in [
            "C644 1 a\n",
            "C0644 -1 a\n",
            "C0644 99999999999999999999 a\n",
            "C0644 1\n",
            "X\n",
            "E\n",
            "\n",
            "T1 0 2\n",
            "C0644 1 a\0b\n",
        ] {
            assert_eq!(fault(line, record), Fault::Malformed, "{record:?}");
        }
        assert_eq!(fault(line, &"C".repeat(9_000)), Fault::TooLong);
    }
    let mut twice = scp("scp -t /srv").unwrap();
    say(&mut twice, Peer::Server, "\0\0").unwrap();
    assert_eq!(twice.step(), Err(Fault::Unasked));
}

/// As the fuzz target has it: any bytes of either side.
#[test]
fn any_bytes_of_either_side_are_taken_or_refused() {
    let mut seed = 11_u32;
    for _ in 0..20_000 {
        let mut next = |most: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from((seed >> 16) % most).unwrap()
        };
        let mut scp = scp(["scp -t /srv", "scp -rf /srv"][next(2)]).unwrap();
        for _ in 0..8 {
            let text = ["\0", "\u{1}no\n", "C0644 3 a\n", "D0755 0 d\n", "E\n", "T1 0 1 0\n", "abc", "\n"][next(8)];
            scp.push([Peer::Client, Peer::Server][next(2)], text.as_bytes());
            while let Ok(Some(step)) = scp.step() {
                if matches!(step, Step::Ask(_)) && (next(2) == 0 || scp.allow(0).is_err()) {
                    scp.deny("no");
                }
            }
        }
        assert!(scp.end().len() <= 8);
    }
}

/// A bridge to this process for programs that want one to start.
fn bridge(folder: &Path) -> std::path::PathBuf {
    for name in ["up", "down"] {
        assert!(Process::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
    }
    let path = folder.join("bridge");
    // One socket is both its input and its output: it has to end with the server, as ssh does.
    let text = format!("#!/bin/sh\nexec 3<&0\ncat <&3 > {0}/up &\ncat {0}/down\nkill $!\n", folder.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// OpenSSH's scp here, and `server` there; files whose path ends in `denied` are refused.
fn run(folder: &Path, client: &[&str], server: &str, denied: &str) -> Vec<Transfer<u64>> {
    let bridge = bridge(folder);
    let mut client = Process::new("timeout")
        .args(["120", "scp", "-O", "-S"])
        .arg(&bridge)
        .args(client)
        .current_dir(folder)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut scp = scp(server).unwrap();
    let mut child = Process::new("sh")
        .args(["-c", server])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (to_server, mut from_server) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (sender, chunks) = mpsc::channel();
    let up = folder.join("up");
    let own = sender.clone();
    let pump = |sender: mpsc::Sender<_>, peer: Peer, from: &mut dyn Read| {
        let mut buffer = vec![0; 4_099];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            let _ = sender.send((peer, buffer[..read].to_vec()));
            if read == 0 {
                return;
            }
        }
    };
    std::thread::spawn(move || pump(own, Peer::Client, &mut fs::File::open(up).unwrap()));
    let mut to_client = fs::File::create(folder.join("down")).unwrap();
    std::thread::spawn(move || pump(sender, Peer::Server, &mut from_server));
    let (mut to_server, mut transfers) = (Some(to_server), Vec::new());
    for (peer, chunk) in chunks {
        match (chunk.is_empty(), peer) {
            (true, Peer::Client) => drop(to_server.take()),
            (true, Peer::Server) => break,
            _ => scp.push(peer, &chunk),
        }
        while let Some(step) = scp.step().unwrap() {
            let step = match step {
                Step::Ask(operation) if format!("{operation:?}").contains(denied) => {
                    scp.deny("denied");
                    continue;
                }
                Step::Ask(_) => scp.allow(7).unwrap().unwrap(),
                step => step,
            };
            let Step::Pass { to, bytes, .. } = step else { panic!("{step:?}") };
            match to {
                Peer::Client => to_client.write_all(&bytes).unwrap(),
                Peer::Server => to_server.as_mut().unwrap().write_all(&bytes).unwrap(),
            }
        }
        transfers.extend(scp.transfers());
    }
    drop(to_client);
    client.wait().unwrap();
    child.wait().unwrap();
    transfers.extend(scp.end());
    transfers
}

#[test]
fn openssh_copies_both_ways_through_it_and_what_is_denied_stays_uncopied() {
    for (client, server) in [(["-rp", "from", "h:to"], "scp -r -p -t to"), (["-r", "h:from", "to"], "scp -r -f from")] {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..300_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        fs::create_dir_all(folder.path().join("from/deep")).unwrap();
        fs::create_dir(folder.path().join("to")).unwrap();
        for name in ["one", "secret", "deep/two", "empty"] {
            let content = if name == "empty" { &[][..] } else { &data };
            fs::write(folder.path().join("from").join(name), content).unwrap();
        }
        let transfers = run(folder.path(), &client, server, "secret");
        let copied = |name: &str| fs::read(folder.path().join("to/from").join(name)).ok();
        assert_eq!(
            (copied("one"), copied("deep/two"), copied("empty")),
            (Some(data.clone()), Some(data.clone()), Some(Vec::new())),
            "{server}"
        );
        assert_eq!(copied("secret"), None, "{server}");
        let sha256 = Some(digest(&SHA256, &data).as_ref().try_into().unwrap());
        let two = transfers.iter().find(|transfer| transfer.path.ends_with("from/deep/two")).unwrap();
        assert_eq!((two.bytes, two.sha256, two.is_complete), (data.len() as u64, sha256, true));
        assert_eq!(transfers.len(), 3, "{transfers:?}");
    }
}
