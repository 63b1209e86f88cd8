//! Questions about Kubernetes, written out as facts.
//!
//! In: the facts of a case. Out: the question that the engine would ask of such a request. A fact that is none is an
//! error.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use toml::Table;

use super::Facts;
use crate::policy::request::{Entity, Question};
use crate::policy::vocabulary::kubernetes::{self, Body, ObjectFacts, Request};
use crate::policy::vocabulary::names::{Action, PatchKind, ProtocolName};

/// What a nested table takes from the defaults.
static EMPTY: LazyLock<Table> = LazyLock::new(Table::new);

impl<'a> Facts<'a> {
    pub(super) fn kubernetes(&mut self, action: Action) -> Result<Arc<Question>, String> {
        let target = self.target(ProtocolName::Kubernetes)?;
        let resource = match self.text("path")? {
            Some(path) => kubernetes::path(&target, path),
            None => self.object(&target)?.ok_or("a question of `Kubernetes` without `type` or `path`")?,
        };
        let text = |facts: &mut Self, key| Ok::<_, String>(facts.text(key)?.map(Into::into));
        let request = Request {
            verb: verb(action),
            dry_run: self.flag("dry_run")?,
            label_selector: text(self, "label_selector")?,
            field_selector: text(self, "field_selector")?,
            propagation: text(self, "propagation")?,
            patch: match self.text("patch")? {
                Some(name) => Some(PatchKind::from_name(name).ok_or_else(|| format!("`patch` cannot be `{name}`"))?),
                None => None,
            },
            body: self.nested("body", body)?,
            command: self.nested("command", Facts::command)?,
            text: self.text.into(),
        };
        Ok(kubernetes::ask(action, resource, request))
    }

    /// The object of the facts, where they name a type.
    pub(super) fn object(&mut self, target: &Arc<Entity>) -> Result<Option<Arc<Entity>>, String> {
        let namespace = self.text("namespace")?.unwrap_or_default();
        let (name, subresource) =
            (self.text("name")?.unwrap_or_default(), self.text("subresource")?.unwrap_or_default());
        let version = self.text("version")?.unwrap_or("v1");
        let Some(kind) = self.text("type")? else { return Ok(None) };
        let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
        Ok(Some(kubernetes::object(target, ObjectFacts { group, version, resource, subresource, namespace, name })))
    }

    fn nested<T>(
        &mut self,
        key: &'static str,
        read: fn(&mut Facts<'a>) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let own = value.as_table().ok_or_else(|| format!("`{key}` is no table"))?;
        let mut inner = Facts { own, defaults: &EMPTY, taken: BTreeSet::new(), around: self.around, text: self.text };
        let found = read(&mut inner)?;
        inner.finish(key)?;
        Ok(Some(found))
    }
}

fn body(facts: &mut Facts<'_>) -> Result<Body, String> {
    Ok(Body {
        images: facts.texts("images")?,
        registries: facts.texts("registries")?,
        privileged: facts.flag("privileged")?,
        host_access: facts.flag("host_access")?,
        service_accounts: facts.texts("service_accounts")?,
        secrets: facts.texts("secrets")?,
        fields: facts.texts("fields")?,
        replicas: facts.number("replicas")?,
        grants: facts.flag("grants")?,
        drains: facts.flag("drains")?,
    })
}

/// As the server names what an action stands for.
fn verb(action: Action) -> &'static str {
    match action {
        Action::KubernetesExec
        | Action::KubernetesAttach
        | Action::KubernetesPortForward
        | Action::KubernetesProxy
        | Action::KubernetesIssueToken => "create",
        Action::KubernetesDebug | Action::KubernetesApproveCertificate => "update",
        Action::KubernetesCall => "post",
        other => other.parts().1,
    }
}
