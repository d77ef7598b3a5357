//! What a Service port adds (`syncProxyRules`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nfnetlink::expr::{FibAddress, LookupResult};
use nfnetlink::{Chain, DataType, Element, ElementData, Expr, KeyType, Set, SetContent, Verdict};
use service::objects::SessionAffinity;
use service::{Cidr, Endpoint, List, PortView};

use super::base::{
    CLUSTER_IPS, FIREWALL_IPS, HAIRPINS, NO_ENDPOINT_NODE_PORTS, NO_ENDPOINT_SERVICES, REJECT, SERVICE_IPS,
    SERVICE_NODE_PORTS, from_pods,
};
use super::name;
use super::writer::{Side, Writer, goto, local, mark, only, to, vmap};
use crate::nftables::layout::{KEY, dnat, key_register, octets};
use crate::sight::Sight;

/// Names of the chains that a Service port may have.
struct Chains {
    cluster: String,
    local: String,
    external: String,
    firewall: String,
}

/// Adds chains, rules and elements of a Service port.
pub(super) fn write(sight: &Sight<'_>, view: &PortView<'_>, writer: &mut Writer) {
    let base = name::of_port(view);
    let named = |prefix: &str| format!("{prefix}-{base}");
    let chains = Chains {
        cluster: named("service"),
        local: named("local"),
        external: named("external"),
        firewall: named("firewall"),
    };
    let lists = [
        (&chains.cluster, &view.choice.cluster, view.uses_cluster_endpoints()),
        (&chains.local, &view.choice.local, view.uses_local_endpoints()),
    ];
    let used: Vec<(&String, &List)> = lists
        .into_iter()
        .filter(|(_, list, used)| *used && !list.endpoints.is_empty())
        .map(|(chain, list, _)| (chain, list))
        .collect();
    for endpoint in used.iter().flat_map(|(_, list)| &list.endpoints) {
        if endpoint.node.as_deref() == Some(&*sight.node.viewpoint.node) {
            hairpin(view, endpoint.address, writer);
        }
        if let SessionAffinity::ClientIp(timeout) = view.service.session_affinity {
            remember(view, endpoint.address, timeout, writer);
        }
    }
    for (chain, list) in used {
        match view.service.session_affinity {
            SessionAffinity::None => balance(view, chain, &list.endpoints, writer),
            SessionAffinity::ClientIp(_) => stick(view, chain, &list.endpoints, writer),
        }
    }
    writer.element(CLUSTER_IPS, Element::key(octets(view.cluster_ip)));
    internal(view, &chains, writer);
    if view.externally_accessible() {
        external(sight, view, &chains, writer);
    }
    firewall(sight, view, &chains, writer);
}

fn hairpin(view: &PortView<'_>, endpoint: SocketAddr, writer: &mut Writer) {
    let end = Writer::front(endpoint.ip(), view.port.protocol, endpoint.port());
    writer.element(HAIRPINS, Element::key([octets(endpoint.ip()), end].concat()));
}

/// To an endpoint by chance.
fn balance(view: &PortView<'_>, chain: &str, endpoints: &[Endpoint], writer: &mut Writer) {
    let mut elements = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let mut value = octets(endpoint.address.ip());
        value.extend(endpoint.address.port().to_be_bytes());
        value.extend([0; 2]);
        elements.push(Element::new((index as u32).to_ne_bytes().to_vec(), ElementData::Value(value), ""));
    }
    let data = SetContent::Data(writer.key(&[writer.address(), DataType::InetService]));
    let map = writer.anonymous(KeyType::of(&[DataType::Integer]), data, &elements);
    let choose = [
        random(endpoints),
        Expr::Lookup { set: map.into(), from: KEY, result: LookupResult::Value(KEY) },
        dnat(view.family, KEY),
    ];
    writer.chain(&Chain::regular(chain));
    writer.rule(chain, &[&only(view.port.protocol), &choose], "");
}

fn random(endpoints: &[Endpoint]) -> Expr {
    Expr::Random { to: KEY, modulus: endpoints.len() as u32, offset: 0 }
}

/// To the endpoint that the client had, else to the chain of one by chance.
fn stick(view: &PortView<'_>, chain: &str, endpoints: &[Endpoint], writer: &mut Writer) {
    writer.chain(&Chain::regular(chain));
    let mut elements = Vec::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let (set, target) = remembered(view, endpoint.address);
        let known = [writer.load(Side::Source, KEY), Expr::contained(set, KEY), Expr::Verdict(goto(&target))];
        writer.rule(chain, &[&known], "");
        elements.push(to((index as u32).to_ne_bytes().to_vec(), goto(&target), ""));
    }
    let map = writer.anonymous(KeyType::of(&[DataType::Integer]), SetContent::Verdict, &elements);
    writer.rule(chain, &[&[random(endpoints), vmap(map)]], "");
}

/// Set and chain of an endpoint whose clients stay.
fn remembered(view: &PortView<'_>, endpoint: SocketAddr) -> (String, String) {
    let base = name::of_endpoint(view, endpoint);
    (format!("affinity-{base}"), format!("endpoint-{base}"))
}

