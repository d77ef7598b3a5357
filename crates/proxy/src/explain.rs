//! Which endpoints a packet may reach, and why.
//!
//! The answer comes from walking the packet through the compiled rules of the mode; so it also checks the
//! compiler. The words around it come from the model, which knows what the rules are for. Where the two differ,
//! the explanation says so.

mod model;
mod place;
mod verdict;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use model::{Expected, Model};
pub use place::{Place, UnknownPlace, destination};
pub use verdict::{Share, Verdict};

use crate::packet::{Branch, Fate, Packet, Tracer, Untraceable};

/// What becomes of a packet, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// In one word.
    pub verdict: Verdict,
    /// The endpoints it may reach, in order of address; empty unless the verdict is [`Verdict::Dnat`].
    pub endpoints: Vec<Share>,
    /// Why, step by step.
    pub reasons: Vec<String>,
}

/// Says which way a packet goes by the rules that `tracer` walks, in words of the model.
///
/// # Errors
/// [`Untraceable`] when the packet meets a rule that cannot be followed.
pub fn explain(tracer: &dyn Tracer, model: &Model<'_>, packet: &Packet) -> Result<Explanation, Untraceable> {
    let branches = tracer.trace(packet)?;
    let expected = model.expect(packet);
    let (verdict, endpoints) = outcome(&branches);
    let mut reasons = expected.reasons.clone();
    if let Some(difference) = difference(&expected, verdict, &endpoints) {
        reasons.push(difference);
    }
    reasons.extend(steps(&branches));
    Ok(Explanation { verdict, endpoints, reasons })
}

/// The verdict of all branches together, and each endpoint's share.
///
/// A packet that only sometimes reaches an endpoint is counted among those that do; what is missing from the sum
/// of probabilities is lost.
pub fn outcome(branches: &[Branch]) -> (Verdict, Vec<Share>) {
    let mut shares: BTreeMap<(SocketAddr, bool), f64> = BTreeMap::new();
    let mut others: Vec<(f64, Verdict)> = Vec::new();
    for branch in branches {
        match branch.fate {
            Fate::Endpoint { address, masquerade } => {
                *shares.entry((address, masquerade)).or_default() += branch.probability;
            }
            Fate::Reject => others.push((branch.probability, Verdict::Reject)),
            Fate::Drop => others.push((branch.probability, Verdict::Drop)),
            Fate::Pass => others.push((branch.probability, Verdict::Pass)),
        }
    }
    let endpoints: Vec<_> = shares
        .into_iter()
        .map(|((address, masquerade), probability)| Share {
            address,
            probability: round(probability),
            masquerade,
        })
        .collect();
    let likeliest = others.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, verdict)| verdict);
    match endpoints.is_empty() {
        false => (Verdict::Dnat, endpoints),
        true => (likeliest.unwrap_or(Verdict::Pass), endpoints),
    }
}

/// Sums of tenths and thirds, without their noise.
fn round(probability: f64) -> f64 {
    (probability * 1e9).round() / 1e9
}

/// Says how the rules differ from the model, if they do.
fn difference(expected: &Expected, verdict: Verdict, endpoints: &[Share]) -> Option<String> {
    if expected.verdict != verdict {
        return Some(format!(
            "the rules say {verdict} where the model says {}: this is a fault of the proxy, please report it",
            expected.verdict
        ));
    }
    let near = |(a, b): (&Share, &Share)| {
        a.address == b.address && a.masquerade == b.masquerade && (a.probability - b.probability).abs() < 1e-6
    };
    let same =
        expected.endpoints.len() == endpoints.len() && expected.endpoints.iter().zip(endpoints).all(near);
    (!same).then(|| {
        let expected: Vec<_> = expected.endpoints.iter().map(ToString::to_string).collect();
        format!("the model expects {}: this is a fault of the proxy, please report it", expected.join(", "))
    })
}

/// The rules that the packet meets, each once; where chance divides its way, those of the first branch.
fn steps(branches: &[Branch]) -> Vec<String> {
    let Some(first) = branches.first() else { return Vec::new() };
    let mut steps = first.steps.clone();
    if branches.len() > 1 {
        steps.push(format!("and {} more ways by chance, alike", branches.len() - 1));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(probability: f64, fate: Fate) -> Branch {
        Branch { probability, fate, steps: Vec::new() }
    }

    #[test]
    fn branches_that_end_alike_are_one_share() {
        let to = |last: u8, masquerade: bool| Fate::Endpoint {
            address: SocketAddr::from(([10, 0, 0, last], 80)),
            masquerade,
        };
        let third = 1.0 / 3.0;
        let branches = [branch(third, to(2, false)), branch(third, to(1, true)), branch(third, to(2, false))];
        let (verdict, shares) = outcome(&branches);
        let shares: Vec<_> = shares.iter().map(ToString::to_string).collect();
        assert_eq!(verdict, Verdict::Dnat);
        assert_eq!(
            shares,
            [
                "10.0.0.1:80 with probability 0.3333, masqueraded",
                "10.0.0.2:80 with probability 0.6667, source kept"
            ]
        );
        assert_eq!(outcome(&[branch(1.0, Fate::Drop)]).0, Verdict::Drop);
        assert_eq!(outcome(&[]).0, Verdict::Pass);
    }
}
