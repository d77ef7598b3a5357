//! The rules in the kernel of one network namespace, by the programs of the iptables package.

mod cleanup;
mod counters;
mod half;
mod switches;

pub use cleanup::cleanup;

use std::time::{Duration, Instant};

use service::Family;

use self::half::Half;
use super::rules::Rules;
use crate::config::SYNC_PERIOD;
use crate::conntrack::stale;
use crate::error::Error;
use crate::mode::{Counted, Counter, Mode, Report, RuleCount, Touched};
use crate::sight::{NodeFacts, Sight};
use crate::xtables::programs::RANDOM_FULLY;
use crate::xtables::text::Tables;
use crate::xtables::{Failure, Place, Platform, Programs, Settings, programs_in_use};

/// After this time all rules are written anew, whatever happened.
const FULL: Duration = Duration::from_secs(3600);

/// The iptables mode at work in one network namespace.
#[derive(Debug)]
pub struct Iptables {
    place: Place,
    /// What works for each family, found out at the first sync.
    halves: Vec<Half>,
    /// When all rules were written last; `None` when the kernel may hold anything.
    full: Option<Instant>,
    /// How often the kernel is asked whether somebody removed the rules.
    period: Duration,
}

/// All tables of a family, of the kind of programs that is in use, as the kernel holds them.
///
/// # Errors
/// [`Failure`] says which program does not work and what to do.
pub fn held(place: &Place, family: Family) -> Result<Tables, Failure> {
    Programs::new(programs_in_use(place)?, family).tables(place)
}

impl Iptables {
    /// Nothing is run, read or written before the first [`Mode::sync`].
    pub fn new(place: Place) -> Self {
        Self { place, halves: Vec::new(), full: None, period: SYNC_PERIOD }
    }

    /// The rules of each family that works here, as last compiled; none before the first [`Mode::sync`].
    pub fn rules(&self) -> impl Iterator<Item = &Rules> {
        self.halves.iter().map(|half| &half.rules)
    }

    /// Finds out which programs work here and what they and the kernel can do.
    fn start(&mut self) -> Result<(), Failure> {
        let variant = programs_in_use(&self.place)?;
        let counters = counters::ensure(&self.place);
        let platform = Platform {
            counts_invalid: counters.contains(&counters::INVALID),
            counts_localhost: counters.contains(&counters::LOCALHOST),
            conntrack_liberal: switches::conntrack_liberal(&self.place),
            ..Platform::default()
        };
        let mut refusals = Vec::new();
        for family in Family::ALL {
            let programs = Programs::new(variant, family);
            match programs.version(&self.place).and_then(|version| {
                programs.check(&self.place)?;
                Ok(Platform { random_fully: version >= RANDOM_FULLY, ..platform })
            }) {
                Ok(platform) => self.halves.push(Half::new(programs, family, platform)),
                Err(failure) => refusals.push(failure),
            }
        }
        match (self.halves.is_empty(), refusals.into_iter().next()) {
            (true, Some(failure)) => Err(failure),
            (_, refusal) => {
                if let Some(failure) = refusal {
                    tracing::warn!(%failure, "Services work in one IP family only");
                }
                Ok(())
            }
        }
    }

    fn load(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Failure> {
        if self.halves.is_empty() {
            self.start()?;
        }
        self.period = sight.config.sync_period;
        let touched = if self.full.is_none() { &Touched::Everything } else { touched };
        let mut report = Report { full: matches!(touched, Touched::Everything), ..Report::default() };
        if report.full && Settings::of(sight, Family::V4, Platform::default()).localhost_node_ports {
            switches::route_localnet(&self.place)?;
        }
        // Until all is done the kernel may hold anything.
        let full = self.full.take();
        for half in &mut self.halves {
            let change = half.rules.update(sight, touched);
            let written = half.write(&self.place, &change)?;
            report.elements += written.lines;
            report.full |= written.all;
            report.misfits += usize::from(written.misfit);
            if change.everything || !change.flows.is_empty() {
                let since = Instant::now();
                report.flows += forget_flows(&self.place, half, &change, sight.node)?;
                *report.flows_took.get_or_insert_default() += since.elapsed();
            }
        }
        self.full = if report.full { Some(Instant::now()) } else { full };
        Ok(report)
    }
}

/// Forgets UDP connections to endpoints that are gone.
fn forget_flows(
    place: &Place,
    half: &Half,
    change: &super::Change,
    node: &NodeFacts,
) -> Result<usize, Failure> {
    let fronts: Vec<_> = match change.everything {
        true => half.rules.all_fronts().collect(),
        false => half.rules.fronts(&change.flows).collect(),
    };
    if fronts.is_empty() {
        return Ok(0);
    }
    let forget = || stale::forget(&mut nfnetlink::Socket::open()?, fronts, node);
    Ok(place.run(forget)?.unwrap_or_else(stale::not_forgotten))
}

impl Mode for Iptables {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        Ok(self.load(sight, touched)?)
    }

    fn next_tend(&self) -> Option<Duration> {
        Some(self.period)
    }

    fn counter(&self) -> Option<Counter> {
        counters::Reader::open(&self.place).map(|mut reader| -> Counter {
            Box::new(move || Counted { packets: reader.read(), ..Counted::default() })
        })
    }

    fn rule_counts(&self) -> Vec<RuleCount> {
        self.halves.iter().flat_map(Half::rule_counts).collect()
    }

    fn tend(&mut self, sight: &Sight<'_>) -> Result<(), Error> {
        let due = self.full.is_none_or(|at| at.elapsed() >= FULL && !self.halves.iter().any(Half::is_large));
        let removed = || -> Result<bool, Failure> {
            for half in &self.halves {
                if half.was_removed(&self.place)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        if due || removed()? {
            self.load(sight, &Touched::Everything)?;
        }
        Ok(())
    }
}
