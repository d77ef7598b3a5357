//! `rewrite`, `template` and `hosts`.

use std::net::IpAddr;
use std::time::Duration;

use regex::Regex;

use super::Fault;
use super::cluster::fall_through;
use super::directives::Read;
use super::syntax::Directive;
use crate::config::{Answer, Hosts, Match, Rewrite, RewriteKind, Template, Then};
use crate::wire::{class, kind, rcode};

/// The longest pattern, in bytes, as in CoreDNS.
const LONGEST_PATTERN: usize = 10_000;

pub(super) fn rewrite(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    // A rule may stand on one line or in braces; the words are the same.
    let inside = directive.options.iter();
    let inside = inside.flat_map(|option| [&option.name].into_iter().chain(&option.arguments));
    let words: Vec<&str> = directive.arguments.iter().chain(inside).map(String::as_str).collect();
    let (then, words) = match words.split_first() {
        Some((&"stop", rest)) => (Then::Stop, rest),
        Some((&"continue", rest)) => (Then::Continue, rest),
        _ => (Then::Stop, &words[..]),
    };
    let usage = || directive.fault("write `rewrite [continue|stop] name|cname|type|class|ttl FROM TO`");
    let (field, words) = words.split_first().ok_or_else(usage)?;
    let kind = match (*field, words) {
        ("name", _) => name_rule(directive, words)?,
        ("type", [from, to]) => RewriteKind::Type {
            from: code(directive, from, kind::by_name)?,
            to: code(directive, to, kind::by_name)?,
        },
        ("class", [from, to]) => RewriteKind::Class {
            from: code(directive, from, class::by_name)?,
            to: code(directive, to, class::by_name)?,
        },
        ("cname", _) => cname_rule(directive, words)?,
        ("ttl", _) => ttl_rule(directive, words)?,
        ("type" | "class", _) => return Err(usage()),
        (field, _) => {
            let text =
                format!("{field:?} cannot be rewritten here; there are name, cname, type, class and ttl");
            return Err(directive.fault(text));
        }
    };
    read.plugins.rewrite.push(Rewrite { kind, then });
    Ok(())
}

fn code(directive: &Directive, name: &str, by_name: fn(&str) -> Option<u16>) -> Result<u16, Fault> {
    by_name(name).ok_or_else(|| directive.fault(format!("{name:?} is not known")))
}

/// The way to match, if it is named, and the words after it.
fn way<'a>(words: &'a [&'a str]) -> (&'a str, &'a [&'a str]) {
    match words.split_first() {
        Some((way @ (&"exact" | &"prefix" | &"suffix" | &"substring" | &"regex"), rest))
            if rest.len() >= 2 =>
        {
            (way, rest)
        }
        _ => ("exact", words),
    }
}

fn matches(directive: &Directive, way: &str, from: &str) -> Result<Match, Fault> {
    let lower = from.to_ascii_lowercase();
    let dotted = |text: String| if text.ends_with('.') { text } else { text + "." };
    Ok(match way {
        "prefix" => Match::Prefix(lower),
        "suffix" => Match::Suffix(dotted(lower)),
        "substring" => Match::Substring(lower),
        "regex" => Match::Regex(pattern(directive, from)?),
        _ => Match::Exact(dotted(lower)),
    })
}

fn pattern(directive: &Directive, text: &str) -> Result<Regex, Fault> {
    if text.len() > LONGEST_PATTERN {
        return Err(directive.fault(format!("a pattern has {LONGEST_PATTERN} bytes at most")));
    }
    Regex::new(text).map_err(|error| directive.fault(format!("the pattern cannot be used: {error}")))
}

fn name_rule(directive: &Directive, words: &[&str]) -> Result<RewriteKind, Fault> {
    let (way, words) = way(words);
    let [from, to, options @ ..] = words else {
        return Err(directive.fault("write `rewrite name [exact|prefix|suffix|substring|regex] FROM TO`"));
    };
    let matches = matches(directive, way, from)?;
    let to = replacement(&matches, to);
    let mut answers = Vec::new();
    if matches!(matches, Match::Exact(_)) {
        answers.push(Answer::Auto);
    }
    let mut options = options.iter().copied();
    while let Some(word) = options.next() {
        let mut pair = || {
            let from = options.next().ok_or_else(|| directive.fault("answer needs FROM and TO"))?;
            if from == "auto" {
                return Ok(None);
            }
            let to = options.next().ok_or_else(|| directive.fault("answer needs FROM and TO"))?;
            Ok(Some((pattern(directive, from)?, to.to_owned())))
        };
        match word {
            "answer" => {}
            "auto" => answers.push(Answer::Auto),
            "name" => answers.push(pair()?.map_or(Answer::Auto, |(from, to)| Answer::Name(from, to))),
            "value" => answers.push(pair()?.map_or(Answer::Auto, |(from, to)| Answer::Value(from, to))),
            other => {
                let text = format!(
                    "{other:?}: write `answer auto`, `answer name FROM TO` or `answer value FROM TO`"
                );
                return Err(directive.fault(text));
            }
        }
    }
    Ok(RewriteKind::Name { matches, to, answers })
}

