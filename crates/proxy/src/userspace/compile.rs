//! From the model to rules: which packets go to which door.

mod base;
mod chains;
mod guard;
mod port;

use std::net::IpAddr;

use service::Family;

pub(super) use base::{FILTER_CHAINS, JUMPS, NAT_CHAINS};
pub(super) use chains::Chains;

use super::doors::{self, Door, Doors};
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
    let doors = doors::numbered(wanted(sight), |_| None);
    Rules { tables: tables(sight, &doors), doors }
}

/// The rules with the ports that doors have in tables that are held; doors that are not there yet have other ones.
pub fn compile_like(sight: &Sight<'_>, held: &[(Family, Tables)]) -> Rules {
    let guarded = guard::Guarded::read(held);
    let doors = doors::numbered(wanted(sight), |door| guarded.port(door));
    Rules { tables: tables(sight, &doors), doors }
}

/// All doors of a sight, each with the address it is to be open at.
fn wanted(sight: &Sight<'_>) -> Vec<(Door, Option<IpAddr>)> {
    let mut wanted = Vec::new();
    for view in sight.all_ports() {
        let address = doors::address(view.port.protocol, sight.node.primary(view.family));
        wanted.extend(doors::doors(&view).map(|(door, _)| (door, address)));
    }
    wanted
}

fn tables(sight: &Sight<'_>, doors: &Doors) -> Vec<(Family, Tables)> {
    let tables = Family::ALL.map(|family| {
        let mut chains = Chains::new(family);
        chains.update(sight, &Touched::Everything, doors);
        (family, chains.tables())
    });
    tables.to_vec()
}

#[cfg(test)]
mod tests;
