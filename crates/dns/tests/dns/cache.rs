//! The cache as clients see it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::Server;
use crate::scripted::{Upstream, good, look_up, reply};

fn corefile(upstream: &Upstream, cache: &str, more: &str) -> String {
    format!(
        ".:53 {{\n{more}\n cache {{\n{cache}\n}}\n forward . {} {{\n read_timeout 300ms\n}}\n}}",
        upstream.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_asked_for_once_whatever_the_transport_and_the_case() {
    let upstream = Upstream::start(|query| vec![good(query)]).await;
    let server = Server::following(&corefile(&upstream, "", ""), None).await;
    for arguments in ["www.example.com A", "+tcp WWW.example.com A", "+noedns www.EXAMPLE.com A"] {
        let text = server.dig(arguments).await;
        let name = arguments.split(' ').rev().nth(1).unwrap();
        assert!(text.contains("192.0.2.1") && text.contains(&format!(";{name}.")), "{text}");
    }
    // Of EDNS only the flag DO matters.
    assert_eq!(upstream.asked(), 1);
    server.dig("+dnssec www.example.com A").await;
    assert_eq!(upstream.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_outlives_a_reload_that_does_not_change_it() {
    let upstream = Upstream::start(|query| vec![good(query)]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let text = |more: &str| corefile(&upstream, "", &format!("reload 2s\n{more}"));
    std::fs::write(&path, text("")).unwrap();
    let server = Server::following(&text(""), Some(&path)).await;
    look_up(server.address, "www.example.com").await;
    let template = "template ANY TXT example.com {\n rcode NXDOMAIN\n}";
    std::fs::write(&path, text(template)).unwrap();
    for _ in 0..60 {
        if server.dig("changed.example.com TXT").await.contains("NXDOMAIN") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asked = upstream.asked();
    assert!(server.dig("changed.example.com TXT").await.contains("NXDOMAIN"), "the new Corefile is used");
    assert_eq!(look_up(server.address, "www.example.com").await.answers, 1);
    assert_eq!(upstream.asked(), asked);
}

/// RFC 8767.
#[tokio::test(flavor = "multi_thread")]
async fn expired_answers_are_used_while_resolvers_are_dead() {
    for manner in ["immediate", "verify", "verify 100ms"] {
        static DEAD: AtomicBool = AtomicBool::new(false);
        DEAD.store(false, Ordering::Relaxed);
        let upstream = Upstream::start(|query| match DEAD.load(Ordering::Relaxed) {
            true => Vec::new(),
            false => vec![good(query)],
        })
        .await;
        let cache = format!("success 1000 1 0\nservfail 1s\nserve_stale 1h {manner}");
        let server = Server::following(&corefile(&upstream, &cache, ""), None).await;
        assert_eq!(look_up(server.address, "www.example.com").await.answers, 1);
        DEAD.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let seen = look_up(server.address, "www.example.com").await;
        assert_eq!((seen.rcode, seen.answers), (0, 1), "{manner}");
        let most = if manner == "verify" { 4500 } else { 300 };
        assert!(seen.took < Duration::from_millis(most), "{manner}: {seen:?}");
        DEAD.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let asked = upstream.asked();
        assert_eq!(look_up(server.address, "www.example.com").await.answers, 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(upstream.asked() > asked, "{manner}: it is asked again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_cached_for_a_moment() {
    let upstream = Upstream::start(|query| vec![reply(query, 2, &[])]).await;
    let server = Server::following(&corefile(&upstream, "", ""), None).await;
    for _ in 0..10 {
        assert_eq!(look_up(server.address, "www.example.com").await.rcode, 2);
    }
    assert_eq!(upstream.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_and_resolvers_have_the_metrics_of_coredns() {
    let upstream = Upstream::start(|query| vec![good(query)]).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::following(&corefile(&upstream, "", &format!("prometheus {port}")), None).await;
    for _ in 0..3 {
        look_up(server.address, "www.example.com").await;
    }
    let to = upstream.address;
    let page = tokio::task::spawn_blocking(move || {
        std::process::Command::new("curl").args(["-s", &format!("http://{port}/metrics")]).output()
    });
    let page = String::from_utf8(page.await.unwrap().unwrap().stdout).unwrap();
    for line in [
        r#"coredns_cache_entries{server="dns://:53",type="success",view="",zones="."} 1"#.to_owned(),
        r#"coredns_cache_requests_total{server="dns://:53",view="",zones="."} 3"#.to_owned(),
        r#"coredns_cache_hits_total{server="dns://:53",type="success",view="",zones="."} 2"#.to_owned(),
        r#"coredns_cache_misses_total{server="dns://:53",view="",zones="."} 1"#.to_owned(),
        format!(
            r#"coredns_proxy_request_duration_seconds_count{{proxy_name="forward",rcode="NOERROR",to="{to}"}} 1"#
        ),
        "coredns_forward_max_concurrent_rejects_total 0".to_owned(),
        "coredns_forward_healthcheck_broken_total 0".to_owned(),
    ] {
        assert!(page.contains(&line), "{line}\n{page}");
    }
}
