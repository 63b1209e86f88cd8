//! Bytes in, messages out: every message in every state, and the same input cut at every byte.

use super::*;
use crate::instructions::at_most;
use crate::protocol::postgres::fake::{Fake, message, permit};
use crate::protocol::postgres::frame::body;
use crate::protocol::postgres::judge::Pass;
use crate::protocol::postgres::message::{Backend, Frontend, ours};
use crate::protocol::postgres::reply::sql_state;

/// A state with a judge that answers at once, and what went to either side.
struct Machine {
    state: State<Fake>,
    judge: Fake,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
enum Did {
    Sent,
    Dropped,
    Settling,
    Refused,
    Stalled,
    Fatal,
    Left,
}

impl Machine {
    fn new() -> Self {
        let state = State::new(Transaction::Idle, Speech::default());
        Self { state, judge: Fake::default(), to_server: Vec::new(), to_client: Vec::new() }
    }

    fn client(&mut self, tag: u8, body: &[u8]) -> Did {
        if self.state.is_stalled() {
            return Did::Stalled;
        }
        let bytes = message(tag, body);
        let kind = Frontend::from_tag(tag).unwrap();
        match self.state.unread(kind) {
            Unread::Pass => return Did::Sent,
            Unread::Drop => return Did::Dropped,
            Unread::Read => {}
        }
        let taken = match self.state.offer(kind, &bytes) {
            Step::Forward | Step::ForwardAndFlush => Taken::Sent,
            Step::Drop => return Did::Dropped,
            Step::Settle => {
                self.to_server.extend_from_slice(self.state.settle());
                return Did::Settling;
            }
            Step::Leave => return Did::Left,
            Step::Fatal(_) => return Did::Fatal,
            Step::Refuse(denial) => return self.refuse(kind, *denial),
            Step::Ask(Ask::Query(text) | Ask::Parse(super::super::ParseRequest { text, .. }))
                if text.contains("forbidden") =>
            {
                return self.refuse(kind, Denial::error(SqlState::DENIED, "no"));
            }
            Step::Ask(Ask::Query(text)) => self.state.send_query(permit(text), &self.judge),
            Step::Ask(Ask::Parse(request)) => self.state.send_parse(request.name, request.text.to_owned()),
            Step::Ask(Ask::Bind(prepared, request)) => self.state.send_bind(request.portal, prepared),
            Step::Ask(Ask::Execute { portal, bound, .. }) => {
                self.state.send_execute(portal, permit(&bound), &self.judge, &mut self.to_server)
            }
        };
        assert_eq!(taken, Taken::Sent);
        self.to_server.extend(bytes);
        Did::Sent
    }

    fn refuse(&mut self, kind: Frontend, denial: Denial) -> Did {
        self.state.refuse(kind, Box::new(denial), &mut self.to_server);
        self.state.say(&mut self.to_client);
        Did::Refused
    }

    fn server(&mut self, tag: u8, body: &[u8]) -> Result<(), Fault> {
        let bytes = message(tag, body);
        let kind = Backend::from_tag(tag).unwrap();
        match self.state.reply(kind, &bytes, &self.judge, &mut self.to_client)? {
            Pass::Forward => self.to_client.extend(bytes),
            Pass::Replaced => {}
        }
        self.state.say(&mut self.to_client);
        self.state.settled();
        Ok(())
    }

    /// Parse, Bind, Execute of the unnamed statement.
    fn run(&mut self, text: &str) -> [Did; 3] {
        [
            self.client(b'P', format!("\0{text}\0\0\0").as_bytes()),
            self.client(b'B', &[0; 8]),
            self.client(b'E', &[0; 5]),
        ]
    }

    /// The tags of what the client got.
    fn told(&self) -> String {
        tags(&self.to_client)
    }

