//! One Service port: which of its addresses leads to which proxy port, for whom.

use std::net::IpAddr;

use service::PortView;
use service::objects::Protocol;

use super::base::{
    NODE_PORT_CONTAINER, NODE_PORT_HOST, NON_LOCAL, PORTALS_CONTAINER, PORTALS_HOST, REFUSED,
    node_port_places,
};
use super::guard;
use crate::userspace::proxy_ports::{ProxyPort, ProxyPorts, Scope, Target};
use crate::xtables::{Lines, Settings, port_name, span};

pub(super) use crate::xtables::is_writable;

/// What one Service port adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PortRules {
    pub(super) filter: Lines,
    pub(super) nat: Lines,
}

/// Where traffic goes that asks for some of the endpoints.
#[derive(Debug, Clone, Copy)]
enum Way {
    To(Target),
    /// Nowhere: by this target, for this reason.
    Refused(&'static str, &'static str),
}

/// A Service port being compiled.
struct Port<'a> {
    view: &'a PortView<'a>,
    settings: &'a Settings,
    proxy_ports: &'a ProxyPorts,
    /// What it is called in comments.
    name: String,
    rules: PortRules,
}

/// The chains that an address is looked for in.
struct Chains {
    container: &'static str,
    host: &'static str,
}

const PORTALS: Chains = Chains { container: PORTALS_CONTAINER, host: PORTALS_HOST };
const NODE_PORTS: Chains = Chains { container: NODE_PORT_CONTAINER, host: NODE_PORT_HOST };

/// The rules of one Service port.
pub(super) fn compile(view: &PortView<'_>, settings: &Settings, proxy_ports: &ProxyPorts) -> PortRules {
    let name = port_name(&view.service.name(), &view.port.name);
    let mut port = Port { view, settings, proxy_ports, name, rules: PortRules::default() };
    port.guard_doors();
    port.cluster_ip();
    for address in view.external_ips() {
        port.external(&port.at(address), &PORTALS, &[String::new()]);
    }
    for address in view.load_balancer_ips() {
        port.load_balancer_ip(address);
    }
    port.node_port();
    port.rules
}

impl Port<'_> {
    fn comment(&self, words: &str) -> String {
        format!("-m comment --comment \"{} {words}\"", self.name)
    }

    fn protocol(&self) -> String {
        let protocol = self.view.port.protocol;
        format!("-m {protocol} -p {protocol}")
    }

    /// The match for an address of the Service.
    fn at(&self, address: IpAddr) -> String {
        format!("{} -d {address} --dport {}", self.protocol(), self.view.port.port)
    }

    fn target(&self, scope: Scope) -> Option<Target> {
        self.proxy_ports.get(&ProxyPort::of(self.view, scope)).copied()
    }

    fn way(&self, scope: Scope) -> Way {
        let choice = &self.view.choice;
        let list = match scope {
            Scope::Cluster => &choice.cluster,
            Scope::Local => &choice.local,
        };
        if self.view.port.protocol == Protocol::Sctp {
            return Way::Refused("REJECT", "is SCTP, which userspace mode does not have");
        }
        match (choice.any, list.endpoints.is_empty(), self.target(scope)) {
            (false, ..) => Way::Refused("REJECT", "has no endpoints"),
            (true, true, _) => Way::Refused("DROP", "has no local endpoints"),
            (true, false, Some(target)) => Way::To(target),
            (true, false, None) => Way::Refused("REJECT", "has no port of the proxy"),
        }
    }

    /// Whoever reaches a proxy port past the rules would be sent to endpoints that are not meant for him. Whom the rules
    /// sent there must get past the node's own firewall.
    fn guard_doors(&mut self) {
        for scope in [Scope::Cluster, Scope::Local] {
            let Some(target) = self.target(scope) else { continue };
            let (comment, protocol) = (guard::comment(&self.name, scope), self.protocol());
            let at = format!("-m comment --comment \"{comment}\" {protocol} --dport {}", target.port);
            self.rules.filter.append(NON_LOCAL, format_args!("{at} -m conntrack ! --ctstate DNAT -j REJECT"));
            self.rules.filter.append(NON_LOCAL, format_args!("{at} -j ACCEPT"));
        }
    }

    fn cluster_ip(&mut self) {
        let at = self.at(self.view.cluster_ip);
        let way = self.way(Scope::of(self.view.service.internal_traffic_local));
        for chain in [PORTALS.container, PORTALS.host] {
            self.lead(chain, &at, way);
        }
        self.refuse(&at, way);
    }

    /// Sends on what matches, if there is anywhere to go.
    fn lead(&mut self, chain: &str, at: &str, way: Way) {
        if let Way::To(target) = way {
            let comment = format!("-m comment --comment {}", self.name);
            self.rules.nat.append(chain, format_args!("{comment} {at} -j {target}"));
        }
    }

    /// Refuses what matches and was not sent on, if there is nowhere to go.
    fn refuse(&mut self, at: &str, way: Way) {
        if let Way::Refused(target, why) = way {
            let comment = self.comment(why);
            self.rules.filter.append(REFUSED, format_args!("{comment} {at} -j {target}"));
        }
    }

    /// An address for clients outside. Clients inside are as if they had been balanced already: with policy Local
    /// they still get any endpoint. `from` matches those who are let in, each with a space behind it.
    fn external(&mut self, at: &str, chains: &Chains, from: &[String]) {
        let local = self.view.external_local();
        let (inside, outside) = (self.way(Scope::Cluster), self.way(Scope::of(local)));
        for from in from {
            if local {
                for pods in self.settings.sent_by_pods() {
                    self.lead(chains.container, &format!("{at} {from}{pods}"), inside);
                }
            }
            for (chain, way) in [(chains.container, outside), (chains.host, inside)] {
                self.lead(chain, format!("{at} {from}").trim_end(), way);
            }
            // What is sent on never meets this.
            self.refuse(format!("{at} {from}").trim_end(), outside);
        }
    }

    fn load_balancer_ip(&mut self, address: IpAddr) {
        let at = self.at(address);
        let Some(ranges) = self.view.source_ranges() else {
            return self.external(&at, &PORTALS, &[String::new()]);
        };
        let mut from: Vec<_> =
            ranges.iter().map(|range| format!("-m iprange --src-range {} ", span(range))).collect();
        // A node that has the balancer's address asks itself from that address.
        if ranges.iter().any(|range| range.contains(self.settings.node_ip)) {
            from.push(format!("-m iprange --src-range {address}-{address} "));
        }
        self.external(&at, &PORTALS, &from);
        let comment = self.comment("is not open to this source (loadBalancerSourceRanges)");
        self.rules.filter.append(REFUSED, format_args!("{comment} {at} -j DROP"));
    }

    fn node_port(&mut self) {
        let Some(node_port) = self.view.port.node_port else { return };
        let at = format!("{} --dport {node_port}", self.protocol());
        let local = self.view.external_local();
        let (inside, outside) = (self.way(Scope::Cluster), self.way(Scope::of(local)));
        if local {
            for pods in self.settings.sent_by_pods() {
                self.lead(NODE_PORTS.container, &format!("{at} {pods}"), inside);
            }
        }
        self.lead(NODE_PORTS.container, &at, outside);
        self.lead(NODE_PORTS.host, &at, inside);
        for place in node_port_places(self.settings) {
            self.refuse(&format!("{place} {at}"), outside);
        }
    }
}
