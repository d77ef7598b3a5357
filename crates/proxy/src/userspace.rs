//! userspace mode: connections are taken by a proxy in this process, which connects to an endpoint by itself.
//!
//! The oldest mode of kube-proxy (removed in Kubernetes 1.26), for what no rule of a kernel can do: a connection to
//! an endpoint that does not answer goes to another one before the client notices. Endpoints see the node's
//! address, never the client's; every byte passes through this process, though not through its memory (splice(2)).
//!
//! [`compile()`] turns a [`Sight`](crate::Sight) into rules that lead packets to [`Door`]s; `proxy` serves what
//! comes in there; [`Userspace`] keeps both in step in one network namespace. There is no SCTP.
//!
//! When the process ends its doors close: clients are refused until a new one is there. The new one opens doors at
//! other ports and replaces the rules; it cannot take over the connections of the old one.

mod apply;
mod compile;
mod doors;
pub(crate) mod proxy;
mod trace;

pub use apply::{Userspace, cleanup};
pub use compile::{Rules, compile, compile_like};
pub use doors::{Door, Doors, Scope, Target};
pub use trace::{Endpoints, Walker, endpoints};
