//! The masking rules in force: those of a checked file, or the shipped ones.
//!
//! In: a [`MaskingFile`], or none. Out: for each target what masks its values, for each of its databases which columns
//! carry labels. It never opens a file, and knows no catalog.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::masking::Masking;
use crate::masking::class::Class;
use crate::masking::detect::DetectorSet;
use crate::masking::file::{ColumnName, ColumnPattern, MaskingFile};

/// What is in force.
#[derive(Debug)]
pub struct Rules {
    file: Option<MaskingFile>,
    /// Built once for each target: there are as many as the configuration names, and one for all others.
    by_target: Mutex<HashMap<String, Arc<Masking>>>,
    id: u64,
}

/// Tells rules from those before them.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What is said of the columns of one database. The order is that of the file, and the first that fits counts.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Labelled columns.
    pub columns: Vec<(ColumnPattern, Arc<Class>)>,
    /// Columns that detectors leave alone.
    pub exceptions: Vec<(ColumnPattern, DetectorSet)>,
}

impl Rules {
    /// Those of a file; without one the shipped detectors mask, and no column carries a label.
    #[must_use]
    pub fn new(file: Option<MaskingFile>) -> Self {
        Self { file, by_target: Mutex::default(), id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The file; `None`: the shipped ones.
    #[must_use]
    pub fn file(&self) -> Option<&MaskingFile> {
        self.file.as_ref()
    }

    /// Another for each set of rules that this process had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What masks the values of a target.
    #[must_use]
    pub fn masking(&self, target: &str) -> Arc<Masking> {
        let mut by_target = self.by_target.lock();
        if let Some(known) = by_target.get(target) {
            return Arc::clone(known);
        }
        let masking = Arc::new(self.file.as_ref().map_or_else(Masking::default, |file| file.masking(target)));
        by_target.insert(target.to_owned(), Arc::clone(&masking));
        masking
    }

    /// What is said of the columns of a database.
    #[must_use]
    pub fn labels(&self, target: &str, database: &str) -> Labels {
        let Some(file) = &self.file else { return Labels::default() };
        let masking = self.masking(target);
        let is_here = |pattern: &&ColumnPattern| pattern.is_of(target, database);
        let here = |patterns: &[ColumnPattern]| patterns.iter().filter(is_here).cloned().collect::<Vec<_>>();
        let columns = file.columns.iter().flat_map(|label| {
            let class = Arc::clone(&label.class);
            here(&label.at).into_iter().map(move |pattern| (pattern, Arc::clone(&class)))
        });
        let exceptions = file.detector.except.iter().flat_map(|except| {
            let set = masking.detectors.set([except.detector.as_str()]);
            here(&except.at).into_iter().map(move |pattern| (pattern, set))
        });
        Labels { columns: columns.collect(), exceptions: exceptions.collect() }
    }

    /// The names of all data classes, which policies may name.
    #[must_use]
    pub fn class_names(&self) -> BTreeSet<String> {
        let shipped = Masking::default().classes;
        let classes = self.file.as_ref().map_or(&shipped, |file| &file.classes);
        classes.iter().map(|class| class.name.to_string()).collect()
    }
}

impl Default for Rules {
    /// What is shipped.
    fn default() -> Self {
        Self::new(None)
    }
}

impl Labels {
    /// Whether nothing is said: then nobody need know the catalog.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.exceptions.is_empty()
    }

    /// The class of a column.
    #[must_use]
    pub fn class_of(&self, column: &ColumnName<'_>) -> Option<&Arc<Class>> {
        self.columns.iter().find(|(pattern, _)| pattern.matches(column)).map(|(_, class)| class)
    }

    /// The detectors that leave a column alone.
    #[must_use]
    pub fn exceptions_of(&self, column: &ColumnName<'_>) -> DetectorSet {
        let named = self.exceptions.iter().filter(|(pattern, _)| pattern.matches(column));
        named.fold(DetectorSet::default(), |all, (_, set)| all.and(*set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Rules {
        Rules::new(Some(MaskingFile::parse("masking.toml", text, &|_| Err("no key".to_owned())).unwrap()))
    }

    #[test]
    fn labels_are_those_of_the_database() {
        let rules = rules(
            "version = 1\n[[column]]\nat = [\"shop-*/shop/public.customers.email\"]\nclass = \"email\"\n\
             [[detector.except]]\ndetector = \"card\"\nat = [\"shop-a/shop/public.orders.number\"]\n",
        );
        let name =
            |relation, column| ColumnName { target: "shop-a", database: "shop", schema: "public", relation, column };
        let labels = rules.labels("shop-a", "shop");
        assert_eq!(&*labels.class_of(&name("customers", "email")).unwrap().name, "email");
        assert!(labels.class_of(&name("customers", "id")).is_none());
        assert_ne!(labels.exceptions_of(&name("orders", "number")), DetectorSet::default());
        assert!(rules.labels("shop-a", "other").is_empty());
        assert!(rules.labels("warehouse", "shop").is_empty());
        assert!(Rules::default().labels("shop-a", "shop").is_empty());
    }

    #[test]
    fn shipped_classes_are_known_without_a_file() {
        let rules = Rules::default();
        assert!(rules.class_names().contains("card"));
        assert!(Arc::ptr_eq(&rules.masking("a"), &rules.masking("a")));
    }
}
