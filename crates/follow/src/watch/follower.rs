//! A watch that begins anew where the kube client's own would repeat the same request for ever.

use std::future::ready;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use kube::core::{ApiResource, Status};
use kube::runtime::utils::StreamBackoff;
use kube::runtime::watcher::{self, Error, watcher};
use kube::{Api, Client};

use super::readable::{Readable, Watched};
use crate::retry::Retry;
use crate::{Event, Selection};

/// HTTP's status for a resource version that is no longer kept.
const GONE: u16 = 410;
/// HTTP's status for what an account has no right to.
const FORBIDDEN: u16 = 403;

/// Lists and watches `selection` of a kind, for ever.
pub(super) fn follow<R: Readable>(
    client: Client,
    kind: ApiResource,
    selection: Selection,
) -> impl Stream<Item = Event<R::Object>> + Send + use<R> {
    let name = kind.kind.clone();
    let follower = Follower::<R>::new(client, kind, selection);
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((event, follower))
    });
    let mut last_failure = String::new();
    StreamBackoff::new(events, Retry::default()).filter_map(move |event| {
        ready(match event {
            Ok(event) => {
                last_failure.clear();
                event
            }
            Err(error) => {
                let failure = explain(&error);
                if failure == last_failure {
                    tracing::debug!(kind = name, error = failure, "the watch failed again");
                } else {
                    tracing::warn!(kind = name, error = failure, "the watch failed; trying again");
                    last_failure = failure;
                }
                None
            }
        })
    })
}

/// The next step of a watch; `None` for an object that is left out.
type Next<T> = Result<Option<Event<T>>, watcher::Error>;

struct Follower<R: Readable> {
    client: Client,
    kind: ApiResource,
    selection: Selection,
    /// Whether objects are read one by one, so that an object that cannot be read does not fail the list it is in.
    careful: bool,
    events: BoxStream<'static, Next<R::Object>>,
}

impl<R: Readable> Follower<R> {
    fn new(client: Client, kind: ApiResource, selection: Selection) -> Self {
        let events = open::<R, false>(client.clone(), &kind, &selection);
        Self { client, kind, selection, careful: false, events }
    }

    async fn next(&mut self) -> Next<R::Object> {
        let event = self.events.next().await.unwrap_or(Ok(None));
        let (unreadable, gone) = match &event {
            Err(Error::InitialListFailed(error) | Error::WatchFailed(error)) => {
                (is_unreadable(error) && !self.careful, false)
            }
            // Most servers send an event when the resource version to continue from is no longer kept; some answer the
            // request with the status instead, after which the kube client would ask for the same version again.
            Err(Error::WatchStartFailed(kube::Error::Api(status))) => (false, status.code == GONE),
            _ => (false, false),
        };
        if unreadable || gone {
            self.careful |= unreadable;
            let open = if self.careful { open::<R, true> } else { open::<R, false> };
            self.events = open(self.client.clone(), &self.kind, &self.selection);
        }
        event
    }
}

/// Lists and watches; each error is followed by another try.
fn open<R: Readable, const CAREFUL: bool>(
    client: Client,
    kind: &ApiResource,
    selection: &Selection,
) -> BoxStream<'static, Next<R::Object>> {
    let api: Api<Watched<R, CAREFUL>> = match selection.within() {
        Some(namespace) => Api::namespaced_with(client, namespace, kind),
        None => Api::all_with(client, kind),
    };
    watcher(api, selection.config())
        .map_ok(|event| match event {
            watcher::Event::Init => Some(Event::Relist),
            watcher::Event::InitApply(watched) | watcher::Event::Apply(watched) => {
                watched.object.map(Event::Apply)
            }
            watcher::Event::Delete(watched) => watched.object.map(Event::Delete),
            watcher::Event::InitDone => Some(Event::Synced),
        })
        .boxed()
}

/// Whether the server's answer could not be read. The kube client reads a watch event that has no known form as a
/// Status without any field.
fn is_unreadable(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(_) => true,
        kube::Error::Api(status) => **status == Status::default(),
        _ => false,
    }
}

/// An error for a person: the server's message without the parts for programs, and what to do where that is known.
fn explain(error: &Error) -> String {
    let status = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status))
        | Error::WatchFailed(kube::Error::Api(status))
        | Error::WatchError(status) => status,
        other => return other.to_string(),
    };
    match status.code {
        FORBIDDEN => format!("{}; the account needs the verbs list and watch", status.message),
        _ => status.message.clone(),
    }
}

#[cfg(test)]
mod tests;
