//! Every expression and kind of set: the kernel takes it, and `nft` lists it without aborting.

use std::time::Duration;

use nfnetlink::expr::{CtKey, LookupResult, MetaKey, PayloadBase, Register};
use nfnetlink::{
    Batch, Chain, ChainType, DataType, Expr, Family, Hook, KeyType, Rule, Set, SetContent, Socket, Table,
    Transaction, priority,
};

use crate::namespace::{in_namespace, nft_list};

const R: [Register; 8] =
    [Register(0), Register(1), Register(2), Register(3), Register(4), Register(5), Register(6), Register(7)];
const SOURCE: Expr = Expr::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: Register(0) };

fn table() -> Table {
    Table::new(Family::Ip, "t")
}

fn lookup(set: &'static str, from: Register, to: Register) -> Expr {
    Expr::Lookup { set: set.into(), from, result: LookupResult::Value(to) }
}

fn number(value: u32, to: Register) -> Expr {
    Expr::Immediate { value: value.to_ne_bytes().to_vec(), to }
}

const ENDPOINT: KeyType = KeyType::of(&[DataType::Ipv4Addr, DataType::InetService]);
const CLIENT: KeyType = KeyType::of(&[DataType::Ipv4Addr, DataType::Mark]);
const AFFINITY: Set = Set::new("affinity", CLIENT, SetContent::Data(ENDPOINT), "who was served where")
    .dynamic(Duration::from_secs(10800), 100_000);
const SERVED: Set = Set::new(
    "served",
    KeyType::of(&[DataType::Ipv4Addr, DataType::Ipv4Addr, DataType::InetProto, DataType::InetService]),
    SetContent::Data(ENDPOINT),
    "",
)
.dynamic(Duration::ZERO, 100_000);
const PLACES: Set = Set::new("places", CLIENT, SetContent::Data(ENDPOINT), "").counted();

fn dnat() -> Expr {
    Expr::Dnat { family: Family::Ip, address: R[4], port: Some(R[5]) }
}

/// Each rule, and what `nft` lists it as.
fn rules() -> Vec<(Vec<Expr>, &'static str)> {
    vec![
        (
            vec![SOURCE, number(7, R[1]), lookup("affinity", R[0], R[4]), dnat()],
            "dnat ip to ip saddr . 0x7000000 [invalid type] map @affinity",
        ),
        (
            vec![
                SOURCE,
                Expr::Hash { from: R[0], length: 4, modulus: 251, offset: 0, seed: Some(0), to: R[1] },
                lookup("places", R[0], R[4]),
                dnat(),
            ],
            "dnat ip to ip saddr . jhash ip saddr mod 251 seed 0x0 map @places",
        ),
        (
            vec![
                SOURCE,
                Expr::Ct { key: CtKey::OriginalAddress, to: R[1] },
                Expr::Meta { key: MetaKey::L4Proto, to: R[2] },
                Expr::Ct { key: CtKey::OriginalPort, to: R[3] },
                Expr::Payload { base: PayloadBase::Network, offset: 16, length: 4, to: R[4] },
                Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: R[5] },
                Expr::Update {
                    set: "served".into(),
                    key: R[0],
                    data: Some(R[4]),
                    timeout: Some(Duration::from_secs(60)),
                },
            ],
            "update @served { ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst timeout 1m : ip daddr . th dport }",
        ),
        (
            vec![
                Expr::Immediate { value: vec![10, 0, 0, 1], to: R[4] },
                Expr::Immediate { value: vec![0, 80], to: R[5] },
                SOURCE,
                number(7, R[1]),
                Expr::Update { set: "affinity".into(), key: R[0], data: Some(R[4]), timeout: None },
                dnat(),
            ],
            "update @affinity { ip saddr . 0x00000007 : 10.0.0.1 . 80 } dnat to 10.0.0.1:80",
        ),
        (
            vec![
                SOURCE,
                Expr::Ct { key: CtKey::OriginalAddress, to: R[1] },
                Expr::Meta { key: MetaKey::L4Proto, to: R[2] },
                Expr::Ct { key: CtKey::OriginalPort, to: R[3] },
                lookup("served", R[0], R[4]),
                dnat(),
            ],
            "dnat ip to ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst map @served",
        ),
    ]
}

#[test]
fn nft_lists_rules_that_it_could_not_have_written() {
    in_namespace("listable", || {
        for (expressions, expected) in rules() {
            let mut batch = Batch::new();
            batch.add_table(&table());
            batch.delete_table(&table());
            batch.add_table(&table());
            [AFFINITY, PLACES, SERVED].iter().for_each(|set| batch.add_set(&table(), set));
            let chain = Chain::base("nat", ChainType::Nat, Hook::Prerouting, priority::DSTNAT);
            batch.add_chain(&table(), &chain);
            batch.add_rule(&table(), &Rule::new("nat", expressions.clone()));
            Socket::open().unwrap().commit(batch).unwrap();
            let listed = nft_list();
            assert!(listed.contains(expected), "{expected} is missing in:\n{listed}");
        }
    });
}
