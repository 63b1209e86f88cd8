//! Labelled values that no detector knows: in a driver that keeps descriptions, under names that change, in code that
//! cannot be read, and in what the journal keeps (G4).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::cluster::cached;
use crate::gateway::Gateway;
use crate::shop::{Ran, Shop, Side, ran};
use crate::wait;

/// What no detector knows: only its label hides it.
const VALUE: &str = "Anna Berg of Elm Street";

const TABLES: &str = "SET ROLE agent;
    CREATE TABLE people (id int PRIMARY KEY, home text, salary int, born date, name text);
    INSERT INTO people VALUES (1, 'Anna Berg of Elm Street', 70123, '1984-05-06', 'Anna'), (2, NULL, NULL, NULL, 'Bert');
    CREATE FUNCTION homes() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT min(home) FROM people); END'";

/// Policies under which nothing but a label stands in the way of code.
const POLICIES: &str = r#"@id("work") permit (principal, action in [Action::"read", Action::"write", Action::"session", Action::"run"], resource);"#;

/// Each statement twice: the second time client and server know it, and nobody asks for its description.
const ASYNCPG: &str = r#"
import asyncio, asyncpg
async def main():
    connection = await asyncpg.connect()
    for _ in range(2):
        print("row", tuple(await connection.fetchrow("SELECT id, home, salary, born, name FROM people WHERE id = $1", 1)))
        print("derived", await connection.fetchval("SELECT upper(home) FROM people WHERE id = $1", 1))
    statement = await connection.prepare("SELECT home FROM people WHERE id = $1")
    print("prepared", [await statement.fetchval(number) for number in (1, 2)])
    async with connection.transaction():
        print("cursor", [tuple(row) async for row in connection.cursor("SELECT id, home FROM people ORDER BY id", prefetch=1)])
    await connection.close()
asyncio.run(main())
"#;

/// Reads until somebody else has given the table another name, then reads it under that one, a second later.
const RENAMED: &str = r#"
import time, psycopg
connection = psycopg.connect(autocommit=True)
while True:
    try:
        connection.execute("SELECT home FROM people", prepare=False)
        time.sleep(0.05)
    except psycopg.errors.UndefinedTable:
        break
time.sleep(1.1)
for text in ("SELECT place || '' FROM folk WHERE id = 1", "SELECT p || '' FROM late WHERE p <> ''"):
    try:
        print(connection.execute(text).fetchone()[0])
    except psycopg.Error as error:
        print("refused", error.sqlstate)
"#;

/// Who may copy what is hidden may give it other names.
const MAY_COPY: &str = "\n@id(\"copy\") permit (principal, action == Data::Action::\"export\", resource);";

impl Shop {
    /// Policies by which tables may be changed.
    fn with_ddl(&self, more: &str) -> String {
        let policies = POLICIES.replace("Action::\"run\"", "Action::\"ddl\"") + more;
        let folder = self.world.file("policies/a.cedar", &policies).parent().unwrap().display().to_string();
        format!("[policy]\ndir = \"{folder}\"\ndisable = [\"guard.postgres.schema-change\"]\n")
    }

    fn with_people() -> Self {
        let shop = Self::new();
        shop.admin(TABLES);
        shop
    }

    fn attach_people(&self, policy: &str) -> Gateway<'_> {
        let at = |column: &str| format!("\"undeclared/{}/public.people.{column}\"", self.database);
        let rules = format!(
            "version = 1\n[class.place]\nparent = \"pii\"\n[[column]]\nat = [{}, {}, {}]\nclass = \"place\"\n",
            at("home"),
            at("salary"),
            at("born")
        );
        let masking = self.world.file("masking.toml", &rules);
        self.attach_with(&format!("{policy}[masking]\nfile = \"{}\"\n", masking.display()))
    }

    /// A script with the cached drivers.
    pub fn python(&self, script: &str) -> Ran {
        ran(&mut self.python_command(script))
    }

    pub fn python_command(&self, script: &str) -> Command {
        let python = cached("postgres-drivers-python-").join("bin/python");
        assert!(Path::new(&python).exists(), "`{}` is missing: run `cargo xtask setup`", python.display());
        let file = self.world.file("client.py", script);
        let program = ["timeout", "60", python.to_str().unwrap(), file.to_str().unwrap()];
        self.command(Side::Inside, &[], &program)
    }

    fn keeps(&self, value: &str) -> String {
        self.world.sh(&format!("grep -rlF '{value}' {} || true", self.world.directory().join("state").display()))
    }
}

