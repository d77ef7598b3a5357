//! Live packets of one Service, and the rules they take (nftrace).
//!
//! A table of its own asks the kernel to tell of packets that are sent to the Service; it goes when the [`Live`] value
//! is dropped. Rules themselves are not touched.

mod sys;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use nfnetlink::expr::{CtKey, FibAddress, LookupResult, MetaKey, PayloadBase, RTN_LOCAL, Register, ct_state};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, Expr, Hook, KeyType, Rule, Ruleset, Set, SetContent, Socket,
    Table, TraceEvent, TraceKind, Tracer, Transaction, Verdict,
};
use service::objects::Protocol;
use service::{Family, ServiceName};
use tokio::io::unix::AsyncFd;

use crate::error::Error;
use crate::sight::Sight;

/// After connection tracking, before anything translates (kernel priorities -200 and -110).
const PRIORITY: i32 = -150;
/// The first register of a key.
const KEY: Register = Register(0);

/// The ports of a Service, listened to.
pub struct Live {
    socket: Socket,
    events: AsyncFd<Tracer>,
    /// The tables as last read, and the text of each rule.
    texts: HashMap<(String, u64), String>,
}

/// A packet on its way, or a step of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// A packet that was not seen before, or that has new addresses since it was translated.
    Packet {
        /// The same for all sightings of one packet.
        id: u32,
        /// Who sends.
        source: SocketAddr,
        /// Where to.
        destination: SocketAddr,
        /// The protocol's number.
        protocol: u8,
    },
    /// It met a rule that matched, or the end of a chain that decides.
    Step {
        /// The same for all sightings of one packet.
        id: u32,
        /// Table and chain.
        place: String,
        /// The rule as `nft` prints it.
        rule: String,
        /// What was decided, if anything.
        verdict: Option<String>,
    },
}

impl Live {
    /// Starts to listen for new connections to the Service, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Mode`] when there is no such Service with an address, [`Error::Load`] when the kernel refuses.
    pub fn start(sight: &Sight<'_>, name: &ServiceName) -> Result<Self, Error> {
        let ports = sight.ports(name);
        if ports.is_empty() {
            return Err(Error::Mode(format!(
                "there is no Service {name} with an address that a proxy serves"
            )));
        }
        let mut destinations: Vec<(IpAddr, Protocol, u16)> = Vec::new();
        let mut node_ports: Vec<(Protocol, u16)> = Vec::new();
        for view in &ports {
            let (protocol, port) = (view.port.protocol, view.port.port);
            let addresses =
                [view.cluster_ip].into_iter().chain(view.external_ips()).chain(view.load_balancer_ips());
            destinations.extend(addresses.map(|address| (address, protocol, port)));
            node_ports.extend(view.port.node_port.map(|port| (protocol, port)));
        }
        let mut socket = Socket::open().map_err(Error::Load)?;
        socket.commit(listening(&mut destinations, &mut node_ports)).map_err(Error::Load)?;
        let tracer = Tracer::open().map_err(Error::Load)?;
        let events = sys::watch(tracer)
            .map_err(|error| Error::Mode(format!("the kernel's events cannot be waited for: {error}")))?;
        Ok(Self { socket, events, texts: HashMap::new() })
    }

    /// Waits for packets and says what they met.
    ///
    /// # Errors
    /// When the kernel's events cannot be read.
    pub async fn next(&mut self) -> Result<Vec<Sighting>, Error> {
        loop {
            let mut ready = self.events.readable_mut().await.map_err(unreadable)?;
            let events = ready.get_inner_mut().read().map_err(Error::Load)?;
            ready.clear_ready();
            let sightings: Vec<_> = events.iter().flat_map(|event| self.sighting(event)).collect();
            if !sightings.is_empty() {
                return Ok(sightings);
            }
        }
    }

    fn sighting(&mut self, event: &TraceEvent) -> Vec<Sighting> {
        let mut found = Vec::new();
        if event.table == table().name {
            return found;
        }
        if let Some(headers) = event.headers {
            let (source, destination) = headers.ports.unwrap_or_default();
            found.push(Sighting::Packet {
                id: event.id,
                source: SocketAddr::new(headers.source, source),
                destination: SocketAddr::new(headers.destination, destination),
                protocol: headers.protocol,
            });
        }
        let rule = match (event.kind, event.rule) {
            (TraceKind::Rule, Some(handle)) => self.text(event, handle),
            (TraceKind::Policy, _) => "policy".to_owned(),
            _ => return found,
        };
        let place = format!("{} {} {}", event.family, event.table, event.chain);
        let verdict = event.verdict.as_ref().map(|verdict| match verdict {
            Verdict::Accept => "accept".to_owned(),
            Verdict::Drop => "drop".to_owned(),
            Verdict::Jump(chain) => format!("jump {chain}"),
            Verdict::Goto(chain) => format!("goto {chain}"),
            other => format!("{other:?}").to_lowercase(),
        });
        found.push(Sighting::Step { id: event.id, place, rule, verdict });
        found
    }

