//! Results in the record: the first rows that a client got, where policy has them kept, and nothing in the clear.
//!
//! In: psql and psycopg in an attached cgroup, a labelled column, policies with `@record_rows`. Out: outcomes with rows as the client
//! read them; a replay that shows them; a reason where they are left out.

use serde_json::{Value, json};

use crate::cluster::{self, cached};
use crate::drivers::needs;
use crate::gateway::Gateway;
use crate::shop::{Shop, Side, ran};

const MASKING: &str = "version = 1\n[[column]]\nat = [\"undeclared/*/public.people.ssn\"]\nclass = \"ssn\"\n";
const POLICIES: &str = r#"
@id("work") permit (principal, action in [Action::"write", Action::"session"], resource);
@id("kept") @record_rows("2") permit (principal, action in Action::"read", resource);
"#;
const UNMASK: &str =
    r#"@id("clear") permit (principal, action == Data::Action::"unmask", resource == DataClass::"ssn");"#;

fn attach<'s>(shop: &'s Shop, policies: &str) -> Gateway<'s> {
    shop.admin("CREATE TABLE people (id int PRIMARY KEY, name text, ssn text); GRANT ALL ON people TO PUBLIC; INSERT INTO people VALUES (1, 'Ada', '219-09-9999'), (2, NULL, '219-09-9998'), (3, 'Eve', '219-09-9997')");
    let at = shop.world.directory().display().to_string();
    shop.world.file("policies/results.cedar", policies);
    shop.world.file("masking.toml", MASKING);
    shop.attach_with(&format!("[policy]\ndir = \"{at}/policies\"\n[masking]\nfile = \"{at}/masking.toml\"\n"))
}

/// The outcome of the statement whose kept text has this in it.
fn outcome(shop: &Shop, text: &str) -> Value {
    let asked = |event: &Value| event["body"]["text"].as_str().is_some_and(|asked| asked.contains(text));
    let statement = crate::wait::for_some("a statement", || {
        shop.world
            .events("postgres.statement")
            .into_iter()
            .rev()
            .find(|event| asked(event) && event["body"]["phase"] != "parse")
    });
    shop.world.event("postgres.outcome", |body| body["request"] == statement["seq"])
}

#[test]
fn what_a_client_got_is_kept_and_shown_again() {
    let shop = Shop::at(cluster::remote());
    let _gateway = attach(&shop, POLICIES);
    let got = shop.psql(&[
        "SELECT id, name, ssn FROM people ORDER BY id",
        "COPY (SELECT id, name FROM people ORDER BY id) TO STDOUT",
        "UPDATE people SET name = 'x' WHERE id = 3",
    ]);
    assert!(got.ok, "{got:?}");
    let select = outcome(&shop, "SELECT id, name, ssn");
    let masked = got.out.lines().next().unwrap().rsplit('|').next().unwrap().to_owned();
    assert!(!masked.contains("219-09"), "{masked}");
    assert_eq!(
        select["results"],
        json!([{ "columns": ["id", "name", "ssn"], "rows": [["1", "Ada", masked], ["2", null, masked]], "more": 1 }]),
        "{select}"
    );
    assert_eq!(
        outcome(&shop, "COPY (")["results"],
        json!([{ "columns": [], "rows": [["1\tAda"], ["2\t\\N"]], "more": 1 }])
    );
    assert_eq!(outcome(&shop, "UPDATE people")["results"], Value::Null, "nothing was shown");
    let session = shop.world.events("postgres.outcome").last().unwrap()["session"].as_str().unwrap().to_owned();
    let replay = shop.world.cli(&["replay", &session]).out;
    for line in ["id | name | ssn", &format!("1 | Ada | {masked}"), "2 | NULL | ", "… and 1 more"] {
        assert!(replay.contains(line), "{line} in {replay}");
    }
    assert!(!replay.contains("219-09"), "{replay}");
}

#[test]
fn in_binary_and_by_portals_it_is_the_same() {
    let shop = Shop::at(cluster::remote());
    let _gateway = attach(&shop, POLICIES);
    let script = r"
import psycopg
with psycopg.connect('', autocommit=True) as connection:
    with connection.cursor(binary=True) as cursor:
        cursor.execute('SELECT id, name, ssn FROM people WHERE id <= %s ORDER BY id', [3])
        print(cursor.fetchall())
";
    let python = needs(&cached("postgres-drivers-python-").join("bin/python"));
    let got = ran(&mut shop.command(Side::Inside, &[], &[&python, "-c", script]));
    assert!(got.ok, "{got:?}");
    let kept = outcome(&shop, "WHERE id <=");
    let first = &kept["results"][0]["rows"][0];
    assert_eq!((&first[0], &first[1]), (&json!("1"), &json!("Ada")), "{kept}");
    assert_eq!(
        (kept["results"][0]["rows"].as_array().unwrap().len(), &kept["results"][0]["more"]),
        (2, &json!(1)),
        "{kept}"
    );
}

#[test]
fn what_is_shown_in_the_clear_is_kept_nowhere() {
    let shop = Shop::at(cluster::remote());
    let _gateway = attach(&shop, &format!("{POLICIES}\n{UNMASK}"));
    let got = shop.psql(&["SELECT ssn FROM people WHERE id = 1", "SELECT 'no label' AS n"]);
    assert!(got.ok && got.out.contains("219-09-9999"), "{got:?}");
    let clear = outcome(&shop, "SELECT ssn");
    assert_eq!(clear["results"], Value::Null, "{clear}");
    assert!(clear["results_left_out"].as_str().unwrap().contains("ssn in the clear"), "{clear}");
    let events = shop.world.events("postgres.outcome");
    assert!(!json!(events).to_string().contains("219-09-9999"));
}
