//! What is hidden in the replies to one message.
//!
//! In: what its statements do with labels, the classes that policy does not show, and the catalog. Out: a plan for each
//! statement, or why there can be none. A labelled column that the analysis did not see, and what nobody can say where
//! it comes from, is masked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::analysis::Analysis;
use super::caps;
use super::labels::{LabelUse, class_entity};
use super::origins::{ByCatalog, whole};
use super::questions::Scene;
use super::{PolicyJudge, Understood};
use crate::masking::Masking;
use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;
use crate::masking::plan::{Columns, ResultPlan, Texts, Treatment};
use crate::policy::decision::Verdict;
use crate::policy::vocabulary::data::{self, Use};
use crate::policy::{Moment, Request, RequestPermit};
use crate::protocol::postgres::catalog::{Column, Relation};
use crate::protocol::postgres::copy_out::{CopyFormat, CopyShape};
use crate::protocol::postgres::rows::StatementPlan;
use crate::protocol::postgres::sql::facts::{CopyRows, Facts, Statement, Verb};
use crate::protocol::postgres::sql::lineage::Shape;

/// What is hidden from one session for one message.
pub(super) struct Masks<'a> {
    pub(super) masking: &'a Masking,
    pub(super) scene: &'a Scene,
    /// What the message does with labels, and what it runs by name.
    pub(super) labels: &'a LabelUse,
    /// What the message itself does with labels.
    pub(super) own: &'a LabelUse,
    /// What it runs by name.
    pub(super) named: &'a [Arc<Analysis>],
    /// Classes that policy does not show, of those that the message reads.
    pub(super) masked: BTreeSet<Arc<str>>,
    /// Detectors whose finds policy shows.
    pub(super) allowed: DetectorSet,
}

