//! Netlink messages and attributes as bytes (`linux/netlink.h`, `linux/netfilter/nfnetlink.h`).

mod read;
mod write;

pub use read::{Attribute, Attributes, Message, Messages};
pub use write::Writer;

/// Size of `struct nlmsghdr` in bytes.
pub(crate) const HEADER: usize = 16;
/// Size of `struct nfgenmsg` in bytes.
pub(crate) const NFGENMSG: usize = 4;
/// Size of an attribute's header in bytes.
pub(crate) const ATTRIBUTE: usize = 4;

/// Rounds up to the four-byte boundary on which messages and attributes start.
pub(crate) const fn align(length: usize) -> usize {
    (length + 3) & !3
}
