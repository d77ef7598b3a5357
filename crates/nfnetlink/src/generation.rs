//! Whether others changed any rule since.

use crate::error::{Error, Refusal};
use crate::socket::Socket;
use crate::uapi::{netlink, nfnetlink, nft};
use crate::wire::Writer;

/// How often the rules of a network namespace had been changed, by anybody and by one socket, at some moment.
///
/// A [`Monitor`](crate::Monitor) costs the kernel a message for each element of a transaction, which is most of the
/// time of a large one. With two generations a program may load first and listen then: if nobody else changed a rule
/// between the one and the other, nothing was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// The kernel's number, which each transaction raises that changes anything in any table.
    all: u32,
    /// How many of them were the socket's.
    own: u32,
}

impl Generation {
    /// Whether somebody else may have changed a rule of any table since `earlier`. A transaction of our own that
    /// changed nothing makes it true as well.
    pub fn changed_by_others_since(self, earlier: Self) -> bool {
        self.all.wrapping_sub(earlier.all) != self.own.wrapping_sub(earlier.own)
    }
}

impl Socket {
    /// How often the rules of this socket's network namespace have been changed.
    ///
    /// # Errors
    /// [`Error::Refused`] when the kernel does not say.
    pub fn generation(&mut self) -> Result<Generation, Error> {
        let mut writer = Writer::new();
        let kind = nfnetlink::SUBSYS_NFTABLES << 8 | nft::MSG_GETGEN;
        writer.message(kind, netlink::NLM_F_ACK, 1, 0, 0, |_| {});
        let refused = |errno, detail| {
            Error::Refused(vec![Refusal { message: "get the generation".to_owned(), errno, detail }])
        };
        let all = self
            .query(&writer, |message| message.attributes().find(nft::GEN_ID)?.be32())
            .map_err(|(errno, detail)| refused(errno, detail))?
            .ok_or(Error::Unanswered)?;
        Ok(Generation { all, own: self.commits() })
    }
}
