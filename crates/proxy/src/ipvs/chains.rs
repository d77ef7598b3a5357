//! Rules of iptables around the virtual servers (kube-proxy 1.36, `pkg/proxy/ipvs`): who is masqueraded, who is
//! kept out, and that nobody reaches the node itself through an address of a Service.

use std::fmt;

use nfnetlink::ipvs::Front;
use service::Family;

use super::sets::Set;
use super::settings::Settings;
use crate::xtables::script::{Script, Section};

/// Built-in chains that lead to ours, in the order in which the kernel shows them.
pub(super) const BUILT_IN: [(&str, &[&str]); 2] =
    [("nat", &["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]), ("filter", &["INPUT", "FORWARD", "OUTPUT"])];

/// Our chains, in the order in which they are made.
pub(crate) const CHAINS: [(&str, &[&str]); 2] = [
    ("nat", &["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", "KUBE-MARK-MASQ"]),
    (
        "filter",
        &[
            "KUBE-FORWARD",
            "KUBE-NODE-PORT",
            "KUBE-PROXY-FIREWALL",
            "KUBE-SOURCE-RANGES-FIREWALL",
            "KUBE-IPVS-FILTER",
            "KUBE-IPVS-OUT-FILTER",
        ],
    ),
];

/// A rule of a built-in chain that leads into one of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jump {
    pub(crate) table: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    comment: &'static str,
}

const fn jump(table: &'static str, from: &'static str, to: &'static str, comment: &'static str) -> Jump {
    Jump { table, from, to, comment }
}

/// All of them in the order in which they are put before what is there, so that the last one comes first.
pub(crate) const JUMPS: [Jump; 9] = [
    jump("nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals"),
    jump("nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals"),
    jump("nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules"),
    jump("filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules"),
    jump("filter", "INPUT", "KUBE-NODE-PORT", "kubernetes health check rules"),
    jump("filter", "INPUT", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    jump("filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kube-proxy firewall rules"),
    jump("filter", "INPUT", "KUBE-IPVS-FILTER", "kubernetes ipvs access filter"),
    jump("filter", "OUTPUT", "KUBE-IPVS-OUT-FILTER", "kubernetes ipvs access filter"),
];

impl fmt::Display for Jump {
    /// Its arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-m comment --comment \"{}\" -j {}", self.comment, self.to)
    }
}

/// A rule that is there as long as its set is not empty: table, chain, protocol, set, what of the packet is looked
/// up, and where it leads.
type BySet = (&'static str, &'static str, Option<&'static str>, Set, &'static str, &'static str);

/// In their order: what is local is let go before all of its kind are marked.
const BY_SET: [BySet; 12] = [
    ("nat", "KUBE-POSTROUTING", None, Set::LoopBack, "dst,dst,src", "MASQUERADE"),
    ("nat", "KUBE-SERVICES", None, Set::LoadBalancer, "dst,dst", "KUBE-LOAD-BALANCER"),
    ("nat", "KUBE-LOAD-BALANCER", None, Set::LoadBalancerLocal, "dst,dst", "RETURN"),
    ("nat", "KUBE-NODE-PORT", Some("tcp"), Set::NodePortLocalTcp, "dst", "RETURN"),
    ("nat", "KUBE-NODE-PORT", Some("tcp"), Set::NodePortTcp, "dst", "KUBE-MARK-MASQ"),
    ("nat", "KUBE-NODE-PORT", Some("udp"), Set::NodePortLocalUdp, "dst", "RETURN"),
    ("nat", "KUBE-NODE-PORT", Some("udp"), Set::NodePortUdp, "dst", "KUBE-MARK-MASQ"),
    ("nat", "KUBE-NODE-PORT", Some("sctp"), Set::NodePortLocalSctp, "dst,dst", "RETURN"),
    ("nat", "KUBE-NODE-PORT", Some("sctp"), Set::NodePortSctp, "dst,dst", "KUBE-MARK-MASQ"),
    ("filter", "KUBE-PROXY-FIREWALL", None, Set::LoadBalancerFw, "dst,dst", "KUBE-SOURCE-RANGES-FIREWALL"),
    ("filter", "KUBE-SOURCE-RANGES-FIREWALL", None, Set::LoadBalancerSourceCidr, "dst,dst,src", "RETURN"),
    ("filter", "KUBE-SOURCE-RANGES-FIREWALL", None, Set::LoadBalancerSourceIp, "dst,dst,src", "RETURN"),
];

/// What passes by KUBE-IPVS-FILTER, which refuses all else that is sent to an address of a Service.
const PASSED: [(Set, &str); 5] = [
    (Set::LoadBalancer, "dst,dst"),
    (Set::ClusterIp, "dst,dst"),
    (Set::ExternalIp, "dst,dst"),
    (Set::ExternalIpLocal, "dst,dst"),
    (Set::HealthCheckNodePort, "dst"),
];

/// Our chains with their rules; `filled` says which sets have entries, `closed` are fronts of load balancers that
/// the node itself must not use.
pub(super) fn script(settings: &Settings, filled: impl Fn(Set) -> bool, closed: &[Front]) -> Script {
    let mut script = Script::default();
    for (table, chains) in CHAINS {
        let section = script.section(table);
        chains.iter().for_each(|chain| section.declare(chain));
    }
    let family = settings.common.family;
    let loopback = if family == Family::V4 { "127.0.0.0/8" } else { "::1/128" };
    append(script.section("nat"), "KUBE-SERVICES", format_args!("-s {loopback} -j RETURN"));
    for (table, chain, protocol, set, looked_up, to) in BY_SET {
        if filled(set) {
            let protocol = protocol.map(|protocol| format!("-p {protocol} ")).unwrap_or_default();
            let rule = format!("{protocol}{} {looked_up} -j {to}", about(set, family));
            append(script.section(table), chain, rule);
        }
    }
    nat(script.section("nat"), settings, filled);
    filter(script.section("filter"), settings, closed);
    script
}

fn append(section: &mut Section, chain: &str, rule: impl fmt::Display) {
    section.rules.append(chain, rule);
}

/// The match for a set, with its comment.
fn about(set: Set, family: Family) -> String {
    format!("-m comment --comment \"{}\" -m set --match-set {}", set.comment(), set.name(family))
}

fn nat(section: &mut Section, settings: &Settings, filled: impl Fn(Set) -> bool) {
    const SERVICES: &str = "KUBE-SERVICES";
    let (common, family) = (&settings.common, settings.common.family);
    if filled(Set::ClusterIp) {
        let about = about(Set::ClusterIp, family);
        let looked_up = match (common.masquerade_all, common.sent_from_elsewhere()) {
            (true, _) => "dst,dst".to_owned(),
            (false, Some(from)) => format!("dst,dst {from}"),
            // The node asks a Service from the address of one, since that is the nearest.
            (false, None) => "src,dst".to_owned(),
        };
        append(section, SERVICES, format_args!("{about} {looked_up} -j KUBE-MARK-MASQ"));
    }
    for set in [Set::ExternalIp, Set::ExternalIpLocal].into_iter().filter(|set| filled(*set)) {
        let about = about(set, family);
        if set == Set::ExternalIp {
            append(section, SERVICES, format_args!("{about} dst,dst -j KUBE-MARK-MASQ"));
        }
        for from in
            ["-m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL", "-m addrtype --dst-type LOCAL"]
        {
            append(section, SERVICES, format_args!("{about} dst,dst {from} -j ACCEPT"));
        }
    }
    append(section, SERVICES, "-m addrtype --dst-type LOCAL -j KUBE-NODE-PORT");
    append(section, "KUBE-LOAD-BALANCER", "-j KUBE-MARK-MASQ");
    for set in [Set::ClusterIp, Set::LoadBalancer].into_iter().filter(|set| filled(*set)) {
        append(section, SERVICES, format_args!("-m set --match-set {} dst,dst -j ACCEPT", set.name(family)));
    }
    let mark = &common.mark;
    append(section, "KUBE-POSTROUTING", format_args!("-m mark ! --mark {mark}/{mark} -j RETURN"));
    append(section, "KUBE-POSTROUTING", format_args!("-j MARK --xor-mark {mark}"));
    let random = if common.platform.random_fully { " --random-fully" } else { "" };
    append(
        section,
        "KUBE-POSTROUTING",
        format_args!(
            "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE{random}"
        ),
    );
    append(section, "KUBE-MARK-MASQ", format_args!("-j MARK --or-mark {mark}"));
}

fn filter(section: &mut Section, settings: &Settings, closed: &[Front]) {
    let (mark, family) = (&settings.common.mark, settings.common.family);
    append(section, "KUBE-SOURCE-RANGES-FIREWALL", "-j DROP");
    for front in closed {
        let (address, port) = (front.address.ip(), front.address.port());
        let protocol = match front.protocol {
            6 => "tcp",
            17 => "udp",
            _ => "sctp",
        };
        append(
            section,
            "KUBE-IPVS-OUT-FILTER",
            format_args!("-s {address} -m ipvs --vaddr {address} --vproto {protocol} --vport {port} -j DROP"),
        );
    }
    append(
        section,
        "KUBE-FORWARD",
        format_args!(
            "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark {mark}/{mark} -j ACCEPT"
        ),
    );
    append(
        section,
        "KUBE-FORWARD",
        "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack \
         --ctstate RELATED,ESTABLISHED -j ACCEPT",
    );
    let health = about(Set::HealthCheckNodePort, family);
    append(section, "KUBE-NODE-PORT", format_args!("{health} dst -j ACCEPT"));
    const FILTER: &str = "KUBE-IPVS-FILTER";
    for (set, looked_up) in PASSED {
        let name = set.name(family);
        append(section, FILTER, format_args!("-m set --match-set {name} {looked_up} -j RETURN"));
    }
    let own = Set::IpvsIps.name(family);
    append(
        section,
        FILTER,
        format_args!("-m conntrack --ctstate NEW -m set --match-set {own} dst -j REJECT"),
    );
}
