//! What a cluster is to be.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use controllers::PodNetwork;

use super::shape::Asked;
use super::{DEFAULT_NAME, default_data_dir, parse_name};
use crate::commands::apiserver::ApiOptions;

/// What a cluster is to be: the options of `portolan up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Make this many nodes and an outside client, each a network namespace, instead of using this machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=testbed::Sandbox::MAX_NODES as i64))]
    pub(crate) sandbox: Option<u16>,
    /// The cluster's name; namespaces are called NAME-node1, NAME-client and so on
    #[arg(long, default_value = DEFAULT_NAME, value_parser = parse_name)]
    pub(crate) name: String,
    /// Where everything that outlives the process is kept [default: /var/lib/portolan/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    /// The addresses of pods; each node gets a share. A cluster keeps those that it was made with [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<PodNetwork>,
    /// The address by which others reach this machine (without --sandbox) [default: that of the default route]
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Give the nodes of a sandbox no way to image registries; otherwise they pull through a proxy in this process
    #[arg(long, requires = "sandbox")]
    pub(crate) offline: bool,
    /// The socket of a running container runtime (without --sandbox) [default: a containerd is started]
    #[arg(long, value_name = "SOCKET", conflicts_with = "sandbox")]
    pub(crate) container_runtime_endpoint: Option<PathBuf>,
}

/// Which cluster of this machine a command is about.
#[derive(Args, Clone, Debug)]
pub(crate) struct Which {
    /// The cluster's name
    #[arg(long, default_value = DEFAULT_NAME, value_parser = parse_name)]
    pub(crate) name: String,
    /// Where the cluster keeps its data [default: where it was started with]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Options {
    /// Reads options as if they had been typed.
    pub(crate) fn parse_from(arguments: [&str; 7]) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("up"));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// What was asked for of that which a cluster cannot change.
    pub(super) fn asked(&self) -> Asked {
        Asked { cluster_cidr: self.cluster_cidr.map(|range| range.to_string()), ..self.api.asked() }
    }

    /// The data directory as an absolute path.
    pub(crate) fn data_dir(&self) -> std::io::Result<PathBuf> {
        let folder = self.data_dir.clone().unwrap_or_else(|| default_data_dir(&self.name));
        std::path::absolute(folder)
    }
}
