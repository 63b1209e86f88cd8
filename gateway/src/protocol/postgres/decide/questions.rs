//! From what a statement would do to what policy is asked.
//!
//! In: the facts of a message and the scene: target, database, schemas of the search path. Out: one question per effect
//! and object. A name without a schema is asked for every schema that it may be found in, and the strictest answer
//! wins; what policies cannot see is an error, never left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Understood;
use super::labels::{classes_of, hidden_calls, stores_what_it_runs};
use crate::policy::Question;
use crate::policy::request::Entity;
use crate::policy::vocabulary::names::{Action, FunctionKind, ObjectKind, RelationKind, Where};
use crate::policy::vocabulary::postgres::{self as vocabulary, RelationFacts};
use crate::protocol::postgres::catalog::Catalog;
use crate::protocol::postgres::sql::facts::{
    Effect, Facts, Filter, FunctionClass, Object, Question as Fact, RelationName, RoleName, Statement,
};

/// The schema of the server's own relations.
const CATALOG: &str = "pg_catalog";
/// What every temporary schema is called.
const TEMPORARY: &str = "pg_temp";

/// Where a message is judged.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The target.
    pub target: Arc<Entity>,
    /// The session's database.
    pub database: Arc<Entity>,
    /// Schemas in which a name without one is looked for.
    pub path: Vec<String>,
    /// Names of relations that have labels, under which this session made temporary ones.
    pub shadowed: Arc<BTreeSet<String>>,
    /// A transaction block was open when the message came.
    pub in_transaction: bool,
    /// Which columns carry labels; none: none of this database does.
    pub catalog: Option<Arc<Catalog>>,
    /// What calls no text shows, as far as it was read.
    pub calls: Option<Arc<Catalog>>,
}

/// A part of a statement that policies have no word for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policies have no word for {what}: do it from outside, or ask for it to be added")]
pub struct NoWord {
    what: String,
}

/// All questions of a message.
///
/// # Errors
/// Where an object is of a kind that policies cannot see.
pub fn ask(facts: &Facts, scene: &Scene, text: &Arc<str>) -> Result<Vec<Arc<Question>>, NoWord> {
    let batch = u32::try_from(facts.statements.len()).unwrap_or(u32::MAX);
    let mut questions = Vec::new();
    for statement in &facts.statements {
        let about = About { statement, scene, text, batch };
        for fact in &statement.questions {
            about.ask(fact, &mut questions)?;
        }
        about.ask_of_hidden_calls(&mut questions)?;
        // SHOW, BEGIN and the like have no object: what every session needs.
        if statement.questions.is_empty() {
            questions.push(about.question(Action::PostgresConnect, Arc::clone(&scene.database), None, None));
        }
    }
    if questions.is_empty() {
        let nothing = Statement::default();
        let about = About { statement: &nothing, scene, text, batch };
        questions.push(about.question(Action::PostgresConnect, Arc::clone(&scene.database), None, None));
    }
    Ok(questions)
}

impl Understood {
    /// The questions of a text and of all that it runs by name.
    pub(super) fn questions(&self, with_texts: bool) -> Vec<Arc<Question>> {
        let analyses = std::iter::once(&self.own).chain(&self.named);
        let mut all = Vec::new();
        for analysis in analyses {
            if stores_what_it_runs(&self.own.facts) {
                all.extend(analysis.shape.labels.clone().stored().questions(self.scope.scene()));
            }
            if with_texts {
                all.extend(analysis.questions_with_text(&self.scope));
            } else {
                all.extend(analysis.shape.questions.iter().cloned());
            }
        }
        all
    }
}

struct About<'a> {
    statement: &'a Statement,
    scene: &'a Scene,
    text: &'a Arc<str>,
    batch: u32,
}

