//! A namespace that is deleted takes its content along, then goes itself.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use follow::{Event, Listing, Selection};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams};
use kube::core::{ApiResource, DynamicObject};
use kube::discovery::Scope;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::runtime::context::is_gone;
use crate::runtime::queue::Queue;

/// The namespaces that are on their way out.
#[derive(Default)]
pub(super) struct Emptier {
    terminating: Mutex<HashSet<String>>,
    queue: Queue<String>,
}

impl Emptier {
    /// Something in a namespace is gone: it may have been the last.
    pub(super) fn removed_from(&self, namespace: &str) {
        if self.lock().contains(namespace) {
            self.queue.add(namespace.to_owned());
        }
    }

    /// Empties namespaces until its future is dropped.
    pub(super) async fn run(&self, client: &Client, resources: &[(ApiResource, Scope)]) {
        let follow = async {
            let mut events = std::pin::pin!(follow::objects::<Namespace>(client.clone(), Selection::all()));
            let mut listing = Listing::default();
            while let Some(event) = events.next().await {
                match event {
                    Event::Relist => listing.start(self.lock().iter().cloned()),
                    Event::Apply(namespace) => {
                        let name = namespace.name_any();
                        listing.seen(&name);
                        if namespace.metadata.deletion_timestamp.is_some() {
                            self.lock().insert(name.clone());
                            self.queue.add(name);
                        }
                    }
                    Event::Delete(namespace) => {
                        self.lock().remove(&namespace.name_any());
                    }
                    Event::Synced => {
                        let gone = listing.finish();
                        self.lock().retain(|name| !gone.contains(name));
                    }
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = self.queue.work("namespace-controller", |name| empty(client, resources, name)) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.terminating.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes what a namespace holds, and finishes it when nothing is left. What needs time to end
/// brings the namespace here again when it has.
async fn empty(client: &Client, resources: &[(ApiResource, Scope)], name: String) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(namespace) = namespaces.get_opt(&name).await? else { return Ok(()) };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let mut left = 0;
    for (resource, _) in resources.iter().filter(|(_, scope)| *scope == Scope::Namespaced) {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name, resource);
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        left += api.list_metadata(&ListParams::default()).await?.items.len();
    }
    if left > 0 {
        tracing::debug!(namespace = name, left, "content of a namespace is still ending");
        return Ok(());
    }
    finalize(client, &namespace).await
}

async fn finalize(client: &Client, namespace: &Namespace) -> kube::Result<()> {
    let mut object = json!(namespace);
    object["apiVersion"] = "v1".into();
    object["kind"] = "Namespace".into();
    object["spec"]["finalizers"] = json!([]);
    let body = serde_json::to_vec(&object).map_err(kube::Error::SerdeError)?;
    let request = http::Request::put(format!("/api/v1/namespaces/{}/finalize", namespace.name_any()))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(kube::Error::HttpError)?;
    match client.request::<Namespace>(request).await {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}
