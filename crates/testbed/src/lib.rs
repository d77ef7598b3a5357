//! Network namespaces as nodes, pods and clients: the sandbox, and the ground of tests and benches.
//!
//! Everything that a sandbox makes lies in namespaces with names of its own: the machine's network
//! is never touched, and removing the namespaces removes it all.
//!
//! Knows nothing of Kubernetes.

mod links;
mod namespace;
mod sandbox;
mod sys;

pub use links::{Links, veth};
pub use namespace::Namespace;
pub use sandbox::{Sandbox, SandboxNode};

use std::io;
use std::path::PathBuf;

/// Why a namespace or a link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace could not be made, opened or entered.
    #[error("the network namespace {name} could not be {what}: {source}{}", hint(source))]
    Namespace {
        /// Its name.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// An interface, address or route could not be made.
    #[error("{what}: {source}")]
    Link {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: rtnetlink::Error,
    },
    /// The folder of named namespaces cannot be used.
    #[error("{} cannot be prepared for named namespaces: {source}{}", folder.display(), hint(source))]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about an error of the system.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root (CAP_SYS_ADMIN and CAP_NET_ADMIN are needed)",
        _ => "",
    }
}
