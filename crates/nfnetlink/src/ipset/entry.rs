//! Entries of sets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::SetType;
use crate::uapi::{ipset, netlink};
use crate::wire::{Attribute, Attributes, Writer};

/// One entry of a set; each form belongs to one [`SetType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entry {
    /// Of `hash:ip`.
    Ip(IpAddr),
    /// Of `hash:ip,port`: address, protocol number, port.
    IpPort(IpAddr, u8, u16),
    /// Of `hash:ip,port,ip`: the same and another address.
    IpPortIp(IpAddr, u8, u16, IpAddr),
    /// Of `hash:ip,port,net`: the same and a range, its first address and its prefix, which is not 0.
    IpPortNet(IpAddr, u8, u16, IpAddr, u8),
    /// Of `bitmap:port`.
    Port(u16),
}

/// Protocols by the names that `ipset` prints.
const PROTOCOLS: [(u8, &str); 3] = [(6, "tcp"), (17, "udp"), (132, "sctp")];

impl Entry {
    /// The type of the sets it may be in.
    pub fn kind(&self) -> SetType {
        match self {
            Self::Ip(_) => SetType::HashIp,
            Self::IpPort(..) => SetType::HashIpPort,
            Self::IpPortIp(..) => SetType::HashIpPortIp,
            Self::IpPortNet(..) => SetType::HashIpPortNet,
            Self::Port(_) => SetType::BitmapPort,
        }
    }

    pub(super) fn write(&self, data: &mut Writer) {
        match *self {
            Self::Ip(address) => write_address(data, ipset::IP, address),
            Self::IpPort(address, protocol, port) => write_front(data, address, protocol, port),
            Self::IpPortIp(address, protocol, port, other) => {
                write_front(data, address, protocol, port);
                write_address(data, ipset::IP2, other);
            }
            Self::IpPortNet(address, protocol, port, net, prefix) => {
                write_front(data, address, protocol, port);
                write_address(data, ipset::IP2, net);
                data.raw(ipset::CIDR2, &[prefix]);
            }
            Self::Port(port) => write_port(data, port),
        }
    }

    /// `None` for an entry of another type.
    pub(super) fn read(kind: SetType, data: Attributes<'_>) -> Option<Self> {
        let address = |kind| read_address(&data.find(kind)?);
        let byte = |kind| data.find(kind)?.value.first().copied();
        let port = || data.find(ipset::PORT)?.be16();
        Some(match kind {
            SetType::BitmapPort => Self::Port(port()?),
            SetType::HashIp => Self::Ip(address(ipset::IP)?),
            SetType::HashIpPort => Self::IpPort(address(ipset::IP)?, byte(ipset::PROTO)?, port()?),
            SetType::HashIpPortIp => {
                Self::IpPortIp(address(ipset::IP)?, byte(ipset::PROTO)?, port()?, address(ipset::IP2)?)
            }
            SetType::HashIpPortNet => {
                let net = address(ipset::IP2)?;
                // The kernel does not say the prefix of a single address.
                let prefix = byte(ipset::CIDR2).unwrap_or(if net.is_ipv4() { 32 } else { 128 });
                Self::IpPortNet(address(ipset::IP)?, byte(ipset::PROTO)?, port()?, net, prefix)
            }
        })
    }
}

fn write_front(data: &mut Writer, address: IpAddr, protocol: u8, port: u16) {
    write_address(data, ipset::IP, address);
    write_port(data, port);
    data.raw(ipset::PROTO, &[protocol]);
}

/// The kernel takes numbers only if they say that they are in network byte order.
fn write_port(data: &mut Writer, port: u16) {
    data.raw(ipset::PORT | netlink::NLA_F_NET_BYTEORDER, &port.to_be_bytes());
}

fn write_address(data: &mut Writer, kind: u16, address: IpAddr) {
    data.nest(kind, |nest| match address {
        IpAddr::V4(address) => {
            nest.raw(ipset::IPADDR_IPV4 | netlink::NLA_F_NET_BYTEORDER, &address.octets());
        }
        IpAddr::V6(address) => {
            nest.raw(ipset::IPADDR_IPV6 | netlink::NLA_F_NET_BYTEORDER, &address.octets());
        }
    });
}

fn read_address(nest: &Attribute<'_>) -> Option<IpAddr> {
    let address = nest.nested().next()?;
    match address.kind {
        ipset::IPADDR_IPV4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(address.value).ok()?).into()),
        ipset::IPADDR_IPV6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(address.value).ok()?).into()),
        _ => None,
    }
}

impl fmt::Display for Entry {
    /// As `ipset` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |number: u8| {
            let known = PROTOCOLS.iter().find(|(protocol, _)| *protocol == number);
            known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
        };
        match *self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::IpPort(address, protocol, port) => write!(f, "{address},{}:{port}", name(protocol)),
            Self::IpPortIp(address, protocol, port, other) => {
                write!(f, "{address},{}:{port},{other}", name(protocol))
            }
            Self::IpPortNet(address, protocol, port, net, 32) if net.is_ipv4() => {
                write!(f, "{address},{}:{port},{net}", name(protocol))
            }
            Self::IpPortNet(address, protocol, port, net, 128) => {
                write!(f, "{address},{}:{port},{net}", name(protocol))
            }
            Self::IpPortNet(address, protocol, port, net, prefix) => {
                write!(f, "{address},{}:{port},{net}/{prefix}", name(protocol))
            }
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}
