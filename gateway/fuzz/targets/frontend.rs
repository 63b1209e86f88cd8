//! Any client, and a server that keeps to the protocol. In: the client's messages, and when the server fails. The two
//! must never get out of step: a right answer that we take for a wrong one ends a session that did nothing wrong, and
//! one that we take for another's shows a result in the wrong place. What runs must be what was judged.
#![no_main]

mod server;

use gateway::protocol::postgres::fuzzing::{Did, Machine};
use libfuzzer_sys::fuzz_target;
use server::Server;

const CLIENT: &[u8] = b"QPBEDCSHfcdSSX";
/// Texts that the judge of these targets tells apart, and two that it does not.
const TEXTS: [&str; 6] = ["select 1", "drop table t", "copy t from stdin", "discard all", "", "update t set a = 1"];
const NAMES: [&str; 3] = ["", "a", "b"];

fuzz_target!(|bytes: &[u8]| {
    let (mut machine, mut server) = (Machine::default(), Server::default());
    for choice in bytes.chunks_exact(3) {
        let &[tag, what, fate] = choice else { break };
        let message = message(CLIENT[usize::from(tag) % CLIENT.len()], usize::from(what));
        // A message that waits comes again once the server has said what it owes; without a debt it is the end.
        let mut did = machine.client(&message);
        if did == Did::Waits {
            answer(&mut machine, &mut server, fate);
            did = machine.client(&message);
        }
        if did != Did::Taken {
            break;
        }
        if fate & 1 == 0 {
            answer(&mut machine, &mut server, fate);
        }
    }
    let (permits, outcomes) = machine.end();
    assert_eq!(permits, outcomes, "each permitted run has one outcome");
});

fn answer(machine: &mut Machine, server: &mut Server, fate: u8) {
    for message in server.answer(&std::mem::take(&mut machine.to_server), &mut machine.judged, fate) {
        if let Err(fault) = machine.server(&message) {
            panic!("a right answer `{}` is refused: {fault}", char::from(message[0]));
        }
    }
}

fn message(tag: u8, what: usize) -> Vec<u8> {
    let (name, text) = (NAMES[what % 3], TEXTS[what / 3 % TEXTS.len()]);
    let body = match tag {
        b'Q' => format!("{text}\0"),
        b'P' => format!("{name}\0{text}\0\0\0"),
        b'B' => format!("{}\0{name}\0\0\0\0\0\0\0", NAMES[what / 3 % 3]),
        b'E' => format!("{name}\0\0\0\0\0"),
        b'D' | b'C' => format!("{}{name}\0", if what & 64 == 0 { 'S' } else { 'P' }),
        b'f' => "no\0".to_owned(),
        b'd' => "row\n".to_owned(),
        _ => String::new(),
    };
    server::framed(tag, body.as_bytes())
}
