//! `hosts`: names from a file in the format of `/etc/hosts`, and from lines of the Corefile.

mod handler;
mod names;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use crate::wire::Name;

pub(super) use handler::handler;
pub(crate) use names::HostNames;
pub(super) use read::read;

/// The directive `hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostsOptions {
    /// The file; `None` if there are only lines of the Corefile.
    pub(crate) file: Option<PathBuf>,
    /// Only names in these zones.
    pub(crate) zones: Vec<Name>,
    /// Lines of the Corefile, in the format of the file.
    pub(crate) lines: Vec<String>,
    /// The TTL of records, in seconds.
    pub(crate) ttl: u32,
    /// Whether there are PTR records.
    pub(crate) reverse: bool,
    /// How often the file is read again; zero means never.
    pub(crate) reload: Duration,
    /// Zones whose missing names are left to the next plugin. Other missing names fail.
    pub(crate) fall_through: Option<Vec<Name>>,
}
