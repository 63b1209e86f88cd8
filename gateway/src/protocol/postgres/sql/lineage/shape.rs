//! What a value derives from, and the columns of whatever stands in FROM.
//!
//! In: columns of relations, as the catalog gives them. Out: the same after joins, unions and new names. Where it is not
//! known how many columns there are, or how they are called, what may be among them counts for each.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::masking::plan::Origin;

/// Columns of relations.
pub type Sources = BTreeSet<Origin>;

/// How a value comes from what it derives from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// It is NULL.
    Null,
    /// It is the value of a column, as it stands there.
    #[default]
    Column,
    /// It is a whole row.
    Row,
    /// Anything else.
    Computed,
}

/// What a value derives from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derived {
    /// Columns of known relations; of others none is listed.
    pub from: Sources,
    /// How.
    pub how: How,
    /// A function made it of which nobody here knows what it reads.
    pub is_unknown: bool,
    /// The same statement wrote it: what the server says of its origin says nothing of the value.
    pub is_written: bool,
}

/// What the server will say of a column's origin, if this was read right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// This.
    Origin(Origin),
    /// None: it is an expression.
    Nothing,
    /// It may say either.
    #[default]
    Any,
}

/// A column of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Col {
    /// None where it could have any name.
    pub name: Option<Arc<str>>,
    /// What it derives from.
    pub derived: Derived,
    /// What the server will say.
    pub expected: Expected,
}

/// Columns of which nobody knows how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rest {
    /// What they derive from if they have these names.
    pub named: Vec<(Arc<str>, Derived)>,
    /// What they derive from if they have others.
    pub others: Derived,
}

/// One or more columns of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Slot {
    /// One.
    One(Col),
    /// None or more.
    Rest(Rest),
}

/// The columns of a relation, a join or a query, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape(pub Vec<Slot>);

/// What a name means in a shape.
#[derive(Debug, Default)]
pub(super) struct Hit {
    /// Columns that have it.
    pub(super) sure: Option<Col>,
    /// What it is if there is a column of it, which nobody knows.
    pub(super) maybe: Option<Derived>,
}

impl Derived {
    /// Computed from these.
    pub(super) fn computed(from: Sources) -> Self {
        Self { from, how: How::Computed, ..Self::default() }
    }

    /// Something that derives from no column.
    pub(super) fn constant() -> Self {
        Self::computed(Sources::new())
    }

    pub(super) fn is_clean(&self) -> bool {
        self.from.is_empty() && !self.is_unknown
    }

    /// Either of two. A value of a column beside one that the statement makes is no column any more: what a mask shows
    /// of the one could be compared with what it shows of the other.
    pub(super) fn or(&mut self, other: &Self) {
        self.how = match (self.how, other.how) {
            (How::Null, how) | (how, How::Null) => how,
            (How::Column, How::Column) if self.from.is_empty() == other.from.is_empty() => How::Column,
            _ => How::Computed,
        };
        self.from.extend(other.from.iter().copied());
        self.is_unknown |= other.is_unknown;
        self.is_written |= other.is_written;
    }

    /// The same, computed.
    pub(super) fn then_computed(mut self) -> Self {
        self.how = How::Computed;
        self
    }
}

impl Col {
    pub(super) fn new(name: Option<&str>, derived: Derived, expected: Expected) -> Self {
        Self { name: name.map(Into::into), derived, expected }
    }
}

impl Rest {
    /// What any of them derives from.
    pub(super) fn all(&self) -> Derived {
        let mut all = self.others.clone();
        self.named.iter().for_each(|(_, derived)| all.or(derived));
        if all.is_clean() { all } else { all.then_computed() }
    }
}

impl Slot {
    pub(super) fn all(&self) -> Derived {
        match self {
            Self::One(col) => col.derived.clone(),
            Self::Rest(rest) => rest.all(),
        }
    }
}

impl Shape {
    /// A relation of which nothing is known but that no column of it is of interest.
    #[must_use]
    pub fn outside() -> Self {
        Self::of(Derived::default())
    }

    /// Columns that all derive from this, however many there are.
    pub(super) fn of(others: Derived) -> Self {
        Self(vec![Slot::Rest(Rest { named: Vec::new(), others })])
    }

    /// What any of it derives from.
    #[must_use]
    pub fn all(&self) -> Derived {
        let mut all = Derived { how: How::Null, ..Derived::default() };
        self.0.iter().for_each(|slot| all.or(&slot.all()));
        all
    }

    /// A whole row of it.
    pub(super) fn row(&self) -> Derived {
        Derived { how: How::Row, ..self.all() }
    }

    /// How many columns a search looks at.
    pub(super) fn weight(&self) -> usize {
        let of = |slot: &Slot| match slot {
            Slot::One(_) => 1,
            Slot::Rest(rest) => 1 + rest.named.len(),
        };
        self.0.iter().map(of).sum()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.iter().all(|slot| matches!(slot, Slot::One(_)))
    }