    fn outcomes(&self) -> Vec<String> {
        self.judge.outcomes.lock().clone()
    }
}

fn tags(mut bytes: &[u8]) -> String {
    let mut tags = String::new();
    while let Some(&[tag, a, b, c, d]) = bytes.first_chunk() {
        tags.push(char::from(tag));
        bytes = &bytes[1 + u32::from_be_bytes([a, b, c, d]) as usize..];
    }
    tags
}

const ERROR: &[u8] = b"SERROR\0C22012\0Mx\0\0";

#[test]
fn a_denied_query_is_answered_after_those_before_it() {
    let mut machine = Machine::new();
    assert_eq!(machine.client(b'Q', b"BEGIN\0"), Did::Sent);
    assert_eq!(machine.client(b'Q', b"forbidden\0"), Did::Refused);
    assert_eq!(machine.client(b'Q', b"SELECT 2\0"), Did::Sent);
    assert_eq!(machine.told(), "");
    machine.server(b'C', b"BEGIN\0").unwrap();
    machine.server(b'Z', b"T").unwrap();
    assert_eq!(machine.told(), "CZEZ");
    // The status of the denial's ReadyForQuery is the true one.
    assert!(machine.to_client.ends_with(b"Z\0\0\0\x05T"));
    machine.server(b'C', b"SELECT 1\0").unwrap();
    machine.server(b'Z', b"T").unwrap();
    assert_eq!(tags(&machine.to_server), "QQ");
    assert_eq!(machine.outcomes(), ["BEGIN: BEGIN", "SELECT 2: SELECT 1"]);
}

#[test]
fn a_denied_pipeline_that_ran_something_is_failed_at_the_server() {
    let mut machine = Machine::new();
    machine.run("INSERT");
    assert_eq!(machine.run("forbidden"), [Did::Refused, Did::Dropped, Did::Dropped]);
    assert_eq!(machine.client(b'S', b""), Did::Sent);
    assert_eq!(tags(&machine.to_server), "PBEDS");
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'C', b"INSERT 0 1\0"), (b'E', ERROR), (b'Z', b"I")] {
        machine.server(tag, body).unwrap();
    }
    assert_eq!(machine.told(), "12CEZ");
    let error = machine.to_client.windows(6).position(|bytes| bytes == b"C42501");
    assert!(error.is_some() && !machine.to_client.windows(6).any(|bytes| bytes == b"C22012"));
}

#[test]
fn a_denied_pipeline_that_ran_nothing_leaves_the_transaction_alone() {
    let mut machine = Machine::new();
    machine.run("forbidden");
    machine.client(b'S', b"");
    assert_eq!(tags(&machine.to_server), "S");
    machine.server(b'Z', b"I").unwrap();
    assert_eq!(machine.told(), "EZ");
}

#[test]
fn a_servers_error_skips_our_denial_as_it_skips_the_rest() {
    let mut machine = Machine::new();
    machine.run("SELECT 1/0");
    machine.run("forbidden");
    machine.client(b'S', b"");
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'E', ERROR), (b'Z', b"I")] {
        machine.server(tag, body).unwrap();
    }
    assert_eq!(machine.told(), "12EZ");
    assert_eq!(sql_state(body(&machine.to_client[10..])).as_str(), "22012");
    assert_eq!(machine.outcomes(), ["SELECT 1/0: 22012"]);
}

#[test]
fn what_follows_a_servers_error_is_skipped_until_sync() {
    let mut machine = Machine::new();
    machine.run("a");
    machine.run("b");
    machine.server(b'1', b"").unwrap();
    machine.server(b'E', ERROR).unwrap();
    assert_eq!(machine.run("c"), [Did::Dropped, Did::Dropped, Did::Dropped]);
    assert_eq!(machine.client(b'Q', b"SELECT\0"), Did::Dropped);
    assert_eq!(machine.client(b'S', b""), Did::Sent);
    machine.server(b'Z', b"I").unwrap();
    assert_eq!(machine.run("d"), [Did::Sent, Did::Sent, Did::Sent]);
    assert_eq!(machine.outcomes(), ["b: Skipped", "a: Skipped"]);
}

#[test]
fn a_query_waits_for_the_extended_messages_before_it() {
    let mut machine = Machine::new();
    machine.run("a");
    assert_eq!(machine.client(b'Q', b"SELECT\0"), Did::Settling);
    assert!(machine.to_server.ends_with(ours::FLUSH));
    assert_eq!(machine.client(b'Q', b"SELECT\0"), Did::Stalled);
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'C', b"SELECT 1\0")] {
        machine.server(tag, body).unwrap();
    }
    assert_eq!(machine.client(b'Q', b"SELECT\0"), Did::Sent);
}

#[test]
fn a_name_of_an_unanswered_pipeline_is_waited_for() {
    let mut machine = Machine::new();
    machine.client(b'P', b"a\0SELECT 1\0\0\0");
    machine.client(b'S', b"");
    assert_eq!(machine.client(b'B', b"\0a\0\0\0\0\0\0\0"), Did::Settling);
    machine.server(b'1', b"").unwrap();
    machine.server(b'Z', b"I").unwrap();
    assert_eq!(machine.client(b'B', b"\0a\0\0\0\0\0\0\0"), Did::Sent);
}

