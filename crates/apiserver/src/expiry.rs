//! Events live for an hour.
//!
//! Each Event's end follows from its own times, so it stays the same however often the watch begins
//! anew; one sleep until the next end is enough.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use futures::StreamExt;
use jiff::Timestamp;
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
    let mut ends: BTreeSet<(Instant, String, String, String)> = BTreeSet::new();
    loop {
        let next = ends.first().map(|(end, ..)| *end);
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let object: Value = serde_json::from_slice(&event.object).map_err(Status::internal)?;
                if matches!(event.kind, "ADDED" | "MODIFIED") {
                    let meta = |field| meta_str(&object, field).to_owned();
                    let end = Instant::now() + remaining(&object, Timestamp::now()).min(EVENT_TTL);
                    ends.insert((end, meta("namespace"), meta("name"), meta("resourceVersion")));
                }
            }
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                let Some((_, namespace, name, version)) = ends.pop_first() else { continue };
                let mut options = DeleteOptions::default();
                options.precondition.resource_version = Some(version);
                // An Event that has changed since has a later end of its own; one that is gone is gone.
                drop(registry.delete(kind, Some(&namespace), &name, &options).await);
            }
        }
    }
}

/// How long an Event has left to live since it last happened. Times in the future are a client's
/// mistake; that of its creation is the server's own.
fn remaining(event: &Value, now: Timestamp) -> Duration {
    let times = [&event["lastTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
    let past = times.into_iter().filter_map(|time| time.as_str()?.parse().ok()).filter(|time| *time <= now);
    let age = past.max().map_or(Duration::ZERO, |last: Timestamp| now.duration_since(last).unsigned_abs());
    EVENT_TTL.saturating_sub(age)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_lives_for_an_hour_after_it_last_happened() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let created = |created: &str, last: &str| json!({"metadata": {"creationTimestamp": created}, "lastTimestamp": last});
        for (event, minutes) in [
            (created("2026-01-01T11:30:00Z", "2026-01-01T11:30:00Z"), 30),
            (created("2026-01-01T10:00:00Z", "2026-01-01T11:59:00Z"), 59),
            (created("2026-01-01T10:00:00Z", "2026-01-01T10:30:00Z"), 0),
            (created("2026-01-01T11:10:00Z", "2099-01-01T00:00:00Z"), 10),
        ] {
            assert_eq!(remaining(&event, now), Duration::from_secs(minutes * 60), "{event}");
        }
    }
}
