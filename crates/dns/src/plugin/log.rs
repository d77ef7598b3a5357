//! `log`: a line for each query on standard output.

mod line;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::corefile::{Directive, Fault, Scope};
use crate::wire::{Message, Name, Query, rcode};

pub(crate) use writer::LogWriter;

/// The directive `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    /// The zones of the names that are logged; none means all.
    pub(crate) zones: Vec<Name>,
    /// The classes of replies that are logged; none means all.
    pub(crate) classes: Vec<LogClass>,
}

/// A class of replies that can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogClass {
    /// NOERROR with records.
    Success,
    /// NXDOMAIN and NODATA.
    Denial,
    /// Everything else.
    Error,
}

/// Reads `log [ZONE [FORMAT]] { class success|denial|error|all... }`; a second directive adds zones and classes. The
/// format is accepted and ignored: lines of this server have one format.
pub(super) fn read(
    value: &mut Option<LogOptions>,
    directive: &Directive,
    _: &mut Scope<'_>,
) -> Result<(), Fault> {
    let log = value.get_or_insert_default();
    let zones = directive.arguments.iter().take(1).filter(|zone| *zone != ".");
    log.zones.extend(directive.zones(zones)?);
    for option in &directive.options {
        match &*option.name {
            "class" => {
                for class in option.some("success|denial|error|all")? {
                    match class.as_str() {
                        "success" => log.classes.push(LogClass::Success),
                        "denial" => log.classes.push(LogClass::Denial),
                        "error" => log.classes.push(LogClass::Error),
                        "all" => log.classes.extend([LogClass::Success, LogClass::Denial, LogClass::Error]),
                        _ => return Err(option.fault(format!("{class:?} is no class of replies"))),
                    }
                }
            }
            _ => return Err(directive.unknown_option(option, &["class"])),
        }
    }
    Ok(())
}

/// The log of a server block.
#[derive(Debug)]
pub(crate) struct Logger {
    options: LogOptions,
    writer: Arc<LogWriter>,
}

/// A query that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoggedQuery<'a> {
    /// The client.
    pub(crate) client: Client,
    /// The packet of the query.
    pub(crate) packet: &'a [u8],
    /// The packet of the reply.
    pub(crate) reply: &'a [u8],
    /// The time until the reply was written.
    pub(crate) took: Duration,
}

impl Logger {
    /// A log that writes to `writer`.
    pub(crate) fn new(options: LogOptions, writer: Arc<LogWriter>) -> Self {
        Self { options, writer }
    }

    /// Logs a query if zones and classes say so.
    pub(crate) fn log(&self, answered: &LoggedQuery<'_>) {
        let (Ok(query), Ok(reply)) = (Query::decode(answered.packet), Message::read(answered.reply)) else {
            return;
        };
        let LogOptions { zones, classes } = &self.options;
        let in_zone = zones.is_empty() || zones.iter().any(|zone| query.name.below(zone).is_some());
        if in_zone && (classes.is_empty() || classes.contains(&class(reply))) {
            self.writer.put(line::of_query(answered, &query, reply));
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
