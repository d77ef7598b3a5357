//! When to stop: on Ctrl-C and SIGTERM, and when a part fails.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells any number of tasks, on any runtime, to stop.
#[derive(Debug)]
pub(crate) struct Trigger(watch::Sender<bool>);

/// Waits to be told to stop.
#[derive(Clone, Debug)]
pub(crate) struct Signal(watch::Receiver<bool>);

/// A trigger and the signal it gives.
pub(crate) fn channel() -> (Trigger, Signal) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Signal(receiver))
}

impl Trigger {
    /// Tells everyone to stop.
    pub(crate) fn pull(&self) {
        self.0.send_replace(true);
    }
}

impl Signal {
    /// Resolves when told to stop, or when no one is left to tell.
    pub(crate) async fn wait(mut self) {
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// Resolves on Ctrl-C, SIGTERM or SIGHUP: for commands that a person looks on.
pub(crate) async fn asked_or_left() -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        asked = asked() => asked,
        _ = hangup.recv() => Ok(()),
    }
}

/// Resolves on Ctrl-C or SIGTERM. A hangup does not end the process: a terminal that is closed is no reason to.
pub(crate) async fn asked() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {}
        }
    }
}
