//! What two forms of an object differ in, field by field.
//!
//! In: an object before and after a change, each as it is and with its masks. Out: lines for people, of a bounded number
//! and length, with what the masks show alone. It must never pass over a field that differs, also where it is hidden.

use std::collections::BTreeSet;

use serde_json::Value;

/// The most lines.
const MOST: usize = 64;
/// The longest form of a value, in characters.
const LONGEST: usize = 160;
/// What every write changes, and nobody asked for.
const BOOKKEEPING: [&str; 3] = ["managedFields", "resourceVersion", "generation"];
/// The same change once more, in one string.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as it is, and as it may be shown; absent where it is not there.
#[derive(Clone, Copy, Default)]
struct Form<'v> {
    real: Option<&'v Value>,
    shown: Option<&'v Value>,
}

impl<'v> Form<'v> {
    fn child(self, of: impl Fn(&'v Value) -> Option<&'v Value>) -> Self {
        Self { real: self.real.and_then(&of), shown: self.shown.and_then(of) }
    }

    fn element(self, at: usize) -> Self {
        self.child(|list| list.get(at))
    }

    /// The element with this name. Where it stands among those that are shown, it stood among the real ones.
    fn named(self, name: &str) -> Self {
        let at = self.real.and_then(Value::as_array).and_then(|list| list.iter().position(|one| one["name"] == name));
        at.map_or_else(Self::default, |at| self.element(at))
    }

    fn text(self) -> String {
        self.shown.map_or_else(|| "(hidden)".to_owned(), shortened)
    }
}

/// The lines for an object and its masked form, each before and after.
pub fn between(before: (&Value, &Value), after: (&Value, &Value)) -> Vec<String> {
    let form = |(real, shown)| Form { real: Some(real), shown: Some(shown) };
    let mut lines = Vec::new();
    compare(&mut Vec::new(), form(before), form(after), &mut lines);
    if let Some(more) = lines.len().checked_sub(MOST).filter(|more| *more > 0) {
        lines.truncate(MOST);
        lines.push(format!("… and {more} more fields"));
    }
    lines
}

fn compare(path: &mut Vec<String>, before: Form<'_>, after: Form<'_>, lines: &mut Vec<String>) {
    match (before.real, after.real) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let in_metadata = path.len() == 1 && path.first().is_some_and(|first| first == "metadata");
            for key in keys.into_iter().filter(|key| !(in_metadata && BOOKKEEPING.contains(&key.as_str()))) {
                path.push(step(path.is_empty(), key));
                if key == LAST_APPLIED && old.get(key) != new.get(key) {
                    lines.push(format!("{}: changed", path.concat()));
                } else {
                    compare(path, before.child(|value| value.get(key)), after.child(|value| value.get(key)), lines);
                }
                path.pop();
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            let steps: Vec<(String, Form<'_>, Form<'_>)> = match names(old).zip(names(new)) {
                Some((old, new)) => {
                    let all = old.iter().chain(new.iter().filter(|name| !old.contains(*name)));
                    all.map(|name| (format!("[{name}]"), before.named(name), after.named(name))).collect()
                }
                None => {
                    let all = 0..old.len().max(new.len());
                    all.map(|at| (format!("[{at}]"), before.element(at), after.element(at))).collect()
                }
            };
            for (step, before, after) in steps {
                path.push(step);
                compare(path, before, after, lines);
                path.pop();
            }
        }
        (old, new) => lines.extend(told(before, after, (old, new)).map(|what| format!("{}: {what}", path.concat()))),
    }
}

/// What is said of a field that differs as a whole.
fn told(before: Form<'_>, after: Form<'_>, (old, new): (Option<&Value>, Option<&Value>)) -> Option<String> {
    let (was, is) = (before.text(), after.text());
    Some(match (old, new) {
        (None, None) => return None,
        (None, Some(new)) => {
            nothing_like(new).map_or_else(|| format!("added {is}"), |nothing| format!("{nothing} → {is}"))
        }
        (Some(old), None) => {
            nothing_like(old).map_or_else(|| format!("removed {was}"), |nothing| format!("{was} → {nothing}"))
        }
        (Some(_), Some(_)) if before.shown == after.shown => "changed, hidden".to_owned(),
        (Some(_), Some(_)) => format!("{was} → {is}"),
    })
}

