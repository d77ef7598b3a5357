//! Memory goes back to the system after it was needed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::sys;

/// After so many bytes were released, the allocator is asked to give back what it keeps.
const ENOUGH: usize = 8 * 1024 * 1024;
/// How long after the last release that is looked for.
const PAUSE: Duration = Duration::from_secs(1);

static RELEASED: AtomicUsize = AtomicUsize::new(0);

/// Notes that so many bytes went back to the allocator.
pub(crate) fn released(bytes: usize) {
    if bytes > 0 {
        RELEASED.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Gives back what was released, until its future is dropped. A second passes between two looks: what comes again at
/// once is not worth the walk through the heap.
pub(crate) async fn give_back() {
    sys::keep_little();
    loop {
        sleep(PAUSE).await;
        if RELEASED.load(Ordering::Relaxed) >= ENOUGH {
            RELEASED.store(0, Ordering::Relaxed);
            if let Err(error) = tokio::task::spawn_blocking(sys::trim).await {
                tracing::debug!(%error, "memory was not given back");
            }
        }
    }
}
