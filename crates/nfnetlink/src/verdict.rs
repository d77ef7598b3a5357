//! Verdicts: what happens to a packet next.

use std::fmt;

use crate::uapi::nft;
use crate::wire::{Attribute, Writer};

/// What a rule or a verdict map decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Stop here, drop the packet.
    Drop,
    /// Stop here, let the packet on.
    Accept,
    /// Back to the calling chain.
    Return,
    /// Evaluate a chain, come back after it.
    Jump(String),
    /// Evaluate a chain, do not come back.
    Goto(String),
}

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
            Self::Return => -5,
        }
    }

    /// The chain this verdict leads to.
    pub fn chain(&self) -> Option<&str> {
        match self {
            Self::Jump(chain) | Self::Goto(chain) => Some(chain),
            Self::Drop | Self::Accept | Self::Return => None,
        }
    }

    /// Writes a data attribute of type `kind` that holds this verdict.
    pub(crate) fn write(&self, kind: u16, message: &mut Writer) {
        message.nest(kind, |data| {
            data.nest(nft::DATA_VERDICT, |verdict| {
                verdict.raw(nft::VERDICT_CODE, &self.code().to_be_bytes());
                if let Some(chain) = self.chain() {
                    verdict.string(nft::VERDICT_CHAIN, chain);
                }
            });
        });
    }

    /// Reads the inside of `NFTA_DATA_VERDICT`.
    pub(crate) fn read(data: &Attribute<'_>) -> Option<Self> {
        let code = data.nested().find(nft::VERDICT_CODE)?.be32()? as i32;
        let chain = || Some(data.nested().find(nft::VERDICT_CHAIN)?.string()?.to_owned());
        match code {
            0 => Some(Self::Drop),
            1 => Some(Self::Accept),
            -3 => Some(Self::Jump(chain()?)),
            -4 => Some(Self::Goto(chain()?)),
            -5 => Some(Self::Return),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Accept => f.write_str("accept"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}