impl About<'_> {
    fn ask(&self, fact: &Fact, questions: &mut Vec<Arc<Question>>) -> Result<(), NoWord> {
        let action = action(fact.effect);
        let settings: Vec<Option<Arc<str>>> = match fact.effect {
            Effect::Set | Effect::Alter | Effect::ManageRole if !self.statement.settings.is_empty() => self
                .statement
                .settings
                .iter()
                .map(|change| Some(change.name.as_deref().unwrap_or("computed").into()))
                .collect(),
            _ => vec![None],
        };
        for resource in self.resources(&fact.object)? {
            for setting in &settings {
                questions.push(self.question(action, Arc::clone(&resource), Some(fact), setting.clone()));
            }
        }
        Ok(())
    }

    /// `row.f`, an operator and a cast may call what somebody made, of which only the catalog tells.
    fn ask_of_hidden_calls(&self, questions: &mut Vec<Arc<Question>>) -> Result<(), NoWord> {
        let Some(catalog) = self.scene.calls.as_deref() else { return Ok(()) };
        for name in hidden_calls(self.statement, catalog) {
            let object = Object::Function { schema: None, name: name.clone(), class: FunctionClass::User };
            let fact = Fact {
                effect: Effect::Execute,
                object,
                filter: Filter::None,
                columns: Default::default(),
                limit: None,
            };
            self.ask(&fact, questions)?;
        }
        Ok(())
    }

    fn question(
        &self,
        action: Action,
        resource: Arc<Entity>,
        fact: Option<&Fact>,
        setting: Option<Arc<str>>,
    ) -> Arc<Question> {
        let mut about = vocabulary::Statement::new(
            Arc::clone(&self.scene.database),
            self.statement.command.as_ref(),
            Arc::clone(self.text),
        );
        if let Some(fact) = fact {
            about.narrowed = match fact.filter {
                Filter::None => Where::None,
                Filter::Constant => Where::Constant,
                Filter::Columns => Where::Columns,
            };
            about.columns = fact.columns.names.iter().map(|name| name.as_str().into()).collect();
            if fact.columns.all {
                about.columns.push("*".into());
            }
            about.limit = fact.limit.and_then(|rows| i64::try_from(rows).ok());
        }
        about.in_transaction = self.scene.in_transaction;
        about.batch = self.batch;
        about.opaque = self.statement.opaque.iter().map(|reason| reason.to_string().into()).collect();
        about.setting = setting;
        vocabulary::ask(action, resource, about)
    }

    /// The entities that an object may be.
    fn resources(&self, object: &Object) -> Result<Vec<Arc<Entity>>, NoWord> {
        let database = &self.scene.database;
        Ok(match object {
            Object::Relation(name) => self.relations(name),
            Object::Function { schema, name, class } => {
                let kind = function_kind(*class);
                let schemas = match (schema, class) {
                    (Some(schema), _) => vec![schema.clone()],
                    (None, FunctionClass::User) => self.scene.path.clone(),
                    (None, _) => vec![CATALOG.to_owned()],
                };
                let function = |schema: &String| vocabulary::function(&self.schema(schema), name, kind);
                schemas.iter().map(function).collect()
            }
            Object::Schema(name) => vec![self.schema(name)],
            Object::Database(None) => vec![Arc::clone(database)],
            Object::Database(Some(name)) => vec![vocabulary::database(&self.scene.target, name)],
            // Whether it is a superuser is not known here, hence assumed.
            Object::Role(name) => vec![vocabulary::role(&self.scene.target, role_name(name), true)],
            Object::Named { kind: "index", schema, name } => self.made(schema.as_deref(), name, RelationKind::Index),
            Object::Named { kind: "foreign table", schema, name } => {
                self.made(schema.as_deref(), name, RelationKind::Foreign)
            }
            Object::Named { kind, schema, name } => {
                let found = object_kind(kind).ok_or_else(|| NoWord { what: format!("a {kind}") })?;
                let schema = schema.as_ref().map(|schema| self.schema(schema));
                vec![vocabulary::object(database, schema.as_ref(), found, name)]
            }
        })
    }

    fn relations(&self, name: &RelationName) -> Vec<Arc<Entity>> {
        // The server takes no database but the session's own before a schema.
        let relation = |schema: &str, kind: RelationKind| {
            let labelled = self.scene.catalog.as_deref().and_then(|catalog| catalog.relation_in(schema, &name.name));
            let classes = labelled.map(|relation| classes_of(relation)).unwrap_or_default();
            let facts = RelationFacts { name: &name.name, kind, classes, rows_estimate: None };
            vocabulary::relation(&self.schema(schema), facts)
        };
        if name.temporary || name.schema.as_deref().is_some_and(|schema| schema.starts_with("pg_temp")) {
            return vec![relation(TEMPORARY, RelationKind::Temporary)];
        }
        if let Some(schema) = &name.schema {
            return vec![relation(schema, relation_kind(schema))];
        }
        let mut candidates: Vec<_> =
            self.scene.path.iter().map(|schema| relation(schema, relation_kind(schema))).collect();
        // pg_catalog comes first unless the path says otherwise, and all its relations are called so.
        if name.name.starts_with("pg_") || candidates.is_empty() {
            candidates.push(relation(CATALOG, RelationKind::Catalog));
        }
        candidates
    }

    /// A relation that the statement makes, whose kind it says; without a name where the server chooses one.
    fn made(&self, schema: Option<&str>, name: &str, kind: RelationKind) -> Vec<Arc<Entity>> {
        let relation = |schema: &str| {
            let facts = RelationFacts { name, kind, classes: Vec::new(), rows_estimate: None };
            vocabulary::relation(&self.schema(schema), facts)
        };
        match schema {
            Some(schema) => vec![relation(schema)],
            None if self.scene.path.is_empty() => vec![relation(CATALOG)],
            None => self.scene.path.iter().map(|schema| relation(schema)).collect(),
        }
    }

    fn schema(&self, name: &str) -> Arc<Entity> {
        vocabulary::schema(&self.scene.database, name)
    }
}

