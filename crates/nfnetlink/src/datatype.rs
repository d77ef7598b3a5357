//! Types of keys and data, as `nft` numbers them so that it can print what it lists.
//!
//! The kernel only compares lengths; the type numbers (`enum datatypes` of nftables) are for the reader.

/// One field of a key or of a map's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DataType {
    /// IPv4 address, 4 bytes, network order.
    Ipv4Addr,
    /// IPv6 address, 16 bytes, network order.
    Ipv6Addr,
    /// Transport protocol number, 1 byte.
    InetProto,
    /// Transport port, 2 bytes, network order.
    InetService,
    /// Packet mark, or any other 32-bit number, host order.
    Mark,
}

impl DataType {
    fn number(self) -> u32 {
        match self {
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::Mark => 19,
        }
    }

    /// Bytes the value itself takes.
    fn size(self) -> u32 {
        match self {
            Self::Ipv4Addr | Self::Mark => 4,
            Self::Ipv6Addr => 16,
            Self::InetProto => 1,
            Self::InetService => 2,
        }
    }

    fn byte_order(self) -> u32 {
        match self {
            Self::Mark => HOST_ENDIAN,
            _ => BIG_ENDIAN,
        }
    }
}

/// `enum byteorder` of nftables.
const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;
/// Byte order of a concatenation: each field has its own.
const MIXED: u32 = 0;
/// Bits that `nft` gives each field of a concatenation in the type number.
const TYPE_BITS: u32 = 6;

/// The type of a key or of a map's data: one field, or several one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyType(pub &'static [DataType]);

impl KeyType {
    /// `nft`'s number of the type.
    pub fn number(self) -> u32 {
        self.0.iter().fold(0, |number, field| number << TYPE_BITS | field.number())
    }

    /// Length in bytes. Each field of a concatenation fills up to four bytes.
    pub fn len(self) -> u32 {
        match self.0 {
            [single] => single.size(),
            fields => fields.iter().map(|field| field.size().next_multiple_of(4)).sum(),
        }
    }

    /// Whether there is no field at all.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte_order(self) -> u32 {
        match self.0 {
            [single] => single.byte_order(),
            _ => MIXED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_those_nft_sends() {
        use DataType::{InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
        let cases: [(&'static [DataType], u32, u32); 4] = [
            (&[Ipv4Addr, InetProto, InetService], 0x730d, 12),
            (&[Mark, Mark], 0x04d3, 8),
            (&[Ipv4Addr], 7, 4),
            (&[Ipv6Addr, InetService], 0x20d, 20),
        ];
        for (fields, number, length) in cases {
            assert_eq!((KeyType(fields).number(), KeyType(fields).len()), (number, length), "{fields:?}");
        }
    }
}
