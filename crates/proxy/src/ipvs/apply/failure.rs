//! What can go wrong, in words for the person who runs the proxy.

use std::io;

use rustix::io::Errno;
use service::objects::UnknownScheduler;
use thiserror::Error;

/// Why the kernel does not hold what the mode asks for.
#[derive(Debug, Error)]
pub enum Failure {
    /// The kernel has no IPVS.
    #[error(
        "the kernel has no IPVS; load its module (modprobe ip_vs), or use --proxy-mode nftables, which does without"
    )]
    NoIpvs,
    /// The kernel has no dummy interfaces.
    #[error(
        "the kernel has no dummy interfaces, so kube-ipvs0 cannot be made; load their module (modprobe dummy), or use \
         --proxy-mode nftables, which does without"
    )]
    NoInterface,
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
    Chains(#[from] crate::xtables::Failure),
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

impl Failure {
    /// Why IPVS could not be opened: the kernel does not know the name if it has none.
    pub(super) fn opening(error: nfnetlink::Error) -> Self {
        if is(&error, Errno::NOENT) { Self::NoIpvs } else { Self::Kernel(error) }
    }

    /// Why the interface could not be made: the kernel does not know the type if it has none.
    pub(super) fn making_interface(error: nfnetlink::Error) -> Self {
        if is(&error, Errno::OPNOTSUPP) { Self::NoInterface } else { Self::Kernel(error) }
    }
}

fn is(error: &nfnetlink::Error, errno: Errno) -> bool {
    match error {
        nfnetlink::Error::Refused(refusals) => refusals.iter().any(|refusal| refusal.errno == errno),
        _ => false,
    }
}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        Self::Mode(failure.to_string())
    }
}
