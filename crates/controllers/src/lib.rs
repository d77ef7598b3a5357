//! Endpoints, EndpointSlices, mirroring, workloads, scheduling, garbage collection: reactions to
//! watches.
//!
//! Each controller is a function of one key and the caches that brings the cluster closer to what
//! it should be. Watches fill the caches and queue the keys that a change concerns; nothing runs by
//! the clock, except what is about time itself (a Lease that runs out).
//!
//! Invariants:
//! * A controller reads caches and writes through the API; it holds no state that a restart loses.
//! * What a controller writes it shows its cache at once, so no state is acted on twice.

mod accounts;
mod endpoints;
mod garbage;
mod nodes;
mod runtime;
mod scheduler;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use follow::{Recorder, Selection};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Endpoints, Namespace, Node, Pod, ReplicationController, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Client, ResourceExt};
use tokio::sync::Notify;

use endpoints::{MANAGED_BY, SERVICE_NAME, affects_endpoints, legacy, mirroring, selector_of, slices};
pub use nodes::{PodNetwork, PodNetworkError};
use runtime::cache::{Change, Key};
use runtime::context::{Caches, Context, Object};
use runtime::queue::Queue;
use scheduler::Assumed;
use workloads::{deployment, replicas};

/// What the controllers need to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The addresses of pods; each node gets a share.
    pub cluster_cidr: PodNetwork,
    /// The certificate by which pods trust the API server, in PEM.
    pub root_ca: Option<String>,
}

/// Why the controllers stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server could not be asked.
    #[error(
        "the controllers cannot read the API: {0}; check that the API server is reachable and the kubeconfig valid"
    )]
    Api(#[from] kube::Error),
}

/// One queue for each controller.
#[derive(Default)]
struct Queues {
    accounts: Queue<Key>,
    deployments: Queue<Key>,
    endpoints: Queue<Key>,
    lifecycle: Queue<Key>,
    mirroring: Queue<Key>,
    networks: Queue<Key>,
    replica_sets: Queue<Key>,
    replication_controllers: Queue<Key>,
    scheduler: Queue<Key>,
    slices: Queue<Key>,
}

/// Runs all controllers until `shutdown`.
///
/// # Errors
/// The API cannot be read at all. Failures of single objects are logged and tried again.
pub async fn run(client: Client, config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let (recorder, record) = Recorder::new(client.clone(), "controllers", None);
    let context = Context { client: client.clone(), caches: Arc::new(Caches::default()), recorder };
    let (queues, assumed) = (Queues::default(), Assumed::default());
    let synced = Synced::default();
    let follow = follow_all(&context, &queues, &assumed, &synced);
    let work = async {
        synced.wait().await;
        work(&context, &config, &queues, &assumed).await;
    };
    tokio::select! {
        () = shutdown => Ok(()),
        () = follow => Ok(()),
        () = work => Ok(()),
        () = record => Ok(()),
        collected = garbage::run(client) => Ok(collected?),
    }
}

/// Counts the caches that have their first list.
#[derive(Default)]
struct Synced {
    expected: AtomicUsize,
    complete: AtomicUsize,
    wake: Notify,
}

impl Synced {
    fn expect(&self) {
        self.expected.fetch_add(1, Ordering::Relaxed);
    }

    fn complete(&self) {
        self.complete.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    async fn wait(&self) {
        let counts = || (self.complete.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed));
        while matches!(counts(), (complete, expected) if expected == 0 || complete < expected) {
            self.wake.notified().await;
        }
    }
}

async fn follow<K>(context: &Context, synced: &Synced, on_change: impl Fn(&Change<K>))
where
    K: Object + Send + 'static,
{
    synced.expect();
    let events = follow::objects::<K>(context.client.clone(), Selection::all());
    context.cache::<K>().follow(events, on_change, || synced.complete()).await;
}

/// Which changes concern which controller.
async fn follow_all(context: &Context, queues: &Queues, assumed: &Assumed, synced: &Synced) {
    tokio::join!(
        follow::<Pod>(context, synced, |change| pod_changed(context, queues, assumed, change)),
        follow::<Service>(context, synced, |change| {
            let Some(key) = change.newest().map(|service| Key::of(&**service)) else { return };
            queues.endpoints.add(key.clone());
            queues.slices.add(key.clone());
            queues.mirroring.add(key);
        }),
        follow::<Endpoints>(context, synced, |change| {
            let Some(key) = change.newest().map(|endpoints| Key::of(&**endpoints)) else { return };
            queues.endpoints.add(key.clone());
            queues.mirroring.add(key);
        }),
        follow::<EndpointSlice>(context, synced, |change| {
            let Some(slice) = change.newest() else { return };
            let Some(service) = slice.labels().get(SERVICE_NAME) else { return };
            let key = Key::new(&slice.namespace().unwrap_or_default(), service);
            match slice.labels().get(MANAGED_BY).map(String::as_str) {
                Some(slices::MANAGER) => queues.slices.add(key),
                Some(mirroring::MANAGER) => queues.mirroring.add(key),
                _ => {}
            }
        }),
        follow::<Deployment>(context, synced, |change| {
            change.new.iter().for_each(|deployment| queues.deployments.add(Key::of(&**deployment)));
        }),
        follow::<ReplicaSet>(context, synced, |change| {
            let Some(set) = change.newest() else { return };
            queues.replica_sets.add(Key::of(&**set));
            let owner = set.owner_references().iter().find(|owner| owner.kind == "Deployment");
            if let Some(owner) = owner {
                queues.deployments.add(Key::new(&set.namespace().unwrap_or_default(), &owner.name));
            }
        }),
        follow::<ReplicationController>(context, synced, |change| {
            change.new.iter().for_each(|c| queues.replication_controllers.add(Key::of(&**c)));
        }),
        follow::<Node>(context, synced, |change| node_changed(context, queues, change)),
        follow::<Lease>(context, synced, |change| {
            let Some(lease) = change.newest() else { return };
            if lease.namespace().as_deref() == Some(nodes::lifecycle::LEASES) {
                queues.lifecycle.add(Key::new("", &lease.name_any()));
            }
        }),
        follow::<Namespace>(context, synced, |change| {
            change.new.iter().for_each(|namespace| queues.accounts.add(Key::of(&**namespace)));
        }),
        accounts::follow(&context.client, |namespace| queues.accounts.add(Key::new("", namespace))),
        follow::<ServiceAccount>(context, synced, |change| {
            if change.new.is_none()
                && let Some(namespace) = change.newest().and_then(|account| account.namespace())
            {
                queues.accounts.add(Key::new("", &namespace));
            }
        }),
    );
}

