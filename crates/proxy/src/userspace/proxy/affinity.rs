//! Which endpoint a client had (`sessionAffinity: ClientIP`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered in each half of the table.
const HALF: usize = 32_768;

/// Which endpoint each client of a Service port had last, for as long as that counts.
///
/// The table is bounded: when the newer half is full it becomes the older one, and those in the older one who did
/// not come again are forgotten.
#[derive(Debug, Default)]
pub(super) struct Affinity(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// How long a client stays with its endpoint after its last connection began; `None` if it does not.
    time: Option<Duration>,
    newer: HashMap<IpAddr, Seen>,
    older: HashMap<IpAddr, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    endpoint: SocketAddr,
    at: Instant,
}

impl Affinity {
    /// How long clients stay from now on; `None` forgets them all.
    pub(super) fn last(&self, time: Option<Duration>) {
        self.with(|table| {
            table.time = time;
            if time.is_none() {
                table.newer = HashMap::new();
                table.older = HashMap::new();
            }
        });
    }

    /// The endpoint that a client had, if that still counts.
    pub(super) fn endpoint(&self, client: IpAddr, now: Instant) -> Option<SocketAddr> {
        self.with(|table| {
            let time = table.time?;
            let seen = table.newer.get(&client).or_else(|| table.older.get(&client))?;
            (now.saturating_duration_since(seen.at) < time).then_some(seen.endpoint)
        })
    }

    /// A connection of this client began at this endpoint.
    pub(super) fn note(&self, client: IpAddr, endpoint: SocketAddr, now: Instant) {
        self.with(|table| {
            if table.time.is_none() {
                return;
            }
            if table.newer.len() >= HALF && !table.newer.contains_key(&client) {
                table.older = std::mem::take(&mut table.newer);
            }
            table.newer.insert(client, Seen { endpoint, at: now });
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    fn client(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    fn endpoint(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    #[test]
    fn a_client_stays_until_its_time_after_the_last_connection_is_over() {
        let (affinity, start) = (Affinity::default(), Instant::now());
        affinity.last(Some(TIME));
        affinity.note(client(1), endpoint(1), start);
        assert_eq!(affinity.endpoint(client(1), start + TIME / 2), Some(endpoint(1)));
        affinity.note(client(1), endpoint(1), start + TIME / 2);
        assert_eq!(affinity.endpoint(client(1), start + TIME), Some(endpoint(1)));
        assert_eq!(affinity.endpoint(client(1), start + TIME / 2 + TIME), None);
        assert_eq!(affinity.endpoint(client(2), start), None);
    }

    #[test]
    fn without_affinity_nobody_is_remembered() {
        let (affinity, now) = (Affinity::default(), Instant::now());
        affinity.note(client(1), endpoint(1), now);
        affinity.last(Some(TIME));
        assert_eq!(affinity.endpoint(client(1), now), None);
        affinity.note(client(1), endpoint(1), now);
        affinity.last(None);
        affinity.last(Some(TIME));
        assert_eq!(affinity.endpoint(client(1), now), None);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_those_who_were_not_seen_for_longest() {
        let (affinity, now) = (Affinity::default(), Instant::now());
        affinity.last(Some(TIME));
        let many = u32::try_from(HALF).unwrap() * 3;
        for number in 0..many {
            affinity.note(client(number), endpoint(1), now);
        }
        let size = affinity.with(|table| table.newer.len() + table.older.len());
        assert!(size <= 2 * HALF);
        assert_eq!(affinity.endpoint(client(0), now), None);
        assert_eq!(affinity.endpoint(client(many - 1), now), Some(endpoint(1)));
    }
}
