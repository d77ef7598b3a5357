//! The proxy at work: events in, rules out, and what others may know of it.

mod health_checks;
mod interfaces;
mod observers;
mod reporter;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use service::objects::{EndpointSlice, Node, Object, Service, ServiceCidr};
use service::{Changed, Cluster, Event, Family, Outcome, Viewpoint, watch};
use tokio::sync::mpsc;

use crate::config::{Config, ModeName, NodePortAddresses};
use crate::configuration::Duties;
use crate::error::Error;
use crate::health::Health;
use crate::localhost::Localhost;
use crate::metrics::{ChangeOf, Metrics};
use crate::mode::{Mode, Touched};
use crate::sight::{NodeFacts, Sight};
use health_checks::HealthChecks;
pub use interfaces::addresses as interface_addresses;
use observers::Ask;
use reporter::Reporter;

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
    ServiceCidr(Event<ServiceCidr>),
}

/// Keeps the Service rules of a node in step with the API server until `shutdown` is done. Rules stay in place
/// then; connections and new ones go on while no proxy runs. [`crate::cleanup`] removes them.
///
/// The mode decides the network namespace; servers and programs use that of the calling thread. Nothing is written
/// before Services and EndpointSlices are completely listed.
///
/// # Errors
/// [`Error::Load`] and the like when the first rules cannot be loaded, [`Error::Listen`] when a server cannot listen
/// and must, [`Error::WatchEnded`] when there is nothing to wait for any more. Later failures of the kernel are
/// logged and tried again.
pub async fn run(
    client: kube::Client,
    config: Config,
    duties: Duties,
    mode: Box<dyn Mode>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let own_node = format!("metadata.name={}", config.node_name);
    let inputs = [
        watch::events(client.clone(), "").map(Input::Service).boxed(),
        watch::events(client.clone(), "").map(Input::Slice).boxed(),
        watch::events(client.clone(), &own_node).map(Input::Node).boxed(),
        service_cidrs(client.clone()).map(Input::ServiceCidr).boxed(),
    ];
    let health = Arc::new(Health::new(duties.sync_period));
    let metrics = Arc::new(Metrics::new(config.mode).map_err(Error::Metrics)?);
    let reporter = Reporter::start(client, &config.node_name);
    let (asks, asked) = mpsc::channel(4);
    let _servers = observers::start(&duties, config.mode, health.clone(), metrics.clone(), asks).await?;
    let mut proxy = Proxy::new(config, mode, health, metrics, reporter);
    proxy.take_over = duties.take_over;
    follow(stream::select_all(inputs), proxy, asked, shutdown).await
}

