//! What we send, the kernel takes, and `nft` prints. Needs root; each test makes its own namespace.

mod elements;
mod expressions;
mod ipset;
mod listen;
mod listing;
mod namespace;
mod packets;
mod value;

use namespace::{in_namespace, nft_list};

use nfnetlink::expr::{LookupResult, MetaKey, PayloadBase, Register};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, ElementData, Error, Expr, Family, Hook, KeyType, Rule, Set,
    SetContent, Socket, Table, Transaction, Verdict, priority,
};

const FRONT: KeyType = KeyType::of(&[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService]);
const PLACES: Set = Set::new(
    "places",
    KeyType::of(&[DataType::Ipv4Addr, DataType::InetProto, DataType::InetService, DataType::Mark]),
    SetContent::Data(KeyType::of(&[DataType::Ipv4Addr, DataType::InetService])),
    "",
);
const WAYS: Set = Set::new("ways", FRONT, SetContent::Verdict, "");

/// 10.96.0.1 . tcp . 443
const FRONT_KEY: [u8; 12] = [10, 96, 0, 1, 6, 0, 0, 0, 1, 187, 0, 0];

fn table() -> Table {
    Table { comment: "made by a test".into(), ..Table::new(Family::Inet, "t") }
}

fn places(index: u32) -> Element {
    let key = [&FRONT_KEY[..], &index.to_ne_bytes()].concat();
    Element::new(key, ElementData::Value(vec![10, 0, 0, 9, 0, 80, 0, 0]), "")
}

/// Translates to a place chosen at random, as one rule.
fn translate(modulus: u32) -> Rule {
    let (key, place) = (Register(0), Register(4));
    let expressions = vec![
        Expr::Meta { key: MetaKey::NfProto, to: key },
        Expr::Compare { from: key, equal: true, value: vec![2] },
        Expr::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: key },
        Expr::Meta { key: MetaKey::L4Proto, to: Register(1) },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(2) },
        Expr::Random { to: Register(3), modulus, offset: 1 },
        Expr::Lookup { set: PLACES.name, from: key, result: LookupResult::Value(place) },
        Expr::Dnat { family: Family::Ip, address: place, port: Some(Register(5)) },
    ];
    Rule::new("service-3", expressions)
}

fn load() -> Batch {
    let mut batch = Batch::new();
    batch.add_table(&table());
    [PLACES, WAYS].iter().for_each(|set| batch.add_set(&table(), set));
    batch.add_chain(&table(), &Chain::base("nat", ChainType::Nat, Hook::Prerouting, priority::DSTNAT));
    batch.add_chain(&table(), &Chain::regular("service-3"));
    batch.add_rule(&table(), &translate(3));
    let way = Element::new(
        FRONT_KEY.to_vec(),
        ElementData::Verdict(Verdict::Goto("service-3".into())),
        "default/kubernetes:https",
    );
    batch.add_elements(&table(), &WAYS.name, &[way]);
    batch.add_elements(&table(), &PLACES.name, &(0..3).map(places).collect::<Vec<_>>());
    batch
}

#[test]
fn nft_prints_what_we_load() {
    in_namespace("print", || {
        Socket::open().unwrap().commit(load()).unwrap();
        let listed = nft_list();
        println!("{listed}");
        for expected in [
            "comment \"made by a test\"",
            "type ipv4_addr . inet_proto . inet_service : verdict",
            "type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service",
            "10.96.0.1 . tcp . 443 comment \"default/kubernetes:https\" : goto service-3",
            "10.96.0.1 . tcp . 443 . 0x00000002 : 10.0.0.9 . 80",
            "type nat hook prerouting priority dstnat; policy accept;",
            "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 offset 1 map @places",
        ] {
            assert!(listed.contains(expected), "{expected} is missing in:\n{listed}");
        }
    });
}

#[test]
fn a_refused_transaction_names_the_message_and_changes_nothing() {
    in_namespace("refuse", || {
        let mut socket = Socket::open().unwrap();
        socket.commit(load()).unwrap();
        let mut batch = Batch::new();
        batch.delete_elements(&table(), &PLACES.name, &[places(0)]);
        batch.delete_elements(&table(), &PLACES.name, &[places(9)]);
        batch.delete_chain(&table(), "service-3");
        let Err(Error::Refused(refusals)) = socket.commit(batch) else { panic!("it must be refused") };
        println!("{}", Error::Refused(refusals.clone()));
        assert_eq!(refusals[0].message, "delete 1 elements of set inet t places");
        assert_eq!(refusals[1].message, "delete chain inet t service-3");
        assert_eq!(socket.elements(&table(), &PLACES.name).unwrap().len(), 3);
    });
}

#[test]
fn what_is_dumped_is_what_was_loaded() {
    in_namespace("dump", || {
        let mut socket = Socket::open().unwrap();
        socket.commit(load()).unwrap();
        assert_eq!(socket.tables().unwrap(), [table()]);
        assert_eq!(socket.rule_chains(&table()).unwrap(), ["service-3"]);
        let mut read = socket.elements(&table(), &PLACES.name).unwrap();
        read.sort();
        assert_eq!(read, (0..3).map(places).collect::<Vec<_>>());
        let ways = socket.elements(&table(), &WAYS.name).unwrap();
        assert_eq!(ways[0].data, ElementData::Verdict(Verdict::Goto("service-3".into())));
        assert_eq!(ways[0].comment, "default/kubernetes:https");

        let mut batch = Batch::new();
        batch.delete_table(&table());
        socket.commit(batch).unwrap();
        assert!(socket.tables().unwrap().is_empty());
        assert!(matches!(socket.elements(&table(), &WAYS.name), Err(Error::Refused(_))));
    });
}

#[test]
fn a_chain_and_what_leads_to_it_go_in_one_transaction() {
    in_namespace("replace", || {
        let mut socket = Socket::open().unwrap();
        socket.commit(load()).unwrap();
        let mut ways = socket.elements(&table(), &WAYS.name).unwrap();
        let mut batch = Batch::new();
        batch.add_chain(&table(), &Chain::regular("service-4"));
        batch.delete_elements(&table(), &WAYS.name, &ways);
        ways[0].data = ElementData::Verdict(Verdict::Goto("service-4".into()));
        batch.add_elements(&table(), &WAYS.name, &ways);
        batch.flush_chain(&table(), "service-3");
        batch.delete_chain(&table(), "service-3");
        socket.commit(batch).unwrap();
        assert!(!nft_list().contains("service-3"));
    });
}

#[test]
fn a_large_transaction_is_one_datagram() {
    in_namespace("large", || {
        let mut socket = Socket::open().unwrap();
        socket.commit(load()).unwrap();
        let mut batch = Batch::new();
        let many: Vec<_> = (10..30_010).map(places).collect();
        batch.add_elements(&table(), &PLACES.name, &many);
        socket.commit(batch).unwrap();
        assert_eq!(socket.elements(&table(), &PLACES.name).unwrap().len(), 30_003);
    });
}

#[test]
fn udp_flows_are_listed_and_deleted() {
    in_namespace("flows", || {
        let mut socket = Socket::open().unwrap();
        // Connection tracking works only where a rule asks for it.
        socket.commit(load()).unwrap();
        let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
        let flows = socket.flows(17).unwrap();
        assert_eq!(flows.len(), 1, "{flows:?}");
        assert_eq!(flows[0].destination, server.local_addr().unwrap());
        assert!(socket.flows(6).unwrap().is_empty());
        socket.delete_flow(&flows[0]).unwrap();
        assert!(socket.flows(17).unwrap().is_empty());
        socket.delete_flow(&flows[0]).unwrap();
    });
}
