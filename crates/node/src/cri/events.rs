//! What happens to containers, told by the runtime as it happens.
//!
//! containerd publishes them on its own event service, in every version and on the same socket, and says how
//! a process ended. Other runtimes offer the CRI's `GetContainerEvents` (evented PLEG, KEP-3386).

use std::time::Duration;

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::{Request, metadata::MetadataValue, transport::Channel};
use tonic_prost::ProstCodec;

use super::{
    client::{Client, RuntimeError},
    messages::{ContainerEventResponse, ContainerEventType, GetEventsRequest},
};

/// The containerd namespace in which its CRI plugin keeps everything.
pub const CONTAINERD_NAMESPACE: &str = "k8s.io";
/// The topic of events that mean nothing but that they are told.
const MARKER: &str = "/portolan/marker";
/// How long to wait for a marker before another one is made.
const MARKER_STEP: Duration = Duration::from_millis(20);
/// How long the runtime may take to publish one.
const MARKER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a subscription brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// From here on every event is told. What happened before may have been missed, so compare with the runtime's
    /// lists, which may themselves be a moment behind the last event before this.
    Listening,
    /// Something happened.
    Event(Event),
    /// The images are others than before.
    Images,
}

/// Something that happened to a container or to the process that holds a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Id of the container, or of the sandbox.
    pub container_id: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// Its main process ended. containerd tells how; from others, ask for the container's status.
    Exited(Option<Exit>),
    /// The kernel killed a process of it because its memory limit was reached.
    OutOfMemory,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exit {
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// When, in nanoseconds since the epoch.
    pub at: i64,
}

/// Subscribes to the runtime's events. The request goes out when the stream is first polled. The stream ends
/// when the runtime goes away; subscribe again then.
pub fn subscribe(client: &Client) -> BoxStream<'static, Heard> {
    let client = client.clone();
    stream::once(async move {
        match containerd_events(&client).await {
            Err(error) if error.is_unimplemented() => cri_events(&client).await,
            answer => answer,
        }
        .map(|events| stream::iter([Heard::Listening]).chain(events).boxed())
        .unwrap_or_else(|error| {
            tracing::warn!("cannot watch the container runtime's events: {error}");
            stream::empty().boxed()
        })
    })
    .flatten()
    .boxed()
}

async fn cri_events(client: &Client) -> Result<BoxStream<'static, Heard>, RuntimeError> {
    let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/GetContainerEvents");
    let events =
        server_streaming::<_, ContainerEventResponse>(client, path, Request::new(GetEventsRequest {}))
            .await?;
    Ok(events
        .filter_map(|event| async move {
            (event.container_event_type() == ContainerEventType::Stopped).then_some(Heard::Event(Event {
                container_id: event.container_id,
                kind: EventKind::Exited(None),
            }))
        })
        .boxed())
}

/// containerd answers a subscription only with its first event. So that it is known from when on events are told,
/// some are made until one of them comes back.
async fn containerd_events(client: &Client) -> Result<BoxStream<'static, Heard>, RuntimeError> {
    let subscribed = async {
        let filters =
            ["/tasks/exit", "/tasks/oom", "/images/create", "/images/update", "/images/delete", MARKER]
                .map(|topic| format!("namespace==\"{CONTAINERD_NAMESPACE}\",topic==\"{topic}\""));
        let request = of_containerd(SubscribeRequest { filters: filters.to_vec() });
        let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
        let mut envelopes = server_streaming::<_, Envelope>(client, path, request).await?.boxed();
        let first = envelopes.next().await;
        Ok::<_, RuntimeError>(stream::iter(first).chain(envelopes))
    };
    let marking = async {
        loop {
            let published = tokio::time::timeout(MARKER_TIMEOUT, publish_marker(client)).await;
            if let Ok(Err(error)) = published {
                tracing::debug!("no marker among the container runtime's events: {error}");
            }
            tokio::time::sleep(MARKER_STEP).await;
        }
    };
    let envelopes = tokio::select! {
        subscribed = subscribed => subscribed?,
        () = marking => unreachable!("it goes on until the first event"),
    };
    Ok(envelopes.filter_map(|envelope| async move { decode(&envelope) }).boxed())
}

