//! The sandbox in real namespaces. Needs root; without it the tests say so and pass over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use testbed::{Namespace, Sandbox};

/// Removes the sandbox when a test ends, however it ends.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for error in Sandbox::remove(&self.0) {
            eprintln!("{error}");
        }
    }
}

fn sandbox_name(test: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: {test} needs root");
        return None;
    }
    Some(format!("tb{}{test}", std::process::id()))
}

#[test]
fn machines_of_a_sandbox_reach_each_other_and_a_second_start_changes_nothing() {
    let Some(name) = sandbox_name("reach") else { return };
    let _cleanup = Cleanup(name.clone());
    let sandbox = Sandbox::ensure(&name, 2).unwrap();
    let again = Sandbox::ensure(&name, 2).unwrap();
    let address = SocketAddr::new(again.nodes[1].address, 80);
    let listener = again.nodes[1].namespace.run(|| TcpListener::bind(address)).unwrap().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
    });
    let text = sandbox
        .client
        .namespace
        .run(|| {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok::<_, std::io::Error>(text)
        })
        .unwrap()
        .unwrap();
    server.join().unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn a_removed_sandbox_leaves_no_name_behind() {
    let Some(name) = sandbox_name("gone") else { return };
    let _cleanup = Cleanup(name.clone());
    Sandbox::ensure(&name, 1).unwrap();
    assert!(Sandbox::exists(&name));
    let visible = std::process::Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&visible.stdout).contains(&format!("{name}-node1")));
    assert!(Sandbox::remove(&name).is_empty());
    assert!(!Sandbox::exists(&name));
    assert!(Namespace::open(&format!("{name}-node1")).is_err());
}
