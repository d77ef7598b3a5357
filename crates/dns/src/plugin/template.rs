//! `template`: replies are made from the question by patterns.

mod handler;
mod read;
mod records;
mod zone_file;

use regex::Regex;

use crate::wire::Name;

pub(super) use handler::handler;
pub(super) use read::read;

/// The directive `template`.
#[derive(Clone, Debug)]
pub(crate) struct TemplateRule {
    /// Only names in these zones.
    pub(crate) zones: Vec<Name>,
    /// Only questions of this class; `None` means all.
    pub(crate) class: Option<u16>,
    /// Only questions of this type; `None` means all.
    pub(crate) kind: Option<u16>,
    /// Only names that match one of these patterns; none means all.
    pub(crate) matches: Vec<Regex>,
    /// Records of the answer section, as text with `{{ .Name }}` and the like.
    pub(crate) answer: Vec<String>,
    /// Records of the additional section.
    pub(crate) additional: Vec<String>,
    /// Records of the authority section.
    pub(crate) authority: Vec<String>,
    /// The response code.
    pub(crate) rcode: u16,
    /// Zones whose names that match no pattern are left to the next rule or plugin. Other names that match no pattern
    /// fail.
    pub(crate) fall_through: Option<Vec<Name>>,
}

#[cfg(test)]
mod tests;
