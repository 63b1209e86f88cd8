//! Where the server itself keeps labelled values a second time, asked by a superuser: chunks of long values, samples of
//! ANALYZE, statements of other sessions, large objects, materialized views (G4). The labels hide them, whether or not
//! the shipped policy that refuses such catalogs is in force.

use std::process::Stdio;

use crate::cluster::{self, Cluster};
use crate::shop::{Ran, Shop, Side};

const DATABASE: &str = "SET ROLE agent;
    CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text, life text);
    ALTER TABLE customers ALTER life SET STORAGE EXTERNAL;
    INSERT INTO customers SELECT g, 'Anna', '000-45-6789', repeat('raw-life ', 1000) FROM generate_series(1, 60) g;
    CREATE MATERIALIZED VIEW stored AS SELECT id, ssn, life || '' AS life FROM customers;
    ALTER MATERIALIZED VIEW stored ALTER life SET STORAGE EXTERNAL; REFRESH MATERIALIZED VIEW stored;
    CREATE TABLE parts (id int, life text) PARTITION BY RANGE (id);
    CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100); ALTER TABLE part ALTER life SET STORAGE EXTERNAL;
    INSERT INTO parts SELECT id, life FROM customers;
    CREATE INDEX ON customers (upper(ssn)); CREATE STATISTICS both_columns (mcv) ON name, ssn FROM customers;
    SELECT lo_from_bytea(4711, '000-45-6789');
    CREATE VIEW samples AS SELECT tablename, most_common_vals::text AS vals FROM pg_stats;
    CREATE VIEW others AS SELECT pid, query FROM pg_stat_activity;
    CREATE VIEW above_others AS SELECT query FROM others;
    RESET ROLE; ANALYZE";

const RAW: [&str; 4] = ["000-45-6789", "raw-life", "7261772d6c696665", "3030302d34352d36373839"];

/// `{…}` is the toast table of that relation.
const ASKED: &[&str] = &[
    "SELECT chunk_data FROM pg_toast.{customers} LIMIT 1",
    "SELECT encode(chunk_data, 'escape') FROM pg_toast.{customers} LIMIT 1",
    "SELECT convert_from(chunk_data, 'UTF8') FROM pg_toast.{stored} LIMIT 1",
    "SELECT ROW(t.*) FROM pg_toast.{part} t LIMIT 1",
    "SELECT chunk_id FROM pg_toast.{part} WHERE chunk_data > '\\x00'",
    "COPY (SELECT chunk_data FROM pg_toast.{customers} LIMIT 1) TO STDOUT",
    "SET search_path = pg_toast; SELECT chunk_data FROM {customers} LIMIT 1",
    "SELECT life, ssn FROM stored LIMIT 1",
    "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename LIKE 'customers%'",
    "SELECT most_common_vals::text FROM pg_catalog.pg_stats WHERE attname = 'ssn'",
    "SELECT stavalues1, stavalues2 FROM pg_statistic WHERE starelid = 'customers'::regclass",
    "SELECT to_json(s) FROM pg_statistic s WHERE starelid = 'customers'::regclass",
    "COPY pg_statistic TO STDOUT",
    "SELECT most_common_vals FROM pg_stats_ext",
    "SELECT m.* FROM pg_statistic_ext_data, pg_mcv_list_items(stxdmcv) m",
    "SELECT stxdmcv::text FROM pg_statistic_ext_data",
    "SELECT vals FROM samples WHERE tablename = 'customers'",
    "SELECT query FROM pg_stat_activity",
    "SELECT a FROM pg_stat_activity a",
    "SELECT query FROM pg_stat_get_activity(NULL)",
    "SELECT a.query || '' FROM pg_catalog.pg_stat_get_activity(NULL) a",
    "SELECT pg_stat_get_activity(NULL)::text",
    "SELECT pg_stat_get_backend_activity(i) FROM pg_stat_get_backend_idset() i",
    "SELECT count(*) FROM pg_stat_get_activity(NULL) WHERE query LIKE '%000-45%'",
    "SELECT query FROM others",
    "SELECT query FROM above_others",
    "SELECT lo_get(4711)",
    "SELECT encode(lo_get(4711), 'escape')",
    "SELECT data FROM pg_largeobject",
    "SELECT loid FROM pg_largeobject WHERE data = '000-45-6789'",
];

