//! Which of several upstream resolvers is asked first, and when the next one is.

use std::time::Duration;

use crate::harness::Server;
use crate::scripted::{OnConnection, Upstream, good, look_up, reply};

/// A server that forwards everything, with options.
async fn forwarding(upstreams: &[&Upstream], options: &str) -> Server {
    let to: Vec<_> = upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
    Server::following(&format!(".:53 {{\n forward . {} {{\n{options}\n}}\n}}", to.join(" ")), None).await
}

/// Coredns issue 7353: there a dead upstream adds 2 s to queries.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_resolver_among_two_does_not_make_answers_late() {
    for policy in ["random", "round_robin", "sequential"] {
        let dead = Upstream::start(|_| Vec::new()).await;
        let alive = Upstream::start(|query| vec![good(query)]).await;
        let server = forwarding(&[&dead, &alive], &format!("policy {policy}")).await;
        let mut took = Vec::new();
        for number in 0..200 {
            let seen = look_up(server.address, &format!("n{number}.example.com")).await;
            assert_eq!((seen.rcode, seen.answers), (0, 1));
            took.push(seen.took);
        }
        took.sort();
        assert!(took[197] < Duration::from_millis(100), "{policy}: p99 {:?}, all {:?}", took[197], took[199]);
        assert!(dead.asked() < 20, "{policy}: a dead resolver was asked {} times", dead.asked());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_comes_back_is_asked_again() {
    static DEAD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(true);
    let first = Upstream::start(|query| match DEAD.load(std::sync::atomic::Ordering::Relaxed) {
        true => Vec::new(),
        false => vec![reply(query, 0, &[192, 0, 2, 7])],
    })
    .await;
    let second = Upstream::start(|query| vec![good(query)]).await;
    let server = forwarding(&[&first, &second], "policy sequential\nhealth_check 100ms").await;
    look_up(server.address, "a.example.com").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let before = second.asked();
    DEAD.store(false, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    look_up(server.address, "b.example.com").await;
    assert_eq!(second.asked(), before, "the first one is preferred again");
    let asked = first.asked();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(first.asked(), asked, "probes end when it answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_decides_which_resolver_is_asked_first() {
    let start = || Upstream::start(|query| vec![good(query)]);
    for (policy, least) in [("sequential", 0), ("round_robin", 20), ("random", 5)] {
        let (one, two) = (start().await, start().await);
        let server = forwarding(&[&one, &two], &format!("policy {policy}")).await;
        for number in 0..40 {
            look_up(server.address, &format!("n{number}.example.com")).await;
        }
        let few = one.asked().min(two.asked());
        assert!(few >= least && (policy != "sequential" || two.asked() <= 2), "{policy}: {few} of 40");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_codes_lead_to_the_next_resolver_and_to_the_next_directive() {
    let absent = Upstream::start(|query| vec![reply(query, 3, &[])]).await;
    let refusing = Upstream::start(|query| vec![reply(query, 5, &[])]).await;
    let alive = Upstream::start(|query| vec![good(query)]).await;
    let server = forwarding(&[&absent, &alive], "policy sequential\nfailover NXDOMAIN").await;
    assert_eq!(look_up(server.address, "a.example.com").await.rcode, 0);
    let server = forwarding(&[&refusing, &alive], "policy sequential").await;
    assert_eq!(look_up(server.address, "a.example.com").await.rcode, 0);
    let text = format!(
        ".:53 {{\n forward . {} {{\n next NXDOMAIN\n}}\n forward . {}\n}}",
        absent.address, alive.address
    );
    let server = Server::following(&text, None).await;
    assert_eq!(look_up(server.address, "a.example.com").await.rcode, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn excepted_names_are_not_forwarded() {
    let one = Upstream::start(|query| vec![good(query)]).await;
    let server = forwarding(&[&one], "except internal.example").await;
    assert_eq!(look_up(server.address, "a.example").await.rcode, 0);
    assert_eq!(look_up(server.address, "a.internal.example").await.rcode, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_above_the_limit_are_refused() {
    let slow =
        Upstream::with(Duration::from_millis(500), OnConnection::Good, |query| vec![good(query)]).await;
    let server = forwarding(&[&slow], "max_concurrent 5").await;
    let names: Vec<_> = (0..20).map(|number| format!("n{number}.example.com")).collect();
    let seen = futures::future::join_all(names.iter().map(|name| look_up(server.address, name))).await;
    assert_eq!(seen.iter().filter(|seen| seen.rcode == 5).count(), 15, "{seen:?}");
    assert_eq!(look_up(server.address, "later.example.com").await.rcode, 0, "permits are given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_kept_for_all_queries_over_tcp() {
    let one = Upstream::start(|_| panic!("no datagrams")).await;
    let server = forwarding(&[&one], "force_tcp\nexpire 300ms").await;
    let names: Vec<_> = (0..50).map(|number| format!("n{number}.example.com")).collect();
    let seen = futures::future::join_all(names.iter().map(|name| look_up(server.address, name))).await;
    assert!(seen.iter().all(|seen| seen.answers == 1));
    assert_eq!((one.connections(), one.asked()), (1, 50));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(look_up(server.address, "later.example.com").await.answers, 1);
    assert_eq!(one.connections(), 2, "an idle connection is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_under_way_are_asked_once() {
    let slow =
        Upstream::with(Duration::from_millis(200), OnConnection::Good, |query| vec![good(query)]).await;
    let server = forwarding(&[&slow], "").await;
    let names = ["www.example.com", "WWW.example.com"];
    let seen = futures::future::join_all((0..50).map(|at| look_up(server.address, names[at % 2]))).await;
    assert!(seen.iter().all(|seen| seen.answers == 1));
    assert_eq!(slow.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_resolvers_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.53\nnameserver 127.66.0.1\n").unwrap();
    let text = format!(".:53 {{\n forward . {} {{\n read_timeout 50ms\n}}\n}}", path.display());
    let server = Server::following(&text, None).await;
    // Nothing listens on port 53 of these addresses, so they refuse at once.
    assert_eq!(look_up(server.address, "a.example.com").await.rcode, 2);
    let Ok(socket) = tokio::net::UdpSocket::bind("127.66.0.2:53").await else {
        return println!("skipped: port 53 of loopback needs root");
    };
    std::fs::write(&path, "nameserver 127.66.0.2\n").unwrap();
    let answering = tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            drop(socket.send_to(&good(&packet[..length]), client).await);
        }
    });
    let mut seen = look_up(server.address, "b.example.com").await;
    for _ in 0..80 {
        if seen.rcode == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        seen = look_up(server.address, "b.example.com").await;
    }
    assert_eq!((seen.rcode, seen.answers), (0, 1));
    answering.abort();
}
