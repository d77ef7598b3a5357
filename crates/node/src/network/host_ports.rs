//! Host ports: a port of the node that leads to a container. Table `inet portolan-host-ports`.
//!
//! ```text
//! prerouting, output (nat)   destination is of this node   ──▶  ports:  protocol, port [, address]  ──▶  pod
//! postrouting (nat)          a pod that reaches itself     ──▶  masquerade
//! ```
//!
//! The table follows from the pods that have such ports and an address; it is written anew as one transaction when one
//! of them comes or goes. Addresses of the loopback interface lead nowhere: what comes from there could not leave by
//! the pods' bridge.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use nfnetlink::{
    Batch, Chain, ChainType, Expr, Family, Hook, Rule, Socket, Table, Transaction, Verdict,
    expr::{FibAddress, MetaKey, PayloadBase, RTN_LOCAL, Register},
    priority,
};

use super::table_monitor::TableMonitor;

const TABLE: &str = "portolan-host-ports";
const PORTS: &str = "ports";
const KEY: Register = Register(0);
/// Offset and length of the destination port in the headers of TCP, UDP and SCTP.
const PORT: (u32, u32) = (2, 2);

/// One port of the node, and where it leads in the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// `IPPROTO_*`.
    protocol: u8,
    /// One address of the node; `None` for all of the pod's families.
    address: Option<IpAddr>,
    host_port: u16,
    pod_port: u16,
}

impl Mapping {
    fn collides(&self, other: &Self) -> bool {
        let same_address = match (self.address, other.address) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        self.protocol == other.protocol && self.host_port == other.host_port && same_address
    }
}

/// The host ports of a pod; none on the node's own network, where containers listen on them themselves.
pub(super) fn mappings(pod: &Pod) -> Vec<Mapping> {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.host_network != Some(true)) else { return vec![] };
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        let number = |port: i32| u16::try_from(port).ok().filter(|&port| port > 0);
        Some(Mapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => 17,
                Some("SCTP") => 132,
                _ => 6,
            },
            address: port
                .host_ip
                .as_deref()
                .and_then(|ip| ip.parse().ok())
                .filter(|ip: &IpAddr| !ip.is_unspecified()),
            host_port: number(port.host_port?)?,
            pod_port: number(port.container_port)?,
        })
    };
    ports.filter_map(mapping).collect()
}

/// A pod's ports, and its addresses once it has some.
#[derive(Clone, Debug, PartialEq)]
struct Claim {
    pod: String,
    mappings: Vec<Mapping>,
    addresses: Vec<IpAddr>,
}

/// The host ports of this node.
#[derive(Debug)]
pub(crate) struct HostPorts {
    node: String,
    /// By the pods' uid.
    claims: Mutex<BTreeMap<String, Claim>>,
    /// All of ours is written by this one, so that the rest is others'.
    socket: Mutex<Option<Socket>>,
}

impl HostPorts {
    /// No ports, of this node.
    pub(crate) fn new(node: &str) -> Self {
        Self { node: node.to_owned(), claims: Mutex::default(), socket: Mutex::default() }
    }

    /// Takes a pod's ports, and lets them lead to its addresses. Must be called in the node's network namespace.
    ///
    /// # Errors
    /// Another pod has one of them, or the kernel refuses: a sentence.
    pub(crate) fn claim(&self, uid: &str, pod: &Pod, addresses: &[IpAddr]) -> Result<(), String> {
        let mappings = mappings(pod);
        if mappings.is_empty() {
            return Ok(());
        }
        let claim = Claim {
            pod: format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()),
            mappings,
            addresses: addresses.to_vec(),
        };
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        collision(&claims, uid, &claim)?;
        if claims.insert(uid.to_owned(), claim.clone()) == Some(claim) {
            return Ok(());
        }
        self.load(&claims)
    }

    /// Gives a pod's ports back.
    pub(crate) fn release(&self, uid: &str) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.remove(uid).is_some() {
            self.load(&claims).unwrap_or_else(|error| tracing::warn!("{error}"));
        }
    }

    /// Takes away what an earlier process has left for pods that are gone.
    pub(crate) fn tidy(&self) {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        self.load(&claims).unwrap_or_else(|error| tracing::warn!("{error}"));
    }

    /// Writes the table again whenever somebody else has changed it, for ever. Must be called in the node's network
    /// namespace.
    pub(crate) async fn follow(&self) {
        match self.with_socket(|socket| Ok(TableMonitor::of(&table(&self.node), socket))) {
            Ok(mut monitor) => loop {
                monitor.changed().await;
                self.tidy();
            },
            Err(error) => tracing::warn!("host ports are not watched: {error}"),
        }
        std::future::pending::<()>().await;
    }

    fn load(&self, claims: &BTreeMap<String, Claim>) -> Result<(), String> {
        let table = table(&self.node);
        let mut batch = Batch::new();
        // The first makes sure that there is something to delete.
        batch.add_table(&table);
        batch.delete_table(&table);
        if claims.values().any(|claim| !claim.addresses.is_empty()) {
            write(&mut batch, &table, claims);
        }
        let loaded = self.with_socket(|socket| socket.commit(batch));
        loaded.map_err(|error| format!("cannot set up host ports: {error}"))
    }

    fn with_socket<T>(
        &self,
        work: impl FnOnce(&mut Socket) -> Result<T, nfnetlink::Error>,
    ) -> Result<T, nfnetlink::Error> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *socket {
            Some(socket) => work(socket),
            none => work(none.insert(Socket::open()?)),
        }
    }
}

