//! `template`: replies made from the question by a pattern.

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

#[cfg(test)]
mod tests;