    /// What a name means here.
    pub(super) fn find(&self, name: &str) -> Hit {
        let mut hit = Hit::default();
        let also = |maybe: &mut Option<Derived>, derived: &Derived| match maybe {
            Some(known) => known.or(derived),
            None => *maybe = Some(derived.clone()),
        };
        for slot in &self.0 {
            match slot {
                Slot::One(col) if col.name.is_none() => also(&mut hit.maybe, &col.derived),
                Slot::One(col) if col.name.as_deref() == Some(name) => match &mut hit.sure {
                    // Two of a name are an error of the server's, or stand for one.
                    Some(known) => {
                        known.derived.or(&col.derived);
                        known.expected = Expected::Any;
                    }
                    None => hit.sure = Some(col.clone()),
                },
                Slot::One(_) => {}
                Slot::Rest(rest) => {
                    let named = rest.named.iter().find(|(known, _)| **known == *name);
                    also(&mut hit.maybe, named.map_or(&rest.others, |(_, derived)| derived));
                }
            }
        }
        hit
    }

    /// Every name that it is known to have.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().flat_map(|slot| match slot {
            Slot::One(col) => col.name.iter().collect::<Vec<_>>(),
            Slot::Rest(rest) => rest.named.iter().map(|(name, _)| name).collect(),
        })
    }

    /// The first columns under other names.
    pub(super) fn renamed<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names = names.into_iter().peekable();
        let mut slots = Vec::with_capacity(self.0.len());
        let mut old = self.0.iter();
        while names.peek().is_some()
            && let Some(slot) = old.next()
        {
            match slot {
                Slot::One(col) => slots.push(Slot::One(Col { name: names.next().map(Into::into), ..col.clone() })),
                // Which of them the other names are for, nobody knows.
                Slot::Rest(rest) => {
                    let mut any = rest.all();
                    old.by_ref().for_each(|slot| any.or(&slot.all()));
                    for name in names.by_ref() {
                        slots.push(Slot::One(Col::new(Some(name), any.clone(), Expected::Any)));
                    }
                    slots.push(Slot::Rest(Rest { named: Vec::new(), others: any }));
                }
            }
        }
        slots.extend(old.cloned());
        Self(slots)
    }

    /// Its columns, where it is known that there are `count`; none where it cannot have as many.
    #[must_use]
    pub fn expand(&self, count: usize) -> Option<Vec<Col>> {
        let is_rest = |slot: &Slot| matches!(slot, Slot::Rest(_));
        let one = |slot: &Slot| match slot {
            Slot::One(col) => Some(col.clone()),
            Slot::Rest(_) => None,
        };
        let Some(first) = self.0.iter().position(is_rest) else {
            return (self.0.len() == count).then(|| self.0.iter().filter_map(one).collect());
        };
        let last = self.0.iter().rposition(is_rest)?;
        let (before, rest) = self.0.split_at_checked(first)?;
        let (middle, after) = rest.split_at_checked(last + 1 - first)?;
        let fixed = self.0.iter().filter(|slot| !is_rest(slot)).count();
        let between = count.checked_sub(before.len() + after.len()).filter(|_| fixed <= count)?;
        let mut any = Shape(middle.to_vec()).all();
        if middle.len() > 1 && !any.is_clean() {
            any = any.then_computed();
        }
        let col = Col { name: None, derived: any, expected: Expected::Any };
        let middle = std::iter::repeat_n(col, between);
        Some(before.iter().filter_map(one).chain(middle).chain(after.iter().filter_map(one)).collect())
    }

    /// The rows of two queries, one after the other (UNION and its kin). None where they cannot have as many columns.
    pub(super) fn union(&self, other: &Self) -> Option<Self> {
        let (count, names) = match (self.is_closed(), other.is_closed()) {
            (true, _) => (self.0.len(), self.expand(self.0.len())?),
            (false, true) => (other.0.len(), self.expand(other.0.len())?),
            (false, false) => {
                let right = other.all();
                let mut named: Vec<_> = Vec::new();
                for name in self.names() {
                    let hit = self.find(name);
                    let mut derived = right.clone();
                    hit.sure.iter().for_each(|col| derived.or(&col.derived));
                    hit.maybe.iter().for_each(|maybe| derived.or(maybe));
                    named.push((Arc::clone(name), derived));
                }
                let mut others = self.all();
                others.or(&right);
                return Some(Self(vec![Slot::Rest(Rest { named, others })]));
            }
        };
        let right = other.expand(count)?;
        let both = names.into_iter().zip(right).map(|(mut left, right)| {
            left.derived.or(&right.derived);
            left.expected = Expected::Nothing;
            Slot::One(left)
        });
        Some(Self(both.collect()))
    }
}