#[test]
fn a_generated_column_is_masked_wherever_the_server_notes_what_it_is_computed_from() {
    const NOTES: &str = "SELECT count(*) FROM pg_depend WHERE classid = 'pg_class'::regclass
        AND objid = 'people'::regclass AND objsubid > 0 AND refobjid = objid AND refobjsubid > 0";
    let shop = Shop::with_people();
    shop.admin("SET ROLE agent; ALTER TABLE people ADD COLUMN turned text GENERATED ALWAYS AS (reverse(home)) STORED");
    let _gateway = shop.attach_people("");
    let is_masked = || {
        let ran = shop.psql(&["SELECT turned FROM people WHERE id = 1", "SELECT id, turned || '' FROM people"]);
        let value: String = VALUE.chars().rev().collect();
        assert!(ran.ok && ran.out.contains('\u{2022}') && !ran.out.contains(&value), "{ran:?}");
    };
    is_masked();
    // Before PostgreSQL 15 that stands beside the column; from then on beside its default.
    shop.admin(
        "UPDATE pg_depend d SET classid = 'pg_class'::regclass, objid = f.adrelid, objsubid = f.adnum FROM pg_attrdef f
         WHERE d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND f.adrelid = 'people'::regclass
            AND d.refobjid = f.adrelid AND d.refobjsubid <> f.adnum",
    );
    assert_eq!(shop.admin(NOTES), "1");
    is_masked();
}

#[test]
fn a_driver_that_keeps_descriptions_reads_masks_of_the_right_type_in_binary() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people("");
    let row = "row (1, '[place•••]', 0, datetime.date(1970, 1, 1), 'Anna')\n";
    let asyncpg = shop.python(ASYNCPG);
    let twice = format!("{row}derived [place•••]\n").repeat(2);
    let rest = "prepared ['[place•••]', None]\ncursor [(1, '[place•••]'), (2, None)]";
    assert_eq!(asyncpg.out, twice + rest, "{asyncpg:?}");
    assert_eq!(shop.keeps(VALUE), "");
}

#[test]
fn constants_of_statements_on_labelled_columns_are_not_kept() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people("");
    let ran = shop.psql(&[
        "INSERT INTO people (id, home, name) VALUES (7, 'Pine Lane 9', 'Dora')",
        "PREPARE add(text) AS UPDATE people SET home = $1 WHERE id = 7; EXECUTE add('Oak Road 5')",
        "SELECT id FROM people WHERE home = 'Fir Alley 3'",
        "SELECT 'plain constant' FROM people WHERE id = 7",
    ]);
    assert_eq!(ran.out, "plain constant", "{ran:?}");
    assert_eq!(shop.admin("SELECT home FROM people WHERE id = 7"), "Oak Road 5");
    let (statement, _) = shop.journaled("plain constant");
    assert!(statement["text"].to_string().contains("id = 7"), "{statement}");
    for value in ["Pine Lane", "Oak Road", "Fir Alley"] {
        assert_eq!(shop.keeps(value), "", "{value}");
    }
}

#[test]
fn names_that_others_change_are_seen_within_a_second() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people("");
    let client = shop.python_command(RENAMED).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the first read", || shop.reached("SELECT home FROM people") > 0);
    shop.admin(
        "SET ROLE agent; ALTER TABLE people RENAME home TO place; CREATE VIEW late AS SELECT place AS p FROM people;
         ALTER TABLE people RENAME TO folk",
    );
    let output = client.wait_with_output().unwrap();
    // The view compares what it hides.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[place•••]\nrefused 42501\n", "{output:?}");
}

/// Nothing was read in the transaction when somebody else renames the table.
const FIRST_IN_TRANSACTION: &str = r#"
import time, psycopg
connection = psycopg.connect(autocommit=True)
connection.execute("SELECT home FROM people", prepare=False)
connection.execute("BEGIN")
while not open("renamed").read():
    time.sleep(0.05)
time.sleep(1.1)
connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
print(connection.execute("SELECT upper(home) FROM folk WHERE id = 1", prepare=False).fetchone()[0])
"#;

#[test]
fn names_that_others_change_are_seen_by_the_first_statement_of_a_transaction() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people("");
    let renamed = shop.world.file("renamed", "");
    let script = FIRST_IN_TRANSACTION.replace("\"renamed\"", &format!("{:?}", renamed.display().to_string()));
    let client = shop.python_command(&script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("a transaction", || shop.reached("BEGIN") > 0);
    shop.admin("SET ROLE agent; ALTER TABLE people RENAME TO folk");
    shop.world.file("renamed", "yes");
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[place•••]\n", "{output:?}");
}

#[test]
fn names_that_the_session_changes_are_known_to_its_next_statement() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people(&shop.with_ddl(MAY_COPY));
    let ran = shop.psql(&[
        "ALTER TABLE people RENAME TO folk",
        "SELECT home || '' FROM folk WHERE id = 1",
        "BEGIN",
        "ALTER TABLE folk RENAME home TO place",
        "ALTER TABLE folk RENAME TO others",
        "SELECT place || '' FROM others WHERE id = 1",
        "ROLLBACK",
        "SELECT home || '' FROM folk WHERE id = 1",
    ]);
    assert_eq!(ran.out, ["[place•••]"; 3].join("\n"), "{ran:?}");
}

