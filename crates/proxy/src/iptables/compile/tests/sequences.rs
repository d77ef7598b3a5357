//! Random objects: any sequence of changes leaves what one fresh load gives, and packets go where the model says.

use std::collections::BTreeMap;

use service::{Client, Entrance, Event, Outcome, PortView};

use super::*;
use crate::xtables::trace::Walker;
use crate::{Fate, Packet, Tracer};

/// Numbers that look random and are the same each time (the constants are Knuth's for MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A Service with any combination of what changes its rules.
fn any_service(numbers: &mut Numbers, number: u64) -> Value {
    let mut spec = json!({
        "type": numbers.pick(&["ClusterIP", "NodePort", "LoadBalancer"]),
        "sessionAffinity": numbers.pick(&["None", "ClientIP"]),
        "internalTrafficPolicy": numbers.pick(&["Cluster", "Local"]),
        "externalTrafficPolicy": numbers.pick(&["Cluster", "Local"]),
        "ports": [{"name": "p80", "port": 80, "protocol": numbers.pick(&["TCP", "UDP", "SCTP"])}]
    });
    if spec["type"] != "ClusterIP" {
        spec["ports"][0]["nodePort"] = json!(30_000 + number);
    }
    if numbers.below(3) == 0 {
        spec["externalIPs"] = json!([format!("192.168.99.{number}")]);
    }
    if numbers.below(2) == 0 {
        spec["loadBalancerSourceRanges"] = json!(["203.0.113.0/25"]);
    }
    let status = match numbers.below(2) {
        0 => json!({"loadBalancer": {"ingress": [{"ip": format!("5.6.7.{number}")}]}}),
        _ => json!({}),
    };
    service(
        "ns",
        &format!("svc{number}"),
        &format!("172.30.0.{number}"),
        json!({"spec": spec, "status": status}),
    )
}

fn any_slice(numbers: &mut Numbers, number: u64) -> Value {
    let addresses: Vec<_> = (0..numbers.below(4)).map(|_| format!("10.180.0.{}", numbers.below(9))).collect();
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| (address.as_str(), Some(numbers.pick(&["test-node", "other"]))))
        .collect();
    let mut slice = slice("ns", &format!("svc{number}"), &endpoints);
    slice["ports"][0]["protocol"] = json!(numbers.pick(&["TCP", "UDP", "SCTP"]));
    slice
}

/// What the kernel would hold.
fn chains(tables: &Tables) -> BTreeMap<(String, String), Vec<String>> {
    let chains = tables.iter().flat_map(|table| table.chains().iter().map(move |chain| (table, chain)));
    let rules = |chain: &crate::xtables::text::Chain| chain.rules.iter().map(ToString::to_string).collect();
    chains.map(|(table, chain)| ((table.name.clone(), chain.name.clone()), rules(chain))).collect()
}

#[test]
fn any_sequence_of_changes_leaves_what_one_fresh_load_gives() {
    let mut numbers = Numbers(7);
    let mut scene = Scene::new(&[]);
    let mut rules = scene.rules();
    let mut held = rules.tables();
    for step in 0..600 {
        let mut changed = service::Changed::new();
        for _ in 0..=numbers.below(3) {
            let number = numbers.below(6);
            let object = match numbers.below(5) {
                0..2 => any_service(&mut numbers, number),
                2..4 => any_slice(&mut numbers, number),
                _ => {
                    let gone = serde_json::from_value(any_service(&mut numbers, number)).unwrap();
                    scene.cluster.service_event(Event::Delete(gone), &mut changed);
                    continue;
                }
            };
            changed.extend(scene.apply(&[object]));
        }
        if step % 100 == 99 {
            scene.config.masquerade_all ^= true;
        }
        let change = rules.update(&scene.sight(), &Touched::Services(&changed));
        let script = rules.script(&change);
        script.load_into(&mut held);
        assert_eq!(chains(&held), chains(&scene.tables()), "step {step}: {script}");
    }
}

/// Who sends: a pod of the node, the node, somebody else.
const CLIENTS: [(&str, Client); 3] =
    [("10.0.0.2", Client::Pod), ("192.168.0.2", Client::Node), ("203.0.113.2", Client::Outside)];

#[test]
fn packets_go_where_the_model_says() {
    let mut numbers = Numbers(11);
    let mut packets = 0;
    for _ in 0..150 {
        let objects: Vec<_> = (0..6)
            .flat_map(|number| [any_service(&mut numbers, number), any_slice(&mut numbers, number)])
            .collect();
        let scene = Scene::new(&objects);
        let walker = Walker::new(&scene.tables(), &scene.node);
        for view in scene.sight().all_ports() {
            let mut fronts = vec![(view.cluster_ip, view.port.port)];
            fronts.extend(view.external_ips().map(|address| (address, view.port.port)));
            fronts.extend(view.load_balancer_ips().map(|address| (address, view.port.port)));
            fronts.extend(view.port.node_port.map(|port| (scene.node.addresses[0], port)));
            for ((address, port), (source, client)) in
                fronts.iter().flat_map(|front| CLIENTS.map(|client| (front, client)))
            {
                let packet = Packet {
                    source: source.parse().unwrap(),
                    destination: (*address, *port).into(),
                    protocol: view.port.protocol,
                    interface: None,
                };
                let branches = walker.trace(&packet).unwrap();
                let mut fates: Vec<_> = branches.iter().map(|branch| branch.fate).collect();
                fates.sort_unstable();
                assert_eq!(fates, expected(&view, &packet, client), "{packet:?} {:?}", view.service);
                packets += 1;
            }
        }
    }
    assert!(packets > 3000, "{packets}");
}

/// What the model says, and where kube-proxy's rules say otherwise.
fn expected(view: &PortView<'_>, packet: &Packet, client: Client) -> Vec<Fate> {
    let to = packet.destination.ip();
    let entrance = if to == view.cluster_ip { Entrance::Internal } else { Entrance::External };
    let answer = view.choice.answer(entrance, client);
    let kept_out = view.load_balancer_ips().any(|address| address == to)
        && view.choice.any
        && view
            .source_ranges()
            .is_some_and(|ranges| !ranges.iter().any(|range| range.contains(packet.source)));
    let serves = |endpoint: &service::Endpoint| Fate::Endpoint {
        address: endpoint.address,
        masquerade: answer.masquerade || endpoint.address.ip() == packet.source,
    };
    let mut fates = match answer.outcome {
        _ if kept_out => vec![Fate::Drop],
        // The rules that refuse such packets are not asked about those that the node itself sends elsewhere.
        Outcome::Reject if client == Client::Node && entrance == Entrance::External && !is_node(to) => {
            vec![Fate::Pass]
        }
        Outcome::Reject => vec![Fate::Reject],
        Outcome::Drop => vec![Fate::Drop],
        Outcome::Serve(list) => list.endpoints.iter().map(serves).collect(),
    };
    fates.sort_unstable();
    fates
}

fn is_node(address: std::net::IpAddr) -> bool {
    CLIENTS.iter().any(|(source, client)| *client == Client::Node && source.parse() == Ok(address))
}
