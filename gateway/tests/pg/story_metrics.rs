//! What Prometheus sees of work that is done, denied and waits, and what it sees when the engine is gone.

use std::time::Duration;

use rustix::process::Signal;

use crate::gateway::send;
use crate::shop::{Shop, Side};
use crate::wait;

/// Asks as any client outside would: status line and body.
fn get(shop: &Shop, arguments: &str) -> (String, String) {
    let said = shop.world.sh(&format!("curl -s -i --max-time 20 {arguments} || true"));
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((&said, ""));
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

fn at(path: &str) -> String {
    format!("http://127.0.0.1:9464{path}")
}

/// The value of a metric; `None`: there is none.
fn value(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn numbers_follow_what_is_decided_and_readiness_follows_the_engine() {
    let shop = Shop::new();
    let config = shop.world.file("gateway.toml", "version = 1\n[metrics]\nlisten = \"127.0.0.1:9464\"\n");
    let gateway = shop.world.attach(&["--config", config.to_str().unwrap()]);
    let metrics = || get(&shop, &at("/metrics")).1;
    wait::until("metrics", || metrics().contains("gateway_build_info"));
    assert!(shop.psql(&["SELECT 1"]).ok);
    assert!(!shop.psql(&["DROP TABLE orders"]).ok);
    let denied = "gateway_decisions_total{kind=\"postgres.statement\",verdict=\"deny\"}";
    wait::until("the denial", || value(&metrics(), denied) == Some(1.0));
    let open = shop.start_psql("SELECT pg_sleep(30)");
    let running = "gateway_sessions{attachment=\"story\",protocol=\"postgres\"}";
    wait::until("the session", || value(&metrics(), running) == Some(1.0));
    let page = metrics();
    for (name, expected) in [
        ("gateway_engine_up", 1.0),
        ("gateway_attachment_up{attachment=\"story\"}", 1.0),
        ("gateway_approvals_waiting", 0.0),
        ("gateway_config_refused", 0.0),
        ("gateway_events_total{process=\"warden\",kind=\"attachment.attached\"}", 1.0),
    ] {
        assert_eq!(value(&page, name), Some(expected), "{name}: {page}");
    }
    for process in ["warden", "engine", "metrics"] {
        let of = |name: &str| value(&page, &format!("gateway_process_{name}{{process=\"{process}\"}}"));
        assert!(of("resident_bytes") > Some(1e6) && of("open_fds") > Some(2.0), "{process}: {page}");
        assert!(of("cpu_seconds_total").is_some(), "{process}: {page}");
    }
    assert!(value(&page, "gateway_journal_free_bytes") > Some(1e6), "{page}");
    let status = shop.world.cli(&["status"]).out;
    let row: Vec<_> = status.lines().find(|line| line.starts_with("story ")).unwrap().split_whitespace().collect();
    assert_eq!((row[1], row[4]), ("enforce", "1"), "{status}");
    for text in ["hooks: in force, looked at ", " denied, 0 held; nothing waits for a person", ", in force since 20"] {
        assert!(status.contains(text), "{text}: {status}");
    }
    // Each line is a comment or a sample, and each family is declared before its samples, once.
    let mut declared = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            declared.push(rest.split(' ').next().unwrap());
        } else if !line.starts_with("# HELP ") {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(declared.last(), Some(&name), "{line}");
        }
    }
    let families = declared.len();
    declared.dedup();
    assert_eq!(declared.len(), families, "{page}");

    assert_eq!(get(&shop, &at("/readyz")), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(get(&shop, &at("/healthz")).1.trim(), "ok");
    assert!(
        get(&shop, &format!("-X POST {}", at("/metrics"))).0.contains("405")
            && get(&shop, &at("/other")).0.contains("404")
    );

    let inside = shop.command(Side::Inside, &[], &["curl", "-s", "--max-time", "5", &at("/metrics")]).output().unwrap();
    assert_eq!((inside.status.code(), inside.stdout.as_slice()), (Some(7), b"".as_slice()), "refused: {inside:?}");

    send(gateway.engine_pid(), Signal::STOP);
    wait::until("no engine that answers", || get(&shop, &at("/readyz")).0.contains("503"));
    let (_, why) = get(&shop, &at("/readyz"));
    assert!(why.contains("no engine answers"), "{why}");
    assert_eq!(value(&metrics(), "gateway_engine_up"), Some(0.0));
    let again = || get(&shop, &at("/readyz")).0.contains("200").then_some(());
    wait::for_some_within(Duration::from_secs(60), "another engine", again);

    std::fs::write(&config, "version = 1\n[metrics]\nlisten = \"127.0.0.1:9465\"\n").unwrap();
    let other = shop.world.top().join("other");
    std::fs::create_dir_all(&other).unwrap();
    let said = shop.world.cli(&["attach", "--cgroup", other.to_str().unwrap(), "--name", "other"]);
    assert!(said.status.success(), "{said:?}");
    wait::until("the new address", || get(&shop, "http://127.0.0.1:9465/healthz").0.contains("200"));
    wait::until("the end of the old one", || get(&shop, &at("/healthz")).0.is_empty());
    drop(open);
}
