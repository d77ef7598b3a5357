//! What differs on purpose. The page of this folder gives the reasons at length.

use crate::dns::compare::differences;
use crate::dns::corefile::Case;
use crate::dns::question::Question;
use crate::dns::reply::Outcome;

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
    pub fn differences(&self) -> Vec<String> {
        differences(self.theirs, self.ours, self.case.counts_down)
    }

    /// Whether nothing does.
    pub fn agree(&self) -> bool {
        self.differences().is_empty()
    }
}

/// A difference on purpose.
#[derive(Debug)]
pub struct Wanted {
    /// Why, in few words.
    pub reason: &'static str,
    /// Whether this is it. Asked only where something differs.
    is: fn(&Asked<'_>) -> bool,
}

/// All of them; the first that fits counts.
const ALL: [Wanted; 0] = [];

/// The reason for which these outcomes differ, if there is one.
pub fn reason(asked: &Asked<'_>) -> Option<&'static str> {
    ALL.iter().find(|wanted| (wanted.is)(asked)).map(|wanted| wanted.reason)
}
