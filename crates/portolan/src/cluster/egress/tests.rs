//! The proxy on this machine's loopback.

use std::net::Ipv4Addr;

use super::*;

/// For servers of the tests' own.
const LOOPBACK: Policy = Policy { port: |_| true, address: Reach::Loopback, ..WEB };

/// A proxy with this policy.
async fn proxy(policy: Policy) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, policy));
    address
}

/// A server that answers what it is sent, in capitals, until the client has ended.
async fn shouter() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).await.unwrap();
        }
    });
    address
}

/// Sends text to the proxy, ends, and reads all that comes back.
async fn ask(proxy: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_tunnel_carries_both_ways_and_what_came_early() {
    let (proxy, server) = (proxy(LOOPBACK).await, shouter().await);
    let answer = ask(proxy, &format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\nhello")).await;
    assert_eq!(answer, "HTTP/1.1 200 Connection established\r\n\r\nHELLO");
}

#[tokio::test]
async fn the_web_policy_leads_neither_to_this_machine_nor_to_other_ports() {
    let proxy = proxy(WEB).await;
    for target in [
        "127.0.0.1:443",
        "localhost:80",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "169.254.169.254:80",
        "0.0.0.0:80",
    ] {
        let answer = ask(proxy, &format!("CONNECT {target} HTTP/1.1\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
        assert!(answer.contains("only to where this machine's default route leads"), "{answer}");
    }
    let answer = ask(proxy, "CONNECT 192.0.2.1:22 HTTP/1.1\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 403 192.0.2.1:22: this proxy leads to the ports 80 and 443"),
        "{answer}"
    );
}

#[tokio::test]
async fn an_offline_sandbox_says_so_without_asking_anyone() {
    let answer = ask(proxy(NOWHERE).await, "CONNECT registry.example:443 HTTP/1.1\r\n\r\n").await;
    let reason = "403 registry.example:443 is not asked: this sandbox was started with --offline\r\n";
    assert!(answer.starts_with(&format!("HTTP/1.1 {reason}")), "{answer}");
}

#[tokio::test]
async fn a_server_that_refuses_is_named_in_the_reason() {
    let proxy = proxy(LOOPBACK).await;
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let answer = ask(proxy, &format!("CONNECT {gone} HTTP/1.1\r\n\r\n")).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 502 this machine cannot reach {gone}: ")), "{answer}");
}

#[tokio::test]
async fn nonsense_is_answered_and_the_proxy_goes_on() {
    let (proxy, server) = (proxy(LOOPBACK).await, shouter().await);
    assert!(ask(proxy, "GET http://example.org/ HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405 "));
    assert!(ask(proxy, "CONNECT a:443").await.starts_with("HTTP/1.1 400 the request ended"));
    assert!(ask(proxy, &"a".repeat(MAX_HEAD)).await.starts_with("HTTP/1.1 431 "));
    assert!(ask(proxy, &format!("CONNECT {server} HTTP/1.1\r\n\r\n")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_slow_request_ends() {
    let proxy = proxy(Policy { request_time: Duration::from_millis(250), ..LOOPBACK }).await;
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(b"CONNECT a:443 HTTP/1.1\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 no request came within 0.25 s\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let proxy = proxy(LOOPBACK).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(TcpStream::connect(proxy).await.unwrap());
    }
    assert!(ask(proxy, "").await.starts_with("HTTP/1.1 503 "));
    drop(held);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let pair = async || {
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    };
    let ((client, _client_end), (server, _server_end)) = (pair().await, pair().await);
    let ended = timeout(Duration::from_secs(5), relay(client, server, Duration::from_millis(20))).await;
    assert!(ended.is_ok_and(|ended| ended.is_ok()));
}

#[test]
fn the_cluster_is_reached_without_the_proxy() {
    let proxy = SocketAddr::from(([172, 30, 0, 1], PORT));
    let variables = environment(proxy, &["10.96.0.0/16".into()], "cluster.local");
    assert_eq!(variables["HTTPS_PROXY"], "http://172.30.0.1:3128");
    assert_eq!(variables["NO_PROXY"], "localhost,127.0.0.0/8,::1,10.96.0.0/16,.svc,.cluster.local");
}
