//! Upstream resolvers that send their queries back to this server (`loop`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::harness::Server;
use crate::scripted::{Upstream, good, look_up};

/// A resolver that passes datagrams on to a server that is set later, as systemd-resolved does if it was given this
/// server.
async fn mirror() -> (SocketAddr, tokio::sync::watch::Sender<Option<SocketAddr>>, Arc<AtomicUsize>) {
    let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let (tell, told) = tokio::sync::watch::channel(None::<SocketAddr>);
    let passed = Arc::new(AtomicUsize::new(0));
    let counted = passed.clone();
    tokio::spawn(async move {
        let mut packet = [0; 2048];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let Some(server) = *told.borrow() else { continue };
            counted.fetch_add(1, Ordering::Relaxed);
            let (asked, socket) = (packet[..length].to_vec(), socket.clone());
            tokio::spawn(async move {
                let onward = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let mut reply = [0; 2048];
                onward.send_to(&asked, server).await.unwrap();
                if let Ok(Ok(length)) =
                    tokio::time::timeout(Duration::from_secs(5), onward.recv(&mut reply)).await
                {
                    drop(socket.send_to(&reply[..length], client).await);
                }
            });
        }
    });
    (address, tell, passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_whose_queries_come_back_is_left_out_and_the_others_are_asked() {
    let (back, tell, passed) = mirror().await;
    let alive = Upstream::start(|query| vec![good(query)]).await;
    let text = format!(
        ".:53 {{\n loop\n errors\n forward . {back} {} {{\n policy sequential\n}}\n}}",
        alive.address
    );
    let server = Server::following(&text, None).await;
    tell.send(Some(server.address)).unwrap();
    for _ in 0..50 {
        if passed.load(Ordering::Relaxed) > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let passed_before = passed.load(Ordering::Relaxed);
    assert!((1..10).contains(&passed_before), "it was tried: {passed_before}");
    for number in 0..20 {
        let seen = look_up(server.address, &format!("n{number}.example.com")).await;
        assert_eq!((seen.rcode, seen.answers), (0, 1));
    }
    assert_eq!(passed.load(Ordering::Relaxed), passed_before, "it is no longer asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_detection_a_loop_ends_because_equal_questions_are_asked_once() {
    let (back, tell, passed) = mirror().await;
    let server = Server::following(&format!(".:53 {{\n forward . {back}\n}}"), None).await;
    tell.send(Some(server.address)).unwrap();
    let seen = look_up(server.address, "www.example.com").await;
    assert_eq!(seen.rcode, 2);
    assert!(passed.load(Ordering::Relaxed) < 10, "{}", passed.load(Ordering::Relaxed));
}
