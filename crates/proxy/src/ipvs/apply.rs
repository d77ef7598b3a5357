//! The mode in the kernel of one network namespace.

mod cleanup;
mod difference;
mod failure;
mod half;
mod held;
mod servers;
mod switches;

pub use cleanup::{cleanup, cleanup_iptables_mode};
pub use failure::Failure;
pub use held::held;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nfnetlink::ipvs::{Front, Timeouts};
use nfnetlink::{Dummy, Socket};
use service::objects::Scheduler;
use service::{Cidr, Family};

use self::half::Half;
use self::servers::Servers;
use super::rules::{Change, Rules};
use super::state::INTERFACE;
use crate::config::{IpvsConfig, SYNC_PERIOD};
use crate::conntrack::stale;
use crate::error::Error;
use crate::mode::{Mode, Report, Touched};
use crate::sight::Sight;
use crate::xtables::programs::{self, Programs};
use crate::xtables::{Place, Platform};

/// How often real servers are asked whether their last connection has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// The ipvs mode at work in one network namespace.
#[derive(Debug)]
pub struct Ipvs {
    place: Place,
    /// What is open to the kernel, and each family that works here; `None` before the first sync.
    works: Option<Works>,
    /// When all was compared with the kernel last; `None` when the kernel may hold anything.
    compared: Option<Instant>,
    /// How often that is to be done.
    period: Duration,
    /// The settings that the kernel was given.
    config: Option<IpvsConfig>,
}

#[derive(Debug)]
struct Works {
    servers: Servers,
    interface: Dummy,
    socket: Socket,
    halves: Vec<Half>,
}

impl Ipvs {
    /// Nothing is run, read or written before the first [`Mode::sync`].
    pub fn new(place: Place) -> Self {
        Self { place, works: None, compared: None, period: SYNC_PERIOD, config: None }
    }

    fn load(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Failure> {
        let full = self.compared.is_none() || matches!(touched, Touched::Everything);
        // Until all is done the kernel may hold anything.
        let compared = self.compared.take();
        self.period = sight.config.sync_period;
        if self.config.as_ref() != Some(&sight.config.ipvs) {
            self.place.run(|| give_settings(&sight.config.ipvs))??;
            self.config = Some(sight.config.ipvs.clone());
        }
        let works = match &mut self.works {
            Some(works) => works,
            works => works.insert(Works::start(&self.place)?),
        };
        if full {
            works.interface =
                self.place.run(|| Dummy::ensure(INTERFACE))?.map_err(Failure::making_interface)?;
        }
        let report = works.sync(&self.place, sight, touched, full)?;
        self.compared = if full { Some(Instant::now()) } else { compared };
        Ok(report)
    }
}

impl Works {
    /// Opens what the kernel has, and finds out which families work.
    fn start(place: &Place) -> Result<Self, Failure> {
        let (ipvs, interface, socket) = place.run(|| {
            let ipvs = nfnetlink::ipvs::Ipvs::open().map_err(Failure::opening)?;
            let interface = Dummy::ensure(INTERFACE).map_err(Failure::making_interface)?;
            Ok::<_, Failure>((ipvs, interface, Socket::open()?))
        })??;
        Ok(Self { servers: Servers::new(ipvs), interface, socket, halves: families(place)? })
    }

    fn sync(
        &mut self,
        place: &Place,
        sight: &Sight<'_>,
        touched: &Touched<'_>,
        full: bool,
    ) -> Result<Report, Failure> {
        let touched = if full { &Touched::Everything } else { touched };
        let mut report = Report { full, ..Report::default() };
        let mut changes: Vec<_> =
            self.halves.iter_mut().map(|half| half.rules.update(sight, touched)).collect();
        if full {
            self.compare(sight, &mut changes)?;
        }
        let Self { servers, interface, socket, halves } = self;
        let both = || halves.iter().zip(&changes);
        // What is asked about comes before what asks, what serves before what leads there; and the other way round
        // for what goes.
        for (half, change) in both() {
            report.elements += half.add_entries(socket, change)?;
            if change.chains {
                report.elements += half.write_chains(place, full)?;
            }
        }
        for wanted in [true, false] {
            for (half, change) in both() {
                for front in &change.fronts {
                    let server = half.rules.server(front);
                    let kept =
                        server.is_none() && excluded(front.address.ip(), &sight.config.ipvs.exclude_cidrs);
                    if server.is_some() == wanted && !kept {
                        report.elements += servers.bring(*front, server)?;
                    }
                }
                for address in change.addresses.iter().filter(|it| half.rules.has_address(it) == wanted) {
                    report.elements += 1;
                    match wanted {
                        true => interface.add_address(*address)?,
                        false => interface.delete_address(*address)?,
                    }
                }
            }
        }
        for (half, change) in both() {
            report.elements += half.delete_entries(socket, change)?;
            if !change.flows.is_empty() {
                let since = Instant::now();
                let fronts = half.rules.flows(&change.flows);
                report.flows +=
                    stale::forget(socket, fronts, sight.node).unwrap_or_else(stale::not_forgotten);
                *report.flows_took.get_or_insert_default() += since.elapsed();
            }
        }
        Ok(report)
    }

