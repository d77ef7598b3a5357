//! What differs on purpose. The page of this crate gives the reasons at length.

mod rules;

use crate::dns::codes;
use crate::dns::compare::{Difference, differences};
use crate::dns::corefile::Case;
use crate::dns::question::Question;
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

    /// The type that was asked for; 0 when the message was none.
    fn kind(&self) -> u16 {
        self.question.proper().map_or(0, |proper| proper.kind)
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

/// The reason for a difference, if it is on purpose.
pub fn reason(asked: &Asked<'_>, difference: &Difference) -> Option<&'static str> {
    rules::ALL.iter().find(|wanted| (wanted.is)(asked, difference)).map(|wanted| wanted.reason)
}
