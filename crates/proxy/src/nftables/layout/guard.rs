//! Chains that let some clients in and drop the others (`loadBalancerSourceRanges`).
//!
//! Services with the same ranges share one chain and one set of ranges.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use nfnetlink::expr::LookupResult;
use nfnetlink::{Chain, DataType, Element, Expr, KeyType, Rule, Set, SetContent, Verdict, range_elements};
use service::{Cidr, Family};

use super::{Address, KEY, address_words, load_address, only};

/// The chain for one list of ranges.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuardChain {
    family: Family,
    ranges: Arc<[Cidr]>,
}

impl GuardChain {
    /// The chain that lets these in.
    pub fn new(family: Family, ranges: Arc<[Cidr]>) -> Self {
        Self { family, ranges }
    }

    /// Its name, and that of its set.
    pub fn name(&self) -> String {
        // The same number in every run of the same program; another one is another chain, nothing worse.
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        format!("let-in-{:016x}", hasher.finish())
    }

    /// The chain itself.
    pub fn chain(&self) -> Chain {
        Chain::regular(self.name())
    }

    /// Its ranges.
    pub fn set(&self) -> (Set, Vec<Element>) {
        let key = match self.family {
            Family::V4 => KeyType::of(&[DataType::Ipv4Addr]),
            Family::V6 => KeyType::of(&[DataType::Ipv6Addr]),
        };
        let set = Set { name: self.name().into(), ..Set::new("", key, SetContent::Ranges, "") };
        let length = 4 * usize::from(address_words(self.family));
        (set, range_elements(self.ranges.iter().map(Cidr::bounds), length))
    }

    /// Its rule.
    pub fn rules(&self) -> Vec<Rule> {
        let mut expressions = only(self.family).to_vec();
        expressions.extend([
            load_address(self.family, Address::Source, KEY),
            Expr::Lookup { set: self.name().into(), from: KEY, result: LookupResult::NotContained },
            Expr::Verdict(Verdict::Drop),
        ]);
        vec![Rule::new(self.name(), expressions).comment("not in loadBalancerSourceRanges")]
    }
}
