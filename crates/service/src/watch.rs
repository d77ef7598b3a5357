//! Filling the model from an API server.

mod watched;

use std::future::ready;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use kube::core::Status;
use kube::runtime::utils::{Backoff, StreamBackoff};
use kube::runtime::watcher::{self, Error, watcher};
use kube::{Api, Client};

use crate::Event;
use crate::objects::Object;
use watched::Watched;

/// HTTP's status for a resource version that is no longer kept.
const GONE: u16 = 410;
/// HTTP's status for what an account has no right to.
const FORBIDDEN: u16 = 403;

/// Lists and watches the objects of a kind in all namespaces, for ever.
///
/// `fields` is a field selector such as `metadata.name=node1`, empty for all objects. A lost watch goes on where
/// it was, or lists again; its errors are logged here, since nobody else can do anything about them. An object that
/// cannot be read comes as its [`Object::unreadable`], or not at all.
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
    let follower = Follower::<T>::new(client, config);
    let heard = stream::unfold(follower, |mut follower| async move {
        let heard = follower.next().await;
        Some((heard, follower))
    });
    StreamBackoff::new(heard, Retry::default()).filter_map(|heard| {
        ready(heard.unwrap_or_else(|error| {
            tracing::warn!(kind = T::KIND, error = words(&error), "the watch failed; trying again");
            None
        }))
    })
}

/// What a watch says next; `None` for something that nobody needs to know.
type Heard<T> = Result<Option<Event<T>>, watcher::Error>;

/// A watch that begins anew where the kube client's own would try the same for ever.
struct Follower<T> {
    client: Client,
    config: watcher::Config,
    /// Whether objects are read one by one, so that one that cannot be read stands for itself only.
    careful: bool,
    heard: BoxStream<'static, Heard<T>>,
}

impl<T: Object> Follower<T> {
    fn new(client: Client, config: watcher::Config) -> Self {
        let heard = listen::<T, false>(client.clone(), config.clone());
        Self { client, config, careful: false, heard }
    }

    async fn next(&mut self) -> Heard<T> {
        let heard = self.heard.next().await.unwrap_or(Ok(None));
        let (unreadable, gone) = match &heard {
            Err(Error::InitialListFailed(error) | Error::WatchFailed(error)) => {
                (is_unreadable(error) && !self.careful, false)
            }
            // Most servers say by an event that the place to go on from is no longer kept, some by the answer's code.
            Err(Error::WatchStartFailed(kube::Error::Api(status))) => (false, status.code == GONE),
            _ => (false, false),
        };
        if unreadable || gone {
            self.careful |= unreadable;
            let listen = if self.careful { listen::<T, true> } else { listen::<T, false> };
            self.heard = listen(self.client.clone(), self.config.clone());
        }
        heard
    }
}

/// Whether the server's words could not be read. The kube client takes a watch event that is none for a Status, of
/// which no field is there.
fn is_unreadable(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(_) => true,
        kube::Error::Api(status) => **status == Status::default(),
        _ => false,
    }
}

/// An error for a person: what the server says, without what programs read, and what to do where that is known.
fn words(error: &Error) -> String {
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

/// Lists and watches; each error is followed by another try.
fn listen<T: Object, const CAREFUL: bool>(
    client: Client,
    config: watcher::Config,
) -> BoxStream<'static, Heard<T>> {
    let events = watcher(Api::<Watched<T, CAREFUL>>::all(client), config);
    events
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_what_the_server_says_once() {
        let said = |code, message: &str| {
            let status = Status { code, message: message.to_owned(), ..Status::default() };
            words(&Error::InitialListFailed(kube::Error::Api(status.into())))
        };
        assert_eq!(said(500, "etcd is away"), "etcd is away");
        assert_eq!(
            said(FORBIDDEN, "pods is forbidden: User \"a\" cannot list resource \"pods\""),
            "pods is forbidden: User \"a\" cannot list resource \"pods\"; the account needs the verbs list and watch"
        );
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
