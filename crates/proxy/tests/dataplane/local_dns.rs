//! Queries to the cluster's DNS stay on the node while a server listens there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use serde_json::json;

use crate::namespace::Namespace;
use crate::scene::{POD1, POD2, Scene, service, slice_of};
use crate::server::{Asker, ask};
use crate::sys::set_transparent;

const DNS: &str = "10.96.0.10:53";
/// TCP and UDP.
const PROTOCOLS: [u8; 2] = [6, 17];

/// A server of the node at the Service's own address, until it is dropped.
struct Local {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Local {
    fn start(node: &Namespace) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address: SocketAddr = DNS.parse().unwrap();
        let (tcp, udp) = node.run(|| (listener(address), datagrams(address)));
        tcp.set_nonblocking(true).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let (ends, also_ends) = (stop.clone(), stop.clone());
        let answer = |client: SocketAddr| format!("local {}\n", client.ip());
        let connections = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                if let Ok((mut stream, client)) = tcp.accept() {
                    let _ = stream.read_exact(&mut [0]);
                    let _ = stream.write_all(answer(client).as_bytes());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let datagrams = std::thread::spawn(move || {
            while !also_ends.load(Ordering::Relaxed) {
                if let Ok((_, client)) = udp.recv_from(&mut [0; 64]) {
                    let _ = udp.send_to(answer(client).as_bytes(), client);
                }
            }
        });
        Self { stop, threads: vec![connections, datagrams] }
    }
}

fn transparent(kind: SocketType, address: SocketAddr) -> OwnedFd {
    let socket = rustix::net::socket(AddressFamily::INET, kind, None).unwrap();
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    set_transparent(&socket);
    rustix::net::bind(&socket, &address).unwrap();
    socket
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = transparent(SocketType::STREAM, address);
    rustix::net::listen(&socket, 16).unwrap();
    socket.into()
}

fn datagrams(address: SocketAddr) -> UdpSocket {
    transparent(SocketType::DGRAM, address).into()
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A node with a DNS Service whose endpoint is elsewhere.
fn scene() -> Option<Scene> {
    let mut scene = Scene::new()?;
    let port = |protocol: &str| json!({"name": protocol.to_lowercase(), "port": 53, "targetPort": 80, "protocol": protocol});
    let mut slices = Vec::new();
    for protocol in ["TCP", "UDP"] {
        let mut slice = slice_of(&format!("dns-{protocol}"), "dns", 80, protocol, &[(POD2, "elsewhere")]);
        slice["ports"][0]["name"] = protocol.to_lowercase().into();
        slices.push(slice);
    }
    scene.apply(&[service("dns", "10.96.0.10", json!({"ports": [port("TCP"), port("UDP")]}))]);
    scene.apply(&slices);
    Some(scene)
}

fn keep(scene: &Scene, addresses: &[&str]) {
    let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    scene.node.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(proxy::keep_dns_local(&addresses)).unwrap();
    });
}

fn tracked(scene: &Scene) -> usize {
    scene.node.run(|| {
        let mut socket = nfnetlink::Socket::open().unwrap();
        PROTOCOLS.iter().map(|protocol| socket.flows(*protocol).unwrap().len()).sum()
    })
}

#[test]
fn a_server_of_the_node_gets_the_queries_of_its_pods_without_connection_tracking() {
    let Some(scene) = scene() else { return };
    keep(&scene, &["10.96.0.10"]);
    let _local = Local::start(&scene.node);
    for _ in 0..5 {
        let answer = ask(&scene.pod1, DNS).unwrap();
        assert_eq!((answer.server.as_str(), answer.client.to_string().as_str()), ("local", POD1), "TCP");
        let answer = Asker::new(&scene.pod1, DNS).ask().unwrap();
        assert_eq!((answer.server.as_str(), answer.client.to_string().as_str()), ("local", POD1), "UDP");
    }
    assert_eq!(tracked(&scene), 0);
}

#[test]
fn without_a_server_on_the_node_the_next_query_goes_to_another() {
    let Some(scene) = scene() else { return };
    keep(&scene, &["10.96.0.10"]);
    // One client keeps its port, as a resolver may; the others have new ones.
    let lasting = Asker::new(&scene.pod1, DNS);
    for _ in 0..3 {
        assert_eq!(ask(&scene.pod1, DNS).unwrap().server, "pod2");
        assert_eq!(lasting.ask_on().unwrap().server, "pod2");
        let local = Local::start(&scene.node);
        assert_eq!(ask(&scene.pod1, DNS).unwrap().server, "local");
        assert_eq!(lasting.ask_on().unwrap().server, "local");
        drop(local);
    }
    assert_eq!(ask(&scene.node, DNS).unwrap().server, "pod2", "processes of the node find it too");
}

#[test]
fn what_is_kept_no_longer_leaves_nothing() {
    let Some(scene) = scene() else { return };
    keep(&scene, &["10.96.0.10", "fd00:96::a"]);
    assert!(scene.nft("list ruleset").contains("portolan-dns"));
    keep(&scene, &["10.96.0.11"]);
    let routes = |scene: &Scene| {
        let show = || std::process::Command::new("ip").args(["route", "show", "table", "local"]).output();
        String::from_utf8(scene.node.run(|| show().unwrap()).stdout).unwrap()
    };
    assert!(routes(&scene).contains("10.96.0.11") && !routes(&scene).contains("10.96.0.10"));
    keep(&scene, &[]);
    assert!(!scene.nft("list ruleset").contains("portolan-dns"));
    assert!(!routes(&scene).contains("10.96.0"), "{}", routes(&scene));
    assert_eq!(ask(&scene.pod1, DNS).unwrap().server, "pod2");
}
