//! Answers while the cluster changes under load.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, service, slice};

/// The number of changes of the endpoint of a Service.
const CHANGES: u32 = 1_000;
/// The pause between two changes, and that between two queries of a client. Two clients make 5,000 queries a second.
const CHANGE: Duration = Duration::from_millis(2);
const QUERY: Duration = Duration::from_micros(400);
/// The time until a change must show. It is much longer than needed, so that the test passes on a busy machine. The
/// time that it took is printed.
const PATIENCE: Duration = Duration::from_secs(1);

/// The endpoint after a number of changes.
fn endpoint(change: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 0, 0)) + change)
}

/// A query and its reply.
struct Seen {
    sent: Instant,
    rcode: u8,
    change: Option<u32>,
}

/// Asks for `db.default.svc.cluster.local` until told to stop.
fn ask(server: SocketAddr, stop: &AtomicBool) -> Vec<Seen> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["db", "default", "svc", "cluster", "local", ""] {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 1, 0, 1]);
    let (mut seen, mut reply) = (Vec::new(), [0; 512]);
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        socket.send(&query).unwrap();
        let length = socket.recv(&mut reply).expect("every query is answered");
        let address = (reply[7] == 1).then(|| <[u8; 4]>::try_from(&reply[length - 4..length]).unwrap());
        let change = address.map(|address| u32::from(Ipv4Addr::from(address)) - u32::from(endpoint(0)));
        seen.push(Seen { sent, rcode: reply[3] & 0xF, change });
        std::thread::sleep(QUERY.saturating_sub(sent.elapsed()));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_under_load_are_seen_in_order_and_without_a_failure() {
    let db = service("db", json!({"clusterIP": "None"}));
    let with = |change| slice("db-1", "db", &[&endpoint(change).to_string()]);
    let server = Server::with(&[db], &[with(0)], Vec::new()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (address, stop) = (server.address, stop.clone());
            std::thread::spawn(move || ask(address, &stop))
        })
        .collect();
    let mut changed = vec![Instant::now()];
    for change in 1..=CHANGES {
        tokio::time::sleep(CHANGE).await;
        server.slice(&with(change));
        changed.push(Instant::now());
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut queries, mut latest) = (0, Duration::ZERO);
    for client in clients {
        let seen = client.join().unwrap();
        let mut newest = 0;
        for Seen { sent, rcode, change } in &seen {
            assert_eq!(*rcode, 0, "the name is there all the time");
            let change = change.expect("it has one address at any time");
            assert!(change >= newest, "an older endpoint came back");
            newest = change;
            // If the next change was already made when the query was sent, the answer was outdated for this long.
            if let Some(told) = changed.get(change as usize + 1) {
                latest = latest.max(sent.saturating_duration_since(*told));
            }
        }
        assert_eq!(newest, CHANGES, "the last change shows");
        queries += seen.len();
    }
    println!("{queries} queries; the oldest answer was out of date for {latest:?}");
    assert!(latest < PATIENCE, "{latest:?}");
}
