//! How the API server, which is on the machine, reaches agents that are in namespaces.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream};
use std::time::Duration;

use apiserver::Dial;
use futures::future::BoxFuture;
use testbed::{Namespace, SandboxNode};
use tokio::net::TcpStream;

/// An agent has this long to accept a connection.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Connects from within the node's own namespace: a socket stays where it was opened.
#[derive(Debug)]
pub(super) struct SandboxDial {
    nodes: HashMap<String, Namespace>,
}

impl SandboxDial {
    pub(super) fn new(nodes: &[SandboxNode]) -> Self {
        let nodes = nodes.iter().map(|node| (node.namespace.name().to_owned(), node.namespace.clone()));
        Self { nodes: nodes.collect() }
    }
}

impl Dial for SandboxDial {
    fn dial<'a>(&'a self, node: &'a str, address: SocketAddr) -> BoxFuture<'a, io::Result<TcpStream>> {
        Box::pin(async move {
            let namespace = self.nodes.get(node).cloned();
            let namespace = namespace.ok_or_else(|| io::Error::other("no such node in this sandbox"))?;
            let connect = move || {
                let stream = namespace
                    .run(|| StdTcpStream::connect_timeout(&address, TIMEOUT))
                    .map_err(io::Error::other)??;
                stream.set_nonblocking(true)?;
                Ok::<_, io::Error>(stream)
            };
            TcpStream::from_std(tokio::task::spawn_blocking(connect).await.map_err(io::Error::other)??)
        })
    }
}
