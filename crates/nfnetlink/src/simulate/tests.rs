//! Small rulesets, one packet each.

use super::*;
use crate::expr::{CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase, RTN_LOCAL, Register};
use crate::{
    Chain, ChainType, DataType, Element, ElementData, Family, KeyType, Set, SetContent, Transaction,
    priority, range_elements,
};

const A: Register = Register(0);
const B: Register = Register(1);
const C: Register = Register(2);
const ADDRESS: KeyType = KeyType::of(&[DataType::Ipv4Addr]);

fn table() -> Table {
    Table::new(Family::Ip, "t")
}

fn source() -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: A }
}

fn destination() -> Expr {
    Expr::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: A }
}

fn equals(value: &[u8]) -> Expr {
    Expr::Compare { from: A, equal: true, value: value.to_vec() }
}

fn verdict(verdict: Verdict) -> Expr {
    Expr::Verdict(verdict)
}

fn jump(chain: &str) -> Expr {
    verdict(Verdict::Jump(chain.into()))
}

fn dnat_to(address: [u8; 4], port: u16) -> Vec<Expr> {
    vec![
        Expr::Immediate { value: address.to_vec(), to: A },
        Expr::Immediate { value: port.to_be_bytes().to_vec(), to: B },
        Expr::Dnat { family: Family::Ip, address: A, port: Some(B) },
    ]
}

/// A ruleset with a chain `x` and base chains named after their hooks: `nat-…` and `filter-…`.
fn ruleset(changes: impl FnOnce(&mut Ruleset)) -> Ruleset {
    let mut ruleset = Ruleset::new();
    let table = table();
    ruleset.add_table(&table);
    for hook in [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting] {
        let name = format!("filter-{}", hook.name());
        ruleset.add_chain(&table, &Chain::base(name, ChainType::Filter, hook, priority::FILTER));
        if hook != Hook::Forward {
            let name = format!("nat-{}", hook.name());
            ruleset.add_chain(&table, &Chain::base(name, ChainType::Nat, hook, priority::DSTNAT));
        }
    }
    ruleset.add_chain(&table, &Chain::regular("x"));
    changes(&mut ruleset);
    ruleset.check().unwrap();
    ruleset
}

fn one_rule(chain: &'static str, expressions: Vec<Expr>) -> Ruleset {
    ruleset(|ruleset| ruleset.add_rule(&table(), &Rule::new(chain, expressions)))
}

fn host() -> Host {
    Host { addresses: vec!["192.168.0.2".parse().unwrap()] }
}

fn packet(source: &str, destination: &str) -> Packet {
    let destination: SocketAddr = destination.parse().unwrap();
    Packet {
        source: source.parse().unwrap(),
        destination: destination.ip(),
        protocol: 6,
        source_port: 40000,
        port: destination.port(),
        interface: Some("eth0".into()),
    }
}

fn walk(ruleset: &Ruleset, source: &str, destination: &str) -> Vec<(String, f64)> {
    let branches = Simulator::new([ruleset]).walk(&packet(source, destination), &host());
    let branches = match &branches {
        Ok(branches) => branches,
        Err(unsupported) => return vec![(unsupported.to_string(), 0.0)],
    };
    fates(branches).into_iter().map(|(fate, probability)| (tell(fate), probability)).collect()
}

fn tell(fate: Fate) -> String {
    match fate {
        Fate::Dropped => "drop".into(),
        Fate::Rejected(_) => "reject".into(),
        Fate::Passed { destination, translated, masqueraded, redirected } => {
            let word = |on, word| if on { word } else { "" };
            format!(
                "{destination}{}{}{}",
                word(translated, " dnat"),
                word(masqueraded, " masquerade"),
                word(redirected, " redirect")
            )
        }
    }
}

/// From outside to 10.96.0.1:80, through one rule in the prerouting chain that filters.
fn filtered(expressions: Vec<Expr>) -> String {
    let mut expressions = expressions;
    expressions.push(verdict(Verdict::Drop));
    walk(&one_rule("filter-prerouting", expressions), "10.0.0.9", "10.96.0.1:80").remove(0).0
}

