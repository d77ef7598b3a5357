//! The way of pods' packets out of the cluster: table `inet portolan-pods`.
//!
//! ```text
//! postrouting (nat)   source in own-pods, destination not in cluster  ──▶  masquerade
//! ```
//!
//! Nobody outside of the cluster has a route to a pod, so a packet that leaves the cluster takes the node's
//! address, and the answer comes back to it. Between pods and nodes every packet keeps its source. It is what
//! `ipMasq` of the CNI bridge plugin and the ip-masq-agent do. Connections live in the kernel's connection
//! table and keep their translation whatever happens to the rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, Expr, Family, Hook, KeyType, Rule, Set, SetContent, Socket,
    Table, Transaction,
    expr::{LookupResult, MetaKey, PayloadBase, Register},
    priority, range_elements,
};
use service::Cidr;

use super::nodes::NodeNetwork;
use super::table_monitor::TableMonitor;
use crate::Error;

const TABLE: &str = "portolan-pods";
const CHAIN: &str = "postrouting";

/// Addresses that lead nowhere beyond the link, so that they are never masqueraded: multicast (RFC 5771,
/// RFC 4291), the limited broadcast (RFC 919) and IPv6's link-local addresses.
const LINK: [(IpAddr, u8); 4] = [
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V4(Ipv4Addr::BROADCAST), 32),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

/// What differs between IPv4 and IPv6.
struct Version {
    /// `NFPROTO_*`.
    nfproto: u8,
    /// Length of an address in bytes.
    length: u32,
    /// Offsets of source and destination in the IP header.
    offsets: [u32; 2],
    own_pods: Set,
    cluster: Set,
}

const VERSIONS: [Version; 2] = [
    Version {
        nfproto: 2,
        length: 4,
        offsets: [12, 16],
        own_pods: ranges("own-pods", KeyType::of(&[DataType::Ipv4Addr]), OWN_PODS),
        cluster: ranges("cluster", KeyType::of(&[DataType::Ipv4Addr]), CLUSTER),
    },
    Version {
        nfproto: 10,
        length: 16,
        offsets: [8, 24],
        own_pods: ranges("own-pods6", KeyType::of(&[DataType::Ipv6Addr]), OWN_PODS),
        cluster: ranges("cluster6", KeyType::of(&[DataType::Ipv6Addr]), CLUSTER),
    },
];
const OWN_PODS: &str = "pods of this node";
const CLUSTER: &str = "pods, nodes, and what stays on the link";

const fn ranges(name: &'static str, key: KeyType, comment: &'static str) -> Set {
    Set::new(name, key, SetContent::Ranges, comment)
}

impl Version {
    /// The elements of a set of ranges that hold these blocks, as far as they are of this version.
    fn elements(&self, blocks: &[Cidr]) -> Vec<Element> {
        let own = blocks.iter().filter(|block| block.address().is_ipv4() == (self.length == 4));
        range_elements(own.map(Cidr::bounds), self.length as usize)
    }

    fn rule(&self) -> Rule {
        const KEY: Register = Register(0);
        let load =
            |offset| Expr::Payload { base: PayloadBase::Network, offset, length: self.length, to: KEY };
        let [source, destination] = self.offsets;
        let expressions = vec![
            Expr::Meta { key: MetaKey::NfProto, to: KEY },
            Expr::Compare { from: KEY, equal: true, value: vec![self.nfproto] },
            load(source),
            Expr::Lookup { set: self.own_pods.name.clone(), from: KEY, result: LookupResult::Contained },
            load(destination),
            Expr::Lookup { set: self.cluster.name.clone(), from: KEY, result: LookupResult::NotContained },
            Expr::Masquerade { fully_random: true },
        ];
        Rule::new(CHAIN, expressions).comment("pods leave the cluster under this node's address")
    }
}

/// What the table is to hold.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    own_pods: Vec<Cidr>,
    cluster: Vec<Cidr>,
}

impl Wanted {
    fn new<'a>(own: Option<&NodeNetwork>, all: impl Iterator<Item = &'a NodeNetwork>) -> Self {
        let mut cluster: Vec<Cidr> =
            LINK.iter().filter_map(|&(address, prefix)| Cidr::new(address, prefix)).collect();
        for node in all {
            cluster.extend(&node.pod_cidrs);
            cluster.extend(node.addresses.iter().copied().map(Cidr::host));
        }
        Self { own_pods: own.map(|own| own.pod_cidrs.clone()).unwrap_or_default(), cluster }
    }

    /// Writes the table anew, as one transaction. It is small, and nodes come and go rarely.
    fn transaction(&self, table: &Table) -> Batch {
        let mut batch = Batch::new();
        // The first makes sure that there is something to delete.
        batch.add_table(table);
        batch.delete_table(table);
        batch.add_table(table);
        batch.add_chain(table, &Chain::base(CHAIN, ChainType::Nat, Hook::Postrouting, priority::SRCNAT));
        for version in &VERSIONS {
            for (set, blocks) in [(&version.own_pods, &self.own_pods), (&version.cluster, &self.cluster)] {
                batch.add_set(table, set);
                batch.add_elements(table, &set.name, &version.elements(blocks));
            }
            batch.add_rule(table, &version.rule());
        }
        batch
    }
}

