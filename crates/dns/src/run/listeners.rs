//! The listeners, and the plan by which each answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::feed::Feeds;
use crate::config::{Block, Config, Scheme};
use crate::error::Error;
use crate::interfaces;
use crate::metrics::{Counts, Metrics};
use crate::plan::{Chain, Plan, ServedZone, SharedPlan};
use crate::plugin::Parts;
use crate::plugin::hosts::HostNames;
use crate::plugin::log::{LogWriter, Logger};
use crate::recursion::{self, Recursion};
use crate::server::certificate;
use crate::server::sockets::{self, OpenSockets, Sockets};
use crate::server::tcp;
use crate::server::udp::Worker;
use crate::wire::Name;
use crate::zone::View;

/// The scheme and the address of a listener.
type ListenAddress = (Scheme, SocketAddr);

/// All listeners of the server.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The listeners. An address may be there more than once, in different network namespaces.
    ports: Vec<(ListenAddress, Listener)>,
    /// Sockets that are not read yet, since there is no configuration yet.
    waiting: Vec<OpenSockets>,
    /// Whether the sockets were handed over and serve all blocks.
    fixed: bool,
    refresh: Vec<AbortOnDrop>,
    metrics: Metrics,
    /// Caches and upstream resolvers of server blocks. A new configuration with equal options uses them further.
    recursions: Vec<Recursion>,
    recursion_metrics: recursion::RecursionMetrics,
    loops: recursion::Loops,
    /// The writer of the query log, once a block has `log`.
    writer: Option<Arc<LogWriter>>,
    /// The number of threads that were started.
    threads: usize,
}

/// A listener at work.
#[derive(Debug)]
struct Listener {
    shared: Arc<SharedPlan>,
    certificate: watch::Sender<Option<Arc<rustls::ServerConfig>>>,
    _workers: Vec<Worker>,
    /// Connections are accepted until this is dropped.
    _accepts: oneshot::Sender<()>,
}

/// The plan of a listener, and its certificate if it has one.
type Ready = (Arc<Plan>, Option<Arc<rustls::ServerConfig>>);

/// What a new configuration needs, before anything is changed.
#[derive(Debug, Default)]
struct Prepared {
    plans: BTreeMap<ListenAddress, PortPlan>,
    refresh: Vec<AbortOnDrop>,
    recursions: Vec<Recursion>,
}

/// The server blocks of a listener.
#[derive(Debug, Default)]
struct PortPlan {
    blocks: Vec<PlannedZone>,
    certificate: Option<Arc<rustls::ServerConfig>>,
}

/// A server block under one of its zones, with the directives that metrics list.
#[derive(Debug)]
struct PlannedZone {
    entry: ServedZone,
    directives: Vec<&'static str>,
}