const PASSED: &str = "10.96.0.1:80";

#[test]
fn expressions_match_what_the_packet_is() {
    let meta = |key| Expr::Meta { key, to: A };
    let mut eth0 = b"eth0".to_vec();
    eth0.resize(16, 0);
    let port = Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: A };
    let fib = |address| Expr::FibType { address, to: A };
    let local = || equals(&RTN_LOCAL.to_ne_bytes());
    let state = |bits| {
        let mask = Expr::bitwise(A, A, bits, 0);
        vec![
            Expr::Ct { key: CtKey::State, to: A },
            mask,
            Expr::Compare { from: A, equal: false, value: vec![0; 4] },
        ]
    };
    let first = |length| Expr::Payload { base: PayloadBase::Network, offset: 16, length, to: A };
    let cases: Vec<(&str, Vec<Expr>, &str)> = vec![
        ("protocol", vec![meta(MetaKey::L4Proto), equals(&[6])], "drop"),
        ("other protocol", vec![meta(MetaKey::L4Proto), equals(&[17])], PASSED),
        ("family", vec![meta(MetaKey::NfProto), equals(&[2])], "drop"),
        ("interface", vec![meta(MetaKey::InterfaceName), equals(&eth0)], "drop"),
        ("mark is zero", vec![meta(MetaKey::Mark), equals(&[0; 4])], "drop"),
        ("port", vec![port, equals(&[0, 80])], "drop"),
        ("prefix", vec![first(2), equals(&[10, 96])], "drop"),
        ("other prefix", vec![first(2), equals(&[10, 97])], PASSED),
        ("source is not local", vec![fib(FibAddress::Source), local()], PASSED),
        ("new", state(8), "drop"),
        ("established", state(2), PASSED),
        ("original", vec![Expr::Ct { key: CtKey::OriginalAddress, to: A }, equals(&[10, 96, 0, 1])], "drop"),
    ];
    for (name, expressions, expected) in cases {
        assert_eq!(filtered(expressions), expected, "{name}");
    }
}

#[test]
fn what_is_not_known_is_an_error_and_no_answer() {
    let text = filtered(vec![Expr::Unknown("limit".into())]);
    assert!(text.contains("`limit`") && text.contains("filter-prerouting"), "{text}");
    let text = filtered(vec![Expr::Meta { key: MetaKey::OutputInterfaceName, to: A }]);
    assert!(text.contains("`meta`"), "{text}");
}

#[test]
fn a_packet_takes_the_hooks_of_its_way() {
    let cases = [
        ("10.0.0.9", "192.168.0.2:80", "prerouting input"),
        ("10.0.0.9", "10.0.0.8:80", "prerouting forward postrouting"),
        ("192.168.0.2", "10.0.0.8:80", "output postrouting"),
        ("127.0.0.1", "192.168.0.2:80", "output postrouting prerouting input"),
    ];
    for (from, to, expected) in cases {
        let ruleset = ruleset(|ruleset| {
            for hook in ["prerouting", "input", "forward", "output", "postrouting"] {
                let mark = vec![
                    Expr::Meta { key: MetaKey::Mark, to: A },
                    Expr::SetMeta { key: MetaKey::Mark, from: A },
                ];
                ruleset.add_rule(&table(), &Rule::new(format!("filter-{hook}"), mark));
            }
        });
        let simulator = Simulator::new([&ruleset]);
        let branches = simulator.walk(&packet(from, to), &host()).unwrap();
        let hooks: Vec<_> =
            branches[0].steps.iter().filter_map(|step| step.chain.strip_prefix("filter-")).collect();
        assert_eq!(hooks.join(" "), expected, "{from} to {to}");
        assert_eq!(branches[0].steps[0].text(), "meta mark set meta mark");
    }
}