fn relation_kind(schema: &str) -> RelationKind {
    match schema {
        CATALOG | "information_schema" | "pg_toast" => RelationKind::Catalog,
        _ => RelationKind::Table,
    }
}

fn function_kind(class: FunctionClass) -> FunctionKind {
    match class {
        // A pure function asks nothing, unless a statement makes or drops one of its name.
        FunctionClass::Pure | FunctionClass::Reader => FunctionKind::Reader,
        FunctionClass::Session => FunctionKind::Session,
        FunctionClass::Volatile => FunctionKind::Volatile,
        FunctionClass::LargeObject | FunctionClass::ServerFile | FunctionClass::Replication | FunctionClass::Server => {
            FunctionKind::ServerSide
        }
        FunctionClass::Untrusted => FunctionKind::Untrusted,
        FunctionClass::Opaque | FunctionClass::User => FunctionKind::Opaque,
    }
}

fn role_name(role: &RoleName) -> &str {
    match role {
        RoleName::Named(name) => name,
        RoleName::CurrentUser => "current_user",
        RoleName::SessionUser => "session_user",
        RoleName::Public => "public",
        RoleName::Unnamed => "none",
    }
}

/// The word of policies for a kind of object in PostgreSQL's words.
fn object_kind(kind: &str) -> Option<ObjectKind> {
    match kind {
        "server" => Some(ObjectKind::ForeignServer),
        "operator class" => Some(ObjectKind::OperatorClass),
        text if text.starts_with("text search") => Some(ObjectKind::TextSearch),
        other => ObjectKind::from_name(&other.replace(' ', "_")),
    }
}

