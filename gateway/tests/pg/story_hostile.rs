//! Bytes that no client sends, from inside: each ends its own session, the journal says why, nobody else notices.

use crate::shop::{ENDLESS, Shop, Side, ran};
use crate::wait;

/// Sends each case on a connection of its own; prints what came back.
const HOSTILE: &str = r#"
import os, socket, struct
def frame(tag, body): return tag + struct.pack("!I", len(body) + 4) + body
def packet(code, body=b""): return struct.pack("!II", len(body) + 8, code) + body
startup = packet(196608, b"user\0agent\0database\0" + os.environ["PGDATABASE"].encode() + b"\0\0")
ssl, gss = packet(80877103), packet(80877104)
def answer(case):
    with socket.create_connection((os.environ["PGHOST"], 5432), 20) as connection:
        for part in case:
            connection.sendall(part)
            if part == gss:
                assert connection.recv(1) == b"N"
            if part == startup:
                hello = b""
                while not hello.endswith(b"Z\0\0\0\5I"):
                    hello += connection.recv(65536) or exit(f"no login: {hello}")
        connection.shutdown(socket.SHUT_WR)
        said = b""
        try:
            while more := connection.recv(65536):
                said += more
        except ConnectionResetError:
            said += b"(reset)"
        return said
def code(said): return said.split(b"\0C", 1)[1].split(b"\0", 1)[0].decode() if b"\0C" in said else ""
BROKEN = [
    [b"GET / HTTP/1.1\r\n\r\n"], [b"\xff" * 64], [struct.pack("!I", 4)], [ssl + frame(b"Q", b"SELECT 1\0")],
    [packet(80877103, b"\0\0\0\0")], [startup + b"Q"], [startup, b"?\0\0\0\4"], [startup, b"Q\0\0\0\3"], [startup, frame(b"B", b"x")],
    [startup, frame(b"P", b"x\0SELECT")], [startup, b"Q\x7f\xff\xff\xff" + b"x" * 100000],
]
for case in BROKEN:
    print("broken", code(answer(case)))
answer([gss, startup, frame(b"X", b"")])
said = answer([startup, frame(b"F", struct.pack("!IHHH", 2108, 0, 0, 0)), frame(b"Q", b"SELECT 'usable'\0"), frame(b"X", b"")])
assert b"usable" in said, said
print("call", code(said))
"#;

#[test]
fn bytes_that_no_client_sends_end_their_own_session_and_are_journaled() {
    let shop = Shop::new();
    let gateway = shop.world.attach(&[]);
    let engine = gateway.engine_pid();
    let mut other = shop.start_psql(&format!("{ENDLESS} AS marker_other"));
    shop.runs("marker_other");
    let file = shop.world.file("hostile.py", HOSTILE);
    let ran = ran(&mut shop.command(Side::Inside, &[], &["timeout", "120", "python3", file.to_str().unwrap()]));
    assert!(ran.ok, "{ran:?}");
    assert_eq!(ran.out, "broken 08P01\n".repeat(10) + "broken 54000\ncall 0A000", "{ran:?}");
    let ends = || {
        let ends = shop.world.events("session.end");
        ends.iter().map(|event| event["body"]["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let protocol = || ends().iter().filter(|cause| *cause == "protocol").count();
    // The one that was only too large was refused, and its session went on.
    wait::until("an end for every broken one", || protocol() == 10);
    let refused = |words: &str| {
        let says = |(statement, _): &(serde_json::Value, Option<serde_json::Value>)| {
            let decision = &statement["decision"];
            decision["verdict"] == "deny" && decision["message"].to_string().contains(words)
        };
        shop.statements().iter().any(says)
    };
    assert!(refused("function call messages are refused") && refused("at most"), "what no judge reads is journaled");
    assert!(shop.is_running("marker_other") && gateway.engine_pid() == engine, "others are untouched");
    other.kill().unwrap();
    other.wait().unwrap();
}