/// A task that is aborted when this is dropped.
#[derive(Debug)]
pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listeners {
    /// Takes sockets. Their queries wait until [`Listeners::answer`].
    pub(super) fn new(sockets: Sockets, metrics: Metrics) -> Self {
        Self {
            ports: Vec::new(),
            waiting: sockets.open,
            fixed: sockets.fixed,
            refresh: Vec::new(),
            recursion_metrics: recursion::RecursionMetrics::new(&metrics),
            metrics,
            recursions: Vec::new(),
            loops: recursion::Loops::default(),
            writer: None,
            threads: 0,
        }
    }

    /// Answers by a new configuration from now on. Listeners that it adds are opened and those that it lacks are
    /// closed; the others go on without a pause.
    ///
    /// # Errors
    /// When the configuration needs something that is not there. Then nothing is changed.
    pub(super) fn answer(&mut self, config: &Config, feeds: &Feeds) -> Result<(), Error> {
        let mut opened = std::mem::take(&mut self.waiting);
        let known = self.ports.iter().map(|(port, _)| *port);
        let mut ports: Vec<ListenAddress> = known.chain(opened.iter().map(OpenSockets::port)).collect();
        if !self.fixed {
            let new = Sockets::beside(config, &ports)?.open;
            ports.extend(new.iter().map(OpenSockets::port));
            opened.extend(new);
        }
        let first_thread = self.threads + 1;
        self.threads += opened.iter().map(|open| open.udp.len()).sum::<usize>();
        let next = self.prepare(config, feeds, &ports.into_iter().collect())?;
        let (mut plans, mut enabled) = (BTreeMap::new(), Vec::new());
        for (port, PortPlan { blocks, certificate }) in next.plans {
            let names = blocks.iter().map(|block| (block.entry.zone.to_string(), block.directives.clone()));
            enabled.extend(names.map(|(zone, directives)| (server_name(port), zone, directives)));
            let plan = Arc::new(Plan::new(blocks.into_iter().map(|block| block.entry).collect()));
            plans.insert(port, (plan, certificate));
        }
        self.ports.extend(listen(opened, &plans, first_thread)?);
        self.ports.retain(|(port, _)| plans.contains_key(port));
        for (port, listening) in &self.ports {
            let (plan, certificate) = &plans[port];
            if certificate.is_some() {
                listening.certificate.send_replace(certificate.clone());
            }
            listening.shared.exchange(plan.clone());
        }
        self.metrics.disable_all();
        for (server, zone, directives) in &enabled {
            self.metrics.enable(server, zone, directives);
        }
        self.refresh = next.refresh;
        let before = std::mem::replace(&mut self.recursions, next.recursions);
        let new = self.recursions.iter().filter(|recursion| !before.iter().any(|known| known.is(recursion)));
        new.for_each(Recursion::look_for_loops);
        Ok(())
    }

    /// Prepares a configuration for these listeners.
    fn prepare(
        &mut self,
        config: &Config,
        feeds: &Feeds,
        ports: &BTreeSet<ListenAddress>,
    ) -> Result<Prepared, Error> {
        let own: Vec<SocketAddr> = ports.iter().map(|(_, address)| *address).collect();
        let mut next = Prepared::default();
        for block in &config.blocks {
            let chain = Arc::new(self.chain(block, feeds, &own, &mut next)?);
            let log = self.logger(block)?;
            for served in &block.served {
                let bound = sockets::addresses(&block.plugins.bind.addresses, served.port);
                let meant: BTreeSet<ListenAddress> = match self.fixed {
                    true => ports.clone(),
                    false => bound.map(|address| (served.scheme, address)).collect(),
                };
                let tls = block.plugins.tls.as_ref().filter(|_| served.scheme != Scheme::Dns);
                let certificate = tls.map(|tls| certificate::read(tls, served.scheme)).transpose()?;
                for port in meant {
                    let counts = self.counts(block, port, &served.zone);
                    let (zone, chain, log) = (served.zone.clone(), chain.clone(), log.clone());
                    let directives = if counts.is_some() { block.plugins.enabled() } else { Vec::new() };
                    let answers = next.plans.entry(port).or_default();
                    answers
                        .blocks
                        .push(PlannedZone { entry: ServedZone { zone, chain, counts, log }, directives });
                    answers.certificate = certificate.clone().or(answers.certificate.take());
                }
            }
        }
        Ok(next)
    }

    /// The log of a block, if it has `log`.
    fn logger(&mut self, block: &Block) -> Result<Option<Arc<Logger>>, Error> {
        let Some(options) = block.plugins.log.clone() else { return Ok(None) };
        let writer = match &self.writer {
            Some(writer) => writer.clone(),
            None => {
                self.writer.insert(Arc::new(LogWriter::on_standard_output().map_err(Error::Log)?)).clone()
            }
        };
        Ok(Some(Arc::new(Logger::new(options, writer))))
    }

    /// The counters of the queries for a zone, if the block has `prometheus`.
    fn counts(&self, block: &Block, port: ListenAddress, zone: &Name) -> Option<Arc<Counts>> {
        block.plugins.metrics?;
        Some(self.metrics.counts(&server_name(port), &zone.to_string(), self.threads))
    }

    fn chain(
        &self,
        block: &Block,
        feeds: &Feeds,
        own: &[SocketAddr],
        next: &mut Prepared,
    ) -> Result<Chain, Error> {
        let plugins = &block.plugins;
        let servers = servers(block, own);
        let cluster = feeds.table(plugins).zip(plugins.kubernetes.as_ref());
        let cluster =
            cluster.map(|(table, kubernetes)| Arc::new(View::new(table, kubernetes, servers.clone())));
        let imports = feeds.imported(plugins).zip(plugins.kubernetes.as_ref());
        let imports =
            imports.map(|(table, kubernetes)| Arc::new(View::of_imports(table, kubernetes, servers)));
        let hosts = match &plugins.hosts {
            None => None,
            Some(options) => {
                let path = options.file.clone().unwrap_or_default();
                let hosts = HostNames::new(options.clone()).map_err(|source| Error::File { path, source })?;
                let hosts = Arc::new(hosts);
                next.refresh.extend(
                    hosts.interval().map(|every| AbortOnDrop(tokio::spawn(refresh(hosts.clone(), every)))),
                );
                Some(hosts)
            }
        };
        let recursion = self.recursion(block, own, next);
        let reply_options = plugins.reply_options();
        Ok(Chain::new(plugins, &Parts { cluster, imports, hosts, recursion, reply_options }))
    }

    /// The cache and the upstream resolvers of a block: those of the configuration before, if its options are equal.
    fn recursion(&self, block: &Block, own: &[SocketAddr], next: &mut Prepared) -> Recursion {
        let server =
            block.served.first().map(|served| format!("{}://:{}", served.scheme.name(), served.port));
        // Sockets that were handed over may be in another network namespace, where "all addresses" are other ones.
        let here = |address: &&SocketAddr| !self.fixed || !address.ip().is_unspecified();
        let own: Vec<_> = own.iter().filter(here).copied().collect();
        let setup = block.plugins.recursion(&own, &server.unwrap_or_default());
        let known = self.recursions.iter().find(|recursion| recursion.is_of(&setup)).cloned();
        let recursion = known.unwrap_or_else(|| Recursion::new(setup, &self.recursion_metrics, &self.loops));
        next.recursions.push(recursion.clone());
        recursion
    }
}

