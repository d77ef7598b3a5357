//! Sharing out a number of slots.

/// What one endpoint has a right to: `weight / divisor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// At least 1.
    pub(super) weight: u64,
    /// At least 1.
    pub(super) divisor: u64,
}

/// Gives each share one slot, then slot after slot to the one with the largest share for each slot it has; the
/// first of equals. With no more slots than shares, each has one.
pub(super) fn apportion(shares: &[Share], slots: usize) -> Vec<usize> {
    let mut counts = vec![1; shares.len()];
    for _ in shares.len()..slots {
        let held = |index: usize| u128::from(shares[index].divisor) * counts[index] as u128;
        let right = |index: usize| u128::from(shares[index].weight);
        let best = (0..shares.len()).reduce(|best, other| {
            if right(other) * held(best) > right(best) * held(other) { other } else { best }
        });
        let Some(best) = best else { break };
        counts[best] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_shares_and_everybody_has_one() {
        type Case = (&'static [(u64, u64)], usize, &'static [usize]);
        let cases: [Case; 5] = [
            (&[(1, 1), (1, 1)], 5, &[3, 2]),
            (&[(3, 1), (1, 1)], 8, &[6, 2]),
            (&[(1, 1), (1, 100)], 10, &[9, 1]),
            (&[(1, 1), (1, 1), (1, 1)], 2, &[1, 1, 1]),
            (&[], 4, &[]),
        ];
        for (shares, slots, expected) in cases {
            let shares: Vec<_> = shares.iter().map(|&(weight, divisor)| Share { weight, divisor }).collect();
            assert_eq!(apportion(&shares, slots), expected);
        }
    }
}
