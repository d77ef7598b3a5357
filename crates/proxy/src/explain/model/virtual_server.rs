//! What becomes of a packet in ipvs mode, where it differs from the other modes.
//!
//! A virtual server cannot tell clients apart, so traffic policy Local holds for pods and the node as well; and where
//! this node has no endpoint, it means those of the whole cluster (kube-proxy's choice). The addresses of Services are
//! the node's own there: it asks them from themselves, and other ports of theirs are refused.

use std::net::IpAddr;

use service::{Client, Endpoint, PortView};

use super::{AddressKind, Expected, Model};
use crate::explain::verdict::{Share, Verdict};
use crate::ipvs::looks_at_weights;
use crate::packet::Packet;

/// Endpoints of a virtual server, and why those.
struct Chosen<'a> {
    endpoints: &'a [Endpoint],
    reason: String,
}

impl Model<'_> {
    /// What should become of a packet to this Service port.
    pub(super) fn by_virtual_server(
        &self,
        view: &PortView<'_>,
        kind: AddressKind,
        packet: &Packet,
        mut reasons: Vec<String>,
    ) -> Expected {
        let Chosen { endpoints, reason } = choose(view, kind);
        let mut shares = self.real_servers(view, endpoints, packet);
        // What the node sends meets the virtual server before the source ranges.
        let refused_first = shares.is_empty() && self.asks_itself(packet);
        if kind == AddressKind::LoadBalancer && !self.allowed(view, packet) && !refused_first {
            reasons.push(super::kept_out(packet));
            return Expected { verdict: Verdict::Drop, endpoints: Vec::new(), reasons };
        }
        reasons.push(reason);
        if shares.is_empty() {
            return Expected { verdict: Verdict::Reject, endpoints: Vec::new(), reasons };
        }
        let masquerade = self.masquerades(view, kind, packet);
        reasons.push(super::masquerade_words(masquerade));
        shares.iter_mut().for_each(|share| share.masquerade |= masquerade);
        if !masquerade && shares.iter().any(|share| share.masquerade) {
            reasons.push(super::ITSELF.to_owned());
        }
        Expected { verdict: Verdict::Dnat, endpoints: shares, reasons }
    }

    /// Whether the node asks an address of a Service, which it then does from that address.
    pub(super) fn asks_itself(&self, packet: &Packet) -> bool {
        self.sight.node.is_local(packet.source) && self.is_service_ip(packet.destination.ip())
    }

    /// Whether an address is on the interface that has those of Services.
    pub(super) fn is_service_ip(&self, address: IpAddr) -> bool {
        self.cluster_ips.contains(&address)
            || (self.outer_ips.contains(&address) && !self.sight.node.interface_addresses.contains(&address))
    }

    fn masquerades(&self, view: &PortView<'_>, kind: AddressKind, packet: &Packet) -> bool {
        match kind {
            AddressKind::ClusterIp => {
                let client = self.client(packet);
                self.sight.config.masquerade_all
                    || client == Client::Node
                    || self.asks_itself(packet)
                    || self.foreign(client, view.family)
            }
            AddressKind::ExternalIp | AddressKind::LoadBalancer | AddressKind::NodePort => {
                !view.external_local()
            }
        }
    }

    /// Each endpoint's share, masqueraded where it meets itself on this node. Hashing and counting schedulers are
    /// taken for as likely as their weights.
    fn real_servers(&self, view: &PortView<'_>, endpoints: &[Endpoint], packet: &Packet) -> Vec<Share> {
        let configured = self.sight.config.ipvs.scheduler.parse().unwrap_or_default();
        let weighted = looks_at_weights(view.service.scheduler.unwrap_or(configured).name());
        let weight = |weight: u8| f64::from(if weighted { weight } else { weight.min(1) });
        let sum: f64 = endpoints.iter().map(|endpoint| weight(endpoint.weight)).sum();
        let here = &view.choice.local.endpoints;
        let taking = endpoints.iter().filter(|endpoint| endpoint.weight > 0);
        let mut shares: Vec<_> = taking
            .map(|endpoint| Share {
                address: endpoint.address,
                probability: weight(endpoint.weight) / sum,
                masquerade: endpoint.address.ip() == packet.source
                    && here.iter().any(|other| other.address == endpoint.address),
            })
            .collect();
        shares.sort_by_key(|share| share.address);
        shares
    }
}

fn choose<'a>(view: &'a PortView<'_>, kind: AddressKind) -> Chosen<'a> {
    let (local, policy) = match kind {
        AddressKind::ClusterIp => (view.service.internal_traffic_local, "internalTrafficPolicy"),
        _ => (view.external_local(), "externalTrafficPolicy"),
    };
    let (here, all) = (&view.choice.local, &view.choice.cluster);
    if local && !here.endpoints.is_empty() {
        let reason = format!(
            "{} of {} on this node ({policy} Local, for all clients: ipvs mode cannot tell them apart)",
            here.endpoints.len(),
            here.rule
        );
        return Chosen { endpoints: &here.endpoints, reason };
    }
    if !view.uses_cluster_endpoints() {
        let reason = format!("{policy} is Local and the Service has no endpoints on this node");
        return Chosen { endpoints: &[], reason };
    }
    let reason = match (all.endpoints.is_empty(), local) {
        (true, _) => "the Service has no endpoints".to_owned(),
        (false, true) => format!(
            "{} of {} of the whole cluster ({policy} is Local, but ipvs mode goes there when this node has none)",
            all.endpoints.len(),
            all.rule
        ),
        (false, false) => format!("{} of {}", all.endpoints.len(), all.rule),
    };
    Chosen { endpoints: &all.endpoints, reason }
}
