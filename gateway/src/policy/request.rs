//! Who does what to what: the input of every decision, in our own types.
//!
//! In: facts that identity and the protocol engines have established. Out: a [`Principal`], a [`Session`] and
//! [`Question`]s that can be hashed, compared and shared, so that a decision can be looked up without building anything.
//! It must never hold what the client merely says as if it were known: who speaks comes from the kernel and from verified
//! tokens.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::id::SessionId;

use super::principal::Principal;
use super::vocabulary::names::{Action, EntityType, Weekday};

/// Fingerprints are keyed anew in each process, so that nobody outside can search for two facts with the same one.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// Named values, such as the attributes of an entity.
pub type Fields = Vec<(&'static str, Value)>;

/// A value as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Long(i64),
    /// A string.
    Text(Arc<str>),
    /// A set of strings; order and repetition carry no meaning.
    Texts(Box<[Arc<str>]>),
    /// An entity that the schema enumerates, by type and id.
    Choice(EntityType, &'static str),
    /// A reference to an entity, which then is part of the question with all its parents.
    Entity(Arc<Entity>),
    /// A set of references.
    Entities(Box<[Arc<Entity>]>),
    /// An IP address.
    Address(IpAddr),
    /// A record.
    Record(Fields),
}

impl Value {
    fn weight(&self) -> usize {
        match self {
            Self::Bool(_) | Self::Long(_) | Self::Choice(..) | Self::Address(_) => 0,
            Self::Text(text) => text.len(),
            Self::Texts(items) => items.iter().map(|item| item.len() + size_of::<Arc<str>>()).sum(),
            Self::Entity(entity) => entity.weight,
            Self::Entities(items) => items.iter().map(|item| item.weight).sum(),
            Self::Record(fields) => weight_of(fields),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

fn weight_of(fields: &Fields) -> usize {
    fields.iter().map(|(_, value)| size_of::<(&str, Value)>() + value.weight()).sum()
}

/// Something that policies name: its type and id, what is known of it, and what it lies in.
#[derive(Debug)]
pub struct Entity {
    kind: EntityType,
    id: Arc<str>,
    attributes: Fields,
    tags: Vec<(Arc<str>, Value)>,
    parents: Box<[Arc<Entity>]>,
    fingerprint: u64,
    weight: usize,
}

impl Entity {
    /// An entity of `kind`, lying in `parents`.
    #[must_use]
    pub fn new(kind: EntityType, id: impl Into<Arc<str>>, attributes: Fields, parents: &[Arc<Self>]) -> Arc<Self> {
        Self::with_tags(kind, id.into(), attributes, Vec::new(), parents)
    }

    /// The same, with claims.
    pub(super) fn with_tags(
        kind: EntityType,
        id: Arc<str>,
        attributes: Fields,
        tags: Vec<(Arc<str>, Value)>,
        parents: &[Arc<Self>],
    ) -> Arc<Self> {
        let fingerprint = KEYS.hash_one((kind, &id, &attributes, &tags, parents));
        let own = size_of::<Self>() + id.len() + weight_of(&attributes);
        let tagged: usize = tags.iter().map(|(name, value)| name.len() + size_of::<Value>() + value.weight()).sum();
        let weight = own + tagged + parents.iter().map(|parent| parent.weight).sum::<usize>();
        Arc::new(Self { kind, id, attributes, tags, parents: parents.into(), fingerprint, weight })
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> EntityType {
        self.kind
    }

    /// Its id, as policies write it between the quotes.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is known of it.
    #[must_use]
    pub fn attributes(&self) -> &Fields {
        &self.attributes
    }

    /// Claims of a token; only a workload has any.
    #[must_use]
    pub fn tags(&self) -> &[(Arc<str>, Value)] {
        &self.tags
    }

    /// The attribute of that name, where it is a string.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&Arc<str>> {
        self.attributes.iter().find_map(|(key, value)| match value {
            Value::Text(text) if *key == name => Some(text),
            _ => None,
        })
    }

    /// What it lies in directly.
    #[must_use]
    pub fn parents(&self) -> &[Arc<Self>] {
        &self.parents
    }
}

impl PartialEq for Entity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.fingerprint == other.fingerprint
                && self.kind == other.kind
                && self.id == other.id
                && self.attributes == other.attributes
                && self.tags == other.tags
                && self.parents == other.parents)
    }
}

impl Eq for Entity {}

impl Hash for Entity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// What is true of every request of one session.
#[derive(Clone, Debug)]
pub struct Session {
    /// The session.
    pub id: SessionId,
    /// The login that the client named.
    pub login: Arc<str>,
    /// What the client calls itself.
    pub application: Option<Arc<str>>,
    /// Windows that are open for it now.
    pub grants: Arc<BTreeSet<Arc<str>>>,
}

/// The time of a request, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Day of the week.
    pub weekday: Weekday,
    /// 0 to 23
    pub hour: u8,
}

