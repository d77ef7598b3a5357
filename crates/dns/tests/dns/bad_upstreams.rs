//! Upstream resolvers that misbehave. The client gets an answer or a failure in time.

use std::time::Duration;

use crate::harness::Server;
use crate::scripted::{OnConnection, Seen, Upstream, good, look_up, reply};

/// SERVFAIL.
const FAILURE: u8 = 2;

async fn ask(upstreams: &[&Upstream]) -> Seen {
    let to: Vec<_> = upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
    let text = format!(
        ".:53 {{\n errors\n cache\n forward . {} {{\n policy sequential\n read_timeout 500ms\n}}\n}}",
        to.join(" ")
    );
    let server = Server::following(&text, None).await;
    look_up(server.address, "www.example.com").await
}

/// The datagrams that a resolver sends in reply to a query.
type Lie = fn(&[u8]) -> Vec<Vec<u8>>;

/// A good reply with a change.
fn bent(query: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<Vec<u8>> {
    let mut reply = good(query);
    change(&mut reply);
    vec![reply]
}

/// Adds a record to the answer section.
fn add(reply: &mut Vec<u8>, owner: &[u8], kind: u8, data: &[u8]) {
    reply[7] += 1;
    reply.extend_from_slice(owner);
    reply.extend_from_slice(&[0, kind, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
    reply.extend_from_slice(data);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_resolver_is_late_another_is_asked() {
    let late =
        Upstream::with(Duration::from_millis(400), OnConnection::Good, |query| vec![good(query)]).await;
    let alive = Upstream::start(|query| vec![good(query)]).await;
    let seen = ask(&[&late, &alive]).await;
    assert!(seen.rcode == 0 && seen.took < Duration::from_millis(200), "{seen:?}");
    let seen = ask(&[&late]).await;
    assert!(seen.rcode == 0 && seen.took >= Duration::from_millis(400), "alone it is waited for: {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_replies_and_replies_about_other_names_are_no_answer() {
    let lies: [Lie; 6] = [
        // An address of five bytes.
        |query| {
            bent(query, |reply| {
                let at = reply.len() - 5;
                reply[at] = 5;
                reply.push(0);
            })
        },
        // A record that ends after the message.
        |query| bent(query, |reply| reply.truncate(reply.len() - 2)),
        // More records than there are.
        |query| bent(query, |reply| reply[7] = 9),
        // A name that points at itself.
        |query| {
            bent(query, |reply| {
                let at = reply.len() - 16;
                reply[at + 1] = at as u8;
            })
        },
        // The address of somebody else.
        |query| {
            bent(query, |reply| {
                reply.truncate(reply.len() - 16);
                reply[7] = 0;
                add(reply, b"\x04bank\0", 1, &[192, 0, 2, 66]);
            })
        },
        // Aliases in a circle.
        |query| {
            bent(query, |reply| {
                reply.truncate(reply.len() - 16);
                reply[7] = 0;
                add(reply, &[0xC0, 0x0C], 5, b"\x01b\0");
                add(reply, b"\x01b\0", 5, &[0xC0, 0x0C]);
            })
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let liar = Upstream::start(lie).await;
        let seen = ask(&[&liar]).await;
        assert_eq!((seen.rcode, seen.answers), (FAILURE, 0), "lie {number}");
        let alive = Upstream::start(|query| vec![good(query)]).await;
        let seen = ask(&[&liar, &alive]).await;
        assert_eq!((seen.rcode, seen.answers), (0, 1), "another one is asked after lie {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_other_names_are_dropped() {
    let chatty =
        Upstream::start(|query| bent(query, |reply| add(reply, b"\x04bank\0", 1, &[192, 0, 2, 66]))).await;
    let seen = ask(&[&chatty]).await;
    assert_eq!((seen.rcode, seen.answers), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_replies_ends_the_attempt() {
    let flood =
        Upstream::start(|query| (0..2000).flat_map(|_| bent(query, |reply| reply[0] ^= 1)).collect()).await;
    let seen = ask(&[&flood]).await;
    assert_eq!(seen.rcode, FAILURE);
    assert!(seen.took < Duration::from_secs(4), "{seen:?}");
    let alive = Upstream::start(|query| vec![good(query)]).await;
    assert_eq!(ask(&[&flood, &alive]).await.rcode, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_reply_of_a_resolver_without_tcp_is_passed_on() {
    for manner in [OnConnection::Deaf, OnConnection::Midway] {
        let cut = Upstream::with(Duration::ZERO, manner, |query| bent(query, |reply| reply[2] |= 2)).await;
        let seen = ask(&[&cut]).await;
        assert!(seen.rcode == 0 && seen.truncated, "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_refusals_of_all_are_passed_on() {
    for code in [FAILURE, 4, 5] {
        let failing = Upstream::start(move |query| vec![reply(query, code, &[])]).await;
        let seen = ask(&[&failing]).await;
        assert!(seen.rcode == code && seen.took < Duration::from_secs(1), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_without_edns_is_asked_again_without() {
    let old = Upstream::start(|query| match query[11] {
        0 => vec![good(query)],
        _ => vec![reply(query, 1, &[])],
    })
    .await;
    assert_eq!(ask(&[&old]).await.rcode, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_queries_that_no_resolver_answers_end_in_time_and_free_their_permits() {
    let dead = Upstream::start(|_| Vec::new()).await;
    let text = format!(
        ".:53 {{\n errors\n forward . {} {{\n max_concurrent 50\n read_timeout 300ms\n}}\n}}",
        dead.address
    );
    let server = Server::following(&text, None).await;
    for _ in 0..2 {
        let names: Vec<_> = (0..100).map(|number| format!("n{number}.example.com")).collect();
        let seen = futures::future::join_all(names.iter().map(|name| look_up(server.address, name))).await;
        let refused = seen.iter().filter(|seen| seen.rcode == 5).count();
        let failed = seen.iter().filter(|seen| seen.rcode == FAILURE).count();
        assert_eq!(refused + failed, 100);
        assert!((1..=50).contains(&failed), "{failed} were asked");
    }
    assert!(dead.asked() <= 4 * 100 + 20, "{}", dead.asked());
}
