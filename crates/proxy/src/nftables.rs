//! nftables mode: few global maps, changed element by element over netlink.
//!
//! [`compile()`] turns a Service into what it wants of the kernel; [`Ruleset`] takes that in and knows the
//! difference to what was loaded last; [`Kernel`] sends that difference as one atomic transaction. The layout in
//! the kernel is described in [`layout`], the shares of endpoints in [`balance`].

pub mod balance;
pub mod kube_proxy;
pub mod layout;

mod compile;
mod counts;
mod front;
mod kernel;
mod ruleset;
#[cfg(test)]
pub(crate) mod scene;
mod settings;
mod trace;
mod wish;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use nfnetlink::Socket;
use nfnetlink::conntrack::Flow;
use service::ServiceName;
use service::objects::{Balance, Protocol};

pub use compile::compile;
pub use front::Front;
pub use kernel::{Kernel, cleanup};
pub use ruleset::{Change, Plan, Range, Ruleset};
pub use settings::{Pods, Settings, Surroundings};
pub use trace::Walker;
pub use wish::{Audience, Chooser, Fragment, FrontValue, Way};

use crate::config::SYNC_PERIOD;
use crate::error::Error;
use crate::mode::{Count, Counter, Mode, Report, Touched};
use crate::sight::Sight;
use crate::watcher::Watcher;
use balance::Load;

/// How often connections are counted for Services that balance by them.
const COUNT: Duration = Duration::from_secs(1);

/// The rules that this sight leads to, as a value: what the kernel would hold after a load.
pub fn compile_rules(sight: &Sight<'_>) -> nfnetlink::Ruleset {
    let mut ruleset = Ruleset::new();
    for name in sight.cluster.names() {
        let fragment = compile(&sight.ports(name), sight.node, &Load::default(), None);
        ruleset.replace(name, fragment);
    }
    kernel::Wanted::new(&Settings::of(sight), &Surroundings::of(sight), &ruleset.take_all()).ruleset()
}

/// The nftables mode at work in one network namespace.
#[derive(Debug)]
pub struct Nftables {
    ruleset: Ruleset,
    kernel: Kernel,
    /// Services that balance by the connections of their endpoints, and those as last counted.
    counting: BTreeSet<ServiceName>,
    load: Load,
    watcher: Watcher,
    /// Whether the watcher listens. It does not until the rules are loaded, since the kernel tells a listener of each
    /// element.
    listens: bool,
    /// How often all is compared with the kernel while changes by others are not heard of.
    period: Duration,
}

/// What will hear of changes that others make, if that is possible.
fn watch(kernel: &Kernel) -> Watcher {
    let monitor = kernel.monitor().inspect_err(|error| {
        tracing::warn!(%error, "changes of the Service rules by others are only found by comparing all");
    });
    Watcher::new(monitor.ok())
}

impl Nftables {
    /// Nothing is read or written before the first [`Mode::sync`]. To hear of changes that others make, the calling
    /// thread must be in the network namespace of the kernel's socket.
    pub fn new(kernel: Kernel) -> Self {
        Self {
            ruleset: Ruleset::new(),
            watcher: watch(&kernel),
            kernel,
            counting: BTreeSet::new(),
            load: Load::default(),
            listens: false,
            period: SYNC_PERIOD,
        }
    }

    /// Compiles a Service anew.
    fn look_at(&mut self, sight: &Sight<'_>, name: &ServiceName) {
        let ports = sight.ports(name);
        let counts = ports.first().is_some_and(|port| port.service.balance == Balance::LeastConnections);
        match counts {
            true => self.counting.insert(name.clone()),
            false => self.counting.remove(name),
        };
        let fragment = compile(&ports, sight.node, &self.load, self.ruleset.fragment(name));
        self.ruleset.replace(name, fragment);
    }

    /// Brings the kernel to what the ruleset says. The first time it listens for changes by others only then, and
    /// looks again if there were any meanwhile.
    fn apply(&mut self, sight: &Sight<'_>) -> Result<Report, Error> {
        let (settings, surroundings) = (Settings::of(sight), Surroundings::of(sight));
        if self.listens {
            return self.kernel.sync(&settings, &surroundings, &mut self.ruleset);
        }
        let before = self.kernel.generation();
        let report = self.kernel.sync(&settings, &surroundings, &mut self.ruleset)?;
        self.listen();
        let missed = match (before, self.kernel.generation()) {
            (Some(before), Some(now)) => now.changed_by_others_since(before),
            _ => true,
        };
        if !missed {
            return Ok(report);
        }
        self.kernel.trust_nothing();
        let repaired = self.kernel.sync(&settings, &surroundings, &mut self.ruleset)?;
        Ok(Report { elements: report.elements + repaired.elements, ..report })
    }

    fn listen(&mut self) {
        self.listens = true;
        if let Err(error) = self.watcher.listen() {
            tracing::warn!(%error, "changes of the Service rules by others are only found by comparing all");
            self.watcher = Watcher::new(None);
        }
    }

    /// Counts the connections that the kernel tracks. If it does not say, they stay as they were.
    fn count(&mut self) {
        let mut flows: Vec<Flow> = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            match self.kernel.socket().flows(protocol.number()) {
                Ok(found) => flows.extend(found),
                Err(error) => {
                    tracing::debug!(%error, "connections cannot be counted; balancing by the last count");
                    return;
                }
            }
        }
        self.load = Load::count(&flows);
    }
}

impl Mode for Nftables {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        self.period = sight.config.sync_period;
        let mut names = touched.names(sight);
        if matches!(touched, Touched::Everything) {
            // Those that went since the last sync are among ours only.
            names.extend(self.ruleset.names().cloned());
            self.kernel.trust_nothing();
        }
        for name in names {
            self.look_at(sight, &name);
        }
        self.apply(sight)
    }

    fn next_tend(&self) -> Option<Duration> {
        match (self.counting.is_empty(), self.watcher.hears()) {
            (false, _) => Some(COUNT),
            (true, false) => Some(self.period),
            (true, true) => None,
        }
    }

    fn tend(&mut self, sight: &Sight<'_>) -> Result<(), Error> {
        if !self.watcher.hears() {
            self.watcher = watch(&self.kernel);
            self.listens = false;
            self.kernel.trust_nothing();
        }
        if !self.counting.is_empty() {
            self.count();
        }
        for name in self.counting.clone() {
            self.look_at(sight, &name);
        }
        self.apply(sight).map(drop)
    }

    fn counter(&self) -> Option<Counter> {
        let socket = Socket::open().inspect_err(|error| {
            tracing::warn!(%error, "connections of Services are not counted in the metrics");
        });
        socket.ok().map(counts::counter)
    }

    fn counts(&mut self) -> Vec<Count> {
        counts::read_or_log(self.kernel.socket())
    }

    fn disturbed(&mut self) -> BoxFuture<'_, ()> {
        let heard = async {
            if let Err(error) = self.watcher.disturbed().await {
                tracing::warn!(%error, "changes of the Service rules by others cannot be heard of; comparing all");
                self.watcher = Watcher::new(None);
            }
        };
        heard.boxed()
    }
}