fn collision(claims: &BTreeMap<String, Claim>, uid: &str, new: &Claim) -> Result<(), String> {
    for other in claims.iter().filter(|(other, _)| *other != uid).map(|(_, claim)| claim) {
        for own in &new.mappings {
            if other.mappings.iter().any(|taken| taken.collides(own)) {
                return Err(format!("host port {} is taken by pod {}", own.host_port, other.pod));
            }
        }
    }
    Ok(())
}

fn table(node: &str) -> Table {
    Table { comment: format!("host ports of node {node}"), ..Table::new(Family::Inet, TABLE) }
}

/// Removes the table of this node from the current network namespace; it is no error if there is none.
///
/// # Errors
/// The kernel refused.
pub(crate) fn remove(node: &str) -> Result<(), nfnetlink::Error> {
    let mut socket = Socket::open()?;
    let mut batch = Batch::new();
    for table in socket.tables()?.into_iter().filter(|found| *found == table(node)) {
        batch.delete_table(&table);
    }
    socket.commit(batch)
}

fn write(batch: &mut Batch, table: &Table, claims: &BTreeMap<String, Claim>) {
    batch.add_table(table);
    batch.add_chain(table, &Chain::regular(PORTS));
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.add_chain(table, &Chain::base(name, ChainType::Nat, hook, priority::DSTNAT));
        let mut expressions = vec![
            Expr::FibType { address: FibAddress::Destination, to: KEY },
            equal(RTN_LOCAL.to_ne_bytes().to_vec()),
        ];
        expressions.push(Expr::Verdict(Verdict::Jump(PORTS.into())));
        for loopback in loopback().into_iter().filter(|_| hook == Hook::Output) {
            batch.add_rule(table, &Rule::new(name, loopback));
        }
        batch.add_rule(table, &Rule::new(name, expressions));
    }
    batch.add_chain(table, &Chain::base("postrouting", ChainType::Nat, Hook::Postrouting, priority::SRCNAT));
    for claim in claims.values() {
        for &address in &claim.addresses {
            for mapping in &claim.mappings {
                if let Some(expressions) = port_rule(mapping, address) {
                    batch.add_rule(table, &Rule::new(PORTS, expressions).comment(claim.pod.clone()));
                }
            }
            batch.add_rule(table, &Rule::new("postrouting", itself(address)).comment(claim.pod.clone()));
        }
    }
}

fn equal(value: Vec<u8>) -> Expr {
    Expr::Compare { from: KEY, equal: true, value }
}

