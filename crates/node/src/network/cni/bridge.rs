//! The kernel's side of the pod network, over netlink: bridge, veth pair, addresses, routes.

use std::{fs::File, net::IpAddr, os::fd::AsRawFd, path::Path};

use futures::TryStreamExt;
use rtnetlink::{
    Error, Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::{InfoData, InfoVeth, LinkAttribute},
};

use super::{netns, protocol::BRIDGE};

/// Marks the bridge as a node's own: nothing without it is ever deleted.
pub(crate) fn alias(node: &str) -> String {
    format!("portolan node {node}")
}

/// The host's end of a pod's veth pair: at most 15 bytes (IFNAMSIZ), one for each sandbox and interface.
pub(super) fn veth_name(container_id: &str, ifname: &str) -> String {
    let id: String = container_id.chars().filter(char::is_ascii_alphanumeric).take(10).collect();
    let end = ifname.chars().last().filter(char::is_ascii_alphanumeric).unwrap_or('x');
    format!("veth{id}{end}")
}

/// A MAC address that follows from the IP address: a neighbour that remembers the address's last holder
/// reaches the new one all the same. The first byte has the "locally administered" bit (IEEE 802).
pub(super) fn mac_of(address: IpAddr) -> [u8; 6] {
    let tail: [u8; 4] = match address {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d] = ip.octets();
            [a, b, c, d]
        }
    };
    [0x0a, 0x58, tail[0], tail[1], tail[2], tail[3]]
}

/// A pod to be attached to the bridge.
pub(super) struct Attach<'a> {
    pub(super) node: &'a str,
    pub(super) netns: &'a Path,
    pub(super) ifname: &'a str,
    pub(super) veth: &'a str,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    pub(super) gateway: IpAddr,
}

impl Attach<'_> {
    /// Makes the bridge if it is missing, then the veth pair, then the pod's address and default route.
    /// Begins anew if an earlier attempt left a pair behind.
    pub(super) fn run(&self) -> Result<(), String> {
        let namespace = File::open(self.netns).map_err(|error| {
            format!("cannot open the network namespace {}: {error}", self.netns.display())
        })?;
        blocking(async |handle| {
            let bridge = ensure_bridge(&handle, self.node, self.gateway, self.prefix).await?;
            if let Some(old) = index_of(&handle, self.veth).await? {
                handle.link().del(old).execute().await?;
            }
            let peer = LinkMessageBuilder::<LinkUnspec>::new()
                .name(self.ifname)
                .address(mac_of(self.address).to_vec())
                .setns_by_fd(namespace.as_raw_fd())
                .build();
            let pair = LinkVeth::new(self.veth, self.ifname)
                .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
                .controller(bridge)
                .up()
                .build();
            handle.link().add(pair).execute().await?;
            let port = index_of(&handle, self.veth).await?.ok_or(Error::RequestFailed)?;
            // A pod must reach itself through a Service's address: back out of the port it came in by.
            handle.link().set_port(LinkBridgePort::new(port).hairpin(true).build()).execute().await
        })
        .map_err(|error| format!("cannot connect the pod to bridge {BRIDGE}: {error}"))?;
        netns::within(self.netns, || self.configure_pod())
    }

    fn configure_pod(&self) -> Result<(), String> {
        blocking(async |handle| {
            let link = index_of(&handle, self.ifname).await?.ok_or(Error::RequestFailed)?;
            handle.address().add(link, self.address, self.prefix).replace().execute().await?;
            handle.link().set(LinkUnspec::new_with_index(link).up().build()).execute().await?;
            let default = RouteMessageBuilder::<IpAddr>::new()
                .gateway_of(self.gateway)
                .ok_or(Error::RequestFailed)?
                .output_interface(link)
                .build();
            handle.route().add(default).replace().execute().await
        })
        .map_err(|error| format!("cannot set up {} in the pod: {error}", self.ifname))
    }
}

/// A default route's builder: the family follows from the gateway.
trait DefaultRoute: Sized {
    fn gateway_of(self, gateway: IpAddr) -> Option<Self>;
}

impl DefaultRoute for RouteMessageBuilder<IpAddr> {
    fn gateway_of(self, gateway: IpAddr) -> Option<Self> {
        let everywhere: IpAddr = if gateway.is_ipv4() { [0, 0, 0, 0].into() } else { [0u16; 8].into() };
        self.destination_prefix(everywhere, 0).ok()?.gateway(gateway).ok()
    }
}

