//! Tables in which few slots change hands when the list changes.
//!
//! The algorithm is section 3.4 of "Maglev: A Fast and Reliable Software Network Load Balancer" (NSDI 2016): each
//! endpoint has an order of preference over the slots that follows from its address, and endpoints take the best
//! slot that is left, in turns. Shares are respected by ending the turns of an endpoint that has its count.

use std::net::{IpAddr, SocketAddr};

use super::apportion::{Share, apportion};

/// Sizes of tables: primes, so that every step visits all slots.
const SIZES: [usize; 3] = [251, 2039, 16381];

/// The endpoint of each slot. The same list gives the same table on every node.
pub(super) fn table(endpoints: &[SocketAddr], shares: &[Share]) -> Vec<SocketAddr> {
    let enough = |size: &&usize| **size >= 2 * endpoints.len();
    let size = SIZES.iter().find(enough).copied().unwrap_or(SIZES[SIZES.len() - 1]);
    let mut left = apportion(shares, size);
    let mut orders: Vec<_> = endpoints.iter().map(|endpoint| order(*endpoint, size)).collect();
    let mut table = vec![None; size];
    let mut filled = 0;
    while filled < size && left.iter().any(|left| *left > 0) {
        for ((endpoint, order), left) in endpoints.iter().zip(&mut orders).zip(&mut left) {
            if *left == 0 {
                continue;
            }
            if let Some(slot) = order.find(|slot| table[*slot].is_none()) {
                table[slot] = Some(*endpoint);
                filled += 1;
            }
            *left -= 1;
        }
    }
    table.into_iter().flatten().collect()
}

/// All slots in the order in which an endpoint likes them.
fn order(endpoint: SocketAddr, size: usize) -> impl Iterator<Item = usize> {
    let start = (hash(endpoint, 1) % size as u64) as usize;
    let step = (hash(endpoint, 2) % (size as u64 - 1)) as usize + 1;
    (0..size).map(move |turn| (start + turn * step) % size)
}

/// FNV-1a over address and port, with the last step of SplitMix64 to spread it.
fn hash(endpoint: SocketAddr, seed: u8) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    take(seed);
    match endpoint.ip() {
        IpAddr::V4(address) => address.octets().into_iter().for_each(&mut take),
        IpAddr::V6(address) => address.octets().into_iter().for_each(&mut take),
    }
    endpoint.port().to_be_bytes().into_iter().for_each(take);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