/// Adds set and chain of an endpoint whose clients stay; they may be there for the other list.
fn remember(view: &PortView<'_>, endpoint: SocketAddr, timeout: Duration, writer: &mut Writer) {
    let (set, chain) = remembered(view, endpoint);
    if writer.has_chain(&chain) {
        return;
    }
    let key = writer.key(&[writer.address()]);
    writer.set(&Set {
        name: set.clone().into(),
        dynamic: true,
        timeout: Some(timeout),
        ..Set::new("", key, SetContent::Keys, "")
    });
    writer.chain(&Chain::regular(&chain));
    let update = Expr::Update { set: set.into(), key: KEY, data: None, timeout: None };
    writer.rule(&chain, &[&[writer.load(Side::Source, KEY), update]], "");
    let port = key_register(writer.words());
    let send = [
        Expr::Immediate { value: octets(endpoint.ip()), to: KEY },
        Expr::Immediate { value: endpoint.port().to_be_bytes().to_vec(), to: port },
        dnat(view.family, KEY),
    ];
    writer.rule(&chain, &[&only(view.port.protocol), &send], "");
}

/// The cluster IP.
fn internal(view: &PortView<'_>, chains: &Chains, writer: &mut Writer) {
    let front = Writer::front(view.cluster_ip, view.port.protocol, view.port.port);
    let (chain, list) = match view.service.internal_traffic_local {
        true => (&chains.local, &view.choice.local),
        false => (&chains.cluster, &view.choice.cluster),
    };
    match list.endpoints.is_empty() {
        false => writer.element(SERVICE_IPS, to(front, goto(chain), "")),
        true => writer.element(NO_ENDPOINT_SERVICES, to(front, refusal(view), &port_name(view))),
    }
}

/// What happens where there is no endpoint to go to.
fn refusal(view: &PortView<'_>) -> Verdict {
    if view.choice.any { Verdict::Drop } else { goto(REJECT) }
}

fn port_name(view: &PortView<'_>) -> String {
    match &*view.port.name {
        "" => view.service.name().to_string(),
        port => format!("{}:{port}", view.service.name()),
    }
}

/// Node port, external IPs and addresses of the load balancer.
fn external(sight: &Sight<'_>, view: &PortView<'_>, chains: &Chains, writer: &mut Writer) {
    let (policy, list) = match view.external_local() {
        true => (&chains.local, &view.choice.local),
        false => (&chains.cluster, &view.choice.cluster),
    };
    let served = !list.endpoints.is_empty();
    let (protocol, port) = (view.port.protocol, view.port.port);
    let at = |address: IpAddr| Writer::front(address, protocol, port);
    let node_port = view.port.node_port.map(|port| Writer::node_port(protocol, port));
    let fronts = view.external_ips().chain(view.load_balancer_ips()).map(at);
    let places = fronts
        .map(|front| (front, SERVICE_IPS, NO_ENDPOINT_SERVICES))
        .chain(node_port.map(|front| (front, SERVICE_NODE_PORTS, NO_ENDPOINT_NODE_PORTS)));
    if view.choice.any {
        external_chain(sight, view, chains, served.then_some(policy), writer);
    }
    for (front, serving, refusing) in places {
        if view.choice.any {
            writer.element(serving, to(front.clone(), goto(&chains.external), ""));
        }
        if !served {
            writer.element(refusing, to(front, refusal(view), &port_name(view)));
        }
    }
}

fn external_chain(
    sight: &Sight<'_>,
    view: &PortView<'_>,
    chains: &Chains,
    policy: Option<&String>,
    writer: &mut Writer,
) {
    let chain = &chains.external;
    let mark = mark(sight.config.masquerade_mark);
    let anywhere = [Expr::Verdict(goto(&chains.cluster))];
    writer.chain(&Chain::regular(chain));
    if view.external_local() {
        if let Some(from_pods) = from_pods(sight, writer, true) {
            writer.rule(chain, &[&from_pods, &anywhere], "short-circuit pod traffic");
        }
        let from_here = local(FibAddress::Source);
        writer.rule(chain, &[&from_here, &mark], "masquerade local traffic");
        writer.rule(chain, &[&from_here, &anywhere], "short-circuit local traffic");
    } else {
        writer.rule(chain, &[&mark], "masquerade");
    }
    if let Some(policy) = policy {
        writer.rule(chain, &[&[Expr::Verdict(goto(policy))]], "");
    }
}

/// Who may come to the addresses of the load balancer.
fn firewall(sight: &Sight<'_>, view: &PortView<'_>, chains: &Chains, writer: &mut Writer) {
    let addresses: Vec<_> = view.load_balancer_ips().collect();
    let Some(mut ranges) = view.source_ranges().filter(|_| !addresses.is_empty()) else { return };
    let primary = sight.node.primary(view.family);
    if primary.is_some_and(|address| ranges.iter().any(|range| range.contains(address))) {
        ranges.extend(addresses.iter().copied().map(Cidr::host));
    }
    let chain = &chains.firewall;
    writer.chain(&Chain::regular(chain));
    let others = writer.in_set(Side::Source, &ranges, false);
    writer.rule(chain, &[&others, &[Expr::Verdict(Verdict::Drop)]], "");
    for address in addresses {
        let front = Writer::front(address, view.port.protocol, view.port.port);
        writer.element(FIREWALL_IPS, to(front, goto(chain), ""));
    }
}