impl Moment {
    /// That time. A clock before 1970 counts as 1970.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        // 1970-01-01 was a Thursday.
        let weekday = match (seconds / 86_400 + 3) % 7 {
            0 => Weekday::Mon,
            1 => Weekday::Tue,
            2 => Weekday::Wed,
            3 => Weekday::Thu,
            4 => Weekday::Fri,
            5 => Weekday::Sat,
            _ => Weekday::Sun,
        };
        let hour = u8::try_from(seconds / 3_600 % 24).unwrap_or(0);
        Self { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), weekday, hour }
    }

    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self::at(SystemTime::now())
    }
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) action: Action,
    pub(super) kind: EntityType,
    pub(super) id: &'a str,
}

/// One effect on one object. Immutable: protocols build it once for a statement and ask it for each execution.
#[derive(Debug)]
pub struct Question {
    action: Action,
    resource: Arc<Entity>,
    context: Fields,
    text: Option<Arc<str>>,
    fingerprint: u64,
    weight: usize,
}

impl Question {
    /// May this be done to that, the facts being those of `context`?
    #[must_use]
    pub fn new(action: Action, resource: Arc<Entity>, context: Fields) -> Arc<Self> {
        Self::with_text(action, resource, context, None)
    }

    /// The same, with the request's own text. Two questions are equal whatever their texts say.
    #[must_use]
    pub fn with_text(action: Action, resource: Arc<Entity>, context: Fields, text: Option<Arc<str>>) -> Arc<Self> {
        let fingerprint = KEYS.hash_one((action, &resource, &context, text.is_some()));
        // The text counts too: a cached question keeps it alive.
        let held = text.as_ref().map_or(0, |text| text.len());
        let weight = size_of::<Self>() + resource.weight + weight_of(&context) + held;
        Arc::new(Self { action, resource, context, text, fingerprint, weight })
    }

    /// What is to be done.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject { action: self.action, kind: self.resource.kind, id: &self.resource.id }
    }

    /// To what.
    #[must_use]
    pub fn resource(&self) -> &Arc<Entity> {
        &self.resource
    }

    /// The facts, without session and text.
    #[must_use]
    pub fn context(&self) -> &Fields {
        &self.context
    }

    /// The request's own text.
    #[must_use]
    pub fn text(&self) -> Option<&Arc<str>> {
        self.text.as_ref()
    }

    /// About how many bytes it keeps in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.fingerprint == other.fingerprint
                && self.action == other.action
                && self.resource == other.resource
                && self.context == other.context
                && self.text.is_some() == other.text.is_some())
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.fingerprint);
    }
}

/// Everything that a decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// In which session.
    pub session: &'a Session,
    /// When.
    pub at: Moment,
    /// What. One question per (effect, object); all have to be answered well.
    pub questions: &'a [Arc<Question>],
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn knows_the_weekday_and_the_hour() {
        let moment = Moment::at(UNIX_EPOCH + Duration::from_secs(1_795_392_000 + 3_600));
        assert_eq!((moment.weekday, moment.hour), (Weekday::Mon, 1));
    }

    #[test]
    fn text_is_no_part_of_a_question() {
        let target = Entity::new(EntityType::DataClass, "card", Fields::new(), &[]);
        let one = Question::with_text(Action::DataUnmask, target.clone(), Fields::new(), Some("a".into()));
        let other = Question::with_text(Action::DataUnmask, target.clone(), Fields::new(), Some("b".into()));
        let third = Question::new(Action::DataCompare, target, Fields::new());
        assert_eq!(one, other);
        assert_ne!(one, third);
    }

    #[test]
    fn an_attribute_makes_another_entity() {
        let one = Entity::new(EntityType::Role, "t/r", vec![("superuser", true.into())], &[]);
        let same = Entity::new(EntityType::Role, "t/r", vec![("superuser", true.into())], &[]);
        let other = Entity::new(EntityType::Role, "t/r", vec![("superuser", false.into())], &[]);
        assert_eq!(one, same);
        assert_ne!(one, other);
    }
}
