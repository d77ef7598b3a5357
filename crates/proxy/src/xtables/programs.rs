//! The programs, and which of their two kinds is in use on the node.
//!
//! The kernel has two sets of iptables tables: its own old ones ("legacy") and some made of nf_tables. Rules in
//! both would be asked one after the other, so all that write rules on a node must agree. The kubelet leaves a
//! hint (KEP-3178); without one, whoever has more rules has the say.

use std::process::Output;

use service::Family;

use super::failure::Failure;
use super::place::Place;
use crate::xtables::Script;
use crate::xtables::text::Tables;

/// Since this version the programs know `--random-fully`.
pub(crate) const RANDOM_FULLY: (u32, u32, u32) = (1, 6, 2);

/// Chains of the mangle table by which the kubelet says what it uses.
const HINTS: [&str; 2] = [":KUBE-IPTABLES-HINT ", ":KUBE-KUBELET-CANARY "];

/// A kind of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// For the kernel's old tables.
    Legacy,
    /// For tables made of nf_tables.
    Nft,
    /// Whichever the system's administrator chose.
    Default,
}

/// The programs of one kind and family.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    base: String,
}

impl Programs {
    pub(crate) fn new(variant: Variant, family: Family) -> Self {
        let family = if family == Family::V4 { "iptables" } else { "ip6tables" };
        let variant = match variant {
            Variant::Legacy => "-legacy",
            Variant::Nft => "-nft",
            Variant::Default => "",
        };
        Self { base: format!("{family}{variant}") }
    }

