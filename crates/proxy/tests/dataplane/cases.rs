//! One table of packets for every mode: walked through its compiled rules, and sent as real connections.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use proxy::explain::{Verdict, outcome};
use proxy::{Config, ModeName, NodePortAddresses, Packet, Still};
use serde_json::{Value, json};
use service::manifest::Objects;
use service::objects::Protocol;

use crate::iptables;
use crate::namespace::{Namespace, join};
use crate::scene::{CLIENT, MakeMode, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, TARGET, config, nftables};
use crate::server::ask_within;
use crate::userspace;

/// The table itself.
const TABLE: &str = include_str!("cases.txt");
/// Clients and addresses in the order of the table's columns.
const CLIENTS: [Client; 3] = [Client::Pod, Client::Node, Client::Outside];
const ADDRESS_KINDS: [AddressKind; 4] =
    [AddressKind::ClusterIp, AddressKind::NodePort, AddressKind::ExternalIp, AddressKind::LoadBalancer];
/// How often a connection to one of two endpoints is tried until both have answered.
const TRIES: usize = 40;
/// How long a client waits for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Pod,
    Node,
    Outside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressKind {
    ClusterIp,
    NodePort,
    ExternalIp,
    LoadBalancer,
}

/// What should become of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// Served by the endpoint here, there, or either; and whether the endpoint sees the node's address.
    Served {
        here: bool,
        there: bool,
        masquerade: bool,
    },
    Reject,
    Drop,
}

impl FromStr for Expected {
    type Err = String;

    fn from_str(cell: &str) -> Result<Self, String> {
        match cell {
            "reject" => return Ok(Self::Reject),
            "drop" => return Ok(Self::Drop),
            _ => {}
        }
        let (endpoints, masquerade) = cell.strip_suffix('!').map_or((cell, false), |rest| (rest, true));
        match endpoints {
            "H" => Ok(Self::Served { here: true, there: false, masquerade }),
            "T" => Ok(Self::Served { here: false, there: true, masquerade }),
            "HT" => Ok(Self::Served { here: true, there: true, masquerade }),
            other => Err(format!("{other:?} is no cell")),
        }
    }
}

/// One row: a Service with its policies, the state of its endpoints, and what its twelve addresses lead to.
struct Row {
    number: usize,
    policy: String,
    state: String,
    cells: Vec<Expected>,
}

impl Row {
    fn cases(&self) -> impl Iterator<Item = (Client, AddressKind, &Expected)> {
        let columns = CLIENTS.into_iter().flat_map(|client| ADDRESS_KINDS.map(|kind| (client, kind)));
        columns.zip(&self.cells).map(|((client, kind), expected)| (client, kind, expected))
    }

    /// Where a client is sent to.
    fn kind(&self, kind: AddressKind, v6: bool) -> SocketAddr {
        let number = self.number;
        let (address, port) = match (kind, v6) {
            (AddressKind::ClusterIp, false) => (format!("10.96.7.{number}"), 8080),
            (AddressKind::ClusterIp, true) => (format!("fd00:96::7:{number:x}"), 8080),
            (AddressKind::NodePort, false) => (NODE.to_owned(), 30_000 + number),
            (AddressKind::NodePort, true) => (NODE_V6.to_owned(), 30_000 + number),
            (AddressKind::ExternalIp, false) => (format!("198.51.100.{number}"), 8080),
            (AddressKind::ExternalIp, true) => (format!("2001:db8:e::{number:x}"), 8080),
            (AddressKind::LoadBalancer, false) => (format!("203.0.113.{number}"), 8080),
            (AddressKind::LoadBalancer, true) => (format!("2001:db8:1b::{number:x}"), 8080),
        };
        SocketAddr::new(address.parse().unwrap(), u16::try_from(port).unwrap())
    }