#[test]
fn portals_end_with_their_transaction_and_statements_do_not() {
    let mut machine = Machine::new();
    machine.client(b'P', b"a\0SELECT 1\0\0\0");
    machine.client(b'B', b"p\0a\0\0\0\0\0\0\0");
    machine.client(b'S', b"");
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'Z', b"I")] {
        machine.server(tag, body).unwrap();
    }
    assert_eq!(machine.client(b'E', b"p\0\0\0\0\0"), Did::Refused);
    machine.client(b'S', b"");
    machine.server(b'Z', b"I").unwrap();
    assert_eq!(machine.client(b'B', b"p\0a\0\0\0\0\0\0\0"), Did::Sent);
}

#[test]
fn copy_data_goes_on_only_while_the_server_reads_it() {
    let mut machine = Machine::new();
    assert_eq!(machine.client(b'd', b"x"), Did::Dropped);
    machine.client(b'P', b"\0COPY t FROM STDIN\0\0\0");
    machine.client(b'B', &[0; 8]);
    machine.client(b'E', &[0; 5]);
    assert_eq!(machine.client(b'S', b""), Did::Stalled);
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'G', b"\0\0\0")] {
        machine.server(tag, body).unwrap();
    }
    assert_eq!(machine.client(b'S', b""), Did::Dropped);
    assert_eq!(machine.client(b'd', b"x"), Did::Sent);
    assert_eq!(machine.client(b'Q', b"SELECT\0"), Did::Fatal);
    assert_eq!(machine.client(b'c', b""), Did::Sent);
    assert_eq!(machine.client(b'S', b""), Did::Stalled);
    machine.server(b'C', b"COPY 1\0").unwrap();
    assert_eq!(machine.client(b'd', b"x"), Did::Dropped);
    assert_eq!(machine.client(b'S', b""), Did::Sent);
}

#[test]
fn an_earlier_reply_does_not_open_the_gate_of_a_copy() {
    let mut machine = Machine::new();
    machine.run("a");
    machine.client(b'P', b"\0COPY t FROM STDIN\0\0\0");
    machine.client(b'B', &[0; 8]);
    machine.client(b'E', &[0; 5]);
    for (tag, body) in [(b'1', &b""[..]), (b'2', b""), (b'C', b"SELECT 1\0"), (b'1', b""), (b'2', b"")] {
        machine.server(tag, body).unwrap();
        assert_eq!(machine.client(b'S', b""), Did::Stalled);
    }
    machine.server(b'E', ERROR).unwrap();
    assert_eq!(machine.client(b'S', b""), Did::Sent);
}

/// The server's answers to Parse, Bind, Describe, Execute and Sync.
fn answer_with_a_row(machine: &mut Machine) {
    for (tag, body) in [
        (b'1', &b""[..]),
        (b'2', b""),
        (b'T', b"\0\0"),
        (b'D', b"\0\x01\0\0\0\x01 7"),
        (b'C', b"SELECT 1\0"),
        (b'Z', b"I"),
    ] {
        machine.server(tag, body).unwrap();
    }
}

#[test]
fn a_prepared_run_takes_so_many_instructions() {
    let mut machine = Machine::new();
    machine.run("allowed");
    machine.client(b'S', b"");
    let answers = [(b'1', &b""[..]), (b'2', b""), (b'D', b"\0\x01\0\0\0\x01 7"), (b'C', b"SELECT 1\0"), (b'Z', b"I")];
    answers.iter().for_each(|(tag, body)| machine.server(*tag, body).unwrap());
    at_most(module_path!(), "a_prepared_run_takes_so_many_instructions", 36_000, || {
        machine.to_server.clear();
        machine.to_client.clear();
        for (tag, body) in [(b'B', &[0; 8][..]), (b'E', &[0; 5]), (b'S', b"")] {
            assert_eq!(machine.client(tag, body), Did::Sent);
        }
        answers[1..].iter().for_each(|(tag, body)| machine.server(*tag, body).unwrap());
    });
}

