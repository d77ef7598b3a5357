//! The settings that `proxy` and `explain` share: file, flags, and the objects to look at.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use proxy::configuration::Configuration;
use proxy::{Config, Still};
use service::manifest::Options;

use super::flags::Flags;
use super::{cluster, objects};
use crate::host;

/// The layout of nftables mode.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Few maps for all Services
    Portolan,
    /// kube-proxy's chains and maps, for audit
    KubeProxy,
}

/// Settings of the proxy.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The node to look from [default: this machine's host name]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// A KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1); flags go before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How nftables mode lays out its tables
    #[arg(long, value_name = "LAYOUT", default_value = "portolan")]
    nftables_layout: Layout,
    /// Addresses of the cluster's DNS whose queries stay on this node, without connection tracking, while a server
    /// of this node has bound them
    #[arg(long, value_name = "IP,...", value_delimiter = ',')]
    node_local_dns: Vec<IpAddr>,
    #[command(flatten)]
    flags: Flags,
}

impl Settings {
    /// The configuration file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// What the configuration file holds.
    pub(crate) fn text(&self) -> anyhow::Result<Option<String>> {
        let read = |file: &Path| {
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
        };
        self.file().map(read).transpose()
    }

    /// The file with the flags before it. What means nothing here is logged.
    pub(crate) fn configuration(&self) -> anyhow::Result<Configuration> {
        self.configuration_of(self.text()?.as_deref())
    }

    /// As [`Settings::configuration`], of a file that holds this text.
    pub(crate) fn configuration_of(&self, text: Option<&str>) -> anyhow::Result<Configuration> {
        let mut configuration = Configuration::default();
        if let (Some(text), Some(file)) = (text, self.file()) {
            configuration.read(text).with_context(|| format!("{} cannot be used", file.display()))?;
        }
        self.flags.apply(&mut configuration)?;
        for warning in configuration.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(configuration)
    }

    /// What the rules depend on.
    pub(crate) fn config(&self, configuration: &Configuration) -> anyhow::Result<Config> {
        let own_name = || self.node.clone().unwrap_or_else(host::own_name);
        let mut config = configuration.config(own_name)?;
        if let Some(node) = &self.node {
            config.node_name = node.as_str().into();
        }
        config.kube_proxy_layout = self.nftables_layout == Layout::KubeProxy;
        config.node_local_dns.clone_from(&self.node_local_dns);
        Ok(config)
    }

    /// The objects in files, else those of the API server, looked at from the node.
    pub(crate) async fn still(&self, files: &[PathBuf], interfaces: Vec<IpAddr>) -> anyhow::Result<Still> {
        let configuration = self.configuration()?;
        let config = self.config(&configuration)?;
        let objects = match files {
            [] if configuration.kubeconfig().is_none() => anyhow::bail!(
                "there is nothing to look at: name files with -f, or an API server with --kubeconfig"
            ),
            [] => cluster::objects(&cluster::client(&configuration).await?).await?,
            files => objects::read(files, Options::default())?,
        };
        let still = Still::new(objects, config, interfaces);
        for problem in still.problems() {
            tracing::warn!("{problem}");
        }
        Ok(still)
    }
}
