//! Rules about names: `rewrite`, `template`, `hosts`.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::wire::Name;

/// The directive `rewrite`: one rule.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    /// What it changes.
    pub(crate) kind: RewriteKind,
    /// What follows when it applied.
    pub(crate) then: Then,
}

/// What follows when a rule applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// No further rule.
    Stop,
    /// The next rule.
    Continue,
}

/// What a rule changes.
#[derive(Clone, Debug)]
pub(crate) enum RewriteKind {
    /// The name asked for, and names in the answer.
    Name {
        /// Which names.
        matches: Match,
        /// What takes the place of what was matched.
        to: String,
        /// How names in the answer are changed.
        answers: Vec<Answer>,
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
        matches: Match,
        /// What takes the place of what was matched.
        to: String,
    },
    /// The TTL of the records in the answer.
    Ttl {
        /// Of which names.
        matches: Match,
        /// The least, in seconds.
        least: u32,
        /// The most, in seconds.
        most: u32,
    },
}

/// Which names a rule is about; all are compared in lower case with a final dot.
#[derive(Clone, Debug)]
pub(crate) enum Match {
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
pub(crate) enum Answer {
    /// Back to what was asked for.
    Auto,
    /// The owners of records.
    Name(Regex, String),
    /// The names inside records.
    Value(Regex, String),
}

/// The directive `template`.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// Only names in these zones.
    pub(crate) zones: Vec<Name>,
    /// Only this class; `None` is any.
    pub(crate) class: Option<u16>,
    /// Only this type; `None` is any.
    pub(crate) kind: Option<u16>,
    /// Names that fit one of these; none means all.
    pub(crate) matches: Vec<Regex>,
    /// Records of the answer, as text with `{{ .Name }}` and the like.
    pub(crate) answer: Vec<String>,
    /// Records of the additional section.
    pub(crate) additional: Vec<String>,
    /// Records of the authority section.
    pub(crate) authority: Vec<String>,
    /// The response code.
    pub(crate) rcode: u16,
    /// Names in these zones that fit none are left to what comes next; `None` fails them.
    pub(crate) fall_through: Option<Vec<Name>>,
}

/// The directive `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// The file; `None` if there are only lines of the Corefile.
    pub(crate) file: Option<PathBuf>,
    /// Only names in these zones.
    pub(crate) zones: Vec<Name>,
    /// Lines of the Corefile, in the form of the file.
    pub(crate) lines: Vec<String>,
    /// How long a record may be remembered, in seconds.
    pub(crate) ttl: u32,
    /// Whether addresses lead back to names.
    pub(crate) reverse: bool,
    /// How often the file is looked at; zero never does.
    pub(crate) reload: Duration,
    /// Names in these zones that it does not hold are left to what comes next; `None` denies them.
    pub(crate) fall_through: Option<Vec<Name>>,
}
