//! One form for all ways of writing a rule.
//!
//! The kernel keeps the meaning of a rule, not its text: `iptables-save` sorts the options, writes out masks and
//! defaults, and rounds probabilities to 31 bits.

use std::fmt;
use std::net::IpAddr;

use service::Cidr;

use super::options::Opt;
use super::words::quote;

/// What a rule means, whatever way it is written: its options in one order, with defaults left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Normal(Vec<Opt>);

/// What `iptables-save` writes although it says nothing: these values are what is meant without the option.
const DEFAULTS: [(&str, &[&str]); 4] = [
    ("--reject-with", &["icmp-port-unreachable", "icmp6-port-unreachable"]),
    ("--mask", &["255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
    ("--rsource", &[]),
    ("-m", &[]),
];

/// Connection states in the order in which `iptables-save` writes them.
const STATES: [&str; 7] = ["INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"];

/// The kernel keeps probabilities in units of 1 / 2^31.
const PROBABILITY_UNITS: f64 = 2_147_483_648.0;

impl Normal {
    pub(super) fn of(options: &[Opt]) -> Self {
        let mut normal: Vec<_> = options.iter().filter(|option| !is_default(option)).map(same).collect();
        normal.sort_unstable();
        Self(normal)
    }
}

fn is_default(option: &Opt) -> bool {
    DEFAULTS.iter().any(|(name, values)| {
        let usual = |given: &String| values.contains(&given.as_str());
        *name == option.name && (values.is_empty() || option.values.iter().all(usual))
    })
}

/// The option in the form the kernel keeps it in.
fn same(option: &Opt) -> Opt {
    let value = option.values.first().map_or("", String::as_str);
    let (name, value) = match option.name.as_str() {
        "-s" | "-d" | "--ctorigdst" | "--ctorigsrc" => (option.name.as_str(), address(value)),
        "--or-mark" => ("--set-xmark", number(value).map(|mark| xmark(mark, mark))),
        "--xor-mark" => ("--set-xmark", number(value).map(|mark| xmark(mark, 0))),
        "--and-mark" => ("--set-xmark", number(value).map(|mark| xmark(0, !mark))),
        "--set-mark" => ("--set-xmark", masked(value).map(|(mark, mask)| xmark(mark, mark | mask))),
        "--set-xmark" => ("--set-xmark", masked(value).map(|(mark, mask)| xmark(mark, mask))),
        "--mark" => ("--mark", masked(value).map(|(mark, mask)| xmark(mark, mask))),
        "--probability" => ("--probability", probability(value)),
        "--ctstate" => ("--ctstate", states(value)),
        _ => return option.clone(),
    };
    let values = value.map_or_else(|| option.values.clone(), |value| vec![value]);
    Opt { not: option.not, name: name.to_owned(), values }
}

fn address(value: &str) -> Option<String> {
    let range = match value.parse::<IpAddr>() {
        Ok(address) => Cidr::host(address),
        Err(_) => value.parse().ok()?,
    };
    Some(range.to_string())
}

fn probability(value: &str) -> Option<String> {
    let units = (value.parse::<f64>().ok()? * PROBABILITY_UNITS).round();
    Some(format!("{:.9}", units / PROBABILITY_UNITS))
}

fn states(value: &str) -> Option<String> {
    let given: Vec<_> = value.split(',').collect();
    let known: Vec<_> = STATES.into_iter().filter(|state| given.contains(state)).collect();
    (known.len() == given.len()).then(|| known.join(","))
}

/// A number as iptables takes it: decimal, or hexadecimal with `0x`.
pub(crate) fn number(value: &str) -> Option<u32> {
    match value.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// A mark and its mask, which is all bits if it is not given.
pub(crate) fn masked(value: &str) -> Option<(u32, u32)> {
    match value.split_once('/') {
        Some((mark, mask)) => Some((number(mark)?, number(mask)?)),
        None => Some((number(value)?, u32::MAX)),
    }
}

fn xmark(mark: u32, mask: u32) -> String {
    format!("{mark:#x}/{mask:#x}")
}

impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().flat_map(|option| {
            let not = option.not.then(|| "!".to_owned());
            let values = option.values.iter().map(|value| quote(value));
            not.into_iter().chain([option.name.clone()]).chain(values)
        });
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}
