//! The connection table: listing flows and deleting them (`linux/netfilter/nfnetlink_conntrack.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use crate::error::{Error, Refusal};
use crate::socket::Socket;
use crate::uapi::{ct, netlink, nfnetlink};
use crate::wire::{Attribute, Attributes, Message, Writer};

/// Address families in ctnetlink messages (`AF_INET`, `AF_INET6`).
const FAMILIES: [u8; 2] = [2, 10];

/// One connection, as the kernel tracks it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Transport protocol number.
    pub protocol: u8,
    /// Where its first packet came from.
    pub source: SocketAddr,
    /// Where its first packet was sent to, before translation.
    pub destination: SocketAddr,
    /// Where answers come from: the destination after translation.
    pub reply_source: SocketAddr,
    /// `CTA_ID`: tells this flow from a later one with the same addresses.
    id: Option<u32>,
}

impl Socket {
    /// Flows of one transport protocol, of both address families.
    ///
    /// # Errors
    /// [`Error::Refused`] when the kernel has no ctnetlink, [`Error::DumpDisturbed`] when the table never
    /// held still.
    pub fn flows(&mut self, protocol: u8) -> Result<Vec<Flow>, Error> {
        self.read_flows(protocol, false)
    }

    /// The flows among them whose destination is not translated and that nobody answered.
    ///
    /// # Errors
    /// Those of [`Socket::flows`].
    pub fn lost_flows(&mut self, protocol: u8) -> Result<Vec<Flow>, Error> {
        let mut flows = self.read_flows(protocol, true)?;
        // Kernels before 5.15 list the others too.
        flows.retain(|flow| flow.reply_source == flow.destination);
        Ok(flows)
    }

    fn read_flows(&mut self, protocol: u8, lost: bool) -> Result<Vec<Flow>, Error> {
        let mut flows = Vec::new();
        for family in FAMILIES {
            let filtered = self.dump(|writer| list(writer, family, Some(protocol), lost), Flow::read);
            // Kernels before 5.8 do not know the filter.
            let read = match filtered {
                Err(Error::Refused(_)) => self.dump(|writer| list(writer, family, None, lost), Flow::read)?,
                other => other?,
            };
            flows.extend(read.into_iter().filter(|flow| flow.protocol == protocol));
        }
        Ok(flows)
    }

    /// Deletes a flow; its next packet is looked at as if it were the first. A flow that has ended by
    /// itself is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] names the flow.
    pub fn delete_flow(&mut self, flow: &Flow) -> Result<(), Error> {
        let mut writer = Writer::new();
        let kind = nfnetlink::SUBSYS_CTNETLINK << 8 | ct::MSG_DELETE;
        writer.message(kind, netlink::NLM_F_ACK, 1, flow.family(), 0, |message| {
            message.nest(ct::TUPLE_ORIG, |tuple| flow.write_original(tuple));
            if let Some(id) = flow.id {
                message.be32(ct::ID, id);
            }
        });
        match self.request(&writer) {
            Ok(()) | Err((Errno::NOENT, _)) => Ok(()),
            Err((errno, detail)) => {
                let message = format!("delete flow {} to {}", flow.source, flow.destination);
                Err(Error::Refused(vec![Refusal { message, errno, detail }]))
            }
        }
    }
}

