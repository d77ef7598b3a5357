//! Connections over loopback, without rules.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::sockopt;

use super::*;

/// A proxy that may open this many files, in front of one endpoint, and where it is.
fn proxy(files: u64, endpoint: SocketAddr) -> (Proxy, Serving, SocketAddr) {
    let proxy = Proxy::with(FileLimit::of(files)).unwrap();
    let listener = listen::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let behind = Behind { endpoints: [endpoint].into(), ..Behind::default() };
    let serving = proxy.serve_tcp(listener, Arc::new(Pool::new(behind))).unwrap();
    (proxy, serving, address)
}

fn endpoint() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

#[test]
fn bytes_go_both_ways_and_each_way_ends_by_itself() {
    let (listener, address) = endpoint();
    let (_proxy, _serving, proxy_port) = proxy(100, address);
    let mut client = connect(proxy_port);
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    server.read_to_string(&mut question).unwrap();
    server.write_all(b"answer").unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!((&*question, &*answer), ("question", "answer"));
}

#[test]
fn a_reset_reaches_the_other_end() {
    let (listener, address) = endpoint();
    let (_proxy, _serving, proxy_port) = proxy(100, address);
    let mut client = connect(proxy_port);
    let (mut server, _) = listener.accept().unwrap();
    // An endpoint that resets before the proxy knows it as connected would be tried again.
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    sockopt::set_socket_linger(&server, Some(Duration::ZERO)).unwrap();
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn clients_beyond_the_limit_of_files_are_reset_until_others_leave() {
    let (listener, address) = endpoint();
    // One for the proxy port, four for a connection.
    let (_proxy, _serving, proxy_port) = proxy(5, address);
    let first = connect(proxy_port);
    let (server, _) = listener.accept().unwrap();
    let mut second = connect(proxy_port);
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop((first, server));
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let mut next = connect(proxy_port);
        next.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // Nobody says anything to a client that is served.
        next.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert!(served);
}

#[test]
fn a_door_that_closed_takes_nobody_and_open_connections_go_on() {
    let (listener, address) = endpoint();
    let (_proxy, serving, proxy_port) = proxy(100, address);
    let mut client = connect(proxy_port);
    let (mut server, _) = listener.accept().unwrap();
    drop(serving);
    let closed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(proxy_port).is_err()
    });
    assert!(closed);
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_taken_address_is_served_once_it_is_free() {
    let (listener, address) = endpoint();
    let (holder, proxy_port) = endpoint();
    let proxy = Proxy::with(FileLimit::of(100)).unwrap();
    let behind = Behind { endpoints: [address].into(), ..Behind::default() };
    let _serving = proxy.serve_tcp_at(proxy_port, Arc::new(Pool::new(behind)), &Arc::default());
    std::thread::sleep(Duration::from_millis(10));
    drop(holder);
    let client = (0..100).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        TcpStream::connect(proxy_port).ok()
    });
    assert!(client.is_some() && listener.accept().is_ok());
}

#[test]
fn it_starts_and_ends_inside_another_runtime() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (listener, address) = endpoint();
        let (_proxy, _serving, proxy_port) = proxy(100, address);
        let _client = connect(proxy_port);
        assert!(listener.accept().is_ok());
    });
}
