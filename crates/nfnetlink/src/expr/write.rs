//! Expressions as attributes.

use super::{Expr, FibAddress, LookupResult, Reject};
use crate::batch::Anonymous;
use crate::uapi::{expr, nft};
use crate::wire::Writer;

impl Expr {
    /// The kernel's name of the expression.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Meta { .. } | Self::SetMeta { .. } => expr::META,
            Self::Payload { .. } => expr::PAYLOAD,
            Self::Ct { .. } => expr::CT,
            Self::Compare { .. } => expr::CMP,
            Self::Bitwise { .. } => expr::BITWISE,
            Self::Lookup { .. } => expr::LOOKUP,
            Self::Update { .. } => expr::DYNSET,
            Self::Random { .. } => expr::NUMGEN,
            Self::Hash { .. } => expr::HASH,
            Self::FibType { .. } => expr::FIB,
            Self::SocketTransparent { .. } => expr::SOCKET,
            Self::NoTrack => expr::NOTRACK,
            Self::Dnat { .. } => expr::NAT,
            Self::Masquerade { .. } => expr::MASQ,
            Self::Redirect { .. } => expr::REDIR,
            Self::Reject(_) => expr::REJECT,
            Self::Counter(_) => expr::COUNTER,
            Self::Immediate { .. } | Self::Verdict(_) => expr::IMMEDIATE,
            Self::Unknown(name) => name,
        }
    }

    /// Appends the expression to the list of a rule's expressions.
    pub(crate) fn write(&self, anonymous: &Anonymous, list: &mut Writer) {
        list.nest(nft::LIST_ELEM, |element| self.write_inside(anonymous, element));
    }

    /// Writes name and attributes.
    pub(crate) fn write_inside(&self, anonymous: &Anonymous, element: &mut Writer) {
        element.string(nft::EXPR_NAME, self.name());
        element.nest(nft::EXPR_DATA, |data| self.write_data(anonymous, data));
    }

    /// The attributes of each expression, numbered by the `NFTA_*` enumeration of its name.
    fn write_data(&self, anonymous: &Anonymous, data: &mut Writer) {
        match self {
            Self::Meta { key, to } => {
                data.be32(2, *key as u32);
                data.be32(1, to.number());
            }
            Self::SetMeta { key, from } => {
                data.be32(2, *key as u32);
                data.be32(3, from.number());
            }
            Self::Immediate { value, to } => {
                data.be32(1, to.number());
                data.nest(2, |operand| operand.raw(nft::DATA_VALUE, value));
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
                if key.has_direction() {
                    data.raw(3, &[expr::DIRECTION_ORIGINAL]);
                }
            }
            Self::Compare { from, equal, value } => {
                data.be32(1, from.number());
                data.be32(2, if *equal { expr::CMP_EQ } else { expr::CMP_NEQ });
                data.nest(3, |operand| operand.raw(nft::DATA_VALUE, value));
            }
            Self::Bitwise { from, to, mask, xor } => {
                data.be32(1, from.number());
                data.be32(2, to.number());
                data.be32(3, mask.len() as u32);
                data.nest(4, |operand| operand.raw(nft::DATA_VALUE, mask));
                data.nest(5, |operand| operand.raw(nft::DATA_VALUE, xor));
            }
            Self::Lookup { set, from, result } => {
                anonymous.write_reference(set, 1, 4, data);
                data.be32(2, from.number());
                match result {
                    LookupResult::Contained => {}
                    LookupResult::NotContained => data.be32(5, expr::LOOKUP_INVERTED),
                    LookupResult::Value(to) => data.be32(3, to.number()),
                    LookupResult::Verdict => data.be32(3, expr::VERDICT_REGISTER),
                }
            }
            Self::Update { set, key, data: value, timeout } => {
                anonymous.write_reference(set, 1, 2, data);
                data.be32(3, expr::DYNSET_UPDATE);
                data.be32(4, key.number());
                if let Some(value) = value {
                    data.be32(5, value.number());
                }
                if let Some(timeout) = timeout {
                    data.milliseconds(6, *timeout);
                }
            }
            Self::Random { to, modulus, offset } => {
                data.be32(1, to.number());
                data.be32(2, *modulus);
                data.be32(3, expr::NUMGEN_RANDOM);
                data.be32(4, *offset);
            }
            Self::Hash { from, length, modulus, offset, seed, to } => {
                data.be32(1, from.number());
                data.be32(2, to.number());
                data.be32(3, *length);
                data.be32(4, *modulus);
                if let Some(seed) = seed {
                    data.be32(5, *seed);
                }
                data.be32(6, *offset);
                data.be32(7, expr::HASH_JENKINS);
            }
            Self::FibType { address, to } => {
                data.be32(
                    3,
                    match address {
                        FibAddress::Source => expr::FIB_SOURCE,
                        FibAddress::Destination => expr::FIB_DESTINATION,
                    },
                );
                data.be32(2, expr::FIB_ADDRTYPE);
                data.be32(1, to.number());
            }
            Self::SocketTransparent { to } => {
                data.be32(1, expr::SOCKET_TRANSPARENT);
                data.be32(2, to.number());
            }
            Self::Dnat { family, address, port } => {
                data.be32(1, expr::NAT_DESTINATION);
                data.be32(2, u32::from(family.number()));
                data.be32(3, address.number());
                if let Some(port) = port {
                    data.be32(5, port.number());
                }
            }
            Self::Masquerade { fully_random: true } => data.be32(1, expr::NAT_FULLY_RANDOM),
            Self::Redirect { port: Some(port) } => data.be32(1, port.number()),
            Self::Counter(counter) => {
                data.be64(1, counter.0.bytes);
                data.be64(2, counter.0.packets);
            }
            Self::Reject(reject) => {
                let (kind, code) = match reject {
                    Reject::TcpReset => (expr::REJECT_TCP_RESET, None),
                    Reject::PortUnreachable => (expr::REJECT_ICMPX, Some(expr::ICMPX_PORT_UNREACHABLE)),
                    Reject::Unreachable(code) => (expr::REJECT_ICMP, Some(*code)),
                    Reject::Either(code) => (expr::REJECT_ICMPX, Some(*code)),
                };
                data.be32(1, kind);
                if let Some(code) = code {
                    data.raw(2, &[code]);
                }
            }
            Self::Verdict(verdict) => {
                data.be32(1, expr::VERDICT_REGISTER);
                verdict.write(2, data);
            }
            Self::Masquerade { fully_random: false }
            | Self::Redirect { port: None }
            | Self::NoTrack
            | Self::Unknown(_) => {}
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
        Expr::Meta { key: MetaKey::L4Proto, to: Register(1) }.write(&Anonymous::default(), &mut writer);
        let expected = [
            36u8, 0, 1, 0x80, 9, 0, 1, 0, b'm', b'e', b't', b'a', 0, 0, 0, 0, // name
            20, 0, 2, 0x80, 8, 0, 2, 0, 0, 0, 0, 16, 8, 0, 1, 0, 0, 0, 0, 9, // key and register
        ];
        assert_eq!(writer.bytes(), expected);
    }
}
