//! Two outcomes of one question.

use std::collections::BTreeMap;
use std::fmt;

use crate::dns::codes;
use crate::dns::question::Edns;
use crate::dns::reply::{FLAGS, Outcome, Record, Reply, Section};

/// How many seconds TTLs may differ while they count down.
const SLACK: u32 = 5;

/// One thing in which two outcomes differ. Shown without names, so that the like can be grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// One has no message, or the response codes differ: theirs and ours, in a word.
    Outcome(String, String),
    /// The opcodes differ.
    Opcode,
    /// A flag is set by only one.
    Flag {
        /// Its word.
        flag: &'static str,
        /// Whether it is us who set it.
        ours: bool,
    },
    /// The question is repeated otherwise.
    Echo,
    /// The OPT records differ.
    Edns(Option<Edns>, Option<Edns>),
    /// Truncated replies have another number of records.
    Left,
    /// Aliases come in another order.
    Order,
    /// This record of theirs has another TTL here.
    Ttl(Record, u32),
    /// This record of theirs has its name in other letters here.
    Letters(Record),
    /// We lack this record.
    Missing(Record),
    /// Only we have this record.
    Extra(Record),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |record: &Record| {
            let section = match record.section {
                Section::Answer => "answer",
                Section::Authority => "authority",
                Section::Additional => "additional",
            };
            format!("{section}: {}", codes::type_word(record.kind))
        };
        match self {
            Self::Outcome(theirs, ours) => write!(f, "{theirs} became {ours}"),
            Self::Opcode => write!(f, "another opcode"),
            Self::Flag { flag, ours: true } => write!(f, "{flag} is too much"),
            Self::Flag { flag, ours: false } => write!(f, "{flag} is missing"),
            Self::Echo => write!(f, "another question is repeated"),
            Self::Edns(Some(_), None) => write!(f, "EDNS is missing"),
            Self::Edns(None, _) => write!(f, "EDNS is too much"),
            Self::Edns(..) => write!(f, "EDNS says something else"),
            Self::Left => write!(f, "another number of records is left"),
            Self::Order => write!(f, "aliases are in another order"),
            Self::Ttl(record, ours) => write!(f, "{} with TTL {} has {ours}", place(record), record.ttl),
            Self::Letters(record) => write!(f, "{} has other letters in its name", place(record)),
            Self::Missing(record) => write!(f, "{} is missing", place(record)),
            Self::Extra(record) => write!(f, "{} is too much", place(record)),
        }
    }
}

