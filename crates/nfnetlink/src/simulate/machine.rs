//! Single expressions on registers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::sets::Sets;
use super::walk::Walk;
use super::{Action, Host};
use crate::Family;
use crate::element::ElementData;
use crate::expr::{
    CtKey, Expr, FibAddress, LookupResult, MetaKey, PayloadBase, RTN_LOCAL, Register, Reject, ct_state,
    ct_status,
};
use crate::verdict::Verdict;

/// Bytes of all registers.
const REGISTERS: usize = 64;
const IFNAMSIZ: usize = 16;
/// `RTN_UNICAST`, `RTN_BROADCAST`, `RTN_MULTICAST`.
const RTN_UNICAST: u32 = 1;
const RTN_BROADCAST: u32 = 3;
const RTN_MULTICAST: u32 = 5;

/// The registers of a walk.
#[derive(Debug, Clone)]
pub(super) struct Registers([u8; REGISTERS]);

impl Default for Registers {
    fn default() -> Self {
        Self([0; REGISTERS])
    }
}

impl Registers {
    pub(super) fn get(&self, from: Register, length: usize) -> Option<&[u8]> {
        let start = 4 * usize::from(from.0);
        self.0.get(start..start + length)
    }

    /// Stores a value and fills the last register up with zeros, as the kernel does.
    pub(super) fn put(&mut self, to: Register, value: &[u8]) -> Option<()> {
        let start = 4 * usize::from(to.0);
        let filled = value.len().next_multiple_of(4);
        let place = self.0.get_mut(start..start + filled)?;
        place.fill(0);
        place[..value.len()].copy_from_slice(value);
        Some(())
    }

    fn number(&self, from: Register) -> Option<u32> {
        Some(u32::from_ne_bytes(self.get(from, 4)?.try_into().ok()?))
    }
}

/// How a rule goes on after an expression.
#[derive(Debug)]
pub(super) enum Flow<'a> {
    /// With the next expression.
    Next,
    /// Not at all: it does not match.
    NoMatch,
    /// So many ways, with numbers from `offset` on in a register.
    Split { to: Register, modulus: u32, offset: u32, memory: Option<HashKey> },
    /// As the verdict says.
    Verdict(&'a Verdict),
    /// The base chain ends: a translation is set up.
    Translated,
    /// The packet is gone.
    Rejected(Reject),
}

/// What a hash was made of: the same gives the same number again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HashKey {
    value: Vec<u8>,
    modulus: u32,
    seed: u32,
}

