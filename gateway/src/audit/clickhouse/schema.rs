//! The schema of the copy, and what brings a database there.
//!
//! In: a login that may define things, which is not the shipper's. Out: a database with every migration applied, each
//! once and noted with the checksum of its text. It drops nothing, and changes nothing where a text differs from the one
//! that was applied.

use aws_lc_rs::digest::{SHA256, digest};
use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::store::{Store, StoreError, words};
use crate::audit::hex;
use crate::config::ClickHouseCluster;

/// All of them, in order; a released text never changes.
const MIGRATIONS: [(u32, &str, &str); 3] = [
    (1, "record", include_str!("0001_record.sql")),
    (2, "pod", include_str!("0002_pod.sql")),
    (3, "questions", include_str!("0003_questions.sql")),
];

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS ";

const NOTES: &str = "CREATE TABLE IF NOT EXISTS migrations (version UInt32, name LowCardinality(String), \
    checksum FixedString(64), applied DateTime64(3, 'UTC') DEFAULT now64(3), gateway_version LowCardinality(String)) \
    ENGINE = ReplacingMergeTree ORDER BY (version, checksum)";

/// Why the schema is not there.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server is not reached.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A statement failed. All of it is ours, so that the answer quotes nobody's data.
    #[error("ClickHouse refuses a statement of migration {version}: {answer}")]
    Statement {
        /// The migration; zero: the table of migrations itself.
        version: u32,
        /// What the server says.
        answer: String,
    },
    /// Another text was applied under this number.
    #[error(
        "migration {version} was applied from another text: this database belongs to another version of the gateway, or was \
         made with another `cluster` of [audit.clickhouse]; use that one, or another `database`"
    )]
    Checksum {
        /// The migration.
        version: u32,
    },
    /// The database is ahead of us.
    #[error("migration {version} is not known here: it was applied by a later version of the gateway, use that one")]
    Unknown {
        /// The migration.
        version: u32,
    },
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migrated {
    /// The database.
    pub database: String,
    /// Numbers of the migrations that were applied now.
    pub applied: Vec<u32>,
    /// The number that the schema has reached.
    pub version: u32,
}

#[derive(Debug, Row, Deserialize)]
struct Note {
    version: u32,
    checksum: String,
}

/// Brings the database of this server to this version's schema; with nothing to do it changes nothing.
///
/// # Errors
/// Where the server is not reached or says no, or the database has another schema than ours.
pub async fn migrate(
    store: &Store,
    database: &str,
    cluster: Option<&ClickHouseCluster>,
) -> Result<Migrated, MigrateError> {
    let migrations = MIGRATIONS.map(|(version, name, text)| match cluster {
        None => (version, name, checksum(text), statements(text)),
        Some(cluster) => {
            let statements: Vec<_> =
                statements(text).iter().flat_map(|statement| clustered(statement, database, cluster)).collect();
            (version, name, checksum(&statements.join(";\n")), statements)
        }
    });
    // The configuration lets no other character than letters, digits and `_` be in a database's name.
    let create = format!("CREATE DATABASE IF NOT EXISTS {database}");
    run(store, 0, store.client().clone().with_database("default").query_raw(&create)).await?;
    run(store, 0, store.client().query_raw(NOTES)).await?;
    let notes = "SELECT version, toString(checksum) AS checksum FROM migrations FINAL ORDER BY version";
    let applied: Vec<Note> =
        store.client().query_raw(notes).fetch_all().await.map_err(|error| explain(store, 0, &error))?;
    for note in &applied {
        match migrations.iter().find(|(version, ..)| *version == note.version) {
            None => return Err(MigrateError::Unknown { version: note.version }),
            Some((version, _, checksum, _)) if *checksum != note.checksum => {
                return Err(MigrateError::Checksum { version: *version });
            }
            Some(_) => {}
        }
    }
    let mut now = Vec::new();
    let missing = migrations.iter().filter(|(version, ..)| applied.iter().all(|note| note.version != *version));
    let first = cluster.is_some() && applied.is_empty();
    for (version, name, checksum, statements) in missing {
        for statement in statements {
            let statement = if first { whole(statement) } else { Some(statement.clone()) };
            if let Some(statement) = statement {
                run(store, *version, store.client().query_raw(&statement)).await?;
            }
        }
        let note = format!(
            "INSERT INTO migrations (version, name, checksum, gateway_version) VALUES ({version}, '{name}', '{checksum}', '{}')",
            env!("CARGO_PKG_VERSION")
        );
        run(store, *version, store.client().query_raw(&note)).await?;
        now.push(*version);
    }
    let version = MIGRATIONS.last().map_or(0, |(version, ..)| *version);
    Ok(Migrated { database: database.to_owned(), applied: now, version })
}

async fn run(store: &Store, version: u32, query: clickhouse::query::Query) -> Result<(), MigrateError> {
    query.execute().await.map_err(|error| explain(store, version, &error))
}

fn explain(store: &Store, version: u32, error: &clickhouse::error::Error) -> MigrateError {
    match error {
        clickhouse::error::Error::BadResponse(answer) => MigrateError::Statement { version, answer: words(answer) },
        error => MigrateError::Store(store.explain(error)),
    }
}

