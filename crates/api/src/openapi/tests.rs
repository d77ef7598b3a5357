//! What clients rely on in the OpenAPI documents.

use super::*;

/// Every `$ref` in a document.
fn references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            into.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, into));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, into)),
        _ => {}
    }
}

#[test]
fn every_reference_of_every_document_resolves() {
    let schema = Schema::builtin();
    for (group, version) in group_versions(schema) {
        let document = document(schema, group, version).unwrap();
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(!all.is_empty());
        for reference in all {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} in {group}/{version}");
        }
    }
    assert!(document(schema, "apps", "v1beta1").is_none());
    assert!(document(schema, "policy", "v1").is_none());
}

#[test]
fn the_index_names_every_group_version_with_a_stable_hash() {
    let schema = Schema::builtin();
    let index = index(schema);
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(url.starts_with("/openapi/v3/api/v1?hash="), "{url}");
    assert!(index["paths"].get("apis/apps/v1").is_some());
    assert_eq!(index, super::index(schema));
}

#[test]
fn kubectl_finds_the_kind_and_leaves_validation_to_the_server() {
    let document = document(Schema::builtin(), "", "v1").unwrap();
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "Service"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|one| one["name"] == "fieldValidation" && one["in"] == "query"));
    let service = &document["components"]["schemas"]["io.k8s.api.core.v1.Service"];
    assert_eq!(
        service["x-kubernetes-group-version-kind"],
        json!([{"group": "", "version": "v1", "kind": "Service"}])
    );
    assert_eq!(service["properties"]["kind"]["type"], "string");
}

#[test]
fn fields_carry_their_merge_facts_and_descriptions() {
    let document = document(Schema::builtin(), "", "v1").unwrap();
    let spec = &document["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"];
    let ports = &spec["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "port");
    assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(ports["x-kubernetes-list-type"], "map");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
    assert!(ports["description"].as_str().unwrap().contains("ports"));
    let port = &document["components"]["schemas"]["io.k8s.api.core.v1.ServicePort"];
    assert_eq!(
        (&port["required"], &port["properties"]["protocol"]["default"]),
        (&json!(["port"]), &json!("TCP"))
    );
}
