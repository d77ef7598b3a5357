//! Field selectors: `metadata.name=x,status.phase!=Running`.

use serde_json::Value;

use crate::meta;
use crate::schema::Kind;
use crate::status::Status;

/// Requirements on the values of a few fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    field: &'static Selectable,
    value: String,
    equal: bool,
}

/// A field that selectors may name.
#[derive(Debug, PartialEq, Eq)]
struct Selectable {
    label: &'static str,
    /// Where its value is; the first path with a value counts.
    paths: &'static [&'static [&'static str]],
}

const fn selectable(label: &'static str, paths: &'static [&'static [&'static str]]) -> Selectable {
    Selectable { label, paths }
}

/// Every kind's fields.
const ANY: &[Selectable] = &[
    selectable("metadata.name", &[&["metadata", "name"]]),
    selectable("metadata.namespace", &[&["metadata", "namespace"]]),
];

/// The further fields of single kinds, as upstream registers them with its field label conversions.
const OF_KINDS: &[(&str, &str, &[Selectable])] = &[
    (
        "",
        "Pod",
        &[
            selectable("spec.nodeName", &[&["spec", "nodeName"]]),
            selectable("spec.restartPolicy", &[&["spec", "restartPolicy"]]),
            selectable("spec.schedulerName", &[&["spec", "schedulerName"]]),
            selectable("spec.serviceAccountName", &[&["spec", "serviceAccountName"]]),
            selectable("spec.hostNetwork", &[&["spec", "hostNetwork"]]),
            selectable("status.phase", &[&["status", "phase"]]),
            selectable("status.podIP", &[&["status", "podIP"]]),
            selectable("status.nominatedNodeName", &[&["status", "nominatedNodeName"]]),
        ],
    ),
    (
        "",
        "Event",
        &[
            selectable("involvedObject.kind", &[&["involvedObject", "kind"]]),
            selectable("involvedObject.namespace", &[&["involvedObject", "namespace"]]),
            selectable("involvedObject.name", &[&["involvedObject", "name"]]),
            selectable("involvedObject.uid", &[&["involvedObject", "uid"]]),
            selectable("involvedObject.apiVersion", &[&["involvedObject", "apiVersion"]]),
            selectable("involvedObject.resourceVersion", &[&["involvedObject", "resourceVersion"]]),
            selectable("involvedObject.fieldPath", &[&["involvedObject", "fieldPath"]]),
            selectable("reason", &[&["reason"]]),
            selectable("reportingComponent", &[&["reportingComponent"]]),
            selectable("source", &[&["source", "component"], &["reportingComponent"]]),
            selectable("type", &[&["type"]]),
        ],
    ),
    ("", "Node", &[selectable("spec.unschedulable", &[&["spec", "unschedulable"]])]),
    ("", "Secret", &[selectable("type", &[&["type"]])]),
    ("", "Namespace", &[selectable("status.phase", &[&["status", "phase"]])]),
    (
        "",
        "Service",
        &[
            selectable("spec.clusterIP", &[&["spec", "clusterIP"]]),
            selectable("spec.type", &[&["spec", "type"]]),
        ],
    ),
    ("", "ReplicationController", &[selectable("status.replicas", &[&["status", "replicas"]])]),
    ("apps", "ReplicaSet", &[selectable("status.replicas", &[&["status", "replicas"]])]),
];

fn find(kind: &Kind, label: &str) -> Option<&'static Selectable> {
    let own = OF_KINDS.iter().find(|(group, name, _)| kind.is(group, name)).map_or(&[][..], |entry| entry.2);
    let namespace = |one: &&Selectable| kind.namespaced || one.label != "metadata.namespace";
    ANY.iter().filter(namespace).chain(own).find(|one| one.label == label)
}

