//! `log`: a line for each query on standard output.

mod line;
mod lines;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::config::{Log, LogClass};
use crate::wire::{Message, Query, rcode};

pub(crate) use lines::Lines;

/// What a server block logs.
#[derive(Debug)]
pub(crate) struct Logger {
    options: Log,
    lines: Arc<Lines>,
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
    /// How long it took.
    pub(crate) took: Duration,
}

impl Logger {
    /// Logs on these lines.
    pub(crate) fn new(options: Log, lines: Arc<Lines>) -> Self {
        Self { options, lines }
    }

    /// Logs a query if it is of the zones and classes.
    pub(crate) fn note(&self, answered: &Answered<'_>) {
        let (Ok(query), Ok(reply)) = (Query::decode(answered.packet), Message::read(answered.reply)) else {
            return;
        };
        let Log { zones, classes } = &self.options;
        let in_zone = zones.is_empty() || zones.iter().any(|zone| query.name.below(zone).is_some());
        if in_zone && (classes.is_empty() || classes.contains(&class(reply))) {
            self.lines.put(line::of_query(answered, &query, reply));
        }
    }
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
