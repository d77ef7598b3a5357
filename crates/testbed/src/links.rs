//! Interfaces, addresses and routes of a namespace, over netlink.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
};

use crate::{Error, Namespace};

/// The kernel's interface list of one namespace.
#[derive(Debug)]
pub struct Links {
    handle: Handle,
}

impl Links {
    /// Runs `work` with the interfaces of a namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or what `work` says.
    pub fn within<T: Send>(
        namespace: &Namespace,
        work: impl AsyncFnOnce(Links) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let failed = |source| Error::Namespace { name: namespace.name().to_owned(), what: "used", source };
        namespace.run(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            runtime.block_on(async {
                let (connection, handle, _) = new_connection().map_err(failed)?;
                tokio::spawn(connection);
                work(Links { handle }).await
            })
        })?
    }

    /// The index of an interface, if there is one of that name.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub async fn index(&self, name: &str) -> Result<Option<u32>, Error> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -NO_SUCH_DEVICE => Ok(None),
            Err(source) => Err(Error::Link { what: format!("interface {name} cannot be looked up"), source }),
        }
    }

    /// Makes a bridge if it is not there, and brings it up.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn ensure_bridge(&self, name: &str) -> Result<u32, Error> {
        let failed = |source| Error::Link { what: format!("bridge {name} cannot be made"), source };
        if self.index(name).await?.is_none() {
            self.handle.link().add(LinkBridge::new(name).build()).execute().await.map_err(failed)?;
        }
        self.up(name).await
    }

    /// Brings an interface up and tells its index.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub async fn up(&self, name: &str) -> Result<u32, Error> {
        let failed = |source| Error::Link { what: format!("interface {name} cannot be brought up"), source };
        let index = self.index(name).await?.ok_or_else(|| failed(rtnetlink::Error::RequestFailed))?;
        let link = LinkUnspec::new_with_index(index).up().build();
        self.handle.link().set(link).execute().await.map_err(failed)?;
        Ok(index)
    }

    /// Gives an interface an address; one that it already has is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn address(&self, link: u32, address: IpAddr, prefix: u8) -> Result<(), Error> {
        let failed =
            |source| Error::Link { what: format!("address {address}/{prefix} cannot be added"), source };
        self.handle.address().add(link, address, prefix).replace().execute().await.map_err(failed)
    }

    /// Sets the default route; one that is already there is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn default_route(&self, gateway: Ipv4Addr) -> Result<(), Error> {
        let failed =
            |source| Error::Link { what: format!("the default route by {gateway} cannot be added"), source };
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build();
        self.handle.route().add(route).replace().execute().await.map_err(failed)
    }

    /// Makes an interface a port of a bridge and brings it up.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub async fn plug(&self, name: &str, bridge: u32) -> Result<(), Error> {
        let failed = |source| Error::Link { what: format!("interface {name} cannot be plugged in"), source };
        let index = self.index(name).await?.ok_or_else(|| failed(rtnetlink::Error::RequestFailed))?;
        let port = LinkUnspec::new_with_index(index).controller(bridge).up().build();
        self.handle.link().set(port).execute().await.map_err(failed)
    }
}

/// `ENODEV` (errno(3)).
const NO_SUCH_DEVICE: i32 = 19;

/// Joins two namespaces by a pair of interfaces; a pair that is already there stays.
///
/// # Errors
/// The kernel refuses.
pub fn veth(near: (&Namespace, &str), far: (&Namespace, &str)) -> Result<(), Error> {
    let target = far.0.fd().as_raw_fd();
    Links::within(near.0, async move |links| {
        if links.index(near.1).await?.is_some() {
            return Ok(());
        }
        let failed =
            |source| Error::Link { what: format!("the pair {}-{} cannot be made", near.1, far.1), source };
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(far.1).setns_by_fd(target).build();
        let pair = LinkVeth::new(near.1, far.1).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        links.handle.link().add(pair).execute().await.map_err(failed)
    })
}