/// The table, named with the node that it belongs to.
fn table(node: &str) -> Table {
    Table { comment: format!("the way out for pods of node {node}"), ..Table::new(Family::Inet, TABLE) }
}

/// The table in the network namespace in which it was opened.
pub(crate) struct Masquerade {
    socket: Socket,
    table: Table,
    monitor: TableMonitor,
    loaded: Option<Wanted>,
}

impl Masquerade {
    /// Must be called within a tokio runtime. Changes nothing yet: the first [`Masquerade::follow`] replaces what an earlier process left.
    ///
    /// # Errors
    /// The kernel has no nf_tables.
    pub(crate) fn open(node: &str) -> Result<Self, Error> {
        let socket = Socket::open().map_err(|error| Error::Network(error.to_string()))?;
        let table = table(node);
        let monitor = TableMonitor::of(&table, &socket);
        Ok(Self { socket, table, monitor, loaded: None })
    }

    /// Waits until somebody else changed the table; the next [`Masquerade::follow`] writes it again.
    pub(crate) async fn disturbed(&mut self) {
        self.monitor.changed().await;
        self.loaded = None;
    }

    /// Makes the table tell `own` pods' packets to the nodes of `all` from those to elsewhere. What fails is
    /// logged and tried again with the next change: pods then still reach each other.
    pub(crate) fn follow<'a>(
        &mut self,
        own: Option<&NodeNetwork>,
        all: impl Iterator<Item = &'a NodeNetwork>,
    ) {
        let wanted = Wanted::new(own, all);
        if self.loaded.as_ref() == Some(&wanted) {
            return;
        }
        self.loaded = match self.socket.commit(wanted.transaction(&self.table)) {
            Ok(()) => Some(wanted),
            Err(error) => {
                tracing::warn!("pods cannot reach what is outside of the cluster: {error}");
                None
            }
        };
    }
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

#[cfg(test)]
mod tests {
    use nfnetlink::ElementData;

    use super::*;

    fn blocks(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(elements: &[Element]) -> Vec<String> {
        let shown = elements.iter().map(|element| {
            let end = if element.data == ElementData::RangeEnd { "<" } else { "" };
            let address = match <[u8; 4]>::try_from(element.key.as_slice()) {
                Ok(four) => IpAddr::from(four),
                Err(_) => IpAddr::from(<[u8; 16]>::try_from(element.key.as_slice()).unwrap()),
            };
            format!("{end}{address}")
        });
        shown.collect()
    }

    #[test]
    fn the_cluster_is_every_nodes_pods_and_internal_addresses_and_the_link() {
        let node = |number: u8| NodeNetwork {
            pod_cidrs: blocks(&[&format!("10.244.{number}.0/24")]),
            addresses: vec![IpAddr::from([192, 0, 2, number])],
        };
        let nodes = [node(1), node(2)];
        let wanted = Wanted::new(Some(&nodes[0]), nodes.iter());
        assert_eq!(shown(&VERSIONS[0].elements(&wanted.own_pods)), ["10.244.1.0", "<10.244.2.0"]);
        assert_eq!(
            shown(&VERSIONS[0].elements(&wanted.cluster)),
            [
                "10.244.1.0",
                "<10.244.3.0",
                "192.0.2.1",
                "<192.0.2.3",
                "224.0.0.0",
                "<240.0.0.0",
                "255.255.255.255"
            ]
        );
        assert_eq!(shown(&VERSIONS[1].elements(&wanted.cluster)), ["fe80::", "<fec0::", "ff00::"]);
    }

    #[test]
    fn blocks_that_touch_or_overlap_become_one_range() {
        let four = |texts: &[&str]| shown(&VERSIONS[0].elements(&blocks(texts)));
        assert_eq!(four(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7/32"]), ["10.0.0.0", "<10.0.2.0"]);
        assert_eq!(four(&["0.0.0.0/0"]), ["0.0.0.0"]);
        assert_eq!(shown(&VERSIONS[1].elements(&blocks(&["::/0", "fd00::/64"]))), ["::"]);
    }

    #[test]
    fn a_node_that_has_no_pod_cidr_yet_masquerades_nothing() {
        assert_eq!(Wanted::new(None, [].iter()).own_pods, []);
    }
}
