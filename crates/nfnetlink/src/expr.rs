//! Expressions: the small instructions that rules are made of (`linux/netfilter/nf_tables.h`).

mod write;

use crate::{Family, Verdict};

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
    /// Store a fact about the packet (only [`MetaKey::Mark`] can be stored).
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
    /// `to = (from & mask) ^ xor` on a 32-bit number in host order.
    Bitwise {
        /// Source.
        from: Register,
        /// Destination.
        to: Register,
        /// Bits to keep.
        mask: u32,
        /// Bits to turn.
        xor: u32,
    },
    /// Look a key up in a named set or map; matches when it is there.
    Lookup {
        /// The set's name.
        set: &'static str,
        /// First register of the key.
        from: Register,
        /// What to do with what is found.
        result: LookupResult,
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
    /// Load the kind of address the routing table finds for the packet (`RTN_*`, host order).
    FibType {
        /// Which address to look up.
        address: FibAddress,
        /// Destination.
        to: Register,
    },
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
    /// Drop the packet and tell its sender.
    Reject(Reject),
    /// Count packets and bytes.
    Counter,
    /// Decide.
    Verdict(Verdict),
}

/// Facts about a packet (`NFT_META_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetaKey {
    /// Packet mark, 32 bits in host order.
    Mark = 3,
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
}