/// Makes an event that means nothing.
async fn publish_marker(client: &Client) -> Result<(), RuntimeError> {
    let event = Any { type_url: "portolan.dev/Marker".to_owned(), value: Vec::new() };
    let request = of_containerd(PublishRequest { topic: MARKER.to_owned(), event: Some(event) });
    let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Publish");
    let mut grpc = ready(client).await?;
    grpc.unary(request, path, ProstCodec::<PublishRequest, Empty>::default()).await?;
    Ok(())
}

/// A request to a service of containerd itself.
fn of_containerd<Q>(message: Q) -> Request<Q> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(CONTAINERD_NAMESPACE));
    request
}

async fn ready(client: &Client) -> Result<tonic::client::Grpc<Channel>, RuntimeError> {
    let mut grpc = client.grpc();
    grpc.ready().await.map_err(|error| {
        tonic::Status::unavailable(format!("the container runtime cannot be reached: {error}"))
    })?;
    Ok(grpc)
}

async fn server_streaming<Q, A>(
    client: &Client,
    path: PathAndQuery,
    request: Request<Q>,
) -> Result<impl Stream<Item = A> + Send + use<Q, A>, RuntimeError>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut grpc = ready(client).await?;
    let answer = grpc.server_streaming(request, path, ProstCodec::<Q, A>::default()).await?.into_inner();
    Ok(answer.take_while(|item| std::future::ready(item.is_ok())).filter_map(|item| async { item.ok() }))
}

/// Reads one envelope of containerd's event service; `None` for what does not concern a main process.
fn decode(envelope: &Envelope) -> Option<Heard> {
    if envelope.topic.starts_with("/images/") {
        return Some(Heard::Images);
    }
    let any = envelope.event.as_ref()?;
    match envelope.topic.as_str() {
        "/tasks/exit" => {
            let exit = TaskExit::decode(any.value.as_slice()).ok()?;
            // An exec in the container exits with its own id.
            let main = exit.id.is_empty() || exit.id == exit.container_id;
            let nanoseconds =
                |at: Timestamp| at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos));
            let at = exit.exited_at.map_or(0, nanoseconds);
            let code = i32::try_from(exit.exit_status).unwrap_or(i32::MAX);
            main.then_some(Heard::Event(Event {
                container_id: exit.container_id,
                kind: EventKind::Exited(Some(Exit { code, at })),
            }))
        }
        "/tasks/oom" => {
            let oom = TaskOom::decode(any.value.as_slice()).ok()?;
            Some(Heard::Event(Event { container_id: oom.container_id, kind: EventKind::OutOfMemory }))
        }
        _ => None,
    }
}

/// `containerd.services.events.v1.SubscribeRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct SubscribeRequest {
    #[prost(string, repeated, tag = "1")]
    filters: Vec<String>,
}

/// `containerd.services.events.v1.PublishRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct PublishRequest {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(message, optional, tag = "2")]
    event: Option<Any>,
}

/// `google.protobuf.Empty`.
#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

/// `containerd.types.Envelope`.
#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(string, tag = "3")]
    topic: String,
    #[prost(message, optional, tag = "4")]
    event: Option<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// `containerd.events.TaskExit`.
#[derive(Clone, PartialEq, prost::Message)]
struct TaskExit {
    #[prost(string, tag = "1")]
    container_id: String,
    #[prost(string, tag = "2")]
    id: String,
    #[prost(uint32, tag = "4")]
    exit_status: u32,
    #[prost(message, optional, tag = "5")]
    exited_at: Option<Timestamp>,
}

/// `containerd.events.TaskOOM`.
#[derive(Clone, PartialEq, prost::Message)]
struct TaskOom {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(id: &str) -> Envelope {
        let exit = TaskExit {
            container_id: "c1".into(),
            id: id.into(),
            exit_status: 137,
            exited_at: Some(Timestamp { seconds: 2, nanos: 5 }),
        };
        Envelope {
            namespace: CONTAINERD_NAMESPACE.into(),
            topic: "/tasks/exit".into(),
            event: Some(Any { type_url: "containerd.events.TaskExit".into(), value: exit.encode_to_vec() }),
        }
    }

    #[test]
    fn the_end_of_the_main_process_is_an_exit_of_the_container() {
        let kind = EventKind::Exited(Some(Exit { code: 137, at: 2_000_000_005 }));
        let event = Event { container_id: "c1".into(), kind };
        assert_eq!(decode(&exit("c1")), Some(Heard::Event(event)));
    }

    #[test]
    fn the_end_of_an_exec_is_no_exit_of_the_container() {
        assert_eq!(decode(&exit("exec-1")), None);
    }
}
