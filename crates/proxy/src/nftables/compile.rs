//! From the model to what a Service wants of the kernel.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use service::objects::{ExternalTrafficPolicy, Protocol};
use service::{Client, Entrance, List, Outcome, PortView};

use crate::nftables::ruleset::{Fragment, Front, FrontValue, Plan, Range, Way};

/// Ranks of fronts: an allocated address or port goes before one that its Service merely names.
const ALLOCATED: u8 = 0;
const NAMED: u8 = 1;

/// What a Service wants, given its ports as seen from `node`. `before` is what it wanted last, whose slots are
/// kept as far as possible.
pub fn compile(ports: &[PortView<'_>], node: &str, before: Option<&Fragment>) -> Fragment {
    let mut fragment = Fragment::default();
    for view in ports {
        compile_port(view, node, before, &mut fragment);
    }
    fragment.cluster_ips = sorted(ports.iter().map(|view| view.cluster_ip));
    fragment.hairpins = sorted(fragment.hairpins);
    fragment
}

fn compile_port(view: &PortView<'_>, node: &str, before: Option<&Fragment>, fragment: &mut Fragment) {
    let (protocol, port) = (view.port.protocol, view.port.port);
    let at = |address: IpAddr| Front::ServiceIp { address, protocol, port };
    let internal = at(view.cluster_ip);
    let node_port = view.port.node_port.map(|port| Front::NodePort { family: view.family, protocol, port });
    let external: Vec<Front> = view.external_ips().chain(view.load_balancer_ips()).map(at).collect();

    let old_slots = before.and_then(|before| before.front(&internal)).map(|value| value.slots.clone());
    let has_external = node_port.is_some() || !external.is_empty();
    let plan = plan(view, has_external, old_slots.as_deref().unwrap_or_default());
    let slots: Arc<[SocketAddr]> = plan.slots.clone().into();
    // Only UDP connections outlive their endpoint unnoticed.
    let serving: Arc<[SocketAddr]> = match protocol {
        Protocol::Udp => view.serving.clone().into(),
        Protocol::Tcp | Protocol::Sctp => Arc::new([]),
    };
    let comment: Arc<str> = match &*view.port.name {
        "" => view.service.name().to_string().into(),
        port => format!("{}:{port}", view.service.name()).into(),
    };
    let mut add = |front: Front, rank: u8, way: Way| {
        let slots = if matches!(way, Way::Drop | Way::Reject) { Arc::new([]) } else { slots.clone() };
        let value = FrontValue { rank, way, slots, serving: serving.clone(), comment: comment.clone() };
        // An external IP may also be named as the load balancer's.
        if fragment.front(&front).is_none() {
            fragment.fronts.push((front, Arc::new(value)));
        }
    };

    add(internal, ALLOCATED, internal_way(view, &plan));
    if has_external {
        let way = external_way(view, &plan);
        node_port.into_iter().for_each(|front| add(front, ALLOCATED, way));
        external.into_iter().for_each(|front| add(front, NAMED, way));
    }

    let on_this_node = view.choice.cluster.endpoints.iter().chain(&view.choice.local.endpoints);
    // An endpoint whose node is not known may well be here.
    let on_this_node =
        on_this_node.filter(|endpoint| endpoint.node.as_deref().is_none_or(|name| name == node));
    fragment.hairpins.extend(on_this_node.map(|endpoint| (endpoint.address, protocol)));
}

/// Gives slots to the lists that any front of the port uses.
fn plan(view: &PortView<'_>, has_external: bool, before: &[SocketAddr]) -> Plan {
    let addresses = |list: &List, used: bool| -> Vec<SocketAddr> {
        list.endpoints.iter().filter(|_| used).map(|endpoint| endpoint.address).collect()
    };
    let external_local = view.service.external_traffic_policy == ExternalTrafficPolicy::Local;
    let internal_local = view.service.internal_traffic_local;
    let local = addresses(&view.choice.local, internal_local || (has_external && external_local));
    let cluster = addresses(&view.choice.cluster, !internal_local || has_external);
    Plan::new(&local, &cluster, before)
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
