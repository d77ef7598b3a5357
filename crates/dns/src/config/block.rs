//! Server blocks.

use super::scheme::Served;
use crate::plugin::Plugins;

/// A server block: where it listens, which names it takes, and which plugins answer them.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The line of the Corefile that it begins on, counted from 1.
    pub(crate) line: usize,
    /// The zones and ports that it serves.
    pub(crate) served: Vec<Served>,
    /// Its plugins.
    pub(crate) plugins: Plugins,
}
