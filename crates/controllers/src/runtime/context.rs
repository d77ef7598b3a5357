//! What the controllers share: the client and one cache for each kind they follow.

use follow::{EventType, Recorder};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, Pod, ReplicationController, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cache::{Cache, Key};

/// The caches.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) deployments: Cache<Deployment>,
    pub(crate) endpoints: Cache<Endpoints>,
    pub(crate) leases: Cache<Lease>,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) nodes: Cache<Node>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) replica_sets: Cache<ReplicaSet>,
    pub(crate) replication_controllers: Cache<ReplicationController>,
    pub(crate) service_accounts: Cache<ServiceAccount>,
    pub(crate) services: Cache<Service>,
    pub(crate) slices: Cache<EndpointSlice>,
}

/// Gives each kind its cache.
pub(crate) trait Cached: Sized {
    fn cache(caches: &Caches) -> &Cache<Self>;
}

macro_rules! cached {
    ($($kind:ty => $field:ident),* $(,)?) => {
        $(impl Cached for $kind {
            fn cache(caches: &Caches) -> &Cache<Self> {
                &caches.$field
            }
        })*
    };
}

cached! {
    Deployment => deployments,
    Endpoints => endpoints,
    Lease => leases,
    Namespace => namespaces,
    Node => nodes,
    Pod => pods,
    ReplicaSet => replica_sets,
    ReplicationController => replication_controllers,
    ServiceAccount => service_accounts,
    Service => services,
    EndpointSlice => slices,
}

/// Objects that live in a namespace and those that do not, reached the same way.
pub(crate) trait Scope {
    fn api<K>(client: Client, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = Self>;
}

impl Scope for NamespaceResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: Client, namespace: &str) -> Api<K> {
        Api::namespaced(client, namespace)
    }
}

impl Scope for ClusterResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: Client, _: &str) -> Api<K> {
        Api::all(client)
    }
}

/// A kind that the controllers read from a cache and write through the client.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope: Scope> + Cached + Clone + Serialize + DeserializeOwned + std::fmt::Debug
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope: Scope>
        + Cached
        + Clone
        + Serialize
        + DeserializeOwned
        + std::fmt::Debug
{
}

/// What a reconciliation has to work with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: std::sync::Arc<Caches>,
    pub(crate) recorder: Recorder,
}

impl Context {
    /// Records an Event about an object, as one of the controllers.
    pub(crate) fn record<K: Object>(
        &self,
        controller: &str,
        object: &K,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        self.recorder.component(controller).record(object.object_ref(&()), type_, reason, note);
    }

    pub(crate) fn cache<K: Object>(&self) -> &Cache<K> {
        K::cache(&self.caches)
    }

    pub(crate) fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        <K::Scope as Scope>::api(self.client.clone(), namespace)
    }

    /// Creates an object and shows it to the cache.
    pub(crate) async fn create<K: Object>(&self, object: &K) -> kube::Result<K> {
        let namespace = object.namespace().unwrap_or_default();
        let created = self.api::<K>(&namespace).create(&PostParams::default(), object).await?;
        self.cache::<K>().observe(created.clone());
        Ok(created)
    }

    /// Replaces an object; the server refuses when it has changed since it was read.
    pub(crate) async fn replace<K: Object>(&self, object: &K) -> kube::Result<()> {
        let api = self.api::<K>(&object.namespace().unwrap_or_default());
        let replaced = api.replace(&object.name_any(), &PostParams::default(), object).await?;
        self.cache::<K>().observe(replaced);
        Ok(())
    }

    /// Merges a patch into an object.
    pub(crate) async fn patch<K: Object>(&self, key: &Key, patch: &Value) -> kube::Result<()> {
        let api = self.api::<K>(&key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.cache::<K>().observe(patched);
        Ok(())
    }

    /// Merges a status into an object.
    pub(crate) async fn patch_status<K: Object>(
        &self,
        key: &Key,
        status: &impl Serialize,
    ) -> kube::Result<()> {
        let patch = json!({ "status": status });
        let api = self.api::<K>(&key.namespace);
        let patched = api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        self.cache::<K>().observe(patched);
        Ok(())
    }

    /// Deletes an object; one that is already gone is no error.
    pub(crate) async fn delete<K: Object>(&self, object: &K, params: &DeleteParams) -> kube::Result<()> {
        let key = Key::of(object);
        let params = match object.uid() {
            Some(uid) => params
                .clone()
                .preconditions(kube::api::Preconditions { uid: Some(uid), resource_version: None }),
            None => params.clone(),
        };
        match self.api::<K>(&key.namespace).delete(&key.name, &params).await {
            Ok(answer) => match answer.left() {
                Some(object) => self.cache::<K>().observe(object),
                None => self.cache::<K>().forget(&key),
            },
            Err(error) if is_gone(&error) => self.cache::<K>().forget(&key),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether the object of a request does not exist (any more).
pub(crate) fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the object of a request already exists.
pub(crate) fn is_taken(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// Whether the namespace of a request is on its way out, so that nothing more can be made in it.
pub(crate) fn namespace_goes(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 && status.message.contains("because it is being terminated"))
        || matches!(error, kube::Error::Api(status) if status.code == 404 && status.message.starts_with("namespaces "))
}

/// How a dependent names its owner: as its controller, which waits for it when it is deleted in the
/// foreground.
pub(crate) fn owned_by<K: Object>(owner: &K) -> Option<Vec<OwnerReference>> {
    let reference = owner.controller_owner_ref(&())?;
    Some(vec![OwnerReference { block_owner_deletion: Some(true), ..reference }])
}
