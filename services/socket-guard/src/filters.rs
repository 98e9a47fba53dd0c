//! Filters of lists and events: parsed strictly, and always with the own project among them. The module is pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Compose label with the project of a container.
pub const PROJECT_LABEL: &str = "com.docker.compose.project";

/// What a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterTarget {
    /// A list of containers.
    Containers,
    /// The stream of events.
    Events,
}

impl FilterTarget {
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Containers => &["exited", "health", "id", "label", "name", "status"],
            Self::Events => &["container", "event", "label", "type"],
        }
    }
}

type Filters = BTreeMap<String, BTreeSet<String>>;

/// The caller's filters with the project filter added, as Docker expects them; `None` if they cannot be parsed. Docker
/// requires all labels of a filter, so the added one can only narrow the result.
pub fn parse(target: FilterTarget, text: &str, project: &str) -> Option<String> {
    let Value::Object(given) = serde_json::from_str(text).ok()? else {
        return None;
    };
    let mut filters = Filters::new();
    for (key, values) in given {
        if !target.keys().contains(&key.as_str()) {
            return None;
        }
        filters.insert(key, parse_values(values)?);
    }
    // Images carry the project's label, too.
    let only_containers = |types: &BTreeSet<String>| types.iter().all(|kind| kind == "container");
    if !filters.get("type").is_none_or(only_containers) {
        return None;
    }
    Some(add_project(target, filters, project))
}

/// The project filter alone.
pub fn project_only(target: FilterTarget, project: &str) -> String {
    add_project(target, Filters::new(), project)
}

fn add_project(target: FilterTarget, mut filters: Filters, project: &str) -> String {
    let labels = filters.entry("label".to_owned()).or_default();
    labels.insert(format!("{PROJECT_LABEL}={project}"));
    if target == FilterTarget::Events {
        let types = filters.entry("type".to_owned()).or_default();
        types.insert("container".to_owned());
    }
    let filters = filters.into_iter().map(|(key, values)| {
        let values = values.into_iter().map(|value| (value, Value::Bool(true)));
        (key, Value::Object(values.collect()))
    });
    Value::Object(filters.collect()).to_string()
}

/// Parses `["a"]`, the notation of the first versions, and `{"a":true}`, the notation of today.
fn parse_values(values: Value) -> Option<BTreeSet<String>> {
    match values {
        Value::Array(list) => list
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        Value::Object(set) => set
            .into_iter()
            .map(|(text, on)| (on == Value::Bool(true)).then_some(text))
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_always_include_the_own_project() {
        let ours = r#"{"label":{"com.docker.compose.project=p":true}}"#;
        assert_eq!(project_only(FilterTarget::Containers, "p"), ours);
        for text in ["{}", r#"{"label":[]}"#, r#"{"label":{}}"#] {
            let read = parse(FilterTarget::Containers, text, "p");
            assert_eq!(read.as_deref(), Some(ours), "{text}");
        }
        let other = r#"{"label":["com.docker.compose.project=q"],"name":{"x":true}}"#;
        assert_eq!(
            parse(FilterTarget::Containers, other, "p").as_deref(),
            Some(
                r#"{"label":{"com.docker.compose.project=p":true,"com.docker.compose.project=q":true},"name":{"x":true}}"#
            )
        );
    }

    #[test]
    fn event_filters_are_limited_to_containers() {
        let ours = r#"{"label":{"com.docker.compose.project=p":true},"type":{"container":true}}"#;
        assert_eq!(project_only(FilterTarget::Events, "p"), ours);
        for text in [r#"{"type":["image"]}"#, r#"{"type":["container","image"]}"#] {
            assert_eq!(parse(FilterTarget::Events, text, "p"), None, "{text}");
        }
        let read = parse(FilterTarget::Events, r#"{"type":["container"]}"#, "p");
        assert_eq!(read.as_deref(), Some(ours));
    }

    #[test]
    fn filters_that_are_not_understood_are_rejected() {
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
            assert_eq!(parse(FilterTarget::Containers, text, "p"), None, "{text}");
        }
    }
}
