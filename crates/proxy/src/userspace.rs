//! userspace mode: connections are taken by a proxy in this process, which connects to an endpoint by itself.
//!
//! The oldest mode of kube-proxy (removed in Kubernetes 1.26), for what no rule of a kernel can do: a connection to
//! an endpoint that does not answer goes to another one before the client notices. Endpoints see the node's
//! address, never the client's; every byte passes through this process, though not through its memory (splice(2)).
//!
//! [`compile()`] turns a [`Sight`](crate::Sight) into rules that lead packets to [`ProxyPort`]s; `proxy` serves what
//! comes in there; [`Userspace`] keeps both in step in one network namespace. There is no SCTP.
//!
//! When the process ends its proxy ports close: clients are refused until a new one is there. The new one opens proxy ports at
//! other ports and replaces the rules; it cannot take over the connections of the old one.

mod apply;
mod compile;
pub(crate) mod proxy;
mod proxy_ports;
mod trace;

pub use apply::{Userspace, cleanup};
pub use compile::{Rules, compile, compile_like};
pub use proxy_ports::{ProxyPort, ProxyPorts, Scope, Target};
pub use trace::{Endpoints, Walker, endpoints};
