//! The directives and merge keys of strategic merge patches.

use serde_json::json;

use super::*;

fn patched(group: &str, kind: &str, mut target: Value, patch: &Value) -> Value {
    let schema = Schema::builtin();
    strategic(schema, schema.kind(group, "v1", kind).unwrap(), &mut target, patch).unwrap();
    target
}

fn service(ports: &Value) -> Value {
    json!({"spec": {"ports": ports, "selector": {"app": "web", "tier": "front"}}})
}

#[test]
fn lists_merge_by_their_key_and_maps_key_by_key() {
    let old = service(&json!([{"port": 80, "name": "http"}, {"port": 443, "name": "https"}]));
    let patch = json!({"spec": {"ports": [{"port": 443, "targetPort": 8443}, {"port": 90}], "selector": {"tier": null, "x": "y"}}});
    assert_eq!(
        patched("", "Service", old, &patch),
        json!({"spec": {
            "ports": [{"port": 80, "name": "http"}, {"port": 443, "name": "https", "targetPort": 8443}, {"port": 90}],
            "selector": {"app": "web", "x": "y"}}})
    );
}

#[test]
fn kubectl_apply_changes_a_port_by_delete_and_order() {
    let old = service(&json!([{"port": 8080, "targetPort": 80, "protocol": "TCP"}]));
    let patch = json!({"spec": {
        "$setElementOrder/ports": [{"port": 9090}],
        "ports": [{"port": 9090, "targetPort": 80}, {"$patch": "delete", "port": 8080}]}});
    assert_eq!(
        patched("", "Service", old, &patch)["spec"]["ports"],
        json!([{"port": 9090, "targetPort": 80}])
    );
}

#[test]
fn an_element_order_is_kept_and_may_stand_alone() {
    let old = service(&json!([{"port": 1}, {"port": 2}, {"port": 3}]));
    let patch = json!({"spec": {"$setElementOrder/ports": [{"port": 3}, {"port": 1}], "ports": [{"port": 1, "name": "a"}]}});
    let ports = &patched("", "Service", old.clone(), &patch)["spec"]["ports"];
    assert_eq!(*ports, json!([{"port": 3}, {"port": 2}, {"port": 1, "name": "a"}]));
    let patch = json!({"spec": {"$setElementOrder/ports": [{"port": 2}, {"port": 1}, {"port": 3}]}});
    assert_eq!(
        patched("", "Service", old, &patch)["spec"]["ports"],
        json!([{"port": 2}, {"port": 1}, {"port": 3}])
    );
}

#[test]
fn lists_without_a_merge_strategy_are_replaced() {
    let old = json!({"spec": {"externalIPs": ["1.1.1.1"]}});
    let patch = json!({"spec": {"externalIPs": ["2.2.2.2"]}});
    assert_eq!(patched("", "Service", old, &patch)["spec"]["externalIPs"], json!(["2.2.2.2"]));
}

#[test]
fn directives_replace_and_delete() {
    let old = json!({"spec": {"ports": [{"port": 1}, {"port": 2}], "selector": {"a": "b"}}});
    let replace_list = json!({"spec": {"ports": [{"port": 5}, {"$patch": "replace"}]}});
    assert_eq!(patched("", "Service", old.clone(), &replace_list)["spec"]["ports"], json!([{"port": 5}]));
    let replace_map = json!({"spec": {"selector": {"$patch": "replace", "c": "d"}}});
    assert_eq!(patched("", "Service", old.clone(), &replace_map)["spec"]["selector"], json!({"c": "d"}));
    let delete_map = json!({"spec": {"selector": {"$patch": "delete"}}});
    assert!(patched("", "Service", old, &delete_map)["spec"].get("selector").is_none());
}

#[test]
fn finalizers_merge_as_a_set_and_are_deleted_from() {
    let old = json!({"metadata": {"finalizers": ["a", "b"]}});
    let add = json!({"metadata": {"finalizers": ["b", "c"]}});
    assert_eq!(patched("", "Pod", old.clone(), &add)["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let delete = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    assert_eq!(patched("", "Pod", old, &delete)["metadata"]["finalizers"], json!(["b"]));
}

#[test]
fn retain_keys_drops_the_other_members_of_a_union() {
    let old = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(patched("apps", "Deployment", old, &patch)["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[test]
fn containers_of_a_pod_template_merge_by_name() {
    let old = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "side", "image": "s"}]}}}});
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "a:2", "env": [{"name": "Y", "value": "2"}]}]}}}});
    let new = patched("apps", "Deployment", old, &patch);
    assert_eq!(
        new["spec"]["template"]["spec"]["containers"],
        json!([{"name": "web", "image": "a:2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
               {"name": "side", "image": "s"}])
    );
}

#[test]
fn malformed_patches_are_bad_requests() {
    let schema = Schema::builtin();
    let kind = schema.kind("", "v1", "Service").unwrap();
    let table = [
        json!([]),
        json!({"spec": {"ports": [{"name": "no key"}]}}),
        json!({"spec": {"ports": [1]}}),
        json!({"spec": {"$patch": "explode"}}),
        json!({"spec": {"$retainKeys": 1}}),
    ];
    for patch in table {
        assert_eq!(strategic(schema, kind, &mut json!({}), &patch).unwrap_err().code, 400, "{patch}");
    }
}
