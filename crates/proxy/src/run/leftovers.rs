//! Removing what other modes left, beside the work of following changes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::metrics::Metrics;

/// The removal that is under way, if any.
#[derive(Debug, Default)]
pub(super) struct Leftovers(Option<oneshot::Receiver<()>>);

impl Leftovers {
    /// Starts to remove what other modes than the configured one left. Its rules must be in place.
    pub(super) fn remove(&mut self, config: Config, metrics: Arc<Metrics>) {
        let (done, removed) = oneshot::channel();
        // A thread of its own stays in the network namespace of this one.
        std::thread::spawn(move || {
            if let Err(error) = crate::modes::cleanup_others(&config) {
                metrics.cleanup_failed();
                tracing::warn!(%error, "rules of other modes stay; portolan proxy --cleanup removes all");
            }
            // Nobody may be waiting.
            let _ = done.send(());
        });
        self.0 = Some(removed);
    }

    /// Waits until nothing is being removed, so that another mode may load its rules.
    pub(super) async fn removed(&mut self) {
        if let Some(removed) = self.0.take() {
            // The sender goes in any case.
            let _ = removed.await;
        }
    }
}