/// What a superuser asks for all the same.
const FREE: &[&str] = &[
    "SELECT count(*) > 0 FROM pg_class WHERE relkind = 't'",
    "SELECT pg_size_pretty(pg_total_relation_size('customers')) IS NOT NULL",
    "SELECT pid = pg_backend_pid() FROM pg_stat_get_wal_senders() UNION SELECT true",
    "SELECT statement LIKE 'PREPARE one%' FROM pg_prepared_statements UNION SELECT true",
    "SELECT matviewname = 'stored' FROM pg_matviews",
];

fn ask(shop: &Shop, side: Side, statement: &str) -> Ran {
    let mut statement = statement.to_owned();
    for relation in ["customers", "stored", "part"] {
        let toast =
            || shop.admin(&format!("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = '{relation}'"));
        let name = format!("{{{relation}}}");
        if statement.contains(&name) {
            statement = statement.replace(&name, toast().rsplit('.').next().unwrap());
        }
    }
    shop.psql_on(side, &[("PGUSER", "postgres"), ("PGAPPNAME", "agent")], &[&statement])
}

fn shows(ran: &Ran) -> bool {
    RAW.iter().any(|raw| ran.out.contains(raw))
}

fn nothing_is_shown(cluster: &'static Cluster, policy: &str) {
    let shop = Shop::at(cluster);
    shop.admin(DATABASE);
    let at = ["customers.ssn", "customers.life", "parts.life"];
    let at = at.map(|column| format!("\"undeclared/{}/public.{column}\"", shop.database)).join(", ");
    let rules = shop.world.file("masking.toml", &format!("version = 1\n[[column]]\nat = [{at}]\nclass = \"ssn\"\n"));
    let _gateway = shop.attach_with(&format!("{policy}[masking]\nfile = \"{}\"\n", rules.display()));
    let sleeping = "SELECT '000-45-6789', pg_sleep(120)";
    let mut other = shop.command(Side::Outside, &[], &["timeout", "120", "psql", "-XAtqwc", sleeping]);
    let mut other = other.stdout(Stdio::null()).spawn().unwrap();
    shop.runs("pg_sleep");
    let mut wrong = Vec::new();
    for statement in ASKED {
        let (inside, outside) = (ask(&shop, Side::Inside, statement), ask(&shop, Side::Outside, statement));
        let tells =
            !statement.contains("WHERE data") && !statement.contains("chunk_id") && !statement.contains("count");
        if tells && !shows(&outside) {
            wrong.push(format!("{statement}: shows nothing without a gateway: {outside:?}"));
        }
        if shows(&inside) || (!tells && inside.err.is_empty()) {
            wrong.push(format!("{statement}: {inside:?}"));
        }
    }
    for statement in FREE {
        let ran = ask(&shop, Side::Inside, statement);
        if ran.out != "t" {
            wrong.push(format!("{statement}: {ran:?}"));
        }
    }
    let _ = other.kill();
    let _ = other.wait();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The policies that refuse all of it by name are left out.
const UNGUARDED: &str = "[policy]\ndisable = [\"guard.postgres.secrets\", \"guard.postgres.opaque-functions\", \"guard.postgres.opaque\"]\n";

#[test]
fn copies_that_the_server_keeps_are_hidden() {
    nothing_is_shown(cluster::remote(), "");
}

#[test]
fn labels_hide_them_where_policy_does_not() {
    nothing_is_shown(cluster::remote(), UNGUARDED);
}

#[test]
fn labels_hide_them_on_the_newest_server_too() {
    nothing_is_shown(cluster::remote_newest(), UNGUARDED);
}
