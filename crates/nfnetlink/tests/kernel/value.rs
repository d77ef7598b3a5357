//! The same transaction, said to the kernel and to a value, has the same outcome.

use std::time::Duration;

use nfnetlink::expr::{
    CtKey, FibAddress, LookupResult, MetaKey, PayloadBase, RTN_LOCAL, Register, Reject, ct_state, ct_status,
};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Element, ElementData, Error, Expr, Family, Hook, KeyType, Live, Rule,
    Ruleset, Set, SetContent, Socket, Table, Transaction, Verdict, priority, range_elements,
};

use crate::listing::normal;
use crate::namespace::{in_namespace, nft_list};

const KEY: Register = Register(0);
const FRONT6: KeyType = KeyType::of(&[DataType::Ipv6Addr, DataType::InetProto, DataType::InetService]);
const PLACE6: KeyType =
    KeyType::of(&[DataType::Ipv6Addr, DataType::InetProto, DataType::InetService, DataType::Mark]);

fn table() -> Table {
    Table { comment: "Services".into(), ..Table::new(Family::Inet, "t") }
}

fn only(nfproto: u8) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::NfProto, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: vec![nfproto] },
    ]
}

fn network(offset: u32, length: u32, to: Register) -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset, length, to }
}

fn protocol_and_port(to: u8) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::L4Proto, to: Register(to) },
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(to + 1) },
    ]
}

