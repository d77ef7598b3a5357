//! The proxy at work: events in, transactions out.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use service::objects::{EndpointSlice, Node, Service};
use service::{Changed, Cluster, Event, Viewpoint, watch};

use crate::config::Config;
use crate::error::Error;
use crate::mode::{Mode, Touched};
use crate::nftables::{Kernel, Nftables};
use crate::sight::{NodeFacts, Sight};

/// How many events one transaction takes in at most. Bounds memory; whatever waits beyond goes into the next.
const EVENTS: usize = 8192;
/// How long to wait before rules that the kernel refused are loaded again.
const RETRY: Duration = Duration::from_secs(1);

/// One event of any of the watches.
#[derive(Debug)]
enum Input {
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
    Node(Event<Node>),
}

/// Keeps the Service rules of a node in step with the API server until `shutdown` is done. Rules stay in place
/// then; connections and new ones go on while no proxy runs. [`crate::cleanup`] removes them.
///
/// `socket` decides the network namespace, whatever thread this runs on. Nothing is written before Services and
/// EndpointSlices are completely listed.
///
/// # Errors
/// [`Error::Load`] when the first rules cannot be loaded, [`Error::WatchEnded`] when there is nothing to wait for
/// any more. Later failures of the kernel are logged and tried again.
pub async fn run(
    client: kube::Client,
    config: Config,
    socket: nfnetlink::Socket,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let own_node = format!("metadata.name={}", config.node_name);
    let inputs = [
        watch::events(client.clone(), "").map(Input::Service).boxed(),
        watch::events(client.clone(), "").map(Input::Slice).boxed(),
        watch::events(client, &own_node).map(Input::Node).boxed(),
    ];
    follow(stream::select_all(inputs), config, socket, shutdown).await
}

/// Whatever is ready is one batch: while a transaction is under way events pile up and share the next.
async fn follow(
    inputs: impl Stream<Item = Input>,
    config: Config,
    socket: nfnetlink::Socket,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut proxy = Proxy::new(config, socket);
    let mut inputs = pin!(inputs.ready_chunks(EVENTS));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            batch = inputs.next() => proxy.take(batch.ok_or(Error::WatchEnded)?)?,
            () = tokio::time::sleep(RETRY), if proxy.behind => proxy.sync(Instant::now())?,
        }
    }
}

/// Model and mode of one node.
struct Proxy {
    cluster: Cluster,
    changed: Changed,
    node: NodeFacts,
    config: Config,
    mode: Box<dyn Mode>,
    /// Whether rules were loaded at all.
    started: bool,
    /// Whether all Services must be looked at: the node changed, or the kernel refused the last rules.
    all: bool,
    /// Whether the kernel refused the last rules.
    behind: bool,
}

impl Proxy {
    fn new(config: Config, socket: nfnetlink::Socket) -> Self {
        let viewpoint = Viewpoint { node: config.node_name.clone(), zone: None };
        Self {
            cluster: Cluster::new(),
            changed: Changed::new(),
            node: NodeFacts { viewpoint, ..NodeFacts::default() },
            config,
            mode: Box::new(Nftables::new(Kernel::new(socket))),
            started: false,
            all: true,
            behind: false,
        }
    }

    fn take(&mut self, batch: Vec<Input>) -> Result<(), Error> {
        let since = Instant::now();
        for input in batch {
            match input {
                Input::Service(event) => self.cluster.service_event(event, &mut self.changed),
                Input::Slice(event) => self.cluster.slice_event(event, &mut self.changed),
                Input::Node(event) => self.look_from(event),
            }
        }
        let nothing_new = self.started && self.changed.is_empty() && !self.all;
        if !self.cluster.synced() || nothing_new {
            return Ok(());
        }
        self.sync(since)
    }

    /// A node that changes its zone or its addresses sees every Service anew.
    fn look_from(&mut self, event: Event<Node>) {
        let Event::Apply(node) = event else { return };
        if node.metadata.name != self.node.viewpoint.node {
            return;
        }
        let mut seen = self.node.clone();
        seen.see(&node);
        self.all |= seen != self.node;
        self.node = seen;
    }

    fn sync(&mut self, since: Instant) -> Result<(), Error> {
        let changed = std::mem::take(&mut self.changed);
        let touched = if self.all { Touched::Everything } else { Touched::Services(&changed) };
        let sight = Sight { cluster: &self.cluster, node: &self.node, config: &self.config };
        match self.mode.sync(&sight, &touched) {
            Ok(report) => {
                if !self.started {
                    tracing::info!(elements = report.elements, "Service rules loaded");
                }
                tracing::debug!(
                    services = changed.len(),
                    elements = report.elements,
                    full = report.full,
                    flows = report.flows,
                    microseconds = since.elapsed().as_micros() as u64,
                    "Service rules programmed"
                );
                self.started = true;
                self.all = false;
                self.behind = false;
                Ok(())
            }
            Err(error) if self.started => {
                if !self.behind {
                    tracing::error!(%error, "the Service rules are out of date; trying again");
                }
                self.all = true;
                self.behind = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
