//! Another configuration while the proxy runs.
//!
//! kube-proxy exits and leaves it to its DaemonSet to start it again. Here the process goes on: a mode that stays
//! takes the new settings over as it takes over a change of the node; another mode loads its rules first, then those
//! of the one before are removed. The kernel's connections are not touched by either.

use std::time::Instant;

use service::objects::{Metadata, Node};

use super::proxy::Proxy;
use super::reporter::Reporter;
use crate::config::{Config, ModeName};
use crate::configuration::Duties;
use crate::error::Error;
use crate::localhost::Localhost;
use crate::metrics::RevisionOutcome;
use crate::modes;
use crate::sight::NodeFacts;

/// What a proxy that runs is to be from now on.
#[derive(Clone)]
pub struct Revision {
    /// Another API server to follow; `None` to stay with the one that is followed.
    pub client: Option<kube::Client>,
    /// How the node's proxy is to work.
    pub config: Config,
    /// What else it does.
    pub duties: Duties,
}

impl Proxy {
    /// Goes on with another configuration. One whose rules cannot be loaded is refused, and those of the one before
    /// are loaded again.
    pub(super) async fn revise(&mut self, config: Config, duties: &Duties) {
        if config != self.config
            && let Err(error) = self.reconfigure(config).await
        {
            self.refuse(&format!("its rules cannot be loaded: {error}"));
            return;
        }
        self.health.set_sync_period(duties.sync_period);
        self.observers.follow(duties, self.config.mode).await;
        self.metrics.revised(RevisionOutcome::Applied);
        tracing::info!(mode = %self.config.mode, "the configuration changed; the proxy goes on with it");
    }

    /// Sends Events by another reporter from now on.
    pub(super) fn report_to(&mut self, reporter: Reporter) {
        self.health_checks.report_to(reporter.clone());
        self.reporter = reporter;
    }

    /// Says that a configuration is not used.
    pub(super) fn refuse(&self, why: &str) {
        tracing::error!(why, "the changed configuration is not used; the proxy goes on with the one before");
        self.metrics.revised(RevisionOutcome::Refused);
        // Events on objects without a namespace are kept in this one.
        let node = Metadata {
            namespace: "default".into(),
            name: self.config.node_name.clone(),
            uid: None,
            resource_version: None,
        };
        self.reporter.event::<Node>(&node, "InvalidConfiguration", why.to_owned());
    }

    async fn reconfigure(&mut self, config: Config) -> Result<(), Error> {
        // What is still being removed may be what is wanted now.
        self.leftovers.removed().await;
        let other_mode = match modes::goes_on(&self.config, &config) {
            true => None,
            false => Some(modes::start(&config)?),
        };
        let mut node = match config.node_name == self.config.node_name {
            true => self.node.clone(),
            // Its Node object is yet to come.
            false => NodeFacts {
                service_cidrs: self.node.service_cidrs.clone(),
                interface_addresses: self.node.interface_addresses.clone(),
                ..NodeFacts::unknown(&config)
            },
        };
        node.preferred_address = config.node_address;
        let config_before = std::mem::replace(&mut self.config, config);
        let mode_before = other_mode.map(|mode| std::mem::replace(&mut self.mode, mode));
        let node_before = std::mem::replace(&mut self.node, node);
        self.all = true;
        // What was never loaded is loaded with the first rules.
        let outcome = if self.started { self.load(Instant::now()).await } else { Ok(()) };
        if let Err(error) = outcome {
            self.config = config_before;
            self.node = node_before;
            if let Some(mode) = mode_before {
                self.mode = mode;
                // Some rules of the other mode may be there.
                self.leftovers.remove(self.config.clone(), self.metrics.clone());
                self.leftovers.removed().await;
            }
            self.all = true;
            // That of the mode before is logged and tried again.
            let _ = self.sync(Instant::now()).await;
            return Err(error);
        }
        if let Some(mode) = mode_before {
            self.observers.count_by(self.mode.counter());
            mode.retire();
            if self.started {
                self.leftovers.remove(self.config.clone(), self.metrics.clone());
            }
        }
        if self.config.mode != ModeName::Nftables {
            let listeners = Localhost::counted(self.metrics.listener_counts());
            std::mem::replace(&mut self.localhost, listeners).retire();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
