//! Questions that are written out as facts, in a table of tests or on a command line.
//!
//! In: a TOML table of facts. Out: the question that an engine would have built from a real request. A fact that no
//! question has is an error. It must never guess one that changes the answer: the defaults are the harmless ones, and are
//! listed in `policies/README.md`.

mod kubernetes;
mod ssh;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use toml::{Table, Value as Toml};

use super::request::{Entity, Question};
use super::vocabulary::data::{self, Use};
use super::vocabulary::kubernetes::ObjectFacts;
use super::vocabulary::names::{
    Action, EntityType, FunctionKind, Handling, ObjectKind, ProtocolName, RelationKind, Where,
};
use super::vocabulary::network::{self, EndpointFacts};
use super::vocabulary::postgres::{self, RelationFacts, Statement};
use super::vocabulary::{self, TargetFacts};

/// What surrounds the questions of a case.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Environment of each target.
    pub(super) environments: BTreeMap<String, String>,
    /// The class that each class is part of.
    pub(super) classes: BTreeMap<String, String>,
}

impl Surroundings {
    /// The class, and the chain of classes that it is part of.
    pub(super) fn class(&self, name: &str) -> Result<Arc<Entity>, String> {
        let mut chain = vec![name];
        while let Some(parent) = chain.last().and_then(|last| self.classes.get(*last)) {
            if chain.contains(&parent.as_str()) {
                return Err(format!("data class `{parent}` is part of itself"));
            }
            chain.push(parent);
        }
        let above = chain
            .iter()
            .skip(1)
            .rev()
            .fold(None, |above: Option<Arc<Entity>>, name| Some(data::class(name, above.as_slice())));
        Ok(data::class(name, above.as_slice()))
    }
}

/// The facts of one question; none of its own may be left over.
struct Facts<'a> {
    own: &'a Table,
    defaults: &'a Table,
    taken: BTreeSet<&'static str>,
    around: &'a Surroundings,
    text: &'a str,
}

/// The target that the facts name, for those who read raw requests.
pub(super) fn target(facts: &Table, around: &Surroundings) -> Result<Arc<Entity>, String> {
    Facts { own: facts, defaults: &Table::new(), taken: BTreeSet::new(), around, text: "" }
        .target(ProtocolName::Postgres)
}

/// The question with the facts of `own`, and with those of `defaults` that it needs beside them.
pub(super) fn question(
    own: &Table,
    defaults: &Table,
    around: &Surroundings,
    text: &str,
) -> Result<Arc<Question>, String> {
    let mut facts = Facts { own, defaults, taken: BTreeSet::new(), around, text };
    let name = facts.text("action")?.ok_or("a question without `action`: write `action = \"Postgres::select\"`")?;
    let action = Action::from_name(name).ok_or_else(|| format!("there is no action `{name}`"))?;
    let question = match action {
        Action::DataUnmask => facts.data(Use::Unmask),
        Action::DataCompare => facts.data(Use::Compare),
        Action::DataExport => facts.data(Use::Export),
        Action::NetworkConnect => facts.network(),
        _ if action.parts().0 == "Kubernetes" => facts.kubernetes(action),
        action if action.parts().0 == "Ssh" => facts.ssh(action),
        _ => facts.postgres(action),
    }?;
    facts.finish(name)?;
    Ok(question)
}

