//! Clients and servers that do not keep to the protocol.

use crate::cluster::*;
use crate::wire_support::*;
use gateway::protocol::postgres::*;
use gateway::upstream::tls::TlsMode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0al\0database\0postgres\0\0";
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend(body);
    out
}

/// Reads until the stream ends, or is ready.
async fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match tokio::time::timeout(Duration::from_secs(20), stream.read(&mut buffer))
            .await
            .expect("an answer or an end")
        {
            Ok(0) | Err(_) => return out,
            Ok(count) => out.extend(&buffer[..count]),
        }
    }
}

async fn logged_in(gateway: &Relay) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    stream.write_all(&startup()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\0\0\0\x05I") {
        seen.push(stream.read_u8().await.unwrap());
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_first_packets_get_an_error_or_a_closed_connection() {
    let gateway = Relay::usual().await;
    let ssl = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    let cases: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0, 0, 0, 4],
        vec![0xff; 64],
        [&ssl[..], b"Q\0\0\0\x04"].concat(),
        [0, 0, 0, 12, 4, 0xd2, 0x16, 0x2f, 0, 0, 0, 0].to_vec(),
        [&startup()[..], b"Q"].concat(),
        vec![0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5],
        [0, 0, 0, 9, 0, 3, 0, 0, 0].to_vec(),
    ];
    for case in cases {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        stream.write_all(&case).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.first().is_none_or(|byte| matches!(byte, b'E' | 0x15)), "{case:?} {answer:?}");
        let cause = gateway.end().await.cause;
        assert!(matches!(cause, Cause::Accept(_) | Cause::Settings(_)), "{case:?} {cause:?}");
    }
    assert!(gateway.run("al", &[], &["SELECT 1"]).await.ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_end_the_session_with_a_protocol_error() {
    let gateway = Relay::usual().await;
    let cases: Vec<Vec<u8>> = vec![
        frame(b'?', b""),
        b"Q\0\0\0\x03".to_vec(),
        frame(b'Q', b"SELECT 1"),
        frame(b'P', b"x\0SELECT"),
        frame(b'B', b"x"),
        frame(b'E', b"\0\0"),
        frame(b'D', b"Xname\0"),
        frame(b'C', b"S"),
        frame(b'S', b"x"),
        frame(b'p', b"secret\0"),
        frame(b'D', &[b'S'; 100_000]),
        frame(b'P', b"/gateway/refused\0SELECT 1\0\0\0"),
        frame(b'B', b"\xff\0\xff\0\0\0\0\0\0\0"),
    ];
    for case in cases {
        let mut stream = logged_in(&gateway).await;
        stream.write_all(&case).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(
            answer.starts_with(b"E") && answer.windows(6).any(|w| w == b"C08P01"),
            "{case:?} {:?}",
            String::from_utf8_lossy(&answer)
        );
        assert!(matches!(gateway.end().await.cause, Cause::ClientProtocol { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_cannot_be_read_is_refused_and_the_session_goes_on() {
    let gateway = Relay::usual().await;
    let mut stream = logged_in(&gateway).await;
    let mut bytes = frame(b'Q', b"SELECT '\xff'\0");
    bytes.extend(frame(b'Q', b"SELECT 1\0 2\0"));
    bytes.extend(frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"));
    bytes.extend(frame(b'd', b"data for nobody"));
    bytes.extend(frame(b'Q', b"SELECT 42\0"));
    bytes.extend(frame(b'X', b""));
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    for code in [b"C22021", b"C0A000"] {
        assert!(answer.windows(6).any(|w| w == code));
    }
    assert!(answer.windows(2).any(|w| w == b"42"));
    assert_eq!(gateway.log()[..3], ["refused 22021", "refused 22021", "refused 0A000"]);
    assert_eq!(answer.windows(6).filter(|w| *w == b"Z\0\0\0\x05I").count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_in_a_pipeline_rolls_back_what_ran_before_it() {
    let gateway = Relay::usual().await;
    Version::V15.encrypted().admin("CREATE TABLE rolled (a int); GRANT ALL ON rolled TO PUBLIC");
    let mut stream = logged_in(&gateway).await;
    let run = |text: &str| {
        [
            frame(b'P', format!("\0{text}\0\0\0").as_bytes()),
            frame(b'B', b"\0\0\0\0\0\0\0\0"),
            frame(b'E', b"\0\0\0\0\0"),
        ]
        .concat()
    };
    let bytes = [
        run("INSERT INTO rolled VALUES (1)"),
        run("SELECT 'forbidden'"),
        run("INSERT INTO rolled VALUES (2)"),
        frame(b'S', b""),
        run("INSERT INTO rolled VALUES (3)"),
        frame(b'S', b""),
        frame(b'Q', b"SELECT 'end'\0"),
        frame(b'X', b""),
    ]
    .concat();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("What the same pipeline did before it is rolled back.") && text.contains("end"), "{text}");
    assert_eq!(answer.windows(6).filter(|w| *w == b"Z\0\0\0\x05I").count(), 3);
    assert_eq!(Version::V15.encrypted().admin("SELECT string_agg(a::text, ',') FROM rolled"), "3");
    // A denied simple query behind messages without a Sync fails them too.
    let mut stream = logged_in(&gateway).await;
    let bytes = [
        run("INSERT INTO rolled VALUES (4)"),
        frame(b'Q', b"SELECT 'forbidden'\0"),
        frame(b'Q', b"SELECT 'end'\0"),
        frame(b'X', b""),
    ]
    .concat();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert_eq!(answer.windows(6).filter(|w| *w == b"Z\0\0\0\x05I").count(), 2, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(Version::V15.encrypted().admin("SELECT string_agg(a::text, ',') FROM rolled"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_from_a_pipeline_that_may_have_failed_is_waited_for() {
    let gateway = Relay::usual().await;
    let mut stream = logged_in(&gateway).await;
    let parse = |name: &str, text: &str| frame(b'P', format!("{name}\0{text}\0\0\0").as_bytes());
    let run =
        |name: &str| [frame(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()), frame(b'E', b"\0\0\0\0\0")].concat();
    let sync = frame(b'S', b"");
    // The second pipeline fails before it redefines `a`; the third must run, and be judged as, the first definition.
    let bytes = [
        parse("a", "SELECT 'first'"),
        sync.clone(),
        parse("", "SELECT 1/0"),
        run(""),
        frame(b'C', b"Sa\0"),
        parse("a", "SELECT 'second'"),
        sync.clone(),
        run("a"),
        sync.clone(),
        frame(b'X', b""),
    ]
    .concat();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("division by zero"), "{text}");
    let log = gateway.log();
    let ran_first = text.contains("first") && log.iter().any(|line| line.starts_with("SELECT 'first' -> SELECT 1"));
    assert!(!text.contains("second") && (ran_first || text.contains("C26000")), "{text} {log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_cannot_swallow_what_is_sent_behind_it() {
    let gateway = Relay::usual().await;
    let mut stream = logged_in(&gateway).await;
    // The judge does not know this one for a COPY; the statement behind it would be read as data.
    let bytes = [frame(b'Q', b"COPY t FROM/**/STDIN\0"), frame(b'Q', b"SELECT 'behind'\0")].concat();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.windows(5).any(|w| w == b"FATAL") && !answer.windows(6).any(|w| w == b"behind"));
    assert!(matches!(gateway.end().await.cause, Cause::ServerProtocol(Fault::CopyOutOfTurn)));
    // Known for a COPY, the statement waits; it is then no COPY data.
    let mut stream = logged_in(&gateway).await;
    let bytes = [frame(b'Q', b"COPY t FROM STDIN\0"), frame(b'Q', b"SELECT 'behind'\0")].concat();
    stream.write_all(&bytes).await.unwrap();
    read_all(&mut stream).await;
    assert!(matches!(gateway.end().await.cause, Cause::ClientProtocol { .. }));
}

/// A server that lets anybody in and then says this.
async fn says(words: Vec<u8>) -> (Relay, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let words = words.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let hello = [
                    frame(b'R', &[0; 4]),
                    frame(b'S', b"client_encoding\0UTF8\0"),
                    frame(b'S', b"standard_conforming_strings\0on\0"),
                    frame(b'K', &[0, 0, 0, 1, 1, 2, 3, 4]),
                    frame(b'Z', b"I"),
                ]
                .concat();
                let _ = stream.write_all(&hello).await;
                // The gateway asks for the search path.
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&[frame(b'C', b"SELECT 0\0"), frame(b'Z', b"I")].concat()).await;
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(&words).await;
                while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            });
        }
    });
    let tls = Version::V15.encrypted().tls(TlsMode::Disable);
    let mut options = options(tls, LoginMode::Relay);
    options.limits.end = Duration::from_millis(200);
    let gateway = Relay::start(port, options).await;
    let stream = logged_in(&gateway).await;
    (gateway, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_turn_is_cut_off_before_the_client_sees_it() {
    let cases: Vec<Vec<u8>> = vec![
        frame(b'?', b"secret"),
        b"D\0\0\0\x01".to_vec(),
        frame(b'1', b"secret"),
        frame(b'W', b"secret"),
        frame(b'V', b"secret"),
        frame(b'R', &[0; 4]),
        frame(b'K', b"secretse"),
        frame(b'Z', b"X"),
        frame(b'Z', b"secret"),
        [frame(b'Z', b"I"), frame(b'D', b"secret")].concat(),
        frame(b's', b"secret"),
        frame(b'S', b"client_encoding\0secret\0"),
        frame(b'S', b"secret"),
        b"E\x7f\xff\xff\xffsecret".to_vec(),
        frame(b't', b"secret"),
        frame(b'3', b""),
    ];
    for case in cases {
        let (gateway, mut stream) = says(case.clone()).await;
        stream.write_all(&frame(b'Q', b"SELECT 1\0")).await.unwrap();
        let answer = read_all(&mut stream).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("FATAL") && !text.contains("secret"), "{case:?} {text}");
        let cause = gateway.end().await.cause;
        assert!(matches!(cause, Cause::ServerProtocol(_)), "{case:?} {cause:?}");
    }
}

/// Logs in with this protocol version and these further parameters; returns the stream and all that was said.
async fn logged_in_as(gateway: &Relay, version: u32, more: &[u8]) -> (TcpStream, Vec<u8>) {
    let body = [&version.to_be_bytes()[..], b"user\0al\0database\0postgres\0", more, b"\0"].concat();
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    stream.write_all(&[&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\0\0\0\x05I") {
        seen.push(stream.read_u8().await.unwrap());
    }
    (stream, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_protocols_get_long_keys_that_cancel() {
    let gateway = Relay::usual_on(Version::V18).await;
    // An older server has no newer protocol, and neither has who asks it for one.
    let older = Relay::usual().await;
    let (_, seen) = logged_in_as(&older, 0x0003_0002, b"").await;
    assert!(seen.starts_with(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0"), "{seen:?}");
    assert!(seen.windows(5).any(|w| w == b"K\0\0\0\x0c"));
    let (_, seen) = logged_in_as(&gateway, 0x0003_0000, b"").await;
    assert!(seen.windows(5).any(|w| w == b"K\0\0\0\x0c"));
    let (_, seen) = logged_in_as(&gateway, 0x0003_270f, b"_pq_.x\0y\0").await;
    assert!(seen.starts_with(b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"), "{seen:?}");
    let (mut stream, seen) = logged_in_as(&gateway, 0x0003_0002, b"").await;
    let at = seen.windows(5).position(|w| w == b"K\0\0\0\x28").expect("a key of 32 bytes");
    let key = seen[at + 5..at + 5 + 36].to_vec();
    stream.write_all(&frame(b'Q', b"SELECT pg_sleep(60) AS marker_four\0")).await.unwrap();
    until(|| {
        Version::V18
            .encrypted()
            .admin("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%marker_four%'")
            != "0"
    })
    .await;
    let mut wrong = key.clone();
    wrong[35] ^= 1;
    for (key, found) in [(wrong, Found::Nothing), (key, Found::Session)] {
        let mut cancel = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        cancel.write_all(&[&[0, 0, 0, 44, 4, 0xd2, 0x16, 0x2e][..], &key].concat()).await.unwrap();
        assert!(read_all(&mut cancel).await.is_empty());
        loop {
            if let Cause::CancelRequest(was) = gateway.end().await.cause {
                assert_eq!(was, found);
                break;
            }
        }
    }
    stream.write_all(&frame(b'X', b"")).await.unwrap();
    assert!(read_all(&mut stream).await.windows(6).any(|w| w == b"C57014"));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_tls_needs_the_protocols_name_and_a_login_of_ours() {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use std::sync::Arc;
    let connect = async |gateway: &Relay, alpn: &[&[u8]]| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(leaf().1.as_bytes()).unwrap()).unwrap();
        let mut config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        let mut seen = Vec::new();
        let _ = stream.write_all(&startup()).await;
        let _ = stream.flush().await;
        while !seen.ends_with(b"Z\0\0\0\x05I") {
            match stream.read_u8().await {
                Ok(byte) => seen.push(byte),
                Err(_) => break,
            }
        }
        seen
    };
    let gateway = Relay::usual().await;
    assert!(connect(&gateway, &[b"postgresql"]).await.starts_with(b"R\0\0\0\x08\0\0\0\0"));
    assert!(connect(&gateway, &[]).await.is_empty());
    let cluster = Version::V15.encrypted();
    let gateway = Relay::start(cluster.port, options(cluster.tls(TlsMode::Prefer), LoginMode::Relay)).await;
    let seen = connect(&gateway, &[b"postgresql"]).await;
    assert!(String::from_utf8_lossy(&seen).contains("your password cannot be passed on: both sides use TLS"));
}
