//! Connections as the elements of the maps count them.
//!
//! All that is told comes from the kernel, so whoever asks need not wait for changes of the rules, nor they for him.
//! An element that changes begins anew. A comment has room for 127 bytes: namespace and name of a Service always fit,
//! the name of a port may be cut.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use nfnetlink::{Element, Error, Socket};

use super::layout::{self, CountingSet, Counts};
use crate::mode::{Count, Counted, Counter};

/// Reads the counts of the table in the network namespace of the socket.
pub(super) fn counter(mut socket: Socket) -> Counter {
    Box::new(move || Counted { connections: read_or_log(&mut socket), ..Counted::default() })
}

/// As [`read`]; nothing where the kernel does not answer.
pub(super) fn read_or_log(socket: &mut Socket) -> Vec<Count> {
    read(socket).unwrap_or_else(|error| {
        tracing::debug!(%error, "the Service rules could not be asked what they counted");
        Vec::new()
    })
}

/// Reads the counts of all Service ports and of their endpoints, in order of name.
fn read(socket: &mut Socket) -> Result<Vec<Count>, Error> {
    let table = layout::table();
    let sets = CountingSet::all().map(|set| Ok((set, socket.elements(&table, set.name())?)));
    Ok(sum(&sets.collect::<Result<Vec<_>, Error>>()?))
}

/// The counts of all Service ports that serve, and of their endpoints.
fn sum(sets: &[(CountingSet, Vec<Element>)]) -> Vec<Count> {
    let elements = || {
        let all = sets.iter().flat_map(|(set, elements)| elements.iter().map(move |element| (set, element)));
        all.filter_map(|(set, element)| Some((set.read(element)?, element)))
    };
    let mut names: HashMap<_, Arc<str>> = HashMap::new();
    let mut remembering = HashSet::new();
    for (counts, element) in elements() {
        match counts {
            Counts::Front(front) => drop(names.insert(front, element.comment.as_str().into())),
            Counts::Sticky(front, _) => drop(remembering.insert(front)),
            Counts::Drawn(..) => {}
        }
    }
    let mut sums: BTreeMap<(Arc<str>, Option<SocketAddr>), u64> = BTreeMap::new();
    for (counts, element) in elements() {
        let (front, endpoint) = match counts {
            Counts::Front(front) => (front, None),
            // Where clients stay, each connection is counted with the endpoint that it stays with.
            Counts::Drawn(front, _) if remembering.contains(&front) => continue,
            Counts::Drawn(front, endpoint) | Counts::Sticky(front, endpoint) => (front, Some(endpoint)),
        };
        // A front that was read before it came, or after it went, has no name.
        let Some(service) = names.get(&front) else { continue };
        let packets = element.counter.0.map_or(0, |counter| counter.packets);
        *sums.entry((service.clone(), endpoint)).or_default() += packets;
    }
    let count = |((service, endpoint), connections)| Count { service, endpoint, connections };
    sums.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::iptables::scene::{service, slice};
    use crate::nftables::compile_rules;
    use crate::nftables::scene::Scene;

    /// What the elements of a Service with two endpoints count when each has met one connection.
    fn counts(spec: Value) -> Vec<String> {
        let objects = [
            service("ns1", "web", "172.30.0.41", json!({"spec": spec})),
            slice("ns1", "web", &[("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("elsewhere"))]),
        ];
        let rules = compile_rules(&Scene::new(&objects).sight());
        let once = nfnetlink::Counter { packets: 1, bytes: 60 };
        let met = |element: &Element| Element { counter: nfnetlink::Live(Some(once)), ..element.clone() };
        let sets: Vec<_> = CountingSet::all()
            .map(|set| (set, rules.set(set.name()).unwrap().elements().map(met).collect()))
            .collect();
        let counts = sum(&sets).into_iter();
        counts
            .map(|Count { service, endpoint, connections }| match endpoint {
                Some(endpoint) => format!("{service} {endpoint} {connections}"),
                None => format!("{service} {connections}"),
            })
            .collect()
    }

    #[test]
    fn a_service_port_counts_what_comes_in_at_all_its_fronts_and_what_each_endpoint_gets() {
        let node_port = json!({"type": "NodePort", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}]});
        assert_eq!(
            counts(node_port),
            ["ns1/web:p80 2", "ns1/web:p80 10.180.0.1:80 2", "ns1/web:p80 10.180.1.1:80 2"]
        );
    }

    #[test]
    fn where_clients_stay_connections_are_counted_with_the_endpoint_they_stay_with() {
        let sticky = json!({
            "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}},
        });
        assert_eq!(
            counts(sticky),
            ["ns1/web:p80 1", "ns1/web:p80 10.180.0.1:80 1", "ns1/web:p80 10.180.1.1:80 1"]
        );
    }
}
