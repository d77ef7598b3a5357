//! What clients may hold at a time, each and all together: connections, requests, bytes of bodies and of answers.
//!
//! A peer is one identity at one address, so that the nodes of a cluster that share a certificate are many. What is over
//! a limit is answered with 429 and told to come again. Parts of this program are no peers and have no limits.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use api::status::Status;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::memory;

/// The most of each thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections.
    pub(crate) connections: usize,
    /// Requests under way, watches among them.
    pub(crate) requests: usize,
    /// Requests that do long work or wait for it.
    pub(crate) long: usize,
    /// Bytes of the bodies of requests, as they arrive.
    pub(crate) bodies: usize,
    /// Bytes of objects that answers refer to which have not been sent yet. Objects that change meanwhile stay in memory
    /// as long as an answer refers to them.
    pub(crate) answers: usize,
}

const MIB: usize = 1024 * 1024;

/// Of all peers together: 500 nodes with ten watches each are a sixth of it.
const ALL: Limits =
    Limits { connections: 4096, requests: 32_768, long: 512, bodies: 128 * MIB, answers: 512 * MIB };
/// Of one peer.
const PEER: Limits =
    Limits { connections: 1024, requests: 8192, long: 64, bodies: 32 * MIB, answers: 128 * MIB };
/// An answer waits so long for others to be read before it is refused.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// Room for what is counted.
#[derive(Debug)]
struct Room {
    limits: Limits,
    connections: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    long: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Room {
    fn new(limits: Limits) -> Self {
        let room = |count| Arc::new(Semaphore::new(count));
        Self {
            limits,
            connections: room(limits.connections),
            requests: room(limits.requests),
            long: room(limits.long),
            bodies: room(limits.bodies),
            answers: room(limits.answers),
        }
    }
}

/// Everybody who has a connection.
#[derive(Debug)]
pub(crate) struct Crowd {
    all: Arc<Room>,
    of_peer: Limits,
    peers: Mutex<HashMap<Name, Weak<Room>>>,
}

/// The user's name, and the address: of IPv6 the network of 64 bits.
type Name = (String, IpAddr);

impl Default for Crowd {
    fn default() -> Self {
        // Half of the file descriptors are for others: the store, connections to nodes.
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        let connections = ALL.connections.min(usize::try_from(files).unwrap_or(usize::MAX)).max(16);
        Self::new(Limits { connections, ..ALL }, PEER)
    }
}

impl Crowd {
    pub(crate) fn new(all: Limits, of_peer: Limits) -> Self {
        Self { all: Arc::new(Room::new(all)), of_peer, peers: Mutex::default() }
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.all.connections.clone().try_acquire_owned().ok()
    }

    /// The peer of that user name (empty if nobody is known) at that address.
    pub(crate) fn peer(&self, user: &str, address: IpAddr) -> Peer {
        let address = match address {
            IpAddr::V6(address) if address.to_ipv4_mapped().is_none() => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
            }
            address => address.to_canonical(),
        };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= 2 * self.all.limits.connections {
            peers.retain(|_, peer| peer.strong_count() > 0);
        }
        let name = (user.to_owned(), address);
        let own = peers.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let own = Arc::new(Room::new(self.of_peer));
            peers.insert(name, Arc::downgrade(&own));
            own
        });
        Peer { own, all: self.all.clone() }
    }
}

/// One peer: what it may hold, within what all may.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    own: Arc<Room>,
    all: Arc<Room>,
}

/// What is held of the peer's room and of everybody's, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    permits: Vec<OwnedSemaphorePermit>,
    /// Bytes that are memory of their own, which goes back when they do.
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        memory::released(self.bytes);
    }
}

impl Hold {
    fn take(rooms: [&Arc<Semaphore>; 2], count: usize) -> Option<Self> {
        let count = u32::try_from(count).ok()?;
        let take = |room: &Arc<Semaphore>| room.clone().try_acquire_many_owned(count).ok();
        Some(Self { permits: vec![take(rooms[0])?, take(rooms[1])?], bytes: 0 })
    }

    fn merge(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
        if self.permits.is_empty() {
            self.permits = std::mem::take(&mut other.permits);
            return;
        }
        for (own, more) in self.permits.iter_mut().zip(std::mem::take(&mut other.permits)) {
            own.merge(more);
        }
    }
}

