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

/// One of few values, so that they meet.
fn key(random: &mut fastrand::Rng) -> Value {
    match random.u8(..12) {
        0 => Value::Null,
        1 => json!("8"),
        2 => json!(8.0),
        3 => json!({"a": 1}),
        n => json!(n),
    }
}

/// A list as objects have it: of elements with a key, some without, some that are no objects.
fn elements(random: &mut fastrand::Rng, merge_key: &str, directives: bool) -> Value {
    let mut list = Vec::new();
    for n in 0..random.usize(..9) {
        let mut element = json!({ merge_key: key(random), "name": format!("n{n}"), "x": random.u8(..3) });
        match random.u8(..24) {
            0 if !directives => element = json!(7),
            1 => drop(element.as_object_mut().map(|element| element.remove(merge_key))),
            2..=5 if directives => element["$patch"] = json!("delete"),
            6 | 7 if directives => element["$patch"] = json!("replace"),
            8 if directives => element["$patch"] = json!("merge"),
            9 if directives => element = json!({"$patch": "delete"}),
            10 if directives => element = json!({"$patch": "replace"}),
            11 if directives => element["$retainKeys"] = json!(["x", merge_key]),
            12 if directives => element["name"] = Value::Null,
            _ => {}
        }
        list.push(element);
    }
    list.into()
}

fn words(random: &mut fastrand::Rng) -> Value {
    (0..random.usize(..6)).map(|_| json!(format!("f{}", random.u8(..5)))).collect()
}

#[test]
fn a_patch_does_what_its_rules_say_whatever_is_in_it() {
    let schema = Schema::builtin();
    let kind = schema.kind("", "v1", "Service").unwrap();
    let mut random = fastrand::Rng::with_seed(11);
    let mut refused = 0;
    for round in 0..20_000 {
        let target = json!({
            "metadata": {"finalizers": words(&mut random)},
            "spec": {"ports": elements(&mut random, "port", false), "externalIPs": words(&mut random)},
        });
        let mut patch = json!({
            "metadata": {"finalizers": words(&mut random), "$deleteFromPrimitiveList/finalizers": words(&mut random)},
            "spec": {"ports": elements(&mut random, "port", true)},
        });
        if random.bool() {
            patch["spec"]["$setElementOrder/ports"] = elements(&mut random, "port", false);
        }
        if random.bool() {
            patch["metadata"]["$setElementOrder/finalizers"] = words(&mut random);
        }
        if random.u8(..8) == 0 {
            patch["spec"].as_object_mut().unwrap().remove("ports");
        }
        let (mut fast, mut plain) = (target.clone(), target.clone());
        let results =
            (strategic(schema, kind, &mut fast, &patch), model::strategic(schema, kind, &mut plain, &patch));
        assert_eq!(results.0, results.1, "{round}: {target} {patch}");
        refused += usize::from(results.0.is_err());
        assert!(results.0.is_err() || fast == plain, "{round}: {target} {patch}\n{fast}\n{plain}");
    }
    assert!((1000..15_000).contains(&refused), "{refused} patches are refused");
}

/// With an algorithm that is quadratic this takes half a minute; `bench hostile` measures it.
#[test]
fn a_patch_of_very_many_ports_keeps_names_and_takes_the_order_that_it_names() {
    const COUNT: u32 = 32_000;
    let target = service(&(0..COUNT).map(|n| json!({"port": n, "name": format!("p{n}")})).collect());
    let patch = json!({"spec": {
        "$setElementOrder/ports": (0..COUNT).rev().map(|n| json!({"port": n})).collect::<Value>(),
        "ports": (0..COUNT).map(|n| json!({"port": n, "x": 1})).collect::<Value>(),
    }});
    let new = patched("", "Service", target, &patch);
    let ports = new["spec"]["ports"].as_array().unwrap();
    assert_eq!(ports.len(), COUNT as usize);
    for (place, port) in ports.iter().enumerate() {
        let number = COUNT - 1 - place as u32;
        assert_eq!(port, &json!({"port": number, "name": format!("p{number}"), "x": 1}));
    }
}