/// Events of ServiceCIDRs; none from an API server that has no such kind (before Kubernetes 1.33).
fn service_cidrs(client: kube::Client) -> impl Stream<Item = Event<ServiceCidr>> {
    let known = async move {
        let version = format!("{}/{}", ServiceCidr::GROUP, ServiceCidr::VERSION);
        loop {
            match client.list_api_group_resources(&version).await {
                Ok(list) if list.resources.iter().any(|kind| kind.name == ServiceCidr::PLURAL) => {
                    return watch::events(client, "").boxed();
                }
                Ok(_) | Err(kube::Error::Api(_)) => return stream::pending().boxed(),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    stream::once(known).flatten()
}

/// Whatever is ready is one batch: while a transaction is under way events pile up and share the next.
async fn follow(
    inputs: impl Stream<Item = Input>,
    mut proxy: Proxy,
    mut asked: mpsc::Receiver<Ask>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut inputs = pin!(inputs.ready_chunks(EVENTS));
    let mut shutdown = pin!(shutdown);
    loop {
        let tend = proxy.next_tend();
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            batch = inputs.next() => proxy.take(batch.ok_or(Error::WatchEnded)?).await?,
            () = tokio::time::sleep(RETRY), if proxy.behind => proxy.sync(Instant::now()).await?,
            () = tokio::time::sleep(tend.unwrap_or_default()), if tend.is_some() && !proxy.behind => proxy.tend(),
            () = proxy.mode.disturbed(), if proxy.started && !proxy.behind => proxy.repair().await?,
            Some(ask) = asked.recv() => ask.answer(proxy.mode.counts()),
        }
    }
}

/// Model and mode of one node.
struct Proxy {
    cluster: Cluster,
    changed: Changed,
    /// When the changes that wait began, as their slices say.
    triggers: Vec<Timestamp>,
    node: NodeFacts,
    config: Config,
    mode: Box<dyn Mode>,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    reporter: Reporter,
    health_checks: HealthChecks,
    localhost: Localhost,
    /// Changes that began earlier are not counted: nobody was there to program them.
    born: Timestamp,
    /// Whether to remove what others left once rules are loaded.
    take_over: bool,
    /// Whether rules were loaded at all.
    started: bool,
    /// Whether all Services must be looked at: the node changed, or the kernel refused the last rules.
    all: bool,
    /// Whether the kernel refused the last rules.
    behind: bool,
}

impl Proxy {
    fn new(
        config: Config,
        mode: Box<dyn Mode>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
    ) -> Self {
        let viewpoint = Viewpoint { node: config.node_name.clone(), zone: None };
        Self {
            cluster: Cluster::new(),
            changed: Changed::new(),
            triggers: Vec::new(),
            node: NodeFacts { viewpoint, ..NodeFacts::default() },
            config,
            mode,
            health_checks: HealthChecks::new(health.clone(), reporter.clone()),
            localhost: Localhost::new(),
            health,
            metrics,
            reporter,
            born: Timestamp::now(),
            take_over: false,
            started: false,
            all: true,
            behind: false,
        }
    }

    fn next_tend(&self) -> Option<Duration> {
        self.mode.next_tend().filter(|_| self.started)
    }

    async fn take(&mut self, batch: Vec<Input>) -> Result<(), Error> {
        let since = Instant::now();
        for input in batch {
            match input {
                Input::Service(event) => self.take_service(event),
                Input::Slice(event) => self.take_slice(event),
                Input::Node(event) => self.look_from(event),
                Input::ServiceCidr(event) => self.take_range(event),
            }
        }
        let nothing_new = self.started && self.changed.is_empty() && !self.all;
        if !self.cluster.synced() || nothing_new {
            return Ok(());
        }
        self.health.waits();
        self.sync(since).await
    }

    fn take_service(&mut self, event: Event<Service>) {
        self.metrics.change(ChangeOf::Service);
        if let Event::Apply(service) = &event {
            let problems = self.reporter.report::<Service>(&service.metadata, service.problems.iter());
            self.metrics.problems(problems);
        }
        self.cluster.service_event(event, &mut self.changed);
    }

    fn take_slice(&mut self, event: Event<EndpointSlice>) {
        self.metrics.change(ChangeOf::Endpoints);
        if let Event::Apply(slice) = &event {
            let problems = self.reporter.report::<EndpointSlice>(&slice.metadata, slice.problems.iter());
            self.metrics.problems(problems);
            let trigger = slice.trigger_time.as_deref().and_then(|text| text.parse::<Timestamp>().ok());
            self.triggers.extend(trigger.filter(|trigger| *trigger >= self.born));
        }
        self.cluster.slice_event(event, &mut self.changed);
    }

    /// A node that changes its zone or its addresses sees every Service anew.
    fn look_from(&mut self, event: Event<Node>) {
        let node = match event {
            Event::Apply(node) if node.metadata.name == self.node.viewpoint.node => node,
            Event::Delete(node) if node.metadata.name == self.node.viewpoint.node => {
                self.health.node_is(false);
                return;
            }
            _ => return,
        };
        self.health.node_is(node.eligible);
        let mut seen = self.node.clone();
        seen.see(&node);
        self.all |= seen != self.node;
        self.node = seen;
    }

    /// Ranges of cluster IPs come and go seldom; what is no longer named is kept until the next start.
    fn take_range(&mut self, event: Event<ServiceCidr>) {
        let (ranges, present) = match &event {
            Event::Apply(object) => (&object.cidrs, true),
            Event::Delete(object) => (&object.cidrs, false),
            Event::Relist | Event::Synced => return,
        };
        let mut known = self.node.service_cidrs.clone();
        known.retain(|range| !ranges.contains(range));
        if present {
            known.extend(ranges);
        }
        known.sort_unstable();
        self.all |= known != self.node.service_cidrs;
        self.node.service_cidrs = known;
    }

    async fn repair(&mut self) -> Result<(), Error> {
        tracing::warn!("somebody else changed the Service rules; they are repaired");
        self.metrics.repair();
        self.all = true;
        self.sync(Instant::now()).await
    }

    fn tend(&mut self) {
        let sight = Sight { cluster: &self.cluster, node: &self.node, config: &self.config };
        if let Err(error) = self.mode.tend(&sight) {
            tracing::warn!(%error, "the Service rules could not be looked after; they are loaded again");
            self.all = true;
            self.behind = true;
        }
    }

    async fn sync(&mut self, since: Instant) -> Result<(), Error> {
        if matches!(self.config.node_port_addresses(), NodePortAddresses::Ranges(_)) {
            let found = interfaces::addresses().await;
            self.all |= found != self.node.interface_addresses;
            self.node.interface_addresses = found;
        }
        let changed = std::mem::take(&mut self.changed);
        let touched = if self.all { Touched::Everything } else { Touched::Services(&changed) };
        let sight = Sight { cluster: &self.cluster, node: &self.node, config: &self.config };
        match self.mode.sync(&sight, &touched) {
            Ok(report) => {
                let took = since.elapsed();
                self.metrics.synced(&report, took, &std::mem::take(&mut self.triggers));
                self.health.updated();
                self.health_checks.follow(&sight, &touched).await;
                if self.config.mode == ModeName::Nftables {
                    self.localhost.follow(&sight, &touched);
                }
                count_without_local_endpoints(&sight, &self.metrics, &touched);
                if !self.started {
                    if self.take_over {
                        remove_leftovers(self.config.clone());
                    }
                    tracing::info!(
                        elements = report.elements,
                        milliseconds = took.as_millis() as u64,
                        "Service rules loaded"
                    );
                }
                tracing::debug!(
                    services = changed.len(),
                    elements = report.elements,
                    full = report.full,
                    flows = report.flows,
                    microseconds = took.as_micros() as u64,
                    "Service rules programmed"
                );
                self.started = true;
                self.all = false;
                self.behind = false;
                Ok(())
            }
            Err(error) if self.started => {
                self.metrics.failed();
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

/// Removes what other modes left, beside the work of following changes.
fn remove_leftovers(config: Config) {
    std::thread::spawn(move || {
        if let Err(error) = crate::modes::cleanup_others(&config) {
            tracing::warn!(%error, "rules of other modes stay; portolan proxy --cleanup removes all");
        }
    });
}

/// Counts the Services that drop traffic here, when everything is looked at anyway.
fn count_without_local_endpoints(sight: &Sight<'_>, metrics: &Metrics, touched: &Touched<'_>) {
    if !matches!(touched, Touched::Everything) {
        return;
    }
    let ports = sight.all_ports();
    for family in Family::ALL {
        let drops = |entrance, local: fn(&service::PortView<'_>) -> bool| {
            let ports = ports.iter().filter(|view| view.family == family && local(view));
            ports
                .filter(|view| {
                    view.choice.answer(entrance, service::Client::Outside).outcome == Outcome::Drop
                })
                .count()
        };
        let internal = drops(service::Entrance::Internal, |view| view.service.internal_traffic_local);
        let external =
            drops(service::Entrance::External, |view| view.external_local() && view.externally_accessible());
        metrics.no_local_endpoints(family, "internal", internal);
        metrics.no_local_endpoints(family, "external", external);
    }
}