    /// All tables as text; `None` if there is no such program. A table that nobody used is not made by asking.
    pub(crate) fn save(&self, place: &Place) -> Result<Option<String>, Failure> {
        let program = format!("{}-save", self.base);
        match place.program(&program, &[], "")? {
            None => Ok(None),
            Some(output) if output.status.success() => {
                Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()))
            }
            Some(output) => Err(Failure::Unusable { program, why: complaint(&output) }),
        }
    }

    /// All tables.
    pub(crate) fn tables(&self, place: &Place) -> Result<Tables, Failure> {
        let text = self.save(place)?.ok_or(Failure::NoProgram)?;
        Tables::parse(&text).map_err(|error| Failure::Dump { program: format!("{}-save", self.base), error })
    }

    /// Changes tables, each at once, and leaves alone what the script does not name.
    pub(crate) fn restore(&self, place: &Place, script: &Script) -> Result<(), Failure> {
        let program = format!("{}-restore", self.base);
        let text = script.to_string();
        let arguments = ["-w", "5", "--noflush", "--counters"];
        let output = place.program(&program, &arguments, &text)?.ok_or(Failure::NoProgram)?;
        if output.status.success() {
            return Ok(());
        }
        let why = complaint(&output);
        let line = named_line(&why).and_then(|line| text.lines().nth(line.checked_sub(1)?));
        Err(Failure::Refused { program, line: line.map(str::to_owned), why })
    }

    /// The rules of a chain as `iptables -S` prints them; `None` if the chain is not there.
    pub(crate) fn list(&self, place: &Place, table: &str, chain: &str) -> Result<Option<String>, Failure> {
        /// What the program ends with when somebody holds its lock, or memory is short.
        const PASSING: i32 = 4;
        let arguments = ["-w", "5", "-t", table, "-S", chain];
        let output = place.program(&self.base, &arguments, "")?.ok_or(Failure::NoProgram)?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            Some(PASSING) => Err(Failure::Unusable { program: self.base.clone(), why: complaint(&output) }),
            _ => Ok(None),
        }
    }

    /// Whether the kernel has what the programs need.
    pub(crate) fn check(&self, place: &Place) -> Result<(), Failure> {
        let arguments = ["-w", "5", "-t", "nat", "-S", "POSTROUTING"];
        let output = place.program(&self.base, &arguments, "")?.ok_or(Failure::NoProgram)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(Failure::Unusable { program: self.base.clone(), why: complaint(&output) }),
        }
    }

    /// Their version.
    pub(crate) fn version(&self, place: &Place) -> Result<(u32, u32, u32), Failure> {
        let output = place.program(&self.base, &["--version"], "")?.ok_or(Failure::NoProgram)?;
        Ok(version(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// The kind that is in use here.
pub(crate) fn in_use(place: &Place) -> Result<Variant, Failure> {
    let mut found = Vec::new();
    for variant in [Variant::Nft, Variant::Legacy] {
        let mut dumps = Vec::new();
        for family in Family::ALL {
            // A kind that does not work here is not in use.
            dumps.extend(Programs::new(variant, family).save(place).ok().flatten());
        }
        if !dumps.is_empty() {
            found.push((variant, dumps.concat()));
        }
    }
    choose(&found, Programs::new(Variant::Default, Family::V4).version(place).is_ok())
        .ok_or(Failure::NoProgram)
}

/// Chooses by what the tables of each kind hold.
fn choose(found: &[(Variant, String)], default: bool) -> Option<Variant> {
    let hinted = |(_, dump): &&(Variant, String)| {
        dump.lines().any(|line| HINTS.iter().any(|hint| line.starts_with(hint)))
    };
    if let Some((variant, _)) = found.iter().find(hinted) {
        return Some(*variant);
    }
    let rules = |dump: &str| dump.lines().filter(|line| line.starts_with("-A ")).count();
    let mut counts: Vec<_> = found.iter().map(|(variant, dump)| (rules(dump), *variant)).collect();
    counts.sort_by_key(|(rules, _)| std::cmp::Reverse(*rules));
    match counts.as_slice() {
        [(most, variant), (other, _), ..] if most > other => Some(*variant),
        _ if default => Some(Variant::Default),
        [(_, variant), ..] => Some(*variant),
        [] => None,
    }
}

/// What a program said about its failure.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [] => output.status.to_string(),
        lines => lines.join("; "),
    }
}

/// The number behind the word `line`.
fn named_line(complaint: &str) -> Option<usize> {
    let (_, behind) = complaint.split_once("line")?;
    let digits: String =
        behind.trim_start_matches([':', ' ']).chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The version in `iptables v1.8.9 (nf_tables)`; zeros if there is none.
fn version(text: &str) -> (u32, u32, u32) {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('v')).unwrap_or_default();
    let mut numbers = word.split('.').map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(nft: &str, legacy: &str) -> Option<Variant> {
        choose(&[(Variant::Nft, nft.to_owned()), (Variant::Legacy, legacy.to_owned())], true)
    }

    #[test]
    fn the_kind_in_use_is_what_the_kubelet_says_then_what_has_more_rules_then_the_default() {
        let (one, two) = ("-A INPUT -j X\n", "-A INPUT -j X\n-A INPUT -j Y\n");
        assert_eq!(chosen("*mangle\n:KUBE-IPTABLES-HINT - [0:0]\n", two), Some(Variant::Nft));
        assert_eq!(chosen(two, "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\n"), Some(Variant::Legacy));
        assert_eq!(chosen(one, two), Some(Variant::Legacy));
        assert_eq!(chosen(two, one), Some(Variant::Nft));
        assert_eq!(chosen(one, one), Some(Variant::Default));
        assert_eq!(choose(&[(Variant::Legacy, String::new())], false), Some(Variant::Legacy));
        assert_eq!(choose(&[], false), None);
    }

    #[test]
    fn a_version_and_a_named_line_are_read() {
        assert_eq!(version("iptables v1.8.9 (nf_tables)\n"), (1, 8, 9));
        assert!(version("iptables v1.6.1") < RANDOM_FULLY && version("nonsense") < RANDOM_FULLY);
        assert_eq!(named_line("iptables-restore: line 7 failed"), Some(7));
        assert_eq!(named_line("Error occurred at line: 12; Try --help"), Some(12));
        assert_eq!(named_line("no number"), None);
    }
}
