//! Masking at the source: which relations of a text are replaced for a session, and by what.
//!
//! In: the classes that policy hides in the relations that a text reads, the catalog. Out: the text that the server gets
//! instead, with what its masking subqueries show; or why the text is refused. It replaces only what a name is sure to
//! mean; what it leaves, and what the server says of the result, is judged by labels like everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::PolicyJudge;
use super::analysis::{Analysis, Scope, Unreadable};
use super::labels::{LabelUse, class_entity, relation_entity};
use super::names::made_temporary;
use super::questions::Scene;
use crate::masking::Masking;
use crate::masking::class::Class;
use crate::policy::decision::Verdict;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::{Mode, Moment, Request};
use crate::protocol::postgres::catalog::{Catalog, Column, Relation, Seen, masked};
use crate::protocol::postgres::reply::{Denial, SqlState};
use crate::protocol::postgres::sql::facts::{Facts, RelationName};
use crate::protocol::postgres::sql::lineage::Queries;
use crate::protocol::postgres::sql::source::{self, Meant, SourceError, Sources};
use crate::protocol::postgres::values::{identifier, in_sql};

/// Classes that policy does not show, by the relation that they are hidden in.
pub(super) type Hidden = BTreeSet<(u32, Arc<str>)>;

/// Schemas of the server's own relations: what labels hide there is masked in results.
const OF_THE_SERVER: [&str; 3] = ["pg_catalog", "pg_toast", "information_schema"];

/// A text that is sent in place of another.
#[derive(Debug)]
pub(super) struct Instead {
    pub(super) text: Arc<str>,
    /// Its masking subqueries, with what they show.
    pub(super) queries: Queries,
    /// What they hide.
    hidden: Vec<(u32, Arc<Class>)>,
}

/// What stands for one relation.
struct Stand<'c> {
    relation: &'c Relation,
    query: String,
    /// Without its children.
    query_of_only: String,
}

struct Stands<'c> {
    seen: Seen<'c>,
    by_oid: BTreeMap<u32, Stand<'c>>,
}

impl Sources for Stands<'_> {
    fn meant(&self, name: &RelationName, only: bool) -> Meant<'_> {
        let found: Vec<_> = self.seen.catalog.named(name, self.seen.path).collect();
        if !found.iter().any(|relation| self.by_oid.contains_key(&relation.oid)) {
            return Meant::Itself;
        }
        let sure = found.first().filter(|relation| found.len() == 1 && self.seen.is_sure(name, relation));
        let stand = sure.filter(|_| name.catalog.is_none()).and_then(|relation| self.by_oid.get(&relation.oid));
        stand.map_or(Meant::Unsure, |stand| {
            let query = if only { &stand.query_of_only } else { &stand.query };
            Meant::Query(query, (&stand.relation.schema, &stand.relation.name))
        })
    }
}

impl Instead {
    /// The text that is sent in place of this one; none where nothing of it is replaced.
    ///
    /// # Errors
    /// Where it reads what has to be replaced, and cannot be rewritten.
    pub(super) fn of(
        text: &str,
        facts: &Facts,
        scene: &Scene,
        (hidden, masking): (&Hidden, &Masking),
    ) -> Result<Option<Self>, SourceError> {
        let Some(catalog) = scene.catalog.as_deref() else { return Ok(None) };
        let mut shadowed = BTreeSet::clone(&scene.shadowed);
        shadowed.extend(made_temporary(facts).map(str::to_owned));
        let seen = Seen { catalog, path: &scene.path, shadowed: &shadowed, queries: None };
        let oids: BTreeSet<u32> = hidden.iter().map(|(oid, _)| *oid).collect();
        let relations = oids.iter().filter_map(|oid| catalog.relation(*oid));
        let by_oid = relations.map(|relation| (relation.oid, Stand::of(relation, hidden, masking))).collect();
        let stands = Stands { seen, by_oid };
        let Some(text) = source::rewrite(text, &stands)? else { return Ok(None) };
        if !catalog.is_utf8() {
            return Err(SourceError::Encoding);
        }
        let mut queries = Queries::new();
        for stand in stands.by_oid.values() {
            let shows = |column: &Column| !hides(hidden, stand.relation, column);
            let shape = masked(stand.relation, shows);
            for query in [&stand.query, &stand.query_of_only] {
                queries.insert(source::canonical(query).ok_or(SourceError::NotTheSame)?, shape.clone());
            }
        }
        Ok(Some(Self { text: text.into(), queries, hidden: classes(catalog, hidden) }))
    }

