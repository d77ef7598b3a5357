//! The proxy ports that are open, and the endpoints behind them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use service::objects::Protocol;
use service::{Family, ServiceName};

use crate::error::Error;
use crate::mode::Touched;
use crate::sight::Sight;
use crate::userspace::proxy::{Behind, Pool, Proxy, Serving, listen};
use crate::userspace::proxy_ports::{self, ProxyPort, ProxyPorts, Target};
use crate::xtables::Place;

/// The proxy ports that are open, by Service.
#[derive(Debug, Default)]
pub(super) struct OpenPorts {
    services: BTreeMap<ServiceName, BTreeMap<ProxyPort, Open>>,
    proxy_ports: ProxyPorts,
    /// Started for the first proxy port.
    proxy: Option<Proxy>,
}

/// An open proxy port. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    pool: Arc<Pool>,
    target: Target,
    /// The address that was asked for, whether or not it could be had.
    wanted: Option<IpAddr>,
    _serving: Vec<Serving>,
}

impl OpenPorts {
    /// Where each proxy port is.
    pub(super) fn proxy_ports(&self) -> &ProxyPorts {
        &self.proxy_ports
    }

    /// Closes all proxy ports. Connections that came in go on while the process does.
    pub(super) fn retire(self) {
        drop(self.services);
        self.proxy.into_iter().for_each(Proxy::retire);
    }

    /// Opens proxy ports that are needed, and tells all which endpoints they lead to. Returns those that nothing needs
    /// any more. A proxy port that cannot be opened is logged and has no place among [`OpenPorts::proxy ports`].
    ///
    /// # Errors
    /// Those of starting the proxy.
    pub(super) fn follow(
        &mut self,
        place: &Place,
        sight: &Sight<'_>,
        touched: &Touched<'_>,
    ) -> Result<Vec<Open>, Error> {
        let mut names: BTreeSet<_> = touched.names(sight);
        if matches!(touched, Touched::Everything) {
            names.extend(self.services.keys().cloned());
        }
        let mut closing = Vec::new();
        for name in names {
            let mut held = self.services.remove(&name).unwrap_or_default();
            held.keys().for_each(|proxy_port| {
                self.proxy_ports.remove(proxy_port);
            });
            let mut open = BTreeMap::new();
            for view in sight.ports(&name) {
                let wanted = proxy_ports::address(view.port.protocol, sight.node.primary(view.family));
                for (proxy_port, list) in proxy_ports::proxy_ports(&view) {
                    let behind = Behind::of(&view, list);
                    let there = match held.remove(&proxy_port) {
                        Some(there) if there.wanted == wanted => {
                            there.pool.replace(behind);
                            Some(there)
                        }
                        other => {
                            closing.extend(other);
                            self.open(place, &proxy_port, wanted, behind)?
                        }
                    };
                    if let Some(there) = there {
                        self.proxy_ports.insert(proxy_port.clone(), there.target);
                        open.insert(proxy_port, there);
                    }
                }
            }
            closing.extend(held.into_values());
            if !open.is_empty() {
                self.services.insert(name, open);
            }
        }
        Ok(closing)
    }

    fn open(
        &mut self,
        place: &Place,
        proxy_port: &ProxyPort,
        wanted: Option<IpAddr>,
        behind: Behind,
    ) -> Result<Option<Open>, Error> {
        let cannot_start =
            |error: io::Error| Error::Mode(format!("cannot start the proxy of userspace mode: {error}"));
        let proxy = match &self.proxy {
            Some(proxy) => proxy,
            None => {
                let proxy = place.run(Proxy::start).and_then(|proxy| proxy).map_err(cannot_start)?;
                self.proxy.insert(proxy)
            }
        };
        let pool = Arc::new(Pool::new(behind));
        let opened = place.run(|| serve(proxy, proxy_port, wanted, pool.clone())).and_then(|opened| opened);
        Ok(match opened {
            Ok((target, serving)) => Some(Open { pool, target, wanted, _serving: serving }),
            Err(error) => {
                tracing::error!(
                    service = %proxy_port.service, port = &*proxy_port.port, protocol = %proxy_port.protocol, %error,
                    "the proxy cannot open a port for a Service; its clients are refused"
                );
                None
            }
        })
    }
}

/// Opens a proxy port at this address; at all if it has none, or the node does not have it.
fn serve(
    proxy: &Proxy,
    proxy_port: &ProxyPort,
    wanted: Option<IpAddr>,
    pool: Arc<Pool>,
) -> io::Result<(Target, Vec<Serving>)> {
    let (any, loopback): (IpAddr, IpAddr) = match proxy_port.family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        Family::V6 => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    if proxy_port.protocol != Protocol::Udp {
        let listener = listen::tcp(SocketAddr::new(any, 0))?;
        let port = listener.local_addr()?.port();
        return Ok((Target { port, address: None }, vec![proxy.serve_tcp(listener, pool)?]));
    }
    if let Some(address) = wanted
        && let Ok(socket) = listen::udp(SocketAddr::new(address, 0))
    {
        let port = socket.local_addr()?.port();
        return Ok((Target { port, address: Some(address) }, vec![proxy.serve_udp(socket, pool)?]));
    }
    // Packets from elsewhere are redirected to the address that is nearest to their sender, which answers leave from
    // too. Those of the node itself are redirected to loopback.
    let socket = listen::udp(SocketAddr::new(any, 0))?;
    let beside = listen::udp_beside(&socket, loopback)?;
    let port = socket.local_addr()?.port();
    let serving = vec![proxy.serve_udp(socket, pool.clone())?, proxy.serve_udp(beside, pool)?];
    Ok((Target { port, address: None }, serving))
}
