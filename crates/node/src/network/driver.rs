//! Ways for packets to the pods of other nodes.
//!
//! A driver is a file beside this one and a row here. It is told all other nodes whenever one of them changes, and when
//! the kernel may have lost what the driver had put there; it then looks at what the kernel has and repairs it.

use futures::future::BoxFuture;
use rtnetlink::Handle;

use super::host_routes::HostRoutes;
use super::nodes::NodeNetwork;
use crate::Error;

/// Leads packets to the pods of other nodes, in the network namespace in which it was opened.
pub(crate) trait PodNetwork: Send {
    /// Makes the kernel send packets for the pods of these nodes there, and for those of no others. It is called again
    /// after every change. What the kernel refuses is logged and tried again with the next call.
    fn follow<'a>(&'a mut self, others: Vec<&'a NodeNetwork>) -> BoxFuture<'a, ()>;
}

/// Which way packets to the pods of other nodes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Driver {
    /// Routes by way of the other nodes' addresses. All nodes must be on one link.
    #[default]
    HostRoutes,
}

/// What a driver is made of.
struct Row {
    open: fn() -> Result<Box<dyn PodNetwork>, Error>,
    remove: for<'a> fn(&'a Handle) -> BoxFuture<'a, Result<(), rtnetlink::Error>>,
}

impl Driver {
    /// All drivers.
    pub(crate) const ALL: [Self; 1] = [Self::HostRoutes];

    fn row(self) -> Row {
        match self {
            Self::HostRoutes => Row {
                open: || Ok(Box::new(HostRoutes::open()?)),
                remove: |handle| Box::pin(super::host_routes::remove_all(handle)),
            },
        }
    }

    /// Opens the driver in the current network namespace. Nothing is changed yet.
    ///
    /// # Errors
    /// There is no netlink.
    pub(crate) fn open(self) -> Result<Box<dyn PodNetwork>, Error> {
        (self.row().open)()
    }

    /// Removes what the driver has put into the kernel. It is no error if there is nothing.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) async fn remove(self, handle: &Handle) -> Result<(), rtnetlink::Error> {
        (self.row().remove)(handle).await
    }
}
