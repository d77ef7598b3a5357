//! From the model to rules: which packets go to which proxy port.

mod base;
mod chains;
mod guard;
mod port;

use std::net::IpAddr;

use service::Family;

pub(super) use base::{FILTER_CHAINS, JUMPS, NAT_CHAINS};
pub(super) use chains::Chains;

use super::proxy_ports::{self, ProxyPort, ProxyPorts};
use crate::mode::Touched;
use crate::sight::Sight;
use crate::xtables::text::Tables;

/// The rules of both families, and the proxy ports they lead to.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Where the proxy ports are.
    pub proxy_ports: ProxyPorts,
    /// The tables of each family as they are once loaded, with the rules of built-in chains that lead to ours.
    pub tables: Vec<(Family, Tables)>,
}

/// The rules as they would be if the proxy ports had ports from 40000 on, in their order. The same sight gives the same
/// rules.
pub fn compile(sight: &Sight<'_>) -> Rules {
    let proxy_ports = proxy_ports::numbered(wanted(sight), |_| None);
    Rules { tables: tables(sight, &proxy_ports), proxy_ports }
}

/// The rules with the ports that proxy ports have in tables that are held; proxy ports that are not there yet have other ones.
pub fn compile_like(sight: &Sight<'_>, held: &[(Family, Tables)]) -> Rules {
    let guarded = guard::Guarded::read(held);
    let proxy_ports = proxy_ports::numbered(wanted(sight), |proxy_port| guarded.port(proxy_port));
    Rules { tables: tables(sight, &proxy_ports), proxy_ports }
}

/// All proxy ports of a sight, each with the address it is to be open at.
fn wanted(sight: &Sight<'_>) -> Vec<(ProxyPort, Option<IpAddr>)> {
    let mut wanted = Vec::new();
    for view in sight.all_ports() {
        let address = proxy_ports::address(view.port.protocol, sight.node.primary(view.family));
        wanted.extend(proxy_ports::proxy_ports(&view).map(|(proxy_port, _)| (proxy_port, address)));
    }
    wanted
}

fn tables(sight: &Sight<'_>, proxy_ports: &ProxyPorts) -> Vec<(Family, Tables)> {
    let tables = Family::ALL.map(|family| {
        let mut chains = Chains::new(family);
        chains.update(sight, &Touched::Everything, proxy_ports);
        (family, chains.tables())
    });
    tables.to_vec()
}

#[cfg(test)]
mod tests;
