//! Sockets, and the plan that each answers by.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::feed::Feeds;
use crate::config::{Block, Config, Listen};
use crate::error::Error;
use crate::hosts::Hosts;
use crate::interfaces;
use crate::log::{Lines, Logger};
use crate::metrics::{Counts, Metrics};
use crate::outside::{self, Outside};
use crate::server::certificate;
use crate::server::chain::{Chain, Parts};
use crate::server::plan::{Entry, Plan, Shared};
use crate::server::sockets::{self, Open, Sockets};
use crate::server::tcp;
use crate::server::udp::Worker;
use crate::wire::Name;
use crate::zone::View;

/// Where queries come in.
type Port = (Listen, SocketAddr);

/// All ports that are open.
#[derive(Debug)]
pub(super) struct Ports {
    /// An address may be there more than once, in different network namespaces.
    ports: Vec<(Port, Listening)>,
    /// Sockets that were handed over and are used whatever the configuration listens on.
    fixed: bool,
    refresh: Vec<Task>,
    metrics: Metrics,
    /// What is asked of others, and what they said; it goes on under a new configuration that says the same of it.
    outsides: Vec<Outside>,
    meters: outside::Meters,
    loops: outside::Loops,
    /// Where queries are logged, once any are.
    lines: Option<Arc<Lines>>,
    /// How many threads have a number.
    threads: usize,
}

/// One port at work.
#[derive(Debug)]
struct Listening {
    shared: Arc<Shared>,
    certificate: watch::Sender<Option<Arc<rustls::ServerConfig>>>,
    _workers: Vec<Worker>,
    _tcp: Task,
}

/// What a configuration makes of the ports, before any of it counts.
#[derive(Debug, Default)]
struct Next {
    plans: BTreeMap<Port, Answers>,
    refresh: Vec<Task>,
    outsides: Vec<Outside>,
}

/// What answers on a port.
#[derive(Debug, Default)]
struct Answers {
    blocks: Vec<Answer>,
    certificate: Option<Arc<rustls::ServerConfig>>,
}

