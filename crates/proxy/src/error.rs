//! What can go wrong.

use std::net::SocketAddr;

use rustix::io::Errno;
use thiserror::Error;

/// Why the proxy cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The rules could not be loaded.
    #[error("cannot load the Service rules: {0}")]
    Load(#[source] nfnetlink::Error),
    /// The kernel does not know something that the rules are made of.
    #[error(
        "the kernel lacks a part of nf_tables that nftables mode needs ({0}); check that CONFIG_NF_TABLES_INET, \
         CONFIG_NFT_NAT, CONFIG_NFT_MASQ, CONFIG_NFT_REJECT, CONFIG_NFT_FIB_INET, CONFIG_NFT_NUMGEN and \
         CONFIG_NFT_HASH are set, or use --proxy-mode iptables"
    )]
    Lacking(#[source] nfnetlink::Error),
    /// The rules could not be removed.
    #[error("cannot remove the Service rules (nft delete table inet portolan does the same): {0}")]
    Cleanup(#[source] nfnetlink::Error),
    /// Queries cannot be kept on the node.
    #[error(
        "DNS queries cannot be kept on this node ({0}), so they go the way of every Service; the kernel needs \
         CONFIG_NFT_SOCKET and CONFIG_NFT_CT"
    )]
    LocalDns(String),
    /// A mode that works by other programs or parts of the kernel failed; the text says which and what to do.
    #[error("{0}")]
    Mode(String),
    /// A server cannot listen.
    #[error("cannot listen on {address}: {source}; is another proxy running?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Metrics cannot be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[source] prometheus::Error),
    /// A thread could not be made.
    #[error("cannot start a thread for metrics: {0}; check the limit of processes (ulimit -u, pids.max)")]
    Thread(#[source] std::io::Error),
    /// The rules of iptables mode could not be loaded or removed.
    #[error(transparent)]
    Iptables(#[from] crate::xtables::Failure),
    /// The watches ended, which they do only when the client is shut down.
    #[error("the watches on the API server ended; start the proxy again")]
    WatchEnded,
}

impl Error {
    /// Why rules could not be loaded into a kernel that was asked to take all of them.
    pub(crate) fn load(error: nfnetlink::Error) -> Self {
        let lacking = match &error {
            nfnetlink::Error::Refused(refusals) => refusals.iter().any(is_of_something_unknown),
            nfnetlink::Error::Open(errno) => *errno == Errno::PROTONOSUPPORT,
            _ => false,
        };
        if lacking { Self::Lacking(error) } else { Self::Load(error) }
    }
}

/// Whether a kernel refused what it does not know. One without nf_tables calls a question for tables invalid.
fn is_of_something_unknown(refusal: &nfnetlink::Refusal) -> bool {
    let question = refusal.message == "list";
    matches!(refusal.errno, Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::NOENT)
        || (question && refusal.errno == Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use nfnetlink::{Error as Netlink, Refusal};

    use super::*;

    fn refused(message: &str, errno: Errno) -> Error {
        let (message, detail) = (message.to_owned(), String::new());
        Error::load(Netlink::Refused(vec![Refusal { message, errno, detail }]))
    }

    #[test]
    fn a_kernel_that_lacks_a_feature_is_told_from_one_that_refuses_rules() {
        for lacking in [
            refused("add rule inet portolan services", Errno::NOENT),
            refused("list", Errno::INVAL),
            Error::load(Netlink::Open(Errno::PROTONOSUPPORT)),
        ] {
            let text = lacking.to_string();
            assert!(
                text.contains("CONFIG_NF_TABLES_INET") && text.contains("--proxy-mode iptables"),
                "{text}"
            );
        }
        assert!(matches!(refused("add rule inet portolan services", Errno::INVAL), Error::Load(_)));
    }
}
