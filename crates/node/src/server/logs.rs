//! `/containerLogs`: a container's log, to its present end or as it grows.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::broadcast;

use super::{Body, Refusal, query::Query};
use crate::{
    cri::events::{Event, EventKind},
    logs::{Follower, Options},
    pod::{Context, Entry, News, log_file},
};

/// After a container's end its last lines may still be on their way to the log, for this long at most.
const LAST_LINES: Duration = Duration::from_secs(2);
/// How often is looked meanwhile.
const LAST_LINES_STEP: Duration = Duration::from_millis(10);

/// Answers with the log of a container of a pod.
pub(super) async fn serve(
    context: &Arc<Context>,
    entry: &Entry,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let options = options(query, Timestamp::now())?;
    let previous = query.flag(&["previous"]);
    // Before the state is looked at, so that no end is missed.
    let news = context.news.subscribe();
    let (id, attempt, running) =
        entry.run(container, previous).ok_or_else(|| no_run(entry, container, previous))?;
    let path = log_file(&context.config, &entry.pod, container, attempt);
    let follow = query.flag(&["follow"]) && running && !previous;
    let log = Follower::open(&path, options, follow).await.map_err(|error| {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("cannot read the log of container \"{container}\": {error}"),
        )
    })?;
    let source = Source { context: context.clone(), log, news, id };
    let parts = stream::try_unfold(source, async |mut source: Source| {
        Ok(source.next().await?.map(|part| (Frame::data(Bytes::from(part)), source)))
    });
    let mut response = Response::new(StreamBody::new(parts).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

/// Why there is no log yet, in the words that kubectl users know.
fn no_run(entry: &Entry, container: &str, previous: bool) -> Refusal {
    let pod = entry.pod.metadata.name.as_deref().unwrap_or_default();
    let spec = entry.pod.spec.as_ref();
    let known = spec.is_some_and(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .any(|other| other.name == container)
    });
    let sentence = match (known, previous) {
        (false, _) => format!("container {container} is not valid for pod {pod}"),
        (true, true) => format!("previous terminated container \"{container}\" in pod \"{pod}\" not found"),
        (true, false) => {
            let why = waiting(&entry.pod, container);
            format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {why}")
        }
    };
    (StatusCode::BAD_REQUEST, sentence)
}

/// What a container waits for, as its status says.
fn waiting(pod: &Pod, container: &str) -> String {
    let statuses = pod.status.iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    let mut reasons = statuses
        .filter(|status| status.name == container)
        .filter_map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref());
    match reasons.next() {
        Some("ErrImagePull") => "image can't be pulled".into(),
        Some("ImagePullBackOff") => "trying and failing to pull image".into(),
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".into(),
    }
}

fn options(query: &Query, now: Timestamp) -> Result<Options, Refusal> {
    fn number<T: std::str::FromStr>(query: &Query, name: &str) -> Result<Option<T>, Refusal> {
        let invalid = || (StatusCode::BAD_REQUEST, format!("{name} is no valid number"));
        query.get(name).map(|text| text.parse().map_err(|_| invalid())).transpose()
    }
    let since_seconds: Option<i64> = number(query, "sinceSeconds")?;
    let since_time = query.get("sinceTime").map(|text| {
        text.parse::<Timestamp>()
            .map_err(|_| (StatusCode::BAD_REQUEST, format!("sinceTime {text:?} is no RFC 3339 time")))
    });
    let ago = |seconds: i64| now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
    Ok(Options {
        tail_lines: number(query, "tailLines")?,
        since: since_time.transpose()?.or(since_seconds.map(ago)),
        timestamps: query.flag(&["timestamps"]),
        limit_bytes: number(query, "limitBytes")?,
    })
}

/// A log on its way to the client.
struct Source {
    context: Arc<Context>,
    log: Follower,
    news: broadcast::Receiver<News>,
    id: String,
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(part) = self.log.next().await? {
                return Ok(Some(part));
            }
            if !self.log.is_open() {
                return Ok(None);
            }
            tokio::select! {
                changed = self.log.changed() => changed?,
                news = self.news.recv() => {
                    let over = match news {
                        Ok(News::Event(Event { container_id, kind: EventKind::Exited(_) })) => container_id == self.id,
                        Ok(News::Event(_)) => false,
                        _ => !self.is_running().await,
                    };
                    if over {
                        self.wait_for_last_lines().await;
                        self.log.end();
                    }
                }
            }
        }
    }

    /// The runtime calls a container ended once its log is complete.
    async fn wait_for_last_lines(&self) {
        let complete = async {
            while self.is_running().await {
                tokio::time::sleep(LAST_LINES_STEP).await;
            }
        };
        let _ = tokio::time::timeout(LAST_LINES, complete).await;
    }

    async fn is_running(&self) -> bool {
        use crate::cri::messages::ContainerState;
        let status = self.context.runtime.container_status(&self.id).await;
        status.is_ok_and(|status| status.state() == ContainerState::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_from_the_query() {
        let now = Timestamp::from_second(1000).unwrap();
        let read =
            options(&Query::parse("tailLines=3&sinceSeconds=10&timestamps=true&limitBytes=9"), now).unwrap();
        let since = Some(Timestamp::from_second(990).unwrap());
        let expected = Options { tail_lines: Some(3), since, timestamps: true, limit_bytes: Some(9) };
        assert_eq!(read, expected);
        assert_eq!(options(&Query::parse("tailLines=x"), now).unwrap_err().0, StatusCode::BAD_REQUEST);
        assert_eq!(options(&Query::parse("sinceTime=x"), now).unwrap_err().0, StatusCode::BAD_REQUEST);
    }
}
