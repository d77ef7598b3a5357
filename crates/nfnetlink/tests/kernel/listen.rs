//! Foreign changes are heard, our own are not; traced packets tell the rules they meet.

use std::time::{Duration, Instant};

use nfnetlink::expr::{MetaKey, Register};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, Expr, Family, Hook, KeyType, Monitor, Object, Rule, Set,
    SetContent, Socket, Table, TraceKind, Tracer, Transaction, Verdict, priority,
};

use crate::namespace::{in_namespace, nft};

const PEOPLE: Set = Set::new("people", KeyType::of(&[DataType::Ipv4Addr]), SetContent::Keys, "");

fn table() -> Table {
    Table::new(Family::Inet, "t")
}

fn load(socket: &mut Socket) {
    let mut batch = Batch::new();
    batch.add_table(&table());
    batch.add_set(&table(), &PEOPLE);
    batch.add_elements(
        &table(),
        "people",
        &[Element::key(vec![10, 0, 0, 1]), Element::key(vec![10, 0, 0, 2])],
    );
    batch.add_chain(&table(), &Chain::base("out", ChainType::Filter, Hook::Output, priority::FILTER));
    socket.commit(batch).unwrap();
}

#[test]
fn only_foreign_changes_of_the_table_are_heard() {
    in_namespace("monitor", || {
        let mut socket = Socket::open().unwrap();
        let mut monitor = Monitor::open(&table(), &[socket.port().unwrap()]).unwrap();
        load(&mut socket);
        nft("add table inet other");
        assert_eq!(monitor.read().unwrap(), []);

        nft("delete element inet t people { 10.0.0.1 }");
        let changes = monitor.read().unwrap();
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].objects, [Object::Set("people".into())]);
        assert_eq!(changes[0].program, "nft");
        assert_ne!(changes[0].process, 0);

        nft("add rule inet t out drop");
        assert_eq!(monitor.read().unwrap()[0].objects, [Object::Chain("out".into())]);

        nft("flush ruleset");
        let changes = monitor.read().unwrap();
        assert!(changes[0].objects.contains(&Object::TableDeleted), "{changes:?}");
        load(&mut socket);
        assert_eq!(monitor.read().unwrap(), []);
    });
}

#[test]
fn the_generation_tells_whether_others_changed_any_rule() {
    in_namespace("generation", || {
        let mut socket = Socket::open().unwrap();
        let before = socket.generation().unwrap();
        load(&mut socket);
        let loaded = socket.generation().unwrap();
        assert!(!loaded.changed_by_others_since(before), "a change of our own");
        nft("add table inet other");
        let changed = socket.generation().unwrap();
        assert!(changed.changed_by_others_since(loaded));
        assert!(changed.changed_by_others_since(before));
        assert!(!socket.generation().unwrap().changed_by_others_since(changed), "reading changes nothing");
    });
}

#[test]
fn a_traced_packet_tells_the_rules_it_meets() {
    in_namespace("trace", || {
        let mut socket = Socket::open().unwrap();
        load(&mut socket);
        let one = Register(0);
        let mut batch = Batch::new();
        let udp = vec![
            Expr::Meta { key: MetaKey::L4Proto, to: one },
            Expr::Compare { from: one, equal: true, value: vec![17] },
            Expr::Immediate { value: vec![1], to: one },
            Expr::SetMeta { key: MetaKey::Trace, from: one },
        ];
        batch.add_rule(&table(), &Rule::new("out", udp));
        batch.add_rule(&table(), &Rule::new("out", vec![Expr::Verdict(Verdict::Accept)]));
        socket.commit(batch).unwrap();
        let mut tracer = Tracer::open().unwrap();

        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let _ = client.send_to(b"hello", "127.0.0.1:5353");
        let mut events = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        while events.len() < 2 && Instant::now() < deadline {
            events.extend(tracer.read().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        let rules = socket.rules(&table()).unwrap();
        let last = events.iter().find(|event| event.rule == rules[1].handle.0).unwrap();
        assert_eq!((last.kind, last.verdict.clone()), (TraceKind::Rule, Some(Verdict::Accept)));
        assert_eq!((last.table.as_str(), last.chain.as_str()), ("t", "out"));
        let headers = events.iter().find_map(|event| event.headers).unwrap();
        assert_eq!(headers.ports, Some((client.local_addr().unwrap().port(), 5353)));
        assert!(events.iter().all(|event| event.id == events[0].id), "{events:?}");
    });
}
