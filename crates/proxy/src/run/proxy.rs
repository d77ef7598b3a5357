//! Model and mode of one node, and the way of a change through both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use service::objects::{EndpointSlice, Node, Service, ServiceCidr};
use service::{Changed, Cluster, Event, Family, Outcome};

use super::health_checks::HealthChecks;
use super::inputs::Input;
use super::interfaces;
use super::leftovers::Leftovers;
use super::observers::Observers;
use super::reporter::Reporter;
use crate::config::{Config, ModeName};
use crate::conntrack::room::{News, Room};
use crate::error::Error;
use crate::health::Health;
use crate::localhost::Localhost;
use crate::metrics::{ChangeOf, Metrics};
use crate::mode::{Mode, Report, Touched};
use crate::sight::{NodeFacts, Sight};

/// How long the first rules wait to know the node's addresses. Without, node ports would be open at all of them for a
/// moment; but a node that may not be read is better served late than never.
const NODE_PATIENCE: Duration = Duration::from_secs(1);

/// Model and mode of one node.
pub(super) struct Proxy {
    cluster: Cluster,
    changed: Changed,
    /// When the changes that wait began, as their slices say.
    triggers: Vec<Timestamp>,
    pub(super) node: NodeFacts,
    pub(super) config: Config,
    pub(super) mode: Box<dyn Mode>,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reporter: Reporter,
    pub(super) observers: Observers,
    pub(super) health_checks: HealthChecks,
    pub(super) localhost: Localhost,
    pub(super) leftovers: Leftovers,
    /// Changes that began earlier are not counted: nobody was there to program them.
    born: Timestamp,
    /// Whether to remove what others left once rules are loaded.
    pub(super) take_over: bool,
    /// Whether rules were loaded at all.
    pub(super) started: bool,
    /// Whether all Services must be looked at: the node changed, or the kernel refused the last rules.
    pub(super) all: bool,
    /// Whether the kernel refused the last rules.
    pub(super) behind: bool,
    /// When the mode looked after its rules last.
    tended: Instant,
    /// When this began.
    begun: Instant,
    /// Whether the API server has said what it knows of this node.
    node_listed: bool,
    /// When rules were loaded last.
    loaded: Option<Instant>,
    room: Room,
    /// Whether changes wait for the time between two loads to be over.
    waits: bool,
}

impl Proxy {
    pub(super) fn new(
        config: Config,
        mode: Box<dyn Mode>,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        reporter: Reporter,
        observers: Observers,
    ) -> Self {
        Self {
            cluster: Cluster::new(),
            changed: Changed::new(),
            triggers: Vec::new(),
            node: NodeFacts::unknown(&config),
            config,
            mode,
            health_checks: HealthChecks::new(health.clone(), reporter.clone()),
            localhost: Localhost::counted(metrics.listener_counts()),
            leftovers: Leftovers::default(),
            health,
            metrics,
            reporter,
            observers,
            born: Timestamp::now(),
            take_over: false,
            started: false,
            all: true,
            behind: false,
            tended: Instant::now(),
            begun: Instant::now(),
            node_listed: false,
            loaded: None,
            room: Room::default(),
            waits: false,
        }
    }

