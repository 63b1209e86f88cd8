//! From the answer of the server to a catalog.
//!
//! In: rows of texts, as the server gave them. Out: the closure with its labels. A row that is not as it was asked for is
//! an error: from half an answer nobody knows what is hidden.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::question::{WIDTH, reveals};
use super::spread::{Edges, spread};
use super::{Catalog, Column, Relation, Rows};
use crate::masking::class::{Class, Classes};
use crate::masking::file::ColumnName;
use crate::masking::plan::Origin;
use crate::masking::rules::Labels;

/// Why the catalog is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The server said no.
    #[error("the server's catalog could not be read ({code}): the login has to see pg_catalog, of version 12 or later")]
    Refused {
        /// Its error code.
        code: String,
    },
    /// It answered something else.
    #[error("the server's answer about its catalog was not understood: is it PostgreSQL?")]
    Malformed,
    /// There is more than is read.
    #[error("the labelled relations and all that derives from them are too many: label fewer, or schema by schema")]
    TooLarge,
}

/// Where labels were found, under whatever name the column goes by now.
pub type Known = HashMap<Origin, Arc<Class>>;

/// What is said of the columns.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// The rules.
    pub labels: &'a Labels,
    /// The classes.
    pub classes: &'a Classes,
    /// The target.
    pub target: &'a str,
    /// The database.
    pub database: &'a str,
    /// Labels that were found before: renaming a column takes none away.
    pub known: &'a Known,
}

impl Catalog {
    /// Reads an answer.
    ///
    /// # Errors
    /// Where it is not what was asked for.
    pub fn read(rows: &Rows, said: Said<'_>) -> Result<Self, CatalogError> {
        let mut answer = Answer::default();
        for row in rows {
            answer.take(row).ok_or(CatalogError::Malformed)?;
        }
        let newest = answer.newest.ok_or(CatalogError::Malformed)?;
        let mut relations: Vec<Relation> = answer.relations.into_values().collect();
        for relation in &mut relations {
            label(relation, said);
            relation.has_rules = answer.ruled.contains(&relation.oid);
        }
        let known = known(&relations);
        spread(&mut relations, &answer.edges, said.classes);
        let mut catalog = Self {
            newest: newest.into(),
            known,
            hidden_calls: answer.hidden_calls,
            digest: digest(rows),
            is_utf8: answer.is_utf8,
            ..Self::default()
        };
        for (index, relation) in relations.into_iter().enumerate() {
            catalog.by_name.entry(relation.name.clone()).or_default().push(index);
            catalog.by_oid.insert(relation.oid, index);
            catalog.relations.push(Arc::new(relation));
        }
        Ok(catalog)
    }
}

/// Columns that carry a label themselves.
fn known(relations: &[Relation]) -> Known {
    let mut known = Known::new();
    for relation in relations {
        let own = |(column, class): (&Column, &Arc<Class>)| {
            (Origin { relation: relation.oid, attribute: column.attribute }, Arc::clone(class))
        };
        known.extend(relation.labelled().map(own));
    }
    known
}

/// The highest object id of a relation, as an answer has it.
pub(super) fn newest(rows: &Rows) -> Option<u32> {
    rows.iter().find(|row| is_newest(row))?.get(1)?.as_deref()?.parse().ok()
}

fn is_newest(row: &[Option<Box<str>>]) -> bool {
    row.first().is_some_and(|kind| kind.as_deref() == Some("newest"))
}

/// A hash of an answer: the same answer is the same catalog. Relations that come and go beside the closure change none.
#[must_use]
pub fn digest(rows: &Rows) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for cell in rows.iter().filter(|row| !is_newest(row)).flatten() {
        // A length before each text: no two answers have the same bytes.
        let text = cell.as_deref().unwrap_or_default();
        context.update(&(text.len() as u64 + u64::from(cell.is_some())).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn label(relation: &mut Relation, said: Said<'_>) {
    for column in &mut relation.columns {
        let name = ColumnName {
            target: said.target,
            database: said.database,
            schema: &relation.schema,
            relation: &relation.name,
            column: &column.name,
        };
        let known = said.known.get(&Origin { relation: relation.oid, attribute: column.attribute });
        let revealed = reveals(&relation.name, &column.name).then(|| said.classes.find("secret")).flatten();
        column.class = said.labels.class_of(&name).or(known).or(revealed).cloned();
        column.except = said.labels.exceptions_of(&name);
    }
}

/// An answer, row by row.
#[derive(Default)]
struct Answer {
    relations: BTreeMap<u32, Relation>,
    edges: Edges,
    hidden_calls: HashSet<Box<str>>,
    ruled: HashSet<u32>,
    newest: Option<u32>,
    is_utf8: bool,
}

impl Answer {
    fn take(&mut self, row: &[Option<Box<str>>]) -> Option<()> {
        if row.len() != WIDTH {
            return None;
        }
        let text = |index: usize| row.get(index)?.as_deref();
        let oid = |index| text(index)?.parse::<u32>().ok();
        let number = |index| text(index)?.parse::<i16>().ok();
        match text(0)? {
            "column" => {
                let relation = self.relations.entry(oid(1)?).or_insert(Relation {
                    oid: oid(1)?,
                    schema: text(2)?.into(),
                    name: text(3)?.into(),
                    columns: Vec::new(),
                    has_rules: false,
                });
                relation.columns.push(Column {
                    attribute: number(4)?,
                    name: text(5)?.into(),
                    type_oid: oid(6)?,
                    is_generated: !text(7)?.is_empty(),
                    class: None,
                    except: Default::default(),
                });
                relation.columns.sort_by_key(|column| column.attribute);
            }
            "calls" => self.edges.calls.push(oid(1)?),
            "holds" => self.edges.holds.push((oid(1)?, number(2)?, oid(3)?)),
            "stores" => self.edges.stores.push((oid(1)?, oid(2)?)),
            "rule" => drop(self.ruled.insert(oid(1)?)),
            "inherits" => self.edges.inherits.push((oid(1)?, oid(2)?)),
            "reads" => self.edges.reads.push((oid(1)?, Origin { relation: oid(2)?, attribute: number(3)? })),
            "computes" => self.edges.computes.push((oid(1)?, number(2)?, number(3)?)),
            // NULL where it went away meanwhile.
            "view" => self.edges.views.push((oid(1)?, text(2).unwrap_or_default().to_owned())),
            "function" => drop(self.hidden_calls.insert(text(1)?.into())),
            "newest" => {
                self.newest = Some(oid(1)?);
                self.is_utf8 = text(2) == Some("UTF8");
            }
            _ => return None,
        }
        Some(())
    }
}
