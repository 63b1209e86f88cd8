//! What bodies in protobuf say: the same as JSON of the same object, and what is refused in them.

use bytes::Bytes;

use super::super::{Parsed, read as read_body};
use super::*;
use crate::protocol::kubernetes::uri::{Resource, Verb};

fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

fn bytes(field: u64, inner: impl AsRef<[u8]>) -> Vec<u8> {
    let inner = inner.as_ref();
    [number(field << 3 | 2), number(inner.len() as u64), inner.to_vec()].concat()
}

fn int(field: u64, value: u64) -> Vec<u8> {
    [number(field << 3), number(value)].concat()
}

fn body(version: &str, kind: &str, message: impl AsRef<[u8]>) -> Vec<u8> {
    let kind = [bytes(1, version), bytes(2, kind)].concat();
    // Go's encoder writes the two last ones however empty.
    [START.to_vec(), bytes(1, kind), bytes(2, message), bytes(3, ""), bytes(4, "")].concat()
}

fn whole(verb: Verb, group: &str, resource: &str, body: &[u8]) -> Result<Parsed, BodyFault> {
    let of = Resource { group: group.into(), version: "v1".into(), resource: resource.into(), ..Resource::default() };
    let media = if body.starts_with(START) { "application/vnd.kubernetes.protobuf" } else { "application/json" };
    read_body(verb, &of, media, &Bytes::copy_from_slice(body))
}

fn container() -> Vec<u8> {
    let env =
        [bytes(1, "WORD"), bytes(3, bytes(4, [bytes(1, bytes(1, "password")), bytes(2, "word")].concat()))].concat();
    let context = [int(2, 1), bytes(1, bytes(1, "SYS_ADMIN"))].concat();
    let port = [bytes(1, ""), int(2, 0), int(3, 80), bytes(4, "TCP"), bytes(5, "")].concat();
    [bytes(1, "app"), bytes(2, "registry.acme.example/web:7"), bytes(6, port), bytes(7, env), bytes(15, context)]
        .concat()
}

fn deployment() -> Vec<u8> {
    let volume = [bytes(1, "root"), bytes(2, bytes(1, bytes(1, "/")))].concat();
    let pod =
        [bytes(1, volume), bytes(2, container()), bytes(8, "bot"), int(11, 1), int(12, 0), bytes(16, "")].concat();
    let labels = bytes(11, [bytes(1, "app"), bytes(2, "web")].concat());
    let meta = [bytes(1, "web"), bytes(4, ""), bytes(8, ""), bytes(15, ""), labels].concat();
    let spec = [int(1, 0), bytes(3, [bytes(1, ""), bytes(2, pod)].concat()), int(5, 0)].concat();
    body("apps/v1", "Deployment", [bytes(1, meta), bytes(2, spec), bytes(3, "")].concat())
}

