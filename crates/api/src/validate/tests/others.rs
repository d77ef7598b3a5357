//! Rules of the other kinds.

use super::*;

#[test]
fn endpoints_have_usable_addresses_and_named_ports() {
    let endpoints = |subset: Value| created("", "Endpoints", json!({"subsets": [subset]}));
    assert!(endpoints(json!({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]})).is_empty());
    let table = [
        (
            json!({"ports": [{"port": 80}]}),
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
        ),
        (
            json!({"addresses": [{"ip": "127.0.0.1"}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            json!({"addresses": [{"ip": "x"}]}),
            "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            json!({"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}, {"port": 81, "name": "b"}]}),
            "subsets[0].ports[0].name: Required value",
        ),
    ];
    for (subset, expected) in table {
        assert_eq!(endpoints(subset.clone()), [expected], "{subset}");
    }
}

#[test]
fn slices_hold_addresses_of_one_type() {
    let slice = |object: Value| created("discovery.k8s.io", "EndpointSlice", object);
    let fine =
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"port": 80}]});
    assert!(slice(fine.clone()).is_empty());
    let table = [
        (json!({"endpoints": []}), "addressType: Required value"),
        (
            json!({"addressType": "x"}),
            "addressType: Unsupported value: \"x\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
        ),
        (
            json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]}),
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
        (
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["2001:db8::1"]}]}),
            "endpoints[0].addresses: Invalid value: \"2001:db8::1\": must be an IPv4 address",
        ),
        (
            json!({"addressType": "IPv4", "endpoints": vec![json!({"addresses": ["192.0.2.1"]}); 1001]}),
            "endpoints: Too many: 1001: must have at most 1000 items",
        ),
        (
            json!({"addressType": "IPv4", "endpoints": [], "ports": [{"name": "a"}, {"name": "a"}]}),
            "ports[1].name: Duplicate value: \"a\"",
        ),
    ];
    for (object, expected) in table {
        assert_eq!(slice(object), [expected]);
    }
    let mut other = fine.clone();
    other["addressType"] = json!("IPv6");
    other["endpoints"][0]["addresses"] = json!(["2001:db8::1"]);
    assert_eq!(
        changed("discovery.k8s.io", "EndpointSlice", other, fine),
        ["addressType: Invalid value: \"IPv6\": field is immutable"]
    );
}

#[test]
fn config_keys_are_file_names_and_immutable_data_stays() {
    let errors = created("", "ConfigMap", json!({"data": {"a/b": ""}}));
    assert!(
        errors[0].starts_with("data[a/b]: Invalid value: \"a/b\": a valid config key must consist of"),
        "{errors:?}"
    );
    let old = json!({"immutable": true, "data": {"a": "1"}});
    assert_eq!(
        changed("", "ConfigMap", json!({"immutable": true, "data": {"a": "2"}}), old.clone()),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        changed("", "Secret", json!({"type": "x"}), json!({})),
        ["type: Invalid value: \"x\": field is immutable"]
    );
    assert_eq!(
        created("", "Secret", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})),
        ["data[tls.key]: Required value"]
    );
}

#[test]
fn nodes_keep_their_pod_network() {
    let node = |cidr: &str| json!({"spec": {"podCIDR": cidr}});
    assert!(changed("", "Node", node("10.244.1.0/24"), json!({})).is_empty());
    assert_eq!(
        changed("", "Node", node("10.244.2.0/24"), node("10.244.1.0/24")),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
    assert_eq!(created("", "Node", node("x")).len(), 1);
}

#[test]
fn leases_and_events_are_consistent() {
    assert_eq!(
        created("coordination.k8s.io", "Lease", json!({"spec": {"leaseDurationSeconds": 0}})),
        ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
    );
    assert!(created("", "Event", json!({"involvedObject": {"kind": "Node"}})).is_empty());
    assert_eq!(
        created("", "Event", json!({"involvedObject": {"namespace": "other"}})),
        ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
    );
}
