//! Taking a pod down for good.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{FIRST_RETRY, LONGEST_RETRY, Wish, Worker, drop_sandbox, stop_sandbox};
use crate::pod::{
    context::{full_name, remove_files},
    disk, names, stop,
};

/// How long the last status of a pod may take to be written before the pod is deleted.
const LAST_STATUS: Duration = Duration::from_secs(5);

impl Worker {
    /// Stops the pod for good and removes every trace of it, then lets the API server forget it.
    pub(super) async fn end(mut self) {
        self.pod = self.wishes.borrow_and_update().pod().clone();
        self.stop_containers().await;
        let sandboxes: Vec<String> = {
            let observed = self.observed.borrow();
            let newest = observed.sandbox.iter().map(|sandbox| sandbox.id.clone());
            newest.chain(observed.old_sandboxes.iter().cloned()).collect()
        };
        for id in &sandboxes {
            stop_sandbox(&self.context, id).await;
        }
        self.context.host_ports.release(&names::uid(&self.pod));
        self.refresh().await;
        self.observed.send_modify(|observed| {
            if let Some(sandbox) = &mut observed.sandbox {
                sandbox.ready = false;
            }
        });
        let is_gone = |worker: &Self| matches!(*worker.wishes.borrow(), Wish::Gone(_));
        if !is_gone(&self) {
            self.publish(true);
            self.writer.flush(LAST_STATUS).await;
        }
        for id in &sandboxes {
            drop_sandbox(&self.context, id).await;
        }
        for dir in [names::files_dir(&self.context.config, &names::uid(&self.pod)), self.log_dir()] {
            let removed = {
                let dir = dir.clone();
                disk::run(move || remove_files(&dir)).await
            };
            if let Err(error) = removed {
                tracing::warn!("cannot remove {}: {error}", dir.display());
            }
        }
        if !is_gone(&self) {
            self.delete_object().await;
        }
        self.context.pods.remove(&self.pod);
    }

    /// Stops all running containers. The status follows each end; a shorter grace period takes effect at once.
    pub(super) async fn stop_containers(&mut self) {
        let begun = Instant::now();
        let mut grace = stop::grace_of(&self.pod);
        loop {
            let (runs, address) = {
                let observed = self.observed.borrow();
                let runs = observed.running().map(|(name, run)| (name.to_owned(), run.id.clone()));
                (runs.collect::<Vec<_>>(), observed.ips().first().copied())
            };
            if runs.is_empty() {
                return;
            }
            let (context, pod) = (self.context.clone(), self.pod.clone());
            let deadline = stop::deadline(grace.saturating_sub(begun.elapsed()));
            let stopping = stop::stop(&context, &pod, address, runs, deadline);
            tokio::pin!(stopping);
            loop {
                self.publish(true);
                tokio::select! {
                    () = &mut stopping => {
                        self.refresh().await;
                        return;
                    }
                    news = self.news.recv() => self.hear(news).await,
                    Some(verdict) = self.verdicts.recv() => self.judge(&verdict),
                    Ok(()) = self.wishes.changed() => {
                        self.pod = self.wishes.borrow_and_update().pod().clone();
                        let now = stop::grace_of(&self.pod);
                        if now < grace {
                            grace = now;
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Lets the API server forget the pod: its deletion was waiting for us.
    async fn delete_object(&mut self) {
        let pods =
            Api::<Pod>::namespaced(self.context.client.clone(), &self.pod.namespace().unwrap_or_default());
        let uid = Some(names::uid(&self.pod));
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, ..Default::default() }),
            ..Default::default()
        };
        let mut delay = FIRST_RETRY;
        while !matches!(*self.wishes.borrow(), Wish::Gone(_)) {
            match pods.delete(&self.pod.name_any(), &now).await {
                Ok(_) => return,
                Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => return,
                Err(error) => {
                    tracing::warn!(pod = full_name(&self.pod), "cannot delete the Pod object: {error}");
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(LONGEST_RETRY);
        }
    }
}
