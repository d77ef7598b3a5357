//! Whether the kernel's table of connections has room. When it is full, packets that begin connections are dropped.

use std::fs;

/// Where the kernel says how many connections it tracks, and how many it may.
const FILES: [&str; 2] =
    ["/proc/sys/net/netfilter/nf_conntrack_count", "/proc/sys/net/netfilter/nf_conntrack_max"];
/// Hundredths of the table from which on it counts as full, and below which it has room again.
const FULL: u64 = 98;
const ROOMY: u64 = 90;

/// Whether the table was full when it was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Room {
    full: bool,
}

/// What changed since the table was looked at before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// It is full now.
    Full {
        /// How many connections it may have.
        limit: u64,
    },
    /// It has room again.
    Roomy,
}

impl Room {
    /// Looks at the table of the network namespace of the calling thread; says when it became full, once.
    pub(crate) fn look(&mut self) -> Option<News> {
        let [tracked, limit] = FILES.map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        self.note(tracked?, limit?)
    }

    fn note(&mut self, tracked: u64, limit: u64) -> Option<News> {
        let hundredths = tracked.saturating_mul(100).checked_div(limit)?;
        match self.full {
            false if hundredths >= FULL => {
                self.full = true;
                Some(News::Full { limit })
            }
            true if hundredths < ROOMY => {
                self.full = false;
                Some(News::Roomy)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_full_is_said_once_until_it_had_room() {
        let mut room = Room::default();
        let news = [10, 99, 100, 97, 89, 50, 98].map(|tracked| room.note(tracked * 10, 1000));
        let full = Some(News::Full { limit: 1000 });
        assert_eq!(news, [None, full, None, None, Some(News::Roomy), None, full]);
        assert_eq!(room.note(5, 0), None, "a kernel without a limit");
    }
}
