//! What a server is told to do: the meaning of a Corefile as a value.

mod block;
mod key;
mod scheme;

pub(crate) use block::Block;
pub(crate) use scheme::{Scheme, Served};

use std::net::SocketAddr;
use std::path::Path;

use crate::corefile::{self, Fault, Scope};
use crate::error::Error;
use crate::plugin::Plugins;
use crate::plugin::cache::CacheOptions;
use crate::plugin::forward::ForwardOptions;
use crate::plugin::kubernetes::{ApiServer, KubernetesOptions};
use crate::wire::Name;

/// The configuration of a server.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) blocks: Vec<Block>,
    /// The text of the Corefile and of the files that it imports; empty if there is no Corefile.
    pub(crate) text: String,
    /// What was read and has no effect here, a sentence each.
    pub warnings: Vec<String>,
}

impl Config {
    /// The configuration for the names of a cluster at one address: with the reverse zones, and with pod records as
    /// kubeadm configures them. All other names are asked of `upstreams`, in order of preference.
    ///
    /// Without upstreams other names are refused (RFC 1035, 4.1.1): the server knows nothing of them, and NXDOMAIN
    /// would say that they do not exist.
    ///
    /// # Errors
    /// [`Error::Domain`] when the domain cannot be written in a packet.
    pub fn of_cluster(domain: &str, upstreams: &[SocketAddr]) -> Result<Self, Error> {
        let domain = Name::from_text(domain).map_err(|_| Error::Domain(domain.to_owned()))?;
        let mut plugins = Plugins {
            kubernetes: Some(KubernetesOptions::of_cluster(domain)),
            balance: true,
            ..Plugins::default()
        };
        if !upstreams.is_empty() {
            plugins.forward.push(ForwardOptions::everything_to(upstreams));
            plugins.cache = Some(CacheOptions::default());
        }
        let served = Served { scheme: Scheme::Dns, zone: Name::root(), port: 53 };
        let block = Block { line: 1, served: vec![served], plugins };
        Ok(Self { blocks: vec![block], text: String::new(), warnings: Vec::new() })
    }

    /// Reads a Corefile. Imports and files are relative to `folder`.
    ///
    /// # Errors
    /// [`Fault`] with the line: the text cannot be read, a directive or an option is not known, or directives
    /// contradict each other.
    pub fn from_corefile(text: &str, folder: &Path) -> Result<Self, Fault> {
        let (blocks, text) = corefile::blocks(text, folder, &|name| std::env::var(name).ok())?;
        let mut config = Self { blocks: Vec::new(), text, warnings: Vec::new() };
        for block in blocks {
            let mut served = Vec::new();
            for text in &block.keys {
                let zones = key::served(text).map_err(|error| Fault::new(block.line, error.to_string()))?;
                served.extend(zones);
            }
            if served.is_empty() {
                return Err(Fault::new(block.line, "the block has no zone; begin with `.:53 {`"));
            }
            let zones: Vec<_> = served.iter().map(|served| served.zone.clone()).collect();
            let mut scope = Scope { folder, zones: &zones, warnings: &mut config.warnings };
            let mut plugins = Plugins::default();
            for directive in &block.directives {
                plugins.read(directive, &mut scope)?;
            }
            let block = Block { line: block.line, served, plugins };
            check_certificate(&block)?;
            config.blocks.push(block);
        }
        if config.blocks.is_empty() {
            return Err(Fault::new(1, "there is no server block; begin with `.:53 {`"));
        }
        check_distinct(&config.blocks)?;
        Ok(config)
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

/// Checks that a block that serves TLS or HTTPS has a certificate.
fn check_certificate(block: &Block) -> Result<(), Fault> {
    let secure = block.served.iter().find(|served| served.scheme != Scheme::Dns);
    if let (Some(served), None) = (secure, &block.plugins.tls) {
        let scheme = served.scheme.name();
        let text = format!("{scheme}:// needs a certificate; add `tls CERT KEY` to the block");
        return Err(Fault::new(block.line, text));
    }
    Ok(())
}

/// Checks that each zone of a port belongs to one block.
fn check_distinct(blocks: &[Block]) -> Result<(), Fault> {
    for (index, block) in blocks.iter().enumerate() {
        let bind = &block.plugins.bind.addresses;
        for served in &block.served {
            let same = |other: &&Block| {
                let others = &other.plugins.bind.addresses;
                let shared = others.iter().any(|address| bind.contains(address));
                other.served.contains(served) && (shared || (others.is_empty() && bind.is_empty()))
            };
            if let Some(other) = blocks[..index].iter().find(same) {
                let text = format!(
                    "{}://{}:{} is already served by the block of line {}; give it another zone, port or `bind`",
                    served.scheme.name(),
                    served.zone,
                    served.port,
                    other.line
                );
                return Err(Fault::new(block.line, text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
