//! Response rate limiting: how many replies an address outside the cluster gets, so that this server is of no use
//! for flooding others under their name.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use crate::config;

/// How many networks are counted apart; others share a count. Bounds memory.
const BUCKETS: usize = 1 << 14;

/// Counts of replies by network.
#[derive(Debug)]
pub(crate) struct Limits {
    limits: config::Limits,
    /// For each bucket the second of now in the upper half and the replies of that second in the lower.
    buckets: Box<[AtomicU64]>,
    over: AtomicU32,
    seed: foldhash::fast::FixedState,
}

/// What becomes of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is sent.
    Pass,
    /// It is sent empty and marked as truncated, so that a real client comes back over TCP.
    Slip,
    /// It is not sent.
    Drop,
}

impl Limits {
    /// Nothing counted so far.
    pub(crate) fn new(limits: config::Limits) -> Self {
        Self {
            limits,
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            over: AtomicU32::new(0),
            seed: foldhash::fast::FixedState::with_seed(fastrand::u64(..)),
        }
    }

    /// Counts a reply to an address now.
    pub(crate) fn judge(&self, address: IpAddr) -> Verdict {
        static START: OnceLock<Instant> = OnceLock::new();
        self.judge_at(address, START.get_or_init(Instant::now).elapsed().as_secs() as u32)
    }

    fn judge_at(&self, address: IpAddr, second: u32) -> Verdict {
        use std::hash::BuildHasher;
        let bucket = self.seed.hash_one(network(address)) as usize % BUCKETS;
        let count = self.buckets[bucket]
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                let count = if (old >> 32) as u32 == second { old as u32 } else { 0 };
                Some(u64::from(second) << 32 | u64::from(count.saturating_add(1)))
            })
            .map_or(0, |old| if (old >> 32) as u32 == second { old as u32 } else { 0 });
        if count < self.limits.responses_per_second {
            return Verdict::Pass;
        }
        let slip = self.limits.slip;
        let turn = self.over.fetch_add(1, Ordering::Relaxed);
        if slip > 0 && turn.is_multiple_of(slip) { Verdict::Slip } else { Verdict::Drop }
    }
}

/// The network of an address: what one site is likely to have.
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
    fn a_network_gets_so_many_replies_a_second_and_then_every_second_one_truncated() {
        let limits = Limits::new(config::Limits { responses_per_second: 3, slip: 2 });
        let judge = |address: &str, second| limits.judge_at(address.parse().unwrap(), second);
        let first: Vec<_> = (0..7).map(|last| judge(&format!("203.0.113.{last}"), 1)).collect();
        use Verdict::{Drop, Pass, Slip};
        assert_eq!(first, [Pass, Pass, Pass, Slip, Drop, Slip, Drop]);
        assert_eq!(judge("198.51.100.1", 1), Pass, "another network");
        assert_eq!(judge("203.0.113.1", 2), Pass, "another second");
    }
}
