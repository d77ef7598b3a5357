//! Answers on their way: what they hold of a client's room, and an end to those that nobody reads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

use super::connections::Busy;
use super::limits::Hold;
use super::respond::Body;
use crate::workshop::panicked;

/// A client that takes nothing of an answer for this long is not served further.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often that is looked for.
const LOOK: Duration = Duration::from_secs(5);
/// An answer is handed to the connection in pieces of at most so many bytes: what lies in the connection's buffers is no
/// longer counted.
const PIECE: usize = 16 * 1024;

/// All answers on their way to clients.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    answers: Mutex<Vec<Weak<Answer>>>,
}

#[derive(Debug)]
struct Answer(Mutex<State>);

#[derive(Debug)]
struct State {
    /// None when all was handed out, or nobody has read it.
    body: Option<Held>,
    /// When the connection got its last piece; none while the answer itself has no more yet.
    handed: Option<Instant>,
    abandoned: bool,
}

/// A body with what it holds until it ends.
struct Held {
    body: Body,
    /// The rest of a large piece.
    rest: Bytes,
    _holds: Vec<Hold>,
    _busy: Busy,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}

/// The body as the connection reads it.
struct Reading(Arc<Answer>);

impl Unread {
    /// The same body, which holds these until it ends or was not read for too long.
    pub(crate) fn watched(&self, body: Body, holds: Vec<Hold>, busy: Busy) -> Body {
        let held = Held { body, rest: Bytes::new(), _holds: holds, _busy: busy };
        let state = State { body: Some(held), handed: Some(Instant::now()), abandoned: false };
        let answer = Arc::new(Answer(Mutex::new(state)));
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() == answers.capacity() {
            answers.retain(|answer| answer.strong_count() > 0);
        }
        answers.push(Arc::downgrade(&answer));
        drop(answers);
        Reading(answer).boxed_unsync()
    }

    /// Ends answers that nobody reads, until its future is dropped.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.end_older_than(PATIENCE);
        }
    }

    fn end_older_than(&self, patience: Duration) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for answer in answers.iter().filter_map(Weak::upgrade) {
            let mut state = answer.lock();
            if state.handed.is_some_and(|handed| handed.elapsed() > patience) && state.body.take().is_some() {
                state.abandoned = true;
            }
        }
    }
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        while self.rest.is_empty() {
            let body = &mut self.body;
            let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context)));
            let frame = match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(None)) => return Poll::Ready(None),
                Ok(Poll::Ready(Some(Err(error)))) => return Poll::Ready(Some(Err(error))),
                Ok(Poll::Ready(Some(Ok(frame)))) => frame,
                Err(panic) => {
                    let text = panicked(panic.as_ref());
                    tracing::warn!("{text}");
                    return Poll::Ready(Some(Err(io::Error::other(text))));
                }
            };
            if let Ok(data) = frame.into_data() {
                self.rest = data;
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(length))))
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.lock();
        state.handed = None;
        let Some(held) = &mut state.body else {
            let late = state.abandoned.then(|| Err(io::Error::other("the answer was not read in time")));
            return Poll::Ready(late);
        };
        match held.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(piece))) => {
                let ended = held.rest.is_empty() && held.body.is_end_stream();
                if ended {
                    state.body = None;
                }
                state.handed = Some(Instant::now());
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(other) => {
                state.body = None;
                Poll::Ready(other.map(|result| result.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        match &state.body {
            Some(held) => held.rest.is_empty() && held.body.is_end_stream(),
            None => !state.abandoned,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0.lock().body {
            Some(held) if held.rest.is_empty() => held.body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::http::connections::Connections;
    use crate::http::respond;

    async fn busy() -> Busy {
        let connections = Connections::default();
        let connection = connections.admit().await.unwrap();
        connections.identify(&connection, "jane", IpAddr::from([10, 0, 0, 1])).await.unwrap();
        connection.busy()
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_in_small_pieces() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut body = Unread::default().watched(respond::full(bytes.clone()), Vec::new(), busy().await);
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let piece = frame.unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            read.extend_from_slice(&piece);
        }
        assert!(read == bytes);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_let_go() {
        let unread = Unread::default();
        let mut body = unread.watched(respond::full(vec![0; 100_000]), Vec::new(), busy().await);
        body.frame().await.unwrap().unwrap();
        unread.end_older_than(Duration::from_secs(1));
        assert!(unread.answers.lock().unwrap()[0].upgrade().unwrap().lock().body.is_some());
        unread.end_older_than(Duration::ZERO);
        assert!(unread.answers.lock().unwrap()[0].upgrade().unwrap().lock().body.is_none());
        assert!(body.frame().await.unwrap().is_err(), "it does not look complete");
    }

    #[tokio::test]
    async fn a_watch_that_has_nothing_to_say_stays() {
        let unread = Unread::default();
        let quiet = respond::streamed(futures::stream::pending());
        let mut body = unread.watched(quiet, Vec::new(), busy().await);
        assert!(futures::poll!(std::pin::pin!(body.frame())).is_pending());
        unread.end_older_than(Duration::ZERO);
        assert!(futures::poll!(std::pin::pin!(body.frame())).is_pending());
    }

    #[tokio::test]
    async fn a_panic_while_an_answer_is_made_ends_that_answer() {
        let broken = respond::streamed(futures::stream::once(async { panic!("on purpose") }));
        let mut body = Unread::default().watched(broken, Vec::new(), busy().await);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
