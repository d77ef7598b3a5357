//! Repairs of tables.

use nfnetlink::{Chain, DataType, ElementData, Expr, Family, KeyType, Rule, Set, Verdict};

use super::*;

fn table() -> Table {
    Table::new(Family::Inet, "t")
}

const KEYS: Set = Set::new("keys", KeyType::of(&[DataType::Mark]), SetContent::Verdict, "");
const RANGES: Set = Set::new("ranges", KeyType::of(&[DataType::Ipv4Addr]), SetContent::Ranges, "");

/// A table with these ranges, elements that lead to a chain, and rules.
fn ruleset(ranges: &[(u128, u128)], keys: &[(u8, &str)], rules: &[(&str, Verdict)]) -> Ruleset {
    let mut ruleset = Ruleset::new();
    ruleset.add_table(&table());
    ruleset.add_chain(&table(), &Chain::regular("entry"));
    for chain in keys.iter().map(|(_, chain)| chain).chain(rules.iter().map(|(chain, _)| chain)) {
        ruleset.add_chain(&table(), &Chain::regular(*chain));
    }
    for set in [KEYS, RANGES] {
        ruleset.add_set(&table(), &set);
    }
    ruleset.add_elements(&table(), "ranges", &nfnetlink::range_elements(ranges.iter().copied(), 4));
    for (key, chain) in keys {
        let data = ElementData::Verdict(Verdict::Goto((*chain).to_owned()));
        ruleset.add_elements(&table(), "keys", &[Element::new(vec![*key, 0, 0, 0], data, "")]);
    }
    for (chain, verdict) in rules {
        ruleset.add_rule(&table(), &Rule::new(*chain, vec![Expr::Verdict(verdict.clone())]));
    }
    ruleset.check().unwrap();
    ruleset
}

#[test]
fn every_state_can_be_turned_into_every_other() {
    let states = [
        ruleset(&[], &[], &[]),
        ruleset(&[(0, 9)], &[(1, "a"), (2, "b")], &[("entry", Verdict::Drop)]),
        ruleset(
            &[(0, 19), (30, 39)],
            &[(1, "b"), (3, "c")],
            &[("b", Verdict::Accept), ("entry", Verdict::Accept)],
        ),
        ruleset(&[(5, 9)], &[(1, "a")], &[("a", Verdict::Drop), ("a", Verdict::Accept)]),
    ];
    for held in &states {
        for wanted in &states {
            let difference = Difference::between(held, wanted).unwrap();
            let mut table = held.clone();
            table.commit(|table| difference.prepare(table)).unwrap();
            table.commit(|table| difference.edit(table)).unwrap();
            table.commit(|table| difference.clean(table)).unwrap();
            assert!(table == *wanted);
        }
    }
}

#[test]
fn what_is_right_is_left_alone() {
    let held = ruleset(&[(0, 9)], &[(1, "a"), (2, "b")], &[]);
    let wanted = ruleset(&[(0, 9)], &[(1, "b"), (2, "b"), (4, "b")], &[]);
    let difference = Difference::between(&held, &wanted).unwrap();
    let edits: Vec<_> = difference.edits.iter().map(|(_, gone, come)| (gone.len(), come.len())).collect();
    assert_eq!(edits, [(1, 2), (0, 0)], "one leads elsewhere, one is new");
}

#[test]
fn a_set_of_another_kind_cannot_be_changed_in_place() {
    let wanted = ruleset(&[], &[], &[]);
    let mut held = Ruleset::new();
    held.add_table(&table());
    held.add_set(&table(), &Set { name: "keys".into(), ..RANGES });
    assert!(Difference::between(&held, &wanted).is_none());
    assert!(Difference::between(&Ruleset::new(), &wanted).is_none(), "no table");
}
