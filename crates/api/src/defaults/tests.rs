//! The defaults of each kind.

use serde_json::json;

use super::*;

fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
    let schema = Schema::builtin();
    let kind = schema.kind(group, "v1", kind).unwrap();
    apply(schema, kind, &mut object);
    let once = object.clone();
    apply(schema, kind, &mut object);
    assert_eq!(once, object, "defaulting is idempotent");
    object
}

#[test]
fn a_service_is_completed() {
    let service =
        defaulted("", "Service", json!({"spec": {"ports": [{"port": 80}, {"port": 1, "targetPort": "x"}]}}));
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
               "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 1, "protocol": "TCP", "targetPort": "x"}]})
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
}

#[test]
fn traffic_policies_depend_on_the_type() {
    let policy = |spec: Value| {
        let service = defaulted("", "Service", json!({"spec": spec}));
        let text = |key: &str| service["spec"][key].as_str().unwrap_or("-").to_owned();
        (text("externalTrafficPolicy"), text("internalTrafficPolicy"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(policy(json!({"type": "NodePort"})), pair("Cluster", "Cluster"));
    assert_eq!(policy(json!({"externalIPs": ["192.0.2.1"]})), pair("Cluster", "Cluster"));
    assert_eq!(
        policy(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"})),
        pair("Local", "Cluster")
    );
    assert_eq!(policy(json!({"type": "ExternalName"})), pair("-", "-"));
    let balanced = defaulted("", "Service", json!({"spec": {"type": "LoadBalancer"}}));
    assert_eq!(balanced["spec"]["allocateLoadBalancerNodePorts"], true);
}

#[test]
fn session_affinity_brings_its_timeout_and_none_drops_it() {
    let sticky = defaulted("", "Service", json!({"spec": {"sessionAffinity": "ClientIP"}}));
    assert_eq!(sticky["spec"]["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
    let config = json!({"clientIP": {"timeoutSeconds": 5}});
    let loose = defaulted("", "Service", json!({"spec": {"sessionAffinityConfig": config}}));
    assert!(loose["spec"].get("sessionAffinityConfig").is_none());
}

#[test]
fn pods_and_templates_are_completed_alike_but_for_pod_only_fields() {
    let spec = json!({"containers": [{"name": "a", "image": "httpd", "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}]});
    let pod = defaulted("", "Pod", json!({"spec": spec}));
    let deployment = defaulted("apps", "Deployment", json!({"spec": {"template": {"spec": spec}}}));
    let template = &deployment["spec"]["template"]["spec"];
    for spec in [&pod["spec"], template] {
        assert_eq!(spec["restartPolicy"], "Always");
        assert_eq!(spec["dnsPolicy"], "ClusterFirst");
        assert_eq!(spec["terminationGracePeriodSeconds"], 30);
        assert_eq!(spec["securityContext"], json!({}));
        let container = &spec["containers"][0];
        assert_eq!(container["imagePullPolicy"], "Always");
        assert_eq!(container["resources"], json!({}));
        assert_eq!(container["terminationMessagePath"], "/dev/termination-log");
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(
            container["readinessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                   "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(spec["volumes"], json!([{"name": "v", "emptyDir": {}}]));
    }
    assert_eq!(pod["spec"]["enableServiceLinks"], true);
    assert!(template.get("enableServiceLinks").is_none());
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
}

#[test]
fn the_pull_policy_follows_the_tag() {
    let digest = format!("a@sha256:{}", "0".repeat(64));
    let table = [
        ("httpd", "Always"),
        ("httpd:latest", "Always"),
        ("httpd:2.4", "IfNotPresent"),
        ("reg:5000/httpd", "Always"),
        ("reg:5000/a/httpd:1", "IfNotPresent"),
        (digest.as_str(), "IfNotPresent"),
    ];
    for (image, expected) in table {
        let pod = defaulted("", "Pod", json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], expected, "{image}");
    }
}

#[test]
fn limits_become_requests_and_decide_the_quality_of_service() {
    let class = |resources: Value| {
        let pod =
            defaulted("", "Pod", json!({"spec": {"containers": [{"name": "a", "resources": resources}]}}));
        pod["status"]["qosClass"].as_str().unwrap().to_owned()
    };
    assert_eq!(class(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), "Guaranteed");
    assert_eq!(class(json!({"limits": {"cpu": "1"}})), "Burstable");
    assert_eq!(class(json!({})), "BestEffort");
}

#[test]
fn workloads_are_completed() {
    let deployment = defaulted("apps", "Deployment", json!({}));
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(deployment["spec"]["progressDeadlineSeconds"], 600);
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    let recreate = defaulted("apps", "Deployment", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let labels = json!({"app": "x"});
    let controller = defaulted(
        "",
        "ReplicationController",
        json!({"spec": {"template": {"metadata": {"labels": labels}}}}),
    );
    assert_eq!((&controller["spec"]["selector"], &controller["metadata"]["labels"]), (&labels, &labels));
}

#[test]
fn other_kinds_are_completed() {
    let namespace = defaulted("", "Namespace", json!({"metadata": {"name": "n"}}));
    assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(namespace["status"]["phase"], "Active");
    assert_eq!(defaulted("", "Secret", json!({}))["type"], "Opaque");
    let secret = defaulted("", "Secret", json!({"data": {"a": "AAEC"}, "stringData": {"b": "text"}}));
    assert_eq!((&secret["data"], secret.get("stringData")), (&json!({"a": "AAEC", "b": "dGV4dA=="}), None));
    let node = defaulted(
        "",
        "Node",
        json!({"spec": {"podCIDR": "10.244.1.0/24"}, "status": {"capacity": {"cpu": "2"}}}),
    );
    assert_eq!(
        (&node["spec"]["podCIDRs"], &node["status"]["allocatable"]),
        (&json!(["10.244.1.0/24"]), &json!({"cpu": "2"}))
    );
    let slice = defaulted("discovery.k8s.io", "EndpointSlice", json!({"ports": [{"port": 1}]}));
    assert_eq!(slice["ports"], json!([{"port": 1, "name": "", "protocol": "TCP"}]));
    let endpoints = defaulted("", "Endpoints", json!({"subsets": [{"ports": [{"port": 1}]}]}));
    assert_eq!(endpoints["subsets"][0]["ports"], json!([{"port": 1, "protocol": "TCP"}]));
}
