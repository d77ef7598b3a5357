//! Notices when another program changes one of our tables, such as by `nft flush ruleset`.

use std::{io, os::fd::AsFd};

use nfnetlink::{Monitor, Socket, Table};

use crate::sys::Readable;

/// Listens for changes of one table. If that is impossible, damage is only repaired with the next change of ours.
pub(crate) struct TableMonitor {
    heard: Option<(Monitor, Readable)>,
    table: String,
}

impl TableMonitor {
    /// Listens in the network namespace of the calling thread; changes by `own` are not reported. Must be called within
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

    /// Waits until another program changes the table. Dropping the future loses no change.
    pub(crate) async fn changed(&mut self) {
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
