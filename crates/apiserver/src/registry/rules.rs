//! What single kinds do differently, as one table.

use api::schema::Kind;
use serde_json::{Value, json};

use crate::object;

/// The deviations of one kind from the common path.
pub(super) struct Rules {
    group: &'static str,
    kind: &'static str,
    /// Completes a new object after the defaults: what a client cannot set itself.
    pub(super) on_create: fn(&mut Value),
    /// Whether a PUT of an object that does not exist creates it.
    pub(super) create_on_update: bool,
    /// Whether a PUT must say which resource version it is based on.
    pub(super) needs_version: bool,
    /// Whether a deletion is answered with the object's last state instead of a Status.
    pub(super) returns_deleted: bool,
    /// Whether a new object keeps the status that its client sent.
    pub(super) keeps_status: bool,
    /// The grace period that a deletion gives the object, in seconds, if the object has one.
    pub(super) grace: fn(&Value, Option<i64>) -> Option<i64>,
}

const COMMON: Rules = Rules {
    group: "",
    kind: "",
    on_create: |_| {},
    create_on_update: false,
    needs_version: false,
    returns_deleted: false,
    keeps_status: false,
    grace: |_, _| None,
};

const TABLE: &[Rules] = &[
    Rules { kind: "Pod", on_create: new_pod, returns_deleted: true, grace: pod_grace, ..COMMON },
    Rules {
        kind: "Service",
        on_create: new_service,
        create_on_update: true,
        returns_deleted: true,
        ..COMMON
    },
    Rules { kind: "ServiceAccount", returns_deleted: true, ..COMMON },
    Rules { kind: "Namespace", on_create: new_namespace, returns_deleted: true, ..COMMON },
    Rules { kind: "Node", keeps_status: true, ..COMMON },
    Rules { kind: "Endpoints", create_on_update: true, ..COMMON },
    Rules { kind: "Event", create_on_update: true, ..COMMON },
    Rules {
        group: "coordination.k8s.io",
        kind: "Lease",
        create_on_update: true,
        needs_version: true,
        ..COMMON
    },
];

/// The rules of a kind.
pub(super) fn of(kind: &Kind) -> &'static Rules {
    TABLE.iter().find(|rules| kind.is(rules.group, rules.kind)).unwrap_or(&COMMON)
}

fn new_pod(pod: &mut Value) {
    let qos = quality_of_service(pod);
    pod["status"] = json!({ "phase": "Pending", "qosClass": qos });
    let spec = object::section(pod, "spec");
    if spec.get("serviceAccountName").and_then(Value::as_str).unwrap_or_default().is_empty() {
        spec.insert("serviceAccountName".to_owned(), "default".into());
    }
    let account = spec["serviceAccountName"].clone();
    spec.insert("serviceAccount".to_owned(), account);
}

fn new_service(service: &mut Value) {
    service["status"] = json!({ "loadBalancer": {} });
}

fn new_namespace(namespace: &mut Value) {
    namespace["status"] = json!({ "phase": "Active" });
}

/// The class of a pod by its requests and limits (KEP-753 and the documentation of pod QoS).
fn quality_of_service(pod: &Value) -> &'static str {
    let lists = ["containers", "initContainers"];
    let containers: Vec<&Value> =
        lists.iter().filter_map(|list| pod["spec"][*list].as_array()).flatten().collect();
    let amount = |container: &Value, which: &str, resource: &str| {
        container["resources"][which].get(resource).filter(|value| !value.is_null()).cloned()
    };
    let resources = ["cpu", "memory"];
    let any = containers.iter().any(|container| {
        resources.iter().any(|resource| {
            amount(container, "requests", resource).or(amount(container, "limits", resource)).is_some()
        })
    });
    let guaranteed = containers.iter().all(|container| {
        resources.iter().all(|resource| {
            let limit = amount(container, "limits", resource);
            let request = amount(container, "requests", resource);
            limit.is_some() && (request.is_none() || request == limit)
        })
    });
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A pod that may be running gets its grace period; one that no node has, or that has ended, none.
fn pod_grace(pod: &Value, asked: Option<i64>) -> Option<i64> {
    let assigned = pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty());
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !assigned || ended {
        return Some(0);
    }
    let seconds = asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30);
    Some(if seconds < 0 { 1 } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: &Value) -> Value {
        json!({ "spec": { "containers": [{ "resources": resources }] } })
    }

    #[test]
    fn the_quality_of_service_follows_requests_and_limits() {
        for (resources, class) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}), "Burstable"),
        ] {
            assert_eq!(quality_of_service(&pod(&resources)), class, "{resources}");
        }
    }

    #[test]
    fn only_a_pod_that_may_run_is_given_a_grace_period() {
        let mut pod = json!({"spec": {"terminationGracePeriodSeconds": 7}});
        assert_eq!(pod_grace(&pod, None), Some(0));
        pod["spec"]["nodeName"] = json!("n1");
        assert_eq!(pod_grace(&pod, None), Some(7));
        assert_eq!(pod_grace(&pod, Some(0)), Some(0));
        assert_eq!(pod_grace(&pod, Some(-5)), Some(1));
        pod["status"] = json!({"phase": "Succeeded"});
        assert_eq!(pod_grace(&pod, None), Some(0));
    }
}