/// The rule goes on only for packets of this address's family.
fn family(address: IpAddr) -> [Expr; 2] {
    let protocol = if address.is_ipv4() { 2 } else { 10 };
    [Expr::Meta { key: MetaKey::NfProto, to: KEY }, equal(vec![protocol])]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The rule goes on only for packets to (or from) this address.
fn only(address: IpAddr, source: bool) -> [Expr; 2] {
    let (offset, length) = match (address.is_ipv4(), source) {
        (true, true) => (12, 4),
        (true, false) => (16, 4),
        (false, true) => (8, 16),
        (false, false) => (24, 16),
    };
    [Expr::Payload { base: PayloadBase::Network, offset, length, to: KEY }, equal(octets(address))]
}

/// Packets to the loopback interface's addresses, 127.0.0.0/8 and ::1, go on as they are.
fn loopback() -> [Vec<Expr>; 2] {
    let four = Expr::Payload { base: PayloadBase::Network, offset: 16, length: 1, to: KEY };
    let six = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    let end = || Expr::Verdict(Verdict::Accept);
    let [nfproto, is_four] = family(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    [
        vec![nfproto, is_four, four, equal(vec![127]), end()],
        family(six).into_iter().chain(only(six, false)).chain([end()]).collect(),
    ]
}

/// A port of the node leads to the pod's address; `None` if the port is one of an address of another family.
fn port_rule(mapping: &Mapping, to: IpAddr) -> Option<Vec<Expr>> {
    const ADDRESS: Register = Register(4);
    const TO_PORT: Register = Register(8);
    if mapping.address.is_some_and(|address| address.is_ipv4() != to.is_ipv4()) {
        return None;
    }
    let mut expressions = family(to).to_vec();
    expressions.extend([Expr::Meta { key: MetaKey::L4Proto, to: KEY }, equal(vec![mapping.protocol])]);
    expressions.extend(mapping.address.into_iter().flat_map(|address| only(address, false)));
    expressions.extend([
        Expr::Payload { base: PayloadBase::Transport, offset: PORT.0, length: PORT.1, to: KEY },
        equal(mapping.host_port.to_be_bytes().to_vec()),
        Expr::Immediate { value: octets(to), to: ADDRESS },
        Expr::Immediate { value: mapping.pod_port.to_be_bytes().to_vec(), to: TO_PORT },
        Expr::Dnat {
            family: if to.is_ipv4() { Family::Ip } else { Family::Ip6 },
            address: ADDRESS,
            port: Some(TO_PORT),
        },
    ]);
    Some(expressions)
}

/// A pod that reaches itself by a port of the node must get its answers by way of the node.
fn itself(address: IpAddr) -> Vec<Expr> {
    let [from, to] = [true, false].map(|source| only(address, source));
    let masquerade = Expr::Masquerade { fully_random: true };
    family(address).into_iter().chain(from).chain(to).chain([masquerade]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ports: serde_json::Value, host_network: bool) -> Pod {
        let spec = json!({"hostNetwork": host_network, "containers": [{"name": "c", "ports": ports}]});
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})).unwrap()
    }

    fn claim(port: serde_json::Value) -> Claim {
        Claim { pod: "ns/p".into(), mappings: mappings(&pod(json!([port]), false)), addresses: vec![] }
    }

    #[test]
    fn only_ports_that_name_a_host_port_are_mapped() {
        let ports = json!([{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"},
            {"containerPort": 443, "hostPort": 8443, "hostIP": "0.0.0.0"}, {"containerPort": 1, "hostPort": 70000}]);
        let found = mappings(&pod(ports.clone(), false));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Mapping { protocol: 17, address: None, host_port: 5353, pod_port: 53 });
        assert_eq!((found[1].address, found[1].host_port), (None, 8443));
        assert!(mappings(&pod(ports, true)).is_empty());
    }

    #[test]
    fn a_port_is_one_pods_unless_protocol_or_address_differ() {
        let port = |extra: serde_json::Value| {
            let mut port = json!({"containerPort": 80, "hostPort": 8080});
            port.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            claim(port)
        };
        let claims = [("a".to_owned(), port(json!({"hostIP": "192.0.2.1"})))].into();
        let refused = collision(&claims, "b", &port(json!({}))).unwrap_err();
        assert_eq!(refused, "host port 8080 is taken by pod ns/p");
        assert!(collision(&claims, "b", &port(json!({"hostIP": "192.0.2.1"}))).is_err());
        assert!(collision(&claims, "b", &port(json!({"hostIP": "192.0.2.2"}))).is_ok());
        assert!(collision(&claims, "b", &port(json!({"protocol": "UDP"}))).is_ok());
        assert!(collision(&claims, "a", &port(json!({}))).is_ok(), "a pod may claim its own again");
    }

    #[test]
    fn an_address_of_the_node_leads_to_pods_of_its_family_only() {
        let mapping =
            Mapping { protocol: 6, address: Some([192, 0, 2, 1].into()), host_port: 1, pod_port: 2 };
        assert!(port_rule(&mapping, "fd00::2".parse().unwrap()).is_none());
        assert!(port_rule(&mapping, [10, 0, 0, 2].into()).is_some());
    }
}