fn bits(key: CtKey, bits: u32) -> [Expr; 3] {
    [
        Expr::Ct { key, to: KEY },
        Expr::bitwise(KEY, KEY, bits, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ]
}

fn mark(mask: u32, xor: u32) -> [Expr; 3] {
    [
        Expr::Meta { key: MetaKey::Mark, to: KEY },
        Expr::bitwise(KEY, KEY, mask, xor),
        Expr::SetMeta { key: MetaKey::Mark, from: KEY },
    ]
}

fn key6() -> Vec<u8> {
    let mut key = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    key.extend([6, 0, 0, 0, 0, 80, 0, 0]);
    key
}

fn place6(index: u32) -> Element {
    let mut data = format!("fd00:1::{}", index + 1).parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    data.extend([0, 80, 0, 0]);
    let key = [key6(), index.to_ne_bytes().to_vec()].concat();
    Element::new(key, ElementData::Value(data), "")
}

fn drawn(draw: Expr) -> Vec<Expr> {
    let mut expressions = only(10).to_vec();
    expressions.push(network(24, 16, KEY));
    expressions.extend(protocol_and_port(4));
    expressions.extend([
        draw,
        Expr::Lookup { set: "places6".into(), from: KEY, result: LookupResult::Value(Register(7)) },
        Expr::Dnat { family: Family::Ip6, address: Register(7), port: Some(Register(11)) },
    ]);
    expressions
}

/// A layout with one of everything.
fn layout(to: &mut impl Transaction) {
    let table = table();
    to.add_table(&table);
    let content = SetContent::Data(KeyType::of(&[DataType::Ipv6Addr, DataType::InetService]));
    to.add_set(&table, &Set::new("places6", PLACE6, content.clone(), "endpoints").counted());
    to.add_set(&table, &Set::new("ways6", FRONT6, SetContent::Verdict, ""));
    let pods = KeyType::of(&[DataType::Ipv4Addr]);
    to.add_set(&table, &Set::new("pods", pods.clone(), SetContent::Ranges, "pods"));
    to.add_set(
        &table,
        &Set::new("affinity", pods, SetContent::Keys, "").dynamic(Duration::from_secs(90), 1000),
    );
    to.add_elements(&table, "pods", &range_elements([(0x0a00_0000, 0x0aff_ffff), (1, 2)], 4));
    to.add_elements(&table, "places6", &[place6(0), place6(1)]);
    for name in ["service6-2", "reject-now"] {
        to.add_chain(&table, &Chain::regular(name));
    }
    let base = |name: &str, kind, hook, priority| Chain::base(name, kind, hook, priority);
    to.add_chain(&table, &base("nat-prerouting", ChainType::Nat, Hook::Prerouting, priority::DSTNAT));
    to.add_chain(&table, &base("nat-postrouting", ChainType::Nat, Hook::Postrouting, priority::SRCNAT));
    to.add_chain(&table, &base("filter-input", ChainType::Filter, Hook::Input, priority::FILTER));
    let goto = ElementData::Verdict(Verdict::Goto("service6-2".into()));
    to.add_elements(&table, "ways6", &[Element::new(key6(), goto, "default/web:http")]);

    let mut rule =
        |chain: &'static str, expressions: Vec<Expr>| to.add_rule(&table, &Rule::new(chain, expressions));
    rule("service6-2", drawn(Expr::Random { to: Register(6), modulus: 2, offset: 0 }));
    let hash = Expr::Hash { from: KEY, length: 16, modulus: 2, offset: 0, seed: Some(7), to: Register(6) };
    rule("service6-2", drawn(hash));
    let mut ways = only(10).to_vec();
    ways.push(network(24, 16, KEY));
    ways.extend(protocol_and_port(4));
    ways.push(Expr::Lookup { set: "ways6".into(), from: KEY, result: LookupResult::Verdict });
    rule("nat-prerouting", ways);
    let mut outside = only(2).to_vec();
    outside.extend([
        network(12, 4, KEY),
        Expr::Lookup { set: "pods".into(), from: KEY, result: LookupResult::NotContained },
    ]);
    outside.extend(mark(!0x4000, 0x4000));
    rule("nat-prerouting", outside);
    let mut local = only(2).to_vec();
    local.extend([
        Expr::FibType { address: FibAddress::Destination, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: RTN_LOCAL.to_ne_bytes().to_vec() },
        network(16, 1, KEY),
        Expr::Compare { from: KEY, equal: false, value: vec![127] },
        Expr::Redirect { port: None },
    ]);
    rule("nat-prerouting", local);
    let mut marked = vec![
        Expr::Meta { key: MetaKey::Mark, to: KEY },
        Expr::bitwise(KEY, KEY, 0x4000, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ];
    marked.extend(mark(u32::MAX, 0x4000));
    marked.push(Expr::Masquerade { fully_random: true });
    rule("nat-postrouting", marked);
    let mut refresh = only(2).to_vec();
    refresh.extend(bits(CtKey::Status, ct_status::DST_NAT));
    refresh.push(network(12, 4, KEY));
    refresh.push(Expr::Update {
        set: "affinity".into(),
        key: KEY,
        data: None,
        timeout: Some(Duration::from_secs(30)),
    });
    rule("nat-postrouting", refresh);
    let mut new = bits(CtKey::State, ct_state::NEW).to_vec();
    new.extend([Expr::Counter(Live::default()), Expr::Verdict(Verdict::Goto("reject-now".into()))]);
    rule("filter-input", new);
    let tcp = [
        Expr::Meta { key: MetaKey::L4Proto, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: vec![6] },
        Expr::Reject(Reject::TcpReset),
    ];
    rule("reject-now", tcp.to_vec());
    rule("reject-now", vec![Expr::Reject(Reject::PortUnreachable)]);

    // Two anonymous sets in one rule, as kube-proxy has them.
    let ports = Set::anonymous("ports", KeyType::of(&[DataType::InetService]), SetContent::Keys);
    let proto = Set::anonymous("protocols", KeyType::of(&[DataType::InetProto]), SetContent::Verdict);
    to.add_set(&table, &ports);
    to.add_elements(&table, "ports", &[Element::key(vec![0, 80]), Element::key(vec![1, 187])]);
    to.add_set(&table, &proto);
    let verdict = ElementData::Verdict(Verdict::Goto("reject-now".into()));
    to.add_elements(&table, "protocols", &[Element::new(vec![6], verdict, "")]);
    let [protocol, port] = protocol_and_port(0);
    let Expr::Payload { base, offset, length, .. } = port else { return };
    let both = vec![
        Expr::Payload { base, offset, length, to: KEY },
        Expr::contained("ports", KEY),
        protocol,
        Expr::Lookup { set: "protocols".into(), from: KEY, result: LookupResult::Verdict },
    ];
    to.add_rule(&table, &Rule::new("filter-input", both).comment("both"));
}

fn value() -> Ruleset {
    let mut value = Ruleset::new();
    layout(&mut value);
    value.check().unwrap();
    value
}

fn kernel() -> Socket {
    let mut batch = Batch::new();
    layout(&mut batch);
    let mut socket = Socket::open().unwrap();
    socket.commit(batch).unwrap();
    socket
}

#[test]
fn what_is_read_is_the_value_and_prints_as_it_is_listed() {
    in_namespace("value", || {
        let read = kernel().ruleset(&table()).unwrap();
        let (ours, theirs) = (normal(&value().to_string()), normal(&nft_list()));
        // Before the kernel tells them, elements have counted nothing.
        let theirs: Vec<_> = theirs
            .into_iter()
            .map(|line| line.replace(" . 0x00000000 counter packets 0 bytes 0", " . 0x00000000"))
            .map(|line| line.replace(" . 0x00000001 counter packets 0 bytes 0", " . 0x00000001"))
            .collect();
        let different: Vec<_> = ours.iter().zip(&theirs).filter(|(one, two)| one != two).collect();
        assert!(different.is_empty(), "{different:#?}");
        assert_eq!(normal(&read.to_string()), normal(&nft_list()));
        assert_eq!(read, value());
    });
}

/// One change, so that it can be said to both.
enum Said {
    DeleteChain(&'static str),
    FlushChain(&'static str),
    DeleteSet(&'static str),
    AddRule(Rule),
    Add(&'static str, Element),
    Delete(&'static str, Element),
    AddChain(Chain),
    DeleteTable(Table),
}

fn say(said: &Said, to: &mut impl Transaction) {
    let table = table();
    match said {
        Said::DeleteChain(name) => to.delete_chain(&table, name),
        Said::FlushChain(name) => to.flush_chain(&table, name),
        Said::DeleteSet(name) => to.delete_set(&table, name),
        Said::AddRule(rule) => to.add_rule(&table, rule),
        Said::Add(set, element) => to.add_elements(&table, set, std::slice::from_ref(element)),
        Said::Delete(set, element) => to.delete_elements(&table, set, std::slice::from_ref(element)),
        Said::AddChain(chain) => to.add_chain(&table, chain),
        Said::DeleteTable(table) => to.delete_table(table),
    }
}

fn errno(outcome: Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "taken".to_owned(),
        Err(Error::Refused(refusals)) => refusals[0].errno.to_string(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_kernel_and_the_value_refuse_the_same() {
    let jump = |chain: &str| Expr::Verdict(Verdict::Jump(chain.to_owned()));
    let verdict = |chain: &str| ElementData::Verdict(Verdict::Goto(chain.to_owned()));
    let cases: Vec<(&str, Vec<Said>)> = vec![
        ("a chain that is not there", vec![Said::DeleteChain("gone")]),
        (
            "a chain that an element leads to",
            vec![Said::FlushChain("service6-2"), Said::DeleteChain("service6-2")],
        ),
        ("a chain that rules lead to", vec![Said::FlushChain("reject-now"), Said::DeleteChain("reject-now")]),
        ("a base chain", vec![Said::FlushChain("filter-input"), Said::DeleteChain("filter-input")]),
        ("rules of no chain", vec![Said::FlushChain("gone")]),
        ("a set that a rule uses", vec![Said::DeleteSet("pods")]),
        ("a set that is not there", vec![Said::DeleteSet("gone")]),
        ("a rule in no chain", vec![Said::AddRule(Rule::new("gone", vec![jump("reject-now")]))]),
        ("a rule that leads nowhere", vec![Said::AddRule(Rule::new("filter-input", vec![jump("gone")]))]),
        (
            "a rule with no set",
            vec![Said::AddRule(Rule::new(
                "filter-input",
                vec![network(12, 4, KEY), Expr::contained("gone", KEY)],
            ))],
        ),
        ("an element that is there", vec![Said::Add("places6", place6(0))]),
        (
            "an element with other data",
            vec![Said::Add("places6", Element { data: place6(1).data, ..place6(0) })],
        ),
        (
            "an element with another verdict",
            vec![Said::Add("ways6", Element::new(key6(), verdict("reject-now"), ""))],
        ),
        (
            "an element that leads nowhere",
            vec![Said::Add("ways6", Element::new(vec![7; 24], verdict("gone"), ""))],
        ),
        ("an element of no set", vec![Said::Add("gone", place6(0))]),
        ("an element that is not there", vec![Said::Delete("places6", place6(9))]),
        ("an element twice", vec![Said::Delete("places6", place6(0)), Said::Delete("places6", place6(0))]),
        (
            "an element replaced",
            vec![
                Said::Delete("places6", place6(0)),
                Said::Add("places6", Element { data: place6(1).data, ..place6(0) }),
            ],
        ),
        ("a chain that is there", vec![Said::AddChain(Chain::regular("reject-now"))]),
        ("a table that is not there", vec![Said::DeleteTable(Table::new(Family::Ip, "t"))]),
        ("the table", vec![Said::DeleteTable(table())]),
    ];
    for (index, (name, changes)) in cases.into_iter().enumerate() {
        in_namespace(&format!("refuse{index}"), || {
            let mut socket = kernel();
            let mut batch = Batch::new();
            changes.iter().for_each(|said| say(said, &mut batch));
            let theirs = errno(socket.commit(batch));
            let mut value = value();
            let ours = errno(value.commit(|value| changes.iter().for_each(|said| say(said, value))));
            println!("{name}: {theirs}");
            assert_eq!(ours, theirs, "{name}");
            assert_eq!(socket.ruleset(&table()).unwrap(), value, "after {name}");
        });
    }
}