/// A server block under one of its zones, with its directives for metrics.
#[derive(Debug)]
struct Answer {
    entry: Entry,
    directives: Vec<&'static str>,
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Ports {
    /// Begins to take in queries on sockets; they are refused until [`Ports::answer`].
    pub(super) fn new(sockets: Sockets, metrics: Metrics) -> Result<Self, Error> {
        let mut ports = Self {
            ports: Vec::new(),
            fixed: sockets.fixed,
            refresh: Vec::new(),
            meters: outside::Meters::new(&metrics),
            metrics,
            outsides: Vec::new(),
            loops: outside::Loops::default(),
            lines: None,
            threads: 0,
        };
        ports.ports = ports.listen(sockets)?;
        Ok(ports)
    }

    /// Begins to take in queries on sockets; they are refused so far.
    fn listen(&mut self, sockets: Sockets) -> Result<Vec<(Port, Listening)>, Error> {
        let mut opened = Vec::new();
        for Open { listen, address, udp, tcp } in sockets.open {
            let shared = Arc::new(Shared::new(Arc::new(Plan::new(Vec::new()))));
            let mut workers = Vec::new();
            for socket in udp {
                self.threads += 1;
                let tasks = tokio::runtime::Handle::current();
                let worker = Worker::start(socket, self.threads, shared.clone(), tasks);
                workers.push(worker.map_err(Error::Socket)?);
            }
            let (certificate, held) = watch::channel(None);
            let tcp = tcp::serve(shared.clone(), tcp::open(tcp).map_err(Error::Socket)?, listen, held);
            let listening =
                Listening { shared, certificate, _workers: workers, _tcp: Task(tokio::spawn(tcp)) };
            opened.push(((listen, address), listening));
        }
        Ok(opened)
    }

    /// Answers as a configuration says from now on. Ports that it adds are opened, those that it leaves out are
    /// closed; queries on the others go on without a pause.
    ///
    /// # Errors
    /// When something that it needs is not there; then everything is as it was.
    pub(super) fn answer(&mut self, config: &Config, feeds: &Feeds) -> Result<(), Error> {
        let opened = match self.fixed {
            true => Vec::new(),
            false => {
                let held: Vec<Port> = self.ports.iter().map(|(port, _)| *port).collect();
                self.listen(Sockets::beside(config, &held)?)?
            }
        };
        let ports: BTreeSet<Port> = self.ports.iter().chain(&opened).map(|(port, _)| *port).collect();
        let next = self.prepare(config, feeds, &ports)?;
        self.ports.extend(opened);
        self.ports.retain(|(port, _)| next.plans.contains_key(port));
        self.metrics.disable_all();
        for (port, Answers { blocks, certificate }) in next.plans {
            for entry in &blocks {
                let names = &entry.directives;
                self.metrics.enable(&server_name(port), &entry.entry.zone.to_string(), names);
            }
            let plan = Arc::new(Plan::new(blocks.into_iter().map(|block| block.entry).collect()));
            for (_, listening) in self.ports.iter().filter(|(open, _)| *open == port) {
                if certificate.is_some() {
                    listening.certificate.send_replace(certificate.clone());
                }
                listening.shared.exchange(plan.clone());
            }
        }
        self.refresh = next.refresh;
        let before = std::mem::replace(&mut self.outsides, next.outsides);
        let new = self.outsides.iter().filter(|outside| !before.iter().any(|known| known.is(outside)));
        new.for_each(Outside::look_for_loops);
        Ok(())
    }

    /// What a configuration makes of these ports.
    fn prepare(&mut self, config: &Config, feeds: &Feeds, ports: &BTreeSet<Port>) -> Result<Next, Error> {
        let own: Vec<SocketAddr> = ports.iter().map(|(_, address)| *address).collect();
        let mut next = Next::default();
        for block in &config.blocks {
            let chain = Arc::new(self.chain(block, feeds, &own, &mut next)?);
            let log = self.logger(block)?;
            for served in &block.served {
                let bound = sockets::addresses(&block.bind, served.port);
                let meant: BTreeSet<Port> = match self.fixed {
                    true => ports.clone(),
                    false => bound.map(|address| (served.listen, address)).collect(),
                };
                let tls = block.plugins.tls.as_ref().filter(|_| served.listen != Listen::Dns);
                let certificate = tls.map(|tls| certificate::read(tls, served.listen)).transpose()?;
                for port in meant {
                    let counts = self.counts(block, port, &served.zone);
                    let (zone, chain, log) = (served.zone.clone(), chain.clone(), log.clone());
                    let directives = if counts.is_some() { block.plugins.names() } else { Vec::new() };
                    let answers = next.plans.entry(port).or_default();
                    answers.blocks.push(Answer { entry: Entry { zone, chain, counts, log }, directives });
                    answers.certificate = certificate.clone().or(answers.certificate.take());
                }
            }
        }
        Ok(next)
    }

    /// What logs the queries for a block, if it has `log`.
    fn logger(&mut self, block: &Block) -> Result<Option<Arc<Logger>>, Error> {
        let Some(options) = block.plugins.log.clone() else { return Ok(None) };
        let lines = match &self.lines {
            Some(lines) => lines.clone(),
            None => self.lines.insert(Arc::new(Lines::on_standard_output().map_err(Error::Log)?)).clone(),
        };
        Ok(Some(Arc::new(Logger::new(options, lines))))
    }

    /// Where the queries for a zone are counted, if the block has `prometheus`.
    fn counts(&self, block: &Block, port: Port, zone: &Name) -> Option<Arc<Counts>> {
        block.plugins.metrics?;
        Some(self.metrics.counts(&server_name(port), &zone.to_string(), self.threads))
    }

    fn chain(
        &self,
        block: &Block,
        feeds: &Feeds,
        own: &[SocketAddr],
        next: &mut Next,
    ) -> Result<Chain, Error> {
        let plugins = &block.plugins;
        let servers = servers(block, own);
        let cluster = feeds.table(plugins).zip(plugins.kubernetes.as_ref());
        let cluster = cluster.map(|(table, kubernetes)| View::new(table, kubernetes, servers.clone()));
        let imports = feeds.imported(plugins).zip(plugins.kubernetes.as_ref());
        let imports = imports.map(|(table, kubernetes)| View::of_imports(table, kubernetes, servers));
        let hosts = match &plugins.hosts {
            None => None,
            Some(options) => {
                let path = options.file.clone().unwrap_or_default();
                let hosts = Hosts::new(options.clone()).map_err(|source| Error::File { path, source })?;
                let hosts = Arc::new(hosts);
                next.refresh
                    .extend(hosts.interval().map(|every| Task(tokio::spawn(refresh(hosts.clone(), every)))));
                Some(hosts)
            }
        };
        Ok(Chain::new(plugins, Parts { cluster, imports, hosts }, self.outside(block, own, next)))
    }

    /// What a block asks of others: that of before if nothing of it has changed.
    fn outside(&self, block: &Block, own: &[SocketAddr], next: &mut Next) -> Outside {
        let server =
            block.served.first().map(|served| format!("{}://:{}", served.listen.scheme(), served.port));
        // All addresses of another network namespace are not those of this one.
        let here = |address: &&SocketAddr| !self.fixed || !address.ip().is_unspecified();
        let own: Vec<_> = own.iter().filter(here).copied().collect();
        let setup = outside::Setup::of(&block.plugins, &own, &server.unwrap_or_default());
        let known = self.outsides.iter().find(|outside| outside.is_of(&setup)).cloned();
        let outside = known.unwrap_or_else(|| Outside::new(setup, &self.meters, &self.loops));
        next.outsides.push(outside.clone());
        outside
    }
}

/// What metrics call the server of a port.
fn server_name((listen, address): Port) -> String {
    let host = Some(address.ip()).filter(|host| !host.is_unspecified());
    let host = host.map_or(String::new(), |host| host.to_string());
    format!("{}://{host}:{}", listen.scheme(), address.port())
}

/// The addresses at which a block is asked by others; loopback would lead them to themselves.
fn servers(block: &Block, own: &[SocketAddr]) -> Vec<IpAddr> {
    let bound =
        if block.bind.is_empty() { own.iter().map(SocketAddr::ip).collect() } else { block.bind.clone() };
    let mut servers: Vec<_> = bound.into_iter().filter(|address| !address.is_unspecified()).collect();
    if servers.is_empty() {
        servers = interfaces::own();
    }
    servers.retain(|address| !address.is_loopback());
    servers.sort();
    servers.dedup();
    servers
}

/// Reads a hosts file again and again.
async fn refresh(hosts: Arc<Hosts>, every: std::time::Duration) {
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