/// What a field that is left out may stand for: the API omits many that are zero or false.
fn nothing_like(value: &Value) -> Option<&'static str> {
    match value {
        Value::Number(_) => Some("none or 0"),
        Value::Bool(_) => Some("none or false"),
        _ => None,
    }
}

fn step(is_first: bool, key: &str) -> String {
    let is_plain = key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    match (is_plain, is_first) {
        (true, true) => key.to_owned(),
        (true, false) => format!(".{key}"),
        (false, _) => format!("[{key}]"),
    }
}

/// The names of a list's elements, where each has one of its own: containers, volumes, variables.
fn names(list: &[Value]) -> Option<Vec<&str>> {
    let names: Vec<&str> = list.iter().map(|one| one.get("name")?.as_str()).collect::<Option<_>>()?;
    let different: BTreeSet<_> = names.iter().collect();
    (different.len() == names.len() && !names.is_empty()).then_some(names)
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lines(before: &Value, after: &Value) -> Vec<String> {
        between((before, before), (after, after))
    }

    #[test]
    fn fields_are_told_by_their_path_and_list_elements_by_their_name() {
        let before = json!({"metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "web"}, "resourceVersion": "1",
                "annotations": {(LAST_APPLIED): "{\"replicas\":3}"}},
            "spec": {"replicas": 3, "args": ["a", "b"], "containers": [{"name": "one", "image": "x:1"}, {"name": "two"}]}});
        let after = json!({"metadata": {"name": "web", "labels": {"app.kubernetes.io/name": "shop"}, "resourceVersion": "2",
                "annotations": {(LAST_APPLIED): "{\"replicas\":0}"}},
            "spec": {"replicas": 0, "args": ["a", "c"], "paused": true, "containers": [{"name": "one", "image": "x:2"}]}});
        assert_eq!(
            lines(&before, &after),
            [
                "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]: changed",
                "metadata.labels[app.kubernetes.io/name]: \"web\" → \"shop\"",
                "spec.args[1]: \"b\" → \"c\"",
                "spec.containers[one].image: \"x:1\" → \"x:2\"",
                "spec.containers[two]: removed {\"name\":\"two\"}",
                "spec.paused: none or false → true",
                "spec.replicas: 3 → 0",
            ]
        );
        assert!(lines(&before, &before).is_empty());
    }

    #[test]
    fn what_is_hidden_is_told_to_differ_and_no_more() {
        let real = |value: &str| json!({"data": {"password": value}});
        let shown = json!({"data": {"password": "bWFzaw=="}});
        let (before, after) = (real("b25l"), real("dHdv"));
        assert_eq!(between((&before, &shown), (&after, &shown)), ["data.password: changed, hidden"]);
        // A mask that stands for a whole value shows nothing of what is in it.
        let whole = json!({"data": "****"});
        assert_eq!(between((&before, &whole), (&after, &whole)), ["data.password: changed, hidden"]);
        let gone = json!({"data": {}});
        assert_eq!(between((&before, &whole), (&gone, &whole)), ["data.password: removed (hidden)"]);
    }

    #[test]
    fn lines_and_values_are_bounded() {
        let many = |value: usize| Value::Array((0..1_000).map(|at| json!(at + value)).collect());
        let told = lines(&many(0), &many(1));
        assert_eq!((told.len(), told.last().unwrap().as_str()), (MOST + 1, "… and 936 more fields"));
        let told = lines(&json!({"text": "a"}), &json!({"text": "b".repeat(100_000)}));
        assert!(told[0].len() < 2 * LONGEST, "{told:?}");
    }
}
