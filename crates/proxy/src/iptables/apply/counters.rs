//! Accounting objects of the kernel (`linux/netfilter/nfnetlink_acct.h`), which rules name.

use std::os::fd::OwnedFd;

use nfnetlink::wire::{Messages, Writer};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
};

use crate::xtables::Place;

/// Packets dropped for belonging to no connection.
pub(super) const INVALID: &str = "ct_state_invalid_dropped_pkts";
/// Connections to NodePorts at 127.0.0.1.
pub(super) const LOCALHOST: &str = "localhost_nps_accepted_pkts";

/// What is counted, each under the name of kube-proxy's metric.
const METRICS: [(&str, &str); 2] = [
    (INVALID, "kubeproxy_iptables_ct_state_invalid_dropped_packets_total"),
    (LOCALHOST, "kubeproxy_iptables_localhost_nodeports_accepted_packets_total"),
];

/// `NFNL_SUBSYS_ACCT` with `NFNL_MSG_ACCT_NEW`.
const NEW: u16 = 7 << 8;
/// `NFNL_SUBSYS_ACCT` with `NFNL_MSG_ACCT_GET`.
const GET: u16 = 7 << 8 | 1;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 0x4;
/// `NLM_F_CREATE` and `NLM_F_EXCL`.
const CREATE: u16 = 0x400 | 0x200;
/// `NFACCT_NAME`.
const NAME: u16 = 1;
/// `NFACCT_PKTS`.
const PACKETS: u16 = 2;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;

/// Reads the objects of one network namespace.
pub(super) struct Reader(OwnedFd);

impl Reader {
    /// Opens what is needed; `None` where that does not work.
    pub(super) fn open(place: &Place) -> Option<Self> {
        place.run(socket).ok()?.ok().map(Self)
    }

    /// The packets of those that are there, each by the name of its metric.
    pub(super) fn read(&mut self) -> Vec<(&'static str, u64)> {
        let read = |(object, metric)| Some((metric, self.packets(object).ok()??));
        METRICS.into_iter().filter_map(read).collect()
    }

    fn packets(&self, name: &str) -> Result<Option<u64>, Errno> {
        ask(&self.0, GET, ACKNOWLEDGE, name)
    }
}

/// Makes the objects that are not there; returns those that are.
pub(super) fn ensure(place: &Place) -> Vec<&'static str> {
    let made = |name: &&'static str| match place.run(|| create(name)) {
        Ok(Ok(())) => true,
        Ok(Err(errno)) => {
            tracing::debug!(%errno, counter = name, "the kernel has no such accounting object");
            false
        }
        Err(_) => false,
    };
    [INVALID, LOCALHOST].into_iter().filter(made).collect()
}

/// Makes one; one that is there is kept.
fn create(name: &str) -> Result<(), Errno> {
    match ask(&socket()?, NEW, ACKNOWLEDGE | CREATE, name) {
        Ok(_) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// Asks about one object; returns the packets that the answer tells of.
fn ask(socket: &OwnedFd, kind: u16, flags: u16, name: &str) -> Result<Option<u64>, Errno> {
    let mut writer = Writer::new();
    writer.message(kind, flags, 1, 0, 0, |message| message.string(NAME, name));
    retry_on_intr(|| send(socket, writer.bytes(), SendFlags::empty()))?;
    let mut packets = None;
    let mut buffer = [0; 1024];
    loop {
        // The kernel answers inside `send`.
        let (length, _) = retry_on_intr(|| recv(socket, &mut buffer[..], RecvFlags::DONTWAIT))?;
        for message in Messages::new(&buffer[..length]) {
            if message.kind != ERROR {
                packets = packets.or_else(|| message.attributes().find(PACKETS)?.be64());
                continue;
            }
            let code = message.payload.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
            return match code {
                Some(0) => Ok(packets),
                Some(code @ -4095..0) => Err(Errno::from_raw_os_error(-code)),
                _ => Err(Errno::PROTO),
            };
        }
    }
}
