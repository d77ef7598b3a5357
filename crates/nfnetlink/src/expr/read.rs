//! Expressions from attributes: what [`super::write`] writes, and what the kernel makes of it.

use super::{CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase, Register, Reject};
use crate::uapi::{expr, nft};
use crate::wire::{Attribute, Attributes};
use crate::{Counter, Family, Live, Verdict};

impl Expr {
    /// Reads the inside of `NFTA_LIST_ELEM`. What we do not know becomes [`Expr::Unknown`].
    pub(crate) fn read(element: Attributes<'_>) -> Self {
        let name = element.find(nft::EXPR_NAME).and_then(|name| name.string()).unwrap_or_default();
        let data = element.find(nft::EXPR_DATA).map(|data| data.nested());
        Fields(data.unwrap_or_else(|| Attributes::new(&[])))
            .read(name)
            .unwrap_or_else(|| Self::Unknown(name.to_owned().into()))
    }
}

/// The attributes of one expression.
#[derive(Clone, Copy)]
struct Fields<'a>(Attributes<'a>);

impl<'a> Fields<'a> {
    /// `None` when the expression, or one of its settings, is not one of ours.
    fn read(self, name: &str) -> Option<Expr> {
        match name {
            expr::META => self.meta(),
            expr::PAYLOAD => Some(Expr::Payload {
                base: payload_base(self.number(2)?)?,
                offset: self.number(3)?,
                length: self.number(4)?,
                to: self.register(1)?,
            }),
            expr::CT => self.ct(),
            expr::CMP => self.compare(),
            expr::BITWISE => self.bitwise(),
            expr::LOOKUP => self.lookup(),
            expr::DYNSET => self.update(),
            expr::NUMGEN => (self.number(3)? == expr::NUMGEN_RANDOM).then_some(Expr::Random {
                to: self.register(1)?,
                modulus: self.number(2)?,
                offset: self.number(4).unwrap_or(0),
            }),
            expr::HASH => self.hash(),
            expr::FIB => self.fib(),
            expr::SOCKET => (self.number(1)? == expr::SOCKET_TRANSPARENT)
                .then_some(Expr::SocketTransparent { to: self.register(2)? }),
            expr::NOTRACK => Some(Expr::NoTrack),
            expr::NAT => self.dnat(),
            expr::MASQ => self.masquerade(),
            expr::REDIR => self.redirect(),
            expr::REJECT => self.reject(),
            expr::COUNTER => Some(Expr::Counter(Live(self.counter()))),
            expr::IMMEDIATE => self.immediate(),
            _ => None,
        }
    }

