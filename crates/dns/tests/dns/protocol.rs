//! Sockets: connections with many queries, clients that do not read, and idle connections.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::harness::{Server, service, slice};

const NAME: &[u8] = b"\x03web\x07default\x03svc\x07cluster\x05local\0";

/// A query for the addresses of a name.
fn query(id: u16, name: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 1, 0, 1]].concat()
}

async fn web() -> Server {
    let web = service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}));
    Server::with(&[web], &[], Vec::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7766_queries_may_follow_each_other_on_a_connection() {
    let server = web().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut bytes = Vec::new();
    for id in 0..500 {
        let query = query(id, NAME);
        bytes.extend_from_slice(&(query.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&query);
    }
    // The bytes are sent in pieces that do not match the messages, and then the sending side is closed.
    let (mut read, mut write) = stream.split();
    let send = async {
        for piece in bytes.chunks(777) {
            write.write_all(piece).await.unwrap();
        }
        write.shutdown().await.unwrap();
    };
    let receive = async {
        for id in 0..500 {
            let mut reply = vec![0; usize::from(read.read_u16().await.unwrap())];
            read.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply[..2], u16::to_be_bytes(id));
            assert_eq!(reply[reply.len() - 4..], [10, 96, 0, 7]);
        }
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0, "then the server ends the connection too");
    };
    tokio::join!(send, receive);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_queries_are_read_from_a_client_that_reads_no_replies() {
    let server = web().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let query = query(1, NAME);
    let message = [&(query.len() as u16).to_be_bytes()[..], &query].concat().repeat(1000);
    let mut sent = 0;
    for _ in 0..2000 {
        match tokio::time::timeout(Duration::from_millis(300), stream.write_all(&message)).await {
            Ok(written) => written.unwrap(),
            Err(_) => break,
        }
        sent += message.len();
    }
    assert!(sent < 2000 * message.len(), "the server reads without bound");
    assert_eq!(server.short("web.default.svc.cluster.local A").await, ["10.96.0.7"], "others are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7766_a_large_answer_is_truncated_over_udp_and_complete_over_tcp() {
    let addresses: Vec<_> = (0..300).map(|n| format!("10.244.{}.{}", n / 250, n % 250 + 1)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let services = [service("db", json!({"clusterIP": "None"}))];
    let server = Server::with(&services, &[slice("db-1", "db", &addresses)], Vec::new()).await;
    assert!(server.dig("+ignore db.default.svc.cluster.local A").await.contains(" tc "));
    assert_eq!(server.short("db.default.svc.cluster.local A").await.len(), 300);
    assert_eq!(server.short("+tcp _http._tcp.db.default.svc.cluster.local SRV").await.len(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_list_is_complete_queries_fail() {
    let server = Server::start(Vec::new());
    let text = server.dig("web.default.svc.cluster.local A").await;
    assert!(text.contains("status: SERVFAIL"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_and_packets_without_a_whole_header_get_no_reply() {
    let server = web().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.address).await.unwrap();
    let mut response = query(1, NAME);
    response[2] |= 0x80;
    for packet in [&response[..], b"", b"\0\x01\x01\0"] {
        socket.send(packet).await.unwrap();
    }
    socket.send(&query(2, NAME)).await.unwrap();
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply).await.unwrap();
    assert_eq!((reply[1], length), (2, query(2, NAME).len() + 16), "the first reply is to the last packet");
}

#[test]
fn a_domain_that_cannot_be_one_is_refused_at_start() {
    let error = dns::Config::of_cluster("cluster..local", &[]).unwrap_err();
    assert!(matches!(error, dns::Error::Domain(_)), "{error}");
}

/// RFC 7766, 6.2.3 and 10: of a hundred thousand idle connections one is closed for each new connection.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_keep_others_out() {
    const SILENT: usize = 100_000;
    /// The connections that are open on this side, more than a listener serves.
    const OPEN: usize = 4_000;
    const WAYS: usize = 64;
    let server = web().await;
    let storm = |way: usize| async move {
        let mut open = std::collections::VecDeque::new();
        for _ in 0..SILENT / WAYS {
            let socket = TcpSocket::new_v4().unwrap();
            // Each source address has its own ports.
            socket.bind(([127, 0, 1, way as u8], 0).into()).unwrap();
            // When the queue of the kernel is full, a connection would be tried again only after a second.
            let connect = tokio::time::timeout(Duration::from_millis(50), socket.connect(server.address));
            open.push_back(connect.await);
            if open.len() > OPEN / WAYS {
                open.pop_front();
            }
        }
        open.iter().filter(|connected| matches!(connected, Ok(Ok(_)))).count()
    };
    let asking = async {
        for _ in 0..10 {
            assert_eq!(server.short("web.default.svc.cluster.local").await, ["10.96.0.7"], "UDP goes on");
            assert_eq!(
                server.short("+tcp web.default.svc.cluster.local").await,
                ["10.96.0.7"],
                "TCP goes on"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (open, ()) = tokio::join!(futures::future::join_all((1..=WAYS).map(storm)), asking);
    assert!(open.iter().sum::<usize>() > OPEN / 8, "new connections were accepted: {open:?}");
    assert_eq!(server.short("+tcp web.default.svc.cluster.local").await, ["10.96.0.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_leaves_from_the_address_that_was_asked() {
    let udp = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = udp.local_addr().unwrap().port();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = dns::Config::of_cluster("cluster.local", &[]).unwrap();
    let _server = Server::start_on((udp, tcp), config);
    for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
        // A connected socket accepts datagrams from that address only. Without IP_PKTINFO the kernel would choose
        // another source.
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect((asked, port)).await.unwrap();
        socket.send(&query(7, NAME)).await.unwrap();
        let mut reply = [0; 512];
        let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut reply)).await;
        assert!(received.unwrap_or_else(|_| panic!("no reply from {asked}")).unwrap() > 12);
        assert_eq!(reply[1], 7);
    }
}
