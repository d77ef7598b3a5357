//! Hearing that somebody else has changed one of our tables, such as by `nft flush ruleset`.

use std::{io, os::fd::AsFd};

use nfnetlink::{Monitor, Socket, Table};

use crate::sys::Readable;

/// Listens to one table. Without it nothing is repaired before the next change of ours.
pub(crate) struct Disturbance {
    heard: Option<(Monitor, Readable)>,
    table: String,
}

impl Disturbance {
    /// Listens in the network namespace of the calling thread; what `own` does is no disturbance. Must be called within
    /// a tokio runtime.
    pub(crate) fn of(table: &Table, own: &Socket) -> Self {
        let open = || -> io::Result<_> {
            let port = own.port().map_err(io::Error::other)?;
            let monitor = Monitor::open(table, &[port]).map_err(io::Error::other)?;
            let readable = Readable::new(monitor.as_fd().try_clone_to_owned()?)?;
            Ok((monitor, readable))
        };
        let heard = open().inspect_err(|error| complain(&table.name, error)).ok();
        Self { heard, table: table.name.clone() }
    }

    /// Waits until somebody else changed the table. Nothing is lost when this is no longer waited for.
    pub(crate) async fn wait(&mut self) {
        let Some((monitor, readable)) = &mut self.heard else { return std::future::pending().await };
        let changes = readable.read(|_| match monitor.read() {
            Ok(changes) if changes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(changes) => Ok(changes),
            Err(error) => Err(io::Error::other(error)),
        });
        match changes.await {
            Ok(changes) => {
                let by = changes.first().map(|change| (change.program.as_str(), change.process));
                tracing::warn!(?by, "somebody changed the table {}; it is written again", self.table);
            }
            Err(error) => {
                complain(&self.table, &error);
                self.heard = None;
                std::future::pending::<()>().await;
            }
        }
    }
}

fn complain(table: &str, error: &io::Error) {
    tracing::warn!("changes of the table {table} by others cannot be heard of: {error}");
}
