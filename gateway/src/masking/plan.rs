//! What is hidden where in the replies to one statement.
//!
//! In: what the analysis of a statement found, and what policy permits. Out: for each output column whether it passes,
//! is masked or is searched; for texts whether they are scrubbed. It decides nothing: who may see what was asked
//! before.

use std::sync::Arc;

use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;

/// What happens to the values of one column.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// They are shown: policy permits it for this very column.
    Pass,
    /// They carry no label: what detectors find in them is masked, but for those that the column is exempt from.
    Detect(DetectorSet),
    /// They carry a label of this class.
    Mask(Arc<Class>),
    /// Nobody can say that they derive from no label: masked as this class.
    Unknown(Arc<Class>),
}

impl Treatment {
    /// The class that hides every value, if one does.
    #[must_use]
    pub fn class(&self) -> Option<&Arc<Class>> {
        match self {
            Self::Mask(class) | Self::Unknown(class) => Some(class),
            Self::Pass | Self::Detect(_) => None,
        }
    }
}

impl Default for Treatment {
    fn default() -> Self {
        Self::Detect(DetectorSet::default())
    }
}

/// A column of a relation, by the numbers that renaming does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The relation's object id.
    pub relation: u32,
    /// The column's number in it.
    pub attribute: i16,
}

/// Where the server says that the columns of a result come from; nothing of a column is said of an expression, and of
/// COPY nothing at all.
#[derive(Clone, Copy, Debug)]
pub enum Described<'d> {
    /// For each column.
    Origins(&'d [Option<Origin>]),
    /// Only how many there are.
    Count(usize),
}

impl Described<'_> {
    /// How many columns there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        match self {
            Self::Origins(origins) => origins.len(),
            Self::Count(count) => *count,
        }
    }

    /// Where a column comes from.
    #[must_use]
    pub fn origin(&self, index: usize) -> Option<Origin> {
        match self {
            Self::Origins(origins) => *origins.get(index)?,
            Self::Count(_) => None,
        }
    }
}

/// Says what happens to columns by what the server says of them.
pub trait Origins: std::fmt::Debug + Send + Sync {
    /// What happens to each column.
    fn treatments(&self, described: Described<'_>) -> Vec<Treatment>;

    /// Whether any column may be hidden, whatever the server says.
    fn may_hide(&self) -> bool;
}

/// The columns of one result.
#[derive(Clone, Debug)]
pub enum Columns {
    /// One by one; a result with another number of columns is refused.
    Each(Vec<Treatment>),
    /// All alike, however many there are.
    All(Treatment),
    /// As the server describes them.
    ByOrigin(Arc<dyn Origins>),
}

impl Columns {
    /// What happens to each column; none where this plan is not for such a result.
    #[must_use]
    pub fn treatments(&self, described: Described<'_>) -> Option<Vec<Treatment>> {
        let count = described.count();
        let found = match self {
            Self::Each(columns) => columns.clone(),
            Self::All(treatment) => vec![treatment.clone(); count],
            Self::ByOrigin(origins) => origins.treatments(described),
        };
        (found.len() == count).then_some(found)
    }

    /// Whether any column may be hidden.
    #[must_use]
    pub fn may_hide(&self) -> bool {
        match self {
            Self::Each(columns) => columns.iter().any(|column| column.class().is_some()),
            Self::All(treatment) => treatment.class().is_some(),
            Self::ByOrigin(origins) => origins.may_hide(),
        }
    }
}

/// What happens to errors, notices and notifications; what hides more comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Texts {
    /// What detectors find in them is masked.
    Detect,
    /// So is it, but what code of the database says is replaced: a trigger can read any label and tell it.
    ScrubCode,
    /// They may quote what is hidden: everything but severity, code and place is replaced.
    Scrub,
}

impl Texts {
    /// For what touches no label, where there are labels or not.
    #[must_use]
    pub fn of_bystander(labels_are_there: bool) -> Self {
        if labels_are_there { Self::ScrubCode } else { Self::Detect }
    }
}

/// The plan for the result of one statement.
#[derive(Clone, Debug)]
pub struct ResultPlan {
    /// Its columns.
    pub columns: Columns,
    /// What is said while it runs.
    pub texts: Texts,
}

impl Default for ResultPlan {
    /// For a statement that touches no label.
    fn default() -> Self {
        Self { columns: Columns::All(Treatment::default()), texts: Texts::Detect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_for_other_columns_is_no_plan() {
        let columns = Columns::Each(vec![Treatment::Pass; 2]);
        assert!(columns.treatments(Described::Count(2)).is_some());
        assert!(columns.treatments(Described::Count(3)).is_none());
    }
}
