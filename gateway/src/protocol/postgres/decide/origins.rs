//! What happens to each column of a result: by where the server says that it comes from, and by what the statement makes it of.
//!
//! In: the catalog, the lineage of the statement if it was followed, the classes that policy shows. Out: a treatment for
//! each column. What the server says of a column counts before what the statement says; where the two do not fit
//! together, every column is hidden of which the server says nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::masking::class::{Class, Show};
use crate::masking::detect::DetectorSet;
use crate::masking::plan::{Described, Origin, Origins, Treatment};
use crate::protocol::postgres::catalog::{Catalog, Column, Found};
use crate::protocol::postgres::sql::lineage::{Col, Derived, Expected, How, Shape};

/// What is known of the columns of a result.
#[derive(Debug)]
pub(super) struct ByCatalog {
    pub(super) catalog: Arc<Catalog>,
    /// Classes that the message reads and policy shows.
    pub(super) shown: BTreeSet<Arc<str>>,
    /// As what an output is masked that may derive from any label that the message reads; none where nothing is hidden.
    pub(super) unknown: Option<Arc<Class>>,
    /// Detectors whose finds policy shows.
    pub(super) allowed: DetectorSet,
    /// The columns of the statement, where it was followed.
    pub(super) outputs: Option<Arc<Shape>>,
    /// What stands for several classes, or for nobody knows which.
    pub(super) strictest: Option<Arc<Class>>,
}

impl Origins for ByCatalog {
    fn treatments(&self, described: Described<'_>) -> Vec<Treatment> {
        let each = |index| described.origin(index);
        let Some(outputs) = &self.outputs else {
            let unknown = self.unknown.as_ref();
            return (0..described.count()).map(|index| self.by_origin(each(index), unknown)).collect();
        };
        match outputs.expand(described.count()).filter(|cols| self.fits(cols, described)) {
            Some(cols) => cols.iter().enumerate().map(|(index, col)| self.followed(each(index), col)).collect(),
            None => {
                let strictest = self.strictest.as_ref();
                (0..described.count()).map(|index| self.by_origin(each(index), strictest)).collect()
            }
        }
    }

    fn may_hide(&self) -> bool {
        self.outputs.as_ref().is_none_or(|outputs| !matches!(self.hidden(&outputs.all()), Hidden::Nothing))
    }
}

/// What of a derived value is hidden.
enum Hidden {
    Nothing,
    /// Values of one class.
    As(Arc<Class>),
    /// Of several, or nobody knows which.
    Strictest,
}

impl ByCatalog {
    fn by_origin(&self, origin: Option<Origin>, unknown: Option<&Arc<Class>>) -> Treatment {
        match origin.map_or(Found::Unknown, |origin| self.catalog.origin(origin)) {
            Found::Column(column) => self.of_column(column),
            Found::Unknown => unknown.map_or(Treatment::Detect(self.allowed), |class| Treatment::Unknown(whole(class))),
            Found::Elsewhere => Treatment::Detect(self.allowed),
        }
    }

    fn of_column(&self, column: &Column) -> Treatment {
        match &column.class {
            Some(class) if self.shown.contains(&class.name) => Treatment::Pass,
            Some(class) => Treatment::Mask(Arc::clone(class)),
            None => Treatment::Detect(self.allowed.and(column.except)),
        }
    }

    /// Whether the server says what it says of a statement that was read right, of a catalog that has not changed.
    fn fits(&self, cols: &[Col], described: Described<'_>) -> bool {
        let Described::Origins(origins) = described else { return true };
        cols.iter().zip(origins).all(|(col, origin)| {
            let is_new = origin.is_some_and(|origin| {
                let known = self.catalog.relation(origin.relation).is_some();
                known && origin.attribute != 0 && matches!(self.catalog.origin(origin), Found::Unknown)
            });
            match col.expected {
                Expected::Origin(expected) => *origin == Some(expected),
                Expected::Nothing => origin.is_none(),
                Expected::Any => !is_new,
            }
        })
    }