impl Peer {
    /// Whether the two are the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.own, &other.own)
    }

    /// A place for one of the peer's own connections, if there is one.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        self.own.connections.clone().try_acquire_owned().ok()
    }

    /// Room for one more request.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(crate) fn request(&self) -> Result<Hold, Status> {
        Hold::take([&self.own.requests, &self.all.requests], 1).ok_or_else(Status::too_many_requests)
    }

    /// Room for one more request that does long work.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(crate) fn long(&self) -> Result<Hold, Status> {
        Hold::take([&self.own.long, &self.all.long], 1).ok_or_else(Status::too_many_requests)
    }

    /// Makes room for more bytes of a request's body.
    ///
    /// # Errors
    /// 429 when there is none.
    pub(crate) fn body(&self, held: &mut Hold, bytes: usize) -> Result<(), Status> {
        let more = Hold::take([&self.own.bodies, &self.all.bodies], bytes);
        let mut more = more.ok_or_else(Status::too_many_requests)?;
        more.bytes = bytes;
        held.merge(more);
        Ok(())
    }

    /// Room for an answer that refers to so many bytes; waits a while for other answers to be read. One that is larger
    /// than all room needs all of it.
    ///
    /// # Errors
    /// 429 when there still is none.
    pub(crate) async fn answer(&self, bytes: usize) -> Result<Hold, Status> {
        let count = |room: &Room| u32::try_from(bytes.min(room.limits.answers)).unwrap_or(u32::MAX);
        let both = async {
            let own = self.own.answers.clone().acquire_many_owned(count(&self.own)).await;
            let all = self.all.answers.clone().acquire_many_owned(count(&self.all)).await;
            Ok(Hold {
                permits: vec![own.map_err(Status::internal)?, all.map_err(Status::internal)?],
                bytes: 0,
            })
        };
        timeout(ANSWER_PATIENCE, both).await.unwrap_or_else(|_| Err(Status::too_many_requests()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Limits = Limits { connections: 2, requests: 2, long: 1, bodies: 100, answers: 100 };

    fn crowd() -> Crowd {
        Crowd::new(Limits { connections: 3, requests: 3, bodies: 150, ..FEW }, FEW)
    }

    fn at(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn one_peer_has_its_own_limits_and_all_have_theirs() {
        let crowd = crowd();
        let (jane, bob) = (crowd.peer("jane", at(1)), crowd.peer("bob", at(1)));
        let held = [jane.request().unwrap(), jane.request().unwrap()];
        let refused = jane.request().unwrap_err();
        assert_eq!((refused.code, refused.details.unwrap().retry_after_seconds), (429, 1));
        let others = bob.request().unwrap();
        assert_eq!(bob.request().unwrap_err().code, 429, "all together hold three");
        drop(held);
        drop(others);
        bob.request().unwrap();
    }

    #[tokio::test]
    async fn bodies_are_counted_as_they_arrive() {
        let crowd = crowd();
        let (jane, bob) = (crowd.peer("jane", at(1)), crowd.peer("bob", at(2)));
        let (mut first, mut second) = (Hold::default(), Hold::default());
        jane.body(&mut first, 60).unwrap();
        jane.body(&mut first, 40).unwrap();
        assert_eq!(jane.body(&mut first, 1).unwrap_err().code, 429);
        bob.body(&mut second, 50).unwrap();
        assert_eq!(bob.body(&mut second, 1).unwrap_err().code, 429);
        drop(first);
        bob.body(&mut second, 50).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_others_to_be_read_and_is_refused_in_the_end() {
        let jane = crowd().peer("jane", at(1));
        let first = jane.answer(1_000_000).await.unwrap();
        assert_eq!(jane.answer(1).await.unwrap_err().code, 429);
        let mut next = Box::pin(jane.answer(1));
        assert!(futures::poll!(&mut next).is_pending());
        drop(first);
        next.await.unwrap();
    }

    #[test]
    fn the_same_user_elsewhere_is_another_peer_and_one_network_of_ipv6_is_one() {
        let crowd = crowd();
        let same = |a: &str, b: &str| {
            let of = |address: &str| crowd.peer("jane", address.parse().unwrap());
            let (a, b) = (of(a), of(b));
            Arc::ptr_eq(&a.own, &b.own)
        };
        assert!(same("10.0.0.1", "10.0.0.1") && same("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
        assert!(same("2001:db8::1", "2001:db8::2") && !same("2001:db8::1", "2001:db8:0:1::1"));
    }
}
