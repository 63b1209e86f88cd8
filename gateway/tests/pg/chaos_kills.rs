//! SQL under random kills.

use std::process::{Command, Stdio};

use crate::chaos::{Chaos, SETTINGS};
use crate::clickhouse::ClickHouse;
use crate::shop::{Shop, Side};

#[test]
fn chaos_of_sql_leaves_no_statement_without_its_event() {
    let shop = Shop::new();
    let store = ClickHouse::migrated(&shop.world);
    let configuration = format!("{SETTINGS}{}", store.section());
    Chaos {
        name: "postgres",
        world: &shop.world,
        store: &store,
        attach: &|| shop.attach_with(&configuration),
        work: &|markers| {
            let mut command: Command = shop.command(Side::Inside, &[], &["timeout", "60", "psql", "-XAtqw"]);
            for marker in markers {
                command.args(["-c", &format!("SELECT '{marker}'")]);
            }
            command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        },
        batch: 20,
        received: &|| {
            let prefix = format!("{} ", shop.database);
            let log = shop.cluster.log();
            log.lines().filter(|line| line.starts_with(&prefix) && line.contains("LOG:")).collect()
        },
        kind: "postgres.statement",
    }
    .run();
}
