//! Questions under way, each asked once however many wait for the answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::cache::UpstreamReply;
use crate::wire::Question;

/// What comes of a question.
#[derive(Debug, Clone)]
pub(super) struct Resolution {
    /// The reply.
    pub(super) reply: Arc<UpstreamReply>,
    /// The TTL of its records if it is not theirs, in seconds.
    pub(super) ttl: Option<u32>,
    /// Whether a resolver gave it.
    pub(super) answered: bool,
}

/// The outcome, once it is known.
pub(super) type Waiting = watch::Receiver<Option<Resolution>>;

/// Questions under way.
#[derive(Debug, Default)]
pub(super) struct PendingQuestions {
    under_way: Mutex<HashMap<Question, Waiting>>,
}

/// Tells those who wait, and ends the flight even if nothing comes of it.
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

    /// Waits for a question; who gets a landing has to ask it.
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
    /// Tells the outcome.
    pub(super) fn publish(self, resolution: Resolution) {
        self.tell.send_replace(Some(resolution));
    }
}

impl Drop for PendingGuard {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.question);
    }
}
