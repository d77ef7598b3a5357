//! Rules of pods and their controllers.

use super::*;

fn pod(spec: &Value) -> Vec<String> {
    created("", "Pod", json!({"spec": spec}))
}

fn deployment(selector: &Value, labels: &Value) -> Value {
    json!({"spec": {"selector": selector, "template": {
        "metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}]}}}})
}

#[test]
fn each_broken_pod_rule_has_upstreams_text() {
    let table = [
        (json!({}), "spec.containers: Required value"),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value"),
        (json!({"containers": [{"image": "a"}]}), "spec.containers[0].name: Required value"),
        (
            json!({"containers": [{"name": "a", "image": "b"}, {"name": "a", "image": "b"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 99999}]}]}),
            "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "imagePullPolicy": "x"}]}),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"x\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "readinessProbe": {}}]}),
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}}]}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "securityContext": {"runAsUser": 4_294_967_296_i64}}]}),
            "spec.containers[0].securityContext.runAsUser: Invalid value: 4294967296: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "securityContext": {"fsGroup": -1, "runAsGroup": 7}}),
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "securityContext": {"supplementalGroups": [1, i64::MAX]}}),
            "spec.securityContext.supplementalGroups[1]: Invalid value: 9223372036854775807: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o4755}}]}),
            "spec.volumes[0].secret.defaultMode: Invalid value: 2541: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "..data"}]}}]}),
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"..data\": must not start with '..'",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "a/../../b", "mode": 384}]}}]}}]}),
            "spec.volumes[0].projected.sources[0].secret.items[0].path: Invalid value: \"a/../../b\": must not contain '..'",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "-1"}}]}),
            "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Sometimes"}),
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "dnsPolicy": "None"}),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b"}], "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]}),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            json!({"containers": [{"name": "a", "image": "b", "env": [{"name": "A=B"}]}]}),
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
    ];
    for (spec, expected) in table {
        assert_eq!(pod(&spec), [expected], "{spec}");
    }
}

#[test]
fn a_pod_changes_its_image_and_little_else() {
    let old = json!({"spec": {"containers": [{"name": "a", "image": "b:1"}]}});
    assert!(
        changed("", "Pod", json!({"spec": {"containers": [{"name": "a", "image": "b:2"}]}}), old.clone())
            .is_empty()
    );
    let errors =
        changed("", "Pod", json!({"spec": {"containers": [{"name": "z", "image": "b:1"}]}}), old.clone());
    assert!(
        errors[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
        "{errors:?}"
    );
    let more = json!({"spec": {"containers": [{"name": "a", "image": "b:1"}, {"name": "c", "image": "b"}]}});
    assert_eq!(
        changed("", "Pod", more, old),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
}

#[test]
fn a_selector_must_select_its_own_template_and_never_changes() {
    let fine = deployment(&json!({"matchLabels": {"app": "a"}}), &json!({"app": "a"}));
    for kind in ["Deployment", "ReplicaSet"] {
        assert!(created("apps", kind, fine.clone()).is_empty());
        let missed = deployment(&json!({"matchLabels": {"app": "a"}}), &json!({"app": "b"}));
        assert_eq!(
            created("apps", kind, missed),
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(
            created("apps", kind, deployment(&json!(null), &json!({"app": "b"}))),
            [
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(
            created("apps", kind, deployment(&json!({}), &json!({}))),
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
        );
        let other = deployment(&json!({"matchLabels": {"app": "b"}}), &json!({"app": "b"}));
        assert_eq!(
            changed("apps", kind, other, fine.clone()),
            ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]
        );
    }
}

#[test]
fn deployments_restart_their_pods_and_roll_within_limits() {
    let mut once = deployment(&json!({"matchLabels": {"app": "a"}}), &json!({"app": "a"}));
    once["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    assert_eq!(
        created("apps", "Deployment", once),
        ["spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""]
    );
    let mut stuck = deployment(&json!({"matchLabels": {"app": "a"}}), &json!({"app": "a"}));
    stuck["spec"]["strategy"] = json!({"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}});
    assert_eq!(
        created("apps", "Deployment", stuck),
        ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]
    );
    let mut negative = deployment(&json!({"matchLabels": {"app": "a"}}), &json!({"app": "a"}));
    negative["spec"]["replicas"] = json!(-1);
    assert_eq!(
        created("apps", "Deployment", negative),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    );
}

#[test]
fn a_replication_controller_may_take_its_selector_from_the_template() {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}});
    assert!(created("", "ReplicationController", json!({"spec": {"template": template}})).is_empty());
    assert_eq!(
        created("", "ReplicationController", json!({"spec": {"selector": {"a": "b"}}})),
        ["spec.template: Required value"]
    );
}
