//! The cells that kubectl get prints.

use super::*;
use crate::schema::Schema;

fn cells(group: &str, kind: &str, mut object: Value) -> String {
    let kind = Schema::builtin().kind(group, "v1", kind).unwrap();
    object["metadata"]["name"] = json!("x");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let now = "2026-01-01T00:02:30Z".parse().unwrap();
    let row = row(kind, &object, now);
    assert_eq!(row.len(), columns(kind).len());
    let texts = row.iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned));
    texts.collect::<Vec<_>>().join("|")
}

#[test]
fn every_kind_has_as_many_cells_as_columns() {
    for kind in Schema::builtin().kinds() {
        assert_eq!(row(kind, &json!({}), Timestamp::UNIX_EPOCH).len(), columns(kind).len(), "{}", kind.kind);
    }
}

#[test]
fn services_show_how_they_are_reached() {
    let table = [
        (
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 443, "protocol": "TCP"}]}),
            "x|ClusterIP|10.96.0.1|<none>|443/TCP|2m30s|<none>",
        ),
        (
            json!({"type": "NodePort", "clusterIP": "10.96.0.2", "ports": [{"port": 8080, "nodePort": 31688, "protocol": "TCP"}], "selector": {"app": "web"}}),
            "x|NodePort|10.96.0.2|<none>|8080:31688/TCP|2m30s|app=web",
        ),
        (json!({"type": "ClusterIP", "clusterIP": "None"}), "x|ClusterIP|None|<none>|<none>|2m30s|<none>"),
        (
            json!({"type": "ExternalName", "externalName": "a.b"}),
            "x|ExternalName|<none>|a.b|<none>|2m30s|<none>",
        ),
        (json!({"type": "LoadBalancer"}), "x|LoadBalancer|<none>|<pending>|<none>|2m30s|<none>"),
    ];
    for (spec, expected) in table {
        assert_eq!(cells("", "Service", json!({"spec": spec})), expected);
    }
    let balanced = json!({"spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.9"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}, {"hostname": "lb"}, {"ip": "192.0.2.1"}]}}});
    assert!(cells("", "Service", balanced).contains("|192.0.2.1,192.0.2.2,lb,192.0.2.9|"));
}

#[test]
fn endpoints_show_the_first_three() {
    let ip = |last: u8| json!({"ip": format!("10.244.0.{last}")});
    let endpoints =
        json!({"subsets": [{"addresses": [ip(1), ip(2), ip(3), ip(4)], "ports": [{"port": 80}]}]});
    assert_eq!(
        cells("", "Endpoints", endpoints),
        "x|10.244.0.1:80,10.244.0.2:80,10.244.0.3:80 + 1 more...|2m30s"
    );
    assert_eq!(cells("", "Endpoints", json!({})), "x|<none>|2m30s");
    let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "b"}, {}],
        "endpoints": [{"addresses": ["10.244.0.1"]}, {"addresses": ["10.244.0.2"]}]});
    assert_eq!(
        cells("discovery.k8s.io", "EndpointSlice", slice),
        "x|IPv4|80,b,*|10.244.0.1,10.244.0.2|2m30s"
    );
    assert_eq!(
        cells("discovery.k8s.io", "EndpointSlice", json!({"addressType": "IPv6"})),
        "x|IPv6|<unset>|<unset>|2m30s"
    );
}

