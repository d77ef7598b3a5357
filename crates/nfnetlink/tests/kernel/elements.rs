//! Elements that the kernel changes: counters count, rules remember, time passes.

use std::net::UdpSocket;
use std::time::Duration;

use nfnetlink::expr::{LookupResult, PayloadBase, Register};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, ElementData, Expr, Family, Hook, KeyType, Rule, Set,
    SetContent, Socket, Table, Transaction, Verdict, priority,
};

use crate::namespace::in_namespace;

const ADDRESS: KeyType = KeyType::of(&[DataType::Ipv4Addr]);
const WAYS: Set = Set::new("ways", ADDRESS, SetContent::Verdict, "").counted();
const SEEN: Set = Set::new("seen", ADDRESS, SetContent::Data(KeyType::of(&[DataType::InetService])), "")
    .dynamic(Duration::from_secs(60), 10);
const MARKS: KeyType = KeyType::of(&[DataType::Mark]);
const DRAWN: Set = Set::new("drawn", MARKS, SetContent::Keys, "").dynamic(Duration::ZERO, 1000);

fn table() -> Table {
    Table::new(Family::Ip, "t")
}

/// Sends so many packets from 127.0.0.1 to 127.0.0.2, through these rules.
fn send(packets: usize, rules: Vec<Vec<Expr>>) -> Socket {
    let table = table();
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.add_chain(&table, &Chain::base("out", ChainType::Filter, Hook::Output, priority::FILTER));
    [WAYS, SEEN, DRAWN].iter().for_each(|set| batch.add_set(&table, set));
    let way = Element::new(vec![127, 0, 0, 2], ElementData::Verdict(Verdict::Accept), "");
    batch.add_elements(&table, "ways", &[way]);
    rules.into_iter().for_each(|rule| batch.add_rule(&table, &Rule::new("out", rule)));
    let mut socket = Socket::open().unwrap();
    socket.commit(batch).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = UdpSocket::bind("127.0.0.2:0").unwrap();
    for _ in 0..packets {
        client.send_to(b"hello", server.local_addr().unwrap()).unwrap();
    }
    socket
}

fn load(offset: u32, to: u8) -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset, length: 4, to: Register(to) }
}

#[test]
fn each_element_counts_what_meets_it() {
    in_namespace("count", || {
        let from = Register(0);
        let ways = Expr::Lookup { set: "ways".into(), from, result: LookupResult::Verdict };
        let mut socket = send(3, vec![vec![load(16, 0), ways]]);
        let counter = socket.elements(&table(), "ways").unwrap()[0].counter.0.unwrap();
        assert_eq!((counter.packets, counter.bytes), (3, 3 * 33));
    });
}

#[test]
fn a_rule_remembers_for_its_own_time() {
    in_namespace("remember", || {
        let minute = Duration::from_secs(60);
        let update =
            |timeout| Expr::Update { set: "seen".into(), key: Register(0), data: Some(Register(1)), timeout };
        let port = Expr::Immediate { value: vec![0, 80], to: Register(1) };
        let rules = vec![
            vec![load(12, 0), port.clone(), update(Some(Duration::from_secs(30)))],
            vec![load(16, 0), port, update(None)],
        ];
        let mut elements = send(2, rules).elements(&table(), "seen").unwrap();
        elements.sort();
        let [source, destination] = elements.as_slice() else { panic!("{elements:?}") };
        assert_eq!(
            (source.key.as_slice(), destination.key.as_slice()),
            (&[127, 0, 0, 1][..], &[127, 0, 0, 2][..])
        );
        assert_eq!(source.data, ElementData::Value(vec![0, 80]));
        assert!(source.expires.0.unwrap() <= minute / 2, "{source:?}");
        assert!(destination.expires.0.unwrap() > minute / 2, "{destination:?}");
    });
}

#[test]
fn the_same_hash_gives_the_same_number_and_numbers_stay_in_their_range() {
    in_namespace("hash", || {
        let hash = Expr::Hash {
            from: Register(0),
            length: 4,
            modulus: 251,
            offset: 1000,
            seed: Some(0),
            to: Register(1),
        };
        let remember = Expr::Update { set: "drawn".into(), key: Register(1), data: None, timeout: None };
        let mut socket = send(20, vec![vec![load(12, 0), hash, remember]]);
        let drawn = socket.elements(&table(), "drawn").unwrap();
        assert_eq!(drawn.len(), 1, "{drawn:?}");
        let number = u32::from_ne_bytes(drawn[0].key.as_slice().try_into().unwrap());
        assert!((1000..1251).contains(&number), "{number}");
    });
}
