//! The simple protocol: allowed, denied, held, large.

use crate::cluster::*;
use crate::wire_support::*;
use gateway::protocol::postgres::Cause;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_statement_is_told_and_the_session_goes_on() {
    let gateway = Relay::usual().await;
    let ran = gateway.run("al", &[], &["SELECT 1", "SELECT 'forbidden'", "SELECT 2"]).await;
    assert_eq!(ran.out, "1\n2");
    assert!(ran.err.contains("ERROR:  denied by policy toy: forbidden\nDETAIL:  session 1\nHINT:  Do not."), "{ran:?}");
    assert_eq!(
        gateway.log(),
        ["SELECT 1 -> SELECT 1 (1), 1 rows", "denied SELECT 'forbidden'", "SELECT 2 -> SELECT 1 (1), 1 rows"]
    );
    let end = gateway.end().await;
    assert!(matches!(end.cause, Cause::ClientClosed));
    assert_eq!((end.counters.statements, end.counters.denied, end.counters.rows), (2, 1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_leaves_an_open_transaction_as_it_is_and_says_so() {
    let gateway = Relay::usual().await;
    let ran = gateway
        .run(
            "al",
            &[],
            &[
                "CREATE TABLE kept1 (a int)",
                "BEGIN",
                "INSERT INTO kept1 VALUES (1)",
                "SELECT 'forbidden'",
                "INSERT INTO kept1 VALUES (2)",
                "COMMIT",
            ],
        )
        .await;
    assert!(ran.err.contains("Your transaction is open and unchanged."), "{ran:?}");
    assert_eq!(Version::V15.encrypted().admin("SELECT count(*) FROM kept1"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_says_so_at_once_and_runs_after_it() {
    let gateway = Relay::usual().await;
    let start = Instant::now();
    let ran = gateway.run("al", &[], &["SELECT 'slow'"]).await;
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(ran.out, "slow");
    assert!(ran.err.contains("NOTICE:  held as request 7QK4"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_ends_with_its_client() {
    let gateway = Relay::usual().await;
    let mut psql =
        gateway.psql("al", &[]).args(["-c", "SELECT 'held'"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut err = tokio::io::BufReader::new(psql.stderr.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut err, &mut line).await.unwrap();
    assert!(line.contains("7QK5"), "{line}");
    psql.kill().await.unwrap();
    assert!(matches!(gateway.end().await.cause, Cause::ClientLost));
}

#[tokio::test(flavor = "multi_thread")]
async fn server_errors_notices_and_several_statements_pass() {
    let gateway = Relay::usual().await;
    let ran = gateway
        .run(
            "al",
            &[],
            &[
                "SELECT 1; SELECT 2",
                "SELECT 1/0",
                "DROP TABLE IF EXISTS nothing_here",
                "",
                "LISTEN x; NOTIFY x, 'payload'",
            ],
        )
        .await;
    assert!(
        ran.err.contains("division by zero") && ran.err.contains("NOTICE:  table \"nothing_here\" does not exist"),
        "{ran:?}"
    );
    assert!(ran.out.contains("payload"), "{ran:?}");
    assert!(gateway.log().contains(&"SELECT 1/0 -> failed 22012, 0 rows".to_owned()), "{:?}", gateway.log());
    assert!(gateway.log().contains(&"SELECT 1; SELECT 2 -> SELECT 1 (2), 2 rows".to_owned()), "{:?}", gateway.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewriter_sees_every_row_and_error_of_its_statement() {
    let gateway = Relay::usual().await;
    let ran = gateway
        .run(
            "al",
            &[],
            &[
                "SELECT 'secret', 'masked' FROM generate_series(1, 20000)",
                "SELECT 'secret'",
                "SELECT 'secret masked'::int",
            ],
        )
        .await;
    let (masked, rest) = ran.out.split_at(20000 * "xxxxxx|masked\n".len());
    assert!(masked == "xxxxxx|masked\n".repeat(20000) && rest == "secret", "{rest}");
    assert!(ran.err.contains("xxxxxx masked"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_64_mib_is_refused_and_the_session_goes_on() {
    let gateway = Relay::usual().await;
    let client = gateway.connect().await;
    let error = client.batch_execute(&format!("SELECT '{}'", "x".repeat(64 << 20))).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "54000");
    let error = client.prepare(&format!("SELECT '{}'", "x".repeat(5 << 20))).await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "54000");
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_megabytes_and_huge_rows_pass_in_bounded_memory() {
    let gateway = Relay::usual().await;
    let before = resident();
    let mut psql = gateway
        .psql("al", &[])
        .args(["-c", "SELECT repeat('x', 1000) FROM generate_series(1, 150000)", "-c", "SELECT repeat('y', 150000000)"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = psql.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 16];
    let mut total = 0;
    let mut peak = 0;
    loop {
        let count = tokio::io::AsyncReadExt::read(&mut out, &mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        total += count;
        peak = peak.max(resident());
    }
    assert_eq!(total, 1001 * 150_000 + 150_000_001);
    assert!(peak < before + 100, "{before} MiB before, {peak} MiB at most");
}
