//! What the plugins of a server block work with, made from the configuration and from what outlives it.

use std::sync::Arc;

use super::hosts::HostNames;
use crate::answer::ReplyOptions;
use crate::recursion::Recursion;
use crate::zone::View;

/// What the plugins of a server block work with.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The names of the cluster.
    pub(crate) cluster: Option<Arc<View>>,
    /// The names that several clusters have together (KEP-1645).
    pub(crate) imports: Option<Arc<View>>,
    /// The names of `hosts`.
    pub(crate) hosts: Option<Arc<HostNames>>,
    /// Upstream resolvers, and what they said.
    pub(crate) recursion: Recursion,
    /// How replies of the cluster are written.
    pub(crate) reply_options: ReplyOptions,
}
