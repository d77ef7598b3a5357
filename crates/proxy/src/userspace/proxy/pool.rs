//! The endpoints behind a proxy port, and whose turn it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use service::objects::SessionAffinity;
use service::{List, PortView};
use tokio::sync::watch;

use super::affinity::Affinity;

/// A connection is tried at least this often, even with fewer endpoints.
pub(super) const TRIES: usize = 4;

/// The endpoints behind a proxy port.
#[derive(Debug)]
pub(crate) struct Pool {
    behind: watch::Sender<Behind>,
    next: AtomicUsize,
    affinity: Affinity,
}

/// What is behind a proxy port.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Endpoints for new connections.
    pub(super) endpoints: Arc<[SocketAddr]>,
    /// Those that go on with what they have (UDP; TCP connections end by themselves).
    pub(super) serving: Arc<[SocketAddr]>,
    /// How long a client stays with its endpoint after its last connection began.
    pub(super) affinity: Option<Duration>,
}

/// Endpoints in the order in which one client tries them.
#[derive(Debug)]
pub(super) struct Turn {
    endpoints: Arc<[SocketAddr]>,
    place: usize,
    left: usize,
}

impl Behind {
    /// Endpoints of a Service port that are chosen from this list.
    pub(crate) fn of(view: &PortView<'_>, list: &List) -> Self {
        Self {
            endpoints: list.endpoints.iter().map(|endpoint| endpoint.address).collect(),
            serving: view.serving.as_slice().into(),
            affinity: match view.service.session_affinity {
                SessionAffinity::None => None,
                SessionAffinity::ClientIp(time) => Some(time),
            },
        }
    }
}

impl Pool {
    pub(crate) fn new(behind: Behind) -> Self {
        let affinity = Affinity::default();
        affinity.last(behind.affinity);
        Self { behind: watch::Sender::new(behind), next: AtomicUsize::new(0), affinity }
    }

    /// New endpoints, for all connections that begin from now on.
    pub(crate) fn replace(&self, behind: Behind) {
        self.affinity.last(behind.affinity);
        self.behind.send_if_modified(|held| {
            let differ = *held != behind;
            *held = behind;
            differ
        });
    }

    /// To be told of new endpoints.
    pub(super) fn watch(&self) -> watch::Receiver<Behind> {
        self.behind.subscribe()
    }

    /// Where a connection of this client goes: to the endpoint it had, else to each in turn; if that one does not
    /// answer, to the others.
    pub(super) fn turn(&self, client: IpAddr, now: Instant) -> Turn {
        let endpoints = self.behind.borrow().endpoints.clone();
        let had = self.affinity.endpoint(client, now);
        let had = had.and_then(|had| endpoints.iter().position(|endpoint| *endpoint == had));
        let place = had.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        let left = if endpoints.is_empty() { 0 } else { endpoints.len().max(TRIES) };
        Turn { endpoints, place, left }
    }

    /// This client's connection is with this endpoint.
    pub(super) fn note(&self, client: IpAddr, endpoint: SocketAddr, now: Instant) {
        self.affinity.note(client, endpoint, now);
    }
}

impl Iterator for Turn {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.left = self.left.checked_sub(1)?;
        let endpoint = self.endpoints[self.place % self.endpoints.len()];
        self.place = self.place.wrapping_add(1);
        Some(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(last: &[u8]) -> Behind {
        let endpoints: Arc<[_]> = last.iter().map(|last| endpoint(*last)).collect();
        Behind { serving: endpoints.clone(), endpoints, affinity: None }
    }

    fn endpoint(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    fn first(pool: &Pool, client: u8, now: Instant) -> Option<SocketAddr> {
        pool.turn([192, 0, 2, client].into(), now).next()
    }

    #[test]
    fn endpoints_take_turns() {
        let (pool, now) = (Pool::new(behind(&[1, 2, 3])), Instant::now());
        let firsts: Vec<_> = (0..4).map(|_| first(&pool, 1, now)).collect();
        assert_eq!(firsts, [1, 2, 3, 1].map(|last| Some(endpoint(last))));
    }

    #[test]
    fn each_endpoint_is_tried_once_and_few_ones_again() {
        let tries = |last: &[u8]| {
            let turn = Pool::new(behind(last)).turn([192, 0, 2, 1].into(), Instant::now());
            turn.collect::<Vec<_>>()
        };
        assert_eq!(tries(&[]), []);
        assert_eq!(tries(&[1]), [endpoint(1); TRIES]);
        assert_eq!(tries(&[1, 2, 3, 4, 5]), [1, 2, 3, 4, 5].map(endpoint));
    }

    #[test]
    fn a_client_stays_with_its_endpoint_as_long_as_that_is_there() {
        let sticky = |last| Behind { affinity: Some(Duration::from_secs(10)), ..behind(last) };
        let (pool, now) = (Pool::new(sticky(&[1, 2])), Instant::now());
        pool.note([192, 0, 2, 1].into(), endpoint(2), now);
        assert_eq!([0; 3].map(|_| first(&pool, 1, now)), [Some(endpoint(2)); 3]);
        assert_eq!(first(&pool, 7, now), Some(endpoint(1)));
        pool.replace(sticky(&[1, 3]));
        assert_ne!(first(&pool, 1, now), Some(endpoint(2)));
        pool.replace(behind(&[1, 2]));
        assert_ne!(first(&pool, 1, now), first(&pool, 1, now), "without affinity they take turns");
    }
}
