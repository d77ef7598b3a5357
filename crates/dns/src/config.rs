//! What a server is told to do: the meaning of a Corefile as a value.

mod block;
mod cluster;
mod outside;
mod rules;

pub(crate) use block::{Block, Health, Limits, Listen, Log, LogClass, Plugins, Served, Tls};
pub(crate) use cluster::{ApiServer, Autopath, Kubernetes, PodRecords, Search, Selector, Transfer};
pub(crate) use outside::{Cache, Forward, Kept, Policy, Prefetch, Stale, Upstream, UpstreamAddress};
pub(crate) use rules::{Answer, Hosts, Match, Rewrite, RewriteKind, Template, Then};

use std::net::SocketAddr;

use crate::error::Error;
use crate::wire::Name;

/// What a server is told to do.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) blocks: Vec<Block>,
    /// The Corefile that says so, with what it imports; empty if none does.
    pub(crate) text: String,
    /// What was read and has no effect here, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// The names of a cluster at one address, with the reverse zones, pod records as kubeadm configures them, and
    /// all other names asked of `upstreams`, in order of preference. Without any they are refused (RFC 1035,
    /// 4.1.1): the server knows nothing of them, and saying that they do not exist would be a lie.
    ///
    /// # Errors
    /// [`Error::Domain`] when the domain cannot be written in a packet.
    pub fn of_cluster(domain: &str, upstreams: &[SocketAddr]) -> Result<Self, Error> {
        let domain = Name::from_text(domain).map_err(|_| Error::Domain(domain.to_owned()))?;
        let mut plugins =
            Plugins { kubernetes: Some(Kubernetes::of_cluster(domain)), balance: true, ..Plugins::default() };
        if !upstreams.is_empty() {
            plugins.forward.push(Forward::everything_to(upstreams));
            plugins.cache = Some(Cache::default());
        }
        let served = Served { listen: Listen::Dns, zone: Name::root(), port: 53 };
        let block = Block { line: 1, served: vec![served], bind: Vec::new(), plugins };
        Ok(Self { blocks: vec![block], text: String::new(), warnings: Vec::new() })
    }

    /// Whether endpoints without a hostname are to be named after their pods.
    pub fn names_pods(&self) -> bool {
        let clusters = self.blocks.iter().filter_map(|block| block.plugins.kubernetes.as_ref());
        clusters.into_iter().any(|kubernetes| kubernetes.endpoint_pod_names)
    }

    /// Whether names depend on an API server that the Corefile does not name itself.
    pub fn asks_api_server(&self) -> bool {
        let clusters = self.blocks.iter().filter_map(|block| block.plugins.kubernetes.as_ref());
        clusters.into_iter().any(|kubernetes| kubernetes.api == ApiServer::default())
    }
}
