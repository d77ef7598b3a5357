//! Messages of IPVS as bytes. Numbers are in the machine's byte order, but ports and IPv4 masks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{Front, HeldServer, RealServer, Sharing, Timeouts, VirtualServer};
use crate::uapi::{genl, ipvs, netlink};
use crate::wire::{Attributes, Message, Writer};

/// `AF_INET` and `AF_INET6`.
const FAMILIES: [u16; 2] = [2, 10];
/// `IP_VS_CONN_F_MASQ`.
const MASQUERADING: u32 = 0;

/// What is done with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    New,
    Set,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::New { "add" } else { "change" })
    }
}

fn message(writer: &mut Writer, family: u16, command: u8, flags: u16, body: impl FnOnce(&mut Writer)) {
    writer.headed(family, flags, 1, &[command, ipvs::VERSION, 0, 0], body);
}

fn acknowledged(family: u16, command: u8, body: impl FnOnce(&mut Writer)) -> Writer {
    let mut writer = Writer::new();
    message(&mut writer, family, command, netlink::NLM_F_ACK, body);
    writer
}

pub(super) fn ask_family() -> Writer {
    let mut writer = Writer::new();
    let front = [genl::CMD_GETFAMILY, genl::CTRL_VERSION, 0, 0];
    writer.headed(genl::ID_CTRL, netlink::NLM_F_ACK, 1, &front, |message| {
        message.string(genl::FAMILY_NAME, ipvs::NAME);
    });
    writer
}

pub(super) fn read_family(message: &Message<'_>) -> Option<u16> {
    message.attributes().find(genl::FAMILY_ID)?.ne16()
}

pub(super) fn list_services(writer: &mut Writer, family: u16) {
    message(writer, family, ipvs::CMD_GET_SERVICE, netlink::NLM_F_DUMP, |_| {});
}

pub(super) fn list_dests(writer: &mut Writer, family: u16, front: &Front) {
    message(writer, family, ipvs::CMD_GET_DEST, netlink::NLM_F_DUMP, |message| write_front(message, front));
}

pub(super) fn service(family: u16, verb: Verb, server: &VirtualServer) -> Writer {
    let command = if verb == Verb::New { ipvs::CMD_NEW_SERVICE } else { ipvs::CMD_SET_SERVICE };
    acknowledged(family, command, |message| {
        message.nest(ipvs::SERVICE, |service| {
            write_identity(service, &server.front);
            let Sharing { scheduler, persistence, hash_port } = &server.sharing;
            service.string(ipvs::SVC_SCHED_NAME, scheduler);
            let persistent = if persistence.is_some() { ipvs::F_PERSISTENT } else { 0 };
            let flags = persistent | if *hash_port { ipvs::F_SCHED_2 } else { 0 };
            // Flags and which of them count.
            let flags = [flags.to_ne_bytes(), u32::MAX.to_ne_bytes()];
            service.raw(ipvs::SVC_FLAGS, flags.as_flattened());
            ne32(service, ipvs::SVC_TIMEOUT, seconds(persistence.unwrap_or_default()));
            match server.front.address {
                // Each client address by itself persists.
                SocketAddr::V4(_) => service.be32(ipvs::SVC_NETMASK, u32::MAX),
                SocketAddr::V6(_) => ne32(service, ipvs::SVC_NETMASK, 128),
            }
        });
    })
}

pub(super) fn delete_service(family: u16, front: &Front) -> Writer {
    acknowledged(family, ipvs::CMD_DEL_SERVICE, |message| write_front(message, front))
}

pub(super) fn dest(family: u16, verb: Verb, front: &Front, server: &RealServer) -> Writer {
    let command = if verb == Verb::New { ipvs::CMD_NEW_DEST } else { ipvs::CMD_SET_DEST };
    acknowledged(family, command, |message| {
        write_front(message, front);
        message.nest(ipvs::DEST, |dest| {
            write_place(dest, server.address);
            ne32(dest, ipvs::DEST_FWD_METHOD, MASQUERADING);
            ne32(dest, ipvs::DEST_WEIGHT, server.weight);
            ne32(dest, ipvs::DEST_U_THRESH, 0);
            ne32(dest, ipvs::DEST_L_THRESH, 0);
        });
    })
}

pub(super) fn delete_dest(family: u16, front: &Front, address: SocketAddr) -> Writer {
    acknowledged(family, ipvs::CMD_DEL_DEST, |message| {
        write_front(message, front);
        message.nest(ipvs::DEST, |dest| write_place(dest, address));
    })
}

pub(super) fn ask_timeouts(family: u16) -> Writer {
    acknowledged(family, ipvs::CMD_GET_CONFIG, |_| {})
}

