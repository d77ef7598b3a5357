//! A rule as the tracer understands it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use service::Cidr;

use super::sets::Direction;
use crate::xtables::text::{Opt, masked, number};

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) not: bool,
    pub(super) what: What,
}

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Source(Cidr),
    Destination(Cidr),
    SourceRange(RangeInclusive<IpAddr>),
    OriginalDestination(Cidr),
    OriginalPort(u16),
    In(Pattern),
    Protocol(String),
    DestinationPort(RangeInclusive<u16>),
    SourceLocal,
    DestinationLocal,
    /// Any of these.
    States(Vec<State>),
    Mark {
        mark: u32,
        mask: u32,
    },
    Set {
        name: String,
        directions: Vec<Direction>,
    },
    /// It comes in by a port of a bridge.
    Bridged,
    /// The client was seen before; the first packet of a client never was.
    Seen,
    /// True this often.
    Chance(f64),
    /// This is not understood.
    Unknown(String),
}

/// States of a connection that its first packet may be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    New,
    /// Sent to another destination than it asked for.
    Translated,
    /// Sent with another source than it has.
    Masqueraded,
    /// What the first packet of a connection never is.
    Later,
}

/// An interface's name, or how it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Counts it.
    Nothing,
    Accept,
    Drop,
    Reject,
    Return,
    /// The mark becomes `(mark & keep) ^ change`.
    Mark {
        keep: u32,
        change: u32,
    },
    Masquerade,
    Translate(SocketAddr),
    /// To this port of the node; to the same one if none is named.
    Redirect(Option<u16>),
    Jump(String),
    Goto(String),
    /// This is not understood.
    Unknown(String),
}

/// A rule as the tracer understands it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub(super) conditions: Vec<Condition>,
    pub(super) target: Target,
}

/// Options that say nothing about which packets match: names of modules, comments, counters, how errors look,
/// which part of a list is looked at.
const SILENT: [&str; 15] = [
    "-m",
    "--comment",
    "--nfacct-name",
    "--mode",
    "--name",
    "--seconds",
    "--reap",
    "--mask",
    "--rsource",
    "--set",
    "--random-fully",
    "--random",
    "--reject-with",
    "--persistent",
    "--to-ports",
];

impl Parsed {
    /// Understands a rule, as far as it can be understood.
    pub(super) fn read(options: &[Opt]) -> Self {
        let mut conditions = Vec::new();
        let mut target = Target::Nothing;
        for option in options {
            let value = option.values.first().map_or("", String::as_str);
            match option.name.as_str() {
                "-j" => target = jump(value, options),
                "-g" => target = Target::Goto(value.to_owned()),
                "--or-mark" | "--xor-mark" | "--and-mark" | "--set-mark" | "--set-xmark" => {}
                "--to-destination" => {}
                name if SILENT.contains(&name) => {}
                name => {
                    let what = what(name, value, &option.values);
                    let what = what.unwrap_or_else(|| What::Unknown(unknown(option)));
                    conditions.push(Condition { not: option.not, what });
                }
            }
        }
        Self { conditions, target }
    }
}

fn unknown(option: &Opt) -> String {
    let words = std::iter::once(&option.name).chain(&option.values);
    format!("{} is not understood", words.map(String::as_str).collect::<Vec<_>>().join(" "))
}

