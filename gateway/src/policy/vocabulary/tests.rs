//! Names in Rust are those of the schema, and every constructor makes what the schema accepts.

use super::names::{ObjectKind, RelationKind};
use super::postgres::{self, RelationFacts};
use super::*;

fn relation(schema: &str, name: &str) -> Arc<Entity> {
    let address = "10.0.0.5".parse().unwrap();
    let facts =
        TargetFacts { name: "shop-prod", protocol: ProtocolName::Postgres, address, port: 5432, environment: None };
    let database = postgres::database(&target(facts), "a/b");
    let facts = RelationFacts { name, kind: RelationKind::Table, classes: Vec::new(), rows_estimate: None };
    postgres::relation(&postgres::schema(&database, schema), facts)
}

#[test]
fn names_cannot_pass_for_two() {
    assert_eq!(relation("public", "orders").id(), "shop-prod/a%2Fb/public.orders");
    assert_eq!(relation("a.b", "c").id(), "shop-prod/a%2Fb/a%2Eb.c");
    assert_eq!(relation("a", "b.c").id(), "shop-prod/a%2Fb/a.b.c");
    assert_eq!(relation("a%2Eb", "\"c/d").id(), "shop-prod/a%2Fb/a%252Eb.\"c%2Fd");
}

#[test]
fn objects_without_a_schema_cannot_pass_for_those_with_one() {
    let schema = Arc::clone(&relation("s", "r").parents()[0]);
    let database = Arc::clone(&schema.parents()[0]);
    let bare = postgres::object(&database, None, ObjectKind::Rule, "s.o");
    let inside = postgres::object(&database, Some(&schema), ObjectKind::Rule, "o");
    assert_eq!((bare.id(), inside.id()), ("shop-prod/a%2Fb/rule/s%2Eo", "shop-prod/a%2Fb/rule/s.o"));
}

#[test]
fn an_id_with_quotes_is_one_id_to_the_evaluator() {
    let uid = cedar_policy::EntityUid::from_type_name_and_id(
        "Postgres::Relation".parse().unwrap(),
        cedar_policy::EntityId::new(relation("a", "b\"; permit").id()),
    );
    assert_eq!(uid.to_string().parse::<cedar_policy::EntityUid>().unwrap(), uid);
}
