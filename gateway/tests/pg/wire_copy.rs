//! COPY in both directions, whole and broken off.

use crate::wire_support::*;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn copies_a_hundred_megabytes_in_and_out() {
    let gateway = Relay::usual().await;
    assert!(gateway.run("al", &[], &["CREATE UNLOGGED TABLE bulk (a int, b text)"]).await.ok);
    let mut psql =
        gateway.psql("al", &[]).args(["-c", "\\copy bulk FROM STDIN"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = psql.stdin.take().unwrap();
    let line = format!("1\t{}\n", "z".repeat(997)).repeat(100);
    for _ in 0..1_000 {
        input.write_all(line.as_bytes()).await.unwrap();
    }
    drop(input);
    assert!(psql.wait().await.unwrap().success());
    let mut psql = gateway.psql("al", &[]).args(["-c", "COPY bulk TO STDOUT"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = psql.stdout.take().unwrap();
    let mut total = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = out.read(&mut buffer).await.unwrap();
        if count == 0 {
            break;
        }
        total += count;
    }
    assert_eq!(total, 100_000 * 1_000);
    let log = gateway.log();
    assert!(log.iter().any(|line| line.contains("COPY 100000 (1), 0 rows")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("COPY 100000 (1), 100000 rows")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_the_session_usable() {
    let gateway = Relay::usual().await;
    let mut psql =
        gateway.psql("al", &[]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let script = "COPY t FROM STDIN;\n1\tx\nnot a number\ty\n\\.\nSELECT 'after';\nCOPY t FROM STDIN;\n2\tb\n\\.\nSELECT 'forbidden';\nSELECT 'end';\n";
    psql.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let out = psql.wait_with_output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(stdout, "after\nCOPY 1\nend\n", "{stderr}");
    assert!(stderr.contains("invalid input syntax for type integer"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_in_the_extended_protocol() {
    let gateway = Relay::usual().await;
    let client = gateway.connect().await;
    client.batch_execute("CREATE TEMP TABLE c (a int)").await.unwrap();
    let sink = client.copy_in("COPY c FROM STDIN").await.unwrap();
    let mut sink = Box::pin(sink);
    use futures_util::{SinkExt, TryStreamExt};
    for number in 0..1000 {
        sink.send(bytes::Bytes::from(format!("{number}\n"))).await.unwrap();
    }
    assert_eq!(sink.as_mut().finish().await.unwrap(), 1000);
    let rows: Vec<_> = client.copy_out("COPY c TO STDOUT").await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.len(), 1000);
    // Broken off by the client, and failed by the server.
    let sink = client.copy_in::<_, bytes::Bytes>("COPY c FROM STDIN").await.unwrap();
    drop(sink);
    let mut sink = Box::pin(client.copy_in("COPY c FROM STDIN").await.unwrap());
    sink.send(bytes::Bytes::from("x\n")).await.unwrap();
    assert!(sink.as_mut().finish().await.is_err());
    assert_eq!(client.query_one("SELECT count(*) FROM c", &[]).await.unwrap().get::<_, i64>(0), 1000);
}
