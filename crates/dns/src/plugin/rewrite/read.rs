//! Reading the directive `rewrite`.

use regex::Regex;

use super::{AfterMatch, AnswerRule, Change, NameMatch, RewriteRule};
use crate::corefile::{Directive, Fault, Scope};
use crate::wire::{class, kind};

/// The longest pattern, in bytes, as in CoreDNS.
const LONGEST_PATTERN: usize = 10_000;

/// Reads `rewrite [continue|stop] name|cname|type|class|ttl FROM TO`.
pub(in crate::plugin) fn read(
    value: &mut Vec<RewriteRule>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    // A rule may be on one line or in braces.
    let inside = directive.options.iter();
    let inside = inside.flat_map(|option| [&option.name].into_iter().chain(&option.arguments));
    let words: Vec<&str> = directive.arguments.iter().chain(inside).map(String::as_str).collect();
    let (then, words) = match words.split_first() {
        Some((&"stop", rest)) => (AfterMatch::Stop, rest),
        Some((&"continue", rest)) => (AfterMatch::Continue, rest),
        _ => (AfterMatch::Stop, &words[..]),
    };
    let usage = || directive.fault("write `rewrite [continue|stop] name|cname|type|class|ttl FROM TO`");
    let (field, words) = words.split_first().ok_or_else(usage)?;
    let change = match (*field, words) {
        ("name", _) => name_rule(directive, words)?,
        ("type", [from, to]) => Change::Type {
            from: directive.code(from, kind::by_name)?,
            to: directive.code(to, kind::by_name)?,
        },
        ("class", [from, to]) => Change::Class {
            from: directive.code(from, class::by_name)?,
            to: directive.code(to, class::by_name)?,
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
    value.push(RewriteRule { change, then });
    Ok(())
}

/// How names are matched, and the words behind that. `exact` may be left out.
fn method<'a>(words: &'a [&'a str]) -> (&'a str, &'a [&'a str]) {
    match words.split_first() {
        Some((method @ (&"exact" | &"prefix" | &"suffix" | &"substring" | &"regex"), rest))
            if rest.len() >= 2 =>
        {
            (method, rest)
        }
        _ => ("exact", words),
    }
}

fn matches(directive: &Directive, method: &str, from: &str) -> Result<NameMatch, Fault> {
    let lower = from.to_ascii_lowercase();
    let dotted = |text: String| if text.ends_with('.') { text } else { text + "." };
    Ok(match method {
        "prefix" => NameMatch::Prefix(lower),
        "suffix" => NameMatch::Suffix(dotted(lower)),
        "substring" => NameMatch::Substring(lower),
        "regex" => NameMatch::Regex(pattern(directive, from)?),
        _ => NameMatch::Exact(dotted(lower)),
    })
}

/// Reads a regular expression.
pub(in crate::plugin) fn pattern(directive: &Directive, text: &str) -> Result<Regex, Fault> {
    if text.len() > LONGEST_PATTERN {
        return Err(directive.fault(format!("a pattern has {LONGEST_PATTERN} bytes at most")));
    }
    Regex::new(text).map_err(|error| directive.fault(format!("the pattern cannot be used: {error}")))
}

fn name_rule(directive: &Directive, words: &[&str]) -> Result<Change, Fault> {
    let (method, words) = method(words);
    let [from, to, options @ ..] = words else {
        return Err(directive.fault("write `rewrite name [exact|prefix|suffix|substring|regex] FROM TO`"));
    };
    let matches = matches(directive, method, from)?;
    let to = replacement(&matches, to);
    let mut answers = Vec::new();
    if matches!(matches, NameMatch::Exact(_)) {
        answers.push(AnswerRule::Auto);
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
            "auto" => answers.push(AnswerRule::Auto),
            "name" => answers.push(pair()?.map_or(AnswerRule::Auto, |(from, to)| AnswerRule::Name(from, to))),
            "value" => {
                answers.push(pair()?.map_or(AnswerRule::Auto, |(from, to)| AnswerRule::Value(from, to)));
            }
            other => {
                let text = format!(
                    "{other:?}: write `answer auto`, `answer name FROM TO` or `answer value FROM TO`"
                );
                return Err(directive.fault(text));
            }
        }
    }
    Ok(Change::Name { matches, to, answers })
}

fn cname_rule(directive: &Directive, words: &[&str]) -> Result<Change, Fault> {
    let (method, words) = method(words);
    let [from, to] = words else {
        return Err(directive.fault("write `rewrite cname [exact|prefix|suffix|substring|regex] FROM TO`"));
    };
    let matches = matches(directive, method, from)?;
    let to = replacement(&matches, to);
    Ok(Change::Cname { matches, to })
}

/// The replacement of what was matched. At the end of a name it gets the final dot.
fn replacement(matches: &NameMatch, to: &str) -> String {
    let to = to.to_ascii_lowercase();
    let is_end = matches!(matches, NameMatch::Exact(_) | NameMatch::Suffix(_));
    if is_end && !to.ends_with('.') { to + "." } else { to }
}

fn ttl_rule(directive: &Directive, words: &[&str]) -> Result<Change, Fault> {
    let (method, words) = method(words);
    let [from, range] = words else {
        return Err(directive.fault("write `rewrite ttl [exact|prefix|suffix|substring|regex] NAME SECONDS`"));
    };
    let (least, most) = range.split_once('-').unwrap_or((range, range));
    let bound = |text: &str, missing| if text.is_empty() { Ok(missing) } else { directive.number(text) };
    let (least, most) = (bound(least, 0)?, bound(most, i32::MAX as u32)?);
    if least > most {
        return Err(directive.fault(format!("{range:?}: the first number must not be above the second")));
    }
    Ok(Change::Ttl { matches: matches(directive, method, from)?, least, most })
}
