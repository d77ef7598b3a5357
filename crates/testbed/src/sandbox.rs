//! A cluster's machines in namespaces: an underlay, some nodes, and one client outside.
//!
//! ```text
//!   NAME-underlay   bridge br0, 172.30.0.1: here the control plane listens
//!     ├─ NAME-node1   eth0 172.30.0.11
//!     ├─ NAME-node2   eth0 172.30.0.12
//!     └─ NAME-client  eth0 172.30.0.200
//! ```

use std::net::{IpAddr, Ipv4Addr};

use crate::{Error, Links, Namespace, veth};

/// The network that joins the namespaces. It exists in them alone.
const NETWORK: [u8; 3] = [172, 30, 0];
const PREFIX: u8 = 24;
const UNDERLAY_HOST: u8 = 1;
const FIRST_NODE_HOST: u8 = 11;
const CLIENT_HOST: u8 = 200;
/// More nodes have no address in the network.
const MAX_NODES: usize = (CLIENT_HOST - FIRST_NODE_HOST) as usize;
const BRIDGE: &str = "br0";

/// One node's namespace.
#[derive(Clone, Debug)]
pub struct SandboxNode {
    /// The namespace, named as the node is.
    pub namespace: Namespace,
    /// The node's address.
    pub address: IpAddr,
}

/// The machines of one cluster.
#[derive(Debug)]
pub struct Sandbox {
    /// Where the control plane listens.
    pub underlay: Namespace,
    /// The control plane's address.
    pub address: IpAddr,
    /// The nodes in order.
    pub nodes: Vec<SandboxNode>,
    /// A machine that is no part of the cluster.
    pub client: SandboxNode,
}

impl Sandbox {
    /// The most nodes that a sandbox can have.
    pub const MAX_NODES: usize = MAX_NODES;

    /// The network of the machines of every sandbox, in CIDR notation.
    pub fn network() -> String {
        format!("{}/{PREFIX}", host(0))
    }

    /// The prefix of the names of all namespaces of the sandbox `name`.
    pub fn prefix(name: &str) -> String {
        format!("{name}-")
    }

    /// The names and addresses of the nodes of a sandbox, whether it is there or not.
    pub fn nodes_of(name: &str, nodes: usize) -> Vec<(String, IpAddr)> {
        let prefix = Self::prefix(name);
        node_parts(nodes).map(|(part, address)| (format!("{prefix}{part}"), address.into())).collect()
    }

    /// Makes a sandbox, or completes the one that is there.
    ///
    /// # Errors
    /// Not permitted, or the kernel refuses.
    pub fn ensure(name: &str, nodes: usize) -> Result<Self, Error> {
        let prefix = Self::prefix(name);
        let underlay = Namespace::ensure(&format!("{prefix}underlay"))?;
        let gateway = host(UNDERLAY_HOST);
        let bridge = Links::within(&underlay, async |links| {
            links.up("lo").await?;
            let bridge = links.ensure_bridge(BRIDGE).await?;
            links.address(bridge, gateway.into(), PREFIX).await?;
            Ok(bridge)
        })?;
        let join = |name: &str, host: Ipv4Addr| machine(&underlay, bridge, &prefix, name, host, gateway);
        let made = node_parts(nodes).map(|(part, address)| join(&part, address)).collect::<Result<_, _>>()?;
        let client = join("client", host(CLIENT_HOST))?;
        Ok(Self { underlay, address: gateway.into(), nodes: made, client })
    }

    /// Removes every namespace of a sandbox and says what could not be removed.
    pub fn remove(name: &str) -> Vec<Error> {
        let names = Namespace::list(&Self::prefix(name));
        let own = names.iter().filter(|full| is_part(&full[Self::prefix(name).len()..]));
        own.filter_map(|name| Namespace::delete(name).err()).collect()
    }

    /// Whether any namespace of a sandbox is there.
    pub fn exists(name: &str) -> bool {
        let prefix = Self::prefix(name);
        Namespace::list(&prefix).iter().any(|full| is_part(&full[prefix.len()..]))
    }
}

/// The last parts of the names of nodes, and their addresses.
fn node_parts(nodes: usize) -> impl Iterator<Item = (String, Ipv4Addr)> {
    let hosts = (FIRST_NODE_HOST..).take(nodes.min(MAX_NODES));
    hosts.enumerate().map(|(index, last)| (format!("node{}", index + 1), host(last)))
}

/// Whether this is the last part of a name that a sandbox gives.
fn is_part(rest: &str) -> bool {
    let node = rest.strip_prefix("node").is_some_and(|number| number.parse::<usize>().is_ok());
    node || rest == "underlay" || rest == "client"
}

fn machine(
    underlay: &Namespace,
    bridge: u32,
    prefix: &str,
    name: &str,
    address: Ipv4Addr,
    gateway: Ipv4Addr,
) -> Result<SandboxNode, Error> {
    let namespace = Namespace::ensure(&format!("{prefix}{name}"))?;
    let port = format!("to-{name}");
    veth((underlay, &port), (&namespace, "eth0"))?;
    Links::within(underlay, async |links| links.plug(&port, bridge).await)?;
    Links::within(&namespace, async |links| {
        links.up("lo").await?;
        let eth0 = links.up("eth0").await?;
        links.address(eth0, address.into(), PREFIX).await?;
        links.default_route(gateway).await
    })?;
    Ok(SandboxNode { namespace, address: address.into() })
}

fn host(last: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_that_a_sandbox_gives_are_its_own() {
        for (rest, own) in [
            ("node1", true),
            ("node12", true),
            ("client", true),
            ("underlay", true),
            ("nodex", false),
            ("test-node1", false),
        ] {
            assert_eq!(is_part(rest), own, "{rest}");
        }
    }
}
