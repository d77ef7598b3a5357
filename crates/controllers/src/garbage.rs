//! The garbage collector: what an owner leaves behind, and namespaces on their way out.
//!
//! It knows no kinds: it asks the server which there are and follows the metadata of each.

mod graph;
mod namespaces;

use std::sync::{Mutex, PoisonError};

use follow::{Event, Selection};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::Notify;

use crate::runtime::context::is_gone;
use crate::runtime::queue::Queue;
use graph::{Graph, Identity, Step};
use namespaces::Emptier;

/// Kinds that are many, short-lived and never owned or owners.
const UNFOLLOWED: [&str; 2] = ["Event", "Lease"];

/// Follows every kind and collects until its future is dropped.
pub(crate) async fn run(client: Client) -> kube::Result<()> {
    let resources = followed(&client).await?;
    let collector = Collector {
        client,
        graph: Mutex::default(),
        queue: Queue::default(),
        namespaces: Emptier::default(),
        kinds: resources.len(),
        known: Notify::new(),
    };
    let mut watches = FuturesUnordered::new();
    for (resource, scope) in &resources {
        watches.push(collector.follow(resource, scope));
    }
    tokio::select! {
        () = async { while watches.next().await.is_some() {} } => {}
        () = collector.work() => {}
        () = collector.namespaces.run(&collector.client, &resources) => {}
    }
    Ok(())
}

async fn followed(client: &Client) -> kube::Result<Vec<(ApiResource, Scope)>> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let resources = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
    Ok(resources
        .filter(|(_, capabilities)| capabilities.supports_operation(verbs::WATCH))
        .filter(|(resource, _)| !UNFOLLOWED.contains(&resource.kind.as_str()))
        .map(|(resource, capabilities)| (resource, capabilities.scope))
        .collect())
}

struct Collector {
    client: Client,
    graph: Mutex<Graph>,
    queue: Queue<String>,
    namespaces: Emptier,
    /// How many kinds are followed.
    kinds: usize,
    /// Wakes when all of them are known.
    known: Notify,
}

impl Collector {
    /// Collects when every kind has been listed: an owner without dependents is one only if all of them are known.
    async fn work(&self) {
        self.known.notified().await;
        self.queue.work("garbage-collector", |uid| self.collect(uid)).await;
    }

    async fn follow(&self, resource: &ApiResource, scope: &Scope) {
        let events = follow::metadata(self.client.clone(), resource.clone(), Selection::all());
        let mut events = std::pin::pin!(events);
        let mut list: Option<Vec<String>> = None;
        while let Some(event) = events.next().await {
            match event {
                Event::Relist => list = Some(Vec::new()),
                Event::Apply(object) => {
                    let identity = identity(resource, scope, &object);
                    list.iter_mut().for_each(|list| list.push(identity.uid.clone()));
                    self.update(|graph| graph.apply(identity));
                }
                Event::Synced => {
                    self.update(|graph| graph.listed(resource, &list.take().unwrap_or_default()));
                    if self.lock().complete() == self.kinds {
                        self.known.notify_one();
                    }
                }
                Event::Delete(object) => {
                    let uid = object.uid().unwrap_or_default();
                    self.update(|graph| graph.remove(&uid));
                    self.namespaces.removed_from(object.namespace().as_deref().unwrap_or_default());
                }
            }
        }
    }

    /// Changes the graph and queues those who may have to go.
    fn update(&self, change: impl FnOnce(&mut Graph) -> Vec<String>) {
        for uid in change(&mut self.lock()) {
            self.queue.add(uid);
        }
    }

    async fn collect(&self, uid: String) -> kube::Result<()> {
        let Some((identity, step)) = self.lock().step(&uid) else { return Ok(()) };
        let api = self.api(&identity);
        let precondition = Preconditions { uid: Some(identity.uid.clone()), resource_version: None };
        let done = match step {
            Step::Keep => Ok(()),
            Step::Delete => {
                if self.has_living_owner(&identity).await? {
                    return Ok(());
                }
                let params = DeleteParams::background().preconditions(precondition);
                api.delete(&identity.name, &params).await.map(drop)
            }
            Step::DeleteForeground => {
                let params = DeleteParams::foreground().preconditions(precondition);
                api.delete(&identity.name, &params).await.map(drop)
            }
            Step::Release { finalizer } => {
                let finalizers: Vec<&String> =
                    identity.finalizers.iter().filter(|held| *held != finalizer).collect();
                let patch = json!({ "metadata": { "uid": identity.uid, "finalizers": finalizers } });
                api.patch_metadata(&identity.name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await
                    .map(drop)
            }
            Step::Disown { owner } => {
                let owners: Vec<_> = identity.owners.iter().filter(|other| other.uid != owner).collect();
                let patch = json!({ "metadata": { "uid": identity.uid, "ownerReferences": owners } });
                api.patch_metadata(&identity.name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await
                    .map(drop)
            }
        };
        match done {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }

    /// Asks the server itself: an owner may be of a kind that no watch has shown yet.
    async fn has_living_owner(&self, identity: &Identity) -> kube::Result<bool> {
        for owner in &identity.owners {
            let Some(resource) = self.lock().resource(&owner.api_version, &owner.kind) else { continue };
            let api: Api<DynamicObject> = match &identity.namespace {
                Some(namespace) if resource.1 => {
                    Api::namespaced_with(self.client.clone(), namespace, &resource.0)
                }
                _ => Api::all_with(self.client.clone(), &resource.0),
            };
            match api.get_metadata_opt(&owner.name).await? {
                Some(found) if found.uid().as_deref() == Some(&owner.uid) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    fn api(&self, identity: &Identity) -> Api<DynamicObject> {
        match &identity.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &identity.resource),
            None => Api::all_with(self.client.clone(), &identity.resource),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(resource: &ApiResource, scope: &Scope, object: &PartialObjectMeta<DynamicObject>) -> Identity {
    Identity {
        resource: resource.clone(),
        namespaced: *scope == Scope::Namespaced,
        namespace: object.namespace(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        owners: object.owner_references().to_vec(),
        finalizers: object.finalizers().to_vec(),
        deleting: object.metadata.deletion_timestamp.is_some(),
    }
}
