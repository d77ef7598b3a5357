//! Discovery: which groups, versions and resources there are, in the old and the aggregated form.

use serde_json::{Map, Value, json};

use crate::schema::{Kind, Schema};

/// The aggregated document (`apidiscovery.k8s.io/v2`, KEP-3352) of the core group or of all others.
#[must_use]
pub fn aggregated(schema: &Schema, core: bool) -> Value {
    let groups = groups(schema).into_iter().filter(|group| group.is_empty() == core);
    let items: Vec<Value> = groups.map(|group| aggregated_group(schema, group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

/// The versions of the core group, `/api`.
#[must_use]
pub fn api_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [],
    })
}

/// The named groups, `/apis`.
#[must_use]
pub fn group_list(schema: &Schema) -> Value {
    let named = groups(schema).into_iter().filter(|group| !group.is_empty());
    let groups: Vec<Value> = named.map(|group| describe_group(schema, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// One named group, `/apis/GROUP`.
#[must_use]
pub fn group(schema: &Schema, group: &str) -> Option<Value> {
    if group.is_empty() || versions(schema, group).is_empty() {
        return None;
    }
    let mut document = describe_group(schema, group);
    document["kind"] = json!("APIGroup");
    document["apiVersion"] = json!("v1");
    Some(document)
}

/// The resources of one group version, `/apis/GROUP/VERSION`.
#[must_use]
pub fn resource_list(schema: &Schema, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> = served(schema, group, version).collect();
    let api_version = kinds.first()?.api_version();
    let mut resources: Vec<Value> = Vec::new();
    for kind in kinds {
        resources.push(plain_resource(kind));
        for sub in subresources(kind) {
            let mut resource = json!({
                "name": format!("{}/{}", kind.plural, sub.name),
                "singularName": "",
                "namespaced": kind.namespaced,
                "kind": sub.kind.2,
                "verbs": sub.verbs,
            });
            if (sub.kind.0, sub.kind.1) != (kind.group.as_str(), kind.version.as_str()) {
                resource["group"] = json!(sub.kind.0);
                resource["version"] = json!(sub.kind.1);
            }
            resources.push(resource);
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version,
        "resources": resources,
    }))
}

fn plain_resource(kind: &Kind) -> Value {
    let mut resource = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": kind.verbs(),
    });
    names(kind, &mut resource);
    resource
}

fn aggregated_group(schema: &Schema, group: &str) -> Value {
    let versions: Vec<Value> = versions(schema, group)
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> = served(schema, group, version).map(aggregated_resource).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        })
        .collect();
    let mut metadata = Map::new();
    if !group.is_empty() {
        metadata.insert("name".to_owned(), json!(group));
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let response_kind = |(group, version, name): (&str, &str, &str)| json!({"group": group, "version": version, "kind": name});
    let mut resource = json!({
        "resource": kind.plural,
        "responseKind": response_kind((&kind.group, &kind.version, &kind.kind)),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs(),
    });
    names(kind, &mut resource);
    let subresources: Vec<Value> = subresources(kind)
        .map(|sub| {
            json!({"subresource": sub.name, "responseKind": response_kind(sub.kind), "verbs": sub.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        resource["subresources"] = Value::Array(subresources);
    }
    resource
}

fn names(kind: &Kind, resource: &mut Value) {
    for (key, list) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !list.is_empty() {
            resource[key] = json!(list);
        }
    }
}

/// Group, version and kind of what a resource answers with.
type Identity<'a> = (&'a str, &'a str, &'a str);

/// A subresource as discovery describes it.
struct Subresource<'a> {
    name: &'a str,
    kind: Identity<'a>,
    verbs: &'static [&'static str],
}

/// What subresources with a kind of their own answer with, and the verbs of each.
const SUBRESOURCES: &[(&str, Option<Identity<'_>>, &[&str])] = &[
    ("attach", Some(("", "v1", "PodAttachOptions")), &["create", "get"]),
    ("binding", Some(("", "v1", "Binding")), &["create"]),
    ("eviction", Some(("policy", "v1", "Eviction")), &["create"]),
    ("exec", Some(("", "v1", "PodExecOptions")), &["create", "get"]),
    ("finalize", None, &["update"]),
    ("log", None, &["get"]),
    ("portforward", Some(("", "v1", "PodPortForwardOptions")), &["create", "get"]),
    ("scale", Some(("autoscaling", "v1", "Scale")), &["get", "patch", "update"]),
    ("status", None, &["get", "patch", "update"]),
];

fn subresources(kind: &Kind) -> impl Iterator<Item = Subresource<'_>> {
    let has = |name: &str| match name {
        "status" => kind.status,
        "scale" => kind.scale,
        other => kind.subresources.iter().any(|one| one == other),
    };
    let own: Identity<'_> = (&kind.group, &kind.version, &kind.kind);
    SUBRESOURCES.iter().filter(move |(name, ..)| has(name)).map(move |(name, answer, verbs)| Subresource {
        name,
        kind: answer.unwrap_or(own),
        verbs,
    })
}

fn served<'a>(schema: &'a Schema, group: &str, version: &str) -> impl Iterator<Item = &'a Kind> {
    let kinds = schema.kinds().iter();
    kinds.filter(move |kind| kind.served && kind.group == group && kind.version == version)
}

fn groups(schema: &Schema) -> Vec<&str> {
    distinct(schema.kinds().iter().filter(|kind| kind.served).map(|kind| kind.group.as_str()))
}

fn versions<'a>(schema: &'a Schema, group: &str) -> Vec<&'a str> {
    let of_group = schema.kinds().iter().filter(|kind| kind.served && kind.group == group);
    distinct(of_group.map(|kind| kind.version.as_str()))
}

fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

fn describe_group(schema: &Schema, group: &str) -> Value {
    let versions: Vec<Value> = versions(schema, group)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": group, "versions": versions, "preferredVersion": preferred})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aggregated_document_has_the_resources_of_a_group_once() {
        let core = aggregated(Schema::builtin(), true);
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let resources = core["items"][0]["versions"][0]["resources"].as_array().unwrap();
        let services: Vec<&Value> = resources.iter().filter(|one| one["resource"] == "services").collect();
        assert_eq!(services.len(), 1);
        assert_eq!(services[0]["shortNames"], json!(["svc"]));
        assert_eq!(services[0]["scope"], "Namespaced");
        assert!(!resources.iter().any(|one| one["resource"] == "bindings"));
    }

    #[test]
    fn scale_is_answered_with_its_own_kind() {
        let list = resource_list(Schema::builtin(), "apps", "v1").unwrap();
        let resources = list["resources"].as_array().unwrap();
        let scale = resources.iter().find(|one| one["name"] == "deployments/scale").unwrap();
        assert_eq!((&scale["group"], &scale["kind"]), (&json!("autoscaling"), &json!("Scale")));
        assert!(resource_list(Schema::builtin(), "apps", "v1beta1").is_none());
    }

    #[test]
    fn only_named_groups_are_listed_and_reviews_can_only_be_created() {
        let schema = Schema::builtin();
        let list = group_list(schema);
        let names: Vec<&str> =
            list["groups"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert!(names.contains(&"apps") && names.contains(&"authorization.k8s.io"));
        assert!(!names.contains(&"policy") && !names.contains(&""));
        assert_eq!(group(schema, "apps").unwrap()["preferredVersion"]["groupVersion"], "apps/v1");
        assert!(group(schema, "nosuch").is_none());
        let reviews = resource_list(schema, "authentication.k8s.io", "v1").unwrap();
        assert_eq!(reviews["resources"][0]["verbs"], json!(["create"]));
    }
}
