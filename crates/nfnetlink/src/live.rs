//! Values that the kernel changes by itself.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A value that the kernel changes while packets pass, or that it chose itself.
///
/// It does not count in comparisons: two objects are the same if they were made the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live<T>(pub T);

impl<T> PartialEq for Live<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Live<T> {}

impl<T> PartialOrd for Live<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Live<T> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl<T> Hash for Live<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What a counter has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counted_makes_no_difference() {
        assert_eq!(Live(Counter { packets: 1, bytes: 60 }), Live(Counter::default()));
        assert_eq!(Live(1).cmp(&Live(2)), Ordering::Equal);
    }
}