fn action(effect: Effect) -> Action {
    match effect {
        Effect::Select => Action::PostgresSelect,
        Effect::Insert => Action::PostgresInsert,
        Effect::Update => Action::PostgresUpdate,
        Effect::Delete => Action::PostgresDelete,
        Effect::Truncate => Action::PostgresTruncate,
        Effect::Lock => Action::PostgresLock,
        Effect::Maintain => Action::PostgresMaintain,
        Effect::Create => Action::PostgresCreate,
        Effect::Alter => Action::PostgresAlter,
        Effect::Drop => Action::PostgresDrop,
        Effect::Execute => Action::PostgresExecute,
        Effect::Grant => Action::PostgresGrant,
        Effect::Revoke => Action::PostgresRevoke,
        Effect::ManageRole => Action::PostgresManageRole,
        Effect::SetRole => Action::PostgresSetRole,
        Effect::Set => Action::PostgresSet,
        Effect::Listen => Action::PostgresListen,
        Effect::Notify => Action::PostgresNotify,
        Effect::AlterSystem => Action::PostgresAlterSystem,
        Effect::CopyProgram => Action::PostgresCopyProgram,
        Effect::ServerFile => Action::PostgresServerFile,
        Effect::RunCode => Action::PostgresRunCode,
        Effect::LargeObject => Action::PostgresLargeObject,
        Effect::Replicate => Action::PostgresReplicate,
        Effect::FunctionCall => Action::PostgresFunctionCall,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::vocabulary::names::ProtocolName;
    use crate::policy::vocabulary::{TargetFacts, target};
    use crate::protocol::postgres::sql::{Caps, read};

    fn resources(text: &str) -> Vec<String> {
        let facts = TargetFacts {
            name: "t",
            protocol: ProtocolName::Postgres,
            address: std::net::Ipv4Addr::LOCALHOST.into(),
            port: 5432,
            environment: None,
        };
        let target = target(facts);
        let scene = Scene {
            database: vocabulary::database(&target, "d"),
            target,
            path: vec!["public".to_owned()],
            shadowed: Arc::default(),
            in_transaction: false,
            catalog: None,
            calls: None,
        };
        let facts = read(text.as_bytes(), &Caps::default()).unwrap();
        let questions = ask(&facts, &scene, &text.into()).unwrap_or_else(|error| panic!("{error}: {text}"));
        questions.iter().map(|question| question.resource().id().to_owned()).collect()
    }

    /// The wildcard of `object_kind` is text: nothing but this finds a kind that it does not know.
    #[test]
    fn every_kind_of_object_has_a_word() {
        let comments = "ACCESS METHOD a|AGGREGATE f(int)|CAST (a AS b)|COLLATION a|COLUMN t.c|CONSTRAINT c ON t|
            CONSTRAINT c ON DOMAIN d|CONVERSION a|DATABASE d|DOMAIN a|EXTENSION a|EVENT TRIGGER a|FOREIGN DATA WRAPPER a|
            FOREIGN TABLE a|FUNCTION f()|INDEX a|LARGE OBJECT 1|MATERIALIZED VIEW a|OPERATOR + (int, int)|
            OPERATOR CLASS a USING btree|OPERATOR FAMILY a USING btree|POLICY p ON t|LANGUAGE a|PROCEDURE f()|
            PUBLICATION a|ROLE a|ROUTINE f()|RULE r ON t|SCHEMA a|SEQUENCE a|SERVER a|STATISTICS a|SUBSCRIPTION a|TABLE a|
            TABLESPACE a|TEXT SEARCH CONFIGURATION a|TEXT SEARCH DICTIONARY a|TEXT SEARCH PARSER a|TEXT SEARCH TEMPLATE a|
            TRANSFORM FOR a LANGUAGE b|TRIGGER g ON t|TYPE a|VIEW a";
        for object in comments.split('|').map(str::trim) {
            assert!(!resources(&format!("COMMENT ON {object} IS 'x'")).is_empty(), "{object}");
        }
        let grants =
            "SEQUENCE a|DATABASE d|DOMAIN a|FOREIGN DATA WRAPPER a|FOREIGN SERVER a|FUNCTION f(int)|LANGUAGE a|
            LARGE OBJECT 1|PARAMETER work_mem|SCHEMA a|TABLESPACE a|TYPE a|ALL FUNCTIONS IN SCHEMA a";
        for object in grants.split('|').map(str::trim) {
            assert!(!resources(&format!("GRANT ALL ON {object} TO r")).is_empty(), "{object}");
        }
        for statement in [
            "CREATE USER MAPPING FOR PUBLIC SERVER s",
            "REASSIGN OWNED BY a TO b",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO r",
            "SECURITY LABEL ON TABLE t IS 'x'",
        ] {
            assert!(!resources(statement).is_empty(), "{statement}");
        }
        assert!(resources("CREATE INDEX i ON s.t (a)").contains(&"t/d/s.i".to_owned()));
        assert!(resources("CREATE FOREIGN TABLE f (a int) SERVER s").contains(&"t/d/public.".to_owned()));
    }
}
