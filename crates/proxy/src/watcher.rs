//! Hearing of changes that others make to a table.

mod sys;

use nfnetlink::Monitor;
use tokio::io::unix::AsyncFd;

/// A monitor that a task can wait for.
#[derive(Debug)]
pub(super) struct Watcher {
    /// Until it is waited for, since that needs a runtime.
    idle: Option<Monitor>,
    ready: Option<AsyncFd<Monitor>>,
}

impl Watcher {
    /// Waits for what this monitor hears; for ever without one.
    pub(super) fn new(monitor: Option<Monitor>) -> Self {
        Self { idle: monitor, ready: None }
    }

    /// Listens from now on, if the monitor does not yet.
    ///
    /// # Errors
    /// As [`Monitor::listen`].
    pub(super) fn listen(&self) -> Result<(), nfnetlink::Error> {
        let monitor = self.idle.as_ref().or(self.ready.as_ref().map(AsyncFd::get_ref));
        monitor.map_or(Ok(()), Monitor::listen)
    }

    /// Whether there is something to wait for.
    pub(super) fn hears(&self) -> bool {
        self.idle.is_some() || self.ready.is_some()
    }

    /// Waits until somebody else changed the table. Nothing is lost when this is no longer waited for.
    ///
    /// # Errors
    /// The monitor does not work; then there is nothing to wait for any more.
    pub(super) async fn disturbed(&mut self) -> std::io::Result<()> {
        if let Some(idle) = self.idle.take() {
            self.ready = Some(sys::watch(idle)?);
        }
        let Some(ready) = &mut self.ready else { return std::future::pending().await };
        loop {
            let mut guard = ready.readable_mut().await?;
            let changes = guard.get_inner_mut().read().map_err(std::io::Error::other)?;
            if let Some(change) = changes.first() {
                let (program, process) = (&change.program, change.process);
                tracing::warn!(%program, process, objects = ?change.objects, "somebody changed our rules; they are repaired");
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}
