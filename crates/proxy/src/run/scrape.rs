//! What `/metrics` answers, made on a thread of its own so that no change of rules waits for it.

use std::io;
use std::sync::mpsc;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::mode::{Counted, Counter};

/// What the thread is told.
enum Message {
    /// Somebody wants the text.
    Scrape(oneshot::Sender<Bytes>),
    /// Another mode is at work, which counts like this.
    Count(Option<Counter>),
}

/// From how many bytes of text on the memory it took is given back.
const LARGE: usize = 1 << 20;

/// The thread that reads and prints. It ends with the last of these.
#[derive(Debug, Clone)]
pub(super) struct Scraper(mpsc::Sender<Message>);

impl Scraper {
    /// Starts the thread. `print` makes the text of what was counted.
    ///
    /// # Errors
    /// Those of making a thread.
    pub(super) fn start(print: impl Fn(&Counted) -> String + Send + 'static) -> io::Result<Self> {
        let (messages, received) = mpsc::channel();
        std::thread::Builder::new().name("metrics".to_owned()).spawn(move || serve(&received, print))?;
        Ok(Self(messages))
    }

    /// Counts this way from now on.
    pub(super) fn count_by(&self, counter: Option<Counter>) {
        // The thread ends after all senders, so it hears this.
        let _ = self.0.send(Message::Count(counter));
    }

    /// The text, as of now or a little later; empty when the thread broke.
    pub(super) async fn scrape(&self) -> Bytes {
        let (answer, text) = oneshot::channel();
        let _ = self.0.send(Message::Scrape(answer));
        text.await.unwrap_or_default()
    }
}

/// Whoever asks while the kernel is read for others waits for the next reading, which all of those share.
fn serve(messages: &mpsc::Receiver<Message>, print: impl Fn(&Counted) -> String) {
    let mut counter: Option<Counter> = None;
    while let Ok(message) = messages.recv() {
        let mut waiting = Vec::new();
        for message in std::iter::once(message).chain(messages.try_iter()) {
            match message {
                Message::Scrape(answer) => waiting.push(answer),
                Message::Count(next) => counter = next,
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let counted = counter.as_mut().map(|read| read()).unwrap_or_default();
        let text = Bytes::from(print(&counted));
        let large = text.len() > LARGE;
        for answer in waiting {
            // Whoever asked may have gone.
            let _ = answer.send(text.clone());
        }
        drop((counted, text));
        if large {
            follow::give_back_memory();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn scrapes_that_come_during_a_reading_share_the_next() {
        let readings = Arc::new(AtomicUsize::new(0));
        let (go, gate) = mpsc::channel::<()>();
        let counter: Counter = Box::new({
            let readings = readings.clone();
            move || {
                // The first reading waits until all others have asked.
                if readings.fetch_add(1, Ordering::SeqCst) == 0 {
                    gate.recv().unwrap();
                }
                Counted::default()
            }
        });
        let scraper = Scraper::start(|_| "text".to_owned()).unwrap();
        scraper.count_by(Some(counter));
        let mut scrapes = vec![Box::pin(scraper.scrape())];
        assert!(futures::poll!(&mut scrapes[0]).is_pending());
        while readings.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..9 {
            let mut scrape = Box::pin(scraper.scrape());
            assert!(futures::poll!(&mut scrape).is_pending());
            scrapes.push(scrape);
        }
        go.send(()).unwrap();
        let texts = futures::future::join_all(scrapes).await;
        assert!(texts.iter().all(|text| text == "text"));
        assert_eq!(readings.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_mode_that_counts_nothing_has_metrics_too() {
        let scraper = Scraper::start(|counted| format!("{}", counted.connections.len())).unwrap();
        scraper.count_by(None);
        assert_eq!(scraper.scrape().await, "0");
    }
}