#[test]
fn says_what_json_of_the_same_object_says() {
    let json = r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","labels":{"app":"web"}},"spec":{
        "replicas":0,"template":{"spec":{"serviceAccountName":"bot","hostNetwork":true,
        "volumes":[{"name":"root","hostPath":{"path":"/"}}],"containers":[{"name":"app",
        "image":"registry.acme.example/web:7","ports":[{"containerPort":80,"protocol":"TCP"}],
        "env":[{"name":"WORD","valueFrom":{"secretKeyRef":{"name":"password","key":"word"}}}],
        "securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}}]}}}}"#;
    let facts = |body: &[u8]| whole(Verb::Create, "apps", "deployments", body).unwrap().facts.unwrap();
    let read = facts(&deployment());
    assert_eq!(read, facts(json.as_bytes()));
    assert!(read.privileged && read.host_access && read.replicas == Some(0), "{read:?}");
}

#[test]
fn the_bytes_go_on_as_they_came() {
    assert!(whole(Verb::Create, "apps", "deployments", &deployment()).unwrap().onward.is_none());
}

#[test]
fn options_of_deletes_are_read() {
    let options = body("apps/v1", "DeleteOptions", [bytes(4, "Orphan"), bytes(5, "All")].concat());
    let parsed = whole(Verb::Delete, "apps", "deployments", &options).unwrap();
    assert_eq!((parsed.dry_run, parsed.propagation.as_deref()), (true, Some("Orphan")));
}

#[test]
fn masks_are_not_written_back() {
    for (field, value) in [(2, "[secret•••]"), (4, "[secret•••]"), (4, "W3NlY3JldOKAouKAouKAol0=")] {
        let entry = bytes(field, [bytes(1, "word"), bytes(2, value)].concat());
        let read = whole(Verb::Update, "", "secrets", &body("v1", "Secret", entry));
        assert_eq!(read.err(), Some(BodyFault::Mask), "{field} {value}");
    }
}

#[test]
fn what_the_table_lacks_is_named_with_the_way_out() {
    let said = |body: Vec<u8>| read(&body).unwrap_err().to_string();
    let kind = said(body("example.com/v1", "Widget", ""));
    assert_eq!(kind, "`example.com/v1 Widget` in a body of protobuf cannot be read here: send application/json");
    assert!(said(body("v1", "Pod", bytes(99, ""))).starts_with("`field 99 of core.v1.Pod`"));
}

#[test]
fn what_two_readers_take_for_two_things_is_refused() {
    let pod = |spec: Vec<u8>| body("v1", "Pod", bytes(2, spec));
    let twice = [bytes(1, "a"), bytes(1, "a")].concat();
    let entry = bytes(2, [bytes(1, "k"), bytes(2, "v")].concat());
    let raw = |inner: Vec<u8>| body("apps/v1", "ControllerRevision", bytes(2, bytes(1, inner)));
    let deep = (0..100).fold(raw(b"{}".to_vec()), |inner, _| raw(inner));
    let cases = [
        ("a field twice", pod([bytes(8, "a"), bytes(8, "b")].concat())),
        ("a message twice", body("v1", "Pod", [bytes(2, ""), bytes(2, int(11, 1))].concat())),
        ("a key twice", body("v1", "ConfigMap", [entry.clone(), entry].concat())),
        ("a boolean of two", pod(int(11, 2))),
        ("a number that is cut", body("apps/v1", "Deployment", bytes(2, int(1, 1 << 32)))),
        ("a number that never ends", pod([number(11 << 3), vec![0xff; 11]].concat())),
        ("a name that is a number", pod(int(8, 1))),
        ("a number that is a name", pod(bytes(11, "x"))),
        ("a fixed number", pod([vec![11 << 3 | 5], vec![0; 4]].concat())),
        ("a group", pod(vec![11 << 3 | 3, 11 << 3 | 4])),
        ("a field number that wraps", pod([number((1 << 35) | (11 << 3)), number(1)].concat())),
        ("no text", pod(bytes(8, [0xff]))),
        ("a length beyond the end", pod(vec![8 << 3 | 2, 9])),
        ("a kind twice", [START.to_vec(), bytes(1, twice), bytes(2, "")].concat()),
        ("an envelope twice", [body("v1", "Pod", ""), bytes(2, int(11, 1))].concat()),
        ("another encoding", [START.to_vec(), bytes(1, bytes(2, "Pod")), bytes(3, "gzip")].concat()),
        ("no kind", body("v1", "", "")),
        ("no envelope", b"{}".to_vec()),
        ("an object inside that is none", raw(b"{\"a\":1,\"a\":2}".to_vec())),
        ("too deep", deep),
    ];
    for (what, body) in cases {
        assert!(read(&body).is_err(), "{what}");
    }
    assert!(read(&raw(raw(b"{\"a\":1}".to_vec()))).is_ok());
}

#[test]
fn cut_anywhere_it_is_no_object() {
    let all = deployment();
    // What ends an envelope may be left out.
    for length in 0..all.len() - 4 {
        assert!(read(&all[..length]).is_err(), "{length}");
    }
}