/// Starts listeners on sockets with their plans. Threads are numbered from `first_thread` on.
fn listen(
    sockets: Vec<OpenSockets>,
    plans: &BTreeMap<ListenAddress, Ready>,
    first_thread: usize,
) -> Result<Vec<(ListenAddress, Listener)>, Error> {
    let (mut listening, mut threads) = (Vec::new(), first_thread..);
    for open in sockets {
        let port = open.port();
        let Some((plan, certificate)) = plans.get(&port) else { continue };
        let shared = Arc::new(SharedPlan::new(plan.clone()));
        let mut workers = Vec::new();
        for (socket, number) in open.udp.into_iter().zip(&mut threads) {
            let worker = Worker::start(socket, number, shared.clone(), tokio::runtime::Handle::current());
            workers.push(worker.map_err(Error::Socket)?);
        }
        let (certificate, held) = watch::channel(certificate.clone());
        let (accepts, closing) = oneshot::channel();
        let listener = tcp::open(open.tcp).map_err(Error::Socket)?;
        let closing = async { drop(closing.await) };
        tokio::spawn(tcp::serve(shared.clone(), listener, open.scheme, held, closing));
        listening.push((port, Listener { shared, certificate, _workers: workers, _accepts: accepts }));
    }
    Ok(listening)
}

/// The label `server` of metrics for a listener.
fn server_name((scheme, address): ListenAddress) -> String {
    let host = Some(address.ip()).filter(|host| !host.is_unspecified());
    let host = host.map_or(String::new(), |host| host.to_string());
    format!("{}://{host}:{}", scheme.name(), address.port())
}

/// The addresses at which other machines reach a block, for NS records. Loopback addresses are left out.
fn servers(block: &Block, own: &[SocketAddr]) -> Vec<IpAddr> {
    let bound = if block.plugins.bind.addresses.is_empty() {
        own.iter().map(SocketAddr::ip).collect()
    } else {
        block.plugins.bind.addresses.clone()
    };
    let mut servers: Vec<_> = bound.into_iter().filter(|address| !address.is_unspecified()).collect();
    if servers.is_empty() {
        servers = interfaces::own();
    }
    servers.retain(|address| !address.is_loopback());
    servers.sort();
    servers.dedup();
    servers
}

/// Reads a hosts file again in an interval.
async fn refresh(hosts: Arc<HostNames>, every: std::time::Duration) {
    let mut failed = false;
    loop {
        tokio::time::sleep(every).await;
        match hosts.refresh() {
            Ok(changed) => {
                failed = false;
                if changed {
                    tracing::info!("the hosts file has changed");
                }
            }
            Err(error) if !failed => {
                failed = true;
                tracing::warn!(%error, "the hosts file cannot be read; its names stay as they were");
            }
            Err(_) => {}
        }
    }
}
