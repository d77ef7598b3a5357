//! News of the ConfigMaps and Secrets that a pod is made from.

use std::{fmt::Debug, sync::Arc};

use follow::{Event, Selection};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet};

use super::files::Names;

/// Watches every object that a pod names, whether it exists or not, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    news: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Begins to watch; `None` if the pod names no objects.
    pub(super) fn start(client: &Client, pod: &Pod) -> Option<Self> {
        let names = Names::of(pod);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let news = Arc::new(Notify::new());
        let named = |name: &str| Selection::named(name).namespace(namespace);
        let mut tasks = JoinSet::new();
        for name in &names.config_maps {
            tasks.spawn(follow::<ConfigMap>(client.clone(), named(name), news.clone()));
        }
        for name in &names.secrets {
            tasks.spawn(follow::<Secret>(client.clone(), named(name), news.clone()));
        }
        (!tasks.is_empty()).then_some(Self { news, _tasks: tasks })
    }
}

/// Resolves when an object may have changed since the last time, and once when the watch has begun.
pub(super) async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.news.notified().await,
        None => std::future::pending().await,
    }
}

async fn follow<K>(client: Client, object: Selection, news: Arc<Notify>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = follow::objects::<K>(client, object);
    pin_mut!(events);
    let mut listing = false;
    while let Some(event) = events.next().await {
        listing = match event {
            Event::Relist => true,
            Event::Apply(_) => listing,
            Event::Delete(_) | Event::Synced => false,
        };
        if !listing {
            news.notify_one();
        }
    }
}