impl<'a> Facts<'a> {
    fn finish(&self, name: &str) -> Result<(), String> {
        match self.own.keys().find(|key| !self.taken.contains(key.as_str())) {
            Some(key) => Err(format!("`{name}` has no fact `{key}`")),
            None => Ok(()),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Toml> {
        self.taken.insert(key);
        self.own.get(key).or_else(|| self.defaults.get(key))
    }

    fn text(&mut self, key: &'static str) -> Result<Option<&'a str>, String> {
        self.take(key).map(|value| value.as_str().ok_or_else(|| format!("`{key}` is no string"))).transpose()
    }

    fn number(&mut self, key: &'static str) -> Result<Option<i64>, String> {
        self.take(key).map(|value| value.as_integer().ok_or_else(|| format!("`{key}` is no number"))).transpose()
    }

    fn flag(&mut self, key: &'static str) -> Result<bool, String> {
        self.take(key).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| format!("`{key}` is no true or false")))
    }

    fn texts(&mut self, key: &'static str) -> Result<Vec<Arc<str>>, String> {
        let items = self.take(key).map(|value| strings(value).ok_or_else(|| format!("`{key}` is no list of strings")));
        items.transpose().map(Option::unwrap_or_default)
    }

    fn choice<T>(&mut self, key: &'static str, default: T, named: fn(&str) -> Option<T>) -> Result<T, String> {
        self.text(key)?.map_or(Ok(default), |name| named(name).ok_or_else(|| format!("`{key}` cannot be `{name}`")))
    }

    fn port(&mut self, default: u16) -> Result<u16, String> {
        let port = self.number("port")?;
        port.map_or(Ok(default), |port| port.try_into().map_err(|_| format!("`{port}` is no port")))
    }

    fn address(&mut self) -> Result<IpAddr, String> {
        let default = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
        let address = self.text("address")?;
        address.map_or(Ok(default), |text| text.parse().map_err(|_| format!("`{text}` is no address")))
    }

    fn target(&mut self, protocol: ProtocolName) -> Result<Arc<Entity>, String> {
        let name = self.text("target")?.unwrap_or(vocabulary::UNDECLARED);
        let environment = self.around.environments.get(name).map(String::as_str);
        let (address, port) = (self.address()?, self.port(5432)?);
        Ok(vocabulary::target(TargetFacts { name, protocol, address, port, environment }))
    }

    fn network(&mut self) -> Result<Arc<Question>, String> {
        let protocol = self.choice("protocol", ProtocolName::Tcp, ProtocolName::from_name)?;
        let facts = EndpointFacts {
            address: self.address()?,
            port: self.port(5432)?,
            names: self.texts("names")?,
            protocol,
            handling: self.choice("handling", Handling::Unread, Handling::from_name)?,
        };
        let target = self.target(protocol)?;
        let via = self.text("via")?.map(|text| text.parse().map_err(|_| format!("`{text}` is no address")));
        let host = via.transpose()?.map(|address| vocabulary::ssh::host(&target, address, None));
        let pod = |text: &str| {
            let (namespace, name) = text.split_once('/').ok_or_else(|| format!("`{text}` is no NAMESPACE/NAME"))?;
            let pod = ObjectFacts { version: "v1", resource: "pods", namespace, name, ..ObjectFacts::default() };
            Ok::<_, String>(vocabulary::kubernetes::object(&target, pod))
        };
        let pod = self.text("pod")?.map(pod).transpose()?;
        Ok(network::connect(network::endpoint(&target, facts), host.or(pod).as_ref()))
    }

    fn data(&mut self, usage: Use) -> Result<Arc<Question>, String> {
        let target = self.target(ProtocolName::Postgres)?;
        let class = self.text("class")?.ok_or("a question of `Data` without `class`")?;
        let class = self.around.class(class)?;
        let database = self.database(&target)?;
        let place = match self.text("relation")? {
            Some(name) => Some(self.relation(&database, name, RelationKind::Table)?),
            None => self.object(&target)?,
        };
        Ok(data::ask(usage, class, target, place))
    }

    fn database(&mut self, target: &Arc<Entity>) -> Result<Arc<Entity>, String> {
        Ok(postgres::database(target, self.text("database")?.unwrap_or("app")))
    }

    fn relation(&mut self, database: &Arc<Entity>, name: &str, kind: RelationKind) -> Result<Arc<Entity>, String> {
        let (schema, name) = qualified(database, name)?;
        let classes = self.texts("classes")?;
        let classes = classes.iter().map(|class| self.around.class(class)).collect::<Result<_, _>>()?;
        let facts = RelationFacts { name, kind, classes, rows_estimate: self.number("rows")? };
        Ok(postgres::relation(&schema, facts))
    }

    fn postgres(&mut self, action: Action) -> Result<Arc<Question>, String> {
        let target = self.target(ProtocolName::Postgres)?;
        let database = self.database(&target)?;
        let resource = self.postgres_resource(&target, &database)?;
        let tag = action.parts().1.to_uppercase();
        let mut statement = Statement::new(database.clone(), self.text("command")?.unwrap_or(&tag), self.text.into());
        statement.narrowed = self.choice("where", Where::None, Where::from_name)?;
        statement.columns = self.texts("columns")?;
        statement.limit = self.number("limit")?;
        statement.in_transaction = self.flag("in_transaction")?;
        let batch = self.number("batch")?.unwrap_or(1);
        statement.batch = batch.try_into().map_err(|_| format!("`batch` cannot be {batch}"))?;
        statement.opaque = self.texts("opaque")?;
        statement.setting = self.text("setting")?.map(Into::into);
        if let Some(view) = self.text("through")? {
            let (schema, name) = qualified(&database, view)?;
            let facts = RelationFacts { name, kind: RelationKind::View, classes: Vec::new(), rows_estimate: None };
            statement.through = Some(postgres::relation(&schema, facts));
        }
        Ok(postgres::ask(action, resource, statement))
    }

    /// The first of `relation`, `function`, `role`, `object` and `schema` that is there, else the database.
    fn postgres_resource(&mut self, target: &Arc<Entity>, database: &Arc<Entity>) -> Result<Arc<Entity>, String> {
        if let Some(name) = self.text("relation")? {
            let kind = self.choice("kind", RelationKind::Table, RelationKind::from_name)?;
            return self.relation(database, name, kind);
        }
        if let Some(name) = self.text("function")? {
            let (schema, name) = qualified(database, name)?;
            let kind = self.choice("kind", FunctionKind::Opaque, FunctionKind::from_name)?;
            return Ok(postgres::function(&schema, name, kind));
        }
        if let Some(name) = self.text("role")? {
            return Ok(postgres::role(target, name, self.flag("superuser")?));
        }
        let schema = self.text("schema")?.map(|name| postgres::schema(database, name));
        if let Some(name) = self.text("object")? {
            let kind = self.text("kind")?.ok_or("an `object` without `kind`: `kind = \"trigger\"`")?;
            let kind = ObjectKind::from_name(kind).ok_or_else(|| format!("`kind` cannot be `{kind}`"))?;
            return Ok(postgres::object(database, schema.as_ref(), kind, name));
        }
        Ok(schema.unwrap_or_else(|| database.clone()))
    }
}

fn qualified<'n>(database: &Arc<Entity>, name: &'n str) -> Result<(Arc<Entity>, &'n str), String> {
    debug_assert_eq!(database.kind(), EntityType::Database);
    let (schema, name) = name.split_once('.').ok_or_else(|| format!("`{name}` lacks its schema: `public.{name}`"))?;
    Ok((postgres::schema(database, schema), name))
}

/// A list of strings, or one string as a list of one.
pub(super) fn strings(value: &Toml) -> Option<Vec<Arc<str>>> {
    match value {
        Toml::String(one) => Some(vec![one.as_str().into()]),
        Toml::Array(items) => items.iter().map(|item| item.as_str().map(Into::into)).collect(),
        _ => None,
    }
}
