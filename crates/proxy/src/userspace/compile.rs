//! From the model to rules: which packets go to which door.

mod base;
mod chains;
mod port;

use service::Family;

pub(super) use base::{FILTER_CHAINS, JUMPS, NAT_CHAINS};
pub(super) use chains::Chains;

use super::doors::{self, Doors};
use crate::iptables::text::Tables;
use crate::mode::Touched;
use crate::sight::Sight;

/// The rules of both families, and the doors they lead to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where the doors are.
    pub doors: Doors,
    /// The tables of each family as they are once loaded, with the rules of built-in chains that lead to ours.
    pub tables: Vec<(Family, Tables)>,
}

/// The rules as they would be if the doors had ports from 40000 on, in their order. The same sight gives the same
/// rules.
pub fn compile(sight: &Sight<'_>) -> Rules {
    let mut wanted: Vec<_> = Vec::new();
    for view in sight.all_ports() {
        let address = doors::address(view.port.protocol, sight.node.primary(view.family));
        wanted.extend(doors::doors(&view).map(|(door, _)| (door, address)));
    }
    let doors = doors::numbered(wanted);
    let tables = Family::ALL.map(|family| {
        let mut chains = Chains::new(family);
        chains.update(sight, &Touched::Everything, &doors);
        (family, chains.tables())
    });
    Rules { doors, tables: tables.to_vec() }
}

#[cfg(test)]
mod tests;
