//! Questions under way. Equal questions are asked once, and all queries wait for the same reply.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::cache::UpstreamReply;
use crate::wire::Question;

/// The reply to a question, and what to do with it.
#[derive(Debug, Clone)]
pub(super) struct Resolution {
    /// The reply.
    pub(super) reply: Arc<UpstreamReply>,
    /// The TTL in seconds that takes the place of those of its records.
    pub(super) ttl: Option<u32>,
    /// Whether it is an answer, not a failure.
    pub(super) answered: bool,
}

/// The place where a query waits for the reply.
pub(super) type Waiting = watch::Receiver<Option<Resolution>>;

/// Questions under way.
#[derive(Debug, Default)]
pub(super) struct PendingQuestions {
    under_way: Mutex<HashMap<Question, Waiting>>,
}

/// The duty to ask a question. When it is dropped the question is no longer under way, even if no reply was published.
#[derive(Debug)]
pub(super) struct PendingGuard {
    pending: Arc<PendingQuestions>,
    question: Question,
    tell: watch::Sender<Option<Resolution>>,
}

impl PendingQuestions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Waiting>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a question. If it is not under way yet, the caller gets the guard and must ask it.
    pub(super) fn join(self: &Arc<Self>, question: &Question) -> (Waiting, Option<PendingGuard>) {
        let mut under_way = self.lock();
        if let Some(waiting) = under_way.get(question) {
            return (waiting.clone(), None);
        }
        let (tell, waiting) = watch::channel(None);
        under_way.insert(question.clone(), waiting.clone());
        let guard = PendingGuard { pending: self.clone(), question: question.clone(), tell };
        (waiting, Some(guard))
    }
}

impl PendingGuard {
    /// Publishes the reply to all queries that wait.
    pub(super) fn publish(self, resolution: Resolution) {
        self.tell.send_replace(Some(resolution));
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.question);
    }
}
