//! Writing a pod's status, beside its worker: the newest status wins, and the worker never waits for the API
//! server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch;

use super::{names, supervise};
use crate::health::Health;

/// The first delay after a failed write; doubles up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// No delay is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Hands statuses to the task that writes them.
#[derive(Debug)]
pub(super) struct StatusWriter {
    wanted: watch::Sender<Option<Arc<PodStatus>>>,
    written: watch::Receiver<Option<Arc<PodStatus>>>,
    task: tokio::task::JoinHandle<()>,
}

impl StatusWriter {
    /// Starts the task for one pod.
    pub(super) fn start(client: &Client, pod: &Pod, health: watch::Receiver<Health>) -> Self {
        let (wanted, wishes) = watch::channel(None);
        let (done, written) = watch::channel(None);
        let api = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let (name, uid) = (pod.name_any(), names::uid(pod));
        let task = tokio::spawn(async move {
            let start = || write(&api, &name, &uid, wishes.clone(), &done, health.clone());
            let tell =
                |panic: &str| tracing::error!(pod = name, "writing a pod's status begins anew: {panic}");
            supervise::to_the_end(supervise::FIRST, start, tell).await;
        });
        Self { wanted, written, task }
    }

    /// Has `status` written, unless it is the one that was handed over last. That one is written again when it has
    /// arrived and the object shows other conditions: someone has spoken for a node that seemed to be gone.
    pub(super) fn write(&self, status: PodStatus, shown: Option<&PodStatus>) {
        let idle = *self.written.borrow() == *self.wanted.borrow();
        let spoken_for = idle && shown.is_some_and(|shown| !agree(&status, shown));
        self.wanted.send_if_modified(|wanted| {
            let news = spoken_for || wanted.as_deref() != Some(&status);
            if news {
                *wanted = Some(Arc::new(status));
            }
            news
        });
    }

    /// Waits until the newest status is written, but no longer than `limit`.
    pub(super) async fn flush(&mut self, limit: Duration) {
        let newest = self.wanted.borrow().clone();
        let same = |done: &Option<Arc<PodStatus>>| done.as_deref() == newest.as_deref();
        let _ = tokio::time::timeout(limit, self.written.wait_for(same)).await;
    }
}

/// Whether the object shows every condition of a status as that has it.
fn agree(status: &PodStatus, shown: &PodStatus) -> bool {
    let shown: Vec<_> = shown.conditions.iter().flatten().map(|one| (&one.type_, &one.status)).collect();
    status.conditions.iter().flatten().all(|one| shown.contains(&(&one.type_, &one.status)))
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(
    pods: &Api<Pod>,
    name: &str,
    uid: &str,
    mut wishes: watch::Receiver<Option<Arc<PodStatus>>>,
    done: &watch::Sender<Option<Arc<PodStatus>>>,
    mut health: watch::Receiver<Health>,
) {
    let mut delay = FIRST_DELAY;
    while wishes.changed().await.is_ok() {
        loop {
            // Over a link that is down nothing could be said, even if the API server is in the same process.
            if health.wait_for(|health| health.link.is_none()).await.is_err() {
                return;
            }
            let status = wishes.borrow_and_update().clone();
            let Some(wanted) = status.as_deref() else { break };
            // The uid makes the server refuse to change a new pod of the same name.
            let patch = json!({"metadata": {"uid": uid}, "status": wanted});
            match pods.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {
                    tracing::debug!(pod = name, "the pod is gone, its status is not written");
                }
                Err(error) => {
                    tracing::warn!(pod = name, "the pod's status was not written, trying again: {error}");
                    // A newer status need not wait for the older one's delay.
                    let _ = tokio::time::timeout(delay, wishes.changed()).await;
                    delay = (delay * 2).min(LONGEST_DELAY);
                    continue;
                }
                Ok(_) => delay = FIRST_DELAY,
            }
            done.send_replace(status);
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_agrees_with_an_object_that_shows_all_of_its_conditions() {
        let status = |ready: &str| -> PodStatus {
            serde_json::from_value(json!({"conditions": [
                {"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready},
            ]}))
            .unwrap()
        };
        assert!(agree(&status("True"), &status("True")));
        assert!(!agree(&status("True"), &status("False")));
        assert!(!agree(&status("True"), &PodStatus::default()));
        assert!(agree(&PodStatus::default(), &status("True")));
    }
}
