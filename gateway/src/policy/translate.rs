//! Our types as Cedar's, for one evaluation.
//!
//! In: a question with its principal and session. Out: the request and the entities that Cedar evaluates, checked against
//! the schema: a value of the wrong type would make a comparison quietly false, and a `forbid` with it. It must never
//! leave anything out that a policy could read.

use std::collections::HashSet;
use std::sync::Arc;

use cedar_policy::{Context, Entities, EntityId, EntityUid, Request as CedarRequest, RestrictedExpression};

use super::request::{Entity, Fields, Moment, Question, Request, Session, Value};
use super::schema::Schema;
use super::vocabulary::names::EntityType;

/// A question that the schema does not accept: a fault of the engine that asked it, so the answer is no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the facts of `{action}` do not fit the schema: {reason}")]
pub(super) struct Untranslatable {
    action: &'static str,
    reason: String,
}

/// What Cedar is asked.
pub(super) struct Translated {
    pub(super) request: CedarRequest,
    pub(super) entities: Entities,
}

pub(super) fn translate(
    schema: &Schema,
    request: &Request<'_>,
    question: &Question,
) -> Result<Translated, Untranslatable> {
    let translator = Translator { schema };
    translator.run(request, question).map_err(|reason| Untranslatable { action: question.action().name(), reason })
}

struct Translator<'s> {
    schema: &'s Schema,
}

impl Translator<'_> {
    fn run(&self, request: &Request<'_>, question: &Question) -> Result<Translated, String> {
        let action = question.action();
        let principal = request.principal.entity();
        let mut pairs = self.pairs(question.context())?;
        if let Some(text) = question.text() {
            pairs.push(("text".into(), RestrictedExpression::new_string(text.to_string())));
        }
        pairs.push(("session".into(), self.session(request.session, request.at)?));
        let context = Context::from_pairs(pairs).map_err(|error| error.to_string())?;
        let uid = self.schema.action(action).ok_or("no such action")?.clone();
        let group = self.schema.action_entity(action).ok_or("no such action")?.clone();
        let cedar = self.schema.cedar();
        let asked = CedarRequest::new(self.uid(principal)?, uid, self.uid(question.resource())?, context, Some(cedar))
            .map_err(|error| error.to_string())?;
        let facts = reachable(principal, question);
        let facts: Vec<_> = facts.into_iter().map(|entity| self.entity(entity)).collect::<Result<_, _>>()?;
        let base = Entities::from_entities([group], None).map_err(|error| error.to_string())?;
        let entities = base.add_entities(facts, Some(cedar)).map_err(|error| error.to_string())?;
        Ok(Translated { request: asked, entities })
    }

    fn session(&self, session: &Session, at: Moment) -> Result<RestrictedExpression, String> {
        let mut pairs = vec![
            ("id".into(), RestrictedExpression::new_string(session.id.to_string())),
            ("grants".into(), strings(session.grants.iter())),
            ("login".into(), RestrictedExpression::new_string(session.login.to_string())),
            ("now".into(), RestrictedExpression::new_datetime(iso(at.seconds))),
            ("weekday".into(), self.value(&at.weekday.into())?),
            ("hour".into(), RestrictedExpression::new_long(at.hour.into())),
        ];
        if let Some(application) = &session.application {
            pairs.push(("application".into(), RestrictedExpression::new_string(application.to_string())));
        }
        RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
    }

    fn entity(&self, entity: &Entity) -> Result<cedar_policy::Entity, String> {
        let parents = entity.parents().iter().map(|parent| self.uid(parent)).collect::<Result<Vec<_>, _>>()?;
        let tags = entity.tags().iter().map(|(name, value)| Ok((name.to_string(), self.value(value)?)));
        let tags = tags.collect::<Result<Vec<_>, String>>()?;
        let attributes = self.pairs(entity.attributes())?;
        cedar_policy::Entity::new_with_tags(self.uid(entity)?, attributes, parents, tags).map_err(|e| e.to_string())
    }

    fn uid(&self, entity: &Entity) -> Result<EntityUid, String> {
        self.uid_of(entity.kind(), entity.id())
    }

    fn uid_of(&self, kind: EntityType, id: &str) -> Result<EntityUid, String> {
        let kind = self.schema.type_name(kind).ok_or("no such entity type")?;
        Ok(EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id)))
    }

    fn pairs(&self, fields: &Fields) -> Result<Vec<(String, RestrictedExpression)>, String> {
        fields.iter().map(|(name, value)| Ok(((*name).to_owned(), self.value(value)?))).collect()
    }

    /// Records nest as deep as our own constructors make them, never as deep as a client likes.
    fn value(&self, value: &Value) -> Result<RestrictedExpression, String> {
        Ok(match value {
            Value::Bool(value) => RestrictedExpression::new_bool(*value),
            Value::Long(value) => RestrictedExpression::new_long(*value),
            Value::Text(text) => RestrictedExpression::new_string(text.to_string()),
            Value::Texts(items) => strings(items.iter()),
            Value::Choice(kind, id) => RestrictedExpression::new_entity_uid(self.uid_of(*kind, id)?),
            Value::Entity(entity) => RestrictedExpression::new_entity_uid(self.uid(entity)?),
            Value::Entities(items) => {
                let uids = items.iter().map(|entity| self.uid(entity).map(RestrictedExpression::new_entity_uid));
                RestrictedExpression::new_set(uids.collect::<Result<Vec<_>, _>>()?)
            }
            Value::Address(address) => RestrictedExpression::new_ip(address.to_string()),
            Value::Record(fields) => {
                RestrictedExpression::new_record(self.pairs(fields)?).map_err(|error| error.to_string())?
            }
        })
    }
}

fn strings<'a>(items: impl Iterator<Item = &'a Arc<str>>) -> RestrictedExpression {
    RestrictedExpression::new_set(items.map(|item| RestrictedExpression::new_string(item.to_string())))
}

/// Every entity that the principal, the resource and the context lead to, once.
fn reachable<'a>(principal: &'a Arc<Entity>, question: &'a Question) -> HashSet<&'a Entity> {
    let mut seen = HashSet::new();
    let mut entities: Vec<&Entity> = vec![principal, question.resource()];
    let mut values: Vec<&Value> = question.context().iter().map(|(_, value)| value).collect();
    loop {
        if let Some(entity) = entities.pop() {
            if seen.insert(entity) {
                entities.extend(entity.parents().iter().map(Arc::as_ref));
                values.extend(entity.attributes().iter().map(|(_, value)| value));
            }
        } else if let Some(value) = values.pop() {
            match value {
                Value::Entity(entity) => entities.push(entity),
                Value::Entities(items) => entities.extend(items.iter().map(Arc::as_ref)),
                Value::Record(fields) => values.extend(fields.iter().map(|(_, value)| value)),
                Value::Bool(_) | Value::Long(_) | Value::Text(_) | Value::Texts(_) | Value::Choice(..) => {}
                Value::Address(_) => {}
            }
        } else {
            return seen;
        }
    }
}

/// RFC 3339 in UTC, to the second, years 1970 to 9999.
pub(super) fn iso(seconds: i64) -> String {
    let seconds = seconds.clamp(0, 253_402_300_799);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from a day number: eras of 400 years that begin on 1 March of a year divisible by 400.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::iso;

    #[test]
    fn writes_dates() {
        assert_eq!(iso(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(iso(1_795_392_000), "2026-11-23T00:00:00Z");
        assert_eq!(iso(i64::MAX), "9999-12-31T23:59:59Z");
    }
}
