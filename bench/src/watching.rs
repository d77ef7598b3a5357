//! Watches that say when something has become true.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

use anyhow::bail;
use futures::{StreamExt, pin_mut};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cluster::PATIENCE;

/// Waits until `count` objects satisfy `holds`, as a watch shows it; tells when that was seen.
pub(crate) async fn until<K>(
    api: Api<K>,
    labels: &str,
    count: usize,
    holds: impl Fn(&K) -> bool,
) -> anyhow::Result<Instant>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(api, watcher::Config::default().labels(labels));
    pin_mut!(events);
    let mut states = BTreeMap::new();
    let seen = async {
        while let Some(event) = events.next().await {
            match event? {
                Event::Init | Event::InitDone => {}
                Event::Apply(object) | Event::InitApply(object) => {
                    states.insert(object.name_any(), holds(&object));
                }
                Event::Delete(object) => {
                    states.remove(&object.name_any());
                }
            }
            if states.values().filter(|&&state| state).count() == count {
                return Ok(Instant::now());
            }
        }
        bail!("the watch has ended")
    };
    match tokio::time::timeout(PATIENCE, seen).await {
        Ok(seen) => seen,
        Err(_) => bail!("{count} objects {labels:?} were not as they should within {} s", PATIENCE.as_secs()),
    }
}

/// Whether a condition of an object's status is true.
pub(crate) fn is_true<'a>(conditions: impl IntoIterator<Item = (&'a str, &'a str)>, kind: &str) -> bool {
    conditions.into_iter().any(|(type_, status)| type_ == kind && status == "True")
}
