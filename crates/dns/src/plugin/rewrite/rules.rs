//! Applying the rules of `rewrite` to questions and replies.

use super::{AfterMatch, AnswerRule, Change, NameMatch, RewriteRule};
use crate::wire::{
    Copier, LARGEST_TCP, Malformed, Message, Name, Query, Record, Reply, Section, flag, kind, names_inside,
};

/// The rules of a server block, in their order.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<RewriteRule>,
}

/// A question that was changed by rules.
#[derive(Debug)]
pub(super) struct Rewritten<'a> {
    /// The new name.
    pub(super) name: Name,
    /// The new type.
    pub(super) kind: u16,
    /// The new class.
    pub(super) class: u16,
    /// The rules that applied, in order, each with the name before and after it. They say how to change the reply.
    back: Vec<(String, String, &'a RewriteRule)>,
}

/// An alias in a reply whose target a rule changes.
#[derive(Debug)]
pub(super) struct Alias {
    /// Its index among the records of the reply.
    place: usize,
    /// The new target.
    pub(super) target: Name,
    /// The records of the new target.
    pub(super) followed: Vec<Record>,
}

impl Rules {
    /// Rules in their order.
    pub(super) fn new(rules: Vec<RewriteRule>) -> Self {
        Self { rules }
    }

    /// Whether a rule may apply to a query or its reply.
    pub(super) fn applies(&self, query: &Query<'_>) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let name = query.name.to_string();
        self.rules.iter().any(|rule| match &rule.change {
            Change::Name { matches, .. } | Change::Ttl { matches, .. } => matches.finds(&name),
            Change::Type { from, .. } => *from == query.kind,
            Change::Class { from, .. } => *from == query.class,
            // Whether the rule applies is seen in the reply.
            Change::Cname { .. } => true,
        })
    }

    /// Applies the rules to a query. `None` if no rule applies; [`Malformed`] if the new name is no domain name.
    pub(super) fn question(&self, query: &Query<'_>) -> Option<Result<Rewritten<'_>, Malformed>> {
        if !self.applies(query) {
            return None;
        }
        let mut name = query.name.to_string();
        let (mut kind, mut class, mut back) = (query.kind, query.class, Vec::new());
        for rule in &self.rules {
            let before = name.clone();
            let applied = match &rule.change {
                Change::Name { matches, to, .. } => match matches.replace(&name, to) {
                    Some(new) => {
                        name = if new.ends_with('.') { new } else { new + "." };
                        true
                    }
                    None => false,
                },
                Change::Type { from, to } if *from == kind => {
                    kind = *to;
                    true
                }
                Change::Class { from, to } if *from == class => {
                    class = *to;
                    true
                }
                Change::Ttl { matches, .. } => matches.finds(&name),
                Change::Cname { .. } => true,
                Change::Type { .. } | Change::Class { .. } => false,
            };
            if applied {
                back.push((before, name.clone(), rule));
                if rule.then == AfterMatch::Stop {
                    break;
                }
            }
        }
        Some(Name::from_text(&name).map(|name| Rewritten { name, kind, class, back }))
    }

    /// The first alias in the reply whose target a rule changes.
    pub(super) fn alias(&self, rewritten: &Rewritten<'_>, reply: &[u8]) -> Option<Alias> {
        let rules: Vec<_> = rewritten
            .back
            .iter()
            .filter_map(|(_, _, rule)| match &rule.change {
                Change::Cname { matches, to } => Some((matches, to)),
                _ => None,
            })
            .collect();
        if rules.is_empty() {
            return None;
        }
        let records = Message::read(reply).ok()?.records().ok()?;
        records.iter().enumerate().find_map(|(place, (section, record))| {
            if *section != Section::Answer || record.kind != kind::CNAME {
                return None;
            }
            let target = Name::read(&record.data, 0).ok()?.0.to_string();
            let new = rules.iter().find_map(|(matches, to)| matches.replace(&target, to))?;
            Some(Alias { place, target: Name::from_text(&new).ok()?, followed: Vec::new() })
        })
    }

    /// Turns the reply to the rewritten question into a reply to the query, of at most `limit` bytes. Behind an alias
    /// with a new target, the records of the old one are replaced by those of the new one.
    pub(super) fn answer(
        &self,
        rewritten: &Rewritten<'_>,
        query: &Query<'_>,
        alias: Option<Alias>,
        limit: usize,
        out: &mut Vec<u8>,
    ) {
        let read =
            Message::read(out).and_then(|message| Ok((message.rcode(), message.flags(), message.records()?)));
        let Ok((code, flags, mut records)) = read else {
            return Reply::failure(query, crate::wire::rcode::SERVFAIL, out);
        };
        if let Some(Alias { place, target, followed }) = alias {
            let rest = records.split_off(place + 1);
            if let Some((_, record)) = records.last_mut() {
                record.data = target.wire().into();
            }
            records.extend(followed.into_iter().map(|record| (Section::Answer, record)));
            records.extend(rest.into_iter().filter(|(section, _)| *section != Section::Answer));
        }
        for (before, after, rule) in rewritten.back.iter().rev() {
            records.iter_mut().for_each(|(_, record)| change(record, before, after, &rule.change));
        }
        let mut reply = Reply::to(query, limit.min(LARGEST_TCP), out);
        reply.set(flags & (flag::AA | flag::RA | flag::AD));
        let mut copier = Copier::new(&mut reply, &query.name);
        for (section, record) in &records {
            copier.record(*section, record);
        }
        reply.finish(code);
    }
}

/// Changes a record of the reply by a rule that changed the name `before` to `after`.
fn change(record: &mut Record, before: &str, after: &str, kind: &Change) {
    match kind {
        Change::Ttl { least, most, .. } => record.ttl = record.ttl.clamp(*least, *most),
        Change::Name { matches, to, answers } => {
            for answer in answers {
                match answer {
                    AnswerRule::Auto => {
                        let back = |name: &str| matches.back(name, to, before, after);
                        rename(&mut record.name, back);
                        rename_inside(record, back);
                    }
                    AnswerRule::Name(from, to) => rename(&mut record.name, |name| replace(from, name, to)),
                    AnswerRule::Value(from, to) => rename_inside(record, |name| replace(from, name, to)),
                }
            }
        }
        Change::Type { .. } | Change::Class { .. } | Change::Cname { .. } => {}
    }
}

fn rename(wire: &mut Box<[u8]>, change: impl FnOnce(&str) -> Option<String>) {
    let renamed =
        Name::read(wire, 0).ok().and_then(|(name, _)| Name::from_text(&change(&name.to_string())?).ok());
    if let Some(name) = renamed {
        *wire = name.wire().into();
    }
}

/// Changes the first name in the data of a record. The second one, the mailbox of an SOA record, stays.
fn rename_inside(record: &mut Record, change: impl FnOnce(&str) -> Option<String>) {
    let Some((before, _)) = names_inside(record.kind) else { return };
    let Some((fixed, rest)) = record.data.split_at_checked(before) else { return };
    let Ok((_, end)) = Name::read(rest, 0) else { return };
    let mut name: Box<[u8]> = rest[..end].into();
    rename(&mut name, change);
    record.data = [fixed, &name, &rest[end..]].concat().into();
}

impl NameMatch {
    fn finds(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text),
            Self::Suffix(text) => name.ends_with(text),
            Self::Substring(text) => name.contains(text),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// The name with the matching part replaced; `None` if it does not match.
    fn replace(&self, name: &str, to: &str) -> Option<String> {
        match self {
            Self::Exact(text) => (name == text).then(|| to.to_owned()),
            Self::Prefix(text) => name.strip_prefix(text.as_str()).map(|rest| format!("{to}{rest}")),
            Self::Suffix(text) => name.strip_suffix(text.as_str()).map(|rest| format!("{rest}{to}")),
            Self::Substring(text) => name.contains(text.as_str()).then(|| name.replace(text.as_str(), to)),
            Self::Regex(regex) => replace(regex, name, to),
        }
    }