impl FieldSelector {
    /// Reads a comma separated list of `field=value`, `field==value` and `field!=value`. In values,
    /// `\\`, `\,` and `\=` stand for the characters after the backslash.
    ///
    /// # Errors
    /// 400 for a term that is none of these, and for a field that cannot be selected by.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, Status> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let invalid =
                || Status::bad_request(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let (label, equal, value) = split_operator(term).ok_or_else(invalid)?;
            let value = unescape(value).ok_or_else(invalid)?;
            let field = find(kind, label)
                .ok_or_else(|| Status::bad_request(format!("field label not supported: {label}")))?;
            requirements.push(Requirement { field, value, equal });
        }
        Ok(Self { requirements })
    }

    /// Whether the object's fields satisfy every requirement.
    #[must_use]
    pub fn matches(&self, object: &Value) -> bool {
        self.requirements.iter().all(|one| one.field.is(object, &one.value) == one.equal)
    }

    /// Whether nothing is required.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The only value that a field may have, when the selector demands one.
    #[must_use]
    pub fn exact(&self, label: &str) -> Option<&str> {
        let one = self.requirements.iter().find(|one| one.equal && one.field.label == label)?;
        Some(&one.value)
    }
}

impl Selectable {
    fn is(&self, object: &Value, expected: &str) -> bool {
        let found = self.paths.iter().map(|path| meta::at(object, path));
        let found = found.into_iter().find(|value| !value.is_null() && *value != "");
        match found {
            Some(Value::String(text)) => text == expected,
            Some(other) => {
                let text = other.to_string();
                text == expected
            }
            None => expected == self.zero(),
        }
    }

    /// How an absent value reads; flags and counts have a zero value of their own.
    fn zero(&self) -> &'static str {
        match self.label {
            "spec.unschedulable" | "spec.hostNetwork" => "false",
            "status.replicas" => "0",
            _ => "",
        }
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// The first operator in a term decides.
fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (label, rest) = term.split_at(at);
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(operator) {
            return Some((label, equal, value));
        }
    }
    None
}

fn unescape(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|one| ['\\', ',', '='].contains(one))?),
            '=' | ',' => return None,
            other => text.push(other),
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    fn matches(kind: &str, text: &str, object: &Value) -> bool {
        let kind = Schema::builtin().kind("", "v1", kind).unwrap();
        FieldSelector::parse(kind, text).unwrap().matches(object)
    }

    #[test]
    fn terms_are_joined_by_and() {
        let pod = json!({"metadata": {"name": "a", "namespace": "n"}, "status": {"phase": "Running"}});
        assert!(matches("Pod", "metadata.name=a,status.phase!=Failed", &pod));
        assert!(matches("Pod", "metadata.name==a,", &pod));
        assert!(!matches("Pod", "metadata.name=a,status.phase=Failed", &pod));
        assert!(matches("Pod", "spec.nodeName=", &pod));
        assert!(matches("Pod", "spec.nodeName!=x,spec.hostNetwork=false", &pod));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let pod = Schema::builtin().kind("", "v1", "Pod").unwrap();
        let error = FieldSelector::parse(pod, "spec.foo=1").unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (400, "field label not supported: spec.foo"));
        let node = Schema::builtin().kind("", "v1", "Node").unwrap();
        assert!(FieldSelector::parse(node, "metadata.namespace=x").is_err());
        assert!(FieldSelector::parse(pod, "metadata.name").is_err());
        assert!(FieldSelector::parse(pod, "metadata.name=a\\").is_err());
    }

    #[test]
    fn values_may_escape_commas() {
        let pod = json!({"metadata": {"name": "a,b"}});
        assert!(matches("Pod", "metadata.name=a\\,b", &pod));
    }

    #[test]
    fn an_exact_name_is_found_for_direct_lookups() {
        let pod = Schema::builtin().kind("", "v1", "Pod").unwrap();
        let selector = FieldSelector::parse(pod, "metadata.name=a").unwrap();
        assert_eq!((selector.exact("metadata.name"), selector.exact("spec.nodeName")), (Some("a"), None));
    }
}
