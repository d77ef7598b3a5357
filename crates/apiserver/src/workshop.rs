//! Long work, away from the threads that answer.
//!
//! A request whose work grows with what a client sends or asks for is carried out on a thread of the blocking pool. Few
//! of them run at a time, so that a processor is left for those who answer, and the kernel shares the rest fairly.

use std::sync::Arc;

use api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// From so many bytes on that it reads or writes, work is long: about a millisecond.
pub(crate) const LONG: usize = 64 * 1024;

/// Where long work is done.
#[derive(Debug)]
pub(crate) struct Workshop {
    /// For clients.
    places: Arc<Semaphore>,
    /// For parts of this program: a client with much to do does not hold up the cluster itself.
    own: Arc<Semaphore>,
}

impl Default for Workshop {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let places = || Arc::new(Semaphore::new((processors / 2).max(1)));
        Self { places: places(), own: places() }
    }
}

impl Workshop {
    /// Does work for a client when there is a place; in the order of asking.
    ///
    /// # Errors
    /// 500 if the work panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        on_a_thread(&self.places, work).await
    }

    /// Does work for a part of this program.
    ///
    /// # Errors
    /// 500 if the work panics.
    pub(crate) async fn run_own<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        on_a_thread(&self.own, work).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let place: OwnedSemaphorePermit = places.clone().acquire_owned().await.map_err(Status::internal)?;
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(place);
        result
    });
    done.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => Status::internal(panicked(panic.as_ref())),
        Err(error) => Status::internal(error),
    })
}

/// What is told of a fault of this program: it ends one request and nothing else.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the server panicked: {}", text.unwrap_or("no reason is known"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn few_work_at_a_time_and_the_cluster_itself_does_not_wait_for_clients() {
        let workshop =
            Arc::new(Workshop { places: Arc::new(Semaphore::new(1)), own: Arc::new(Semaphore::new(1)) });
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let held = workshop.clone();
        let first = tokio::spawn(async move { held.run(move || wait.recv().unwrap()).await });
        while workshop.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..8)
            .map(|_| {
                let (workshop, busy, most) = (workshop.clone(), busy.clone(), most.clone());
                tokio::spawn(async move {
                    let work = move || {
                        most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(2));
                        busy.fetch_sub(1, Ordering::SeqCst);
                    };
                    workshop.run(work).await
                })
            })
            .collect();
        assert_eq!(workshop.run_own(|| 7).await.unwrap(), 7);
        assert_eq!(most.load(Ordering::SeqCst), 0, "clients wait for the first");
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        for other in others {
            other.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        let status = workshop.run(|| panic!("on purpose")).await.unwrap_err();
        assert_eq!(status.message, "Internal error occurred: the server panicked: on purpose");
    }
}