/// What differs; nothing when both agree.
pub fn differences(theirs: &Outcome, ours: &Outcome, counts_down: bool) -> Vec<Difference> {
    match (theirs, ours) {
        (Outcome::Reply(theirs), Outcome::Reply(ours)) => replies(theirs, ours, counts_down),
        (theirs, ours) if theirs == ours => Vec::new(),
        (theirs, ours) => vec![Difference::Outcome(word(theirs), word(ours))],
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

fn replies(theirs: &Reply, ours: &Reply, counts_down: bool) -> Vec<Difference> {
    let mut found = Vec::new();
    if theirs.rcode != ours.rcode {
        let (theirs, ours) = (codes::rcode_word(theirs.rcode), codes::rcode_word(ours.rcode));
        found.push(Difference::Outcome(theirs, ours));
    }
    if theirs.opcode != ours.opcode {
        found.push(Difference::Opcode);
    }
    for ((flag, theirs), ours) in FLAGS.into_iter().zip(theirs.flags).zip(ours.flags) {
        if theirs != ours {
            found.push(Difference::Flag { flag, ours });
        }
    }
    if theirs.echo != ours.echo {
        found.push(Difference::Echo);
    }
    if theirs.edns != ours.edns {
        found.push(Difference::Edns(theirs.edns.clone(), ours.edns.clone()));
    }
    if theirs.is("tc") && ours.is("tc") {
        // Which of the records are left is by chance when not all have room; how many is not.
        if counts(theirs) != counts(ours) {
            found.push(Difference::Left);
        }
    } else {
        found.extend(records(theirs, ours, counts_down));
        if chain(theirs) != chain(ours) {
            found.push(Difference::Order);
        }
    }
    found
}

fn chain(reply: &Reply) -> Vec<(String, String)> {
    let aliases = reply.chain().into_iter();
    aliases.map(|record| (record.name.to_ascii_lowercase(), record.data.to_ascii_lowercase())).collect()
}

fn counts(reply: &Reply) -> BTreeMap<(Section, u16), usize> {
    let mut counts = BTreeMap::new();
    for record in &reply.records {
        *counts.entry((record.section, record.kind)).or_default() += 1;
    }
    counts
}

/// Records as bags. Those that differ in their TTL or their letters alone are said to.
fn records(theirs: &Reply, ours: &Reply, counts_down: bool) -> Vec<Difference> {
    let slack = if counts_down { SLACK } else { 0 };
    let same = |theirs: &Record, ours: &Record| {
        theirs.section == ours.section && theirs.kind == ours.kind && theirs.data == ours.data
    };
    let mut left: Vec<&Record> = ours.records.iter().collect();
    let mut take = |fits: &dyn Fn(&Record) -> bool| {
        let at = left.iter().position(|record| fits(record))?;
        Some(left.swap_remove(at))
    };
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for record in &theirs.records {
        let near = |other: &Record| {
            let is_near = record.ttl.abs_diff(other.ttl) <= slack;
            same(record, other) && record.name == other.name && is_near
        };
        if take(&near).is_none() {
            missing.push(record);
        }
    }
    for record in missing {
        if let Some(other) = take(&|other| same(record, other) && record.name == other.name) {
            found.push(Difference::Ttl(record.clone(), other.ttl));
        } else if take(&|other| same(record, other) && record.name.eq_ignore_ascii_case(&other.name))
            .is_some()
        {
            found.push(Difference::Letters(record.clone()));
        } else {
            found.push(Difference::Missing(record.clone()));
        }
    }
    found.extend(left.into_iter().cloned().map(Difference::Extra));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, name: &str, ttl: u32, data: &str) -> Record {
        let (name, data) = (name.to_owned(), data.to_owned());
        Record { section: Section::Answer, name, kind, class: codes::IN, ttl, data }
    }

    fn found(theirs: &Outcome, ours: &Outcome, counts_down: bool) -> Vec<String> {
        differences(theirs, ours, counts_down).iter().map(ToString::to_string).collect()
    }

    fn reply(records: &[Record]) -> Outcome {
        Outcome::Reply(Reply { records: records.to_vec(), ..Reply::default() })
    }

    #[test]
    fn the_order_of_addresses_says_nothing_and_that_of_aliases_does() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|ip| record(codes::A, "a.", 5, ip));
        let (theirs, ours) = (reply(&[one.clone(), two.clone()]), reply(&[two, one.clone()]));
        assert_eq!(found(&theirs, &ours, false), [""; 0]);
        let alias = record(codes::CNAME, "b.", 5, "a.");
        let found = found(&reply(&[alias.clone(), one.clone()]), &reply(&[one, alias]), false);
        assert_eq!(found, ["aliases are in another order"]);
    }

    #[test]
    fn a_difference_is_named_as_narrowly_as_possible() {
        let theirs = reply(&[record(codes::A, "a.", 30, "192.0.2.1")]);
        let against = |ours: &[Record], counts_down| found(&theirs, &reply(ours), counts_down);
        assert_eq!(against(&[record(codes::A, "a.", 29, "192.0.2.1")], true), [""; 0]);
        assert_eq!(
            against(&[record(codes::A, "a.", 29, "192.0.2.1")], false),
            ["answer: A with TTL 30 has 29"]
        );
        assert_eq!(
            against(&[record(codes::A, "A.", 30, "192.0.2.1")], false),
            ["answer: A has other letters in its name"]
        );
        let other = against(&[record(codes::A, "a.", 30, "192.0.2.9")], false);
        assert_eq!(other, ["answer: A is missing", "answer: A is too much"]);
        assert_eq!(found(&theirs, &Outcome::Silence, false), ["NOERROR became silence"]);
    }

    #[test]
    fn of_truncated_replies_only_the_number_of_records_counts() {
        let mut short = Reply { records: vec![record(codes::A, "a.", 5, "192.0.2.1")], ..Reply::default() };
        short.flags[1] = true;
        let mut other = short.clone();
        other.records[0].data = "192.0.2.2".to_owned();
        let against = |ours: Reply| found(&Outcome::Reply(short.clone()), &Outcome::Reply(ours), false);
        assert_eq!(against(other.clone()), [""; 0]);
        other.records.clear();
        assert_eq!(against(other), ["another number of records is left"]);
    }
}