impl Masks<'_> {
    /// Why the message cannot be sent on though policy permits it.
    pub(super) fn refusal(&self, facts: &Facts) -> Option<String> {
        let overwritten = self.labels.overwrites.iter().find(|(class, _)| self.masked.contains(&class.name));
        if let Some((_, column)) = overwritten {
            return Some(format!(
                "`{column}` is shown masked, its masks cannot be told from values, and what was shown masked is not \
                 written back: leave the column out"
            ));
        }
        let mut statements = facts.statements.iter().enumerate();
        statements.find_map(|(index, statement)| self.copy(statement, &self.outputs(facts, index)).err())
    }

    /// A plan for each statement of a message, in order.
    pub(super) fn plans(&self, facts: &Facts) -> Vec<StatementPlan> {
        let plan = |(index, statement): (usize, &Statement)| {
            let outputs = self.outputs(facts, index);
            let (copy, columns) = match self.copy(statement, &outputs) {
                Ok(Some((shape, columns))) => (Some(shape), columns),
                // Refused before it came here.
                Ok(None) | Err(_) => (None, self.columns(outputs)),
            };
            StatementPlan { result: ResultPlan { columns, texts: self.texts() }, copy }
        };
        facts.statements.iter().enumerate().map(plan).collect()
    }

    /// Why its rows are not kept for the record: that holds nothing in the clear of a class, whoever may see it (G4).
    pub(super) fn shows_in_the_clear(&self) -> Option<String> {
        let shown: Vec<_> = self.shown().iter().map(ToString::to_string).collect();
        if shown.is_empty() && self.allowed == DetectorSet::default() {
            return None;
        }
        let what = if shown.is_empty() { "what detectors find".to_owned() } else { shown.join(", ") };
        Some(format!("it may see {what} in the clear, and the record holds none of that"))
    }

    /// What happens to errors and notices.
    pub(super) fn texts(&self) -> Texts {
        if self.labels.touches_relation {
            return Texts::Scrub;
        }
        Texts::of_bystander(self.scene.catalog.as_ref().is_some_and(|catalog| catalog.has_labels()))
    }

    fn columns(&self, outputs: Option<Arc<Shape>>) -> Columns {
        let Some(catalog) = &self.scene.catalog else { return Columns::All(Treatment::Detect(self.allowed)) };
        let any = || catalog.relations().find_map(|relation| relation.labelled().next().map(|(_, class)| class));
        Columns::ByOrigin(Arc::new(ByCatalog {
            catalog: Arc::clone(catalog),
            shown: self.shown(),
            unknown: self.unknown(),
            allowed: self.allowed,
            outputs,
            strictest: self.masking.classes.find("secret").or_else(any).map(Arc::clone),
        }))
    }

    /// What the columns of a statement derive from, if it was followed: of EXECUTE and FETCH, those of what they run.
    fn outputs(&self, facts: &Facts, index: usize) -> Option<Arc<Shape>> {
        let runs_named = |verb: &Verb| matches!(verb, Verb::Execute(_) | Verb::Fetch(_));
        let verbs = facts.statements.iter().flat_map(|statement| &statement.verbs);
        if self.named.is_empty() && !verbs.into_iter().any(runs_named) {
            return self.own.outputs.get(index)?.clone();
        }
        // Where it may be one of several, nobody here says which.
        match (self.named, facts.statements.as_slice()) {
            ([named], [_]) if named.facts.statements.len() == 1 => named.shape.labels.outputs.first()?.clone(),
            _ => None,
        }
    }

    /// The classes that the message reads and policy shows.
    fn shown(&self) -> BTreeSet<Arc<str>> {
        let read = self.labels.read().map(|class| &class.name);
        read.filter(|name| !self.masked.contains(*name)).map(Arc::clone).collect()
    }

    /// As what an output is masked that may derive from any hidden label that the message reads; none where nothing is
    /// hidden.
    fn unknown(&self) -> Option<Arc<Class>> {
        let mut hidden = self.labels.read().filter(|class| self.masked.contains(&class.name));
        let first = hidden.next()?;
        match hidden.next() {
            None => Some(Arc::clone(first)),
            Some(_) => self.masking.classes.find("secret").or(Some(first)).map(Arc::clone),
        }
    }

    /// What a COPY … TO STDOUT sends, and what is hidden of it.
    fn copy(
        &self,
        statement: &Statement,
        outputs: &Option<Arc<Shape>>,
    ) -> Result<Option<(CopyShape, Columns)>, String> {
        let Some(copy) = statement.copy.as_ref().filter(|_| statement.verbs.contains(&Verb::CopyOut)) else {
            return Ok(None);
        };
        let format = format(copy)?;
        let (columns, types) = match outputs {
            Some(outputs) if copy.relation.is_none() => (self.columns(Some(Arc::clone(outputs))), Vec::new()),
            _ => self.copied(copy),
        };
        if columns.may_hide() && format == CopyFormat::Binary {
            return Err("COPY in binary of masked columns: use FORMAT text or csv".to_owned());
        }
        Ok(Some((CopyShape { format, has_header: copy.header, types }, columns)))
    }

    fn copied(&self, copy: &CopyRows) -> (Columns, Vec<u32>) {
        let all = |treatment| (Columns::All(treatment), Vec::new());
        let named = copy.relation.as_ref().filter(|name| name.schema.is_some() || self.scene.path.len() == 1);
        let found = named.zip(self.scene.catalog.as_deref()).map(|(name, catalog)| {
            let relations = catalog.named(name, &self.scene.path);
            relations.take(2).collect::<Vec<_>>()
        });
        match (found.as_deref(), self.unknown()) {
            (Some([relation]), _) => self.copied_relation(relation, &copy.columns),
            // Where more than one relation could have the name, nobody here says which columns come.
            (_, Some(class)) => all(Treatment::Unknown(whole(&class))),
            (_, None) => all(Treatment::Detect(self.allowed)),
        }
    }

    fn copied_relation(&self, relation: &Relation, listed: &[String]) -> (Columns, Vec<u32>) {
        let shown = self.shown();
        let of = |column: &Column| {
            let treatment = match &column.class {
                Some(class) if shown.contains(&class.name) => Treatment::Pass,
                Some(class) => Treatment::Mask(Arc::clone(class)),
                None => Treatment::Detect(self.allowed.and(column.except)),
            };
            (treatment, column.type_oid)
        };
        let columns: Vec<_> = if listed.is_empty() {
            relation.columns.iter().filter(|column| !column.is_generated).map(of).collect()
        } else {
            // One that is not there is an error of the server's.
            let find = |name: &String| relation.columns.iter().find(|column| *column.name == **name);
            listed.iter().filter_map(find).map(of).collect()
        };
        let (treatments, types) = columns.into_iter().unzip();
        (Columns::Each(treatments), types)
    }
}

