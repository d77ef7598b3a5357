//! Rules of Services; each row is a row of `validateService`.

use super::*;

fn service(spec: &Value) -> Vec<String> {
    created("", "Service", json!({"spec": spec}))
}

#[test]
fn what_the_tutorial_does_is_fine() {
    let fine = [
        json!({"ports": [{"port": 8080, "targetPort": 80}], "selector": {"app": "web"}}),
        json!({"type": "NodePort", "ports": [{"port": 8080, "nodePort": 31688}]}),
        json!({"clusterIP": "None", "selector": {"app": "web"}}),
        json!({"type": "ExternalName", "externalName": "example.com."}),
        json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"], "ports": [{"port": 1}]}),
        json!({"type": "LoadBalancer", "ports": [{"port": 1}], "loadBalancerSourceRanges": ["192.0.2.0/24"]}),
        json!({"sessionAffinity": "ClientIP", "ports": [{"port": 1}]}),
    ];
    for spec in fine {
        assert_eq!(service(&spec), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn each_broken_rule_has_upstreams_text() {
    let port = json!([{"port": 80}]);
    let with = |more: Value| {
        let mut spec = json!({"ports": port});
        crate::patch::merge(&mut spec, &more);
        spec
    };
    let table = [
        (json!({}), "spec.ports: Required value"),
        (
            with(json!({"type": "Foo"})),
            "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ),
        (
            json!({"ports": [{"port": 70000, "targetPort": 1}]}),
            "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"port": 1, "targetPort": 65536}]}),
            "spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
        ),
        (
            json!({"ports": [{"port": 1, "protocol": "tcp"}]}),
            "spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            json!({"ports": [{"port": 1, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (json!({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}), "spec.ports[0].name: Required value"),
        (
            json!({"ports": [{"port": 1, "name": "b"}, {"port": 2, "name": "b"}]}),
            "spec.ports[1].name: Duplicate value: \"b\"",
        ),
        (
            json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}),
            "spec.ports[1]: Duplicate value: {\"port\":1,\"protocol\":\"TCP\",\"targetPort\":0}",
        ),
        (
            json!({"type": "NodePort", "ports": [{"port": 1, "name": "a", "nodePort": 30000}, {"port": 2, "name": "b", "nodePort": 30000}]}),
            "spec.ports[1].nodePort: Duplicate value: 30000",
        ),
        (
            with(json!({"clusterIP": "x"})),
            "spec.clusterIP: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            with(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]})),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`",
        ),
        (
            with(json!({"clusterIPs": ["10.0.0.2"]})),
            "spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: must be empty when `clusterIP` is not specified",
        ),
        (
            with(json!({"type": "NodePort", "clusterIP": "None"})),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        (
            with(json!({"ipFamilies": ["IPv5"]})),
            "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"",
        ),
        (
            with(json!({"sessionAffinity": "x"})),
            "spec.sessionAffinity: Unsupported value: \"x\": supported values: \"ClientIP\", \"None\"",
        ),
        (
            with(
                json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
            ),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        ),
        (
            with(json!({"externalIPs": ["127.0.0.1"]})),
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            with(json!({"loadBalancerSourceRanges": ["192.0.2.0/24"]})),
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            with(json!({"externalTrafficPolicy": "Local"})),
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
        ),
        (
            with(json!({"type": "NodePort", "healthCheckNodePort": 30001})),
            "spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ),
        (
            with(json!({"internalTrafficPolicy": "x"})),
            "spec.internalTrafficPolicy: Unsupported value: \"x\": supported values: \"Cluster\", \"Local\"",
        ),
        (
            with(json!({"trafficDistribution": "x"})),
            "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
        ),
        (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "ipFamilyPolicy": "SingleStack"}),
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
        ),
    ];
    for (spec, expected) in table {
        let errors = service(&spec);
        assert_eq!(errors, [expected], "{spec}");
    }
}

#[test]
fn cluster_ips_stay_once_they_are_given() {
    let with_ip = |ip: &str, kind: &str| json!({"spec": {"type": kind, "clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 1}]}});
    let old = with_ip("10.96.0.5", "ClusterIP");
    assert!(changed("", "Service", with_ip("10.96.0.5", "NodePort"), old.clone()).is_empty());
    assert_eq!(
        changed("", "Service", with_ip("10.96.0.6", "ClusterIP"), old.clone()),
        ["spec.clusterIPs[0]: Invalid value: \"10.96.0.6\": may not change once set"]
    );
    assert_eq!(
        changed("", "Service", json!({"spec": {"ports": [{"port": 1}]}}), old.clone()),
        ["spec.clusterIPs[0]: Invalid value: \"\": primary clusterIP can not be unset"]
    );
    let named = json!({"spec": {"type": "ExternalName", "externalName": "a.b"}});
    assert!(changed("", "Service", named.clone(), old.clone()).is_empty());
    assert!(changed("", "Service", old, named).is_empty());
}

#[test]
fn a_load_balancers_answer_is_checked() {
    let balanced = |ingress: Value| {
        created(
            "",
            "Service",
            json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}]},
                                      "status": {"loadBalancer": {"ingress": ingress}}}),
        )
    };
    assert!(balanced(json!([{"ip": "192.0.2.1"}, {"hostname": "lb.example"}])).is_empty());
    assert_eq!(balanced(json!([{"hostname": "192.0.2.1"}])).len(), 1);
    assert_eq!(balanced(json!([{"hostname": "a", "ipMode": "VIP"}])).len(), 1);
}