    /// Notes what is hidden at the source among what the message does with labels: policy was asked for it, and the
    /// record says so.
    pub(super) fn note(&self, labels: &mut LabelUse) {
        self.hidden.iter().for_each(|(relation, class)| labels.read_of(*relation, class));
    }
}

fn classes(catalog: &Catalog, hidden: &Hidden) -> Vec<(u32, Arc<Class>)> {
    let class = |(oid, name): &(u32, Arc<str>)| {
        let mut labelled = catalog.relation(*oid)?.labelled();
        labelled.find(|(_, class)| class.name == *name).map(|(_, class)| (*oid, Arc::clone(class)))
    };
    hidden.iter().filter_map(class).collect()
}

fn hides(hidden: &Hidden, relation: &Relation, column: &Column) -> bool {
    column.class.as_ref().is_some_and(|class| hidden.contains(&(relation.oid, Arc::clone(&class.name))))
}

impl<'c> Stand<'c> {
    fn of(relation: &'c Relation, hidden: &Hidden, masking: &Masking) -> Self {
        let column = |column: &Column| match &column.class {
            Some(class) if hides(hidden, relation, column) => {
                let mask = in_sql(&column.name, column.type_oid, class, masking.keep_null);
                format!("{mask} AS {}", identifier(&column.name))
            }
            _ => identifier(&column.name),
        };
        let columns = relation.columns.iter().map(column).collect::<Vec<_>>().join(", ");
        let name = format!("{}.{}", identifier(&relation.schema), identifier(&relation.name));
        let query = |only: &str| format!("SELECT {columns} FROM {only}{name}");
        Self { relation, query: query(""), query_of_only: query("ONLY ") }
    }
}

impl PolicyJudge {
    /// What a text means in this session, with what is sent in its place.
    pub(super) async fn analyse(&self, scope: &Scope, text: &str) -> Result<Arc<Analysis>, Unreadable> {
        let own = self.shared.analyses.of(scope, text).await?;
        if !self.about.masks_at_source || self.about.mode == Mode::Observe {
            return Ok(own);
        }
        let hidden = self.hidden(&own.shape.labels, scope.scene());
        if hidden.is_empty() {
            return Ok(own);
        }
        self.shared.analyses.of(&scope.at_source(hidden), text).await
    }

    /// The classes that policy hides in the relations of which a message uses labels. Where people have to be asked, they
    /// are, as without masking at the source.
    fn hidden(&self, labels: &LabelUse, scene: &Scene) -> Hidden {
        let mut policies = self.policies.lock();
        let policies = policies.get();
        let (Some(login), Some(catalog)) = (self.login.get(), scene.catalog.as_deref()) else { return Hidden::new() };
        let is_hidden = |relation: &Relation, class: &Class| {
            let relation = relation_entity(relation, scene);
            let about = data::ask(Use::Unmask, class_entity(class), Arc::clone(&self.about.target), Some(relation));
            let questions = [about];
            let request = Request {
                principal: &self.about.principal,
                session: &login.session,
                at: Moment::now(),
                questions: &questions,
            };
            let answers = questions.iter().map(|question| policies.answer(&request, question).verdict);
            answers.into_iter().any(|verdict| matches!(verdict, Verdict::Mask | Verdict::Deny))
        };
        let used = labels.relations().filter_map(|oid| catalog.relation(oid));
        let own = used.filter(|relation| !OF_THE_SERVER.contains(&&*relation.schema));
        let each = own.flat_map(|relation| classes_of(relation).into_iter().map(move |class| (relation, class)));
        each.filter(|(relation, class)| !policies.unmasks() || is_hidden(relation, class))
            .map(|(relation, class)| (relation.oid, Arc::clone(&class.name)))
            .collect()
    }

    /// Refuses what was prepared under other words than it would be sent in now.
    pub(super) fn check_sent(&self, then: &Analysis, now: &Analysis) -> Result<(), Denial> {
        if then.sent == now.sent {
            return Ok(());
        }
        let reason = "what is masked at the source, or the relations that it reads, changed since it was prepared";
        Err(self.refusal(SqlState::NO_STATEMENT, reason).with_hint("Prepare it again."))
    }
}

fn classes_of(relation: &Relation) -> Vec<&Arc<Class>> {
    let by_name: BTreeMap<_, _> = relation.labelled().map(|(_, class)| (&class.name, class)).collect();
    by_name.into_values().collect()
}