    /// In how long changes that wait may be loaded; `None` when none waits.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.waits.then(|| self.rest())
    }

    /// How much is left of the time between two loads, or of that for the node to be known before the first.
    fn rest(&self) -> Duration {
        match self.loaded {
            Some(loaded) => self.config.min_sync_period.saturating_sub(loaded.elapsed()),
            None if self.node_listed => Duration::ZERO,
            None => NODE_PATIENCE.saturating_sub(self.begun.elapsed()),
        }
    }

    /// In how long the mode wants to look after its rules, whatever else happens meanwhile.
    pub(super) fn next_tend(&self) -> Option<Duration> {
        let period = self.mode.next_tend().filter(|_| self.started)?;
        Some(period.saturating_sub(self.tended.elapsed()))
    }

    pub(super) async fn take(&mut self, batch: Vec<Input>) -> Result<(), Error> {
        let since = Instant::now();
        let listed = batch
            .iter()
            .any(|input| matches!(input, Input::Service(Event::Synced) | Input::Slice(Event::Synced)));
        let taken = self.take_in(batch, since).await;
        if listed {
            follow::give_back_memory();
        }
        taken
    }

    async fn take_in(&mut self, batch: Vec<Input>, since: Instant) -> Result<(), Error> {
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
        self.waits = !self.rest().is_zero();
        if self.waits { Ok(()) } else { self.sync(since).await }
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
            Event::Synced => {
                self.node_listed = true;
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

    pub(super) async fn repair(&mut self) -> Result<(), Error> {
        self.metrics.repair();
        self.all = true;
        self.sync(Instant::now()).await
    }

    pub(super) fn tend(&mut self) {
        self.tended = Instant::now();
        let sight = Sight { cluster: &self.cluster, node: &self.node, config: &self.config };
        if let Err(error) = self.mode.tend(&sight) {
            tracing::warn!(%error, "the Service rules could not be looked after; they are loaded again");
            self.all = true;
            self.behind = true;
        }
    }

    /// Says when the kernel has no room for new connections, and when it has again.
    pub(super) fn look_for_room(&mut self) {
        match self.room.look() {
            Some(News::Full { limit }) => {
                self.metrics.table_full();
                tracing::error!(
                    limit,
                    "the kernel's table of connections is full and new ones are dropped; raise conntrack.maxPerCore \
                     and conntrack.min, or shorten its timeouts"
                );
            }
            Some(News::Roomy) => tracing::info!("the kernel's table of connections has room again"),
            None => {}
        }
    }

    /// Loads what changed. A failure is logged and tried again, but for that of the first rules.
    ///
    /// # Errors
    /// That of the first rules.
    pub(super) async fn sync(&mut self, since: Instant) -> Result<(), Error> {
        match self.load(since).await {
            Err(error) if self.started => {
                if !self.behind {
                    tracing::error!(%error, "the Service rules are out of date; trying again");
                }
                self.behind = true;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Loads what changed, and lets all who depend on rules follow.
    ///
    /// # Errors
    /// Those of the mode; the next time everything is looked at.
    pub(super) async fn load(&mut self, since: Instant) -> Result<(), Error> {
        if self.config.node_port_addresses().depends_on_interfaces() {
            let found = interfaces::addresses().await;
            self.all |= found != self.node.interface_addresses;
            self.node.interface_addresses = found;
        }
        let changed = std::mem::take(&mut self.changed);
        let touched = if self.all { Touched::Everything } else { Touched::Services(&changed) };
        let sight = Sight { cluster: &self.cluster, node: &self.node, config: &self.config };
        let report = match self.mode.sync(&sight, &touched) {
            Ok(report) => report,
            Err(error) => {
                self.metrics.failed(self.config.mode);
                self.all = true;
                return Err(error);
            }
        };
        let took = since.elapsed();
        self.metrics.synced(&report, took, &std::mem::take(&mut self.triggers));
        self.metrics.rules(&self.mode.rule_counts());
        self.health_checks.follow(&sight, &touched).await;
        self.health.updated();
        if self.config.mode == ModeName::Nftables {
            self.localhost.follow(&sight, &touched);
        }
        count_without_local_endpoints(&sight, &self.metrics, &touched);
        tracing::debug!(
            services = changed.len(),
            elements = report.elements,
            full = report.full,
            flows = report.flows,
            microseconds = took.as_micros() as u64,
            "Service rules programmed"
        );
        self.all = false;
        self.behind = false;
        self.loaded = Some(Instant::now());
        self.waits = false;
        if !self.started {
            self.started = true;
            self.greet(&report, took);
        }
        Ok(())
    }

    /// The first rules are in place.
    fn greet(&mut self, report: &Report, took: Duration) {
        if self.take_over {
            self.leftovers.remove(self.config.clone(), self.metrics.clone());
        }
        let milliseconds = took.as_millis() as u64;
        tracing::info!(elements = report.elements, milliseconds, "Service rules loaded");
    }
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
