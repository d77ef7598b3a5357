//! What can go wrong, in words for the person who runs the program.

use std::fmt;

use rustix::io::Errno;
use thiserror::Error;

/// Why an operation on the kernel's tables failed.
#[derive(Debug, Error)]
pub enum Error {
    /// The netlink socket could not be opened.
    #[error("cannot open a netfilter netlink socket: {errno}{}", hint(*.0), errno = .0)]
    Open(Errno),
    /// The messages could not be handed to the kernel.
    #[error("cannot send {bytes} bytes to nf_tables: {errno}{}", hint(*.errno))]
    Send {
        /// Size of the transaction.
        bytes: usize,
        /// The kernel's error.
        errno: Errno,
    },
    /// The kernel's answer could not be read.
    #[error("cannot read the kernel's answer: {errno}{}", hint(*.0), errno = .0)]
    Receive(Errno),
    /// The kernel refused the transaction; nothing of it was done.
    #[error("the kernel refused the transaction: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// The kernel did not say whether it did what it was asked.
    #[error("the kernel did not answer; the ruleset may or may not have changed, load it again")]
    Unanswered,
    /// The kernel holds a chain or set of a kind that this crate does not know.
    #[error("{0} is of a kind that is not known here; list it with `nft list ruleset`")]
    UnknownKind(String),
    /// A dump was disturbed by changes each time it was tried.
    #[error("the tables changed too often while they were listed; try again when they are quieter")]
    DumpDisturbed,
}

/// One message of a transaction that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was to be done to which object.
    pub message: String,
    /// The kernel's error.
    pub errno: Errno,
    /// The kernel's own words, empty if it gave none.
    pub detail: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.errno)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        f.write_str(hint(self.errno))
    }
}

/// Refusals that are spelt out; more follow from the first most of the time.
const SPELT_OUT: usize = 3;

fn list(refusals: &[Refusal]) -> String {
    let mut text = refusals.iter().take(SPELT_OUT).map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if refusals.len() > SPELT_OUT {
        text.push_str(&format!("; and {} more", refusals.len() - SPELT_OUT));
    }
    text
}

/// The likely cause of an error, as the end of a sentence.
fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM | Errno::ACCESS => "; this needs root or CAP_NET_ADMIN in this network namespace",
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP => {
            "; the kernel seems to lack nf_tables or the feature, see CONFIG_NF_TABLES and CONFIG_NFT_*"
        }
        Errno::NOENT => "; the table, chain or set is gone or the kernel lacks the expression",
        Errno::EXIST => "; something else has put an object of that name there",
        Errno::BUSY => "; something still refers to the object",
        Errno::NOBUFS | Errno::MSGSIZE => "; the socket's buffers are too small, see net.core.wmem_max",
        Errno::NOMEM => "; the kernel has no memory for it",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_object_and_guesses_the_cause() {
        let refusal = Refusal {
            message: "delete chain inet portolan service-3".into(),
            errno: Errno::BUSY,
            detail: String::new(),
        };
        let text = Error::Refused(vec![refusal; 5]).to_string();
        assert!(text.contains("delete chain inet portolan service-3"), "{text}");
        assert!(text.contains("still refers"), "{text}");
        assert!(text.ends_with("and 2 more"), "{text}");
    }
}