    /// The text of a rule; tables are read again when they have a rule that was not there before.
    fn text(&mut self, event: &TraceEvent, handle: u64) -> String {
        let key = (format!("{} {}", event.family, event.table), handle);
        if !self.texts.contains_key(&key) {
            let tables = self.socket.tables().unwrap_or_default();
            let table = tables.iter().find(|table| table.family == event.family && table.name == event.table);
            let rules = table.and_then(|table| self.socket.ruleset(table).ok()).unwrap_or_default();
            self.texts.extend(rule_texts(&rules).map(|(handle, text)| ((key.0.clone(), handle), text)));
        }
        self.texts.get(&key).cloned().unwrap_or_else(|| format!("rule {handle}, which is gone"))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut batch = Batch::new();
        batch.delete_table(&table());
        if let Err(error) = self.socket.commit(batch) {
            tracing::warn!(%error, "the table inet portolan-trace stays; nft delete table inet portolan-trace removes it");
        }
    }
}

fn rule_texts(rules: &Ruleset) -> impl Iterator<Item = (u64, String)> + '_ {
    let all = rules.chains().flat_map(|chain| &chain.rules);
    all.filter_map(|rule| Some((rule.handle.0?, rules.rule_text(rule))))
}

fn unreadable(error: io::Error) -> Error {
    Error::Mode(format!("the kernel's events cannot be read: {error}"))
}

fn table() -> Table {
    Table {
        comment: "packets that portolan trace shows".to_owned(),
        ..Table::new(nfnetlink::Family::Inet, "portolan-trace")
    }
}

/// The table that asks the kernel to tell of the first packets of connections to these destinations.
fn listening(
    destinations: &mut Vec<(IpAddr, Protocol, u16)>,
    node_ports: &mut Vec<(Protocol, u16)>,
) -> Batch {
    use DataType::{InetProto, InetService, Ipv4Addr, Ipv6Addr};
    destinations.sort_unstable();
    destinations.dedup();
    node_ports.sort_unstable();
    node_ports.dedup();
    let table = table();
    let mut batch = Batch::new();
    batch.add_table(&table);
    // What a former run may have left.
    batch.delete_table(&table);
    batch.add_table(&table);
    let keys = |types: &'static [DataType], name: &'static str| {
        Set::new(name, KeyType::of(types), SetContent::Keys, "destinations of the Service")
    };
    batch.add_set(&table, &keys(&[Ipv4Addr, InetProto, InetService], "destinations"));
    batch.add_set(&table, &keys(&[Ipv6Addr, InetProto, InetService], "destinations6"));
    batch.add_set(&table, &keys(&[InetProto, InetService], "node-ports"));
    for (family, set) in [(Family::V4, "destinations"), (Family::V6, "destinations6")] {
        let of_family = destinations.iter().filter(|(address, ..)| Family::of(*address) == family);
        let elements: Vec<_> = of_family
            .map(|(address, protocol, port)| {
                let mut key = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                key.extend(protocol_and_port(*protocol, *port));
                Element::key(key)
            })
            .collect();
        batch.add_elements(&table, set, &elements);
    }
    let ports: Vec<_> = node_ports
        .iter()
        .map(|(protocol, port)| Element::key(protocol_and_port(*protocol, *port).to_vec()))
        .collect();
    batch.add_elements(&table, "node-ports", &ports);
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.add_chain(&table, &Chain::base(name, ChainType::Filter, hook, PRIORITY));
        for (nfproto, offset, length, words, set) in
            [(2, 16, 4, 1, "destinations"), (10, 24, 16, 4, "destinations6")]
        {
            let destination = Expr::Payload { base: PayloadBase::Network, offset, length, to: KEY };
            let mut rule = vec![
                Expr::Meta { key: MetaKey::NfProto, to: KEY },
                Expr::Compare { from: KEY, equal: true, value: vec![nfproto] },
            ];
            rule.extend(new_connection());
            rule.push(destination);
            rule.extend(port_key(Register(KEY.0 + words)));
            rule.push(Expr::Lookup { set: set.into(), from: KEY, result: LookupResult::Contained });
            rule.extend(tell());
            batch.add_rule(&table, &Rule::new(name, rule));
        }
        let mut rule = new_connection().to_vec();
        rule.extend([
            Expr::FibType { address: FibAddress::Destination, to: KEY },
            Expr::Compare { from: KEY, equal: true, value: RTN_LOCAL.to_ne_bytes().to_vec() },
        ]);
        rule.extend(port_key(KEY));
        rule.push(Expr::Lookup { set: "node-ports".into(), from: KEY, result: LookupResult::Contained });
        rule.extend(tell());
        batch.add_rule(&table, &Rule::new(name, rule));
    }
    batch
}

fn new_connection() -> [Expr; 3] {
    [
        Expr::Ct { key: CtKey::State, to: KEY },
        Expr::bitwise(KEY, KEY, ct_state::NEW, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ]
}

/// Loads protocol and destination port.
fn port_key(to: Register) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::L4Proto, to },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(to.0 + 1) },
    ]
}

fn tell() -> [Expr; 2] {
    [Expr::Immediate { value: vec![1], to: KEY }, Expr::SetMeta { key: MetaKey::Trace, from: KEY }]
}

/// Both fields, each filled up to four bytes.
fn protocol_and_port(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol.number(), 0, 0, 0, high, low, 0, 0]
}