#[test]
fn pods_show_the_state_that_matters_most() {
    let pod = |more: Value| {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}], "nodeName": "n"}, "status": {"podIP": "10.244.0.1"}});
        crate::patch::merge(&mut pod, &more);
        let cells = cells("", "Pod", pod);
        cells.split('|').take(4).collect::<Vec<_>>().join("|")
    };
    let status = |phase: &str, state: Value, ready: bool| json!({"status": {"phase": phase, "containerStatuses": [{"name": "a", "state": state, "ready": ready, "restartCount": 0}]}});
    let table = [
        (json!({"status": {"phase": "Pending"}}), "x|0/1|Pending|0"),
        (
            status("Pending", json!({"waiting": {"reason": "ContainerCreating"}}), false),
            "x|0/1|ContainerCreating|0",
        ),
        (status("Running", json!({"running": {}}), true), "x|1/1|Running|0"),
        (
            status("Running", json!({"waiting": {"reason": "CrashLoopBackOff"}}), false),
            "x|0/1|CrashLoopBackOff|0",
        ),
        (
            status("Succeeded", json!({"terminated": {"reason": "Completed", "exitCode": 0}}), false),
            "x|0/1|Completed|0",
        ),
        (status("Failed", json!({"terminated": {"exitCode": 3}}), false), "x|0/1|ExitCode:3|0"),
        (status("Failed", json!({"terminated": {"exitCode": 137, "signal": 9}}), false), "x|0/1|Signal:9|0"),
        (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "x|0/1|Evicted|0"),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}),
            "x|0/1|Terminating|0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Succeeded"}}),
            "x|0/1|Succeeded|0",
        ),
        (
            json!({"status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]},
                   "spec": {"initContainers": [{"name": "i"}]}}),
            "x|0/1|Init:0/1|0",
        ),
        (
            json!({"status": {"phase": "Running", "containerStatuses": [
                {"name": "a", "state": {"running": {}}, "ready": true, "restartCount": 2,
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:02:00Z"}}}]}}),
            "x|1/1|Running|2 (30s ago)",
        ),
    ];
    for (more, expected) in table {
        assert_eq!(pod(more.clone()), expected, "{more}");
    }
    let wide = cells("", "Pod", json!({"spec": {"nodeName": "n"}, "status": {"podIP": "10.244.0.1"}}));
    assert!(wide.ends_with("|10.244.0.1|n|<none>|<none>"), "{wide}");
}

#[test]
fn the_other_kinds_show_their_state() {
    let labels = json!({"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "worker"});
    let node = json!({"metadata": {"labels": labels}, "spec": {"unschedulable": true}, "status": {
        "conditions": [{"type": "Ready", "status": "True"}], "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "nodeInfo": {"kubeletVersion": "v1", "osImage": "d", "kernelVersion": "6", "containerRuntimeVersion": "c"}}});
    assert_eq!(
        cells("", "Node", node),
        "x|Ready,SchedulingDisabled|control-plane,worker|2m30s|v1|192.0.2.1|<none>|d|6|c"
    );
    let containers = json!([{"name": "a", "image": "i:1"}, {"name": "b", "image": "i:2"}]);
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "a"}}, "template": {"spec": {"containers": containers}}});
    let status = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1});
    let object = json!({"spec": spec, "status": status});
    assert_eq!(cells("apps", "Deployment", object.clone()), "x|2/3|3|1|2m30s|a,b|i:1,i:2|app=a");
    assert_eq!(cells("apps", "ReplicaSet", object), "x|3|3|2|2m30s|a,b|i:1,i:2|app=a");
    assert_eq!(cells("", "Namespace", json!({"status": {"phase": "Active"}})), "x|Active|2m30s");
    assert_eq!(cells("", "ConfigMap", json!({"data": {"a": ""}, "binaryData": {"b": ""}})), "x|2|2m30s");
    assert_eq!(cells("", "Secret", json!({"type": "Opaque", "data": {"a": ""}})), "x|Opaque|1|2m30s");
    assert_eq!(cells("coordination.k8s.io", "Lease", json!({"spec": {"holderIdentity": "n"}})), "x|n|2m30s");
    let event = json!({"involvedObject": {"kind": "Pod", "name": "p"}, "type": "Normal", "reason": "Started",
        "message": "m\n", "source": {"component": "agent", "host": "n"}, "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:02:00Z"});
    assert_eq!(cells("", "Event", event), "30s|Normal|Started|pod/p||agent, n|m|2m30s|2|x");
}
