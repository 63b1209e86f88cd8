//! Cancelling, and sessions that end.

use crate::cluster::*;
use crate::wire_support::*;
use gateway::protocol::postgres::{Cause, Found, LoginMode};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Waits until so many statements were held.
async fn has_held(gateway: &Relay, count: usize) {
    let judge = std::sync::Arc::clone(&gateway.judge);
    until(move || judge.holds() == count).await;
}

fn running(marker: &str) -> bool {
    Version::V15.encrypted().admin(&format!("SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND query LIKE '%{marker}%' AND pid <> pg_backend_pid()")) != "0"
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_psql_cancels_at_the_server_and_keeps_the_session() {
    let gateway = Relay::usual().await;
    let mut psql =
        gateway.psql("al", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = psql.stdin.take().unwrap();
    input.write_all(b"SELECT pg_sleep(60) AS marker_one;\nSELECT 'still here';\n").await.unwrap();
    until(|| running("marker_one")).await;
    let pid = psql.id().unwrap().to_string();
    // From a script psql stops at an interrupt; the cancel request is what counts.
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    until(|| !running("marker_one")).await;
    drop(input);
    let out = psql.wait_with_output().await.unwrap();
    assert!(String::from_utf8_lossy(&out.stderr).contains("canceling statement due to user request"), "{out:?}");
    let (one, two) = (gateway.end().await.cause, gateway.end().await.cause);
    assert!([one, two].iter().any(|cause| matches!(cause, Cause::CancelRequest(Found::Session))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_ends_a_hold() {
    let gateway = Relay::usual().await;
    let client = gateway.connect().await;
    let token = client.cancel_token();
    let log = async {
        has_held(&gateway, 1).await;
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    };
    let (held, ()) = tokio::join!(client.simple_query("SELECT 'held'"), log);
    assert_eq!(held.unwrap_err().code().unwrap().code(), "57014");
    assert!(client.simple_query("SELECT 1").await.is_ok());
    let (held, ()) = tokio::join!(client.query("SELECT 'held'", &[]), async {
        has_held(&gateway, 2).await;
        client.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    });
    assert_eq!(held.unwrap_err().code().unwrap().code(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_belongs_to_nobody_is_answered_like_any_other() {
    let gateway = Relay::usual().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", gateway.port)).await.unwrap();
    stream.write_all(&[0, 0, 0, 16, 4, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 1, 2, 3, 4]).await.unwrap();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_grant_ends_is_told_and_its_work_is_cancelled() {
    let gateway = Relay::usual().await;
    let mut psql = gateway
        .psql("al", &[])
        .args(["-c", "BEGIN; CREATE TABLE gone (a int); SELECT pg_sleep(60) AS marker_two"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(psql.stderr.take().unwrap());
    until(|| running("marker_two")).await;
    gateway.end_all.send(true).unwrap();
    let mut line = String::new();
    err.read_line(&mut line).await.unwrap();
    assert!(line.contains("the grant of this session has ended"), "{line}");
    let end = gateway.end().await;
    assert!(matches!(end.cause, Cause::Ended(_)), "{end:?}");
    assert!(!running("marker_two"));
    assert_eq!(Version::V15.encrypted().admin("SELECT count(*) FROM pg_class WHERE relname = 'gone'"), "0");
    assert!(gateway.log().iter().any(|line| line.contains("failed 57014")), "{:?}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_takes_its_statement_with_it() {
    let gateway = Relay::usual().await;
    let mut psql = gateway.psql("al", &[]).args(["-c", "SELECT pg_sleep(60) AS marker_three"]).spawn().unwrap();
    until(|| running("marker_three")).await;
    psql.kill().await.unwrap();
    assert!(matches!(gateway.end().await.cause, Cause::ClientLost));
    until(|| !running("marker_three")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_the_session_is_heard_by_the_client() {
    let gateway = Relay::usual().await;
    let ran = gateway.run("al", &[], &["SELECT pg_terminate_backend(pg_backend_pid())"]).await;
    assert!(ran.err.contains("terminating connection due to administrator command"), "{ran:?}");
    assert!(matches!(gateway.end().await.cause, Cause::ServerClosed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_ends_when_it_may_not_stay() {
    let cluster = Version::V15.plain();
    let mut options = options(cluster.tls(gateway::upstream::tls::TlsMode::Prefer), LoginMode::Relay);
    options.limits.idle = Some(Duration::from_secs(3));
    let gateway = Relay::start(cluster.port, options).await;
    let (client, connection) = tokio_postgres::connect(
        &format!("host=127.0.0.1 port={} user=trust_user dbname=postgres", gateway.port),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await.unwrap();
    assert!(matches!(gateway.end().await.cause, Cause::IdleTimeout));
}
