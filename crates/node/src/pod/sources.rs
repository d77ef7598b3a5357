//! News of the ConfigMaps and Secrets that a pod is made from.

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher},
};
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
        let mut tasks = JoinSet::new();
        for name in &names.config_maps {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            tasks.spawn(follow(api, name.clone(), news.clone()));
        }
        for name in &names.secrets {
            let api = Api::<Secret>::namespaced(client.clone(), namespace);
            tasks.spawn(follow(api, name.clone(), news.clone()));
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

async fn follow<K>(api: Api<K>, name: String, news: Arc<Notify>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + 'static,
{
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, only).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
            Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) => {
                news.notify_one();
            }
            Err(error) => tracing::debug!(name, "the watch of an object was interrupted: {error}"),
        }
    }
}
