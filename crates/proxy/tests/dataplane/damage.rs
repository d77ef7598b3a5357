//! What others do to the table, and how soon it is right again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::namespace::Namespace;
use crate::scene::{POD1, POD2, Scene, service, slice};
use crate::server::{Connection, ask, ask_within};
use crate::updates::pieces;

const VIP: &str = "10.96.0.20";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];
/// How long a client waits for a connection: below the second after which its first packet is sent again.
const PATIENCE: Duration = Duration::from_millis(100);

#[test]
fn a_table_that_somebody_flushed_is_loaded_again_with_the_next_change() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    scene.nft("flush ruleset");
    assert!(scene.apply(&[slice("web-1", "web", &BOTH[..1])]).full);
    ask(&scene.pod2, &format!("{VIP}:8080")).unwrap();
}

#[test]
fn what_others_change_is_heard_and_repaired() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    assert_eq!(scene.repair(), None, "what the proxy does itself disturbs nobody");
    let right = scene.listing();
    let handle = handle_of(&scene.nft("--handle list chain inet portolan nat-prerouting"), "jump services");
    let damages = [
        "flush ruleset".to_owned(),
        "delete element inet portolan service-ips { 10.96.0.20 . tcp . 8080 }".to_owned(),
        "add element inet portolan cluster-ips { 10.96.0.99 }".to_owned(),
        format!("delete rule inet portolan nat-prerouting handle {handle}"),
        "insert rule inet portolan services drop".to_owned(),
        "flush set inet portolan cluster-cidrs".to_owned(),
        "add chain inet portolan mine".to_owned(),
        "add set inet portolan mine { type ipv4_addr; }".to_owned(),
        // This one cannot be undone in place.
        "add chain inet portolan filter-forward { type filter hook forward priority 0; policy drop; }"
            .to_owned(),
    ];
    for damage in damages {
        scene.nft(&damage);
        let report = scene.repair().unwrap_or_else(|| panic!("unheard: {damage}"));
        assert!(pieces(&right) == pieces(&scene.listing()), "{damage}: {report:?}\n{}", scene.listing());
        ask(&scene.pod1, &format!("{VIP}:8080")).unwrap_or_else(|error| panic!("after {damage}: {error}"));
        assert_eq!(scene.repair(), None, "{damage}: the repair disturbs nobody");
    }
}

fn handle_of(listing: &str, rule: &str) -> String {
    let line = listing.lines().find(|line| line.contains(rule)).unwrap();
    line.rsplit(' ').next().unwrap().to_owned()
}

/// Sets a flag when it is dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connects again and again; returns how many connections there were, and when those began that failed.
fn connect_until(done: &AtomicBool, from: &Namespace, to: &str) -> (usize, Vec<Instant>) {
    let (mut made, mut failed) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        match ask_within(from, to, PATIENCE) {
            Ok(_) => made += 1,
            Err(_) => failed.push(start),
        }
    }
    (made, failed)
}

#[test]
fn connections_fail_only_until_the_damage_is_repaired() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    let right = scene.listing();
    let vip = format!("{VIP}:8080");
    let mut idle = Connection::open(&scene.pod1, &vip).unwrap();
    let first = idle.ask().unwrap();
    let damages = [
        "flush ruleset",
        "delete element inet portolan service-ips { 10.96.0.20 . tcp . 8080 }",
        "delete table inet portolan",
        "flush map inet portolan service-endpoints",
        "flush chain inet portolan services",
        "flush set inet portolan cluster-cidrs",
    ];
    let done = AtomicBool::new(false);
    // The clients end also when this test fails.
    let ends = Ends(&done);
    let [pod1, client] = ["pod1", "client"].map(|name| match name {
        "pod1" => std::mem::replace(&mut scene.pod1, Namespace::new("spare1")),
        _ => std::mem::replace(&mut scene.client, Namespace::new("spare2")),
    });
    std::thread::scope(|scope| {
        let clients: Vec<_> = [&pod1, &client]
            .map(|from| {
                let (done, vip) = (&done, &vip);
                scope.spawn(move || connect_until(done, from, vip))
            })
            .into();
        // From when the damage may be there to when it is not any more, and how long that was as far as it is known.
        let mut broken: Vec<(Instant, Instant)> = Vec::new();
        let mut repairs: Vec<Duration> = Vec::new();
        for damage in damages.iter().cycle().take(4 * damages.len()) {
            let start = Instant::now();
            scene.nft(damage);
            let damaged = Instant::now();
            scene.repair().unwrap_or_else(|| panic!("unheard: {damage}"));
            let repaired = Instant::now();
            broken.push((start, repaired));
            repairs.push(repaired - damaged);
            std::thread::sleep(2 * PATIENCE);
        }
        drop(ends);
        repairs.sort_unstable();
        let (middle, longest) = (repairs[repairs.len() / 2], repairs[repairs.len() - 1]);
        for (made, failed) in clients.into_iter().map(|client| client.join().unwrap()) {
            println!(
                "{made} connections, {} failed; repairs took {middle:?}, at most {longest:?}",
                failed.len()
            );
            assert!(made > 20);
            for began in failed {
                // One that began just before the damage may meet it with a later packet.
                let excused = broken.iter().any(|(from, to)| began + PATIENCE >= *from && began <= *to);
                assert!(excused, "a connection failed while nothing was broken");
            }
        }
    });
    assert_eq!(idle.ask().unwrap(), first, "an open connection is still there");
    assert!(pieces(&right) == pieces(&scene.listing()));
}

#[test]
fn a_connection_that_began_without_rules_is_made_when_they_are_back() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    // Somebody else's rule keeps the connection table at work.
    scene.nft("add table inet other");
    scene.nft("add chain inet other forward { type filter hook forward priority 0; }");
    scene.nft("add rule inet other forward ct state new counter");
    scene.nft("delete table inet portolan");
    let pod1 = std::mem::replace(&mut scene.pod1, Namespace::new("spare"));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| ask_within(&pod1, &format!("{VIP}:8080"), Duration::from_secs(5)));
        std::thread::sleep(Duration::from_millis(300));
        assert!(scene.restart().full);
        client.join().unwrap().expect("the second try of TCP finds an endpoint");
    });
}