    /// The Service and its slices.
    fn objects(&self) -> Vec<Value> {
        let name = format!("{}-{}", self.policy, self.state);
        let node_port = 30_000 + self.number;
        let ports: Vec<_> = ["TCP", "UDP", "SCTP"]
            .map(|protocol| {
                json!({"name": protocol.to_lowercase(), "protocol": protocol, "port": 8080, "nodePort": node_port})
            })
            .to_vec();
        let ip = |kind, v6| self.kind(kind, v6).ip().to_string();
        let policy = |local| if local { "Local" } else { "Cluster" };
        let service = json!({
            "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "type": "LoadBalancer", "ports": ports,
                "clusterIPs": [ip(AddressKind::ClusterIp, false), ip(AddressKind::ClusterIp, true)],
                "externalIPs": [ip(AddressKind::ExternalIp, false), ip(AddressKind::ExternalIp, true)],
                "externalTrafficPolicy": policy(matches!(&*self.policy, "external-local" | "both-local")),
                "internalTrafficPolicy": policy(matches!(&*self.policy, "internal-local" | "both-local")),
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": ip(AddressKind::LoadBalancer, false)}, {"ip": ip(AddressKind::LoadBalancer, true)},
            ]}},
        });
        let slice = |family: &str, here: &str, there: &str| {
            let ports: Vec<_> = ["TCP", "UDP", "SCTP"]
                .map(
                    |protocol| json!({"name": protocol.to_lowercase(), "protocol": protocol, "port": TARGET}),
                )
                .to_vec();
            json!({
                "kind": "EndpointSlice", "addressType": family, "ports": ports,
                "metadata": {"name": format!("{name}-{}", family.to_lowercase()), "namespace": "default",
                    "labels": {"kubernetes.io/service-name": name}},
                "endpoints": self.endpoints(here, there),
            })
        };
        vec![service, slice("IPv4", POD1, POD2), slice("IPv6", POD1_V6, POD2_V6)]
    }

    fn endpoints(&self, here: &str, there: &str) -> Vec<Value> {
        let ready = json!({"ready": true, "serving": true, "terminating": false});
        let unready = json!({"ready": false, "serving": false, "terminating": false});
        let leaving = json!({"ready": false, "serving": true, "terminating": true});
        let zone = |zone: &str| json!({"forZones": [{"name": zone}]});
        let none = Value::Null;
        let (h, t) = match self.state.as_str() {
            "both" => (Some((&ready, none.clone())), Some((&ready, none))),
            "here" => (Some((&ready, none)), None),
            "there" => (None, Some((&ready, none))),
            "none" => (None, None),
            "unready" => (Some((&unready, none.clone())), Some((&unready, none))),
            "terminating" => (Some((&leaving, none.clone())), Some((&leaving, none))),
            "here-terminating" => (Some((&leaving, none.clone())), Some((&ready, none))),
            "there-terminating" => (Some((&ready, none.clone())), Some((&leaving, none))),
            "zone-here" => (Some((&ready, zone("zone-a"))), Some((&ready, zone("zone-b")))),
            "zone-there" => (Some((&ready, zone("zone-b"))), Some((&ready, zone("zone-a")))),
            other => panic!("{other:?} is no state"),
        };
        let endpoint = |address: &str, node: &str, (conditions, hints): (&Value, Value)| json!({"addresses": [address], "nodeName": node, "conditions": conditions, "hints": hints});
        let h = h.map(|state| endpoint(here, "node", state));
        let t = t.map(|state| endpoint(there, "elsewhere", state));
        h.into_iter().chain(t).collect()
    }
}

const NODE_V6: &str = "2001:db8::1";
const CLIENT_V6: &str = "2001:db8::2";

fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let row = |(index, line): (usize, &str)| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let (policy, state) = (words.next().unwrap(), words.next().unwrap());
        let cells: Vec<_> = words.map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(cells.len(), CLIENTS.len() * ADDRESS_KINDS.len(), "{line}");
        Row { number: index + 1, policy, state, cells }
    };
    lines.enumerate().map(row).collect()
}

fn node() -> Value {
    json!({
        "kind": "Node", "metadata": {"name": "node", "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "status": {"addresses": [
            {"type": "InternalIP", "address": NODE}, {"type": "InternalIP", "address": NODE_V6},
        ]},
    })
}

fn in_mode(mode: ModeName) -> Config {
    Config { mode, node_port_addresses: Some(NodePortAddresses::All), ..config() }
}

