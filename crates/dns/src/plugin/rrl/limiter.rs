//! Counting replies by network and second.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::RrlOptions;

/// The number of counters, which bounds memory. Networks with equal hashes share one.
const BUCKETS: usize = 1 << 14;

/// Counters of replies by network.
#[derive(Debug)]
pub(super) struct Limiter {
    options: RrlOptions,
    /// For each bucket the last second in the upper 32 bits, and the replies in that second in the lower 32.
    buckets: Box<[AtomicU64]>,
    over: AtomicU32,
    seed: foldhash::fast::FixedState,
}

/// What happens to a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is sent.
    Send,
    /// It is sent empty and marked as truncated, so that a real client comes back over TCP.
    Truncate,
    /// It is not sent.
    Drop,
}

impl Limiter {
    /// Counters at zero.
    pub(super) fn new(options: RrlOptions) -> Self {
        Self {
            options,
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            over: AtomicU32::new(0),
            seed: foldhash::fast::FixedState::with_seed(fastrand::u64(..)),
        }
    }

    /// Counts a reply to an address, and decides what happens to it.
    pub(super) fn count(&self, address: IpAddr) -> Decision {
        static START: OnceLock<Instant> = OnceLock::new();
        self.count_at(address, START.get_or_init(Instant::now).elapsed().as_secs() as u32)
    }

    fn count_at(&self, address: IpAddr, second: u32) -> Decision {
        use std::hash::BuildHasher;
        let bucket = self.seed.hash_one(network(address)) as usize % BUCKETS;
        let count = self.buckets[bucket]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                let count = if (old >> 32) as u32 == second { old as u32 } else { 0 };
                Some(u64::from(second) << 32 | u64::from(count.saturating_add(1)))
            })
            .map_or(0, |old| if (old >> 32) as u32 == second { old as u32 } else { 0 });
        if count < self.options.responses_per_second {
            return Decision::Send;
        }
        let slip = self.options.slip;
        let turn = self.over.fetch_add(1, Ordering::Relaxed);
        if slip > 0 && turn.is_multiple_of(slip) { Decision::Truncate } else { Decision::Drop }
    }
}

/// The network of an address that is likely to belong to one site: a /24 or a /56.
fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8) | 1 << 63,
        IpAddr::V6(v6) => (u128::from(v6) >> 72) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_the_limit_of_a_network_every_second_reply_is_sent_truncated() {
        let limits = Limiter::new(RrlOptions { responses_per_second: 3, slip: 2 });
        let count = |address: &str, second| limits.count_at(address.parse().unwrap(), second);
        let first: Vec<_> = (0..7).map(|last| count(&format!("203.0.113.{last}"), 1)).collect();
        use Decision::{Drop, Send, Truncate};
        assert_eq!(first, [Send, Send, Send, Truncate, Drop, Truncate, Drop]);
        assert_eq!(count("198.51.100.1", 1), Send, "another network");
        assert_eq!(count("203.0.113.1", 2), Send, "another second");
    }
}
