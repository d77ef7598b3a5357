//! One Service port: which chains lead where.

use std::fmt::Display;
use std::net::IpAddr;

use service::PortView;
use service::objects::SessionAffinity;

use super::endpoints::Endpoints;
use super::fragment::PortRules;
use super::{CLUSTER, EXTERNAL, FIREWALL, LOCAL};
use crate::iptables::name::{chain_name, endpoint_chain_name, hashed_name};
use crate::xtables::Settings;
use crate::xtables::port_name;

/// The most seconds that the Service API allows; the kernel refuses much larger numbers.
const LONGEST_AFFINITY: u64 = 86_400;

/// A Service port being compiled.
struct Port<'a> {
    view: &'a PortView<'a>,
    settings: &'a Settings,
    /// `namespace/name:port`.
    /// What it is called in comments, and in hashes.
    name: String,
    hashed: String,
    endpoints: Endpoints,
    rules: PortRules,
}

/// Why traffic of a kind has nowhere to go.
struct Refusal {
    target: &'static str,
    comment: String,
}

/// The rules of one Service port.
pub(crate) fn compile(view: &PortView<'_>, settings: &Settings) -> PortRules {
    let name = port_name(&view.service.name(), &view.port.name);
    let endpoints = Endpoints::of(view);
    let hashed = hashed_name(&view.service.name(), &view.port.name);
    let mut port = Port { view, settings, name, hashed, endpoints, rules: PortRules::default() };
    port.cluster_ip();
    port.external_ips();
    port.load_balancer_ips();
    port.node_port();
    port.health_check_node_port();
    port.masquerade_internal();
    if view.choice.any && view.externally_accessible() {
        port.external_chain();
    }
    if port.uses_firewall() {
        port.firewall_chain();
    }
    for (prefix, endpoints) in [
        (CLUSTER, std::mem::take(&mut port.endpoints.cluster)),
        (LOCAL, std::mem::take(&mut port.endpoints.local)),
    ] {
        if !endpoints.is_empty() {
            port.balancing_chain(prefix, &endpoints);
        }
    }
    port.endpoint_chains();
    port.rules
}

