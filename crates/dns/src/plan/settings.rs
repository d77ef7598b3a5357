//! Settings that come from several plugins of a server block.

use std::net::SocketAddr;

use crate::answer::ReplyOptions;
use crate::plugin::Plugins;
use crate::recursion;

impl Plugins {
    /// How replies of the cluster are written.
    pub(crate) fn reply_options(&self) -> ReplyOptions {
        ReplyOptions { recursion: !self.forward.is_empty(), balance: self.balance }
    }

    /// The settings for names that are not the cluster's. `own` are the addresses of this server, which does not ask
    /// itself; `server` is the label of metrics.
    pub(crate) fn recursion(&self, own: &[SocketAddr], server: &str) -> recursion::RecursionOptions {
        recursion::RecursionOptions {
            forward: self.forward.clone(),
            cache: self.cache.clone(),
            errors: self.errors,
            detect_loops: self.detect_loops,
            own: own.to_vec(),
            server: server.to_owned(),
        }
    }
}
