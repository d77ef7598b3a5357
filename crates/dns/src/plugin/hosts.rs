//! `hosts`: names of a file in the form of `/etc/hosts`, and of lines in the Corefile.

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
    /// Lines of the Corefile, in the form of the file.
    pub(crate) lines: Vec<String>,
    /// How long a record may be remembered, in seconds.
    pub(crate) ttl: u32,
    /// Whether addresses lead back to names.
    pub(crate) reverse: bool,
    /// How often the file is looked at; zero never does.
    pub(crate) reload: Duration,
    /// Names in these zones that it does not hold are left to what comes next; `None` denies them.
    pub(crate) fall_through: Option<Vec<Name>>,
}
