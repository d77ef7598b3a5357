//! Two rulesets, packet by packet and line by line.

use std::collections::BTreeMap;

use proxy::explain::{Share, Verdict, outcome};
use proxy::xtables::text::Tables;
use proxy::{Packet, Tracer};

/// What differs, in sentences.
pub type Differences = Vec<String>;

/// Walks packets through both; `known` says why a difference is on purpose.
pub fn packets(
    packets: &[Packet],
    theirs: &dyn Tracer,
    ours: &dyn Tracer,
    known: impl Fn(&Packet, &Outcome, &Outcome) -> Option<&'static str>,
) -> (Differences, BTreeMap<&'static str, usize>) {
    let (mut differences, mut wanted) = (Vec::new(), BTreeMap::new());
    for packet in packets {
        let way = |tracer: &dyn Tracer| match tracer.trace(packet) {
            Ok(branches) => Ok(Outcome::new(outcome(&branches))),
            Err(error) => Err(error.to_string()),
        };
        let question = format!(
            "{} -> {}/{} by {:?}",
            packet.source, packet.destination, packet.protocol, packet.interface
        );
        match (way(theirs), way(ours)) {
            (Ok(theirs), Ok(ours)) if theirs.same(&ours) => {}
            (Ok(theirs), Ok(ours)) => match known(packet, &theirs, &ours) {
                Some(reason) => *wanted.entry(reason).or_default() += 1,
                None => differences.push(format!("{question}: kube-proxy {theirs}, we {ours}")),
            },
            (theirs, ours) => differences.push(format!(
                "{question}: kube-proxy {}, we {}",
                theirs.map_or_else(|error| error, |way| way.to_string()),
                ours.map_or_else(|error| error, |way| way.to_string())
            )),
        }
    }
    (differences, wanted)
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// In one word.
    pub verdict: Verdict,
    /// Each endpoint's share.
    pub shares: Vec<Share>,
}

impl Outcome {
    fn new((verdict, mut shares): (Verdict, Vec<Share>)) -> Self {
        shares.sort_by_key(|share| (share.address, share.masquerade));
        Self { verdict, shares }
    }

    fn same(&self, other: &Self) -> bool {
        let near = |(a, b): (&Share, &Share)| {
            // kube-proxy rounds probabilities to ten digits.
            a.address == b.address
                && a.masquerade == b.masquerade
                && (a.probability - b.probability).abs() < 1e-6
        };
        self.verdict == other.verdict
            && self.shares.len() == other.shares.len()
            && self.shares.iter().zip(&other.shares).all(near)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shares: Vec<_> = self.shares.iter().map(ToString::to_string).collect();
        write!(f, "{} [{}]", self.verdict, shares.join("; "))
    }
}

/// Chains whose rules kube-proxy writes in an order of chance.
const UNORDERED: [&str; 4] =
    ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"];

/// Compares two dumps of `iptables-save` rule by rule. Chains that only one has differ too, except empty ones.
pub fn rules(theirs: &Tables, ours: &Tables) -> Differences {
    let (theirs, ours) = (by_chain(theirs), by_chain(ours));
    let mut differences = Vec::new();
    let chains: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let nothing = Vec::new();
    for chain in chains {
        let (theirs, ours) = (theirs.get(chain).unwrap_or(&nothing), ours.get(chain).unwrap_or(&nothing));
        if theirs != ours {
            let missing: Vec<_> = theirs.iter().filter(|rule| !ours.contains(rule)).collect();
            let extra: Vec<_> = ours.iter().filter(|rule| !theirs.contains(rule)).collect();
            differences.push(match missing.is_empty() && extra.is_empty() {
                true => format!("{chain:?}: the order differs: {theirs:?} and {ours:?}"),
                false => format!("{chain:?}: missing {missing:#?}, too many {extra:#?}"),
            });
        }
    }
    differences
}

fn by_chain(tables: &Tables) -> BTreeMap<(String, String), Vec<String>> {
    let mut chains = BTreeMap::new();
    for table in tables.iter() {
        for chain in table.chains() {
            let mut rules: Vec<_> = chain.rules.iter().map(|rule| rule.as_str().to_owned()).collect();
            if UNORDERED.contains(&&*chain.name) {
                rules.sort();
            }
            if !rules.is_empty() {
                chains.insert((table.name.clone(), chain.name.clone()), rules);
            }
        }
    }
    chains
}

/// Compares two listings of a table as bags of lines: the order of sets and chains says nothing, nor do ways of
/// writing one thing.
pub fn lines(theirs: &str, ours: &str) -> Differences {
    let bag = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("size "));
        let mut lines: Vec<_> = lines.map(one_way).collect();
        lines.sort();
        lines
    };
    let (theirs, ours) = (bag(theirs), bag(ours));
    let missing =
        theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("our layout lacks: {line}"));
    let extra = ours
        .iter()
        .filter(|line| !theirs.contains(line))
        .map(|line| format!("our layout has too much: {line}"));
    missing.chain(extra).collect()
}

/// A set of one element is written as that element once it was listed; numbers of endpoints are by chance.
fn one_way(line: &str) -> String {
    let Some((before, rest)) = line.split_once("{ ") else { return line.to_owned() };
    let Some((elements, after)) = rest.rsplit_once(" }") else { return line.to_owned() };
    let mut elements: Vec<_> = elements.split(", ").collect();
    if before.ends_with("map ") {
        let mut values: Vec<_> = elements
            .iter()
            .map(|element| element.split_once(" : ").map_or(*element, |pair| pair.1))
            .collect();
        values.sort_unstable();
        return format!("{before}{{{}}}{after}", values.join(", "));
    }
    elements.sort_unstable();
    match elements.as_slice() {
        [one] => format!("{before}{one}{after}"),
        many => format!("{before}{{{}}}{after}", many.join(", ")),
    }
}
