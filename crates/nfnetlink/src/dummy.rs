//! A dummy interface, which makes addresses local without carrying packets (`linux/rtnetlink.h`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::error::{Error, Refusal};
use crate::socket::Socket;
use crate::uapi::{netlink, route};
use crate::wire::{Message, Writer};

/// `NETLINK_ROUTE` is protocol 0, which is the one of a socket that asks for none.
const ROUTE: Option<rustix::net::Protocol> = None;
/// Size of `struct ifinfomsg` in bytes.
const IFINFOMSG: usize = 16;
/// Size of `struct ifaddrmsg` in bytes.
const IFADDRMSG: usize = 8;

/// An interface of type dummy in the network namespace of the thread that made this value. It stays down: its
/// addresses are local all the same.
#[derive(Debug)]
pub struct Dummy {
    socket: Socket,
    name: String,
    index: u32,
}

impl Dummy {
    /// The interface of this name, made if it is not there. The kernel loads the module `dummy` if it has to and can.
    ///
    /// # Errors
    /// [`Error::Refused`] with `EOPNOTSUPP` when the kernel has no dummy interfaces.
    pub fn ensure(name: &str) -> Result<Self, Error> {
        if let Some(found) = Self::find(name)? {
            return Ok(found);
        }
        let mut socket = Socket::open_protocol(ROUTE)?;
        let mut writer = Writer::new();
        let flags = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL;
        writer.headed(route::NEWLINK, flags, 1, &[0; IFINFOMSG], |message| {
            message.string(route::IFLA_IFNAME, name);
            message.nest(route::IFLA_LINKINFO, |info| info.string(route::IFLA_INFO_KIND, "dummy"));
        });
        match socket.request(&writer) {
            Ok(()) | Err((Errno::EXIST, _)) => {}
            Err(refused) => return Err(refusal(format!("add the dummy interface {name}"), refused)),
        }
        let gone = || refusal(format!("find interface {name}"), (Errno::NODEV, String::new()));
        Self::find(name)?.ok_or_else(gone)
    }

    /// The interface of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        let mut socket = Socket::open_protocol(ROUTE)?;
        let mut writer = Writer::new();
        writer.headed(route::GETLINK, netlink::NLM_F_ACK, 1, &[0; IFINFOMSG], |message| {
            message.string(route::IFLA_IFNAME, name);
        });
        let index = |message: &Message<'_>| {
            let index = message.payload.get(4..8)?.try_into().ok()?;
            (message.kind == route::NEWLINK).then_some(u32::from_ne_bytes(index))
        };
        match socket.query(&writer, index) {
            Ok(Some(index)) => Ok(Some(Self { socket, name: name.to_owned(), index })),
            Ok(None) | Err((Errno::NODEV, _)) => Ok(None),
            Err(refused) => Err(refusal(format!("find interface {name}"), refused)),
        }
    }

    /// Its addresses but link-local ones, in the kernel's order.
    ///
    /// # Errors
    /// [`Error::DumpDisturbed`] when they changed too often.
    pub fn addresses(&mut self) -> Result<Vec<IpAddr>, Error> {
        let index = self.index;
        let request = |writer: &mut Writer| {
            writer.headed(route::GETADDR, netlink::NLM_F_DUMP, 1, &[0; IFADDRMSG], |_| {});
        };
        self.socket.dump(request, |message| read_address(message, index))
    }

    /// Adds an address by itself, without a range around it. One that is there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] with `ENODEV` when the interface is gone.
    pub fn add_address(&mut self, address: IpAddr) -> Result<(), Error> {
        let flags = netlink::NLM_F_ACK | netlink::NLM_F_CREATE | netlink::NLM_F_EXCL;
        match self.socket.request(&self.change(route::NEWADDR, flags, address)) {
            Ok(()) | Err((Errno::EXIST, _)) => Ok(()),
            Err(refused) => Err(refusal(format!("add {address} to {}", self.name), refused)),
        }
    }

    /// Removes an address. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_address(&mut self, address: IpAddr) -> Result<(), Error> {
        match self.socket.request(&self.change(route::DELADDR, netlink::NLM_F_ACK, address)) {
            Ok(()) | Err((Errno::ADDRNOTAVAIL | Errno::NODEV | Errno::NXIO, _)) => Ok(()),
            Err(refused) => Err(refusal(format!("remove {address} from {}", self.name), refused)),
        }
    }

    /// Removes the interface with its addresses.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn remove(mut self) -> Result<(), Error> {
        let mut front = [0; IFINFOMSG];
        front[4..8].copy_from_slice(&self.index.to_ne_bytes());
        let mut writer = Writer::new();
        writer.headed(route::DELLINK, netlink::NLM_F_ACK, 1, &front, |_| {});
        match self.socket.request(&writer) {
            Ok(()) | Err((Errno::NODEV, _)) => Ok(()),
            Err(refused) => Err(refusal(format!("remove interface {}", self.name), refused)),
        }
    }

    fn change(&self, kind: u16, flags: u16, address: IpAddr) -> Writer {
        let (family, bits, octets) = match address {
            IpAddr::V4(address) => (2, 32, address.octets().to_vec()),
            IpAddr::V6(address) => (10, 128, address.octets().to_vec()),
        };
        let mut front = [family, bits, 0, 0, 0, 0, 0, 0];
        front[4..].copy_from_slice(&self.index.to_ne_bytes());
        let mut writer = Writer::new();
        writer.headed(kind, flags, 1, &front, |message| {
            message.raw(route::IFA_LOCAL, &octets);
            message.raw(route::IFA_ADDRESS, &octets);
        });
        writer
    }
}

fn read_address(message: &Message<'_>, index: u32) -> Option<IpAddr> {
    let here = u32::from_ne_bytes(message.payload.get(4..8)?.try_into().ok()?);
    if message.kind != route::NEWADDR || here != index {
        return None;
    }
    let attributes = message.attributes_after(IFADDRMSG);
    let address = attributes.find(route::IFA_LOCAL).or_else(|| attributes.find(route::IFA_ADDRESS))?;
    match address.value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(address.value).ok()?).into()),
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(address.value).ok()?);
            (!address.is_unicast_link_local()).then_some(address.into())
        }
        _ => None,
    }
}

fn refusal(message: String, (errno, detail): (Errno, String)) -> Error {
    Error::Refused(vec![Refusal { message, errno, detail }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Messages;

    #[test]
    fn addresses_of_other_interfaces_and_link_local_ones_do_not_count() {
        let message = |index: u8, kind: u16, address: &[u8]| {
            let mut writer = Writer::new();
            let front = [2, 32, 0, 0, index, 0, 0, 0];
            writer.headed(route::NEWADDR, 0, 1, &front, |message| message.raw(kind, address));
            Messages::new(writer.bytes()).find_map(|message| read_address(&message, 7))
        };
        assert_eq!(message(7, route::IFA_LOCAL, &[10, 96, 0, 1]), Some([10, 96, 0, 1].into()));
        assert_eq!(message(8, route::IFA_LOCAL, &[10, 96, 0, 1]), None);
        let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
        assert_eq!(message(7, route::IFA_ADDRESS, &link_local.octets()), None);
    }
}