#[test]
fn names_that_a_failed_commit_brought_back_are_known() {
    let shop = Shop::with_people();
    let _gateway = shop.attach_people(&shop.with_ddl(MAY_COPY));
    let ran = shop.psql(&[
        "BEGIN",
        "ALTER TABLE people RENAME home TO place",
        "SELECT place || '' FROM people WHERE id = 1",
        "SELECT 1 / 0",
        "COMMIT",
        "SELECT home || '' FROM people WHERE id = 1",
    ]);
    assert_eq!(ran.out, ["[place•••]"; 2].join("\n"), "{ran:?}");
}

#[test]
fn code_that_cannot_be_read_is_denied_where_labels_are_though_policy_lets_it_run() {
    let shop = Shop::with_people();
    let folder = shop.world.file("policies/a.cedar", POLICIES).parent().unwrap().display().to_string();
    let lifted = "[\"guard.postgres.code\", \"guard.postgres.opaque\", \"guard.postgres.opaque-functions\"]";
    let policy = format!("[policy]\ndir = \"{folder}\"\ndisable = {lifted}\n");
    for code in [
        "DO $$ BEGIN RAISE NOTICE '%', (SELECT home FROM people WHERE id = 1); END $$",
        "SELECT homes()",
        "SELECT query_to_xml('SELECT home FROM people', true, false, '')",
    ] {
        let gateway = shop.attach_people(&policy);
        let ran = shop.psql(&[code, "SELECT 'alive'"]);
        assert!(ran.out == "alive" && ran.err.contains("on DataClass"), "{code}: {ran:?}");
        assert_eq!(shop.reached(code), 0, "{code}");
        drop(gateway);
    }
    // Without labels the same policies let it run.
    let _gateway = shop.attach_with(&policy);
    assert_eq!(shop.psql(&["SELECT homes()"]).out, VALUE);
}

/// Two sessions of one workload: what one makes of the tables, the other would use before the gateway has looked again. The
/// later ones tell of a value by failing, or at each row that refers to it.
const TWO_SESSIONS: &str = r#"
import psycopg
one, other = (psycopg.connect(autocommit=True) for _ in range(2))
def said(connection, text):
    try:
        found = connection.execute(text, prepare=False)
        return found.fetchone()[0] if found.description else found.statusmessage
    except psycopg.Error as error:
        return f"refused {error.sqlstate}"
for text in (
    "ALTER TABLE people RENAME TO folk",
    "ALTER TABLE people RENAME home TO place",
    "ALTER TABLE people SET SCHEMA elsewhere",
    "ALTER SCHEMA public RENAME TO known",
    "ALTER TABLE people INHERIT above",
    "ALTER TABLE parted ATTACH PARTITION people FOR VALUES FROM (0) TO (1000)",
    "ALTER VIEW seen RENAME TO looked_at",
    "ALTER TABLE below NO INHERIT people",
    "ALTER TABLE people ADD COLUMN copy text GENERATED ALWAYS AS (home) STORED",
    "ALTER TABLE people ALTER COLUMN name TYPE text USING home",
    "ALTER TABLE people ADD CHECK (home < 'B')",
    "ALTER TABLE people ADD CHECK (people::text < 'B')",
    "ALTER TABLE people ADD UNIQUE (home)",
    "CREATE UNIQUE INDEX ON people (home)",
    "CREATE INDEX ON people ((1 / (length(home) - 3)))",
    "CREATE INDEX ON people (id) WHERE home < 'B'",
    "CREATE TABLE guess (home text REFERENCES people (home))",
    "ALTER TABLE above ADD FOREIGN KEY (home) REFERENCES people",
    "ALTER DOMAIN word ADD CHECK (value < 'B')",
):
    print(said(other, "SELECT upper(home) FROM people WHERE id = 1"), "|", said(one, text), "|", text)
for text in (
    "ALTER TABLE people RENAME name TO known_as",
    "ALTER TABLE people ADD COLUMN more int CHECK (more > 0)",
    "ALTER TABLE above RENAME TO beyond",
    "ALTER TABLE people ADD UNIQUE (id)",
    "ALTER TABLE beyond ADD FOREIGN KEY (id) REFERENCES people (id)",
    "CREATE INDEX ON people (home)",
):
    print(said(one, text))
"#;

const RELATIVES: &str = "
CREATE SCHEMA elsewhere AUTHORIZATION agent;
SET ROLE agent;
CREATE DOMAIN word AS text;
CREATE TABLE above (LIKE people);
CREATE TABLE parted (LIKE people) PARTITION BY RANGE (id);
CREATE TABLE below () INHERITS (people);
CREATE VIEW seen AS SELECT home FROM people;
";

#[test]
fn names_by_which_columns_are_hidden_change_for_nobody_who_may_not_copy_them() {
    let shop = Shop::with_people();
    shop.admin(RELATIVES);
    let _gateway = shop.attach_people(&shop.with_ddl(""));
    let ran = shop.python(TWO_SESSIONS);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 25, "{ran:?}");
    let (hidden, free) = lines.split_at(19);
    for line in hidden {
        assert!(line.starts_with("[place•••] | refused 42501 | "), "{line}: {ran:?}");
    }
    assert!(free.iter().all(|line| ["ALTER TABLE", "CREATE INDEX"].contains(line)), "{ran:?}");
}
