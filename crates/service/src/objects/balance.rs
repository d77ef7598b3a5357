//! How an endpoint of a Service is chosen: the annotations `portolan.dev/balance` and `portolan.dev/weights`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::problem::Problems;

/// Annotation on a Service.
const BALANCE: &str = "portolan.dev/balance";
/// Annotation on an EndpointSlice: `address=weight` pairs with commas between them.
const WEIGHTS: &str = "portolan.dev/weights";
/// The largest weight. Weights become slots of a map, so they are small numbers.
pub const MAX_WEIGHT: u8 = 100;

/// How an endpoint is chosen for a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Balance {
    /// By chance, as kube-proxy does.
    #[default]
    Random,
    /// By a hash of the client's address over the list of endpoints: the same client gets the same endpoint as
    /// long as the list does not change.
    SourceHash,
    /// By a hash of the client's address over a Maglev table: a change of the list moves few clients.
    Maglev,
    /// By chance, with a share that shrinks as the endpoint holds more connections through this node.
    LeastConnections,
}

impl Balance {
    /// All ways, with the annotation's words for them.
    pub const ALL: [(&'static str, Self); 4] = [
        ("random", Self::Random),
        ("source-hash", Self::SourceHash),
        ("maglev", Self::Maglev),
        ("least-connections", Self::LeastConnections),
    ];

    /// What the annotations of a Service ask for; a word that is none falls back to random.
    pub(crate) fn read(annotations: &BTreeMap<String, String>, problems: &mut Problems) -> Self {
        let Some(word) = annotations.get(BALANCE) else { return Self::Random };
        match Self::ALL.iter().find(|(name, _)| name == word) {
            Some((_, balance)) => *balance,
            None => {
                let field = format!("metadata.annotations[{BALANCE}]");
                problems.note(
                    field,
                    format!("{word:?}"),
                    "is not one of random, source-hash, maglev, least-connections; endpoints are chosen by chance",
                );
                Self::Random
            }
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, balance)| balance == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// The weights that a slice's annotations give to its endpoints; 1 is what the others have.
pub(crate) fn weights(
    annotations: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> BTreeMap<IpAddr, u8> {
    let mut weights = BTreeMap::new();
    let Some(text) = annotations.get(WEIGHTS) else { return weights };
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let read = pair.split_once('=').and_then(|(address, weight)| {
            let weight = weight.trim().parse().ok().filter(|weight| *weight <= MAX_WEIGHT)?;
            Some((address.trim().parse::<IpAddr>().ok()?, weight))
        });
        match read {
            Some((address, weight)) => {
                weights.insert(address, weight);
            }
            None => {
                let field = format!("metadata.annotations[{WEIGHTS}]");
                problems.note(field, format!("{pair:?}"), "is no address=weight with a weight from 0 to 100");
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_word_that_is_no_way_falls_back_to_random_and_says_so() {
        let mut problems = Problems::default();
        for (word, balance) in Balance::ALL {
            assert_eq!(Balance::read(&annotated(BALANCE, word), &mut problems), balance);
            assert_eq!(balance.to_string(), word);
        }
        assert_eq!(problems.iter().count(), 0);
        assert_eq!(Balance::read(&annotated(BALANCE, "Maglev"), &mut problems), Balance::Random);
        assert_eq!(problems.iter().count(), 1);
    }

    #[test]
    fn weights_are_read_pair_by_pair() {
        let mut problems = Problems::default();
        let text = "10.0.0.1=3, fd00::1=0,10.0.0.2=101,web-0=2";
        let weights = weights(&annotated(WEIGHTS, text), &mut problems);
        let weights: Vec<_> = weights.iter().map(|(address, weight)| format!("{address}={weight}")).collect();
        assert_eq!(weights, ["10.0.0.1=3", "fd00::1=0"]);
        assert_eq!(problems.iter().count(), 2);
    }
}
