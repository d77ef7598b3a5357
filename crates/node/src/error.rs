//! What can go wrong with a node as a whole, in sentences for the one who started it.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::cri::RuntimeError;

/// The node cannot start, or cannot be removed entirely.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the node runs is not installed.
    #[error(
        "{program} was not found on PATH; install it (apt-get install {package}) or give --container-runtime-endpoint"
    )]
    MissingProgram {
        /// Name of the program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The node's own containerd does not come up.
    #[error("containerd did not start: {reason}; its log is {}", .log.display())]
    Containerd {
        /// What was seen.
        reason: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// The runtime answers, but not as it should.
    #[error("the container runtime at {} cannot be used: {source}", .socket.display())]
    Runtime {
        /// The runtime's socket.
        socket: PathBuf,
        /// Its answer.
        source: RuntimeError,
    },
    /// An image archive cannot be imported.
    #[error("cannot import the image archive {}: {reason}", .archive.display())]
    Import {
        /// The archive.
        archive: PathBuf,
        /// Why.
        reason: String,
    },
    /// A stand-in image cannot be made.
    #[error(
        "no statically linked busybox was found (looked at {looked_at}); install it (apt-get install busybox-static)"
    )]
    MissingBusybox {
        /// The paths that were tried.
        looked_at: String,
    },
    /// The node's API cannot listen.
    #[error("cannot listen on {address} for the node's API: {source}; is another node agent running here?")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The serving certificate cannot be made, or the client CA is no certificate.
    #[error("cannot set up TLS for the node's API: {0}")]
    Tls(String),
    /// The pod network cannot be set up.
    #[error("cannot set up the pod network: {0}")]
    Network(String),
    /// A file or folder cannot be read, written or removed.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Some of a node's traces could not be removed.
    #[error("not everything of the node could be removed:\n  {}", .0.join("\n  "))]
    Remains(Vec<String>),
}

impl Error {
    /// An [`Error::File`], for `map_err`.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
