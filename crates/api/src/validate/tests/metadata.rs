//! The rules of names, labels and annotations.

use super::*;

const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn names_have_the_form_of_their_kind() {
    let errors =
        created("", "Service", json!({"metadata": {"name": "1web"}, "spec": {"ports": [{"port": 1}]}}));
    assert_eq!(errors, [format!("metadata.name: Invalid value: \"1web\": {LABEL_1035}")]);
    assert!(created("", "ConfigMap", json!({"metadata": {"name": "1web.x"}})).is_empty());
    assert_eq!(created("", "Namespace", json!({"metadata": {"name": "a.b"}})).len(), 1);
    let generated = json!({"metadata": {"name": "a-b", "generateName": "a-"}});
    assert!(created("", "ConfigMap", generated).is_empty());
}

#[test]
fn a_name_and_a_namespace_are_needed_and_refused_where_they_belong() {
    let kind = |name| Schema::builtin().kind("", "v1", name).unwrap();
    let texts = |kind, object: Value| -> Vec<String> {
        object_meta(kind, &object).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        texts(kind("ConfigMap"), json!({})),
        [
            "metadata.name: Required value: name or generateName is required",
            "metadata.namespace: Required value"
        ]
    );
    assert_eq!(
        texts(kind("Node"), json!({"metadata": {"name": "n", "namespace": "x"}})),
        ["metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn labels_annotations_and_finalizers_have_their_forms() {
    let metadata = json!({"labels": {"a b": "c d"}, "annotations": {"UPPER.example/x": "any text", "-": ""}, "finalizers": ["x y"]});
    let errors = created("", "ConfigMap", json!({"metadata": metadata}));
    let paths: Vec<&str> = errors.iter().filter_map(|error| error.split(": ").next()).collect();
    assert_eq!(paths, ["metadata.labels", "metadata.labels", "metadata.annotations", "metadata.finalizers"]);
    let big = json!({"metadata": {"annotations": {"a": "x".repeat(256 * 1024)}}});
    assert_eq!(
        created("", "ConfigMap", big),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
}

#[test]
fn owners_are_complete_and_only_one_controls() {
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true});
    let errors = created("", "ConfigMap", json!({"metadata": {"ownerReferences": [owner, owner]}}));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("Only one reference can have Controller set to true"), "{}", errors[0]);
    assert_eq!(
        created("", "ConfigMap", json!({"metadata": {"ownerReferences": [{"kind": "Pod"}]}})).len(),
        3
    );
}

#[test]
fn identity_does_not_change() {
    let old = json!({"metadata": {"uid": "a", "namespace": "n"}});
    assert!(changed("", "ConfigMap", old.clone(), old.clone()).is_empty());
    let new = json!({"metadata": {"uid": "b", "namespace": "n"}});
    assert_eq!(
        changed("", "ConfigMap", new, old.clone()),
        ["metadata.uid: Invalid value: \"b\": field is immutable"]
    );
    let new = json!({"metadata": {"uid": "a", "namespace": "n", "resourceVersion": ""}});
    assert_eq!(
        changed("", "ConfigMap", new, old),
        ["metadata.resourceVersion: Invalid value: \"\": must be specified for an update"]
    );
}

#[test]
fn no_finalizer_is_added_to_what_is_being_deleted() {
    let deleted = |finalizers: Value| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
    let errors = changed("", "ConfigMap", deleted(json!(["a", "b"])), deleted(json!(["a"])));
    assert_eq!(
        errors,
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"b\"}"
        ]
    );
    assert!(changed("", "ConfigMap", deleted(json!([])), deleted(json!(["a"]))).is_empty());
}
