//! The vocabulary of policies as a page of the documentation.
//!
//! In: the embedded schema, with its `@doc` annotations. Out: Markdown: actions, entities and types of each namespace. It says
//! what the schema says, and no more.

use cedar_policy::SchemaFragment;
use serde_json::{Map, Value};

use super::schema::TEXT;

const INTRODUCTION: &str = "\
Written by `gateway reference policies`, from [gateway.cedarschema](../policies/gateway.cedarschema), which `gateway policy check` holds policies \
against. [policies](../policies/README.md) tells how they are evaluated, and has the packs. A `?` behind a name: it may be absent, and a policy asks \
with `has` first.";

/// The page.
///
/// # Errors
/// Where the embedded schema cannot be read: a fault of this build.
pub fn markdown() -> Result<String, String> {
    let (fragment, _) = SchemaFragment::from_cedarschema_str(TEXT).map_err(|error| error.to_string())?;
    let json = fragment.to_json_value().map_err(|error| error.to_string())?;
    let namespaces = json.as_object().ok_or("a schema is an object")?;
    let mut page = format!("# The words of policies\n\n{INTRODUCTION}\n");
    for (name, namespace) in namespaces {
        let title = if name.is_empty() { "Of all protocols".to_owned() } else { format!("`{name}`") };
        page += &format!("\n## {title}\n");
        page += &actions(name, &namespace["actions"]);
        page += &entities(&namespace["entityTypes"]);
        page += &types(&namespace["commonTypes"]);
    }
    Ok(page)
}

fn actions(namespace: &str, actions: &Value) -> String {
    let all = members(actions).map(|(name, action)| {
        let kind = if namespace.is_empty() { "Action".to_owned() } else { format!("{namespace}::Action") };
        let of = action["memberOf"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
        let resources = action.pointer("/appliesTo/resourceTypes").and_then(Value::as_array).into_iter().flatten();
        let resources: Vec<_> = resources.filter_map(Value::as_str).collect();
        let context = action.pointer("/appliesTo/context").map(type_name).unwrap_or_default();
        [format!("`{kind}::\"{name}\"`"), of.collect::<Vec<_>>().join(", "), resources.join(", "), context, doc(action)]
    });
    table("Actions", &["action", "in", "on", "`context`", ""], all)
}

fn entities(entities: &Value) -> String {
    let all = members(entities).map(|(name, entity)| {
        let of = entity["memberOfTypes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = entity["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
        let shape = entity.pointer("/shape/attributes").unwrap_or(&Value::Null);
        let fields: Vec<_> = members(shape).map(|(name, of)| field(name, of)).collect();
        let holds = [values.join(", "), fields.join(", ")].into_iter().filter(|part| !part.is_empty());
        [format!("`{name}`"), of.collect::<Vec<_>>().join(", "), holds.collect::<Vec<_>>().join("; "), doc(entity)]
    });
    table("Entities", &["entity", "in", "has", ""], all)
}

fn types(types: &Value) -> String {
    let one = |(name, of): (&String, &Value)| {
        let fields = members(&of["attributes"]).map(|(name, of)| [field(name, of), doc(of)]);
        let said = doc(of);
        let said = if said.is_empty() { said } else { format!("\n{said}\n") };
        table(name, &["field", ""], fields).replacen("\n\n|", &format!("\n{said}\n|"), 1)
    };
    members(types).map(one).collect()
}

fn field(name: &str, of: &Value) -> String {
    format!("`{}`", bare_field(name, of))
}

fn bare_field(name: &str, of: &Value) -> String {
    let mark = if of["required"].as_bool() == Some(false) { "?" } else { "" };
    format!("{name}{mark}: {}", type_name(of))
}

fn type_name(of: &Value) -> String {
    let name = || of["name"].as_str().unwrap_or_default().to_owned();
    match of["type"].as_str().unwrap_or_default() {
        "EntityOrCommon" | "Extension" => name(),
        "Set" => format!("Set<{}>", type_name(&of["element"])),
        "Record" => {
            let fields = members(&of["attributes"]).map(|(name, of)| bare_field(name, of));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_owned(),
    }
}

fn doc(of: &Value) -> String {
    of.pointer("/annotations/doc").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn members(of: &Value) -> impl Iterator<Item = (&String, &Value)> {
    of.as_object().into_iter().flat_map(Map::iter)
}

fn table<const N: usize>(title: &str, head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rows: String = rows.map(|row| line(&row.map(|cell| cell.replace('|', "\\|")))).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = line(&head.map(str::to_owned)) + &line(&[const { "---" }; N].map(str::to_owned));
    format!("\n### {title}\n\n{head}{rows}")
}

#[cfg(test)]
mod tests {
    use super::super::vocabulary::names::Action;
    use super::*;

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let page = markdown().unwrap();
        for action in Action::ALL {
            let (namespace, id) = action.parts();
            assert!(page.contains(&format!("`{namespace}::Action::\"{id}\"`")), "{action}");
        }
        assert!(
            page == include_str!("../../../docs/policies.md"),
            "write it anew: gateway reference policies > docs/policies.md"
        );
    }
}