    /// The name in a reply, changed back. A suffix rule changes all names with its suffix; other rules change the name
    /// `after` and those below it to `before`.
    fn back(&self, name: &str, to: &str, before: &str, after: &str) -> Option<String> {
        match self {
            Self::Suffix(text) => name.strip_suffix(to).map(|rest| format!("{rest}{text}")),
            _ => {
                let below = name.strip_suffix(after)?;
                (below.is_empty() || below.ends_with('.')).then(|| format!("{below}{before}"))
            }
        }
    }
}

/// The replacement with `{1}` and so on filled in from the groups of a pattern; `None` if the name does not match.
fn replace(regex: &regex::Regex, name: &str, to: &str) -> Option<String> {
    let groups = regex.captures(name)?;
    let filled = groups.iter().enumerate().fold(to.to_owned(), |text, (index, group)| {
        text.replace(&format!("{{{index}}}"), group.map_or("", |group| group.as_str()))
    });
    Some(filled)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::wire::{CLASS_IN, Section, kind};

    fn rewrites(lines: &str) -> Rules {
        let config = Config::from_corefile(&format!(". {{\n{lines}\n}}"), Path::new("/")).unwrap();
        Rules::new(config.blocks[0].plugins.rewrite.clone())
    }

    /// The name that rules make of `name`, and the records of the final reply if the inner one has one CNAME record to
    /// `target`.
    fn through(lines: &str, name: &str, target: &str) -> (String, Vec<String>) {
        let rewrites = rewrites(lines);
        let packet = Query::packet(Name::from_text(name).unwrap().wire(), kind::A, CLASS_IN);
        let query = Query::decode(&packet).unwrap();
        let rewritten = rewrites.question(&query).unwrap().unwrap();
        let inner = query.with_question(&rewritten.name, rewritten.kind, rewritten.class);
        let mut out = Vec::new();
        let mut reply = Reply::to(&Query::decode(&inner).unwrap(), 512, &mut out);
        let target = Name::from_text(target).unwrap();
        reply.record(Section::Answer, &[rewritten.name.wire()], kind::CNAME, 100, &[target.wire()]);
        reply.finish(0);
        let alias = rewrites.alias(&rewritten, &out).map(|alias| {
            let found = Record {
                name: alias.target.wire().into(),
                kind: kind::CNAME,
                ttl: 7,
                data: (*b"\x03end\0").into(),
            };
            super::Alias { followed: vec![found], ..alias }
        });
        rewrites.answer(&rewritten, &query, alias, 512, &mut out);
        let message = Message::read(&out).unwrap();
        assert!(message.is_about(query.question));
        let records = message.records().unwrap();
        let text = |wire: &[u8]| Name::read(wire, 0).unwrap().0.to_string();
        let lines = records
            .iter()
            .map(|(_, record)| format!("{} {} {}", text(&record.name), record.ttl, text(&record.data)));
        (rewritten.name.to_string(), lines.collect())
    }

    #[test]
    fn coredns_a_cname_rule_changes_the_target_of_an_alias_and_resolves_the_new_one() {
        for (rule, target, new) in [
            ("exact c.example d.example", "c.example", Some("d.example.")),
            ("c.example d.example", "C.example", Some("d.example.")),
            ("prefix c. d.", "c.example", Some("d.example.")),
            ("suffix .example .test", "c.example", Some("c.test.")),
            ("substring exa sim", "c.example", Some("c.simmple.")),
            ("regex (.*)\\.example {1}.test", "c.example", Some("c.test.")),
            ("exact c.example d.example", "b.c.example", None),
        ] {
            let (_, records) = through(&format!("rewrite cname {rule}"), "a.example", target);
            let expected = match new {
                Some(new) => vec![format!("a.example. 100 {new}"), format!("{new} 7 end.")],
                None => vec![format!("a.example. 100 {target}.")],
            };
            assert_eq!(records, expected, "{rule}");
        }
    }

    #[test]
    fn an_exact_rule_answers_under_the_name_that_was_asked() {
        let (name, records) = through("rewrite name a.example b.example", "A.example", "c.example");
        assert_eq!((&*name, records), ("b.example.", vec!["a.example. 100 c.example.".to_owned()]));
    }

    #[test]
    fn coredns_names_in_data_and_names_below_the_new_name_are_changed_back() {
        let (_, records) = through("rewrite name a.example b.example", "a.example", "web-0.b.example");
        assert_eq!(records, ["a.example. 100 web-0.a.example."]);
        let (_, records) = through("rewrite name a.example b.example", "a.example", "web-b.example");
        assert_eq!(records, ["a.example. 100 web-b.example."], "labels are whole");
        let (_, records) = through("rewrite name suffix .x .y answer auto", "a.x", "db.ns.y");
        assert_eq!(records, ["a.x. 100 db.ns.x."]);
    }

    #[test]
    fn coredns_the_server_of_an_soa_record_is_changed_back_and_the_mailbox_stays() {
        let data = [&b"\x02ns\x01b\0\x02me\x01b\0"[..], &[0; 20]].concat();
        let mut record = Record { name: (*b"\x01b\0").into(), kind: kind::SOA, ttl: 5, data: data.into() };
        rename_inside(&mut record, |name| Some(name.replace('b', "a")));
        assert!(record.data.starts_with(b"\x02ns\x01a\0\x02me\x01b\0\0"));
    }

    #[test]
    fn a_suffix_rule_changes_replies_back_with_answer_auto_only() {
        let (name, records) = through("rewrite name suffix .x .y", "a.x", "b.y");
        assert_eq!((&*name, records), ("a.y.", vec!["a.y. 100 b.y.".to_owned()]));
        let (_, records) = through("rewrite name suffix .x .y answer auto", "a.x", "b.y");
        assert_eq!(records, ["a.x. 100 b.x."]);
    }

    #[test]
    fn patterns_change_owner_names_and_data() {
        let rule = "rewrite stop {\n name regex (.*)-(eu)\\.x\\. {1}.{2}.y.\n answer name (.*)\\.(eu)\\.y\\. {1}-{2}.x.\n answer value (.*)\\.y\\. {1}.x.\n}";
        let (name, records) = through(rule, "a-eu.x", "b.y");
        assert_eq!((&*name, records), ("a.eu.y.", vec!["a-eu.x. 100 b.x.".to_owned()]));
    }

    #[test]
    fn rules_continue_only_if_they_say_so() {
        let (name, _) = through("rewrite name substring a b\nrewrite name substring b c", "a.x", "t");
        assert_eq!(name, "b.x.");
        let (name, records) =
            through("rewrite continue name substring a b\nrewrite ttl suffix .x 10-60", "a.x", "t");
        assert_eq!((&*name, records), ("b.x.", vec!["b.x. 60 t.".to_owned()]));
    }

    #[test]
    fn a_name_that_grows_too_long_is_malformed() {
        let rewrites = rewrites(&format!("rewrite name substring a {}", ["b"; 40].join("a")));
        let packet = Query::packet(Name::from_text(&["a"; 40].join(".")).unwrap().wire(), kind::A, CLASS_IN);
        let query = Query::decode(&packet).unwrap();
        assert!(rewrites.question(&query).unwrap().is_err());
    }
}
