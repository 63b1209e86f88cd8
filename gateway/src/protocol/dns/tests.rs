//! What is read of questions and answers, and what is not.

use hickory_proto::rr::rdata::{A, CNAME};

use super::*;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(text: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message.to_vec().unwrap()
}

fn read(text: &str) -> Question {
    Question::read(&question(text, RecordType::A)).unwrap()
}

/// An answer of a server to what was asked, changed by `change`.
fn answered(asked: &Asked, change: impl Fn(&mut Message)) -> Vec<u8> {
    let mut message = Message::from_vec(&asked.bytes).unwrap();
    message.metadata.message_type = MessageType::Response;
    change(&mut message);
    message.to_vec().unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
}

fn alias(owner: &str, of: &str) -> Record {
    Record::from_rdata(name(owner), 30, RData::CNAME(CNAME(name(of))))
}

#[test]
fn takes_addresses_along_the_aliases_of_the_name_and_no_others() {
    let question = read("API.example.com.");
    assert_eq!(question.host_name(), Some("api.example.com"));
    let asked = question.ask().unwrap();
    let bytes = answered(&asked, |message| {
        message.add_answers([
            alias("api.example.com.", "cdn.example.net."),
            a("evil.example.com.", 300, 66),
            a("cdn.example.net.", 300, 1),
            a("CDN.example.net.", 20, 2),
        ]);
        message.add_additional(a("api.example.com.", 300, 67));
    });
    let answer = question.answer(&asked, &bytes).unwrap();
    assert_eq!(answer.addresses, [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from));
    assert_eq!(answer.ttl, Duration::from_secs(20));
    assert_eq!(answer.bytes[..2], question.message.metadata.id.to_be_bytes(), "the number that the client awaits");
    assert_eq!(answer.bytes[2..], bytes[2..]);
}

#[test]
fn an_answer_to_another_question_or_number_is_none() {
    let question = read("api.example.com.");
    let asked = question.ask().unwrap();
    let wrong: [fn(&mut Message); 5] = [
        |message| message.metadata.id ^= 1,
        |message| message.metadata.message_type = MessageType::Query,
        |message| message.queries.clear(),
        |message| message.queries[0].name = Name::from_ascii("evil.example.com.").unwrap(),
        |message| message.queries[0].query_type = RecordType::AAAA,
    ];
    for change in wrong {
        assert_eq!(question.answer(&asked, &answered(&asked, change)), Err(Unread::Answer));
    }
    assert!(question.answer(&asked, &answered(&asked, |_| {})).is_ok());
}

#[test]
fn aliases_that_never_end_are_no_answer() {
    let question = read("a.example.com.");
    let asked = question.ask().unwrap();
    let bytes = answered(&asked, |message| {
        message.add_answers([alias("a.example.com.", "b.example.com."), alias("b.example.com.", "a.example.com.")]);
    });
    assert_eq!(question.answer(&asked, &bytes), Err(Unread::Answer));
}

#[test]
fn a_dot_inside_a_label_is_no_dot_between_two() {
    let labels: [&[u8]; 2] = [b"a.example", b"com"];
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_labels(labels).unwrap(), RecordType::A));
    let question = Question::read(&message.to_vec().unwrap()).unwrap();
    assert_eq!(question.host_name(), None);
}

#[test]
fn no_cut_of_a_question_is_read_as_another_and_none_panics() {
    let whole = question("api.example.com.", RecordType::A);
    for length in 0..whole.len() {
        assert!(Question::read(&whole[..length]).is_err(), "{length}");
        assert_eq!(not_understood(&whole[..length]).is_some(), length >= HEADER);
    }
    let two = [&whole[..4], &[0, 2], &whole[6..], &whole[12..]].concat();
    assert!(Question::read(&two).is_err(), "two questions in one");
}

proptest::proptest! {
    #[test]
    fn a_changed_answer_is_refused_or_gives_no_address_that_is_not_in_it(
        at in 0_usize..200, byte: u8, cut in 0_usize..200,
    ) {
        let question = read("api.example.com.");
        let asked = question.ask().unwrap();
        let mut bytes = answered(&asked, |message| {
            message.add_answers([alias("api.example.com.", "b.example.com."), a("b.example.com.", 20, 7)]);
        });
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(cut.max(12));
        if let Ok(answer) = question.answer(&asked, &bytes) {
            proptest::prop_assert!(answer.addresses.len() <= 1);
            let written = |address: &IpAddr| match address {
                IpAddr::V4(v4) => bytes.windows(4).any(|window| *window == v4.octets()),
                IpAddr::V6(_) => false,
            };
            proptest::prop_assert!(answer.addresses.iter().all(written));
        }
    }
}

#[test]
fn an_answer_is_not_answered() {
    let mut bytes = question("api.example.com.", RecordType::A);
    bytes[2] |= 0x80;
    assert_eq!(not_understood(&bytes), None);
    assert!(Question::read(&bytes).is_err());
}

#[test]
fn what_is_said_instead_repeats_the_question() {
    let question = read("x.example.com.");
    for (instead, code) in [
        (Instead::NoName, ResponseCode::NXDomain),
        (Instead::NoRecords, ResponseCode::NoError),
        (Instead::Failure, ResponseCode::ServFail),
    ] {
        let message = Message::from_vec(&question.instead(instead)).unwrap();
        assert_eq!(message.metadata.response_code, code);
        assert_eq!(message.metadata.id, question.message.metadata.id);
        assert_eq!(message.queries, std::slice::from_ref(&question.query));
    }
}
