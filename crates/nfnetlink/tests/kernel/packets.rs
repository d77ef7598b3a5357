//! What a walk through the ruleset says is what happens to real connections.
//!
//! ```text
//! client 10.1.0.2 ── 10.1.0.1 node 10.2.0.1 ── 10.2.0.2, 10.2.0.3 server
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nfnetlink::expr::{CtKey, MetaKey, PayloadBase, Register, Reject};
use nfnetlink::simulate::{Fate, Host, Packet, Simulator, fates};
use nfnetlink::{Batch, Expr, Family, Rule, Ruleset, Socket, Table, Transaction};

use crate::namespace::{Namespace, ip, nft};

const CLIENT: &str = "10.1.0.2";
const NODE: &str = "10.2.0.1";
const SERVER: &str = "10.2.0.2";
/// How long nothing is heard before a connection is taken for dropped.
const SILENCE: Duration = Duration::from_millis(400);

struct Scene {
    client: Namespace,
    node: Namespace,
    server: Namespace,
}

impl Scene {
    fn new() -> Option<Self> {
        let scene = Self {
            client: Namespace::new("client")?,
            node: Namespace::new("node")?,
            server: Namespace::new("server")?,
        };
        scene.wire(&scene.client, "to-client", "10.1.0.1/24", &["10.1.0.2/24"]);
        scene.wire(&scene.server, "to-server", "10.2.0.1/24", &["10.2.0.2/24", "10.2.0.3/24"]);
        ip(&["-n", &scene.client.name, "route", "add", "default", "via", "10.1.0.1"]);
        ip(&["-n", &scene.server.name, "route", "add", "default", "via", "10.2.0.1"]);
        ip(&["-n", &scene.node.name, "route", "add", "default", "via", SERVER]);
        // Each reject is to be told, however many there are.
        let settings = [("ip_forward", "1"), ("icmp_ratelimit", "0")];
        scene.node.run(|| {
            for (name, value) in settings {
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
            }
        });
        Some(scene)
    }

    /// Connects the node with a namespace whose interface is called eth0.
    fn wire(&self, other: &Namespace, link: &str, own: &str, theirs: &[&str]) {
        let (node, other) = (self.node.name.as_str(), other.name.as_str());
        ip(&["-n", node, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", other]);
        ip(&["-n", node, "address", "add", own, "dev", link]);
        ip(&["-n", node, "link", "set", link, "up"]);
        theirs.iter().for_each(|address| ip(&["-n", other, "address", "add", address, "dev", "eth0"]));
        ip(&["-n", other, "link", "set", "eth0", "up"]);
    }

    fn from(&self, source: &str) -> &Namespace {
        match source {
            CLIENT => &self.client,
            NODE => &self.node,
            _ => &self.server,
        }
    }
}

/// Tells each connection what it looks like from here. It ends with the process.
fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let (Ok(here), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { continue };
            let _ = write!(stream, "{here} {}", peer.ip());
        }
    });
}

/// What happened to a connection.
#[derive(Debug, PartialEq)]
enum Outcome {
    Served { by: SocketAddr, seen_as: IpAddr },
    Refused,
    Unreachable,
    Silence,
}

fn connect(destination: &str) -> Outcome {
    let destination: SocketAddr = destination.parse().unwrap();
    match TcpStream::connect_timeout(&destination, SILENCE) {
        Ok(mut stream) => {
            let mut text = String::new();
            stream.set_read_timeout(Some(SILENCE)).unwrap();
            stream.read_to_string(&mut text).unwrap();
            let (by, seen_as) = text.split_once(' ').unwrap();
            Outcome::Served { by: by.parse().unwrap(), seen_as: seen_as.parse().unwrap() }
        }
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Outcome::Refused,
            ErrorKind::HostUnreachable => Outcome::Unreachable,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Outcome::Silence,
            other => panic!("{destination}: {other}"),
        },
    }
}

/// Whether a fate looks like this from where the connection came from.
fn agrees(fate: Fate, outcome: &Outcome, source: &str) -> bool {
    match (fate, outcome) {
        (Fate::Dropped, Outcome::Silence) => true,
        (Fate::Rejected(Reject::Unreachable(1)), outcome) => *outcome == Outcome::Unreachable,
        (Fate::Rejected(_), Outcome::Refused) => true,
        (Fate::Passed { destination, masqueraded, .. }, Outcome::Served { by, seen_as }) => {
            let kept = *seen_as == source.parse::<IpAddr>().unwrap();
            // The node's own connections come from its address either way.
            let as_told = source == NODE || kept != masqueraded;
            destination == *by && as_told
        }
        // Nobody listens there.
        (Fate::Passed { destination, .. }, Outcome::Refused) => destination.port() != 8080,
        _ => false,
    }
}