pub(super) fn set_timeouts(family: u16, timeouts: &Timeouts) -> Writer {
    acknowledged(family, ipvs::CMD_SET_CONFIG, |message| {
        let Timeouts { tcp, tcp_fin, udp } = *timeouts;
        for (kind, timeout) in
            [(ipvs::TIMEOUT_TCP, tcp), (ipvs::TIMEOUT_TCP_FIN, tcp_fin), (ipvs::TIMEOUT_UDP, udp)]
        {
            // The kernel takes 0 for "as it is".
            ne32(message, kind, seconds(timeout));
        }
    })
}

pub(super) fn read_timeouts(message: &Message<'_>) -> Option<Timeouts> {
    let attributes = message.attributes();
    let timeout = |kind| Some(Duration::from_secs(attributes.find(kind)?.ne32()?.into()));
    Some(Timeouts {
        tcp: timeout(ipvs::TIMEOUT_TCP)?,
        tcp_fin: timeout(ipvs::TIMEOUT_TCP_FIN)?,
        udp: timeout(ipvs::TIMEOUT_UDP)?,
    })
}

/// `None` for a virtual server of a firewall mark.
pub(super) fn read_service(message: &Message<'_>) -> Option<VirtualServer> {
    let service = message.attributes().find(ipvs::SERVICE)?.nested();
    let ipv6 = service.find(ipvs::SVC_AF)?.ne16()? == FAMILIES[1];
    let address = read_place(service, ipvs::SVC_ADDR, ipvs::SVC_PORT, ipv6)?;
    let protocol = u8::try_from(service.find(ipvs::SVC_PROTOCOL)?.ne16()?).ok()?;
    let flags = u32::from_ne_bytes(service.find(ipvs::SVC_FLAGS)?.value.get(..4)?.try_into().ok()?);
    let timeout = Duration::from_secs(service.find(ipvs::SVC_TIMEOUT)?.ne32()?.into());
    Some(VirtualServer {
        front: Front { address, protocol },
        sharing: Sharing {
            scheduler: service.find(ipvs::SVC_SCHED_NAME)?.string()?.to_owned(),
            persistence: (flags & ipvs::F_PERSISTENT != 0).then_some(timeout),
            hash_port: flags & ipvs::F_SCHED_2 != 0,
        },
    })
}

pub(super) fn read_dest(message: &Message<'_>, front: &Front) -> Option<HeldServer> {
    let dest = message.attributes().find(ipvs::DEST)?.nested();
    // Kernels before 3.18 do not say the family: it is that of the virtual server.
    let family = dest.find(ipvs::DEST_ADDR_FAMILY).and_then(|family| family.ne16());
    let ipv6 = family.map_or(front.address.is_ipv6(), |family| family == FAMILIES[1]);
    let number = |kind| dest.find(kind)?.ne32();
    Some(HeldServer {
        server: RealServer {
            address: read_place(dest, ipvs::DEST_ADDR, ipvs::DEST_PORT, ipv6)?,
            weight: number(ipvs::DEST_WEIGHT)?,
        },
        connections: u64::from(number(ipvs::DEST_ACTIVE_CONNS)?) + u64::from(number(ipvs::DEST_INACT_CONNS)?),
    })
}

fn write_front(message: &mut Writer, front: &Front) {
    message.nest(ipvs::SERVICE, |service| write_identity(service, front));
}

fn write_identity(service: &mut Writer, front: &Front) {
    service.raw(ipvs::SVC_AF, &family_of(front.address).to_ne_bytes());
    service.raw(ipvs::SVC_PROTOCOL, &u16::from(front.protocol).to_ne_bytes());
    service.raw(ipvs::SVC_ADDR, &octets(front.address.ip()));
    service.raw(ipvs::SVC_PORT, &front.address.port().to_be_bytes());
}

fn write_place(dest: &mut Writer, address: SocketAddr) {
    dest.raw(ipvs::DEST_ADDR, &octets(address.ip()));
    dest.raw(ipvs::DEST_PORT, &address.port().to_be_bytes());
    dest.raw(ipvs::DEST_ADDR_FAMILY, &family_of(address).to_ne_bytes());
}

fn read_place(attributes: Attributes<'_>, address: u16, port: u16, ipv6: bool) -> Option<SocketAddr> {
    let bytes = attributes.find(address)?.value;
    let address: IpAddr = match ipv6 {
        true => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(..16)?).ok()?).into(),
        false => Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).into(),
    };
    Some(SocketAddr::new(address, attributes.find(port)?.be16()?))
}

fn family_of(address: SocketAddr) -> u16 {
    FAMILIES[usize::from(address.is_ipv6())]
}

/// `union nf_inet_addr`: sixteen bytes, whatever the family.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn ne32(writer: &mut Writer, kind: u16, value: u32) {
    writer.raw(kind, &value.to_ne_bytes());
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
