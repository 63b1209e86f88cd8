//! Namespace `Postgres`: the objects of a database and the facts of a statement.
//!
//! In: names as the server has resolved them. Out: entities, ids escaped, and questions with a statement's facts. It must
//! never resolve a name or read SQL.

use std::sync::Arc;

use super::names::{Action, EntityType, FunctionKind, ObjectKind, RelationKind, Where};
use super::{id_below, push_escaped};
use crate::policy::request::{Entity, Question, Value};

/// The database `name` of `target`. Made once for a session.
#[must_use]
pub fn database(target: &Arc<Entity>, name: &str) -> Arc<Entity> {
    let id = id_below(target, name);
    Entity::new(EntityType::Database, id, vec![("name", name.into())], std::slice::from_ref(target))
}

/// A schema of `database`; every temporary schema is `pg_temp`.
#[must_use]
pub fn schema(database: &Arc<Entity>, name: &str) -> Arc<Entity> {
    let mut id = String::with_capacity(database.id().len() + 1 + name.len());
    id.push_str(database.id());
    id.push('/');
    push_escaped(&mut id, name, "%/.");
    Entity::new(EntityType::Schema, id, vec![("name", name.into())], std::slice::from_ref(database))
}

/// What is known of a relation.
#[derive(Clone, Debug)]
pub struct RelationFacts<'a> {
    /// Its name, without the schema.
    pub name: &'a str,
    /// What it is.
    pub kind: RelationKind,
    /// The classes of its labelled columns.
    pub classes: Vec<Arc<Entity>>,
    /// The planner's estimate of its rows.
    pub rows_estimate: Option<i64>,
}

/// A relation of `schema`.
#[must_use]
pub fn relation(schema: &Arc<Entity>, facts: RelationFacts<'_>) -> Arc<Entity> {
    let mut attributes = vec![
        ("name", facts.name.into()),
        ("schema", plain_name(schema)),
        ("kind", facts.kind.into()),
        ("classes", Value::Entities(facts.classes.into())),
    ];
    attributes.extend(facts.rows_estimate.map(|rows| ("rowsEstimate", Value::Long(rows))));
    Entity::new(EntityType::Relation, id_in(schema, facts.name), attributes, std::slice::from_ref(schema))
}

/// A function, aggregate or procedure of `schema`.
#[must_use]
pub fn function(schema: &Arc<Entity>, name: &str, kind: FunctionKind) -> Arc<Entity> {
    let attributes = vec![("name", name.into()), ("schema", plain_name(schema)), ("kind", kind.into())];
    Entity::new(EntityType::Function, id_in(schema, name), attributes, std::slice::from_ref(schema))
}

/// A role of `target`. Whether it is a superuser must be known; who does not know says so with `true`.
#[must_use]
pub fn role(target: &Arc<Entity>, name: &str, superuser: bool) -> Arc<Entity> {
    let attributes = vec![("name", name.into()), ("superuser", superuser.into())];
    Entity::new(EntityType::Role, id_below(target, name), attributes, std::slice::from_ref(target))
}

/// Any other named thing of `database`, in `schema` where it has one.
#[must_use]
pub fn object(database: &Arc<Entity>, schema: Option<&Arc<Entity>>, kind: ObjectKind, name: &str) -> Arc<Entity> {
    let mut id = format!("{}/{}/", database.id(), kind.name());
    if let Some(schema) = schema.and_then(|schema| schema.text("name")) {
        push_escaped(&mut id, schema, "%/.");
        id.push('.');
    }
    push_escaped(&mut id, name, if schema.is_some() { "%/" } else { "%/." });
    let parent = schema.unwrap_or(database);
    Entity::new(
        EntityType::Object,
        id,
        vec![("name", name.into()), ("kind", kind.into())],
        std::slice::from_ref(parent),
    )
}

fn id_in(schema: &Entity, name: &str) -> String {
    let mut id = String::with_capacity(schema.id().len() + 1 + name.len());
    id.push_str(schema.id());
    id.push('.');
    push_escaped(&mut id, name, "%/");
    id
}

fn plain_name(entity: &Entity) -> Value {
    Value::Text(entity.text("name").cloned().unwrap_or_default())
}

/// The facts of a statement, as far as one of its questions needs them.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The database that the session is in.
    pub database: Arc<Entity>,
    /// The command tag.
    pub command: Arc<str>,
    /// How far it narrows the rows of this relation.
    pub narrowed: Where,
    /// Columns of this relation that it names or expands.
    pub columns: Vec<Arc<str>>,
    /// The view through which this relation is reached.
    pub through: Option<Arc<Entity>>,
    /// Rows that it can return at most.
    pub limit: Option<i64>,
    /// A transaction block is open.
    pub in_transaction: bool,
    /// Statements in its message.
    pub batch: u32,
    /// Why its effects cannot all be read; empty where they can.
    pub opaque: Vec<Arc<str>>,
    /// The setting that it changes, in lower case.
    pub setting: Option<Arc<str>>,
    /// Its text.
    pub text: Arc<str>,
}

impl Statement {
    /// A statement of which nothing but its command and text is known: no WHERE, no columns, nothing opaque.
    #[must_use]
    pub fn new(database: Arc<Entity>, command: impl Into<Arc<str>>, text: Arc<str>) -> Self {
        Self {
            database,
            command: command.into(),
            narrowed: Where::None,
            columns: Vec::new(),
            through: None,
            limit: None,
            in_transaction: false,
            batch: 1,
            opaque: Vec::new(),
            setting: None,
            text,
        }
    }
}

/// May this statement do that to `resource`?
#[must_use]
pub fn ask(action: Action, resource: Arc<Entity>, statement: Statement) -> Arc<Question> {
    let mut context = Vec::with_capacity(10);
    context.extend([
        ("database", Value::Entity(statement.database)),
        ("command", Value::Text(statement.command)),
        ("where", statement.narrowed.into()),
        ("columns", Value::Texts(statement.columns.into())),
        ("inTransaction", statement.in_transaction.into()),
        ("batch", Value::Long(statement.batch.into())),
        ("opaque", Value::Texts(statement.opaque.into())),
    ]);
    context.extend(statement.through.map(|view| ("through", Value::Entity(view))));
    context.extend(statement.limit.map(|rows| ("limit", Value::Long(rows))));
    context.extend(statement.setting.map(|setting| ("setting", Value::Text(setting))));
    Question::with_text(action, resource, context, Some(statement.text))
}
