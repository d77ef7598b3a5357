//! Expressions: the small instructions that rules are made of (`linux/netfilter/nf_tables.h`).

mod read;
mod write;

use std::borrow::Cow;
use std::time::Duration;

use crate::{Counter, Family, Live, Verdict};

/// One of sixteen 32-bit registers (`NFT_REG32_00` to `NFT_REG32_15`).
///
/// A value longer than four bytes takes the registers that follow; so the fields of a concatenation are
/// loaded into registers side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register(pub u8);

impl Register {
    /// The kernel's number.
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }

    /// The register with this number; the kernel calls those at multiples of 16 bytes by the numbers 1 to 4
    /// (`NFT_REG_1` to `NFT_REG_4`).
    fn from_number(number: u32) -> Option<Self> {
        match number {
            1..=4 => Some(Self(4 * (number as u8 - 1))),
            8..=23 => Some(Self(number as u8 - 8)),
            _ => None,
        }
    }
}

/// An instruction. Those that compare or look up end the rule when they do not match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    /// Load a fact about the packet.
    Meta {
        /// Which.
        key: MetaKey,
        /// Destination.
        to: Register,
    },
    /// Load a constant.
    Immediate {
        /// The value, in the order the register holds it.
        value: Vec<u8>,
        /// First register.
        to: Register,
    },
    /// Store a fact about the packet (only [`MetaKey::Mark`] and [`MetaKey::Trace`] can be stored).
    SetMeta {
        /// Which.
        key: MetaKey,
        /// Source.
        from: Register,
    },
    /// Load bytes of the packet.
    Payload {
        /// Where `offset` counts from.
        base: PayloadBase,
        /// Bytes after `base`.
        offset: u32,
        /// Bytes to load.
        length: u32,
        /// Destination.
        to: Register,
    },
    /// Load a fact about the packet's connection.
    Ct {
        /// Which.
        key: CtKey,
        /// Destination.
        to: Register,
    },
    /// Match if registers hold, or do not hold, a value.
    Compare {
        /// First register.
        from: Register,
        /// Whether to match on equality or on difference.
        equal: bool,
        /// The value, in the order the register holds it.
        value: Vec<u8>,
    },
    /// `to = (from & mask) ^ xor`; see [`Expr::bitwise`] for numbers.
    Bitwise {
        /// First source register.
        from: Register,
        /// First destination register.
        to: Register,
        /// Bits to keep, in the order the registers hold them.
        mask: Vec<u8>,
        /// Bits to turn, as long as `mask`.
        xor: Vec<u8>,
    },
    /// Look a key up in a named set or map; matches when it is there.
    Lookup {
        /// The set's name.
        set: Cow<'static, str>,
        /// First register of the key.
        from: Register,
        /// What to do with what is found.
        result: LookupResult,
    },
    /// Add an element to a dynamic set or map, or let its time start anew if it is there (`dynset`).
    Update {
        /// The set's name.
        set: Cow<'static, str>,
        /// First register of the key.
        key: Register,
        /// First register of the value, for a map. The value of an element that is there stays as it is.
        /// `nft` 1.0.6 aborts when it lists a value that came from a lookup; one from the packet, the
        /// connection or an immediate is listed.
        data: Option<Register>,
        /// After how long the element goes, instead of after the time of the set.
        timeout: Option<Duration>,
    },
    /// Load `offset` plus a random number below `modulus`, in host order.
    Random {
        /// Destination.
        to: Register,
        /// Count of different numbers, at least 1.
        modulus: u32,
        /// The smallest number.
        offset: u32,
    },
    /// Load `offset` plus a hash below `modulus` of a value in registers (`jhash`), in host order.
    Hash {
        /// First register of the value.
        from: Register,
        /// Bytes of the value.
        length: u32,
        /// Count of different numbers, at least 2.
        modulus: u32,
        /// The smallest number.
        offset: u32,
        /// Start value of the hash: the same one gives the same numbers everywhere. `None`: the kernel
        /// draws one.
        seed: Option<u32>,
        /// Destination.
        to: Register,
    },
    /// Load the kind of address the routing table finds for the packet (`RTN_*`, host order).
    FibType {
        /// Which address to look up.
        address: FibAddress,
        /// Destination.
        to: Register,
    },
    /// Load whether the socket of this machine that would get the packet is one for any address
    /// (`IP_TRANSPARENT`), one byte; matches only if there is such a socket.
    SocketTransparent {
        /// Destination.
        to: Register,
    },
    /// Leave the packet out of connection tracking.
    NoTrack,
    /// Translate the destination; ends the chain.
    Dnat {
        /// [`Family::Ip`] or [`Family::Ip6`].
        family: Family,
        /// Register with the new address.
        address: Register,
        /// Register with the new port, if that changes too.
        port: Option<Register>,
    },
    /// Translate the source to the address of the interface the packet leaves by; ends the chain.
    Masquerade {
        /// Whether the new source port is chosen at random (`NF_NAT_RANGE_PROTO_RANDOM_FULLY`).
        fully_random: bool,
    },
    /// Translate the destination to this machine; ends the chain.
    Redirect {
        /// Register with the new port, if that changes too.
        port: Option<Register>,
    },
    /// Drop the packet and tell its sender.
    Reject(Reject),
    /// Count packets and bytes.
    Counter(Live<Counter>),
    /// Decide.
    Verdict(Verdict),
    /// An expression of this name that we do not know, or that is used in a way we do not know. It is only
    /// read, never written: the kernel would refuse it.
    Unknown(Cow<'static, str>),
}