    fn find(self, kind: u16) -> Option<Attribute<'a>> {
        self.0.find(kind)
    }

    fn number(self, kind: u16) -> Option<u32> {
        self.find(kind)?.be32()
    }

    fn register(self, kind: u16) -> Option<Register> {
        Register::from_number(self.number(kind)?)
    }

    /// `Some(None)` if the attribute is not there, `None` if it is no register of ours.
    fn register_if_any(self, kind: u16) -> Option<Option<Register>> {
        match self.number(kind) {
            None => Some(None),
            Some(number) => Register::from_number(number).map(Some),
        }
    }

    fn value(self, kind: u16) -> Option<Vec<u8>> {
        Some(self.find(kind)?.nested().find(nft::DATA_VALUE)?.value.to_vec())
    }

    fn string(self, kind: u16) -> Option<String> {
        Some(self.find(kind)?.string()?.to_owned())
    }

    /// Whether the end of a range of addresses or ports is its start, as it is when only one was given.
    fn is_single(self, first: u16, last: u16) -> bool {
        self.number(last).is_none_or(|last| Some(last) == self.number(first))
    }

    fn counter(self) -> Counter {
        let number = |kind| self.find(kind).and_then(|number| number.be64()).unwrap_or(0);
        Counter { bytes: number(1), packets: number(2) }
    }

    fn meta(self) -> Option<Expr> {
        let key = meta_key(self.number(2)?)?;
        match self.register_if_any(3)? {
            Some(from) => Some(Expr::SetMeta { key, from }),
            None => Some(Expr::Meta { key, to: self.register(1)? }),
        }
    }

    fn ct(self) -> Option<Expr> {
        let key = ct_key(self.number(2)?)?;
        let direction = self.find(3).and_then(|direction| direction.value.first().copied());
        let ours = direction == key.has_direction().then_some(expr::DIRECTION_ORIGINAL);
        ours.then_some(Expr::Ct { key, to: self.register(1)? })
    }

    fn compare(self) -> Option<Expr> {
        let equal = match self.number(2)? {
            expr::CMP_EQ => true,
            expr::CMP_NEQ => false,
            _ => return None,
        };
        Some(Expr::Compare { from: self.register(1)?, equal, value: self.value(3)? })
    }

    fn bitwise(self) -> Option<Expr> {
        if self.number(6).unwrap_or(expr::BITWISE_BOOL) != expr::BITWISE_BOOL {
            return None;
        }
        let (mask, xor) = (self.value(4)?, self.value(5)?);
        Some(Expr::Bitwise { from: self.register(1)?, to: self.register(2)?, mask, xor })
    }

    fn lookup(self) -> Option<Expr> {
        let result = match (self.number(3), self.number(5).unwrap_or(0)) {
            (None, 0) => LookupResult::Contained,
            (None, expr::LOOKUP_INVERTED) => LookupResult::NotContained,
            (Some(expr::VERDICT_REGISTER), 0) => LookupResult::Verdict,
            (Some(number), 0) => LookupResult::Value(Register::from_number(number)?),
            _ => return None,
        };
        Some(Expr::Lookup { set: self.string(1)?.into(), from: self.register(2)?, result })
    }

    fn update(self) -> Option<Expr> {
        // Expressions for the new element (7 and 10) and flags (9) are for others.
        let plain = [7, 10].iter().all(|kind| self.find(*kind).is_none()) && self.number(9).unwrap_or(0) == 0;
        (plain && self.number(3)? == expr::DYNSET_UPDATE).then_some(Expr::Update {
            set: self.string(1)?.into(),
            key: self.register(4)?,
            data: self.register_if_any(5)?,
            timeout: self.find(6).and_then(|timeout| timeout.milliseconds()).filter(|time| !time.is_zero()),
        })
    }

    fn hash(self) -> Option<Expr> {
        (self.number(7).unwrap_or(expr::HASH_JENKINS) == expr::HASH_JENKINS).then_some(Expr::Hash {
            from: self.register(1)?,
            length: self.number(3)?,
            modulus: self.number(4)?,
            offset: self.number(6).unwrap_or(0),
            seed: self.number(5),
            to: self.register(2)?,
        })
    }

    fn fib(self) -> Option<Expr> {
        let address = match (self.number(2)?, self.number(3)?) {
            (expr::FIB_ADDRTYPE, expr::FIB_SOURCE) => FibAddress::Source,
            (expr::FIB_ADDRTYPE, expr::FIB_DESTINATION) => FibAddress::Destination,
            _ => return None,
        };
        Some(Expr::FibType { address, to: self.register(1)? })
    }

    fn dnat(self) -> Option<Expr> {
        let plain = self.number(7).unwrap_or(0) & !expr::NAT_IMPLIED == 0;
        let single = self.is_single(3, 4) && self.is_single(5, 6);
        (plain && single && self.number(1)? == expr::NAT_DESTINATION).then_some(Expr::Dnat {
            family: Family::from_number(self.number(2)? as u8)?,
            address: self.register(3)?,
            port: self.register_if_any(5)?,
        })
    }

    fn masquerade(self) -> Option<Expr> {
        let flags = self.number(1).unwrap_or(0);
        let plain = flags & !expr::NAT_FULLY_RANDOM == 0 && self.number(2).is_none();
        plain.then_some(Expr::Masquerade { fully_random: flags == expr::NAT_FULLY_RANDOM })
    }

    fn redirect(self) -> Option<Expr> {
        let plain = self.number(3).unwrap_or(0) & !expr::NAT_IMPLIED == 0;
        (plain && self.is_single(1, 2)).then_some(Expr::Redirect { port: self.register_if_any(1)? })
    }

    fn reject(self) -> Option<Expr> {
        let code = || self.find(2)?.value.first().copied();
        let reject = match self.number(1)? {
            expr::REJECT_TCP_RESET => Reject::TcpReset,
            expr::REJECT_ICMP => Reject::Unreachable(code()?),
            expr::REJECT_ICMPX => match code()? {
                expr::ICMPX_PORT_UNREACHABLE => Reject::PortUnreachable,
                code => Reject::Either(code),
            },
            _ => return None,
        };
        Some(Expr::Reject(reject))
    }

    fn immediate(self) -> Option<Expr> {
        let data = self.find(2)?.nested().next()?;
        match self.number(1)? {
            expr::VERDICT_REGISTER => Some(Expr::Verdict(Verdict::read(&data)?)),
            number => {
                Some(Expr::Immediate { value: data.value.to_vec(), to: Register::from_number(number)? })
            }
        }
    }
}

