//! A task that panics is started again: a fault about one pod must not leave that pod for ever as it is.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;

/// The first delay before a task is started again; doubles up to [`LONGEST`].
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// No delay is longer.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs what `start` makes to its end. After a panic `tell` is told what it said, and after a delay (`first`, then
/// twice as long each time) the next is started.
pub(super) async fn to_the_end<F: Future>(
    first: Duration,
    mut start: impl FnMut() -> F,
    tell: impl Fn(&str),
) -> F::Output {
    let mut delay = first;
    loop {
        // What a panic leaves half done goes with the task: the next one begins with what the runtime says.
        match AssertUnwindSafe(start()).catch_unwind().await {
            Ok(done) => return done,
            Err(panic) => tell(sentence(&*panic)),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST);
    }
}

/// What a panic said.
fn sentence(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason was given")
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_and_says_so() {
        let (starts, told) = (Cell::new(0), RefCell::new(Vec::new()));
        let start = || async {
            starts.set(starts.get() + 1);
            tokio::task::yield_now().await;
            let numbers: [u8; 2] = [1, 2];
            match starts.get() {
                1 => panic!("lost the {}", "thread"),
                2 => usize::from(numbers[starts.get()]),
                done => done,
            }
        };
        let tell = |sentence: &str| told.borrow_mut().push(sentence.to_owned());
        let done = to_the_end(Duration::from_millis(1), start, tell).await;
        assert_eq!((done, told.borrow().len()), (3, 2));
        assert_eq!(told.borrow()[0], "lost the thread");
        assert!(told.borrow()[1].contains("index out of bounds"), "{told:?}");
    }
}