/// A pod of this node that is no endpoint, the node, and somebody outside.
fn source(client: Client, v6: bool) -> IpAddr {
    let text = match (client, v6) {
        (Client::Pod, false) => "10.244.1.99",
        (Client::Pod, true) => "fd00:244:1::99",
        (Client::Node, false) => NODE,
        (Client::Node, true) => NODE_V6,
        (Client::Outside, false) => CLIENT,
        (Client::Outside, true) => CLIENT_V6,
    };
    text.parse().unwrap()
}

/// What a mode makes of a case where it is known to differ: kube-proxy's iptables rules refuse nothing that the node
/// itself sends to external addresses, since their chain is not in OUTPUT.
fn in_this_mode(mode: ModeName, client: Client, kind: AddressKind, expected: &Expected) -> Option<&Expected> {
    let external = matches!(kind, AddressKind::ExternalIp | AddressKind::LoadBalancer);
    let iptables = matches!(mode, ModeName::Iptables | ModeName::Ipvs);
    let passes = iptables && client == Client::Node && external && *expected == Expected::Reject;
    (!passes).then_some(expected)
}

/// Walks all packets of the table through the compiled rules of a mode; returns how many.
fn walk(mode: ModeName) -> usize {
    let rows = rows();
    let items: Vec<_> = rows.iter().flat_map(Row::objects).chain([node()]).collect();
    let mut objects = Objects::default();
    objects.read(&json!({"kind": "List", "items": items}).to_string()).unwrap();
    let still = Still::new(objects.finish(), in_mode(mode), Vec::new());
    let rules = proxy::compile(&still.sight()).unwrap();
    let tracer = rules.tracer();
    let (mut walked, mut wrong) = (0, Vec::new());
    for row in &rows {
        for (client, kind, expected) in row.cases() {
            for v6 in [false, true] {
                for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                    if mode == ModeName::Userspace && protocol == Protocol::Sctp {
                        continue;
                    }
                    let packet = Packet {
                        source: source(client, v6),
                        destination: row.kind(kind, v6),
                        protocol,
                        interface: None,
                    };
                    let found = outcome(&tracer.trace(&packet).unwrap());
                    walked += 1;
                    let agrees = match in_this_mode(mode, client, kind, expected) {
                        Some(expected) => agrees(&found, expected, v6, mode),
                        None => found.0 == Verdict::Pass,
                    };
                    if !agrees {
                        wrong.push(format!(
                            "{}/{} {client:?} {kind:?} {protocol} v6={v6}: {found:?}, not {expected:?}",
                            row.policy, row.state
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{mode}: {} of {walked}: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    walked
}

fn agrees(
    found: &(Verdict, Vec<proxy::explain::Share>),
    expected: &Expected,
    v6: bool,
    mode: ModeName,
) -> bool {
    let (verdict, shares) = found;
    match expected {
        Expected::Reject => *verdict == Verdict::Reject,
        Expected::Drop => *verdict == Verdict::Drop,
        Expected::Served { here, there, masquerade } => {
            let pods = if v6 { [POD1_V6, POD2_V6] } else { [POD1, POD2] };
            let wanted: BTreeSet<IpAddr> = pods
                .into_iter()
                .zip([here, there])
                .filter(|(_, wanted)| **wanted)
                .map(|(pod, _)| pod.parse().unwrap())
                .collect();
            let reached: BTreeSet<IpAddr> = shares.iter().map(|share| share.address.ip()).collect();
            let even =
                shares.iter().all(|share| (share.probability - 1.0 / wanted.len() as f64).abs() < 1e-6);
            // In userspace mode the endpoint always sees the proxy.
            let hidden = *masquerade || mode == ModeName::Userspace;
            *verdict == Verdict::Dnat
                && reached == wanted
                && even
                && shares.iter().all(|share| share.masquerade == hidden && share.address.port() == TARGET)
        }
    }
}

/// Makes real TCP connections for the cases of every `step`-th row, and compares who answers and whom it sees.
fn connect(mode: ModeName, make: MakeMode, v6: bool, step: usize) -> usize {
    let Some(mut scene) = Scene::in_mode(make, in_mode(mode)) else { return 0 };
    // A pod of this node that is no endpoint.
    let pod = Namespace::new("pod3");
    join(&scene.node, &pod, "pod3", &[("10.244.3.", 24), ("fd00:244:3::", 64)]);
    scene.set_zone("zone-a");
    // So many refusals in a row are more than the kernel says by itself.
    scene.node.sysctl("ipv4/icmp_ratelimit", "0");
    scene.node.sysctl("ipv6/icmp/ratelimit", "0");
    let rows = rows();
    scene.apply(&rows.iter().flat_map(Row::objects).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    let mut tried = 0;
    for row in rows.iter().step_by(step) {
        for (client, kind, expected) in row.cases() {
            let (from, own) = match client {
                Client::Pod => (&pod, if v6 { "fd00:244:3::2" } else { "10.244.3.2" }),
                Client::Node => (&scene.node, if v6 { NODE_V6 } else { NODE }),
                Client::Outside => (&scene.client, if v6 { CLIENT_V6 } else { CLIENT }),
            };
            let to = row.kind(kind, v6).to_string();
            let Some(expected) = in_this_mode(mode, client, kind, expected) else { continue };
            tried += 1;
            if let Err(what) = attempt(from, own, &to, expected, mode) {
                wrong.push(format!(
                    "{}/{} {client:?} {kind:?} -> {to}: {what}, not {expected:?}",
                    row.policy, row.state
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{mode}: {} of {tried}: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    tried
}

fn attempt(from: &Namespace, own: &str, to: &str, expected: &Expected, mode: ModeName) -> Result<(), String> {
    let Expected::Served { here, there, masquerade } = expected else {
        let refusal = match ask_within(from, to, SILENCE) {
            Ok(answer) => return Err(format!("{answer:?}")),
            Err(error) => error.kind(),
        };
        let dropped = matches!(refusal, ErrorKind::TimedOut | ErrorKind::WouldBlock);
        return if dropped == (*expected == Expected::Drop) { Ok(()) } else { Err(format!("{refusal:?}")) };
    };
    let wanted: BTreeSet<&str> = [("pod1", here), ("pod2", there)]
        .into_iter()
        .filter(|(_, wanted)| **wanted)
        .map(|(name, _)| name)
        .collect();
    let mut answered = BTreeSet::new();
    for _ in 0..TRIES {
        let answer = ask_within(from, to, Duration::from_secs(2)).map_err(|error| error.to_string())?;
        let kept = answer.client.to_string() == own;
        // The node's own connections have one of its addresses in any case.
        if own != NODE && own != NODE_V6 && kept == (*masquerade || mode == ModeName::Userspace) {
            return Err(format!("the endpoint saw {}", answer.client));
        }
        answered.insert(answer.server);
        if answered.len() == wanted.len() {
            break;
        }
    }
    let answered: BTreeSet<&str> = answered.iter().map(String::as_str).collect();
    if answered == wanted { Ok(()) } else { Err(format!("{answered:?} answered")) }
}

#[test]
fn packets_of_the_table_go_their_way_through_nftables_rules() {
    assert_eq!(walk(ModeName::Nftables), 2880);
}

#[test]
fn packets_of_the_table_go_their_way_through_iptables_rules() {
    assert_eq!(walk(ModeName::Iptables), 2880);
}

#[test]
fn packets_of_the_table_go_their_way_through_userspace_rules() {
    assert_eq!(walk(ModeName::Userspace), 1920);
}

#[test]
fn connections_of_the_table_go_their_way_in_nftables_mode() {
    println!(
        "{} connections",
        connect(ModeName::Nftables, nftables, false, 1) + connect(ModeName::Nftables, nftables, true, 5)
    );
}

#[test]
fn connections_of_the_table_go_their_way_in_iptables_mode() {
    println!(
        "{} connections",
        connect(ModeName::Iptables, iptables::mode, false, 1)
            + connect(ModeName::Iptables, iptables::mode, true, 5)
    );
}

#[test]
fn connections_of_the_table_go_their_way_in_userspace_mode() {
    println!(
        "{} connections",
        connect(ModeName::Userspace, userspace::mode, false, 1)
            + connect(ModeName::Userspace, userspace::mode, true, 5)
    );
}