fn checksum(text: &str) -> String {
    hex::encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// The statements of a file, each ended by `;` at the end of a line; comments have lines of their own.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements = code.join("\n");
    statements.split(";\n").map(|s| s.trim_end_matches(';').trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// What a statement is on each server of a cluster. A table is two: `X_local` keeps this shard's rows, on all of its replicas,
/// and `X` is all shards'. The lines of a journal are in one shard, since rows collapse within one alone.
fn clustered(statement: &str, database: &str, cluster: &ClickHouseCluster) -> Vec<String> {
    let ClickHouseCluster { name, keeper_path } = cluster;
    if let Some((table, _)) = statement.strip_prefix(CREATE_TABLE).and_then(|rest| rest.split_once('\n')) {
        let engine = format!("ReplicatedReplacingMergeTree('{keeper_path}/{database}/{table}', '{{replica}}', ");
        let local = statement
            .replacen(table, &format!("{table}_local"), 1)
            .replace("= ReplacingMergeTree(", &format!("= {engine}"))
            // An ephemeral column does not reach the shard, which makes the hash of it.
            .replace("String EPHEMERAL", "String CODEC(ZSTD(6))");
        let distributed = format!("Distributed('{name}', '{database}', '{table}_local', cityHash64(journal_id))");
        let all = format!("{CREATE_TABLE}{table} AS {table}_local ENGINE = {distributed}");
        return vec![local, all];
    }
    match statement.strip_prefix("ALTER TABLE ").and_then(|rest| rest.split_once(' ')) {
        Some((table, change)) => vec![format!("ALTER TABLE {table}_local {change}"), statement.to_owned()],
        None => vec![statement.to_owned()],
    }
}

/// A statement on a server that has none of ours yet: a table begins with the columns that later migrations add, since a replica
/// that joins must have those that its shard has by now; what adds them is left out then.
fn whole(statement: &str) -> Option<String> {
    if statement.starts_with("ALTER TABLE ") {
        return None;
    }
    let Some(table) = statement.strip_prefix(CREATE_TABLE).and_then(|rest| rest.split_once("_local\n")) else {
        return Some(statement.to_owned());
    };
    let mut lines: Vec<_> = statement.lines().map(str::to_owned).collect();
    for added in MIGRATIONS.iter().flat_map(|(.., text)| statements(text)) {
        let add = format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS", table.0);
        let Some((column, after)) = added.strip_prefix(&add).and_then(|rest| rest.trim().rsplit_once(" AFTER ")) else {
            continue;
        };
        if let Some(place) = lines.iter().position(|line| line.split_whitespace().next() == Some(after)) {
            lines.insert(place + 1, format!("    {column},"));
        }
    }
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_and_may_be_repeated() {
        for ((version, _, text), expected) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(*version, expected);
            for statement in statements(text) {
                let repeatable = [CREATE_TABLE, "CREATE VIEW IF NOT EXISTS"];
                let adds = statement.starts_with("ALTER TABLE") && statement.contains("ADD COLUMN IF NOT EXISTS");
                // As `whole` reads it.
                assert!(!adds || statement.matches(" AFTER ").count() == 1, "{statement}");
                assert!(adds || repeatable.iter().any(|start| statement.starts_with(start)), "{statement}");
            }
        }
    }

    #[test]
    fn in_a_cluster_each_table_is_replicated_and_read_from_all_shards() {
        let cluster = ClickHouseCluster { name: "audit".into(), keeper_path: "/tables/{shard}".into() };
        let all: Vec<_> = MIGRATIONS
            .iter()
            .flat_map(|(.., text)| statements(text))
            .flat_map(|statement| clustered(&statement, "d", &cluster))
            .collect();
        for table in ["events", "sessions"] {
            let start = format!("{CREATE_TABLE}{table}_local\n");
            let local = all.iter().find(|statement| statement.starts_with(&start)).unwrap();
            let engine = format!(
                "\nENGINE = ReplicatedReplacingMergeTree('/tables/{{shard}}/d/{table}', '{{replica}}', earliness)\n"
            );
            assert!(local.contains(&engine) && !local.contains("EPHEMERAL"), "{local}");
            let distributed = format!(
                "{CREATE_TABLE}{table} AS {table}_local ENGINE = Distributed('audit', 'd', '{table}_local', cityHash64(journal_id))"
            );
            assert!(all.contains(&distributed));
            let added =
                "\n    k8s_pod_name        LowCardinality(String),\n    k8s_pod_uid         LowCardinality(String),\n";
            assert!(!local.contains(added) && whole(local).unwrap().contains(added), "{local}");
            let altered = |name| all.iter().filter(|one| one.starts_with(&format!("ALTER TABLE {name} "))).count();
            assert!(altered(table) > 0 && altered(table) == altered(&format!("{table}_local")), "{all:?}");
        }
        assert!(!all.iter().any(|statement| statement.contains("= ReplacingMergeTree")));
    }

    #[test]
    fn a_released_text_never_changes() {
        let released = [
            "4a66208b1b9062a03221f334828b6a924ce6dce918bd136f7ba270c4c8ef0b2c",
            "f48d1e854c4ca9d0143fba8bea52606e48778ed40e28710a2e375eaf01a23b44",
            "d82f9bf82b9011533f8578b5422504788bc4a995bc7b105a0cb89ef1d54efb9e",
        ];
        assert_eq!(MIGRATIONS.iter().map(|(.., text)| checksum(text)).collect::<Vec<_>>(), released);
    }
}