    fn followed(&self, origin: Option<Origin>, col: &Col) -> Treatment {
        let found = origin.map(|origin| self.catalog.origin(origin));
        match found {
            Some(Found::Column(column)) if !col.derived.is_written => self.of_column(column),
            Some(Found::Elsewhere) if !col.derived.is_written => Treatment::Detect(self.allowed),
            // A relation that came after the catalog was read; whole rows of known ones have no number.
            Some(Found::Unknown) if origin.is_some_and(|origin| self.catalog.relation(origin.relation).is_none()) => {
                self.by_origin(origin, self.strictest.as_ref())
            }
            _ => self.of_value(&col.derived),
        }
    }

    fn of_value(&self, derived: &Derived) -> Treatment {
        match self.hidden(derived) {
            Hidden::As(class) if derived.how == How::Column => Treatment::Mask(class),
            Hidden::As(class) => Treatment::Unknown(whole(&class)),
            Hidden::Strictest => {
                let strictest = self.strictest.as_ref().or(self.unknown.as_ref());
                strictest.map_or(Treatment::Detect(self.allowed), |class| Treatment::Unknown(whole(class)))
            }
            Hidden::Nothing => match (derived.how, self.columns(derived).as_slice()) {
                (How::Column, [column]) => self.of_column(column),
                _ => Treatment::Detect(self.allowed),
            },
        }
    }

    /// The columns that a value derives from.
    fn columns(&self, derived: &Derived) -> Vec<&Column> {
        let column = |origin: &Origin| match self.catalog.origin(*origin) {
            Found::Column(column) => Some(column),
            Found::Elsewhere | Found::Unknown => None,
        };
        derived.from.iter().filter_map(column).collect()
    }

    fn hidden(&self, derived: &Derived) -> Hidden {
        let columns = self.columns(derived);
        let classes = columns.iter().filter_map(|column| column.class.as_ref());
        let mut hidden = Hidden::Nothing;
        for class in classes.filter(|class| !self.shown.contains(&class.name)) {
            hidden = match hidden {
                Hidden::Nothing => Hidden::As(Arc::clone(class)),
                Hidden::As(known) if known.name == class.name => Hidden::As(known),
                Hidden::As(_) | Hidden::Strictest => Hidden::Strictest,
            };
        }
        if derived.is_unknown { Hidden::Strictest } else { hidden }
    }
}