#[test]
fn a_rewritten_portal_is_described_to_its_rewriter_alone() {
    let mut machine = Machine::new();
    machine.run("masked");
    machine.client(b'S', b"");
    assert_eq!(tags(&machine.to_server), "PBDES");
    answer_with_a_row(&mut machine);
    assert_eq!(machine.told(), "12DCZ");
    assert!(!machine.to_client.contains(&b'7') && machine.to_client.contains(&b'*'));
}

#[test]
fn a_portal_that_the_client_describes_itself_is_described_once_and_to_both() {
    let mut machine = Machine::new();
    machine.client(b'P', b"\0masked\0\0\0");
    machine.client(b'B', &[0; 8]);
    machine.client(b'D', b"P\0");
    machine.client(b'E', &[0; 5]);
    machine.client(b'S', b"");
    assert_eq!(tags(&machine.to_server), "PBDES");
    answer_with_a_row(&mut machine);
    assert_eq!(machine.told(), "12TDCZ");
    assert!(!machine.to_client.contains(&b'7') && machine.to_client.contains(&b'*'));
    // A Describe of another portal, or of a statement, tells this one's rewriter nothing.
    for describe in [&b"Pother\0"[..], b"S\0"] {
        let mut machine = Machine::new();
        machine.client(b'P', b"\0masked\0\0\0");
        machine.client(b'B', &[0; 8]);
        machine.client(b'D', describe);
        machine.client(b'E', &[0; 5]);
        assert_eq!(tags(&machine.to_server), "PBDDE");
    }
}

/// Every message of a server, in every state of the queue: taken, or a fault, and never a panic.
#[test]
fn every_server_message_in_every_state_is_matched_or_a_fault() {
    let setups: [fn(&mut Machine); 8] = [
        |_| {},
        |machine| assert_eq!(machine.client(b'Q', b"SELECT 1\0"), Did::Sent),
        |machine| assert_eq!(machine.client(b'P', b"\0SELECT 1\0\0\0"), Did::Sent),
        |machine| assert_eq!(machine.client(b'C', b"Sx\0"), Did::Sent),
        |machine| assert_eq!(machine.client(b'D', b"Px\0"), Did::Sent),
        |machine| assert_eq!(machine.client(b'S', b""), Did::Sent),
        |machine| {
            machine.run("x");
            machine.server(b'1', b"").unwrap();
            machine.server(b'2', b"").unwrap();
        },
        |machine| {
            machine.run("x");
            machine.run("forbidden");
        },
    ];
    // What may come in each of them, besides notices, notifications, settings and errors.
    let expected = ["", "CDGHITZcd", "1", "3", "TTnt", "Z", "CDGHIcds", "1"];
    for (setup, expected) in setups.into_iter().zip(expected) {
        for tag in (0..=u8::MAX).filter(|tag| Backend::from_tag(*tag).is_some()) {
            let mut machine = Machine::new();
            setup(&mut machine);
            let body: &[u8] = match tag {
                b'Z' => b"I",
                b'S' => b"TimeZone\0UTC\0",
                b'E' | b'N' => ERROR,
                _ => b"",
            };
            let fits = b"NASE".contains(&tag) || expected.as_bytes().contains(&tag);
            assert_eq!(machine.server(tag, body).is_ok(), fits, "{} in {expected:?}", char::from(tag));
        }
    }
}

/// Every message of a client, in every mode: no panic, and nothing unpermitted goes on.
#[test]
fn every_client_message_in_every_mode_has_an_answer() {
    let setups: [fn(&mut Machine); 4] = [
        |_| {},
        |machine| assert_eq!(machine.run("forbidden")[0], Did::Refused),
        |machine| {
            machine.client(b'Q', b"COPY t FROM STDIN\0");
            machine.server(b'G', b"").unwrap();
        },
        |machine| {
            machine.run("x");
            machine.client(b'S', b"");
        },
    ];
    for setup in setups {
        for tag in (0..=u8::MAX).filter(|tag| Frontend::from_tag(*tag).is_some()) {
            for body in [&b""[..], b"\0", b"\0\0\0\0\0\0\0\0", b"forbidden\0", b"S\0", b"\xff\0\xff\0"] {
                let mut machine = Machine::new();
                setup(&mut machine);
                let before = machine.to_server.len();
                machine.client(tag, body);
                let sent = String::from_utf8_lossy(&machine.to_server[before..]).into_owned();
                // The reason that a client gives for a CopyFail is no statement.
                assert!(!sent.contains("forbidden") || tag == b'f', "{} {body:?}", char::from(tag));
            }
        }
    }
}
