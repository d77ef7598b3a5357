//! `autopath`: the server follows a client's search path, so that the first lookup of a search is also the last.

mod handler;
mod search;

use std::path::PathBuf;

use crate::corefile::{Directive, Fault, Scope};
use crate::wire::Name;

pub(super) use handler::handler;

/// The directive `autopath`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AutopathOptions {
    /// The zones of the names that are searched.
    pub(crate) zones: Vec<Name>,
    /// Where the search paths of clients come from.
    pub(crate) search: SearchPath,
}

/// Where the search paths of clients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchPath {
    /// `@kubernetes`: from the namespace of the client's pod.
    Pods,
    /// A file such as `/etc/resolv.conf`, for all clients.
    File(PathBuf),
}

/// Reads `autopath [ZONE...] @kubernetes|FILE`.
pub(super) fn read(
    value: &mut Option<AutopathOptions>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let Some((search, zones)) = directive.arguments.split_last() else {
        return Err(directive.fault("write `autopath [ZONE...] @kubernetes|FILE`"));
    };
    let search = match search.strip_prefix('@') {
        Some("kubernetes") => SearchPath::Pods,
        Some(other) => {
            return Err(directive.fault(format!("@{other} knows no search paths; use @kubernetes")));
        }
        None => SearchPath::File(scope.folder.join(search)),
    };
    *value = Some(AutopathOptions { zones: scope.zones_or_own(directive, zones)?, search });
    Ok(())
}
