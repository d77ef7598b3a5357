//! Expressions as attributes.

use super::{Expr, FibAddress, LookupResult, Reject};
use crate::uapi::nft;
use crate::wire::Writer;

/// `NFT_CMP_EQ` and `NFT_CMP_NEQ`.
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
/// `NFT_LOOKUP_F_INV`.
const LOOKUP_INVERTED: u32 = 1;
/// `NFT_NG_RANDOM`.
const NUMGEN_RANDOM: u32 = 1;
/// `NFT_NAT_DNAT`.
const NAT_DESTINATION: u32 = 1;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
const NAT_FULLY_RANDOM: u32 = 0x10;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_SADDR`, `NFTA_FIB_F_DADDR`.
const FIB_ADDRTYPE: u32 = 3;
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;
/// `NFT_REJECT_TCP_RST`, `NFT_REJECT_ICMPX_UNREACH`, `NFT_REJECT_ICMPX_PORT_UNREACH`.
const REJECT_TCP_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_PORT_UNREACHABLE: u8 = 1;
/// The verdict register.
const VERDICT_REGISTER: u32 = 0;

impl Expr {
    /// The kernel's name of the expression.
    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Ct { .. } => "ct",
            Self::Compare { .. } => "cmp",
            Self::Bitwise { .. } => "bitwise",
            Self::Lookup { .. } => "lookup",
            Self::Random { .. } => "numgen",
            Self::FibType { .. } => "fib",
            Self::Dnat { .. } => "nat",
            Self::Masquerade { .. } => "masq",
            Self::Reject(_) => "reject",
            Self::Counter => "counter",
            Self::Verdict(_) => "immediate",
        }
    }

    /// Appends the expression to the list of a rule's expressions.
    pub(crate) fn write(&self, list: &mut Writer) {
        list.nest(nft::LIST_ELEM, |element| {
            element.string(nft::EXPR_NAME, self.name());
            element.nest(nft::EXPR_DATA, |data| self.write_data(data));
        });
    }

    /// The attributes of each expression, numbered by the `NFTA_*` enumeration of its name.
    fn write_data(&self, data: &mut Writer) {
        match self {
            Self::Meta { key, to } => {
                data.be32(2, *key as u32);
                data.be32(1, to.number());
            }
            Self::SetMeta { key, from } => {
                data.be32(2, *key as u32);
                data.be32(3, from.number());
            }
            Self::Payload { base, offset, length, to } => {
                data.be32(1, to.number());
                data.be32(2, *base as u32);
                data.be32(3, *offset);
                data.be32(4, *length);
            }
            Self::Ct { key, to } => {
                data.be32(2, *key as u32);
                data.be32(1, to.number());
            }
            Self::Compare { from, equal, value } => {
                data.be32(1, from.number());
                data.be32(2, if *equal { CMP_EQ } else { CMP_NEQ });
                data.nest(3, |operand| operand.raw(nft::DATA_VALUE, value));
            }
            Self::Bitwise { from, to, mask, xor } => {
                data.be32(1, from.number());
                data.be32(2, to.number());
                data.be32(3, size_of::<u32>() as u32);
                data.nest(4, |operand| operand.raw(nft::DATA_VALUE, &mask.to_ne_bytes()));
                data.nest(5, |operand| operand.raw(nft::DATA_VALUE, &xor.to_ne_bytes()));
            }
            Self::Lookup { set, from, result } => {
                data.string(1, set);
                data.be32(2, from.number());
                match result {
                    LookupResult::Contained => {}
                    LookupResult::NotContained => data.be32(5, LOOKUP_INVERTED),
                    LookupResult::Value(to) => data.be32(3, to.number()),
                    LookupResult::Verdict => data.be32(3, VERDICT_REGISTER),
                }
            }
            Self::Random { to, modulus, offset } => {
                data.be32(1, to.number());
                data.be32(2, *modulus);
                data.be32(3, NUMGEN_RANDOM);
                data.be32(4, *offset);
            }
            Self::FibType { address, to } => {
                data.be32(
                    3,
                    match address {
                        FibAddress::Source => FIB_SOURCE,
                        FibAddress::Destination => FIB_DESTINATION,
                    },
                );
                data.be32(2, FIB_ADDRTYPE);
                data.be32(1, to.number());
            }
            Self::Dnat { family, address, port } => {
                data.be32(1, NAT_DESTINATION);
                data.be32(2, u32::from(family.number()));
                data.be32(3, address.number());
                if let Some(port) = port {
                    data.be32(5, port.number());
                }
            }
            Self::Masquerade { fully_random: true } => data.be32(1, NAT_FULLY_RANDOM),
            Self::Masquerade { fully_random: false } | Self::Counter => {}
            Self::Reject(Reject::TcpReset) => data.be32(1, REJECT_TCP_RESET),
            Self::Reject(Reject::PortUnreachable) => {
                data.be32(1, REJECT_ICMPX);
                data.raw(2, &[ICMPX_PORT_UNREACHABLE]);
            }
            Self::Verdict(verdict) => {
                data.be32(1, VERDICT_REGISTER);
                verdict.write(2, data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{MetaKey, Register};

    #[test]
    fn an_expression_is_a_name_and_its_attributes() {
        let mut writer = Writer::new();
        Expr::Meta { key: MetaKey::L4Proto, to: Register(1) }.write(&mut writer);
        let expected = [
            36u8, 0, 1, 0x80, 9, 0, 1, 0, b'm', b'e', b't', b'a', 0, 0, 0, 0, // name
            20, 0, 2, 0x80, 8, 0, 2, 0, 0, 0, 0, 16, 8, 0, 1, 0, 0, 0, 0, 9, // key and register
        ];
        assert_eq!(writer.bytes(), expected);
    }
}
