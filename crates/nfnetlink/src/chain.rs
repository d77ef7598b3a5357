//! Chains.

use crate::uapi::nft;
use crate::userdata;
use crate::wire::{Message, Writer};

/// Well-known priorities of base chains (`linux/netfilter_ipv4.h`, `NF_IP_PRI_*`).
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Destination translation in prerouting and output.
    pub const DSTNAT: i32 = -100;
    /// Ordinary filtering.
    pub const FILTER: i32 = 0;
    /// Source translation in postrouting.
    pub const SRCNAT: i32 = 100;
}

/// A chain of rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Name, at most 255 bytes.
    pub name: String,
    /// Where the kernel calls it; `None` for a chain that only other rules and maps lead to.
    pub base: Option<BaseChain>,
    /// Shown by `nft list`; empty for none.
    pub comment: String,
}

/// What makes a chain a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BaseChain {
    /// What its rules may do.
    pub kind: ChainType,
    /// Where in the packet's way.
    pub hook: Hook,
    /// Order among the chains of that hook, lowest first.
    pub priority: i32,
    /// Whether a packet that no rule decides is dropped instead of accepted.
    pub drop: bool,
}

/// What the rules of a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Accept, drop, reject.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
}

/// Where in a packet's way a base chain is called (`NF_INET_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Every packet that arrives.
    Prerouting = 0,
    /// Packets for this machine.
    Input = 1,
    /// Packets that pass through.
    Forward = 2,
    /// Packets made here.
    Output = 3,
    /// Every packet that leaves.
    Postrouting = 4,
}

impl Chain {
    /// A chain that the kernel does not call by itself.
    pub fn regular(name: impl Into<String>) -> Self {
        Self { name: name.into(), base: None, comment: String::new() }
    }

    /// A chain that the kernel calls at `hook`; its policy is accept.
    pub fn base(name: impl Into<String>, kind: ChainType, hook: Hook, priority: i32) -> Self {
        let base = BaseChain { kind, hook, priority, drop: false };
        Self { name: name.into(), base: Some(base), comment: String::new() }
    }

    pub(crate) fn write(&self, table: &str, message: &mut Writer) {
        message.string(nft::CHAIN_TABLE, table);
        message.string(nft::CHAIN_NAME, &self.name);
        if let Some(base) = self.base {
            message.string(nft::CHAIN_TYPE, base.kind.name());
            message.be32(nft::CHAIN_POLICY, u32::from(!base.drop));
            message.nest(nft::CHAIN_HOOK, |hook| {
                hook.be32(nft::HOOK_HOOKNUM, base.hook as u32);
                hook.raw(nft::HOOK_PRIORITY, &base.priority.to_be_bytes());
            });
        }
        if let Some(comment) = userdata::comment(&self.comment) {
            message.raw(nft::CHAIN_USERDATA, &comment);
        }
    }

    /// `Err` with the name of a base chain whose kind is not one of ours, `None` if the message is no chain.
    pub(crate) fn read(message: &Message<'_>) -> Option<Result<Self, String>> {
        let attributes = message.attributes();
        let name = attributes.find(nft::CHAIN_NAME)?.string()?.to_owned();
        let userdata = attributes.find(nft::CHAIN_USERDATA);
        let comment = userdata.map(|userdata| userdata::read_comment(userdata.value)).unwrap_or_default();
        let base = match attributes.find(nft::CHAIN_HOOK) {
            None => None,
            Some(hook) => {
                let number = |kind| hook.nested().find(kind).and_then(|number| number.be32());
                let kind =
                    attributes.find(nft::CHAIN_TYPE).and_then(|kind| ChainType::from_name(kind.string()?));
                let hook = number(nft::HOOK_HOOKNUM).and_then(Hook::from_number);
                let (Some(kind), Some(hook)) = (kind, hook) else { return Some(Err(name)) };
                let priority = number(nft::HOOK_PRIORITY)? as i32;
                let policy = attributes.find(nft::CHAIN_POLICY).and_then(|policy| policy.be32());
                Some(BaseChain { kind, hook, priority, drop: policy == Some(0) })
            }
        };
        Some(Ok(Self { name, base, comment }))
    }
}

impl ChainType {
    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Filter, Self::Nat].into_iter().find(|kind| kind.name() == name)
    }
}

impl Hook {
    /// `nft`'s name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        let all = [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting];
        all.into_iter().find(|hook| *hook as u32 == number)
    }
}
