//! Requests that two readers could take for two things, and floods: a clear 4xx, an event, and the next request is served.

use std::process::Stdio;

use crate::node::ADDRESS;
use crate::site::{Site, ran};

/// Bytes sent over TLS as they are, and what came back.
fn raw(site: &Site, number: usize, bytes: &str) -> String {
    let file = site.world.file(&format!("raw-{number}"), bytes);
    let script = format!(
        "(cat {}; sleep 8) | timeout 60 openssl s_client -quiet -verify_quiet -connect 10.99.0.2:6443 2>/dev/null",
        file.display()
    );
    ran(&mut site.command(&["sh", "-c", &script])).out
}

#[test]
fn requests_that_can_be_read_twice_are_refused() {
    let site = Site::new();
    let _gateway = site.attach();
    let ns = &site.namespace;
    let cases = [
        ("absolute form", "GET https://other/api/v1/secrets HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("two hosts", "GET /api/v1/pods HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        ("no host", "GET /api/v1/pods HTTP/1.1\r\n\r\n".to_owned()),
        ("two lengths", "POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}".to_owned()),
        ("a length and chunks", "POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()),
        ("a bare CR", "GET /api/v1/pods HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n".to_owned()),
        ("a folded header", "GET /api/v1/pods HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n".to_owned()),
        ("a space in a name", "GET /api/v1/pods HTTP/1.1\r\nHost : a\r\n\r\n".to_owned()),
        ("no version", "GET /api/v1/pods\r\n\r\n".to_owned()),
        ("another encoding", "POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n{}".to_owned()),
        ("a body of a GET", "GET /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("two media types", "POST /api/v1/pods HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        ("no HTTP", "hello\r\n\r\n".to_owned()),
    ];
    // Each keeps its connection open for a while, so that a busy machine has time to answer.
    std::thread::scope(|scope| {
        for (number, (what, request)) in cases.iter().enumerate() {
            let site = &site;
            scope.spawn(move || {
                let said = raw(site, number, request);
                assert!(said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4"), "{what}: {said}");
            });
        }
    });
    for path in [
        "/api/v1//pods",
        "/api/v1/./pods",
        "/api/v1/namespaces/a/../b/pods",
        "/api/v1/namespaces/a%2fpods",
        "/api/v1/pods;a=b",
        "/api/v1/pods%00",
        "/api/v1/%2e%2e/pods",
        "/api/v1/pods?watch=0&watch=1",
        "/api/v1/pods?a=b;watch=1",
        "/api/v1/pods/%ff",
    ] {
        let ran = site.curl(&[], path);
        assert!(ran.out.contains("\"code\":400"), "{path}: {ran:?}");
    }
    for method in ["OPTIONS", "TRACE", "get", "PROPFIND"] {
        let ran = site.curl(&["-X", method, "-i"], "/api/v1/pods");
        assert!(ran.out.contains(" 400"), "{method}: {ran:?}");
    }
    let refused = site.world.events("kubernetes.request");
    let of = |text: &str| {
        refused
            .iter()
            .filter(|event| event["body"]["decision"]["message"].as_str().is_some_and(|why| why.contains(text)))
            .count()
    };
    assert!(of("no HTTP") >= 3 && of("more than once") >= 2 && of("empty, `.` or `..`") >= 3, "{refused:#?}");
    assert!(site.kubectl(&["get", "pods"]).ok, "{ns}");
}

#[test]
fn what_is_too_large_is_refused_and_the_rest_is_served() {
    let site = Site::new();
    let _gateway = site.attach();
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    site.world.file("large", &"x".repeat(4 * 1024 * 1024));
    let large = format!("@{}", site.world.directory().join("large").display());
    for version in ["--http1.1", "--http2"] {
        let ran = site
            .curl(&[version, "--data-binary", &large, "-H", "content-type: application/json", "-H", "expect:"], &path);
        assert!(ran.out.contains("\"code\":413"), "{version}: {ran:?}");
        let header = format!("x: {}", "y".repeat(100_000));
        let ran = site.curl(&[version, "-H", &header, "-i"], "/api/v1/pods");
        assert!(!ran.ok || ran.out.contains(" 4"), "{version}: {ran:?}");
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        let ran = site.curl(&[version, "-d", &deep, "-H", "content-type: application/json"], &path);
        assert!(ran.out.contains("\"code\":400"), "{version}: {ran:?}");
        let ran = site.curl(
            &[version, "-d", "{}", "-H", "content-type: application/json", "-H", "content-encoding: gzip"],
            &path,
        );
        assert!(ran.out.contains("\"code\":415"), "{version}: {ran:?}");
    }
    assert!(site.kubectl(&["get", "pods"]).ok);
}

/// An answer that came before would be a fault of the stream to a client that has its body still to send.
#[test]
fn a_refusal_of_a_request_comes_when_its_body_has_come() {
    let site = Site::new();
    let _gateway = site.attach();
    let ca = site.ca().display().to_string();
    let url = format!("https://{ADDRESS}:6443/api/v1/namespaces/{}/configmaps", site.namespace);
    for version in ["--http1.1", "--http2"] {
        let script = format!(
            "(sleep 1; echo '{{}}') | timeout 20 curl -sS {version} --cacert {ca} -X POST -T - -H expect: \
             -H 'content-type: application/json' -H 'content-encoding: gzip' {url}"
        );
        let ran = ran(&mut site.command(&["sh", "-c", &script]));
        assert!(ran.ok && ran.out.contains("\"code\":415"), "{version}: {ran:?}");
    }
}

/// Each is some 20,000 frames, or fewer where the gateway has enough before.
#[test]
fn a_flood_of_http2_ends_its_connection_and_nobody_elses() {
    let site = Site::new();
    let _gateway = site.attach();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/clients/flood.py");
    let script = site.world.file("flood.py", &std::fs::read_to_string(script).unwrap()).display().to_string();
    std::thread::scope(|scope| {
        let floods = ["resets", "continuations", "broken"].map(|which| {
            let words = ["timeout", "120", "/usr/bin/python3", &script, ADDRESS, "6443", which];
            let mut flood = site.command(&words);
            scope.spawn(move || (which, ran(&mut flood)))
        });
        assert!(site.kubectl(&["get", "pods"]).ok, "meanwhile");
        for flood in floods {
            let (which, said) = flood.join().unwrap();
            assert!(said.out.starts_with("ended:") || said.out.contains("goaway"), "{which}: {said:?}");
        }
    });
    let refused = site.world.events("kubernetes.request");
    let why = |event: &serde_json::Value| event["body"]["decision"]["message"].as_str().map(str::to_owned);
    let of_http: Vec<_> = refused.iter().filter_map(why).filter(|why| why.contains("no HTTP")).collect();
    assert!(of_http.len() >= 2, "{refused:#?}");
    assert!(site.kubectl(&["get", "pods"]).ok);
}

/// Whoever opens connections and says nothing, or not all, is in nobody's way, and does not stay.
#[test]
fn slow_clients_are_in_nobodys_way_and_do_not_stay() {
    let site = Site::new();
    let _gateway = site.attach();
    let script = site.world.file("slow.py", include_str!("clients/slow.py")).display().to_string();
    std::thread::scope(|scope| {
        let mut slow = site.command(&["timeout", "120", "/usr/bin/python3", &script, ADDRESS, "6443"]);
        let slow = scope.spawn(move || ran(&mut slow));
        for _ in 0..5 {
            assert!(site.kubectl(&["get", "pods"]).ok, "meanwhile");
        }
        let said = slow.join().unwrap();
        assert!(
            said.out.starts_with("300 without a handshake: closed\na body that never ends: HTTP/1.1 400"),
            "{said:?}"
        );
        assert!(said.out.contains("the body took too long"), "{said:?}");
    });
    assert!(site.kubectl(&["get", "pods"]).ok);
}

#[test]
fn a_name_that_is_not_the_targets_is_shown_no_certificate() {
    let site = Site::new();
    let _gateway = site.attach();
    let handshake = |name: &str| {
        let script = format!("timeout 20 openssl s_client -connect 10.99.0.2:6443 {name} </dev/null 2>&1");
        ran(site.command(&["sh", "-c", &script]).stdin(Stdio::null())).out
    };
    assert!(handshake("-noservername").contains("BEGIN CERTIFICATE"));
    let other = handshake("-servername other.example");
    assert!(!other.contains("BEGIN CERTIFICATE"), "{other}");
}
