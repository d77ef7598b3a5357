//! Six Services of different kinds, rule by rule, and how many rules a cluster makes.

use std::collections::BTreeSet;

use super::*;

fn six_services() -> Scene {
    let health = json!(30000);
    Scene::new(&[
        service("ns1", "svc1", "172.30.0.41", json!({})),
        service(
            "ns2",
            "svc2",
            "172.30.0.42",
            json!({
                "spec": {
                    "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": health,
                    "ports": [{"name": "p80", "port": 80, "nodePort": 3001}], "externalIPs": ["192.168.99.22"]
                },
                "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
            }),
        ),
        service(
            "ns3",
            "svc3",
            "172.30.0.43",
            json!({"spec": {"type": "NodePort", "ports": [{"name": "p80", "port": 80, "nodePort": 3003}]}}),
        ),
        service(
            "ns4",
            "svc4",
            "172.30.0.44",
            json!({"spec": {"type": "NodePort", "externalIPs": ["192.168.99.33"]}}),
        ),
        service(
            "ns5",
            "svc5",
            "172.30.0.45",
            json!({
                "spec": {
                    "type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "healthCheckNodePort": health,
                    "ports": [{"name": "p80", "port": 80, "nodePort": 3002}],
                    "loadBalancerSourceRanges": [" 203.0.113.0/25"], "sessionAffinity": "ClientIP",
                    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}
                },
                "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}}
            }),
        ),
        service("ns6", "svc6", "172.30.0.46", json!({})),
        slice("ns1", "svc1", &[("10.180.0.1", None)]),
        slice("ns2", "svc2", &[("10.180.0.2", None)]),
        slice("ns3", "svc3", &[("10.180.0.3", None)]),
        slice("ns4", "svc4", &[("10.180.0.4", None), ("10.180.0.5", Some("test-node"))]),
        slice("ns5", "svc5", &[("10.180.0.3", None)]),
    ])
}

#[test]
fn six_services_give_the_rules_that_kube_proxy_gives_in_its_order() {
    let expected = Tables::parse(include_str!("six-services.txt")).unwrap();
    let got = Tables::parse(&six_services().rules().to_string()).unwrap();
    for table in expected.iter() {
        let names = |table: &crate::xtables::text::Table| -> BTreeSet<String> {
            table.chains().iter().map(|chain| chain.name.clone()).collect()
        };
        assert_eq!(names(got.table(&table.name).unwrap()), names(table));
        for chain in table.chains() {
            let rules = |tables: &Tables| -> Vec<String> {
                let rules = &tables.chain(&table.name, &chain.name).unwrap().rules;
                // kube-proxy's own test has its own way of writing the mark.
                rules.iter().map(|rule| rule.as_str().replace("0x004000", "0x4000")).collect()
            };
            assert_eq!(rules(&got), rules(&expected), "{} {}", table.name, chain.name);
        }
    }
}

#[test]
fn each_rule_is_in_its_chain_whether_loaded_by_service_or_printed_by_chain() {
    let rules = six_services().rules();
    let printed = Tables::parse(&rules.tables().to_string()).unwrap();
    assert_eq!(printed, rules.tables());
    for table in Tables::parse(&rules.to_string()).unwrap().iter() {
        for chain in table.chains() {
            assert_eq!(Some(chain), printed.chain(&table.name, &chain.name));
        }
    }
}

/// Services, endpoints each, whether of type LoadBalancer; how many rules of the filter and the nat table.
const COUNTS: [(u8, u8, bool, usize, usize); 14] = [
    (0, 0, false, 4, 5),
    (1, 0, false, 5, 5),
    (1, 1, false, 4, 10),
    (1, 2, false, 4, 13),
    (1, 10, false, 4, 37),
    (10, 0, false, 14, 5),
    (10, 1, false, 4, 55),
    (10, 10, false, 4, 325),
    (1, 0, true, 8, 5),
    (1, 1, true, 5, 18),
    (1, 10, true, 5, 45),
    (10, 0, true, 44, 5),
    (10, 2, true, 14, 165),
    (10, 10, true, 14, 405),
];

#[test]
fn clusters_make_as_many_rules_as_with_kube_proxy() {
    for (services, endpoints, balanced, filter, nat) in COUNTS {
        let mut objects = Vec::new();
        for number in 0..services {
            let name = format!("svc{number}");
            let mut port = json!({"name": "p80", "port": 80 + u16::from(number)});
            let mut fields = json!({"spec": {}});
            if balanced {
                port["nodePort"] = json!(30000 + u16::from(number));
                fields = json!({
                    "spec": {
                        "type": "LoadBalancer", "externalIPs": ["1.2.3.4"],
                        "loadBalancerSourceRanges": [" 1.2.3.4/28"]
                    },
                    "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
                });
            }
            fields["spec"]["ports"] = json!([port]);
            objects.push(service("namespace", &name, &format!("10.0.0.{}", number + 1), fields));
            let addresses: Vec<_> = (1..=endpoints).map(|endpoint| format!("172.16.0.{endpoint}")).collect();
            let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), None)).collect();
            objects.push(slice("namespace", &name, &endpoints));
        }
        let counts = Scene::new(&objects).rules().counts();
        assert_eq!(counts, (filter, nat), "{services} Services of {endpoints:?}");
    }
}