/// Brings the loopback interface of the handle's namespace up.
pub(crate) async fn loopback_up(handle: &Handle) -> Result<(), String> {
    let up = async {
        let lo = index_of(handle, "lo").await?.ok_or(Error::RequestFailed)?;
        handle.link().set(LinkUnspec::new_with_index(lo).up().build()).execute().await
    };
    up.await.map_err(|error| format!("cannot bring the loopback interface up: {error}"))
}

/// Brings the loopback interface of the calling thread's namespace up.
pub(super) fn loopback_up_here() -> Result<(), String> {
    blocking(async |handle| Ok(loopback_up(&handle).await)).flatten()
}

/// Deletes the host's end of a pair, and so the pair. Idempotent.
pub(super) fn delete_veth(name: &str) -> Result<(), String> {
    blocking(async |handle| match index_of(&handle, name).await? {
        Some(index) => absent_is_fine(handle.link().del(index).execute().await),
        None => Ok(()),
    })
    .map_err(|error| format!("cannot delete interface {name}: {error}"))
}

/// Whether the current namespace has an interface `name`.
pub(super) fn link_exists(name: &str) -> Result<bool, String> {
    blocking(async |handle| Ok(index_of(&handle, name).await?.is_some()))
        .map_err(|error| format!("cannot look for interface {name}: {error}"))
}

/// Deletes the bridge of `node` if the current namespace has it; returns whether it did. A bridge of the
/// same name that is someone else's stays.
pub(crate) async fn delete_bridge(handle: &Handle, node: &str) -> Result<bool, Error> {
    let Some(link) = find(handle, BRIDGE).await? else { return Ok(false) };
    let own = link
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, LinkAttribute::IfAlias(text) if *text == alias(node)));
    if own {
        absent_is_fine(handle.link().del(link.header.index).execute().await)?;
    }
    Ok(own)
}

async fn ensure_bridge(handle: &Handle, node: &str, gateway: IpAddr, prefix: u8) -> Result<u32, Error> {
    let index = match index_of(handle, BRIDGE).await? {
        Some(index) => index,
        None => {
            let bridge = LinkBridge::new(BRIDGE).address(mac_of(gateway).to_vec()).build();
            exists_is_fine(handle.link().add(bridge).execute().await)?;
            index_of(handle, BRIDGE).await?.ok_or(Error::RequestFailed)?
        }
    };
    handle.link().set(LinkUnspec::new_with_index(index).alias(alias(node)).up().build()).execute().await?;
    handle.address().add(index, gateway, prefix).replace().execute().await?;
    Ok(index)
}

async fn index_of(handle: &Handle, name: &str) -> Result<Option<u32>, Error> {
    Ok(find(handle, name).await?.map(|link| link.header.index))
}

async fn find(
    handle: &Handle,
    name: &str,
) -> Result<Option<rtnetlink::packet_route::link::LinkMessage>, Error> {
    match handle.link().get().match_name(name).execute().try_next().await {
        Err(error) if code(&error) == Some(rustix::io::Errno::NODEV) => Ok(None),
        found => found,
    }
}

fn code(error: &Error) -> Option<rustix::io::Errno> {
    match error {
        Error::NetlinkError(message) => Some(rustix::io::Errno::from_raw_os_error(-message.raw_code())),
        _ => None,
    }
}

fn exists_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if code(&error) == Some(rustix::io::Errno::EXIST) { Ok(()) } else { Err(error) })
}

fn absent_is_fine(result: Result<(), Error>) -> Result<(), Error> {
    result.or_else(|error| if code(&error) == Some(rustix::io::Errno::NODEV) { Ok(()) } else { Err(error) })
}

/// A netlink connection in the namespace of the calling thread, served by a task of the current runtime.
pub(crate) fn netlink() -> std::io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Runs netlink requests in the namespace of the calling thread, which must not be a runtime's.
fn blocking<T>(work: impl AsyncFnOnce(Handle) -> Result<T, Error>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|error| format!("no event loop: {error}"))?;
    runtime.block_on(async {
        let handle = netlink().map_err(|error| format!("no netlink socket: {error}"))?;
        work(handle).await.map_err(|error| error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_veth_name_fits_and_differs_by_sandbox_and_interface() {
        let id = "0123456789abcdef".repeat(4);
        let name = veth_name(&id, "eth0");
        assert!(name.len() <= 15, "{name}");
        assert_ne!(name, veth_name(&id, "eth1"));
        assert_ne!(name, veth_name(&id.replace('0', "f"), "eth0"));
    }

    #[test]
    fn a_mac_is_unicast_and_locally_administered() {
        let mac = mac_of([10, 244, 1, 2].into());
        assert_eq!(mac, [0x0a, 0x58, 10, 244, 1, 2]);
        assert_eq!(mac[0] & 0b11, 0b10);
    }
}