/// What a condition looks at; `None` if that is not understood.
fn what(name: &str, value: &str, values: &[String]) -> Option<What> {
    Some(match name {
        "-s" => What::Source(range(value)?),
        "-d" => What::Destination(range(value)?),
        "-i" => What::In(Pattern(value.to_owned())),
        "-p" | "--vproto" => What::Protocol(value.to_ascii_lowercase()),
        "--dport" => What::DestinationPort(ports(value)?),
        "--src-range" => What::SourceRange(addresses(value)?),
        // A virtual server is where the packet was sent to at first.
        "--ctorigdst" | "--vaddr" => What::OriginalDestination(range(value)?),
        "--vport" => What::OriginalPort(value.parse().ok()?),
        "--physdev-is-in" => What::Bridged,
        "--src-type" if value == "LOCAL" => What::SourceLocal,
        "--dst-type" if value == "LOCAL" => What::DestinationLocal,
        "--ctstate" => What::States(value.split(',').map(state).collect::<Option<_>>()?),
        "--mark" => {
            let (mark, mask) = masked(value)?;
            What::Mark { mark, mask }
        }
        "--match-set" => {
            let directions = values.get(1)?.split(',').map(direction).collect::<Option<_>>()?;
            What::Set { name: value.to_owned(), directions }
        }
        "--rcheck" | "--update" => What::Seen,
        "--probability" => What::Chance(exact(value.parse().ok()?)),
        _ => return None,
    })
}

fn jump(name: &str, options: &[Opt]) -> Target {
    let value = |wanted: &str| {
        options.iter().find(|option| option.name == wanted).and_then(|option| option.values.first())
    };
    let unless_unknown = |target: Option<Target>| {
        target.unwrap_or_else(|| Target::Unknown(format!("what {name} does is not understood")))
    };
    match name {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "REJECT" => Target::Reject,
        "RETURN" => Target::Return,
        "MASQUERADE" => Target::Masquerade,
        "MARK" => unless_unknown(marks(&value)),
        "DNAT" => {
            let to = value("--to-destination").and_then(|to| to.parse().ok());
            unless_unknown(to.map(Target::Translate))
        }
        "REDIRECT" => match value("--to-ports") {
            None => Target::Redirect(None),
            Some(port) => unless_unknown(port.parse().ok().map(|port| Target::Redirect(Some(port)))),
        },
        // Targets of the kernel are in capitals, and so are chains by custom; the table knows which it is.
        chain => Target::Jump(chain.to_owned()),
    }
}

fn marks<'a>(value: &impl Fn(&str) -> Option<&'a String>) -> Option<Target> {
    let known = |name: &str| value(name).map(String::as_str);
    let (mark, mask) = if let Some(mark) = known("--or-mark") {
        (number(mark)?, number(mark)?)
    } else if let Some(mark) = known("--xor-mark") {
        (number(mark)?, 0)
    } else if let Some(mark) = known("--and-mark") {
        (0, !number(mark)?)
    } else if let Some(mark) = known("--set-mark") {
        let (mark, mask) = masked(mark)?;
        (mark, mark | mask)
    } else {
        masked(known("--set-xmark")?)?
    };
    Some(Target::Mark { keep: !mask, change: mark })
}

fn range(value: &str) -> Option<Cidr> {
    value.parse().ok().or_else(|| Some(Cidr::host(value.parse().ok()?)))
}

fn ports(value: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = value.split_once(':').unwrap_or((value, value));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn addresses(value: &str) -> Option<RangeInclusive<IpAddr>> {
    let (first, last) = value.split_once('-').unwrap_or((value, value));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn state(name: &str) -> Option<State> {
    Some(match name {
        "NEW" => State::New,
        "DNAT" => State::Translated,
        "SNAT" => State::Masqueraded,
        "INVALID" | "RELATED" | "ESTABLISHED" | "UNTRACKED" => State::Later,
        _ => return None,
    })
}

fn direction(name: &str) -> Option<Direction> {
    match name {
        "src" => Some(Direction::Source),
        "dst" => Some(Direction::Destination),
        _ => None,
    }
}

/// The fraction 1/n that ten digits or the kernel's 31 bits stand for; the number itself if it is none.
fn exact(probability: f64) -> f64 {
    /// What ten digits and 31 bits differ by at most.
    const ROUNDING: f64 = 5e-10;
    let fraction = 1.0 / (1.0 / probability).round();
    if (fraction - probability).abs() <= ROUNDING { fraction } else { probability }
}

impl Pattern {
    /// Whether an interface's name is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('+') {
            Some(prefix) => name.starts_with(prefix),
            None => self.0 == name,
        }
    }
}
