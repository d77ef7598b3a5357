//! Accounting objects of the kernel (`linux/netfilter/nfnetlink_acct.h`), which rules name.

use nfnetlink::wire::{Messages, Writer};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netlink, recv, send, socket_with,
};

use super::place::Place;

/// Packets dropped for belonging to no connection.
pub(super) const INVALID: &str = "ct_state_invalid_dropped_pkts";
/// Connections to NodePorts at 127.0.0.1.
pub(super) const LOCALHOST: &str = "localhost_nps_accepted_pkts";

/// `NFNL_SUBSYS_ACCT` and `NFNL_MSG_ACCT_NEW`.
const NEW: u16 = 7 << 8;
/// `NLM_F_ACK`, `NLM_F_CREATE` and `NLM_F_EXCL`.
const FLAGS: u16 = 0x4 | 0x400 | 0x200;
/// `NFACCT_NAME`.
const NAME: u16 = 1;
/// `NLMSG_ERROR`.
const ERROR: u16 = 2;

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
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut writer = Writer::new();
    writer.message(NEW, FLAGS, 1, 0, 0, |message| message.string(NAME, name));
    send(&socket, writer.bytes(), SendFlags::empty())?;
    // The kernel answers inside `send`.
    let mut buffer = [0; 512];
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::DONTWAIT)?;
    let answer = Messages::new(&buffer[..length]).find(|message| message.kind == ERROR);
    match answer.and_then(|answer| Some(i32::from_ne_bytes(answer.payload.get(..4)?.try_into().ok()?))) {
        Some(0) => Ok(()),
        Some(code @ -4095..0) => match Errno::from_raw_os_error(-code) {
            Errno::EXIST => Ok(()),
            errno => Err(errno),
        },
        _ => Err(Errno::PROTO),
    }
}