fn cname_rule(directive: &Directive, words: &[&str]) -> Result<RewriteKind, Fault> {
    let (way, words) = way(words);
    let [from, to] = words else {
        return Err(directive.fault("write `rewrite cname [exact|prefix|suffix|substring|regex] FROM TO`"));
    };
    let matches = matches(directive, way, from)?;
    let to = replacement(&matches, to);
    Ok(RewriteKind::Cname { matches, to })
}

/// What takes the place of what was matched; at the end of a name it has the final dot.
fn replacement(matches: &Match, to: &str) -> String {
    let to = to.to_ascii_lowercase();
    let is_end = matches!(matches, Match::Exact(_) | Match::Suffix(_));
    if is_end && !to.ends_with('.') { to + "." } else { to }
}

fn ttl_rule(directive: &Directive, words: &[&str]) -> Result<RewriteKind, Fault> {
    let (way, words) = way(words);
    let [from, range] = words else {
        return Err(directive.fault("write `rewrite ttl [exact|prefix|suffix|substring|regex] NAME SECONDS`"));
    };
    let (least, most) = range.split_once('-').unwrap_or((range, range));
    let bound = |text: &str, missing| if text.is_empty() { Ok(missing) } else { directive.number(text) };
    let (least, most) = (bound(least, 0)?, bound(most, i32::MAX as u32)?);
    if least > most {
        return Err(directive.fault(format!("{range:?}: the first number must not be above the second")));
    }
    Ok(RewriteKind::Ttl { matches: matches(directive, way, from)?, least, most })
}

pub(super) fn template(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let [class_name, kind_name, zones @ ..] = directive.some("CLASS TYPE [ZONE...]")? else {
        return Err(directive.fault("write `template CLASS TYPE [ZONE...]`"));
    };
    let any = |name: &str, by_name| match name.eq_ignore_ascii_case("ANY") {
        true => Ok(None),
        false => code(directive, name, by_name).map(Some),
    };
    let mut template = Template {
        zones: read.zones_or_own(directive, zones)?,
        class: any(class_name, class::by_name)?,
        kind: any(kind_name, kind::by_name)?,
        matches: Vec::new(),
        answer: Vec::new(),
        additional: Vec::new(),
        authority: Vec::new(),
        rcode: rcode::NOERROR,
        fall_through: None,
    };
    for option in &directive.options {
        let records = |all: &mut Vec<String>| {
            for text in option.some("RECORD")? {
                crate::template::check(text).map_err(|text| option.fault(text))?;
                all.push(text.clone());
            }
            Ok(())
        };
        match &*option.name {
            "match" => {
                for text in option.some("PATTERN...")? {
                    template.matches.push(pattern(option, text)?);
                }
            }
            "answer" => records(&mut template.answer)?,
            "additional" => records(&mut template.additional)?,
            "authority" => records(&mut template.authority)?,
            "rcode" => template.rcode = code(option, &option.exactly::<1>("RCODE")?[0], rcode::by_name)?,
            "fallthrough" => template.fall_through = Some(fall_through(option)?),
            _ => {
                let known = ["match", "answer", "additional", "authority", "rcode", "fallthrough"];
                return Err(directive.unknown_option(option, &known));
            }
        }
    }
    read.plugins.template.push(template);
    Ok(())
}

pub(super) fn hosts(directive: &Directive, read: &mut Read<'_>) -> Result<(), Fault> {
    let (file, zones) = match directive.arguments.split_first() {
        Some((file, zones)) => (Some(read.folder.join(file)), zones),
        None => (None, &[][..]),
    };
    let mut hosts = Hosts {
        file,
        zones: read.zones_or_own(directive, zones)?,
        lines: Vec::new(),
        ttl: 3600,
        reverse: true,
        reload: Duration::from_secs(5),
        fall_through: None,
    };
    for option in &directive.options {
        match &*option.name {
            "ttl" => hosts.ttl = option.seconds(&option.exactly::<1>("SECONDS")?[0], 65_535)?,
            "no_reverse" => {
                option.bare()?;
                hosts.reverse = false;
            }
            "reload" => hosts.reload = option.duration(&option.exactly::<1>("DURATION")?[0])?,
            "fallthrough" => hosts.fall_through = Some(fall_through(option)?),
            address if address.parse::<IpAddr>().is_ok() => {
                let names = option.some("NAME...")?;
                option.zones(names)?;
                hosts.lines.push(format!("{address} {}", names.join(" ")));
            }
            _ => {
                let known = ["ttl", "no_reverse", "reload", "fallthrough", "lines of an address and names"];
                return Err(directive.unknown_option(option, &known));
            }
        }
    }
    if hosts.file.is_none() && hosts.lines.is_empty() {
        hosts.file = Some("/etc/hosts".into());
    }
    read.plugins.hosts = Some(hosts);
    Ok(())
}
