//! Where in an object labelled fields are, followed while it streams by.
//!
//! In: the keys, levels and names of objects, as the masker meets them. Out: whether a label names the value that begins.
//! What is not known yet counts as named: an object whose name comes behind its fields, an item whose filter does. It
//! never keeps a value but the names of objects.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Hide;
use crate::masking::file::{FieldLabel, FieldPart, FieldPath, Filter, Glob};

/// One path of a label, for the objects of one request.
#[derive(Clone, Debug)]
pub struct Place {
    /// The label.
    pub label: Arc<FieldLabel>,
    /// Which of its paths.
    pub path: usize,
    /// It is of pods, and means the templates of them in these objects.
    pub in_templates: bool,
}

/// What is known of the object that streams by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// There is no more to know.
    pub is_all: bool,
    /// It is a Secret, whose `data` is base64.
    pub is_secret: bool,
}

impl Place {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> Option<&FieldPath> {
        self.label.paths.get(self.path)
    }

    fn part(&self, at: usize) -> Option<&FieldPart> {
        self.path()?.parts().get(at)
    }

    /// Whether it may be of an object of which this is known. Who knows what the pods of a template will be called?
    #[must_use]
    pub fn is_of(&self, known: &Known) -> bool {
        let fits = |globs: &[Glob], name: &Option<String>| match name {
            _ if globs.is_empty() => true,
            Some(name) => globs.iter().any(|glob| glob.matches(name)),
            None => !known.is_all || globs.iter().any(|glob| glob.matches("")),
        };
        fits(&self.label.namespaces, &known.namespace) && (self.in_templates || fits(&self.label.names, &known.name))
    }
}

/// What a value is, beside what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// An object of the API, or what holds some: a list, a table, an event of a watch.
    Object,
    /// An array of them.
    Objects,
    /// What says who an object is.
    Metadata,
    /// Part of one.
    Part,
}

/// Some parts of the way to a place were met.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: usize,
    met: usize,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    role: Role,
    is_object: bool,
    /// Its readers expect base64 in it.
    is_encoded: bool,
    /// Where its cursors begin.
    from: usize,
}

/// Follows the places through one stream.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<[Place]>,
    /// What the request says of each object.
    asked: Known,
    known: Known,
    levels: Vec<Level>,
    /// Those of every open level, the innermost last.
    cursors: Vec<Cursor>,
}

impl Places {
    pub(super) fn new(all: Arc<[Place]>, asked: Known) -> Self {
        Self { all, known: asked.clone(), asked, levels: Vec::new(), cursors: Vec::new() }
    }

    pub(super) fn all(&self) -> &Arc<[Place]> {
        &self.all
    }

    /// For what stands in an annotation of the object that streams by: it is the same object.
    pub(super) fn nested(&self) -> Self {
        Self::new(Arc::clone(&self.all), self.known.clone())
    }

    /// How the value is hidden that begins under this key.
    pub(super) fn hides(&self, key: &[u8]) -> Option<Hide> {
        if self.all.is_empty() {
            return None;
        }
        let next = self.next(key).filter_map(|cursor| self.ends(cursor));
        let place = self.all.get(next.min()?)?;
        let is_encoded = self.levels.last().is_some_and(|level| self.is_encoded(level, key));
        Some(Hide::Labelled { class: Arc::clone(&place.label.class), is_encoded })
    }

    /// The place that a cursor has reached.
    fn ends(&self, cursor: Cursor) -> Option<usize> {
        let place = self.all.get(cursor.place)?;
        (cursor.met == place.path()?.parts().len() && place.is_of(&self.known)).then_some(cursor.place)
    }

    /// The cursors of a value under this key.
    fn next(&self, key: &[u8]) -> impl Iterator<Item = Cursor> {
        let level = self.levels.last().copied();
        let met = level.and_then(|level| self.cursors.get(level.from..)).unwrap_or_default();
        let name = std::str::from_utf8(key).unwrap_or("\u{fffd}");
        let is_object = level.is_some_and(|level| level.is_object);
        met.iter().filter_map(move |cursor| {
            let onward = Some(Cursor { met: cursor.met + 1, ..*cursor });
            match (self.all.get(cursor.place)?.part(cursor.met)?, is_object) {
                (FieldPart::Key(key), true) if key.matches(name) => onward,
                (FieldPart::Items(_), false) => onward,
                // A path that does not say that there is an array means each of its items.
                (FieldPart::Key(_), false) => Some(*cursor),
                _ => None,
            }
        })
    }

    fn is_encoded(&self, level: &Level, key: &[u8]) -> bool {
        let encoded: &[u8] = if self.asked.is_secret { b"data" } else { b"binaryData" };
        level.is_encoded || (level.role == Role::Object && key == encoded)
    }

    /// An object or array begins under this key.
    pub(super) fn open(&mut self, key: &[u8], is_object: bool) {
        if self.all.is_empty() {
            return;
        }
        let above = self.levels.last().copied();
        let role = match above.map(|level| (level.role, key)) {
            None | Some((Role::Object, b"object") | (Role::Objects, _)) if is_object => Role::Object,
            Some((Role::Object, b"items" | b"rows")) if !is_object => Role::Objects,
            Some((Role::Object, b"metadata")) => Role::Metadata,
            _ => Role::Part,
        };
        let is_encoded = above.is_some_and(|level| self.is_encoded(&level, key));
        let next: Vec<Cursor> = self.next(key).collect();
        let level = Level { role, is_object, is_encoded, from: self.cursors.len() };
        self.cursors.extend(next);
        if role == Role::Object {
            self.known = self.asked.clone();
        }
        let is_template = above.is_some_and(|level| level.is_object) && key == b"template";
        let begin = |place: &Place| if place.in_templates { is_template } else { role == Role::Object };
        let begun = self.all.iter().enumerate().filter(|(_, place)| begin(place));
        self.cursors.extend(begun.map(|(place, _)| Cursor { place, met: 0 }));
        self.levels.push(level);
    }

    /// The innermost object or array ends.
    pub(super) fn close(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        self.cursors.truncate(level.from);
        match level.role {
            // What follows it is of the one around it, of which nothing is known here.
            Role::Object => self.known = self.asked.clone(),
            Role::Metadata => self.known.is_all = true,
            Role::Objects | Role::Part => {}
        }
    }

    /// A string stands under this key.
    pub(super) fn text(&mut self, key: &[u8], value: &[u8]) {
        let Some(level) = self.levels.last().copied().filter(|level| level.is_object) else { return };
        let text = || String::from_utf8_lossy(value);
        match (level.role, key) {
            (Role::Metadata, b"name") => self.known.name = Some(text().into_owned()),
            (Role::Metadata, b"namespace") => self.known.namespace = Some(text().into_owned()),
            _ if self.cursors.len() > level.from => self.filter(level.from, key, &text()),
            _ => {}
        }
    }

    /// Ends the ways that lead through other items than the innermost level is.
    fn filter(&mut self, from: usize, key: &[u8], value: &str) {
        let all = Arc::clone(&self.all);
        let filter = |cursor: &Cursor| -> Option<&Filter> {
            match all.get(cursor.place)?.part(cursor.met.checked_sub(1)?)? {
                FieldPart::Items(filter) => filter.as_ref(),
                FieldPart::Key(_) => None,
            }
        };
        let mut place = 0;
        self.cursors.retain(|cursor| {
            place += 1;
            let of_others = place <= from;
            of_others || filter(cursor).is_none_or(|filter| filter.field.as_bytes() != key || filter.fits(value))
        });
    }
}