fn meta_key(number: u32) -> Option<MetaKey> {
    use MetaKey::{InterfaceName, L4Proto, Mark, NfProto, OutputInterfaceName, Trace};
    let all = [Mark, InterfaceName, OutputInterfaceName, Trace, NfProto, L4Proto];
    all.into_iter().find(|key| *key as u32 == number)
}

fn ct_key(number: u32) -> Option<CtKey> {
    use CtKey::{OriginalAddress, OriginalAddress6, OriginalPort, State, Status};
    [State, Status, OriginalPort, OriginalAddress, OriginalAddress6]
        .into_iter()
        .find(|key| *key as u32 == number)
}

fn payload_base(number: u32) -> Option<PayloadBase> {
    [PayloadBase::Network, PayloadBase::Transport].into_iter().find(|base| *base as u32 == number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::batch::Anonymous;
    use crate::wire::Writer;

    const ONE: Register = Register(1);

    /// One of each kind.
    fn samples() -> Vec<Expr> {
        let set = || "s".into();
        vec![
            Expr::Meta { key: MetaKey::InterfaceName, to: ONE },
            Expr::SetMeta { key: MetaKey::Trace, from: ONE },
            Expr::Immediate { value: vec![10, 0, 0, 1], to: Register(4) },
            Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: ONE },
            Expr::Ct { key: CtKey::State, to: ONE },
            Expr::Ct { key: CtKey::OriginalAddress, to: ONE },
            Expr::Compare { from: ONE, equal: false, value: vec![6] },
            Expr::bitwise(ONE, Register(2), 0xff, 0x4000),
            Expr::contained("s", ONE),
            Expr::Lookup { set: set(), from: ONE, result: LookupResult::NotContained },
            Expr::Lookup { set: set(), from: ONE, result: LookupResult::Value(Register(9)) },
            Expr::Lookup { set: set(), from: ONE, result: LookupResult::Verdict },
            Expr::Update { set: set(), key: ONE, data: None, timeout: None },
            Expr::Update { set: set(), key: ONE, data: Some(ONE), timeout: Some(Duration::from_secs(5)) },
            Expr::Random { to: ONE, modulus: 3, offset: 1 },
            Expr::Hash { from: ONE, length: 4, modulus: 251, offset: 2, seed: Some(0), to: ONE },
            Expr::Hash { from: ONE, length: 4, modulus: 2, offset: 0, seed: None, to: ONE },
            Expr::FibType { address: FibAddress::Source, to: ONE },
            Expr::FibType { address: FibAddress::Destination, to: ONE },
            Expr::SocketTransparent { to: ONE },
            Expr::NoTrack,
            Expr::Dnat { family: Family::Ip6, address: ONE, port: Some(Register(5)) },
            Expr::Dnat { family: Family::Ip, address: ONE, port: None },
            Expr::Masquerade { fully_random: true },
            Expr::Masquerade { fully_random: false },
            Expr::Redirect { port: None },
            Expr::Redirect { port: Some(ONE) },
            Expr::Reject(Reject::TcpReset),
            Expr::Reject(Reject::PortUnreachable),
            Expr::Reject(Reject::Unreachable(3)),
            Expr::Reject(Reject::Either(0)),
            Expr::Counter(Live(Counter { packets: 1, bytes: 60 })),
            Expr::Verdict(Verdict::Jump("c".into())),
            Expr::Unknown("limit".into()),
        ]
    }

    #[test]
    fn every_expression_survives_the_wire() {
        for sample in samples() {
            let mut writer = Writer::new();
            sample.write(&Anonymous::default(), &mut writer);
            let element = Attributes::new(writer.bytes()).next().unwrap();
            assert_eq!(Expr::read(element.nested()), sample);
        }
    }

    #[test]
    fn an_expression_cut_short_is_unknown_and_does_no_harm() {
        for sample in samples() {
            let mut writer = Writer::new();
            sample.write(&Anonymous::default(), &mut writer);
            for cut in 4..writer.bytes().len() {
                Expr::read(Attributes::new(&writer.bytes()[4..cut]));
            }
        }
    }
}
