//! A Corefile that changes while queries are answered.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dns::{Config, Sockets};

use crate::harness::{Server, dig};

fn corefile(hosts: &str) -> String {
    format!(".:53 {{\n reload 2s\n {hosts}\n}}\n")
}

/// Asks until the answer is as wanted, for a while.
async fn answers(server: &Server, wanted: &str) -> bool {
    for _ in 0..100 {
        if server.short("a.example").await == [wanted] {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corefile_that_needs_a_missing_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let first = corefile("hosts {\n 192.0.2.1 a.example\n }");
    std::fs::write(&path, &first).unwrap();
    let server = Server::following(&first, Some(&path)).await;
    assert!(answers(&server, "192.0.2.1").await);
    // It can be read, but its hosts file is missing.
    std::fs::write(&path, corefile("hosts /nonexistent/hosts")).unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(answers(&server, "192.0.2.1").await, "queries are answered as before");
    std::fs::write(&path, corefile("hosts {\n 192.0.2.2 a.example\n }")).unwrap();
    assert!(answers(&server, "192.0.2.2").await, "the next Corefile is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_an_imported_file_counts_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, imported) = (folder.path().join("Corefile"), folder.path().join("names.override"));
    let import = corefile(&format!("import {}", imported.display()));
    std::fs::write(&imported, "hosts {\n 192.0.2.1 a.example\n}").unwrap();
    std::fs::write(&path, &import).unwrap();
    let server = Server::following(&import, Some(&path)).await;
    assert!(answers(&server, "192.0.2.1").await);
    std::fs::write(&imported, "hosts {\n 192.0.2.2 a.example\n}").unwrap();
    assert!(answers(&server, "192.0.2.2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_may_become_one_that_includes_it_and_back() {
    // A port below those that the kernel gives to clients: another test uses many of those on all loopback addresses.
    let is_free = |port: &u16| {
        let any = (Ipv4Addr::UNSPECIFIED, *port);
        UdpSocket::bind(any).is_ok() && TcpListener::bind(any).is_ok()
    };
    let port = (20_053..30_000).find(is_free).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Corefile");
    let corefile =
        |bind: &str| format!(".:{port} {{\n reload 2s\n {bind}\n hosts {{\n 192.0.2.1 a.example\n }}\n}}\n");
    std::fs::write(&path, corefile("bind 127.0.0.1")).unwrap();
    let server = Server::listening(&path, port).await;
    let (stop, asking) = ask_without_pause(server.address);
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    let other = Config::from_corefile(&corefile("bind 127.0.0.1"), Path::new("/")).unwrap();
    for (bind, also_elsewhere) in [("", true), ("bind 127.0.0.1", false), ("", true)] {
        std::fs::write(&path, corefile(bind)).unwrap();
        for transport in ["+notcp", "+tcp"] {
            let mut answered = !also_elsewhere;
            for _ in 0..300 {
                assert_eq!(server.short(&format!("{transport} a.example")).await, ["192.0.2.1"]);
                let said = dig(elsewhere, &format!("+short +time=1 {transport} a.example")).await;
                answered = said == "192.0.2.1\n";
                if answered == also_elsewhere {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(answered, also_elsewhere, "{transport} with {bind:?}");
        }
        assert!(Sockets::open(&other).is_err(), "another opening of the same addresses fails");
    }
    stop.store(true, Ordering::Relaxed);
    let (asked, unanswered) = asking.join().unwrap();
    println!("{asked} datagrams asked meanwhile");
    assert!(asked > 100 && unanswered == 0, "{unanswered} of {asked} were not answered");
}

/// Sends one query after the other until it is stopped. Returns how many there were, and how many of them were not
/// answered.
fn ask_without_pause(server: SocketAddr) -> (Arc<AtomicBool>, JoinHandle<(usize, usize)>) {
    let stop = Arc::new(AtomicBool::new(false));
    let ends = stop.clone();
    let asking = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (mut asked, mut unanswered) = (0, 0);
        while !ends.load(Ordering::Relaxed) {
            asked += 1;
            socket.send_to(b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x01\0\x01", server).unwrap();
            let mut reply = [0; 512];
            let answered = socket.recv(&mut reply).is_ok() && reply[3] & 0xF == 0;
            unanswered += usize::from(!answered);
        }
        (asked, unanswered)
    });
    (stop, asking)
}
