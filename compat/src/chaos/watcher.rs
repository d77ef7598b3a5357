//! A client that watches what the writers write, and must see all of it in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::sleep;

use super::api::Api;
use super::writers::{MAPS, Shared, value_of};

/// After a watch that ended or could not be had.
const PAUSE: Duration = Duration::from_millis(200);

/// How often the watcher had to begin anew.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    /// Watches that ended.
    pub(crate) watches: Arc<AtomicUsize>,
    /// Lists after 410 Gone.
    pub(crate) lists: Arc<AtomicUsize>,
}

/// Starts the watcher.
pub(crate) fn start(api: &Api, shared: &Shared) -> Counts {
    let counts = Counts::default();
    tokio::spawn(watch(api.clone(), shared.clone(), counts.clone()));
    counts
}

async fn watch(api: Api, shared: Shared, counts: Counts) {
    let mut version = None;
    while !shared.is_over() {
        let at = match version {
            Some(version) => version,
            None => match list(&api).await {
                Ok((at, objects)) => {
                    shared.ledger().listed(&objects);
                    counts.lists.fetch_add(1, Ordering::Relaxed);
                    at
                }
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let mut reached = at;
        version = match follow(&api, &shared, &mut reached).await {
            Ok(End::Gone) => None,
            // A connection that breaks is no violation; what it has left out is looked for at the next one.
            Ok(End::Over) | Err(_) => Some(reached),
        };
        counts.watches.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}

/// All that the writers have written, and the version of the list.
pub(crate) async fn list(api: &Api) -> anyhow::Result<(u64, BTreeMap<String, u64>)> {
    let answer = api.call("GET", MAPS, None).await?;
    if !answer.is_good() {
        bail!("the list is answered with {} {}", answer.code, answer.message());
    }
    let objects = answer.body["items"].as_array().context("the list has no items")?;
    Ok((version_of(&answer.body)?, objects.iter().filter_map(value_of).collect()))
}

enum End {
    Over,
    Gone,
}

/// Watches from a version on until the connection ends; moves the version along.
async fn follow(api: &Api, shared: &Shared, version: &mut u64) -> anyhow::Result<End> {
    let path = format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let response = api.follow(&path).await?;
    if response.status() == 410 {
        return Ok(End::Gone);
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = bytes.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line)?;
            if take(shared, &event, version)? {
                return Ok(End::Gone);
            }
        }
    }
    Ok(End::Over)
}

/// Notes an event; whether it says that the version is gone.
fn take(shared: &Shared, event: &Value, version: &mut u64) -> anyhow::Result<bool> {
    let (what, object) = (event["type"].as_str().unwrap_or_default(), &event["object"]);
    if what == "ERROR" {
        return if object["code"] == 410 { Ok(true) } else { bail!("the watch says {object}") };
    }
    let next = version_of(object)?;
    let mut ledger = shared.ledger();
    if next < *version || (next == *version && what != "BOOKMARK") {
        ledger.violations.push(format!("the watch shows version {next} after {version}"));
    }
    *version = next;
    match (what, value_of(object)) {
        ("BOOKMARK", _) | (_, None) => {}
        ("DELETED", Some((name, _))) => ledger.event(&name, None),
        (_, Some((name, value))) => ledger.event(&name, Some(value)),
    }
    Ok(false)
}

fn version_of(object: &Value) -> anyhow::Result<u64> {
    let version = object["metadata"]["resourceVersion"].as_str().context("there is no version")?;
    Ok(version.parse()?)
}