/// Source and destination of connections.
const CONNECTIONS: [(&str, &str); 32] = [
    (CLIENT, "10.96.0.1:80"),
    (CLIENT, "10.96.0.1:81"),
    (CLIENT, "10.96.0.2:80"),
    (CLIENT, "10.96.0.3:80"),
    (CLIENT, "10.96.0.4:80"),
    (CLIENT, "10.96.0.5:8080"),
    (CLIENT, "10.96.0.6:80"),
    (CLIENT, "10.96.0.7:80"),
    (CLIENT, "10.96.0.8:80"),
    (CLIENT, "10.96.0.9:80"),
    (CLIENT, "10.96.0.10:80"),
    (CLIENT, "10.96.0.11:80"),
    (CLIENT, "10.1.0.1:30080"),
    (CLIENT, "10.1.0.1:30081"),
    (CLIENT, "10.1.0.1:30082"),
    (CLIENT, "10.1.0.1:30083"),
    (CLIENT, "10.1.0.1:8080"),
    (CLIENT, "10.2.0.1:30080"),
    (CLIENT, "10.2.0.2:8080"),
    (CLIENT, "10.2.0.2:8081"),
    (CLIENT, "10.2.0.2:8082"),
    (CLIENT, "10.2.0.2:8083"),
    (NODE, "10.96.0.1:80"),
    (NODE, "10.96.0.2:80"),
    (NODE, "10.96.0.6:80"),
    (NODE, "10.96.0.8:80"),
    (NODE, "10.96.0.10:80"),
    (NODE, "10.96.0.11:80"),
    (NODE, "10.2.0.2:8080"),
    (SERVER, "10.96.0.3:80"),
    (SERVER, "10.96.0.6:80"),
    (SERVER, "10.1.0.1:8080"),
];
/// The destination whose clients are remembered in a map, after the translation.
const REMEMBERED: &str = "10.96.0.11:80";
/// How often each is tried, so that chance shows more than one way.
const TRIES: usize = 6;

/// Remembers where a client was sent, once the packet has been: a rule that `nft` lists but cannot write.
fn remember() -> Rule {
    let network =
        |offset, to| Expr::Payload { base: PayloadBase::Network, offset, length: 4, to: Register(to) };
    let original = |key, to| Expr::Ct { key, to: Register(to) };
    let expressions = vec![
        original(CtKey::OriginalAddress, 0),
        Expr::Compare { from: Register(0), equal: true, value: vec![10, 96, 0, 11] },
        network(12, 0),
        original(CtKey::OriginalAddress, 1),
        Expr::Meta { key: MetaKey::L4Proto, to: Register(2) },
        original(CtKey::OriginalPort, 3),
        network(16, 4),
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(5) },
        Expr::Update {
            set: "served".into(),
            key: Register(0),
            data: Some(Register(4)),
            timeout: Some(Duration::from_secs(60)),
        },
    ];
    Rule::new("masquerading", expressions)
}

#[test]
fn real_connections_go_the_way_that_the_walk_says() {
    let Some(scene) = Scene::new() else { return };
    scene.server.run(serve);
    scene.node.run(serve);
    scene.node.run(|| {
        nft(include_str!("packets/node.nft"));
        let mut batch = Batch::new();
        batch.add_rule(&Table::new(Family::Ip, "kube-proxy"), &remember());
        Socket::open().unwrap().commit(batch).unwrap();
    });
    let host = Host { addresses: ["10.1.0.1", NODE].map(|address| address.parse().unwrap()).to_vec() };
    for (source, destination) in CONNECTIONS {
        let to: SocketAddr = destination.parse().unwrap();
        let interface = match source {
            CLIENT => Some("to-client".to_owned()),
            SERVER => Some("to-server".to_owned()),
            _ => None,
        };
        for tried in 0..TRIES {
            // Read again: affinity is remembered in the kernel.
            let rulesets: Vec<Ruleset> = scene.node.run(|| {
                let mut socket = Socket::open().unwrap();
                [(Family::Ip, "kube-proxy"), (Family::Inet, "guard")]
                    .map(|(family, name)| socket.ruleset(&Table::new(family, name)).unwrap())
                    .into()
            });
            let packet = Packet {
                source: source.parse().unwrap(),
                destination: to.ip(),
                protocol: 6,
                source_port: 40000,
                port: to.port(),
                interface: interface.clone(),
            };
            let branches = Simulator::new(&rulesets).walk(&packet, &host).unwrap();
            let fates = fates(&branches);
            let outcome = scene.from(source).run(|| connect(destination));
            assert!(
                fates.iter().any(|(fate, _)| agrees(*fate, &outcome, source)),
                "{source} to {destination}: the walk says {fates:?}, the kernel {outcome:?}"
            );
            // From the second on, the map of who was served where leaves no chance.
            let remembered = tried > 0 && destination == REMEMBERED;
            assert!(!remembered || fates.len() == 1, "{source} to {destination}: {fates:?}");
            if outcome == Outcome::Silence {
                break;
            }
        }
    }
}
