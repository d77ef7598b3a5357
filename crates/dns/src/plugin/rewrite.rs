//! `rewrite`: questions are changed by rules, and their replies back.

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
    /// What follows after it applied.
    pub(crate) then: AfterMatch,
}

/// What follows after a rule applied.
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
        /// The names that it is about.
        matches: NameMatch,
        /// The replacement of what was matched.
        to: String,
        /// How names in the reply are changed.
        answers: Vec<AnswerRule>,
    },
    /// The type asked for.
    Type {
        /// The type before.
        from: u16,
        /// The type after.
        to: u16,
    },
    /// The class asked for.
    Class {
        /// The class before.
        from: u16,
        /// The class after.
        to: u16,
    },
    /// The target of an alias in the reply. The new target is asked for.
    Cname {
        /// The targets that it is about.
        matches: NameMatch,
        /// The replacement of what was matched.
        to: String,
    },
    /// The TTL of the records in the reply.
    Ttl {
        /// The names that it is about.
        matches: NameMatch,
        /// The lowest TTL, in seconds.
        least: u32,
        /// The highest TTL, in seconds.
        most: u32,
    },
}

/// The names that a rule is about. Names are compared in lower case with a final dot.
#[derive(Clone, Debug)]
pub(crate) enum NameMatch {
    /// This name.
    Exact(String),
    /// Names with this prefix.
    Prefix(String),
    /// Names with this suffix.
    Suffix(String),
    /// Names with this text in them.
    Substring(String),
    /// Names that match a pattern.
    Regex(Regex),
}

/// How names in a reply are changed.
#[derive(Clone, Debug)]
pub(crate) enum AnswerRule {
    /// Back to the name of the question (`answer auto`).
    Auto,
    /// The owner names of records, by a pattern (`answer name`).
    Name(Regex, String),
    /// The names in the data of records, by a pattern (`answer value`).
    Value(Regex, String),
}
