//! The sets that kube-proxy's ipvs mode keeps, and which rules of iptables ask about.

use nfnetlink::ipset::{IpSet, SetType};
use service::Family;

/// One of the sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Set {
    LoopBack,
    ClusterIp,
    ExternalIp,
    ExternalIpLocal,
    LoadBalancer,
    LoadBalancerFw,
    LoadBalancerLocal,
    LoadBalancerSourceIp,
    LoadBalancerSourceCidr,
    NodePortTcp,
    NodePortLocalTcp,
    NodePortUdp,
    NodePortLocalUdp,
    NodePortSctp,
    NodePortLocalSctp,
    HealthCheckNodePort,
    IpvsIps,
}

use SetType as T;

/// All of them, with kube-proxy's name, the type, and the words that kube-proxy's rules have about them.
const TABLE: [(Set, &str, SetType, &str); 17] = [
    (
        Set::LoopBack,
        "KUBE-LOOP-BACK",
        T::HashIpPortIp,
        "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose",
    ),
    (
        Set::ClusterIp,
        "KUBE-CLUSTER-IP",
        T::HashIpPort,
        "Kubernetes service cluster ip + port for masquerade purpose",
    ),
    (
        Set::ExternalIp,
        "KUBE-EXTERNAL-IP",
        T::HashIpPort,
        "Kubernetes service external ip + port for masquerade and filter purpose",
    ),
    (
        Set::ExternalIpLocal,
        "KUBE-EXTERNAL-IP-LOCAL",
        T::HashIpPort,
        "Kubernetes service external ip + port with externalTrafficPolicy=local",
    ),
    (Set::LoadBalancer, "KUBE-LOAD-BALANCER", T::HashIpPort, "Kubernetes service lb portal"),
    (
        Set::LoadBalancerFw,
        "KUBE-LOAD-BALANCER-FW",
        T::HashIpPort,
        "Kubernetes service load balancer ip + port for load balancer with sourceRange",
    ),
    (
        Set::LoadBalancerLocal,
        "KUBE-LOAD-BALANCER-LOCAL",
        T::HashIpPort,
        "Kubernetes service load balancer ip + port with externalTrafficPolicy=local",
    ),
    (
        Set::LoadBalancerSourceIp,
        "KUBE-LOAD-BALANCER-SOURCE-IP",
        T::HashIpPortIp,
        "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
    ),
    (
        Set::LoadBalancerSourceCidr,
        "KUBE-LOAD-BALANCER-SOURCE-CIDR",
        T::HashIpPortNet,
        "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
    ),
    (
        Set::NodePortTcp,
        "KUBE-NODE-PORT-TCP",
        T::BitmapPort,
        "Kubernetes nodeport TCP port for masquerade purpose",
    ),
    (
        Set::NodePortLocalTcp,
        "KUBE-NODE-PORT-LOCAL-TCP",
        T::BitmapPort,
        "Kubernetes nodeport TCP port with externalTrafficPolicy=local",
    ),
    (
        Set::NodePortUdp,
        "KUBE-NODE-PORT-UDP",
        T::BitmapPort,
        "Kubernetes nodeport UDP port for masquerade purpose",
    ),
    (
        Set::NodePortLocalUdp,
        "KUBE-NODE-PORT-LOCAL-UDP",
        T::BitmapPort,
        "Kubernetes nodeport UDP port with externalTrafficPolicy=local",
    ),
    (
        Set::NodePortSctp,
        "KUBE-NODE-PORT-SCTP-HASH",
        T::HashIpPort,
        "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
    ),
    (
        Set::NodePortLocalSctp,
        "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
        T::HashIpPort,
        "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
    ),
    (
        Set::HealthCheckNodePort,
        "KUBE-HEALTH-CHECK-NODE-PORT",
        T::BitmapPort,
        "Kubernetes health check node port",
    ),
    (Set::IpvsIps, "KUBE-IPVS-IPS", T::HashIp, "Addresses on the ipvs interface"),
];

/// The longest name that the kernel takes.
const LONGEST: usize = 31;

impl Set {
    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(set, ..)| *set)
    }

    fn row(self) -> &'static (Self, &'static str, SetType, &'static str) {
        // The table is in the order of the names above, which a test sees to.
        &TABLE[self as usize]
    }

    /// Its name. Those for IPv6 have another beginning, and lose their end where that makes them too long.
    pub(crate) fn name(self, family: Family) -> String {
        let (_, name, ..) = self.row();
        match family {
            Family::V4 => (*name).to_owned(),
            Family::V6 => {
                let mut name = name.replacen("KUBE-", "KUBE-6-", 1);
                name.truncate(LONGEST);
                name
            }
        }
    }

    /// As the kernel is asked for it.
    pub(crate) fn ip_set(self, family: Family) -> IpSet {
        let (_, _, kind, _) = self.row();
        let ip = match family {
            Family::V4 => nfnetlink::Family::Ip,
            Family::V6 => nfnetlink::Family::Ip6,
        };
        IpSet { name: self.name(family), kind: *kind, family: ip }
    }

    /// What rules say about it.
    pub(crate) fn comment(self) -> &'static str {
        self.row().3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_no_name_is_too_long_or_twice() {
        let mut names = Vec::new();
        for (place, (set, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*set as usize, place);
            names.extend(Family::ALL.map(|family| set.name(family)));
        }
        assert!(names.iter().all(|name| name.len() <= LONGEST));
        assert!(names.contains(&"KUBE-6-LOAD-BALANCER-SOURCE-CID".to_owned()), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * TABLE.len());
    }
}
