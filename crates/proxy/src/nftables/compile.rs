//! From the model to what a Service wants of the kernel.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use service::objects::{Balance, Protocol, SessionAffinity};
use service::{Cidr, Client, Endpoint, Entrance, List, Outcome, PortView};

use super::balance::{self, Load};
use super::front::Front;
use super::ruleset::{Plan, Range};
use super::wish::{Fragment, FrontValue, Way};
use crate::sight::NodeFacts;

/// Ranks of fronts: an allocated address or port goes before one that its Service merely names.
const ALLOCATED: u8 = 0;
const NAMED: u8 = 1;

/// What a Service wants, given its ports as seen from `node`. `load` counts for Services that balance by it.
/// `before` is what the Service wanted last, whose slots are kept as far as possible.
pub fn compile(ports: &[PortView<'_>], node: &NodeFacts, load: &Load, before: Option<&Fragment>) -> Fragment {
    let mut fragment = Fragment::default();
    for view in ports {
        compile_port(view, node, load, before, &mut fragment);
    }
    fragment.cluster_ips = sorted(ports.iter().map(|view| view.cluster_ip));
    fragment.hairpins = sorted(fragment.hairpins);
    // An external IP may also be named as the load balancer's.
    fragment.tidy();
    fragment.fronts.shrink_to_fit();
    fragment
}

fn compile_port(
    view: &PortView<'_>,
    node: &NodeFacts,
    load: &Load,
    before: Option<&Fragment>,
    fragment: &mut Fragment,
) {
    let (protocol, port) = (view.port.protocol, view.port.port);
    let at = |address: IpAddr| Front::ServiceIp { address, protocol, port };
    let internal = at(view.cluster_ip);
    let node_port = view.port.node_port.map(|port| Front::NodePort { family: view.family, protocol, port });

    let old_slots = before.and_then(|before| before.front(&internal)).map(|value| value.slots.clone());
    let timeout = affinity(view);
    let plan = plan(view, load, old_slots.as_deref().unwrap_or_default());
    let served = FrontValue {
        rank: ALLOCATED,
        way: internal_way(view, &plan),
        chooser: balance::chooser(view.service.balance, timeout.is_some()),
        affinity: timeout,
        sources: None,
        slots: plan.slots.clone().into(),
        // Only UDP connections outlive their endpoint unnoticed.
        serving: match protocol {
            Protocol::Udp => view.serving.clone().into(),
            Protocol::Tcp | Protocol::Sctp => Arc::new([]),
        },
        comment: match &*view.port.name {
            "" => view.service.name().to_string().into(),
            port => format!("{}:{port}", view.service.name()).into(),
        },
    };
    let mut add = |front: Front, value: FrontValue| {
        let value = match value.way {
            Way::Drop | Way::Reject => FrontValue { slots: Arc::new([]), affinity: None, ..value },
            Way::Serve { .. } | Way::Split { .. } => value,
        };
        fragment.fronts.push((front, Arc::new(value)));
    };

    add(internal, served.clone());
    if view.externally_accessible() {
        let external = FrontValue { way: external_way(view, &plan), ..served };
        let named = FrontValue { rank: NAMED, ..external.clone() };
        // Who may come in at a load balancer's address is asked there even if it is an external IP as well.
        let guarded = FrontValue { sources: sources(view, node), ..named.clone() };
        node_port.into_iter().for_each(|front| add(front, external.clone()));
        view.load_balancer_ips().for_each(|address| add(at(address), guarded.clone()));
        view.external_ips().for_each(|address| add(at(address), named.clone()));
    }

    let on_this_node = view.choice.cluster.endpoints.iter().chain(&view.choice.local.endpoints);
    // An endpoint whose node is not known may well be here.
    let here = &node.viewpoint.node;
    let on_this_node = on_this_node.filter(|endpoint| endpoint.node.as_ref().is_none_or(|name| name == here));
    fragment.hairpins.extend(on_this_node.map(|endpoint| (endpoint.address, protocol)));
}

/// Gives slots to the lists that any front of the port uses.
fn plan(view: &PortView<'_>, load: &Load, before: &[SocketAddr]) -> Plan {
    let used = |list: &'_ List, used: bool| -> Vec<Endpoint> {
        list.endpoints.iter().filter(|_| used).cloned().collect()
    };
    let local = used(&view.choice.local, view.uses_local_endpoints());
    let cluster = used(&view.choice.cluster, view.uses_cluster_endpoints());
    let balance = view.service.balance;
    if balance::is_plain(balance, local.iter().chain(&cluster)) {
        let addresses = |list: &[Endpoint]| list.iter().map(|endpoint| endpoint.address).collect::<Vec<_>>();
        return Plan::new(&addresses(&local), &addresses(&cluster), before);
    }
    let slots = |list: &[Endpoint]| balance::slots(list, balance, view.port.protocol, load);
    match balance {
        Balance::Random | Balance::LeastConnections => Plan::apart(&slots(&local), &slots(&cluster), before),
        Balance::SourceHash | Balance::Maglev => Plan::fixed(&slots(&local), &slots(&cluster)),
    }
}