impl Port<'_> {
    fn chain(&self, prefix: &str) -> String {
        chain_name(prefix, &self.hashed, self.view.port.protocol)
    }

    /// The chain that a traffic policy leads to.
    fn policy_chain(&self, local: bool) -> String {
        self.chain(if local { LOCAL } else { CLUSTER })
    }

    fn protocol(&self) -> String {
        let protocol = self.view.port.protocol;
        format!("-m {protocol} -p {protocol}")
    }

    /// The match for an address of the Service.
    fn at(&self, address: IpAddr) -> String {
        format!("{} -d {address} --dport {}", self.protocol(), self.view.port.port)
    }

    fn comment(&self, words: impl Display) -> String {
        format!("-m comment --comment \"{} {words}\"", self.name)
    }

    /// A comment that large clusters go without, with a space behind it.
    fn dear_comment(&self, comment: impl Display) -> String {
        match self.settings.large {
            true => String::new(),
            false => format!("-m comment --comment {comment} "),
        }
    }

    /// What becomes of traffic that asks for this policy and finds no endpoint; `None` if it finds one.
    fn refusal(&self, local: bool) -> Option<Refusal> {
        let (target, why) = match (self.view.choice.any, local && self.endpoints.local.is_empty()) {
            (false, _) => ("REJECT", "has no endpoints"),
            (true, true) => ("DROP", "has no local endpoints"),
            (true, false) => return None,
        };
        Some(Refusal { target, comment: self.comment(why) })
    }

    fn external_refusal(&self) -> Option<Refusal> {
        self.refusal(self.view.external_local())
    }

    fn uses_firewall(&self) -> bool {
        self.view.choice.any
            && self.view.load_balancer_ips().next().is_some()
            && self.view.source_ranges().is_some()
    }

    /// Adds a chain of the port's own.
    fn open(&mut self, chain: &str) {
        self.rules.chains.push(chain.to_owned());
    }

    fn cluster_ip(&mut self) {
        let local = self.view.service.internal_traffic_local;
        let at = self.at(self.view.cluster_ip);
        match self.refusal(local) {
            Some(Refusal { target, comment }) => {
                self.rules.filter.append("KUBE-SERVICES", format_args!("{comment} {at} -j {target}"));
            }
            None => {
                let (comment, to) = (self.comment("cluster IP"), self.policy_chain(local));
                self.rules.front.append("KUBE-SERVICES", format_args!("{comment} {at} -j {to}"));
            }
        }
    }

    fn external_ips(&mut self) {
        let (comment, to) = (self.comment("external IP"), self.chain(EXTERNAL));
        for address in self.view.external_ips() {
            let at = self.at(address);
            if self.view.choice.any {
                self.rules.front.append("KUBE-SERVICES", format_args!("{comment} {at} -j {to}"));
            }
            self.refuse_external(&at);
        }
    }

    fn load_balancer_ips(&mut self) {
        let firewall = self.chain(FIREWALL);
        let to = if self.uses_firewall() { firewall.clone() } else { self.chain(EXTERNAL) };
        let comment = self.comment("loadbalancer IP");
        let refused = self.comment(format_args!("traffic not accepted by {firewall}"));
        for address in self.view.load_balancer_ips() {
            let at = self.at(address);
            if self.view.choice.any {
                self.rules.front.append("KUBE-SERVICES", format_args!("{comment} {at} -j {to}"));
            }
            if self.uses_firewall() {
                self.rules.filter.append("KUBE-PROXY-FIREWALL", format_args!("{refused} {at} -j DROP"));
            }
        }
        for address in self.view.load_balancer_ips() {
            let at = self.at(address);
            self.refuse_external(&at);
        }
    }

    /// Refuses traffic from outside that no rule of the nat table took, if there is nobody to serve it.
    fn refuse_external(&mut self, at: &str) {
        if let Some(Refusal { target, comment }) = self.external_refusal() {
            self.rules.filter.append("KUBE-EXTERNAL-SERVICES", format_args!("{comment} {at} -j {target}"));
        }
    }

    fn node_port(&mut self) {
        let Some(node_port) = self.view.port.node_port else { return };
        let (protocol, to) = (self.protocol(), self.chain(EXTERNAL));
        if self.view.choice.any {
            let comment = format!("-m comment --comment {}", self.name);
            if self.settings.localhost_node_ports && self.settings.platform.counts_localhost {
                self.rules.front.append(
                    "KUBE-NODEPORTS",
                    format_args!(
                        "{comment} {protocol} -d 127.0.0.0/8 --dport {node_port} \
                         -m nfacct --nfacct-name localhost_nps_accepted_pkts -j {to}"
                    ),
                );
            }
            self.rules
                .front
                .append("KUBE-NODEPORTS", format_args!("{comment} {protocol} --dport {node_port} -j {to}"));
        }
        self.refuse_external(&format!("-m addrtype --dst-type LOCAL {protocol} --dport {node_port}"));
    }

    fn health_check_node_port(&mut self) {
        let Some(port) = self.view.service.health_check_node_port else { return };
        let comment = self.comment("health check node port");
        self.rules
            .filter
            .append("KUBE-NODEPORTS", format_args!("{comment} -m tcp -p tcp --dport {port} -j ACCEPT"));
    }

    /// Clients elsewhere that route cluster IPs to this node must get their answers back through it.
    fn masquerade_internal(&mut self) {
        let local = self.view.service.internal_traffic_local;
        if self.refusal(local).is_some() {
            return;
        }
        let from = match (self.settings.masquerade_all, self.settings.sent_from_elsewhere()) {
            (true, _) => String::new(),
            (false, Some(from)) => format!("{from} "),
            (false, None) => return,
        };
        let (comment, at) = (self.comment("cluster IP"), self.at(self.view.cluster_ip));
        self.rules
            .own
            .append(self.policy_chain(local), format_args!("{comment} {at} {from}-j KUBE-MARK-MASQ"));
    }

    fn external_chain(&mut self) {
        let chain = self.chain(EXTERNAL);
        self.open(&chain);
        let about = |what: &str, name: &str| {
            format!("-m comment --comment \"{what} for {name} external destinations\"")
        };
        if self.view.external_local() {
            // Traffic that begins inside the cluster is as if it had been balanced already.
            let cluster = self.chain(CLUSTER);
            let pods = about("pod traffic", &self.name);
            for from in self.settings.sent_by_pods() {
                self.rules.own.append(&chain, format_args!("{pods} {from} -j {cluster}"));
            }
            for (what, to) in
                [("masquerade LOCAL traffic", "KUBE-MARK-MASQ"), ("route LOCAL traffic", cluster.as_str())]
            {
                let comment = about(what, &self.name);
                let rule = format_args!("{comment} -m addrtype --src-type LOCAL -j {to}").to_string();
                self.rules.own.append(&chain, rule);
            }
        } else {
            let comment = about("masquerade traffic", &self.name);
            self.rules.own.append(&chain, format_args!("{comment} -j KUBE-MARK-MASQ"));
        }
        if self.external_refusal().is_none() {
            let to = self.policy_chain(self.view.external_local());
            self.rules.own.append(&chain, format_args!("-j {to}"));
        }
    }

    fn firewall_chain(&mut self) {
        let (chain, to) = (self.chain(FIREWALL), self.chain(EXTERNAL));
        self.open(&chain);
        let comment = self.comment("loadbalancer IP");
        let ranges = self.view.source_ranges().unwrap_or_default();
        for range in &ranges {
            self.rules.own.append(&chain, format_args!("{comment} -s {range} -j {to}"));
        }
        // A node that has the balancer's address asks itself from that address.
        if ranges.iter().any(|range| range.contains(self.settings.node_ip)) {
            for address in self.view.load_balancer_ips() {
                self.rules.own.append(&chain, format_args!("{comment} -s {address} -j {to}"));
            }
        }
        let name = &self.name;
        self.rules.own.append(
            &chain,
            format_args!(
                "-m comment --comment \"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL\""
            ),
        );
    }

    /// One of these endpoints: the one the client had before, or any with equal chance.
    fn balancing_chain(&mut self, prefix: &str, endpoints: &[std::net::SocketAddr]) {
        let chain = self.chain(prefix);
        self.open(&chain);
        let ways: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                let comment = self.dear_comment(format_args!("\"{} -> {endpoint}\"", self.name));
                (comment, endpoint_chain_name(&self.hashed, self.view.port.protocol, *endpoint))
            })
            .collect();
        if let SessionAffinity::ClientIp(timeout) = self.view.service.session_affinity {
            let seconds = timeout.as_secs().min(LONGEST_AFFINITY);
            for (comment, to) in &ways {
                self.rules.own.append(
                    &chain,
                    format_args!(
                        "{comment}-m recent --name {to} --rcheck --seconds {seconds} --reap -j {to}"
                    ),
                );
            }
        }
        for (left, (comment, to)) in (1..=ways.len()).rev().zip(&ways) {
            let chance = match left {
                1 => String::new(),
                left => format!("-m statistic --mode random --probability {} ", probability(left)),
            };
            self.rules.own.append(&chain, format_args!("{comment}{chance}-j {to}"));
        }
    }

    fn endpoint_chains(&mut self) {
        let protocol = self.protocol();
        let comment = self.dear_comment(&self.name);
        for endpoint in std::mem::take(&mut self.endpoints.all) {
            let chain = endpoint_chain_name(&self.hashed, self.view.port.protocol, endpoint);
            self.open(&chain);
            // An endpoint that meets itself would answer itself, past the translation.
            self.rules.own.append(&chain, format_args!("{comment}-s {} -j KUBE-MARK-MASQ", endpoint.ip()));
            let remember = match self.view.service.session_affinity {
                SessionAffinity::ClientIp(_) => format!("-m recent --name {chain} --set "),
                SessionAffinity::None => String::new(),
            };
            self.rules.own.append(
                &chain,
                format_args!("{comment}{remember}{protocol} -j DNAT --to-destination {endpoint}"),
            );
        }
    }
}

/// The chance of one among this many, with kube-proxy's ten digits.
fn probability(among: usize) -> String {
    format!("{:.10}", 1.0 / among as f64)
}