#[test]
fn return_goes_back_and_goto_does_not() {
    let returns = |lead: Expr| {
        ruleset(|ruleset| {
            let table = table();
            ruleset.add_rule(&table, &Rule::new("filter-prerouting", vec![lead]));
            ruleset.add_rule(&table, &Rule::new("filter-prerouting", vec![verdict(Verdict::Drop)]));
            ruleset.add_rule(&table, &Rule::new("x", vec![verdict(Verdict::Return)]));
        })
    };
    let fate = |ruleset: &Ruleset| walk(ruleset, "10.0.0.9", PASSED).remove(0).0;
    assert_eq!(fate(&returns(jump("x"))), "drop");
    assert_eq!(fate(&returns(verdict(Verdict::Goto("x".into())))), PASSED);
    assert_eq!(fate(&returns(verdict(Verdict::Accept))), PASSED);
}

#[test]
fn accept_ends_one_base_chain_and_a_policy_what_no_rule_decides() {
    let mut two = ruleset(|ruleset| {
        ruleset.add_rule(&table(), &Rule::new("filter-prerouting", vec![verdict(Verdict::Accept)]));
    });
    let mut late = Chain::base("late", ChainType::Filter, Hook::Prerouting, 10);
    late.base.as_mut().unwrap().drop = true;
    two.add_chain(&table(), &late);
    assert_eq!(walk(&two, "10.0.0.9", PASSED), [("drop".to_owned(), 1.0)]);
}

#[test]
fn a_translation_moves_the_packet_and_ends_the_nat_chains_of_its_hook() {
    let translated = ruleset(|ruleset| {
        let table = table();
        ruleset.add_rule(&table, &Rule::new("nat-prerouting", dnat_to([10, 0, 0, 7], 8080)));
        ruleset.add_chain(&table, &Chain::base("again", ChainType::Nat, Hook::Prerouting, 50));
        ruleset.add_rule(&table, &Rule::new("again", dnat_to([10, 0, 0, 8], 9090)));
        let mut masquerade = vec![
            Expr::Ct { key: CtKey::Status, to: A },
            Expr::bitwise(A, A, 32, 0),
            Expr::Compare { from: A, equal: false, value: vec![0; 4] },
        ];
        masquerade.push(Expr::Masquerade { fully_random: true });
        ruleset.add_rule(&table, &Rule::new("nat-postrouting", masquerade));
    });
    let fates = walk(&translated, "10.0.0.9", PASSED);
    assert_eq!(fates, [("10.0.0.7:8080 dnat masquerade".to_owned(), 1.0)]);
    let redirected = one_rule("nat-prerouting", vec![Expr::Redirect { port: None }]);
    assert_eq!(walk(&redirected, "10.0.0.9", PASSED)[0].0, "192.168.0.2:80 dnat redirect");
}

#[test]
fn chance_splits_the_way_and_equal_ends_add_up() {
    let places = |modulus, draw: Expr| {
        ruleset(|ruleset| {
            let data = SetContent::Data(KeyType::of(&[DataType::Ipv4Addr, DataType::InetService]));
            ruleset.add_set(&table(), &Set::new("m", KeyType::of(&[DataType::Integer]), data, ""));
            let element = |index: u32| {
                let place = ElementData::Value(vec![10, 0, 0, 1 + (index % 2) as u8, 0, 80, 0, 0]);
                Element::new(index.to_ne_bytes().to_vec(), place, "")
            };
            ruleset.add_elements(&table(), "m", &(0..modulus).map(element).collect::<Vec<_>>());
            let look = Expr::Lookup { set: "m".into(), from: A, result: LookupResult::Value(B) };
            let dnat = Expr::Dnat { family: Family::Ip, address: B, port: Some(C) };
            ruleset.add_rule(&table(), &Rule::new("nat-prerouting", vec![source(), draw, look, dnat]));
        })
    };
    let expected = [("10.0.0.1:80 dnat".to_owned(), 0.5), ("10.0.0.2:80 dnat".to_owned(), 0.5)];
    let random = Expr::Random { to: A, modulus: 4, offset: 0 };
    assert_eq!(walk(&places(4, random), "10.0.0.9", PASSED), expected);
    let hash = Expr::Hash { from: A, length: 4, modulus: 2, offset: 0, seed: Some(0), to: A };
    assert_eq!(walk(&places(2, hash), "10.0.0.9", PASSED), expected);
    // A number without an element: the rule does not match.
    let beyond = Expr::Random { to: A, modulus: 4, offset: 0 };
    assert_eq!(walk(&places(3, beyond), "10.0.0.9", PASSED).len(), 3);
}

