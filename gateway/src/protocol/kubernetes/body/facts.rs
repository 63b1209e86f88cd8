//! Facts of an object or of a part of one.
//!
//! In: values that a request would set. Out: what of them matters to a policy, wherever it stands, so that kinds which
//! nobody here knows are read like those of the server. It may say too much, never too little.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Json;
use crate::policy::vocabulary::kubernetes::Body;
use crate::protocol::kubernetes::uri::Resource;

/// The most fields that are named; a policy that bounds them sees the last as one that nothing allows.
const MOST_FIELDS: usize = 2_048;

#[derive(Default)]
struct Found {
    images: BTreeSet<String>,
    service_accounts: BTreeSet<String>,
    secrets: BTreeSet<String>,
    config_maps: BTreeSet<String>,
    fields: BTreeSet<String>,
    replicas: Option<i64>,
    privileged: bool,
    host_access: bool,
    drains: bool,
}

/// The facts of `values`, and of fields that are `removed`; and the ConfigMaps that they name.
pub(super) fn of(resource: &Resource, values: &[Json], removed: Vec<String>) -> (Body, Vec<Arc<str>>) {
    let mut found = Found::default();
    found.fields.extend(removed);
    for value in values {
        found.walk(value);
    }
    if resource.subresource == "scale" {
        // A zero is left out there, and what is taken away is one.
        found.replicas.get_or_insert(0);
    }
    let shared = |set: BTreeSet<String>| set.into_iter().map(Into::into).collect::<Vec<Arc<str>>>();
    let registries = found.images.iter().map(|image| registry(image).to_owned()).collect();
    let body = Body {
        registries: shared(registries),
        images: shared(found.images),
        privileged: found.privileged,
        host_access: found.host_access,
        service_accounts: shared(found.service_accounts),
        secrets: shared(found.secrets),
        fields: shared(found.fields),
        replicas: found.replicas,
        grants: resource.group == "rbac.authorization.k8s.io",
        drains: found.drains,
    };
    (body, shared(found.config_maps))
}

impl Found {
    fn walk(&mut self, root: &Json) {
        let mut open: Vec<(&Json, &str, String)> = vec![(root, "", String::new())];
        while let Some((value, key, path)) = open.pop() {
            match value {
                Json::Object(fields) => {
                    self.object(key, value);
                    for (name, inner) in fields {
                        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                        self.field(name, &path, inner);
                        open.push((inner, name, path));
                    }
                }
                Json::List(items) => open.extend(items.iter().map(|item| (item, key, path.clone()))),
                _ => self.note_field(path),
            }
        }
    }

    fn note_field(&mut self, path: String) {
        if self.fields.len() < MOST_FIELDS {
            self.fields.insert(path);
        } else {
            self.fields.insert("…".to_owned());
        }
    }

    fn field(&mut self, name: &str, path: &str, value: &Json) {
        let text = || value.text().map(str::to_owned);
        let is_true = matches!(value, Json::Bool(true));
        match name {
            "image" => self.images.extend(text()),
            "serviceAccountName" | "serviceAccount" => self.service_accounts.extend(text()),
            "secretName" => self.secrets.extend(text()),
            "privileged" | "allowPrivilegeEscalation" | "hostProcess" => self.privileged |= is_true,
            "procMount" => self.privileged |= value.text().is_some_and(|text| text != "Default"),
            "hostNetwork" | "hostPID" | "hostIPC" => self.host_access |= is_true,
            "hostPath" => self.host_access |= !matches!(value, Json::Null),
            "hostPort" => self.host_access |= !matches!(value, Json::Null) && number(value) != Some(0),
            "unschedulable" => self.drains |= is_true,
            "taints" => self.drains |= !value.items().is_empty(),
            "replicas" if path == "spec.replicas" || path == "replicas" => {
                // What is no number the server refuses.
                if let Some(count) = number(value) {
                    self.replicas = Some(self.replicas.map_or(count, |least| least.min(count)));
                }
            }
            _ => {}
        }
    }

    /// What an object says by the key that it stands at.
    fn object(&mut self, key: &str, object: &Json) {
        let name = || object.get("name").and_then(Json::text).map(str::to_owned);
        match key {
            // Of environments, projected volumes and image pulls; a ServiceAccount lists those that its pods may mount.
            "secretKeyRef" | "secretRef" | "imagePullSecrets" | "secret" | "secrets" => self.secrets.extend(name()),
            "configMapKeyRef" | "configMapRef" | "configMap" => self.config_maps.extend(name()),
            "capabilities" => {
                let adds = object.get("add").is_some_and(|add| !add.items().is_empty());
                self.privileged |= adds;
            }
            key if key.ends_with("SecretRef") => self.secrets.extend(name()),
            _ => {}
        }
    }
}

fn number(value: &Json) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "a fraction of a replica is none")]
        Json::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|number| number as i64)),
        _ => None,
    }
}

/// Where an image comes from (`distribution/reference`): the first part where it looks like a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}
