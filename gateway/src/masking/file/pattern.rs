//! Which columns a line of the file names.
//!
//! In: `target/database/schema.table.column`, where `*` stands for any characters of one name and double quotes keep a
//! name as it is. Out: a pattern that names match or do not. It never folds case: names are as the catalog has them.

use std::str::FromStr;

/// Where a column is, in the names of the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnName<'n> {
    /// The target's name.
    pub target: &'n str,
    /// The database.
    pub database: &'n str,
    /// The schema.
    pub schema: &'n str,
    /// The relation.
    pub relation: &'n str,
    /// The column.
    pub column: &'n str,
}

/// A place that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no column: write `target/database/schema.table.column`, with double quotes around a name that holds a dot"
)]
pub struct PatternError(String);

/// A name with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<String>);

impl Glob {
    /// A name that stands for itself.
    pub(super) fn literal(name: String) -> Self {
        Self(vec![name])
    }

    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(str::to_owned).collect())
    }

    /// What stands before, between and after its wildcards; one text: there are none.
    #[must_use]
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// Whether a name fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else {
            return self.0.first().is_some_and(|only| only == name);
        };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for part in middle {
            let Some(at) = rest.find(part.as_str()) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        rest.ends_with(last.as_str())
    }
}

impl FromStr for Glob {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() { Err(PatternError(String::new())) } else { Ok(Self::new(text)) }
    }
}

/// A pattern for columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPattern {
    target: Glob,
    database: Glob,
    schema: Glob,
    relation: Glob,
    column: Glob,
}

impl ColumnPattern {
    /// Whether it may fit a column of a database.
    #[must_use]
    pub fn is_of(&self, target: &str, database: &str) -> bool {
        self.target.matches(target) && self.database.matches(database)
    }

    /// The names of targets.
    #[must_use]
    pub fn target(&self) -> &Glob {
        &self.target
    }

    /// The names of schema, relation and column.
    #[must_use]
    pub fn names(&self) -> [&Glob; 3] {
        [&self.schema, &self.relation, &self.column]
    }

    /// Whether a column fits.
    #[must_use]
    pub fn matches(&self, name: &ColumnName<'_>) -> bool {
        self.target.matches(name.target)
            && self.database.matches(name.database)
            && self.schema.matches(name.schema)
            && self.relation.matches(name.relation)
            && self.column.matches(name.column)
    }
}

impl FromStr for ColumnPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut parts = text.splitn(3, '/');
        let parsed = (|| {
            let (target, database) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let mut names = dotted(parts.next()?)?.into_iter();
            let (schema, relation, column) = (names.next()?, names.next()?, names.next()?);
            names.next().is_none().then_some(Self { target, database, schema, relation, column })
        })();
        parsed.ok_or_else(|| PatternError(text.to_owned()))
    }
}

/// Names between dots; quoted ones are literal, and a doubled quote in them is one.
fn dotted(text: &str) -> Option<Vec<Glob>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let after = if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut from = quoted;
            loop {
                let (part, behind) = from.split_once('"')?;
                name.push_str(part);
                let Some(more) = behind.strip_prefix('"') else { break from = behind };
                name.push('"');
                from = more;
            }
            names.push(Glob::literal(name));
            from
        } else {
            let (name, _) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
            if name.is_empty() || name.contains('"') {
                return None;
            }
            names.push(Glob::new(name));
            rest.strip_prefix(name)?
        };
        if after.is_empty() {
            return Some(names);
        }
        rest = after.strip_prefix('.')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, [target, database, schema, relation, column]: [&str; 5]) -> bool {
        let name = ColumnName { target, database, schema, relation, column };
        pattern.parse::<ColumnPattern>().unwrap().matches(&name)
    }

    #[test]
    fn a_star_stands_within_one_name() {
        let email = ["shop-prod", "shop", "public", "customers", "email"];
        for pattern in ["shop-prod/shop/public.customers.email", "shop-*/*/*.*.*", "*/shop/p*c.*stom*.e*l"] {
            assert!(matches(pattern, email), "{pattern}");
        }
        for pattern in ["shop/shop/public.customers.email", "shop-*/shop/public.customers.e*x", "*/*/*.customers.em"] {
            assert!(!matches(pattern, email), "{pattern}");
        }
        assert!(!matches("a*a/d/s.r.c", ["a", "d", "s", "r", "c"]));
    }

    #[test]
    fn quotes_keep_a_name_as_it_is() {
        assert!(matches(r#"t/d/public."a.b*".c"#, ["t", "d", "public", "a.b*", "c"]));
        assert!(!matches(r#"t/d/public."a*".c"#, ["t", "d", "public", "ab", "c"]));
        assert!(matches(r#"t/d/"x""y".r.c"#, ["t", "d", "x\"y", "r", "c"]));
    }

    #[test]
    fn what_names_no_column_is_refused() {
        for text in [
            "",
            "t",
            "t/d",
            "t/d/s.r",
            "t/d/s.r.c.x",
            "t/d/s..c",
            "/d/s.r.c",
            "t/d/s.r.\"c",
            "t/d/s.r.c\"",
            "t/d/\"s\"x.r.c",
        ] {
            assert!(text.parse::<ColumnPattern>().is_err(), "{text}");
        }
    }
}
