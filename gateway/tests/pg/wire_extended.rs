//! The extended protocol: prepared statements, pipelines, portals.

use crate::cluster::*;
use crate::wire_support::*;
use futures_util::future::join_all;

on_every_version! {
    async fn prepared_statements_and_binary_results_are_as_directly(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let client = gateway.connect().await;
        let statement = client.prepare("SELECT $1::int + 1, $2::text, now()::text").await.unwrap();
        for number in 0..100 {
            let row = client.query_one(&statement, &[&number, &"x"]).await.unwrap();
            assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (number + 1, "x"));
        }
        drop(statement);
        assert_eq!(client.query("SELECT 'masked', 'secret'", &[]).await.unwrap()[0].get::<_, &str>(1), "xxxxxx");
    }

    async fn a_denied_statement_among_pipelined_ones_hits_nobody_else(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let client = gateway.connect().await;
        for _ in 0..20 {
            let texts: Vec<_> = (0..50)
                .map(|n| if n % 7 == 3 { format!("SELECT 'forbidden {n}'") } else { format!("SELECT '{n}'") })
                .collect();
            let results = join_all(texts.iter().map(|text| client.query_one(text, &[]))).await;
            for (n, result) in results.into_iter().enumerate() {
                match result {
                    Ok(row) => assert_eq!(row.get::<_, &str>(0), n.to_string()),
                    Err(error) => assert!(n % 7 == 3 && error.code().unwrap().code() == "42501", "{n} {error}"),
                }
            }
        }
    }

    async fn simple_and_extended_queries_pipelined_together_keep_their_order(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let client = gateway.connect().await;
        let (a, b, c, d) = tokio::join!(
            client.simple_query("SELECT 1"),
            client.query("SELECT 2", &[]),
            client.simple_query("SELECT 'forbidden'"),
            client.simple_query("SELECT 'slow'; SELECT 4")
        );
        assert!(a.is_ok() && b.is_ok() && d.is_ok());
        assert_eq!(c.unwrap_err().code().unwrap().code(), "42501");
    }

    async fn portals_run_on_and_transactions_roll_back(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let mut client = gateway.connect().await;
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT generate_series(1, 10)", &[]).await.unwrap();
        assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
        assert_eq!(transaction.query_portal(&portal, 3).await.unwrap().len(), 3);
        assert!(transaction.query("SELECT 'forbidden'", &[]).await.is_err());
        // A denial sent nothing: the transaction is open, and so is the portal.
        assert_eq!(transaction.query_portal(&portal, 0).await.unwrap().len(), 4);
        transaction.rollback().await.unwrap();
        let log = gateway.log();
        assert_eq!(
            log.iter().filter(|line| line.contains("generate_series(1, 10) -> Suspended, 3 rows")).count(),
            2,
            "{log:?}"
        );
    }

    async fn a_name_that_sql_took_away_is_unknown(version: Version) {
        let gateway = Relay::usual_on(version).await;
        let client = gateway.connect().await;
        let statement = client.prepare("SELECT 1").await.unwrap();
        client.query_one(&statement, &[]).await.unwrap();
        client.batch_execute("DEALLOCATE ALL").await.unwrap();
        assert_eq!(client.query_one(&statement, &[]).await.unwrap_err().code().unwrap().code(), "26000");
        assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
    }

    async fn pgbench_runs_in_every_mode(version: Version) {
        let cluster = version.encrypted();
        let gateway = Relay::start(
            cluster.port,
            options(cluster.tls(gateway::upstream::tls::TlsMode::VerifyFull), credential("scram_user", &["al"])),
        )
        .await;
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script.path(), "\\set x random(1, 1000)\nSELECT :x;\nBEGIN;\nSELECT :x + 1;\nEND;\n").unwrap();
        let pipeline = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(pipeline.path(), "\\startpipeline\nSELECT 1;\nSELECT 2;\n\\endpipeline\n").unwrap();
        for (mode, file) in [
            ("simple", &script),
            ("extended", &script),
            ("prepared", &script),
            ("extended", &pipeline),
            ("prepared", &pipeline),
        ] {
            let out = tokio::process::Command::new("/usr/lib/postgresql/15/bin/pgbench")
                .env_clear()
                .env("PGSSLMODE", "disable")
                .args([
                    "-n",
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &gateway.port.to_string(),
                    "-U",
                    "al",
                    "-M",
                    mode,
                    "-c",
                    "4",
                    "-t",
                    "200",
                    "-f",
                ])
                .arg(file.path())
                .arg("postgres")
                .output()
                .await
                .unwrap();
            assert!(out.status.success(), "{mode} {}", String::from_utf8_lossy(&out.stderr));
        }
    }
}