/// A class as it hides what was computed: a form that shows a part of values, or which of them are equal, would show
/// that of whatever the statement computes from them.
pub(super) fn whole(class: &Arc<Class>) -> Arc<Class> {
    match class.show {
        Show::Redact | Show::Null | Show::Fixed(_) => Arc::clone(class),
        Show::Partial(_) | Show::Hash { .. } | Show::Year => {
            Arc::new(Class { show: Show::Redact, ..Class::clone(class) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masking::class::Classes;
    use crate::masking::file::MaskingFile;
    use crate::masking::rules::Rules;
    use crate::protocol::postgres::catalog::{Known, Said, Seen};
    use crate::protocol::postgres::sql::lineage::{Following, follow};

    /// `public.c (id, ssn, email)`, of which the last two have labels; its object id is 41, and 99 is the newest.
    fn catalog() -> Arc<Catalog> {
        let file = "version = 1\n[[column]]\nat = [\"t/d/public.c.ssn\"]\nclass = \"ssn\"\n\
            [[column]]\nat = [\"t/d/public.c.email\"]\nclass = \"email\"\n";
        let labels = Rules::new(Some(MaskingFile::parse("m", file, &|_| Err(String::new())).unwrap())).labels("t", "d");
        let row = |cells: [&str; 9]| cells.iter().map(|cell| Some((*cell).into())).collect();
        let column = |number, name| row(["column", "41", "public", "c", number, name, "25", "", "r"]);
        let newest = row(["newest", "99", "", "", "", "", "", "", ""]);
        let rows = vec![column("1", "id"), column("2", "ssn"), column("3", "email"), newest];
        let (classes, known) = (Classes::default(), Known::new());
        let said = Said { labels: &labels, classes: &classes, target: "t", database: "d", known: &known };
        Arc::new(Catalog::read(&rows, said).unwrap())
    }

    /// What is shown of each column: `+` as it is, `ssn` masked as a column of that class, `~ssn` as something computed.
    fn shown(text: &str, origins: &[Option<(u32, i16)>]) -> String {
        let catalog = catalog();
        let path = ["public".to_owned()];
        let seen = Seen { catalog: &catalog, path: &path, shadowed: &BTreeSet::new(), queries: None };
        let lineage = follow(text, Following { relations: &seen, shows_nulls: true }).pop().unwrap().unwrap();
        let strictest = Classes::default().find("secret").cloned();
        let by_catalog = ByCatalog {
            catalog: Arc::clone(&catalog),
            shown: BTreeSet::new(),
            unknown: None,
            allowed: DetectorSet::default(),
            outputs: Some(Arc::new(lineage.outputs)),
            strictest,
        };
        let origin = |origin: &Option<(u32, i16)>| origin.map(|(relation, attribute)| Origin { relation, attribute });
        let origins: Vec<_> = origins.iter().map(origin).collect();
        let name = |treatment: &Treatment| match treatment {
            Treatment::Pass | Treatment::Detect(_) => "+".to_owned(),
            Treatment::Mask(class) => class.name.to_string(),
            Treatment::Unknown(class) => format!("~{}", class.name),
        };
        by_catalog.treatments(Described::Origins(&origins)).iter().map(name).collect::<Vec<_>>().join(" ")
    }

    const C: [Option<(u32, i16)>; 3] = [Some((41, 1)), Some((41, 2)), Some((41, 3))];

    #[test]
    fn each_column_is_hidden_by_what_it_derives_from() {
        let of = |origins: &[Option<(u32, i16)>]| [&C, origins].concat();
        assert_eq!(
            shown("SELECT *, id + 1, upper(ssn), ssn || email FROM c", &of(&[None; 3])),
            "+ ssn email + ~ssn ~secret"
        );
        assert_eq!(shown("SELECT c, o.x, o FROM c, o", &[Some((41, 0)), Some((7, 1)), Some((7, 0))]), "~secret + +");
        assert_eq!(shown("SELECT ssn FROM c UNION ALL SELECT ssn FROM c", &[None]), "ssn");
        // It shows what the statement wrote.
        assert_eq!(shown("UPDATE o SET x = c.ssn FROM c RETURNING o.x, c.id", &[Some((7, 1)), C[0]]), "~ssn +");
        // A relation that is younger than the catalog may be a view above labels.
        assert_eq!(shown("SELECT o.x, 1 FROM o, c", &[Some((100, 1)), None]), "~secret +");
    }

    #[test]
    fn where_the_servers_word_does_not_fit_the_statement_all_is_hidden_that_has_no_origin() {
        let text = "SELECT c.*, id + 1, upper(ssn) FROM c";
        // A column more, another relation, a column in the place of an expression, a column that nobody knows.
        for origins in [
            &[C[0], C[1], C[2], Some((41, 4)), None, None][..],
            &[Some((50, 1)), C[1], C[2], None, None],
            &[C[0], C[1], C[2], Some((41, 4)), None],
        ] {
            let shown = shown(text, origins);
            assert!(shown.ends_with("~secret") && !shown.contains("~ssn"), "{shown}");
            let nobodys = origins.iter().zip(shown.split(' ')).filter(|(origin, _)| origin.is_none());
            assert!(nobodys.into_iter().all(|(_, shown)| shown == "~secret"), "{shown}");
        }
        assert_eq!(
            shown("SELECT o.x, 1, upper(ssn) FROM o, c", &[Some((41, 9)), None, None]),
            "~secret ~secret ~secret"
        );
    }
}
