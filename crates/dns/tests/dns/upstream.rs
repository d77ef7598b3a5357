//! Names outside the cluster, and upstream resolvers that reply wrongly or not at all.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, service};
use crate::scripted::{Upstream, good, look_up, reply};

async fn ask(upstreams: &[&Upstream], arguments: &str) -> (String, Duration) {
    let server = Server::with(&[], &[], upstreams.iter().map(|upstream| upstream.address).collect()).await;
    let since = Instant::now();
    (server.dig(arguments).await, since.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_forwarded_and_the_case_of_the_client_is_kept() {
    let upstream = Upstream::start(|query| {
        let mut reply = good(query);
        reply[12..].make_ascii_lowercase();
        vec![reply]
    })
    .await;
    for way in ["+notcp", "+tcp", "+notcp +noedns"] {
        let (text, _) = ask(&[&upstream], &format!("{way} WWW.example.com A")).await;
        assert!(text.contains("status: NOERROR") && text.contains("192.0.2.1"), "{text}");
        assert!(text.contains(";WWW.example.com."), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_cluster_never_leave_it() {
    let upstream = Upstream::start(|query| vec![good(query)]).await;
    let (text, _) = ask(&[&upstream], "web.default.svc.cluster.local A").await;
    assert!(text.contains("status: NXDOMAIN"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_with_another_id_or_to_another_question_are_ignored() {
    let upstream = Upstream::start(|query| {
        let lie = |change: fn(&mut Vec<u8>)| {
            let mut reply = reply(query, 0, &[192, 0, 2, 66]);
            change(&mut reply);
            reply
        };
        vec![
            lie(|reply| reply[0] ^= 1),
            lie(|reply| reply[14] ^= 1),
            lie(|reply| reply[2] &= 0x7F),
            lie(|reply| reply[5] = 0),
            lie(|reply| reply.truncate(20)),
            Vec::new(),
            good(query),
        ]
    })
    .await;
    let (text, _) = ask(&[&upstream], "www.example.com A").await;
    assert!(text.contains("192.0.2.1") && !text.contains("192.0.2.66"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_reply_is_asked_for_again_over_tcp_whatever_the_transport_of_the_client() {
    let upstream = Upstream::start(|query| {
        let mut reply = reply(query, 3, &[]);
        reply[2] |= 2;
        reply[3] = 0x80;
        vec![reply]
    })
    .await;
    for way in ["+ignore", "+tcp"] {
        let (text, _) = ask(&[&upstream], &format!("{way} www.example.com A")).await;
        assert!(!text.contains(" tc ") && text.contains("192.0.2.1"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_resolver_is_silent_another_is_asked_and_then_first() {
    let dead = Upstream::start(|_| Vec::new()).await;
    let alive = Upstream::start(|query| vec![good(query)]).await;
    let server = Server::with(&[], &[], vec![dead.address, alive.address]).await;
    for (name, longest) in [("a.example.com A", 500), ("b.example.com A", 300)] {
        let since = Instant::now();
        assert_eq!(server.short(name).await, ["192.0.2.1"]);
        assert!(since.elapsed() < Duration::from_millis(longest), "{:?}", since.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_datagram_is_sent_again() {
    static ASKED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let upstream = Upstream::start(|query| match ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Vec::new(),
        _ => vec![good(query)],
    })
    .await;
    let (text, took) = ask(&[&upstream], "www.example.com A").await;
    assert!(text.contains("192.0.2.1"), "{text}");
    assert!(took >= Duration::from_millis(400), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_answers_are_passed_on_and_after_failures_the_next_resolver_is_asked() {
    let absent = Upstream::start(|query| vec![reply(query, 3, &[])]).await;
    let failing = Upstream::start(|query| vec![reply(query, 2, &[])]).await;
    let refusing = Upstream::start(|query| vec![reply(query, 5, &[])]).await;
    let bare = Upstream::start(|query| {
        vec![
            reply(query, 1, &[])[..12]
                .iter()
                .copied()
                .enumerate()
                .map(|(at, byte)| if at == 5 { 0 } else { byte })
                .collect(),
        ]
    })
    .await;
    let alive = Upstream::start(|query| vec![good(query)]).await;
    for (upstreams, status) in [
        (vec![&absent, &alive], "NXDOMAIN"),
        (vec![&failing, &alive], "NOERROR"),
        (vec![&bare, &refusing, &alive], "NOERROR"),
        (vec![&failing], "SERVFAIL"),
        (vec![&refusing], "REFUSED"),
        (vec![&bare], "FORMERR"),
    ] {
        let (text, _) = ask(&upstreams, "+noedns www.example.com A").await;
        assert!(text.contains(&format!("status: {status}")), "{status}: {text}");
        assert!(text.contains(";www.example.com."), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_resolvers_queries_are_refused_and_without_replies_they_fail() {
    let (text, _) = ask(&[], "www.example.com A").await;
    assert!(text.contains("status: REFUSED"), "{text}");
    let dead = Upstream::start(|_| Vec::new()).await;
    let (text, took) = ask(&[&dead], "www.example.com A").await;
    assert!(text.contains("status: SERVFAIL") && took < Duration::from_secs(4), "{took:?} {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_of_an_external_name_is_resolved_and_the_alias_sent_even_if_it_cannot_be() {
    let out = service("out", json!({"type": "ExternalName", "externalName": "foo.example.com"}));
    let alive = Upstream::start(|query| vec![good(query)]).await;
    let server = Server::with(std::slice::from_ref(&out), &[], vec![alive.address]).await;
    for way in ["+notcp", "+tcp"] {
        let lines = server.short(&format!("{way} out.default.svc.cluster.local A")).await;
        assert_eq!(lines, ["192.0.2.1", "foo.example.com."]);
    }
    let failing = Upstream::start(|query| vec![reply(query, 2, &[])]).await;
    let server = Server::with(&[out], &[], vec![failing.address]).await;
    let text = server.dig("out.default.svc.cluster.local A").await;
    assert!(text.contains("status: NOERROR") && text.contains("CNAME\tfoo.example.com."), "{text}");
}

/// Coredns issue 4684.
#[tokio::test(flavor = "multi_thread")]
async fn a_reply_larger_than_the_client_accepts_is_truncated_and_complete_over_tcp() {
    let many = Upstream::start(|query| {
        let mut reply = good(query);
        let record = reply[reply.len() - 16..].to_vec();
        (1..40).for_each(|_| reply.extend_from_slice(&record));
        reply[7] = 40;
        vec![reply]
    })
    .await;
    let out = service("out", json!({"type": "ExternalName", "externalName": "many.example.com"}));
    let server = Server::with(&[out], &[], vec![many.address]).await;
    for name in ["many.example.com", "many.example.com", "out.default.svc.cluster.local"] {
        let seen = look_up(server.address, name).await;
        assert!(seen.truncated && (10..40).contains(&seen.answers), "{name}: {seen:?}");
        let text = server.dig(&format!("+tcp {name} A")).await;
        assert!(!text.contains(" tc ") && text.matches("192.0.2.1").count() == 40, "{name}: {text}");
    }
}
