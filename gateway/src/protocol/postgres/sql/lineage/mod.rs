//! Lineage: what each column of a result derives from, and what a statement compares and moves.
//!
//! In: a text, and the columns of the relations that it names. Out: for each statement the columns of its result, with
//! the columns of relations that each derives from and how, by the rules of the server's own parse analysis. What it
//! does not follow to the end has no lineage at all, and is for the caller to judge by what the statement names. It
//! recurses, over trees of a bounded depth alone.

mod expr;
mod from;
mod query;
mod scope;
mod shape;
#[cfg(test)]
mod tests;
mod write;

pub use shape::{Col, Derived, Expected, How, Rest, Shape, Slot, Sources};

use std::collections::HashMap;

use super::facts::RelationName;
use super::parse::{self, Node};
use super::scan::{self, Caps};
use scope::Env;

/// Levels of queries and expressions that are followed.
const DEPTH: usize = 128;
/// Columns that one statement may be looked for among; a wide report query takes some ten thousand. About 20 ms.
const STEPS: usize = 1_000_000;
/// Columns of a result that a server makes (`MaxTupleAttributeNumber`, htup_details.h).
const COLUMNS: usize = 1_664;

/// Subqueries, each as the grammar's own deparser writes it, with their columns.
pub type Queries = HashMap<String, Shape>;

/// Knows the columns of relations.
pub trait Relations {
    /// The columns of a relation; one that is of no interest is [`Shape::outside`].
    fn shape(&self, name: &RelationName) -> Shape;
    /// Subqueries whose columns are known.
    fn queries(&self) -> Option<&Queries> {
        None
    }
}

/// What one statement makes of columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage {
    /// The columns of its result, or of that of the statement that it prepares or opens.
    pub outputs: Shape,
    /// Every column that it names in any way.
    pub read: Sources,
    /// Columns by which it chooses, joins, sorts, groups or tells apart rows.
    pub compared: Sources,
    /// Columns whose values may end in a relation, a setting, a notification.
    pub moved: Sources,
}

/// How a text is followed.
#[derive(Clone, Copy)]
pub struct Following<'r> {
    /// The relations that it names.
    pub relations: &'r dyn Relations,
    /// Whether a column is NULL may be known of all columns: then it may be counted, too.
    pub shows_nulls: bool,
}

/// It is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lost;

struct Resolver<'r> {
    relations: &'r dyn Relations,
    shows_nulls: bool,
    steps: usize,
    depth: usize,
    read: Sources,
    compared: Sources,
    moved: Sources,
}

/// The lineage of each statement of a text, in order; none for what is not followed.
#[must_use]
pub fn follow(text: &str, following: Following<'_>) -> Vec<Option<Lineage>> {
    let Ok(text) = scan::scan(text.as_bytes(), &Caps::default()) else { return Vec::new() };
    let Ok(tree) = parse::parse(text.as_ref()) else { return Vec::new() };
    tree.statements().map(|raw| Resolver::new(following).statement(raw.stmt()).ok()).collect()
}

impl<'r> Resolver<'r> {
    fn new(Following { relations, shows_nulls }: Following<'r>) -> Self {
        let (read, compared, moved) = Default::default();
        Self { relations, shows_nulls, steps: STEPS, depth: 0, read, compared, moved }
    }

    /// One level further down.
    fn below<T>(&mut self, then: impl FnOnce(&mut Self) -> Result<T, Lost>) -> Result<T, Lost> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Lost);
        }
        let found = then(self);
        self.depth -= 1;
        found
    }

    fn spend(&mut self, steps: usize) -> Result<(), Lost> {
        self.steps = self.steps.checked_sub(steps).ok_or(Lost)?;
        Ok(())
    }

    fn statement(mut self, node: Node<'_>) -> Result<Lineage, Lost> {
        let env = &Env { level: None, ctes: None };
        let outputs = match node {
            Node::CopyStmt(s) if !s.is_from => self.query(s.query(), env)?,
            Node::DeclareCursorStmt(s) => self.query(s.query(), env)?,
            Node::PrepareStmt(s) => self.query(s.query(), env)?,
            Node::ExplainStmt(s) => {
                self.query(s.query(), env)?;
                // A plan tells widths and numbers of all that it reads.
                Shape::of(Derived::computed(self.read.clone()))
            }
            Node::CreateTableAsStmt(s) => self.stored(s.query(), env)?,
            Node::ViewStmt(s) => self.stored(s.query(), env)?,
            node => self.query(node, env)?,
        };
        Ok(Lineage { outputs, read: self.read, compared: self.compared, moved: self.moved })
    }

    /// What is made of a query and stays.
    fn stored<'a>(&mut self, query: Node<'a>, env: &Env<'_, 'a>) -> Result<Shape, Lost> {
        let shape = self.query(query, env)?;
        self.moved.extend(shape.all().from);
        Ok(Shape::default())
    }
}