fn list(writer: &mut Writer, family: u8, protocol: Option<u8>, lost: bool) {
    let kind = nfnetlink::SUBSYS_CTNETLINK << 8 | ct::MSG_GET;
    writer.message(kind, netlink::NLM_F_DUMP, 1, family, 0, |message| {
        if lost {
            message.be32(ct::STATUS, 0);
            message.be32(ct::STATUS_MASK, ct::STATUS_SEEN_REPLY | ct::STATUS_DST_NAT);
        }
        let Some(protocol) = protocol else { return };
        message.nest(ct::TUPLE_ORIG, |tuple| {
            tuple.nest(ct::TUPLE_PROTO, |proto| proto.raw(ct::PROTO_NUM, &[protocol]));
        });
        message.nest(ct::FILTER, |filter| {
            filter.raw(ct::FILTER_ORIG_FLAGS, &ct::FILTER_F_PROTO_NUM.to_ne_bytes());
            filter.raw(ct::FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    });
}

impl Flow {
    fn family(&self) -> u8 {
        FAMILIES[usize::from(self.destination.is_ipv6())]
    }

    fn write_original(&self, tuple: &mut Writer) {
        tuple.nest(ct::TUPLE_IP, |ip| {
            let (v4, v6) = ((ct::IP_V4_SRC, ct::IP_V4_DST), (ct::IP_V6_SRC, ct::IP_V6_DST));
            let (source, destination) = if self.destination.is_ipv4() { v4 } else { v6 };
            for (kind, address) in [(source, self.source.ip()), (destination, self.destination.ip())] {
                match address {
                    IpAddr::V4(address) => ip.raw(kind, &address.octets()),
                    IpAddr::V6(address) => ip.raw(kind, &address.octets()),
                }
            }
        });
        tuple.nest(ct::TUPLE_PROTO, |proto| {
            proto.raw(ct::PROTO_NUM, &[self.protocol]);
            proto.raw(ct::PROTO_SRC_PORT, &self.source.port().to_be_bytes());
            proto.raw(ct::PROTO_DST_PORT, &self.destination.port().to_be_bytes());
        });
    }

    /// `None` for flows without ports.
    fn read(message: &Message<'_>) -> Option<Self> {
        let attributes = message.attributes();
        let (protocol, source, destination) = tuple(attributes.find(ct::TUPLE_ORIG)?.nested())?;
        let (_, reply_source, _) = tuple(attributes.find(ct::TUPLE_REPLY)?.nested())?;
        let id = attributes.find(ct::ID).and_then(|id| id.be32());
        Some(Self { protocol, source, destination, reply_source, id })
    }
}

/// Protocol, source and destination of one direction.
fn tuple(tuple: Attributes<'_>) -> Option<(u8, SocketAddr, SocketAddr)> {
    let ip = tuple.find(ct::TUPLE_IP)?.nested();
    let proto = tuple.find(ct::TUPLE_PROTO)?.nested();
    let address = |v4, v6| ip.find(v4).or_else(|| ip.find(v6)).and_then(|address| read_address(&address));
    let port = |kind| proto.find(kind)?.be16();
    Some((
        *proto.find(ct::PROTO_NUM)?.value.first()?,
        SocketAddr::new(address(ct::IP_V4_SRC, ct::IP_V6_SRC)?, port(ct::PROTO_SRC_PORT)?),
        SocketAddr::new(address(ct::IP_V4_DST, ct::IP_V6_DST)?, port(ct::PROTO_DST_PORT)?),
    ))
}

fn read_address(attribute: &Attribute<'_>) -> Option<IpAddr> {
    match attribute.value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(attribute.value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(attribute.value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    #[test]
    fn a_flow_survives_the_wire() {
        let flow = Flow {
            protocol: 17,
            source: "10.244.0.2:5353".parse().unwrap(),
            destination: "10.96.0.10:53".parse().unwrap(),
            reply_source: "10.96.0.10:53".parse().unwrap(),
            id: Some(7),
        };
        let mut writer = Writer::new();
        writer.message(0x0100, 0, 1, 2, 0, |message| {
            message.nest(ct::TUPLE_ORIG, |tuple| flow.write_original(tuple));
            let reply = Flow { source: flow.destination, destination: flow.source, ..flow.clone() };
            message.nest(ct::TUPLE_REPLY, |tuple| reply.write_original(tuple));
            message.be32(ct::ID, 7);
        });
        let message = Messages::new(writer.bytes()).next().unwrap();
        assert_eq!(Flow::read(&message), Some(flow));
    }
}