impl<'a> Walk<'a> {
    /// Evaluates one expression. `None` when its outcome cannot be told.
    pub(super) fn evaluate(
        &mut self,
        expression: &'a Expr,
        sets: &Sets<'a>,
        host: &Host,
    ) -> Option<Flow<'a>> {
        match expression {
            Expr::Meta { key, to } => self.meta(*key, *to)?,
            Expr::Ct { key, to } => {
                let value = self.ct(*key)?;
                self.registers.put(*to, &value)?;
            }
            Expr::FibType { address, to } => {
                let address = match address {
                    FibAddress::Source => self.packet.source,
                    FibAddress::Destination => self.packet.destination,
                };
                self.registers.put(*to, &address_type(address, host).to_ne_bytes())?;
            }
            // No server of the machine is known.
            Expr::SocketTransparent { .. } => return Some(Flow::NoMatch),
            Expr::NoTrack => {}
            Expr::Payload { base, offset, length, to } => {
                let value = self.payload(*base, *offset as usize, *length as usize)?;
                self.registers.put(*to, &value)?;
            }
            Expr::Immediate { value, to } => self.registers.put(*to, value)?,
            Expr::Compare { from, equal, value } => {
                let same = self.registers.get(*from, value.len())? == value.as_slice();
                return Some(if same == *equal { Flow::Next } else { Flow::NoMatch });
            }
            Expr::Bitwise { from, to, mask, xor } => {
                let bits = mask.iter().zip(xor);
                let value = self.registers.get(*from, mask.len())?.iter().zip(bits);
                let value: Vec<u8> = value.map(|(byte, (mask, xor))| (byte & mask) ^ xor).collect();
                self.registers.put(*to, &value)?;
            }
            Expr::SetMeta { key: MetaKey::Mark, from } => {
                self.mark = self.registers.number(*from)?;
                self.note(Action::Marked(self.mark));
            }
            Expr::SetMeta { key: MetaKey::Trace, .. } | Expr::Counter(_) => {}
            Expr::Lookup { set, from, result } => return self.lookup(set, *from, *result, sets),
            Expr::Update { set, .. } => self.note(Action::Remembered(set)),
            Expr::Random { to, modulus, offset } => {
                return Some(Flow::Split { to: *to, modulus: *modulus, offset: *offset, memory: None });
            }
            Expr::Hash { from, length, modulus, offset, seed, to } => {
                let value = self.registers.get(*from, *length as usize)?.to_vec();
                // Each expression without a seed has one of its own.
                let key = seed.map(|seed| HashKey { value, modulus: *modulus, seed });
                let known = self.hashes.iter().find(|(known, _)| Some(known) == key.as_ref());
                if let Some((_, number)) = known {
                    let number = offset.wrapping_add(*number);
                    self.registers.put(*to, &number.to_ne_bytes())?;
                    return Some(Flow::Next);
                }
                return Some(Flow::Split { to: *to, modulus: *modulus, offset: *offset, memory: key });
            }
            Expr::Dnat { family, address, port } => {
                let address = self.address(*family, *address)?;
                let port = match port {
                    Some(port) => u16::from_be_bytes(self.registers.get(*port, 2)?.try_into().ok()?),
                    None => self.packet.port,
                };
                self.translate(SocketAddr::new(address, port));
                self.note(Action::Translated(SocketAddr::new(address, port)));
                return Some(Flow::Translated);
            }
            Expr::Redirect { port } => {
                let port = match port {
                    Some(port) => u16::from_be_bytes(self.registers.get(*port, 2)?.try_into().ok()?),
                    None => self.packet.port,
                };
                let here = SocketAddr::new(self.own_address(host), port);
                self.translate(here);
                self.redirected = true;
                self.note(Action::Redirected(here));
                return Some(Flow::Translated);
            }
            Expr::Masquerade { .. } => {
                self.masqueraded = true;
                self.note(Action::Masqueraded);
                return Some(Flow::Translated);
            }
            Expr::Reject(reject) => {
                self.note(Action::Rejected(*reject));
                return Some(Flow::Rejected(*reject));
            }
            Expr::Verdict(verdict) => {
                self.note(Action::Verdict(verdict));
                return Some(Flow::Verdict(verdict));
            }
            Expr::SetMeta { .. } | Expr::Unknown(_) => return None,
        }
        Some(Flow::Next)
    }

    /// Goes on with one of the numbers that chance may give.
    pub(super) fn choose(&mut self, to: Register, offset: u32, number: u32, among: u32) -> Option<()> {
        let value = offset.wrapping_add(number);
        self.registers.put(to, &value.to_ne_bytes())?;
        self.note(Action::Chose { number: value, among });
        Some(())
    }

    fn meta(&mut self, key: MetaKey, to: Register) -> Option<()> {
        match key {
            MetaKey::Mark => self.registers.put(to, &self.mark.to_ne_bytes()),
            MetaKey::NfProto => self.registers.put(to, &[self.family().number()]),
            MetaKey::L4Proto => self.registers.put(to, &[self.packet.protocol]),
            MetaKey::InterfaceName => {
                let mut name = [0; IFNAMSIZ];
                let given = self.interface().unwrap_or_default().as_bytes();
                let length = given.len().min(IFNAMSIZ - 1);
                name[..length].copy_from_slice(&given[..length]);
                self.registers.put(to, &name)
            }
            // Routing decides, which is not known here.
            MetaKey::OutputInterfaceName | MetaKey::Trace => None,
        }
    }

    fn ct(&self, key: CtKey) -> Option<Vec<u8>> {
        Some(match (key, self.original.ip()) {
            (CtKey::State, _) => ct_state::NEW.to_ne_bytes().to_vec(),
            (CtKey::Status, _) => {
                let status = if self.translated { ct_status::DST_NAT } else { 0 };
                status.to_ne_bytes().to_vec()
            }
            (CtKey::OriginalPort, _) => self.original.port().to_be_bytes().to_vec(),
            (CtKey::OriginalAddress, IpAddr::V4(address)) => address.octets().to_vec(),
            (CtKey::OriginalAddress6, IpAddr::V6(address)) => address.octets().to_vec(),
            (CtKey::OriginalAddress | CtKey::OriginalAddress6, _) => return None,
        })
    }

    /// Bytes of the headers, as far as the packet says them.
    fn payload(&self, base: PayloadBase, offset: usize, length: usize) -> Option<Vec<u8>> {
        let packet = &self.packet;
        let ports = || [packet.source_port.to_be_bytes(), packet.port.to_be_bytes()].concat();
        let addresses = || match (packet.source, packet.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some([source.octets(), destination.octets()].concat())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Some([source.octets(), destination.octets()].concat())
            }
            _ => None,
        };
        let (protocol_at, addresses_at) = match packet.destination {
            IpAddr::V4(_) => (9, 12),
            IpAddr::V6(_) => (6, 8),
        };
        let (known, start) = match base {
            PayloadBase::Transport => (ports(), 0),
            PayloadBase::Network if offset == protocol_at => (vec![packet.protocol], protocol_at),
            PayloadBase::Network => (addresses()?, addresses_at),
        };
        let from = offset.checked_sub(start)?;
        Some(known.get(from..from + length)?.to_vec())
    }

    fn lookup(
        &mut self,
        set: &str,
        from: Register,
        result: LookupResult,
        sets: &Sets<'a>,
    ) -> Option<Flow<'a>> {
        let held = sets.get(set)?;
        let found = sets.find(held, self.registers.get(from, held.set.key.len() as usize)?);
        match (result, found) {
            (LookupResult::Contained, Some(_)) | (LookupResult::NotContained, None) => Some(Flow::Next),
            (LookupResult::NotContained, Some(_)) | (_, None) => Some(Flow::NoMatch),
            (LookupResult::Value(to), Some(element)) => match &element.data {
                ElementData::Value(value) => self.registers.put(to, value).map(|()| Flow::Next),
                _ => None,
            },
            (LookupResult::Verdict, Some(element)) => match &element.data {
                ElementData::Verdict(verdict) => {
                    self.note(Action::Verdict(verdict));
                    Some(Flow::Verdict(verdict))
                }
                _ => None,
            },
        }
    }

    fn address(&self, family: Family, from: Register) -> Option<IpAddr> {
        match family {
            Family::Ip => {
                Some(Ipv4Addr::from(<[u8; 4]>::try_from(self.registers.get(from, 4)?).ok()?).into())
            }
            Family::Ip6 => {
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(self.registers.get(from, 16)?).ok()?).into())
            }
            Family::Inet => None,
        }
    }

    fn translate(&mut self, destination: SocketAddr) {
        self.packet.destination = destination.ip();
        self.packet.port = destination.port();
        self.translated = true;
    }
}

/// What the routing table says of an address, as far as it follows from the address itself.
fn address_type(address: IpAddr, host: &Host) -> u32 {
    match address {
        _ if host.is_local(address) => RTN_LOCAL,
        IpAddr::V4(address) if address.is_broadcast() => RTN_BROADCAST,
        _ if address.is_multicast() => RTN_MULTICAST,
        _ => RTN_UNICAST,
    }
}