    /// Looks at all that the kernel holds, and puts into the changes what may differ from what is wanted.
    fn compare(&mut self, sight: &Sight<'_>, changes: &mut [Change]) -> Result<(), Failure> {
        self.servers.read()?;
        let held: BTreeSet<_> = self.interface.addresses()?.into_iter().collect();
        let fronts = self.servers.fronts();
        for (half, change) in self.halves.iter().zip(changes) {
            let family = half.rules.family();
            let ports = half.held_node_ports(&mut self.socket)?;
            half.read_sets(&mut self.socket, change)?;
            let of_family = |address: IpAddr| Family::of(address) == family;
            let made_by_us = |front: &Front| {
                let ip = front.address.ip();
                let node_port = ports.contains(&(front.protocol, front.address.port()));
                held.contains(&ip) || (node_port && sight.node.is_local(ip))
            };
            change.fronts = half.rules.servers().map(|(front, _)| *front).collect();
            change.fronts.extend(fronts.iter().filter(|it| of_family(it.address.ip()) && made_by_us(it)));
            let held = held.iter().copied().filter(|address| of_family(*address)).collect();
            let wanted: BTreeSet<_> = half.rules.addresses().collect();
            change.addresses = wanted.symmetric_difference(&held).copied().collect();
            change.chains = true;
        }
        Ok(())
    }
}

/// Gives the kernel its settings. A file of IPVS is there once IPVS was asked for anything.
fn give_settings(config: &IpvsConfig) -> Result<(), Failure> {
    if !config.scheduler.is_empty() {
        config.scheduler.parse::<Scheduler>()?;
    }
    let mut ipvs = nfnetlink::ipvs::Ipvs::open().map_err(Failure::opening)?;
    switches::set(config.strict_arp)?;
    let timeouts = timeouts(config);
    if timeouts != Timeouts::default() {
        ipvs.set_timeouts(&timeouts)?;
    }
    Ok(())
}

/// The families that work here, without Services so far.
fn families(place: &Place) -> Result<Vec<Half>, Failure> {
    let variant = programs::in_use(place)?;
    let mut halves = Vec::new();
    let mut refusals = Vec::new();
    for family in Family::ALL {
        let programs = Programs::new(variant, family);
        match programs.version(place).and_then(|version| programs.check(place).map(|()| version)) {
            Ok(version) => {
                let random_fully = version >= programs::RANDOM_FULLY;
                let platform = Platform { random_fully, ..Platform::default() };
                halves.push(Half::new(Rules::new(family, platform), programs));
            }
            Err(failure) => refusals.push(failure),
        }
    }
    match refusals.into_iter().next() {
        Some(failure) if halves.is_empty() => return Err(failure.into()),
        Some(failure) => tracing::warn!(%failure, "Services work in one IP family only"),
        None => {}
    }
    Ok(halves)
}

fn timeouts(config: &IpvsConfig) -> Timeouts {
    let [tcp, tcp_fin, udp] = [config.tcp_timeout, config.tcp_fin_timeout, config.udp_timeout]
        .map(|seconds| Duration::from_secs(seconds.into()));
    Timeouts { tcp, tcp_fin, udp }
}

/// Whether virtual servers at an address are somebody else's.
fn excluded(address: IpAddr, ranges: &[Cidr]) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

impl Mode for Ipvs {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        Ok(self.load(sight, touched)?)
    }

    fn next_tend(&self) -> Option<Duration> {
        let draining = self.works.as_ref().is_some_and(|works| works.servers.is_draining());
        Some(if draining { DRAIN } else { self.period })
    }

    fn tend(&mut self, sight: &Sight<'_>) -> Result<(), Error> {
        if let Some(works) = &mut self.works {
            works.servers.remove_drained().map_err(Failure::from)?;
        }
        if self.compared.is_none_or(|at| at.elapsed() >= self.period) {
            self.load(sight, &Touched::Everything)?;
        }
        Ok(())
    }
}
