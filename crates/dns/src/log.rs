//! `log` and `errors`: a line for each query, and for each failure, on standard output.

mod line;
mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::{Log, LogClass, Plugins};
use crate::metrics::Plugin;
use crate::server::Client;
use crate::wire::{Message, Query, rcode};

pub(crate) use lines::Lines;

/// How many failures of a server block are told in a second.
const MOST_ERRORS: u32 = 10;

/// What a server block logs.
#[derive(Debug)]
pub(crate) struct Logger {
    queries: Option<Log>,
    errors: Option<Errors>,
    lines: Arc<Lines>,
}

/// Failures told in the second that runs.
#[derive(Debug, Default)]
struct Errors {
    /// Seconds since 1970.
    second: AtomicU64,
    count: AtomicU32,
}

/// What became of a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    /// Who asked.
    pub(crate) client: Client,
    /// The query as it came.
    pub(crate) packet: &'a [u8],
    /// The reply.
    pub(crate) reply: &'a [u8],
    /// Who answered.
    pub(crate) plugin: Plugin,
    /// How long it took.
    pub(crate) took: Duration,
}

impl Logger {
    /// What a server block logs on these lines.
    pub(crate) fn new(plugins: &Plugins, lines: Arc<Lines>) -> Self {
        Self { queries: plugins.log.clone(), errors: plugins.errors.then(Errors::default), lines }
    }

    /// Logs a query if it is to be logged.
    pub(crate) fn note(&self, answered: &Answered<'_>) {
        let failed = Message::read(answered.reply).is_ok_and(|reply| reply.rcode() == rcode::SERVFAIL);
        if self.queries.is_none() && !failed {
            return;
        }
        let (Ok(query), Ok(reply)) = (Query::decode(answered.packet), Message::read(answered.reply)) else {
            return;
        };
        if self.queries.as_ref().is_some_and(|log| wants(log, &query, reply)) {
            self.lines.put(line::of_query(answered, &query, reply));
        }
        if let Some(errors) = self.errors.as_ref().filter(|_| failed) {
            let now =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
            errors.lines(now, line::of_error(&query, answered.plugin)).for_each(|line| self.lines.put(line));
        }
    }
}

impl Errors {
    /// What is told of a failure at a time, in seconds since 1970: its line if there were not too many in this second,
    /// and how many were not told in the last one.
    fn lines(&self, now: u64, line: String) -> impl Iterator<Item = String> {
        let mut untold = 0;
        if self.second.swap(now, Ordering::Relaxed) != now {
            untold = self.count.swap(0, Ordering::Relaxed).saturating_sub(MOST_ERRORS);
        }
        let told = self.count.fetch_add(1, Ordering::Relaxed) < MOST_ERRORS;
        let summary =
            (untold > 0).then(|| format!("[ERROR] plugin/errors: {untold} more failures in a second"));
        summary.into_iter().chain(told.then_some(line))
    }
}

/// Whether the options of `log` want a query.
fn wants(log: &Log, query: &Query<'_>, reply: Message<'_>) -> bool {
    let in_zone = log.zones.is_empty() || log.zones.iter().any(|zone| query.name.below(zone).is_some());
    in_zone && (log.classes.is_empty() || log.classes.contains(&class(reply)))
}

fn class(reply: Message<'_>) -> LogClass {
    match (reply.rcode(), reply.answers()) {
        (rcode::NOERROR, 1..) => LogClass::Success,
        (rcode::NOERROR | rcode::NXDOMAIN, _) => LogClass::Denial,
        _ => LogClass::Error,
    }
}

#[cfg(test)]
mod tests;
