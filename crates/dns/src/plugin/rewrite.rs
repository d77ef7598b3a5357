//! `rewrite`: questions are asked under another name, and answered under the name of the client.

mod handler;
mod read;
mod rules;

use regex::Regex;

pub(super) use handler::handler;
pub(super) use read::{pattern, read};

/// The directive `rewrite`: one rule.
#[derive(Clone, Debug)]
pub(crate) struct RewriteRule {
    /// What it changes.
    pub(crate) change: Change,
    /// What follows when it applied.
    pub(crate) then: AfterMatch,
}

/// What follows when a rule applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterMatch {
    /// No further rule.
    Stop,
    /// The next rule.
    Continue,
}

/// What a rule changes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// The name asked for, and names in the answer.
    Name {
        /// Which names.
        matches: NameMatch,
        /// What takes the place of what was matched.
        to: String,
        /// How names in the answer are changed.
        answers: Vec<AnswerRule>,
    },
    /// The type asked for.
    Type {
        /// From this one.
        from: u16,
        /// To that.
        to: u16,
    },
    /// The class asked for.
    Class {
        /// From this one.
        from: u16,
        /// To that.
        to: u16,
    },
    /// The target of an alias in the answer; the new target is asked for.
    Cname {
        /// Which targets.
        matches: NameMatch,
        /// What takes the place of what was matched.
        to: String,
    },
    /// The TTL of the records in the answer.
    Ttl {
        /// Of which names.
        matches: NameMatch,
        /// The least, in seconds.
        least: u32,
        /// The most, in seconds.
        most: u32,
    },
}

/// Which names a rule is about; all are compared in lower case with a final dot.
#[derive(Clone, Debug)]
pub(crate) enum NameMatch {
    /// This one.
    Exact(String),
    /// Those that begin so.
    Prefix(String),
    /// Those that end so.
    Suffix(String),
    /// Those that hold it.
    Substring(String),
    /// Those that fit.
    Regex(Regex),
}

/// How names in an answer are changed.
#[derive(Clone, Debug)]
pub(crate) enum AnswerRule {
    /// Back to what was asked for.
    Auto,
    /// The owners of records.
    Name(Regex, String),
    /// The names inside records.
    Value(Regex, String),
}
