//! Fronts: the destinations at which clients reach Service ports.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use service::Family;
use service::objects::Protocol;

/// A destination at which clients reach a Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Front {
    /// At an address of the Service: a cluster IP, an external IP or a load balancer's.
    ServiceIp {
        /// The address.
        address: IpAddr,
        /// The protocol.
        protocol: Protocol,
        /// The Service port.
        port: u16,
    },
    /// At an address of the node.
    NodePort {
        /// The family of the address.
        family: Family,
        /// The protocol.
        protocol: Protocol,
        /// The node port.
        port: u16,
    },
}

impl Front {
    /// The family of its addresses.
    pub fn family(&self) -> Family {
        match self {
            Self::ServiceIp { address, .. } => Family::of(*address),
            Self::NodePort { family, .. } => *family,
        }
    }

    /// Its protocol.
    pub fn protocol(&self) -> Protocol {
        match self {
            Self::ServiceIp { protocol, .. } | Self::NodePort { protocol, .. } => *protocol,
        }
    }
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServiceIp { address, protocol, port } => {
                write!(f, "{}/{protocol}", SocketAddr::new(*address, *port))
            }
            Self::NodePort { family, protocol, port } => write!(f, "{family} node port {port}/{protocol}"),
        }
    }
}
