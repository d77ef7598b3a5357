//! The watches on an API server, as one stream.

use std::time::Duration;

use follow::{Event, Selection};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use kube::Client;
use service::objects::{EndpointSlice, Node, Object, Service, ServiceCidr};

/// How many events one transaction takes in at most. Bounds memory; whatever waits beyond goes into the next.
const EVENTS: usize = 8192;
/// How long to wait before the API server is asked again which kinds it has.
const RETRY: Duration = Duration::from_secs(1);

/// One event of any of the watches.
#[derive(Debug)]
pub(super) enum Input {
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
    Node(Event<Node>),
    ServiceCidr(Event<ServiceCidr>),
}

/// Whatever is ready is one batch: while a transaction is under way events pile up and share the next. Each watch
/// begins with all there is.
pub(super) fn batches(client: &Client, node_name: &str) -> BoxStream<'static, Vec<Input>> {
    let watches = [
        follow::slim_objects(client.clone(), Selection::all()).map(Input::Service).boxed(),
        follow::slim_objects(client.clone(), Selection::all()).map(Input::Slice).boxed(),
        follow::slim_objects(client.clone(), Selection::named(node_name)).map(Input::Node).boxed(),
        service_cidrs(client.clone()).map(Input::ServiceCidr).boxed(),
    ];
    stream::select_all(watches).ready_chunks(EVENTS).boxed()
}

/// Events of ServiceCIDRs; none from an API server that has no such kind (before Kubernetes 1.33).
fn service_cidrs(client: Client) -> impl Stream<Item = Event<ServiceCidr>> {
    let known = async move {
        let version = format!("{}/{}", ServiceCidr::GROUP, ServiceCidr::VERSION);
        loop {
            match client.list_api_group_resources(&version).await {
                Ok(list) if list.resources.iter().any(|kind| kind.name == ServiceCidr::PLURAL) => {
                    return follow::slim_objects(client, Selection::all()).boxed();
                }
                Ok(_) | Err(kube::Error::Api(_)) => return stream::pending().boxed(),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    stream::once(known).flatten()
}
