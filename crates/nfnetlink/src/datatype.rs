//! Types of keys and data, as `nft` numbers them so that it can print what it lists.
//!
//! The kernel only compares lengths; the type numbers (`enum datatypes` of nftables) are for the reader.

use std::borrow::Cow;

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
    /// A number without a meaning of its own, as `numgen` and `jhash` make, 4 bytes, host order.
    Integer,
    /// Name of a network interface, 16 bytes filled up with zeros.
    InterfaceName,
    /// A type, or a concatenation with a type, that we do not know.
    Other {
        /// `nft`'s number.
        number: u32,
        /// Length in bytes.
        size: u32,
    },
}

/// The types we know, with `nft`'s number, size in bytes and `nft`'s name.
const KNOWN: [(DataType, u32, u32, &str); 7] = [
    (DataType::Integer, 4, 4, "integer"),
    (DataType::Ipv4Addr, 7, 4, "ipv4_addr"),
    (DataType::Ipv6Addr, 8, 16, "ipv6_addr"),
    (DataType::InetProto, 12, 1, "inet_proto"),
    (DataType::InetService, 13, 2, "inet_service"),
    (DataType::Mark, 19, 4, "mark"),
    (DataType::InterfaceName, 41, 16, "ifname"),
];

impl DataType {
    fn known(self) -> Option<&'static (Self, u32, u32, &'static str)> {
        KNOWN.iter().find(|(known, ..)| *known == self)
    }

    fn number(self) -> u32 {
        match self {
            Self::Other { number, .. } => number,
            known => known.known().map_or(0, |(_, number, ..)| *number),
        }
    }

    /// Bytes the value itself takes.
    pub fn size(self) -> u32 {
        match self {
            Self::Other { size, .. } => size,
            known => known.known().map_or(0, |(_, _, size, _)| *size),
        }
    }

    /// `nft`'s name of the type.
    pub fn name(self) -> &'static str {
        self.known().map_or("unknown", |(.., name)| name)
    }

    fn byte_order(self) -> u32 {
        match self {
            Self::Mark | Self::Integer | Self::InterfaceName => HOST_ENDIAN,
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyType(pub Cow<'static, [DataType]>);

impl KeyType {
    /// A type known when the program is built.
    pub const fn of(fields: &'static [DataType]) -> Self {
        Self(Cow::Borrowed(fields))
    }

    /// The type with this number, whose values are `length` bytes long.
    pub(crate) fn from_number(number: u32, length: u32) -> Self {
        let field =
            |number: u32| KNOWN.iter().find(|(_, known, ..)| *known == number).map(|(known, ..)| *known);
        let mut fields = Vec::new();
        let mut rest = number;
        while rest != 0 {
            fields.push(field(rest & ((1 << TYPE_BITS) - 1)));
            rest >>= TYPE_BITS;
        }
        fields.reverse();
        let known = fields.into_iter().collect::<Option<Vec<_>>>().map(|fields| Self(fields.into()));
        known
            .filter(|known| known.len() == length)
            .unwrap_or_else(|| Self(vec![DataType::Other { number, size: length }].into()))
    }

    /// `nft`'s number of the type.
    pub fn number(&self) -> u32 {
        self.0.iter().fold(0, |number, field| number << TYPE_BITS | field.number())
    }

    /// Length in bytes. Each field of a concatenation fills up to four bytes.
    pub fn len(&self) -> u32 {
        match &*self.0 {
            [single] => single.size(),
            fields => fields.iter().map(|field| field.size().next_multiple_of(4)).sum(),
        }
    }

    /// Whether there is no field at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte_order(&self) -> u32 {
        match &*self.0 {
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
            assert_eq!(
                (KeyType::of(fields).number(), KeyType::of(fields).len()),
                (number, length),
                "{fields:?}"
            );
            assert_eq!(KeyType::from_number(number, length), KeyType::of(fields));
        }
        let unknown = DataType::Other { number: 0x73f, size: 8 };
        assert_eq!(KeyType::from_number(0x73f, 8), KeyType(vec![unknown].into()));
        assert_eq!(KeyType::of(&[Ipv4Addr, Ipv4Addr]).number(), KeyType::from_number(0x1c7, 8).number());
    }
}
