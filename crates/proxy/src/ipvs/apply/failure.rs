//! What can go wrong, in words for the person who runs the proxy.

use std::io;

use service::objects::UnknownScheduler;
use thiserror::Error;

/// Why the kernel does not hold what the mode asks for.
#[derive(Debug, Error)]
pub enum Failure {
    /// The kernel has no IPVS.
    #[error(
        "the kernel has no IPVS here ({0}); load its module (modprobe ip_vs), or use --proxy-mode nftables, which \
         does without"
    )]
    NoIpvs(#[source] nfnetlink::Error),
    /// The kernel has no dummy interfaces.
    #[error(
        "the interface kube-ipvs0 cannot be made ({0}); load the kernel's module (modprobe dummy), or use \
         --proxy-mode nftables, which does without"
    )]
    NoInterface(#[source] nfnetlink::Error),
    /// The kernel has no ipsets, or not of the types that are needed.
    #[error(
        "the kernel lacks ipsets ({0}); load its modules (modprobe -a xt_set ip_set_hash_ipport \
         ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_hash_ip ip_set_bitmap_port), or use --proxy-mode \
         nftables, which does without"
    )]
    NoSets(#[source] nfnetlink::Error),
    /// The kernel refused a change.
    #[error("IPVS is not as it should be: {0}")]
    Kernel(#[from] nfnetlink::Error),
    /// The rules of iptables could not be loaded.
    #[error(transparent)]
    Chains(#[from] crate::iptables::Failure),
    /// The configuration asks for a scheduler that there is not.
    #[error("ipvs.scheduler: {0}")]
    Scheduler(#[from] UnknownScheduler),
    /// A setting of the kernel could not be written.
    #[error("cannot write {value} to {path}: {error}; ipvs mode needs it, set it by hand")]
    Setting {
        /// Which one.
        path: &'static str,
        /// What it was to be.
        value: &'static str,
        /// Why not.
        error: io::Error,
    },
    /// The network namespace cannot be entered.
    #[error("cannot enter the network namespace: {0}; that needs CAP_SYS_ADMIN")]
    Enter(#[from] io::Error),
}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        Self::Mode(failure.to_string())
    }
}
