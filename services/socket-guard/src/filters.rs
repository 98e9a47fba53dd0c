//! The filters of lists and events: read strictly, and always with our own project among them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Compose's project of a container.
pub const PROJECT: &str = "com.docker.compose.project";

/// What is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A list of containers.
    Containers,
    /// Events.
    Events,
}

impl Subject {
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Containers => &["exited", "health", "id", "label", "name", "status"],
            Self::Events => &["container", "event", "label", "type"],
        }
    }
}

type Filters = BTreeMap<String, BTreeSet<String>>;

/// The caller's filters with ours added, as the engine reads them; none if they are not understood.
/// The engine lets through what has all labels of a filter: ours can only make it less.
pub fn read(subject: Subject, text: &str, project: &str) -> Option<String> {
    let Value::Object(given) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let mut filters = Filters::new();
    for (key, values) in given {
        if !subject.keys().contains(&key.as_str()) {
            return None;
        }
        filters.insert(key, words(values)?);
    }
    // Images carry the project's label, too.
    let only_containers = |types: &BTreeSet<String>| types.iter().all(|kind| kind == "container");
    if !filters.get("type").is_none_or(only_containers) {
        return None;
    }
    Some(add_ours(subject, filters, project))
}

/// Our filters alone.
pub fn forced(subject: Subject, project: &str) -> String {
    add_ours(subject, Filters::new(), project)
}

fn add_ours(subject: Subject, mut filters: Filters, project: &str) -> String {
    let labels = filters.entry("label".to_owned()).or_default();
    labels.insert(format!("{PROJECT}={project}"));
    if subject == Subject::Events {
        let types = filters.entry("type".to_owned()).or_default();
        types.insert("container".to_owned());
    }
    let filters = filters.into_iter().map(|(key, values)| {
        let values = values.into_iter().map(|value| (value, Value::Bool(true)));
        (key, Value::Object(values.collect()))
    });
    Value::Object(filters.collect()).to_string()
}

/// `["a"]` is how the first versions wrote it, `{"a":true}` how it is written now.
fn words(values: Value) -> Option<BTreeSet<String>> {
    match values {
        Value::Array(list) => list
            .into_iter()
            .map(|value| match value {
                Value::String(word) => Some(word),
                _ => None,
            })
            .collect(),
        Value::Object(set) => set
            .into_iter()
            .map(|(word, on)| (on == Value::Bool(true)).then_some(word))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_always_among_them() {
        let ours = r#"{"label":{"com.docker.compose.project=p":true}}"#;
        assert_eq!(forced(Subject::Containers, "p"), ours);
        for text in ["{}", r#"{"label":[]}"#, r#"{"label":{}}"#] {
            let read = read(Subject::Containers, text, "p");
            assert_eq!(read.as_deref(), Some(ours), "{text}");
        }
        let other = r#"{"label":["com.docker.compose.project=q"],"name":{"x":true}}"#;
        assert_eq!(
            read(Subject::Containers, other, "p").as_deref(),
            Some(
                r#"{"label":{"com.docker.compose.project=p":true,"com.docker.compose.project=q":true},"name":{"x":true}}"#
            )
        );
    }

    #[test]
    fn events_are_those_of_containers() {
        let ours = r#"{"label":{"com.docker.compose.project=p":true},"type":{"container":true}}"#;
        assert_eq!(forced(Subject::Events, "p"), ours);
        for text in [r#"{"type":["image"]}"#, r#"{"type":["container","image"]}"#] {
            assert_eq!(read(Subject::Events, text, "p"), None, "{text}");
        }
        let read = read(Subject::Events, r#"{"type":["container"]}"#, "p");
        assert_eq!(read.as_deref(), Some(ours));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            r#"{"label":"x"}"#,
            r#"{"label":{"x":false}}"#,
            r#"{"label":[1]}"#,
            r#"{"label!":["x"]}"#,
            r#"{"Label":["x"]}"#,
            r#"{"volume":["x"]}"#,
            r#"{"label":[]}{}"#,
        ] {
            assert_eq!(read(Subject::Containers, text, "p"), None, "{text}");
        }
    }
}