impl Expr {
    /// `to = (from & mask) ^ xor` on a 32-bit number in host order.
    pub fn bitwise(from: Register, to: Register, mask: u32, xor: u32) -> Self {
        Self::Bitwise { from, to, mask: mask.to_ne_bytes().to_vec(), xor: xor.to_ne_bytes().to_vec() }
    }

    /// The set it looks something up in or updates.
    pub fn set(&self) -> Option<&str> {
        match self {
            Self::Lookup { set, .. } | Self::Update { set, .. } => Some(set),
            _ => None,
        }
    }

    pub(crate) fn set_mut(&mut self) -> Option<&mut Cow<'static, str>> {
        match self {
            Self::Lookup { set, .. } | Self::Update { set, .. } => Some(set),
            _ => None,
        }
    }

    /// Look up whether registers hold a key of a set.
    pub fn contained(set: impl Into<Cow<'static, str>>, from: Register) -> Self {
        Self::Lookup { set: set.into(), from, result: LookupResult::Contained }
    }
}

/// Facts about a packet (`NFT_META_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum MetaKey {
    /// Packet mark, 32 bits in host order.
    Mark = 3,
    /// Name of the interface the packet came by, 16 bytes filled up with zeros.
    InterfaceName = 6,
    /// Name of the interface the packet leaves by, 16 bytes filled up with zeros.
    OutputInterfaceName = 7,
    /// Whether the packet's way is reported to listeners, one byte.
    Trace = 12,
    /// Network protocol, one byte: 2 for IPv4, 10 for IPv6.
    NfProto = 15,
    /// Transport protocol, one byte.
    L4Proto = 16,
}

/// Where a payload offset counts from (`NFT_PAYLOAD_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PayloadBase {
    /// Start of the IP header.
    Network = 1,
    /// Start of the TCP, UDP or SCTP header.
    Transport = 2,
}

/// Facts about a connection (`NFT_CT_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CtKey {
    /// State bits, see [`ct_state`]; host order.
    State = 0,
    /// Status bits, see [`ct_status`]; host order.
    Status = 2,
    /// Destination port of its first packet before translation, network order.
    OriginalPort = 12,
    /// IPv4 destination of its first packet before translation.
    OriginalAddress = 20,
    /// IPv6 destination of its first packet before translation.
    OriginalAddress6 = 22,
}

impl CtKey {
    /// Whether the fact is one of a direction; then ours is that of the first packet.
    fn has_direction(self) -> bool {
        !matches!(self, Self::State | Self::Status)
    }
}

/// Bits of [`CtKey::State`].
pub mod ct_state {
    /// The packet starts a connection.
    pub const NEW: u32 = 1 << 3;
}

/// Bits of [`CtKey::Status`] (`IPS_*`).
pub mod ct_status {
    /// The connection's destination is translated.
    pub const DST_NAT: u32 = 1 << 5;
}

/// What a lookup does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LookupResult {
    /// Nothing: the rule goes on if the key is in the set.
    Contained,
    /// Nothing: the rule goes on if the key is not in the set.
    NotContained,
    /// Load the value from a map.
    Value(Register),
    /// Apply the verdict from a verdict map.
    Verdict,
}

/// Which address to look up in the routing table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FibAddress {
    /// The packet's source.
    Source,
    /// The packet's destination.
    Destination,
}

/// `RTN_LOCAL`: an address of this machine (`linux/rtnetlink.h`).
pub const RTN_LOCAL: u32 = 2;

/// What the sender of a rejected packet is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// TCP reset. Only for TCP packets.
    TcpReset,
    /// ICMP or ICMPv6 port unreachable.
    PortUnreachable,
    /// ICMP or ICMPv6 destination unreachable with the code of the packet's own protocol. Only in tables and
    /// rules of one family.
    Unreachable(u8),
    /// Another reason that both protocols know (`NFT_REJECT_ICMPX_*`).
    Either(u8),
}
