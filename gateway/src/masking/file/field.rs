//! Which fields of objects a line of the file names.
//!
//! In: paths such as `spec.containers[*].env[?name =~ '(?i)token'].value`, and the kinds, namespaces and names of the
//! objects that hold them. Out: labels. It never looks into an object: who reads objects follows the paths.

use std::str::FromStr;
use std::sync::Arc;

use regex::Regex;

use super::pattern::Glob;
use crate::masking::class::Class;

/// The most parts of a path; no kind nests deeper in earnest.
const MOST_PARTS: usize = 32;

/// `[[field]]`
#[derive(Clone, Debug)]
pub struct FieldLabel {
    /// Of which objects: `configmaps`, or with its group `widgets.example.org`.
    pub kind: Glob,
    /// In which targets; empty: all.
    pub targets: Vec<Glob>,
    /// In which namespaces; empty: all, and objects outside of any.
    pub namespaces: Vec<Glob>,
    /// Objects of which names; empty: all.
    pub names: Vec<Glob>,
    /// Where in them.
    pub paths: Vec<FieldPath>,
    /// What stands there.
    pub class: Arc<Class>,
}

/// Where in an object a field is.
#[derive(Clone, Debug)]
pub struct FieldPath(Vec<FieldPart>);

/// A step on the way to a field.
#[derive(Clone, Debug)]
pub enum FieldPart {
    /// A key of an object.
    Key(Glob),
    /// The items of an array: all, or those that a filter fits.
    Items(Option<Filter>),
}

/// What an item of an array has to say of itself.
#[derive(Clone, Debug)]
pub struct Filter {
    /// In this field of it.
    pub field: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    Fits(Regex),
}

/// A path that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not written like one.
    #[error(
        "`{0}` is no path: write `data.*`, `metadata.annotations.\"a.b/c\"`, `spec.list[*].key` or `spec.list[?name == 'x'].key`"
    )]
    Syntax(String),
    /// Whether a whole item is meant is known when its field comes, and then parts of it were shown.
    #[error("`{0}` ends with a filter: name a field of the items, or `.*`")]
    Filter(String),
    /// It is longer than any object is deep.
    #[error("`{0}` has more than {MOST_PARTS} parts")]
    Long(String),
}

impl FieldPath {
    /// Its steps.
    #[must_use]
    pub fn parts(&self) -> &[FieldPart] {
        &self.0
    }

    /// Whether a key of it is exactly this.
    #[must_use]
    pub fn has_key(&self, name: &str) -> bool {
        self.0.iter().any(|part| matches!(part, FieldPart::Key(key) if key.parts() == [name]))
    }
}

impl Filter {
    /// Whether an item whose field says this is meant.
    #[must_use]
    pub fn fits(&self, value: &str) -> bool {
        match &self.test {
            Test::Is(text) => text == value,
            Test::Fits(pattern) => pattern.is_match(value),
        }
    }
}

impl FromStr for FieldPath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let syntax = || PathError::Syntax(text.to_owned());
        let (mut parts, mut rest) = (Vec::new(), text);
        loop {
            rest = key(rest, &mut parts).ok_or_else(syntax)?;
            while rest.starts_with('[') {
                rest = items(rest, &mut parts).ok_or_else(syntax)?;
            }
            if rest.is_empty() {
                break;
            }
            rest = rest.strip_prefix('.').ok_or_else(syntax)?;
        }
        if parts.len() > MOST_PARTS {
            return Err(PathError::Long(text.to_owned()));
        }
        match parts.last() {
            Some(FieldPart::Items(Some(_))) => Err(PathError::Filter(text.to_owned())),
            _ => Ok(Self(parts)),
        }
    }
}

fn key<'t>(text: &'t str, parts: &mut Vec<FieldPart>) -> Option<&'t str> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (name, rest) = quoted.split_once('"')?;
        parts.push(FieldPart::Key(Glob::literal(name.to_owned())));
        return Some(rest);
    }
    let (name, rest) = text.split_at(text.find(['.', '[']).unwrap_or(text.len()));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-*/".contains(c));
    parts.push(FieldPart::Key(Glob::new(name)));
    is_name.then_some(rest)
}

fn items<'t>(text: &'t str, parts: &mut Vec<FieldPart>) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("[*]") {
        parts.push(FieldPart::Items(None));
        return Some(rest);
    }
    let (condition, rest) = text.strip_prefix("[?")?.split_once("']")?;
    let (left, value) = condition.split_once('\'')?;
    let (field, test) = left.trim().split_once(' ')?;
    let test = match test.trim() {
        "==" => Test::Is(value.to_owned()),
        "=~" => Test::Fits(Regex::new(value).ok()?),
        _ => return None,
    };
    let is_name = !field.is_empty() && field.chars().all(|c| c.is_ascii_alphanumeric());
    parts.push(FieldPart::Items(Some(Filter { field: field.to_owned(), test })));
    is_name.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_keys_items_and_those_that_a_filter_fits() {
        let path: FieldPath = "spec.containers[*].env[?name =~ '(?i)token|[.]key$'].value".parse().unwrap();
        let [_, _, FieldPart::Items(None), _, FieldPart::Items(Some(filter)), FieldPart::Key(value)] = path.parts()
        else {
            panic!("{path:?}");
        };
        assert!(filter.field == "name" && filter.fits("API_TOKEN") && filter.fits("a.key") && !filter.fits("akey"));
        assert!(value.matches("value") && path.has_key("env") && !path.has_key("data"));
        let path: FieldPath = "metadata.annotations.\"example.org/a*\"".parse().unwrap();
        let Some(FieldPart::Key(last)) = path.parts().last() else { panic!("{path:?}") };
        assert!(last.matches("example.org/a*") && !last.matches("example.org/ab"));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = ["a"; 40].join(".");
        let filter = "a[?b == 'c']";
        for text in ["", ".", "a.", "a..b", "$.a", "a[0]", "a[?b]", "a[?b = 'c'].d", "a[?b =~ '('].d", "a\"b\"", "a[*"]
        {
            assert_eq!(text.parse::<FieldPath>().unwrap_err(), PathError::Syntax(text.to_owned()));
        }
        assert_eq!(filter.parse::<FieldPath>().unwrap_err(), PathError::Filter(filter.to_owned()));
        assert_eq!(long.parse::<FieldPath>().unwrap_err(), PathError::Long(long));
    }
}
