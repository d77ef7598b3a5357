//! Filling the model from an API server.

use std::borrow::Cow;
use std::future::ready;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::api::ObjectMeta;
use kube::core::ClusterResourceScope;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Deserializer};

use crate::Event;
use crate::objects::Object;

/// Lists and watches the objects of a kind in all namespaces, for ever.
///
/// `fields` is a field selector such as `metadata.name=node1`, empty for all objects. A lost watch goes on where
/// it was, or lists again; its errors are logged here, since nobody else can do anything about them.
pub fn events<T: Object>(client: Client, fields: &str) -> impl Stream<Item = Event<T>> + Send + use<T> {
    selected(client, watcher::Config::default().fields(fields))
}

/// Like [`events`], for the objects that a label selector such as `app=web` finds.
pub fn events_labelled<T: Object>(
    client: Client,
    labels: &str,
) -> impl Stream<Item = Event<T>> + Send + use<T> {
    selected(client, watcher::Config::default().labels(labels))
}

fn selected<T: Object>(
    client: Client,
    config: watcher::Config,
) -> impl Stream<Item = Event<T>> + Send + use<T> {
    watcher(Api::<Watched<T>>::all(client), config).backoff(Retry::default()).filter_map(|event| {
        ready(match event {
            Ok(watcher::Event::Init) => Some(Event::Relist),
            Ok(watcher::Event::InitApply(watched) | watcher::Event::Apply(watched)) => {
                Some(Event::Apply(watched.object))
            }
            Ok(watcher::Event::Delete(watched)) => Some(Event::Delete(watched.object)),
            Ok(watcher::Event::InitDone) => Some(Event::Synced),
            Err(error) => {
                tracing::warn!(kind = T::KIND, %error, "the watch failed; trying again");
                None
            }
        })
    })
}

/// Pauses between tries to reach an API server: short enough that a restart of it is hardly noticed.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures += 1;
        Some(pause)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A slim object with the metadata that the kube client keeps its place in a watch by.
#[derive(Debug, Clone)]
struct Watched<T> {
    metadata: ObjectMeta,
    object: T,
}

impl<'de, T: Object> Deserialize<'de> for Watched<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = T::deserialize(deserializer)?;
        let slim = object.metadata();
        let metadata = ObjectMeta {
            name: Some(slim.name.to_string()),
            namespace: Some(slim.namespace.to_string()),
            resource_version: slim.resource_version.as_deref().map(str::to_owned),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, object })
    }
}

impl<T: Object> Resource for Watched<T> {
    type DynamicType = ();
    // Only ever listed across namespaces.
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        T::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        T::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        T::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        T::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::EndpointSlice;

    #[test]
    fn an_object_keeps_its_place_in_the_watch() {
        let json = r#"{"kind":"EndpointSlice","metadata":{"name":"a","namespace":"d","resourceVersion":"12"},
            "addressType":"IPv4","endpoints":[],"ports":[]}"#;
        let watched: Watched<EndpointSlice> = serde_json::from_str(json).unwrap();
        assert_eq!(watched.meta().resource_version.as_deref(), Some("12"));
        assert_eq!(Watched::<EndpointSlice>::url_path(&(), None), "/apis/discovery.k8s.io/v1/endpointslices");
    }

    #[test]
    fn tries_become_rarer_and_start_over_after_success() {
        let mut retry = Retry::default();
        let pauses: Vec<_> = retry.by_ref().take(30).collect();
        assert!(pauses.is_sorted() && pauses[29] == Retry::LONGEST);
        retry.reset();
        assert_eq!(retry.next(), Some(Retry::FIRST));
    }
}