impl PolicyJudge {
    /// Why a message that policy permits is refused all the same.
    pub(super) fn refused_all_the_same(&self, understood: &Understood, permit: &RequestPermit) -> Option<String> {
        // What detectors find is no reason.
        let by_masks =
            self.with_masks(understood, permit, DetectorSet::default(), |masks| masks.refusal(&understood.own.facts));
        let fetches_bound = || self.names.lock().fetches_bound(understood.own.verbs());
        by_masks.or_else(|| caps::refusal(understood, permit, fetches_bound))
    }

    /// What is hidden in the replies to a message.
    pub(super) fn with_masks<T>(
        &self,
        understood: &Understood,
        permit: &RequestPermit,
        allowed: DetectorSet,
        then: impl FnOnce(&Masks<'_>) -> T,
    ) -> T {
        let mut all;
        let mut labels = &understood.own.shape.labels;
        if !understood.named.is_empty() {
            all = LabelUse::default();
            all.with(labels);
            understood.named.iter().for_each(|named| all.with(&named.shape.labels));
            labels = &all;
        }
        then(&Masks {
            masking: understood.scope.masking(),
            scene: understood.scope.scene(),
            labels,
            own: &understood.own.shape.labels,
            named: &understood.named,
            masked: permit.masked().map(Arc::clone).collect(),
            allowed,
        })
    }

    /// Detectors whose finds policy shows to this workload. Policies may read the time: each answer is for this message.
    pub(super) fn allowed(&self, masking: &Masking) -> DetectorSet {
        let mut policies = self.policies.lock();
        let policies = policies.get();
        let Some(login) = self.login.get().filter(|_| policies.unmasks()) else { return DetectorSet::default() };
        let shows = |class: &Class| {
            let questions = [data::ask(Use::Unmask, class_entity(class), Arc::clone(&self.about.target), None)];
            let request = Request {
                principal: &self.about.principal,
                session: &login.session,
                at: Moment::now(),
                questions: &questions,
            };
            questions.iter().all(|question| policies.answer(&request, question).verdict == Verdict::Allow)
        };
        let shown = masking.detectors.iter().filter(|detector| shows(&detector.class));
        masking.detectors.set(shown.map(|detector| &*detector.name))
    }
}

/// How rows are written, with the defaults of each format (documentation of COPY).
fn format(copy: &CopyRows) -> Result<CopyFormat, String> {
    if let Some(option) = copy.unknown.first() {
        return Err(format!("COPY with the option `{option}` writes rows that the gateway cannot read: leave it out"));
    }
    let byte = |value: &Option<String>, default: u8, what: &str| match value.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some(&[byte]) => Ok(byte),
        Some(_) => Err(format!("the {what} of COPY has to be one character of one byte")),
    };
    let null = |default: &str| copy.null.as_deref().unwrap_or(default).as_bytes().to_vec();
    match copy.format.as_deref() {
        None | Some("text") => {
            Ok(CopyFormat::Text { delimiter: byte(&copy.delimiter, b'\t', "DELIMITER")?, null: null("\\N") })
        }
        Some("csv") => {
            let quote = byte(&copy.quote, b'"', "QUOTE")?;
            Ok(CopyFormat::Csv {
                delimiter: byte(&copy.delimiter, b',', "DELIMITER")?,
                quote,
                escape: byte(&copy.escape, quote, "ESCAPE")?,
                null: null(""),
            })
        }
        Some("binary") => Ok(CopyFormat::Binary),
        Some(_) => Err("COPY in a format that is neither text, csv nor binary".to_owned()),
    }
}
