//! Two outcomes of one question.

use std::collections::BTreeMap;

use crate::dns::codes;
use crate::dns::reply::{FLAGS, Outcome, Record, Reply, Section};

/// How many seconds TTLs may differ while they count down.
const SLACK: u32 = 5;

/// What differs, each in a few words without names, so that the like can be grouped; empty when both agree.
pub fn differences(theirs: &Outcome, ours: &Outcome, counts_down: bool) -> Vec<String> {
    match (theirs, ours) {
        (Outcome::Reply(theirs), Outcome::Reply(ours)) => replies(theirs, ours, counts_down),
        (theirs, ours) if theirs == ours => Vec::new(),
        (theirs, ours) => vec![format!("{} became {}", word(theirs), word(ours))],
    }
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Reply(reply) => codes::rcode_word(reply.rcode),
        Outcome::Silence => "silence".to_owned(),
        Outcome::Closed => "the end of the connection".to_owned(),
        Outcome::Garbage => "garbage".to_owned(),
    }
}

fn replies(theirs: &Reply, ours: &Reply, counts_down: bool) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.rcode != ours.rcode {
        let (theirs, ours) = (codes::rcode_word(theirs.rcode), codes::rcode_word(ours.rcode));
        found.push(format!("{theirs} became {ours}"));
    }
    if theirs.opcode != ours.opcode {
        found.push("another opcode".to_owned());
    }
    for ((flag, theirs), ours) in FLAGS.iter().zip(theirs.flags).zip(ours.flags) {
        match (theirs, ours) {
            (true, false) => found.push(format!("{flag} is missing")),
            (false, true) => found.push(format!("{flag} is too much")),
            _ => {}
        }
    }
    if theirs.echo != ours.echo {
        found.push("another question is repeated".to_owned());
    }
    if theirs.edns != ours.edns {
        found.push(match (&theirs.edns, &ours.edns) {
            (Some(_), None) => "EDNS is missing".to_owned(),
            (None, Some(_)) => "EDNS is too much".to_owned(),
            _ => "EDNS says something else".to_owned(),
        });
    }
    if theirs.is("tc") && ours.is("tc") {
        found.extend(counts(theirs, ours));
    } else {
        found.extend(records(theirs, ours, counts_down));
        if chain(theirs) != chain(ours) {
            found.push("aliases are in another order".to_owned());
        }
    }
    found
}

fn chain(reply: &Reply) -> Vec<(&str, &str)> {
    reply.chain().into_iter().map(|record| (record.name.as_str(), record.data.as_str())).collect()
}

/// Which of the records are left is by chance when not all have room; how many is not.
fn counts(theirs: &Reply, ours: &Reply) -> Option<String> {
    let count = |reply: &Reply| {
        let mut counts = BTreeMap::<(Section, u16), usize>::new();
        for record in &reply.records {
            *counts.entry((record.section, record.kind)).or_default() += 1;
        }
        counts
    };
    (count(theirs) != count(ours)).then(|| "another number of records is left".to_owned())
}

/// Records as bags. Those that differ in their TTL alone are said to.
fn records(theirs: &Reply, ours: &Reply, counts_down: bool) -> Vec<String> {
    let slack = if counts_down { SLACK } else { 0 };
    let mut found = Vec::new();
    let mut left: Vec<&Record> = ours.records.iter().collect();
    let mut missing = Vec::new();
    for record in &theirs.records {
        let near = |other: &&Record| {
            record.ttl.abs_diff(other.ttl) <= slack
                && Record { ttl: record.ttl, ..(**other).clone() } == *record
        };
        match left.iter().position(near) {
            Some(at) => drop(left.swap_remove(at)),
            None => missing.push(record),
        }
    }
    for record in missing {
        let alike = |change: &dyn Fn(&mut Record)| {
            left.iter().position(|other| {
                let mut other = (*other).clone();
                change(&mut other);
                other == *record
            })
        };
        let place = section(record.section);
        let kind = codes::type_word(record.kind);
        let by_ttl = alike(&|other| other.ttl = record.ttl);
        let by_name = alike(&|other| {
            other.ttl = record.ttl;
            if other.name.eq_ignore_ascii_case(&record.name) {
                other.name.clone_from(&record.name);
            }
        });
        if let Some(at) = by_ttl {
            let other = left.swap_remove(at);
            found.push(format!("{place}: TTL {} of {kind} became {}", record.ttl, other.ttl));
        } else if let Some(at) = by_name {
            left.swap_remove(at);
            found.push(format!("{place}: another case of the name of {kind}"));
        } else {
            found.push(format!("{place}: {kind} is missing"));
        }
    }
    let extra = left.into_iter();
    found.extend(
        extra.map(|record| {
            format!("{}: {} is too much", section(record.section), codes::type_word(record.kind))
        }),
    );
    found.sort();
    found.dedup();
    found
}

fn section(section: Section) -> &'static str {
    match section {
        Section::Answer => "answer",
        Section::Authority => "authority",
        Section::Additional => "additional",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, name: &str, ttl: u32, data: &str) -> Record {
        let (name, data) = (name.to_owned(), data.to_owned());
        Record { section: Section::Answer, name, kind, class: codes::IN, ttl, data }
    }

    fn reply(records: &[Record]) -> Outcome {
        Outcome::Reply(Reply { records: records.to_vec(), ..Reply::default() })
    }

    #[test]
    fn the_order_of_addresses_says_nothing_and_that_of_aliases_does() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|ip| record(codes::A, "a.", 5, ip));
        let (theirs, ours) = (reply(&[one.clone(), two.clone()]), reply(&[two, one.clone()]));
        assert_eq!(differences(&theirs, &ours, false), [""; 0]);
        let alias = record(codes::CNAME, "b.", 5, "a.");
        let found = differences(&reply(&[alias.clone(), one.clone()]), &reply(&[one, alias]), false);
        assert_eq!(found, ["aliases are in another order"]);
    }

    #[test]
    fn a_difference_is_named_as_narrowly_as_possible() {
        let theirs = reply(&[record(codes::A, "a.", 30, "192.0.2.1")]);
        let found = |ours: &[Record], counts_down| differences(&theirs, &reply(ours), counts_down);
        assert_eq!(found(&[record(codes::A, "a.", 29, "192.0.2.1")], true), [""; 0]);
        assert_eq!(
            found(&[record(codes::A, "a.", 29, "192.0.2.1")], false),
            ["answer: TTL 30 of A became 29"]
        );
        assert_eq!(
            found(&[record(codes::A, "A.", 30, "192.0.2.1")], false),
            ["answer: another case of the name of A"]
        );
        let other = found(&[record(codes::A, "a.", 30, "192.0.2.9")], false);
        assert_eq!(other, ["answer: A is missing", "answer: A is too much"]);
        assert_eq!(differences(&theirs, &Outcome::Silence, false), ["NOERROR became silence"]);
    }

    #[test]
    fn of_truncated_replies_only_the_number_of_records_counts() {
        let mut short = Reply { records: vec![record(codes::A, "a.", 5, "192.0.2.1")], ..Reply::default() };
        short.flags[1] = true;
        let mut other = short.clone();
        other.records[0].data = "192.0.2.2".to_owned();
        let found = |ours: Reply| differences(&Outcome::Reply(short.clone()), &Outcome::Reply(ours), false);
        assert_eq!(found(other.clone()), [""; 0]);
        other.records.clear();
        assert_eq!(found(other), ["another number of records is left"]);
    }
}
