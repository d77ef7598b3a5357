//! What differs on purpose. The page of this folder gives the reasons at length.

use crate::dns::codes;
use crate::dns::compare::{Difference, differences};
use crate::dns::corefile::Case;
use crate::dns::question::{Edns, Question};
use crate::dns::reply::{Outcome, Section};

/// A question, the configuration under which it was asked, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The configuration.
    pub case: &'a Case,
    /// The question.
    pub question: &'a Question,
    /// What CoreDNS answered.
    pub theirs: &'a Outcome,
    /// What we answered.
    pub ours: &'a Outcome,
}

impl Asked<'_> {
    /// What differs.
    pub fn differences(&self) -> Vec<Difference> {
        differences(self.theirs, self.ours, self.case.counts_down)
    }

    /// The name that was asked for, in small letters; empty when the message was none.
    fn name(&self) -> String {
        self.question.proper().map_or_else(String::new, |proper| proper.name.to_ascii_lowercase())
    }

    /// Whether these are the response codes, theirs and ours.
    fn becomes(&self, theirs: &str, ours: &str) -> bool {
        let (theirs, ours) = (codes::rcode_code(theirs), codes::rcode_code(ours));
        let rcode = |outcome: &Outcome| outcome.reply().map(|reply| reply.rcode);
        rcode(self.theirs) == theirs && rcode(self.ours) == ours
    }

    /// Whether we answer with no record.
    fn is_empty(&self) -> bool {
        self.ours.reply().is_some_and(|reply| reply.of(Section::Answer).next().is_none())
    }

    /// Whether nothing does.
    pub fn agree(&self) -> bool {
        self.differences().is_empty()
    }
}

/// A rule by which outcomes differ on purpose.
struct Wanted {
    /// Why, in few words.
    reason: &'static str,
    /// Whether this difference is of that sort.
    is: fn(&Asked<'_>, &Difference) -> bool,
}

/// All of them; the first that fits counts.
const ALL: [Wanted; 6] = [
    Wanted {
        reason: "EDNS tells the server's own size",
        is: |_, difference| match difference {
            Difference::Edns(Some(theirs), Some(ours)) => {
                Edns { size: theirs.size, ..ours.clone() } == *theirs
            }
            _ => false,
        },
    },
    Wanted {
        reason: "RA is set wherever the server forwards",
        is: |asked, difference| {
            *difference == Difference::Flag { flag: "ra", ours: true }
                && asked.case.plugins.contains("forward")
        },
    },
    Wanted {
        reason: "a name that is in no zone is refused",
        is: |asked, _| asked.becomes("SERVFAIL", "REFUSED") && asked.is_empty(),
    },
    Wanted {
        reason: "a name with a PTR record exists for other types too",
        is: |asked, _| {
            asked.becomes("NXDOMAIN", "NOERROR")
                && asked.question.proper().is_some_and(|proper| proper.kind != codes::PTR)
                && asked.name().ends_with(".arpa.")
                && asked.is_empty()
        },
    },
    Wanted {
        reason: "a name with names below it exists",
        is: |asked, _| {
            asked.becomes("NXDOMAIN", "NOERROR")
                && ["_tcp.", "_udp.", "_sctp."].iter().any(|label| asked.name().starts_with(label))
                && asked.is_empty()
        },
    },
    Wanted {
        reason: "a port without a name has none",
        is: |asked, _| asked.becomes("NOERROR", "NXDOMAIN") && asked.name().starts_with("_._"),
    },
];

/// The reason for a difference, if it is on purpose.
pub fn reason(asked: &Asked<'_>, difference: &Difference) -> Option<&'static str> {
    ALL.iter().find(|wanted| (wanted.is)(asked, difference)).map(|wanted| wanted.reason)
}
