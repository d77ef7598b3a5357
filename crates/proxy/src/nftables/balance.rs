//! How many slots each endpoint of a list gets, and which: weights and ways of balancing.
//!
//! A slot is an element of a map, and a packet takes one by a number below their count. So shares become counts of
//! slots. The rules, exactly:
//!
//! * An endpoint of weight 0 gets no slot, unless all endpoints of the list have weight 0; then all count alike.
//! * `random` and `source-hash`: weights are divided by their greatest common divisor, and each endpoint gets that
//!   many slots. If that makes more than [`MOST_SLOTS`], that many slots are [shared out](apportion).
//! * `maglev`: [a table](maglev) of 251 slots; 2039 with more than 125 endpoints, 16381 with more than 1019.
//! * `least-connections`: [`MOST_SLOTS`] slots are shared out by weight / (1 + connections), where connections are
//!   those to the endpoint that this node's connection table holds, counted anew once a second. While nothing is
//!   counted this is `random`.
//! * A list of more than [`MOST_SLOTS`] endpoints gives each one slot, whatever its weight (not with `maglev`).
//!
//! `random` and `least-connections` take a slot by a random number; `source-hash` and `maglev` by jhash of the
//! client's address with seed 0, so that all nodes agree. Their tables follow from the list alone.
//!
//! A client of a Service with session affinity that is not known yet takes a slot by hashes of its address with
//! `random` too. So it meets the same endpoint at all addresses of the Service, unless the list changed since it was at
//! the first.

mod apportion;
mod load;
mod maglev;

use std::net::SocketAddr;

use service::Endpoint;
use service::objects::{Balance, Protocol};

pub use load::Load;

use super::wish::Chooser;
use apportion::{Share, apportion};

/// The most slots that weights are made of.
pub const MOST_SLOTS: usize = 256;

/// How a slot is chosen with this way of balancing, by clients that stay with their endpoint or by others.
pub fn chooser(balance: Balance, affinity: bool) -> Chooser {
    match balance {
        Balance::Random if affinity => Chooser::ClientHash,
        Balance::Random | Balance::LeastConnections => Chooser::Chance,
        Balance::SourceHash | Balance::Maglev => Chooser::ClientHash,
    }
}

/// Whether every endpoint gets one slot, in any order.
pub fn is_plain<'a>(balance: Balance, mut endpoints: impl Iterator<Item = &'a Endpoint>) -> bool {
    let weight = endpoints.next().map(|endpoint| endpoint.weight);
    balance == Balance::Random && endpoints.all(|endpoint| Some(endpoint.weight) == weight)
}

/// The endpoint of each slot of a list.
pub fn slots(endpoints: &[Endpoint], balance: Balance, protocol: Protocol, load: &Load) -> Vec<SocketAddr> {
    let idle = endpoints.iter().all(|endpoint| endpoint.weight == 0);
    let weighed = endpoints.iter().filter(|endpoint| idle || endpoint.weight > 0);
    let (addresses, mut shares): (Vec<SocketAddr>, Vec<Share>) = weighed
        .map(|endpoint| {
            let weight = if idle { 1 } else { u64::from(endpoint.weight) };
            (endpoint.address, Share { weight, divisor: 1 })
        })
        .unzip();
    if balance == Balance::Maglev {
        return maglev::table(&addresses, &shares);
    }
    if balance == Balance::LeastConnections {
        for (share, address) in shares.iter_mut().zip(&addresses) {
            share.divisor += load.connections(protocol, *address);
        }
    }
    let counts = counts(&shares);
    let repeat = |(address, count): (&SocketAddr, usize)| std::iter::repeat_n(*address, count);
    addresses.iter().zip(counts).flat_map(repeat).collect()
}

/// How many slots each share gets.
fn counts(shares: &[Share]) -> Vec<usize> {
    if shares.len() > MOST_SLOTS {
        return vec![1; shares.len()];
    }
    if shares.iter().all(|share| share.divisor == 1) {
        let divisor = shares.iter().fold(0, |divisor, share| greatest_common_divisor(divisor, share.weight));
        let exact: Vec<_> = shares.iter().map(|share| (share.weight / divisor.max(1)) as usize).collect();
        if exact.iter().sum::<usize>() <= MOST_SLOTS {
            return exact;
        }
    }
    apportion(shares, MOST_SLOTS)
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests;