/// For how long clients are remembered.
fn affinity(view: &PortView<'_>) -> Option<Duration> {
    match view.service.session_affinity {
        SessionAffinity::ClientIp(timeout) => Some(timeout),
        SessionAffinity::None => None,
    }
}

/// Who may come in at the load balancer's addresses. What this node sends to such an address may come back to it
/// with that address as its source, so who allows the node allows that too.
fn sources(view: &PortView<'_>, node: &NodeFacts) -> Option<Arc<[Cidr]>> {
    let mut ranges = view.source_ranges()?;
    let primary = node.primary(view.family);
    if primary.is_some_and(|address| ranges.iter().any(|range| range.contains(address))) {
        ranges.extend(view.load_balancer_ips().map(Cidr::host));
    }
    Some(sorted(ranges).into())
}

/// The way at the cluster IP. Whether the client is masqueraded depends on its address alone, so one rule for
/// all cluster IPs decides that.
fn internal_way(view: &PortView<'_>, plan: &Plan) -> Way {
    let answer = view.choice.answer(Entrance::Internal, Client::Pod);
    way_of(answer.outcome, |list| Way::Serve { range: run(view, plan, list), masquerade: false })
}

/// The way at node ports and external addresses.
fn external_way(view: &PortView<'_>, plan: &Plan) -> Way {
    let [pod, node, outside] = [Client::Pod, Client::Node, Client::Outside]
        .map(|client| view.choice.answer(Entrance::External, client));
    way_of(pod.outcome, |list| {
        let inside_run = run(view, plan, list);
        if pod == node && node == outside {
            return Way::Serve { range: inside_run, masquerade: pod.masquerade };
        }
        let nobody = Range { first: 0, count: 0 };
        let outside_run = match outside.outcome {
            Outcome::Serve(list) => run(view, plan, list),
            Outcome::Drop | Outcome::Reject => nobody,
        };
        Way::Split { inside: inside_run, outside: outside_run }
    })
}

fn way_of<'a>(outcome: Outcome<'a>, serve: impl FnOnce(&'a List) -> Way) -> Way {
    match outcome {
        Outcome::Serve(list) => serve(list),
        Outcome::Drop => Way::Drop,
        Outcome::Reject => Way::Reject,
    }
}

/// The run of slots that holds this list of the port's choice.
fn run(view: &PortView<'_>, plan: &Plan, list: &List) -> Range {
    if std::ptr::eq(list, &view.choice.local) { plan.local } else { plan.cluster }
}

fn sorted<T: Ord>(things: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut things: Vec<T> = things.into_iter().collect();
    things.sort_unstable();
    things.dedup();
    things
}

#[cfg(test)]
mod tests;
