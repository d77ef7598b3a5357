//! The mode at work in one network namespace: proxy ports that are open, and rules that lead to them.

mod cleanup;
mod flows;
mod half;
mod open_ports;

pub use cleanup::cleanup;

use std::time::{Duration, Instant};

use service::Family;

use self::half::Half;
use self::open_ports::OpenPorts;
use crate::config::SYNC_PERIOD;
use crate::conntrack::stale;
use crate::error::Error;
use crate::mode::{Mode, Report, Touched};
use crate::sight::Sight;
use crate::xtables::{Failure, Place, Programs, programs_in_use};

/// The userspace mode at work in one network namespace.
#[derive(Debug)]
pub struct Userspace {
    place: Place,
    open_ports: OpenPorts,
    /// What works for each family, found out at the first sync.
    halves: Vec<Half>,
    /// Whether the kernel holds what was written last.
    loaded: bool,
    /// How often the kernel is asked whether somebody removed the rules.
    period: Duration,
}

impl Userspace {
    /// Nothing is run, read, written or opened before the first [`Mode::sync`].
    pub fn new(place: Place) -> Self {
        Self {
            place,
            open_ports: OpenPorts::default(),
            halves: Vec::new(),
            loaded: false,
            period: SYNC_PERIOD,
        }
    }

    /// Finds out which programs work here.
    fn start(&mut self) -> Result<(), Failure> {
        let variant = programs_in_use(&self.place)?;
        let mut refusal = None;
        for family in Family::ALL {
            let programs = Programs::new(variant, family);
            match programs.check(&self.place) {
                Ok(()) => self.halves.push(Half::new(programs, family)),
                Err(failure) => refusal = refusal.or(Some(failure)),
            }
        }
        match (self.halves.is_empty(), refusal) {
            (true, Some(failure)) => Err(failure),
            (_, refusal) => {
                if let Some(failure) = refusal {
                    tracing::warn!(%failure, "Services work in one IP family only");
                }
                Ok(())
            }
        }
    }

    /// New proxy ports are open before a rule leads there, and old ones close when none does.
    fn load(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        if self.halves.is_empty() {
            self.start()?;
        }
        let touched = if self.loaded { touched } else { &Touched::Everything };
        let closing = self.open_ports.follow(&self.place, sight, touched)?;
        let mut report = Report { full: matches!(touched, Touched::Everything), ..Report::default() };
        self.loaded = false;
        for half in &mut self.halves {
            if half.chains.update(sight, touched, self.open_ports.proxy_ports()) {
                report.elements += half.write(&self.place, report.full)?;
                let proxy_ports = self.open_ports.proxy_ports();
                let since = Instant::now();
                let forget = || flows::forget(sight, touched, proxy_ports, half.family());
                report.flows +=
                    self.place.run(forget).map_err(Failure::Enter)?.unwrap_or_else(stale::not_forgotten);
                *report.flows_took.get_or_insert_default() += since.elapsed();
            }
        }
        self.loaded = true;
        drop(closing);
        Ok(report)
    }
}

impl Mode for Userspace {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        let loaded = self.loaded;
        self.period = sight.config.sync_period;
        match self.load(sight, touched) {
            Err(Error::Iptables(failure @ Failure::Refused { .. })) if loaded => {
                tracing::warn!(%failure, "a change does not fit the rules that are there; loading all of them");
                let report = self.load(sight, &Touched::Everything)?;
                Ok(Report { misfits: 1, ..report })
            }
            outcome => outcome,
        }
    }

    fn next_tend(&self) -> Option<Duration> {
        Some(self.period)
    }

    fn retire(self: Box<Self>) {
        self.open_ports.retire();
    }

    fn tend(&mut self, sight: &Sight<'_>) -> Result<(), Error> {
        for half in &self.halves {
            if half.was_removed(&self.place)? {
                self.loaded = false;
            }
        }
        if !self.loaded {
            self.load(sight, &Touched::Everything)?;
        }
        Ok(())
    }
}