#[test]
fn the_same_hash_gives_the_same_number_again() {
    let twice = ruleset(|ruleset| {
        let hash = |to| Expr::Hash { from: C, length: 4, modulus: 3, offset: 0, seed: Some(0), to };
        let drop_one = |number: u32| {
            let number = equals(&number.to_ne_bytes());
            Rule::new("filter-prerouting", vec![hash(A), number, verdict(Verdict::Drop)])
        };
        ruleset.add_rule(&table(), &drop_one(0));
        ruleset.add_rule(&table(), &drop_one(0));
    });
    let fates = walk(&twice, "10.0.0.9", PASSED);
    assert_eq!(fates.len(), 2);
    assert!((fates[0].1 - 1.0 / 3.0).abs() < 1e-9, "{fates:?}");
}

#[test]
fn sets_hold_values_and_ranges_and_lead_to_verdicts() {
    let ruleset = ruleset(|ruleset| {
        let table = table();
        ruleset.add_set(&table, &Set::new("pods", ADDRESS, SetContent::Ranges, ""));
        let ranges = [(0x0a00_0000, 0x0a00_00ff), (0xf000_0000, 0xffff_ffff)];
        ruleset.add_elements(&table, "pods", &range_elements(ranges, 4));
        ruleset.add_set(&table, &Set::new("ways", ADDRESS, SetContent::Verdict, ""));
        let way = Element::new(vec![10, 96, 0, 1], ElementData::Verdict(Verdict::Goto("x".into())), "");
        ruleset.add_elements(&table, "ways", &[way]);
        let not_in = Expr::Lookup { set: "pods".into(), from: A, result: LookupResult::NotContained };
        let ways = Expr::Lookup { set: "ways".into(), from: A, result: LookupResult::Verdict };
        ruleset
            .add_rule(&table, &Rule::new("filter-prerouting", vec![source(), not_in, destination(), ways]));
        ruleset.add_rule(&table, &Rule::new("x", vec![Expr::Reject(Reject::PortUnreachable)]));
    });
    for (from, to, expected) in [
        ("10.0.0.9", PASSED, PASSED),
        ("10.0.1.0", PASSED, "reject"),
        ("9.255.255.255", PASSED, "reject"),
        ("255.255.255.254", PASSED, PASSED),
        ("10.0.1.0", "10.96.0.2:80", "10.96.0.2:80"),
    ] {
        assert_eq!(walk(&ruleset, from, to)[0].0, expected, "{from} to {to}");
    }
}

#[test]
fn tables_of_the_other_family_do_not_see_the_packet() {
    let mut six = Ruleset::new();
    let table = Table::new(Family::Ip6, "six");
    six.add_table(&table);
    six.add_chain(&table, &Chain::base("c", ChainType::Filter, Hook::Prerouting, 0));
    six.add_rule(&table, &Rule::new("c", vec![verdict(Verdict::Drop)]));
    six.check().unwrap();
    assert_eq!(walk(&six, "10.0.0.9", PASSED)[0].0, PASSED);
    assert_eq!(walk(&six, "fd00::9", "[fd00::1]:80")[0].0, "drop");
}

#[test]
fn rules_that_lead_in_a_circle_are_an_error() {
    let circle = ruleset(|ruleset| {
        ruleset.add_rule(&table(), &Rule::new("filter-prerouting", vec![jump("x")]));
        ruleset.add_rule(&table(), &Rule::new("x", vec![jump("x")]));
    });
    assert!(walk(&circle, "10.0.0.9", PASSED)[0].0.contains("cannot tell"));
}