fn pod_changed(context: &Context, queues: &Queues, assumed: &Assumed, change: &Change<Pod>) {
    let Some(newest) = change.newest() else { return };
    let key = Key::of(&**newest);
    let node = change.new.as_ref().and_then(|pod| pod.spec.as_ref()?.node_name.as_deref());
    if let Some(node) = node.map(|name| Key::new("", name))
        && context.cache::<Node>().get(&node).is_none()
    {
        queues.lifecycle.add(node);
    }
    if scheduler::waits(newest) && change.new.is_some() {
        queues.scheduler.add(key);
    } else {
        assumed.settle(&key);
    }
    if change.new.as_ref().is_none_or(|pod| endpoints::has_ended(pod)) {
        retry_waiting(context, queues);
    }
    if replicas::concerns_owner(change) {
        let owners = change.sides().filter_map(|pod| replicas::owner_key(pod, "ReplicaSet"));
        owners.for_each(|owner| queues.replica_sets.add(owner));
        let owners = change.sides().filter_map(|pod| replicas::owner_key(pod, "ReplicationController"));
        owners.for_each(|owner| queues.replication_controllers.add(owner));
    }
    if affects_endpoints(change) {
        for service in context.cache::<Service>().within(&newest.namespace().unwrap_or_default()) {
            let Some(selector) = selector_of(&service) else { continue };
            let selected =
                |pod: &Pod| selector.iter().all(|(name, value)| pod.labels().get(name) == Some(value));
            if change.sides().any(|pod| selected(pod)) {
                queues.endpoints.add(Key::of(&*service));
                queues.slices.add(Key::of(&*service));
            }
        }
    }
}

/// Pods that found no node look again.
fn retry_waiting(context: &Context, queues: &Queues) {
    for pod in context.cache::<Pod>().all() {
        if scheduler::waits(&pod) {
            queues.scheduler.add(Key::of(&*pod));
        }
    }
}

fn node_changed(context: &Context, queues: &Queues, change: &Change<Node>) {
    let Some(node) = change.newest() else { return };
    queues.lifecycle.add(Key::of(&**node));
    queues.networks.add(Key::new("", "cluster"));
    let open = |node: &Option<Arc<Node>>| {
        node.as_ref().map(|n| (nodes::is_ready(n), n.spec.clone(), n.labels().clone()))
    };
    if open(&change.old) == open(&change.new) {
        return;
    }
    retry_waiting(context, queues);
    let zones = change.sides().map(|node| node.labels().get("topology.kubernetes.io/zone").cloned());
    let zones: Vec<_> = zones.collect();
    if zones.len() < 2 || zones[0] != zones[1] {
        for service in context.cache::<Service>().all() {
            queues.slices.add(Key::of(&*service));
        }
    }
}

/// Works on all queues.
async fn work(context: &Context, config: &Config, queues: &Queues, assumed: &Assumed) {
    tokio::join!(
        queues.accounts.work("serviceaccount", |key| accounts::reconcile(
            context,
            config.root_ca.as_deref(),
            key
        )),
        queues.deployments.work("deployment", |key| deployment::reconcile(context, key)),
        queues.endpoints.work("endpoints", |key| legacy::reconcile(context, key)),
        queues.lifecycle.work("node-lifecycle", |key| nodes::lifecycle::reconcile(
            context,
            &queues.lifecycle,
            key
        )),
        queues.mirroring.work("endpointslice-mirroring", |key| mirroring::reconcile(context, key)),
        queues.networks.work("node-ipam", |_| nodes::networks::reconcile(context, config.cluster_cidr)),
        queues.replica_sets.work("replicaset", |key| replicas::reconcile::<ReplicaSet>(
            context,
            &queues.replica_sets,
            key
        )),
        queues.replication_controllers.work(
            "replication",
            |key| replicas::reconcile::<ReplicationController>(context, &queues.replication_controllers, key)
        ),
        queues.scheduler.work("scheduler", |key| scheduler::reconcile(context, assumed, key)),
        queues.slices.work("endpointslice", |key| slices::reconcile(context, key)),
    );
}
