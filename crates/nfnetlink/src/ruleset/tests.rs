//! A ruleset value takes and refuses what the kernel takes and refuses.

use super::*;
use crate::expr::{LookupResult, Register};
use crate::{DataType, Family, KeyType, SetContent, Verdict};

fn table() -> Table {
    Table::new(Family::Inet, "t")
}

fn ways() -> Set {
    Set::new("ways", KeyType::of(&[DataType::Ipv4Addr]), SetContent::Verdict, "")
}

fn way(chain: &str) -> Element {
    Element::new(vec![10, 0, 0, 1], ElementData::Verdict(Verdict::Goto(chain.into())), "")
}

fn jump(from: &str, to: &str) -> Rule {
    Rule::new(from.to_owned(), vec![Expr::Verdict(Verdict::Jump(to.into()))])
}

fn loaded() -> Ruleset {
    let mut ruleset = Ruleset::new();
    ruleset.add_table(&table());
    ruleset.add_set(&table(), &ways());
    for chain in ["a", "b", "c"] {
        ruleset.add_chain(&table(), &Chain::regular(chain));
    }
    ruleset.add_rule(&table(), &jump("a", "b"));
    ruleset.add_elements(&table(), "ways", &[way("c")]);
    ruleset.check().unwrap();
    ruleset
}

/// What is refused, with the kernel's error.
fn refusals(changes: impl FnOnce(&mut Ruleset)) -> Vec<(String, &'static str)> {
    let mut ruleset = loaded();
    let before = ruleset.clone();
    let outcome = ruleset.commit(changes);
    let Err(Error::Refused(refusals)) = outcome else { return Vec::new() };
    assert_eq!(ruleset, before, "a refused transaction changes nothing");
    let name = |errno| match errno {
        rustix::io::Errno::NOENT => "ENOENT",
        rustix::io::Errno::BUSY => "EBUSY",
        rustix::io::Errno::EXIST => "EEXIST",
        _ => "other",
    };
    refusals.into_iter().map(|refusal| (refusal.message, name(refusal.errno))).collect()
}

#[test]
fn what_is_not_there_cannot_be_used_or_deleted() {
    let refused = refusals(|ruleset| {
        let table = table();
        ruleset.add_rule(&table, &jump("a", "gone"));
        ruleset.add_rule(&table, &jump("gone", "a"));
        ruleset.add_rule(&table, &Rule::new("a", vec![Expr::contained("gone", Register(0))]));
        ruleset.delete_chain(&table, "gone");
        ruleset.delete_elements(&table, "ways", &[Element::key(vec![10, 0, 0, 2])]);
        ruleset.add_elements(&table, "ways", &[Element { key: vec![10, 0, 0, 3], ..way("gone") }]);
        ruleset.add_chain(&Table::new(Family::Ip, "t"), &Chain::regular("d"));
    });
    assert_eq!(refused.len(), 7, "{refused:?}");
    assert!(refused.iter().all(|(_, errno)| *errno == "ENOENT"), "{refused:?}");
    assert_eq!(refused[3].0, "delete chain inet t gone");
}

#[test]
fn what_is_in_use_cannot_be_deleted() {
    let refused = refusals(|ruleset| {
        let table = table();
        ruleset.add_rule(
            &table,
            &Rule::new(
                "c",
                vec![Expr::Lookup { set: "ways".into(), from: Register(0), result: LookupResult::Verdict }],
            ),
        );
        ruleset.delete_chain(&table, "a");
        ruleset.delete_chain(&table, "b");
        ruleset.delete_chain(&table, "c");
        ruleset.delete_set(&table, "ways");
    });
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.iter().all(|(_, errno)| *errno == "EBUSY"), "{refused:?}");
    let freed = refusals(|ruleset| {
        ruleset.delete_elements(&table(), "ways", &[way("c")]);
        ruleset.flush_chain(&table(), "a");
        ["a", "b", "c"].iter().for_each(|chain| ruleset.delete_chain(&table(), chain));
        ruleset.delete_set(&table(), "ways");
    });
    assert_eq!(freed, []);
}

#[test]
fn an_element_does_not_change_its_data() {
    assert_eq!(refusals(|ruleset| ruleset.add_elements(&table(), "ways", &[way("c")])), []);
    let refused = refusals(|ruleset| ruleset.add_elements(&table(), "ways", &[way("b")]));
    assert_eq!(refused[0].1, "EEXIST");
    let replaced = refusals(|ruleset| {
        ruleset.delete_elements(&table(), "ways", &[way("c")]);
        ruleset.add_elements(&table(), "ways", &[way("b")]);
    });
    assert_eq!(replaced, []);
}

#[test]
fn an_anonymous_set_goes_with_its_rule_and_its_number_does_not_count() {
    let with_numbers = |numbers: [&'static str; 2]| {
        let mut ruleset = loaded();
        for number in numbers {
            let set = Set::anonymous(number, KeyType::of(&[DataType::Ipv4Addr]), SetContent::Keys);
            ruleset.add_set(&table(), &set);
            ruleset.add_elements(&table(), number, &[Element::key(vec![10, 0, 0, 9])]);
            ruleset.add_rule(&table(), &Rule::new("c", vec![Expr::contained(number, Register(0))]));
        }
        ruleset.check().unwrap();
        ruleset
    };
    let mut ruleset = with_numbers(["__set0", "__set1"]);
    assert_eq!(ruleset, with_numbers(["__set1", "__set0"]));
    assert_ne!(ruleset, loaded());
    ruleset.flush_chain(&table(), "c");
    assert_eq!(ruleset, loaded());
    assert!(ruleset.set("__set0").is_none());
}

#[test]
fn the_order_in_which_objects_were_made_does_not_count() {
    let mut one = loaded();
    one.delete_elements(&table(), "ways", &[way("c")]);
    one.delete_chain(&table(), "c");
    one.add_chain(&table(), &Chain::regular("c"));
    one.add_elements(&table(), "ways", &[way("c")]);
    assert_eq!(one, loaded());
    let mut copy = Ruleset::new();
    one.replay(&mut copy);
    copy.check().unwrap();
    assert_eq!(copy, one);
}
