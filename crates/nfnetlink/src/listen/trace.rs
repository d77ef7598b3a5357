//! The ways of live packets whose `meta nftrace` a rule has set.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use super::{Heard, Listener};
use crate::Family;
use crate::error::Error;
use crate::uapi::{nfnetlink, nft};
use crate::verdict::Verdict;
use crate::wire::{Message, Messages};

/// A socket that hears which rules traced packets meet.
#[derive(Debug)]
pub struct Tracer {
    listener: Listener,
}

/// A traced packet met a rule or a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// The same for all events of one packet.
    pub id: u32,
    /// Family of the table.
    pub family: Family,
    /// Table.
    pub table: String,
    /// Chain.
    pub chain: String,
    /// What it met.
    pub kind: TraceKind,
    /// Number of the rule, see [`Rule::handle`](crate::Rule::handle).
    pub rule: Option<u64>,
    /// What was decided; `None` if the packet just goes on to the next rule.
    pub verdict: Option<Verdict>,
    /// The packet's mark, if it has one.
    pub mark: u32,
    /// Number of the interface it came by.
    pub input_interface: Option<u32>,
    /// Number of the interface it leaves by.
    pub output_interface: Option<u32>,
    /// The packet itself; the kernel tells it once for each base chain.
    pub headers: Option<Headers>,
}

/// What a traced packet met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TraceKind {
    /// The policy of a base chain.
    Policy,
    /// The end of a chain, or a return.
    Return,
    /// A rule that matched.
    Rule,
}

/// Addresses and ports of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Headers {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Transport protocol number.
    pub protocol: u8,
    /// Source and destination port, if the protocol has ports.
    pub ports: Option<(u16, u16)>,
}

/// Protocols whose headers begin with both ports: TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

impl Tracer {
    /// Listens in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Open`] when the kernel does not allow it.
    pub fn open() -> Result<Self, Error> {
        let listener = Listener::open(&[])?;
        listener.subscribe(nfnetlink::GROUP_NFTRACE)?;
        Ok(Self { listener })
    }

    /// What was traced since the last call. It does not wait. Events that found no room are missing.
    ///
    /// # Errors
    /// [`Error::Receive`] when the socket fails.
    pub fn read(&mut self) -> Result<Vec<TraceEvent>, Error> {
        let mut events = Vec::new();
        loop {
            match self.listener.next()? {
                Heard::Nothing => return Ok(events),
                Heard::Lost => {}
                Heard::Datagram(datagram) => {
                    events.extend(Messages::new(datagram).filter_map(|message| TraceEvent::read(&message)));
                }
            }
        }
    }
}

impl AsRawFd for Tracer {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_fd().as_raw_fd()
    }
}

impl AsFd for Tracer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl TraceEvent {
    /// `None` if the message is no event, or one of a family that we do not know.
    fn read(message: &Message<'_>) -> Option<Self> {
        if message.kind != nfnetlink::SUBSYS_NFTABLES << 8 | nft::MSG_TRACE {
            return None;
        }
        let attributes = message.attributes();
        let number = |kind| attributes.find(kind).and_then(|number| number.be32());
        let name = |kind| Some(attributes.find(kind)?.string()?.to_owned());
        let bytes = |kind| attributes.find(kind).map(|bytes| bytes.value);
        Some(Self {
            id: number(nft::TRACE_ID)?,
            family: Family::from_number(message.family())?,
            table: name(nft::TRACE_TABLE)?,
            chain: name(nft::TRACE_CHAIN)?,
            kind: match number(nft::TRACE_TYPE)? {
                nft::TRACE_TYPE_POLICY => TraceKind::Policy,
                nft::TRACE_TYPE_RETURN => TraceKind::Return,
                nft::TRACE_TYPE_RULE => TraceKind::Rule,
                _ => return None,
            },
            rule: attributes.find(nft::TRACE_RULE_HANDLE).and_then(|handle| handle.be64()),
            verdict: attributes
                .find(nft::TRACE_VERDICT)
                .and_then(|verdict| Verdict::read(&verdict))
                .or_else(|| policy(number(nft::TRACE_POLICY)?)),
            mark: number(nft::TRACE_MARK).unwrap_or(0),
            input_interface: number(nft::TRACE_IIF),
            output_interface: number(nft::TRACE_OIF),
            headers: bytes(nft::TRACE_NETWORK_HEADER).and_then(|network| {
                Headers::read(network, bytes(nft::TRACE_TRANSPORT_HEADER).unwrap_or_default())
            }),
        })
    }
}

/// The verdict of a policy (`NF_DROP`, `NF_ACCEPT`).
fn policy(number: u32) -> Option<Verdict> {
    match number {
        0 => Some(Verdict::Drop),
        1 => Some(Verdict::Accept),
        _ => None,
    }
}

impl Headers {
    fn read(network: &[u8], transport: &[u8]) -> Option<Self> {
        let (source, destination, protocol): (IpAddr, IpAddr, u8) = match network.first()? >> 4 {
            4 => {
                let address = |at: usize| <[u8; 4]>::try_from(network.get(at..at + 4)?).ok();
                (Ipv4Addr::from(address(12)?).into(), Ipv4Addr::from(address(16)?).into(), *network.get(9)?)
            }
            6 => {
                let address = |at: usize| <[u8; 16]>::try_from(network.get(at..at + 16)?).ok();
                (Ipv6Addr::from(address(8)?).into(), Ipv6Addr::from(address(24)?).into(), *network.get(6)?)
            }
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes(transport.get(at..at + 2)?.try_into().ok()?));
        let ports = || Some((port(0)?, port(2)?));
        let ports = WITH_PORTS.contains(&protocol).then(ports).flatten();
        Some(Self { source, destination, protocol, ports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_addresses_and_ports_and_cut_ones_do_no_harm() {
        let mut network = vec![0x45; 20];
        network[9] = 6;
        network[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 96, 0, 1]);
        let headers = Headers::read(&network, &[0x9c, 0x40, 0, 80, 1]).unwrap();
        assert_eq!(headers.destination, "10.96.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(headers.ports, Some((40000, 80)));
        for cut in 0..20 {
            assert_eq!(Headers::read(&network[..cut], &[]), None);
        }
        assert_eq!(Headers::read(&network, &[1]).unwrap().ports, None);
    }
}
