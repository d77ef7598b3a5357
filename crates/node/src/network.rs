//! The network of a node: how packets reach its pods, other nodes' pods, and the world.
//!
//! ```text
//!                 node1                                             node2
//!  pod ── veth ── cni0 (bridge) ── uplink ═══ route by driver ═══ uplink ── cni0 ── veth ── pod
//!    cni/           │   ▲            │
//!                   │   │            ├── host_ports.rs   a port of the node leads to a pod
//!      prepare.rs ──┘   │            └── masquerade.rs   out of the cluster under the node's address
//!                       │
//!               nodes.rs: where the other nodes are, and which pods they have ──▶ driver.rs, masquerade.rs
//! ```
//!
//! | file | what it does |
//! |---|---|
//! | `prepare` | kernel parameters, the CNI plugin and its configuration |
//! | [`cni`] | the CNI plugin: a bridge, a veth pair for each pod, an address from the podCIDR |
//! | `driver` | ways for packets to the pods of other nodes: one row of a table, one file each |
//! | `host_routes` | the driver of nodes on one link: a route to each podCIDR |
//! | `nodes` | follows the Node objects and tells the driver and `masquerade` |
//! | `uplink` | what the kernel forgets when the link to the other nodes was down is put back |
//! | `masquerade`, `host_ports` | two tables of nf_tables |
//! | `table_monitor` | notices when somebody else changes one of these tables, so that it is written again |

pub mod cni;

mod driver;
mod host_ports;
mod host_routes;
mod masquerade;
mod nodes;
mod prepare;
mod table_monitor;
mod uplink;

use std::io;

pub(crate) use driver::Driver;
pub(crate) use host_ports::HostPorts;
pub(crate) use nodes::{OwnObject, follow as follow_nodes};
pub(crate) use prepare::{install_plugins, prepare_namespace, write_config};
pub(crate) use uplink::follow as follow_uplink;

/// Removes what a node has put into the current network namespace: tables, bridge and routes.
///
/// # Errors
/// What the kernel refused.
pub(crate) async fn remove(node: &str) -> io::Result<()> {
    masquerade::remove(node).map_err(io::Error::other)?;
    host_ports::remove(node).map_err(io::Error::other)?;
    let handle = cni::netlink()?;
    if cni::delete_bridge(&handle, node).await.map_err(io::Error::other)? {
        for driver in Driver::ALL {
            driver.remove(&handle).await.map_err(io::Error::other)?;
        }
    }
    Ok(())
}
