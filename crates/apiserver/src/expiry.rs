//! Events live for an hour.
//!
//! They are written in the order of their times, more or less, so one sleep until the oldest one's
//! end is enough; there is no scan of what is young.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use crate::http::query::Query;
use crate::object::meta_str;
use crate::registry::{DeleteOptions, Registry, WatchQuery, watch};

/// How long an Event is kept after its last change (upstream's `--event-ttl`).
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// Deletes Events when their time has come, until the watch on them ends.
pub(crate) async fn run(registry: &Arc<Registry>) -> Result<(), Status> {
    let kind = registry.schema.resource("", "v1", "events").ok_or_else(Status::resource_not_found)?;
    let query = WatchQuery::new(kind, &Query::default(), None)?;
    let events = watch(registry, kind, None, query).await?;
    tokio::pin!(events);
    let mut ends: VecDeque<(Instant, String, String, String)> = VecDeque::new();
    loop {
        let next = ends.front().map(|(end, ..)| *end);
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let object: Value = serde_json::from_slice(&event.object).map_err(Status::internal)?;
                if matches!(event.kind, "ADDED" | "MODIFIED") {
                    let meta = |field| meta_str(&object, field).to_owned();
                    let end = Instant::now() + EVENT_TTL;
                    ends.push_back((end, meta("namespace"), meta("name"), meta("resourceVersion")));
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let Some((_, namespace, name, version)) = ends.pop_front() else { continue };
                let mut options = DeleteOptions::default();
                options.precondition.resource_version = Some(version);
                // An Event that has changed since has a later end of its own; one that is gone is gone.
                drop(registry.delete(kind, Some(&namespace), &name, &options).await);
            }
        }
    }
}
