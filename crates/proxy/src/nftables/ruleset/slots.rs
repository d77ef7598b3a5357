//! Endpoints in numbered slots, so that a random number finds one.
//!
//! One list of slots serves all traffic of a Service port, whatever its policy:
//!
//! ```text
//! | only local | local and cluster | only cluster |
//! |<------- local list ---------->|
//!              |<--------- cluster list ---------->|
//! ```
//!
//! so that every list is a run of slots without holes. The lists differ only with traffic policies, hints or
//! terminating endpoints; most ports have the cluster list alone.
//!
//! Lists whose endpoints have different shares stand one after the other.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// A run of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// The first slot.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// The slots of a Service port and the runs that make its lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The endpoint in each slot.
    pub slots: Vec<SocketAddr>,
    /// For traffic that stays on the node.
    pub local: Range,
    /// For traffic that goes anywhere.
    pub cluster: Range,
}

impl Plan {
    /// Gives each endpoint a slot. Endpoints keep the slots they had in `before` as far as lists stay without
    /// holes: an endpoint that goes costs its own slot and the one that moves into the hole.
    pub fn new(local: &[SocketAddr], cluster: &[SocketAddr], before: &[SocketAddr]) -> Self {
        let in_local: HashSet<_> = local.iter().collect();
        let in_cluster: HashSet<_> = cluster.iter().collect();
        let only_local: Vec<_> = local.iter().copied().filter(|e| !in_cluster.contains(e)).collect();
        let both: Vec<_> = local.iter().copied().filter(|e| in_cluster.contains(e)).collect();
        let only_cluster: Vec<_> = cluster.iter().copied().filter(|e| !in_local.contains(e)).collect();

        let mut slots = Vec::with_capacity(only_local.len() + cluster.len());
        for section in [&only_local, &both, &only_cluster] {
            let before = before.get(slots.len()..).unwrap_or_default();
            slots.extend(keep_places(section, &before[..before.len().min(section.len())]));
        }
        let first = only_local.len() as u32;
        Self {
            slots,
            local: Range { first: 0, count: local.len() as u32 },
            cluster: Range { first, count: cluster.len() as u32 },
        }
    }

    /// Puts the lists one after the other; an endpoint may be in a list several times. Places in `before` are kept
    /// as [`Plan::new`] does.
    pub fn apart(local: &[SocketAddr], cluster: &[SocketAddr], before: &[SocketAddr]) -> Self {
        let before_local = &before[..before.len().min(local.len())];
        let mut slots = keep_places(local, before_local);
        let before_cluster = before.get(local.len()..).unwrap_or_default();
        slots.extend(keep_places(cluster, &before_cluster[..before_cluster.len().min(cluster.len())]));
        Self::of(slots, local.len(), cluster.len())
    }

    /// Puts the lists one after the other, each slot where it is.
    pub fn fixed(local: &[SocketAddr], cluster: &[SocketAddr]) -> Self {
        Self::of([local, cluster].concat(), local.len(), cluster.len())
    }

    fn of(slots: Vec<SocketAddr>, local: usize, cluster: usize) -> Self {
        let (local, cluster) = (local as u32, cluster as u32);
        let cluster = Range { first: local, count: cluster };
        Self { slots, local: Range { first: 0, count: local }, cluster }
    }
}

/// Orders `section` so that what was in `before` stays at its place and the others fill the rest.
fn keep_places(section: &[SocketAddr], before: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut left: HashMap<SocketAddr, usize> = HashMap::new();
    section.iter().for_each(|endpoint| *left.entry(*endpoint).or_default() += 1);
    let mut take = |endpoint: SocketAddr| match left.get_mut(&endpoint) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    let mut places: Vec<_> = before.iter().map(|endpoint| take(*endpoint).then_some(*endpoint)).collect();
    places.resize(section.len(), None);
    let mut others = section.iter().copied().filter(|endpoint| take(*endpoint));
    places.into_iter().filter_map(|place| place.or_else(|| others.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(numbers: &[u8]) -> Vec<SocketAddr> {
        numbers.iter().map(|number| SocketAddr::from(([10, 0, 0, *number], 80))).collect()
    }

    fn numbers(slots: &[SocketAddr]) -> Vec<u8> {
        slots
            .iter()
            .map(|slot| match slot.ip() {
                std::net::IpAddr::V4(address) => address.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            })
            .collect()
    }

    #[test]
    fn the_last_endpoint_moves_into_the_hole() {
        type Case = (&'static [u8], &'static [u8], &'static [u8]);
        let cases: [Case; 5] = [
            (&[1, 2, 3, 4], &[1, 3, 4], &[1, 4, 3]),
            (&[1, 2, 3], &[1, 2, 3, 9], &[1, 2, 3, 9]),
            (&[1, 4, 3], &[3, 4, 5], &[5, 4, 3]),
            (&[1, 2], &[], &[]),
            (&[], &[2, 1], &[2, 1]),
        ];
        for (before, now, expected) in cases {
            let plan = Plan::new(&[], &endpoints(now), &endpoints(before));
            assert_eq!(numbers(&plan.slots), expected, "{before:?} -> {now:?}");
        }
    }

    #[test]
    fn an_endpoint_may_have_several_places() {
        let plan = Plan::apart(&endpoints(&[7]), &endpoints(&[1, 1, 2]), &endpoints(&[7, 2, 1, 3]));
        assert_eq!(numbers(&plan.slots), [7, 2, 1, 1]);
        assert_eq!((plan.local.first, plan.cluster), (0, Range { first: 1, count: 3 }));
    }

    #[test]
    fn local_and_cluster_lists_are_runs_of_one_list() {
        let plan = Plan::new(&endpoints(&[1, 2]), &endpoints(&[2, 3, 4]), &[]);
        assert_eq!(numbers(&plan.slots), [1, 2, 3, 4]);
        assert_eq!(plan.local, Range { first: 0, count: 2 });
        assert_eq!(plan.cluster, Range { first: 1, count: 3 });
    }

    #[test]
    fn a_run_holds_its_list_and_nothing_else_whatever_came_before() {
        let mut before = Vec::new();
        for step in 0..200u32 {
            let pick = |salt: u32| {
                let chosen = (0..12u8)
                    .filter(|n| (step.wrapping_mul(2_654_435_761) >> (u32::from(*n) + salt)) & 1 == 1);
                endpoints(&chosen.collect::<Vec<_>>())
            };
            let (local, cluster) = (pick(3), pick(11));
            let plan = Plan::new(&local, &cluster, &before);
            for (range, list) in [(plan.local, &local), (plan.cluster, &cluster)] {
                let run = &plan.slots[range.first as usize..(range.first + range.count) as usize];
                let (mut run, mut list) = (run.to_vec(), list.clone());
                run.sort_unstable();
                list.sort_unstable();
                assert_eq!(run, list, "step {step}");
            }
            before = plan.slots;
        }
    }
}
