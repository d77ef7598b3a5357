//! Making records from the question.
//!
//! Of the Go templates that CoreDNS takes, the fields of the question and the groups of the pattern are known here:
//! what rules for names of addresses need. Everything else is an error when the Corefile is read.

use std::net::IpAddr;

use regex::Captures;

use super::TemplateRule;
use super::zone_file;
use crate::wire::{Copier, Name, Query, Reply, Section, flag, kind, rcode};

/// The rules of a server block, in their order.
#[derive(Debug)]
pub(super) struct Templates {
    rules: Vec<TemplateRule>,
}

/// A piece of the text of a record.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Name,
    Zone,
    Class,
    Type,
    Remote,
    Group(&'a str),
    Match(usize),
}

/// The values of the pieces.
struct Values<'a> {
    query: &'a Query<'a>,
    name: &'a str,
    zone: &'a Name,
    client: IpAddr,
    groups: Option<&'a Captures<'a>>,
}

/// Why the text of a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    /// Braces are opened and not closed.
    #[error("{0:?}: a {{{{ is not closed")]
    Open(String),
    /// The expression in braces is not known here.
    #[error(
        "{0:?} is not known in templates here; there are .Name, .Zone, .Class, .Type, .Remote, .Group.NAME and \
         index .Match NUMBER"
    )]
    Unknown(String),
}

/// Checks that the text of a record can be read.
///
/// # Errors
/// [`TemplateError`] when it cannot.
pub(super) fn check(text: &str) -> Result<(), TemplateError> {
    pieces(text).map(drop)
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or_else(|| TemplateError::Open(text.to_owned()))?;
        pieces.push(Piece::Text(before));
        let piece = piece(inside.trim().trim_matches('-').trim());
        pieces.push(piece.ok_or_else(|| TemplateError::Unknown(inside.to_owned()))?);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

fn piece(text: &str) -> Option<Piece<'_>> {
    let words: Vec<_> = text.split_whitespace().collect();
    match words[..] {
        [".Name" | ".Question.Name"] => Some(Piece::Name),
        [".Zone"] => Some(Piece::Zone),
        [".Class"] => Some(Piece::Class),
        [".Type"] => Some(Piece::Type),
        [".Remote"] => Some(Piece::Remote),
        [group] => group.strip_prefix(".Group.").map(Piece::Group),
        ["index", ".Match", number] => number.parse().ok().map(Piece::Match),
        ["index", ".Group", name] => Some(Piece::Group(name.trim_matches('"'))),
        _ => None,
    }
}

impl Templates {
    /// Templates with these rules.
    pub(super) fn new(rules: Vec<TemplateRule>) -> Self {
        Self { rules }
    }

    /// Writes the reply of at most `limit` bytes. Returns false if no rule is about the question.
    pub(super) fn answer(&self, query: &Query<'_>, client: IpAddr, limit: usize, out: &mut Vec<u8>) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let name = query.name.to_string();
        for rule in &self.rules {
            let zones = rule.zones.iter().filter(|zone| query.name.below(zone).is_some());
            let Some(zone) = zones.max_by_key(|zone| zone.labels()) else { continue };
            let meant = rule.class.is_none_or(|class| class == query.class)
                && rule.kind.is_none_or(|kind| kind == query.kind || query.kind == kind::ANY);
            if !meant {
                continue;
            }
            let groups = rule.matches.iter().find_map(|pattern| pattern.captures(&name));
            if groups.is_none() && !rule.matches.is_empty() {
                let falls = rule.fall_through.as_ref();
                if falls.is_some_and(|zones| zones.iter().any(|zone| query.name.below(zone).is_some())) {
                    continue;
                }
                Reply::to(query, limit, out).finish(rcode::SERVFAIL);
                return true;
            }
            let values = Values { query, name: &name, zone, client, groups: groups.as_ref() };
            write(rule, &values, limit, out);
            return true;
        }
        false
    }
}

fn write(rule: &TemplateRule, values: &Values<'_>, limit: usize, out: &mut Vec<u8>) {
    let mut reply = Reply::to(values.query, limit, out);
    reply.set(flag::AA);
    let sections = [
        (Section::Answer, &rule.answer),
        (Section::Authority, &rule.authority),
        (Section::Additional, &rule.additional),
    ];
    let mut copier = Copier::new(&mut reply, &values.query.name);
    for (section, texts) in sections {
        for text in texts {
            let filled = values.fill(text);
            match zone_file::parse(&filled) {
                Ok(record) => {
                    copier.record(section, &record);
                }
                Err(error) => {
                    tracing::debug!(record = %filled, %error, "the text of a template is no record");
                    Reply::to(values.query, limit, out).finish(rcode::SERVFAIL);
                    return;
                }
            }
        }
    }
    reply.finish(rule.rcode);
}

impl Values<'_> {
    fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        for piece in pieces(text).unwrap_or_default() {
            match piece {
                Piece::Text(text) => filled += text,
                Piece::Name => filled += self.name,
                Piece::Zone => filled += &self.zone.to_string(),
                Piece::Class => filled += "IN",
                Piece::Type => match kind::name(self.query.kind) {
                    Some(name) => filled += name,
                    None => filled += &format!("TYPE{}", self.query.kind),
                },
                Piece::Remote => filled += &self.client.to_string(),
                Piece::Group(name) => filled += self.group(|groups| groups.name(name)),
                Piece::Match(number) => filled += self.group(|groups| groups.get(number)),
            }
        }
        filled
    }

    fn group<'a>(&'a self, get: impl FnOnce(&'a Captures<'a>) -> Option<regex::Match<'a>>) -> &'a str {
        self.groups.and_then(get).map_or("", |group| group.as_str())
    }
}
