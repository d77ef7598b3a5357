//! A namespace that is deleted takes its content along, then goes itself.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams};
use kube::core::{ApiResource, DynamicObject};
use kube::discovery::Scope;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::runtime::context::is_gone;
use crate::runtime::queue::Queue;

/// How soon a namespace is looked at again whose content is still ending.
const RECHECK: Duration = Duration::from_millis(200);

/// Empties namespaces until its future is dropped.
pub(super) async fn run(client: &Client, resources: &[(ApiResource, Scope)]) -> kube::Result<()> {
    let queue = Queue::default();
    let events = watch(Api::<Namespace>::all(client.clone()), watcher::Config::default()).default_backoff();
    let follow = async {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            if let Ok(Event::Apply(namespace) | Event::InitApply(namespace)) = event
                && namespace.metadata.deletion_timestamp.is_some()
            {
                queue.add(namespace.name_any());
            }
        }
    };
    tokio::select! {
        () = follow => Ok(()),
        () = queue.work("namespace-controller", |name| empty(client, resources, &queue, name)) => Ok(()),
    }
}

async fn empty(
    client: &Client,
    resources: &[(ApiResource, Scope)],
    queue: &Queue<String>,
    name: String,
) -> kube::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let Some(namespace) = namespaces.get_opt(&name).await? else { return Ok(()) };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    let mut left = 0;
    for (resource, scope) in resources {
        if *scope != Scope::Namespaced {
            continue;
        }
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &name, resource);
        api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        left += api.list_metadata(&ListParams::default()).await?.items.len();
    }
    if left > 0 {
        tracing::debug!(namespace = name, left, "content of a namespace is still ending");
        queue.add_after(name, RECHECK);
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
