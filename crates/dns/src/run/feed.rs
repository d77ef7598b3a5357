//! Keeping tables of names up to date with the objects of clusters.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use follow::Selection;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use service::Event;
use service::manifest::Objects;
use service::objects::{
    EndpointSlice, ImportedSlice, Namespace, Object, Pod, PodNamedSlice, Service, ServiceImport,
};
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::names::{Input, Names};
use crate::plugin::Plugins;
use crate::plugin::autopath::SearchPath;
use crate::plugin::kubernetes::{ApiServer, KubernetesOptions, PodRecords, Selector};
use crate::zone::{Change, RecordOptions, Table};

/// The most events in one batch, which bounds memory.
const EVENTS: usize = 4096;

/// Where the objects of clusters come from.
#[derive(Clone)]
pub enum Source {
    /// API servers that the Corefile names, and no others.
    Corefile,
    /// An API server, unless the Corefile names another.
    Api(kube::Client),
    /// Files.
    Objects(Arc<Objects>),
    /// A stream of events, for tests. The first table takes it.
    Events(Arc<std::sync::Mutex<Option<BoxStream<'static, Input>>>>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Corefile => "Corefile",
            Self::Api(_) => "Api",
            Self::Objects(_) => "Objects",
            Self::Events(_) => "Events",
        })
    }
}

impl Source {
    /// A stream of events.
    pub fn events(events: impl Stream<Item = Input> + Send + 'static) -> Self {
        Self::Events(Arc::new(std::sync::Mutex::new(Some(events.boxed()))))
    }
}

/// Tables of names, each with the task that keeps it up to date.
#[derive(Debug)]
pub(super) struct Feeds {
    source: Source,
    metrics: Metrics,
    feeds: Vec<Feed>,
}

#[derive(Debug)]
struct Feed {
    /// What the table depends on.
    key: FeedKey,
    table: Arc<Table>,
    synced: signal::Receiver<bool>,
    task: JoinHandle<()>,
}

/// What a table of names depends on. Server blocks with equal keys share a table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FeedKey {
    api: ApiServer,
    namespace_labels: Option<Selector>,
    labels: Option<Selector>,
    records: RecordOptions,
    endpoints: bool,
    pods: bool,
    /// Whether endpoints without a hostname are named after their pods.
    name_pods: bool,
    /// Whether the names are those of ServiceImports (KEP-1645).
    imports: bool,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FeedKey {
    fn of(kubernetes: &KubernetesOptions, with_paths: bool) -> Self {
        Self {
            api: kubernetes.api.clone(),
            namespace_labels: kubernetes.namespace_labels.clone(),
            labels: kubernetes.labels.clone(),
            records: RecordOptions { ignore_empty: kubernetes.ignore_empty },
            endpoints: !kubernetes.no_endpoints,
            pods: with_paths || kubernetes.pods == PodRecords::Verified,
            name_pods: kubernetes.endpoint_pod_names,
            imports: false,
        }
    }

    /// The key of the table of the multicluster zones of the same directive.
    fn imported(&self) -> Self {
        Self { pods: false, name_pods: false, imports: true, ..self.clone() }
    }
}

/// The keys of the tables of a configuration.
fn keys(config: &Config) -> Vec<FeedKey> {
    let blocks = config.blocks.iter();
    blocks.flat_map(|block| [key_of(&block.plugins), imports(&block.plugins)]).flatten().collect()
}

/// The key of the table of the multicluster zones of a server block.
fn imports(plugins: &Plugins) -> Option<FeedKey> {
    plugins.kubernetes.as_ref().filter(|kubernetes| !kubernetes.multicluster.is_empty())?;
    key_of(plugins).map(|key| key.imported())
}

/// The key of the table of a server block.
fn key_of(plugins: &Plugins) -> Option<FeedKey> {
    let with_paths = plugins.autopath.as_ref().is_some_and(|autopath| autopath.search == SearchPath::Pods);
    plugins.kubernetes.as_ref().map(|kubernetes| FeedKey::of(kubernetes, with_paths))
}

impl Feeds {
    /// No tables yet.
    pub(super) fn new(source: Source, metrics: Metrics) -> Self {
        Self { source, metrics, feeds: Vec::new() }
    }

    /// Starts the tables that a configuration needs and that are not there yet.
    pub(super) async fn follow(&mut self, config: &Config) -> Result<(), Error> {
        for key in keys(config) {
            if !self.feeds.iter().any(|feed| feed.key == key) {
                self.feeds.push(Feed::start(key, &self.source, &self.metrics).await?);
            }
        }
        Ok(())
    }

    /// Waits until all tables are complete, at most as long as the configuration says (`startup_timeout`).
    pub(super) async fn settle(&self, config: &Config) {
        let patience = config.blocks.iter().filter_map(|block| block.plugins.kubernetes.as_ref());
        let patience = patience.map(|kubernetes| kubernetes.startup).max().unwrap_or_default();
        if tokio::time::timeout(patience, self.synced()).await.is_err() {
            tracing::warn!(
                "the names of the new Corefile are not all known yet; queries for them fail until then"
            );
        }
    }

    /// Drops the tables that a configuration does not need.
    pub(super) fn forget_others(&mut self, config: &Config) {
        let wanted = keys(config);
        self.feeds.retain(|feed| wanted.contains(&feed.key));
    }

    /// The table of a server block.
    pub(super) fn table(&self, plugins: &Plugins) -> Option<Arc<Table>> {
        self.table_of(&key_of(plugins)?)
    }

    /// The table of the multicluster zones of a server block.
    pub(super) fn imported(&self, plugins: &Plugins) -> Option<Arc<Table>> {
        self.table_of(&imports(plugins)?)
    }

    fn table_of(&self, key: &FeedKey) -> Option<Arc<Table>> {
        self.feeds.iter().find(|feed| feed.key == *key).map(|feed| feed.table.clone())
    }

    /// Waits until the first lists of all objects are complete.
    pub(super) async fn synced(&self) {
        for feed in &self.feeds {
            let mut synced = feed.synced.clone();
            if synced.wait_for(|synced| *synced).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until a stream of events ends.
    pub(super) async fn ended(&self) {
        let ends = self.feeds.iter().map(|feed| {
            let mut synced = feed.synced.clone();
            Box::pin(async move { while synced.changed().await.is_ok() {} })
        });
        let ends: Vec<_> = ends.collect();
        if ends.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(ends).await;
    }
}

impl Feed {
    async fn start(key: FeedKey, source: &Source, metrics: &Metrics) -> Result<Self, Error> {
        let events = events(&key, source).await?;
        let table = Arc::new(Table::new());
        let (tell, synced) = signal::channel(false);
        let names = Names::new(key.records, key.pods);
        let task = tokio::spawn(keep_current(events, names, table.clone(), tell, metrics.clone()));
        Ok(Self { key, table, synced, task })
    }
}

/// Applies events to a table until they end. All events that are ready are one batch.
async fn keep_current(
    events: impl Stream<Item = Input>,
    mut names: Names,
    table: Arc<Table>,
    synced: signal::Sender<bool>,
    metrics: Metrics,
) {
    let mut events = pin!(events.ready_chunks(EVENTS));
    while let Some(batch) = events.next().await {
        let triggers = if *synced.borrow() { triggers(&batch) } else { Vec::new() };
        let listed = batch.iter().any(is_end_of_list);
        let changes = names.take(batch);
        let done = matches!(changes.last(), Some(Change::Synced));
        let (count, now) = (changes.len(), seconds());
        changes.into_iter().for_each(|change| table.apply(change, now));
        for (kind, trigger) in triggers {
            let took = jiff::Timestamp::now().duration_since(trigger);
            metrics.programmed(kind, Duration::try_from(took).unwrap_or_default());
        }
        tracing::debug!(changes = count, "names published");
        if listed {
            follow::give_back_memory();
        }
        if done {
            tracing::info!(changes = count, "the cluster's names are known");
            synced.send_replace(true);
        }
    }
}

/// Whether an event ends a list. The memory of the list can then be given back.
fn is_end_of_list(input: &Input) -> bool {
    matches!(
        input,
        Input::Service(Event::Synced)
            | Input::Slice(Event::Synced)
            | Input::Namespace(Event::Synced)
            | Input::Pod(Event::Synced)
    )
}

/// The times at which the changes in EndpointSlices were triggered, with the kind of their Service as metrics call it.
fn triggers(batch: &[Input]) -> Vec<(&'static str, jiff::Timestamp)> {
    let slices = batch.iter().filter_map(|input| match input {
        Input::Slice(Event::Apply(slice)) => Some(slice),
        _ => None,
    });
    let timed = slices.filter_map(|slice| {
        let kind = if slice.headless { "headless_with_selector" } else { "cluster_ip" };
        Some((kind, slice.trigger_time.as_deref()?.parse().ok()?))
    });
    timed.collect()
}

/// The time in seconds since 1970, from which serial numbers are made.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn events(key: &FeedKey, source: &Source) -> Result<BoxStream<'static, Input>, Error> {
    let client = match (source, key.api == ApiServer::default()) {
        (Source::Events(events), _) => {
            let events = events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
            return Ok(events.unwrap_or_else(|| stream::pending().boxed()));
        }
        (Source::Objects(objects), _) => return Ok(from_objects(objects, key)),
        (Source::Api(client), true) => client.clone(),
        (Source::Api(_) | Source::Corefile, false) => connect(&key.api).await?,
        (Source::Corefile, true) => {
            return Err(Error::Api("the Corefile does not say where it is, nor does anything else".into()));
        }
    };
    let labels = key.labels.as_ref().map_or("", |selector| &selector.text);
    let namespaces = key.namespace_labels.as_ref().map_or("", |selector| &selector.text);
    let services = match key.imports {
        false => {
            follow::slim_objects(client.clone(), Selection::all().labels(labels)).map(Input::Service).boxed()
        }
        true => follow::slim_objects(client.clone(), Selection::all().labels(labels))
            .map(|event: Event<ServiceImport>| Input::Service(event.map(|import| import.0)))
            .boxed(),
    };
    let slices = match (key.endpoints, key.imports, key.name_pods) {
        (false, ..) => stream::iter([Input::Slice(Event::Synced)]).chain(stream::pending()).boxed(),
        (_, true, _) => follow::slim_objects(client.clone(), Selection::all().labels(labels))
            .map(|event: Event<ImportedSlice>| Input::Slice(event.map(|slice| slice.0)))
            .boxed(),
        (_, _, true) => follow::slim_objects(client.clone(), Selection::all().labels(labels))
            .map(|event: Event<PodNamedSlice>| Input::Slice(event.map(|slice| slice.0)))
            .boxed(),
        _ => follow::slim_objects(client.clone(), Selection::all().labels(labels)).map(Input::Slice).boxed(),
    };
    let namespaces = follow::slim_objects(client.clone(), Selection::all().labels(namespaces))
        .map(Input::Namespace)
        .boxed();
    let mut streams = vec![services, slices, namespaces];
    if key.pods {
        streams.push(follow::slim_objects(client, Selection::all()).map(Input::Pod).boxed());
    }
    Ok(stream::select_all(streams).boxed())
}

/// A client of the API server that a Corefile names.
async fn connect(api: &ApiServer) -> Result<kube::Client, Error> {
    fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Api(error.into())
    }
    let config = match (&api.kubeconfig, &api.url) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(unreachable)?;
            let options = KubeConfigOptions { context: api.context.clone(), ..KubeConfigOptions::default() };
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unreachable)?
        }
        (None, Some(url)) => {
            let files = api
                .tls
                .as_ref()
                .map(|files| files.each_ref().map(|file: &PathBuf| file.display().to_string()));
            let [certificate, key, ca] = files.map_or([None, None, None], |files| files.map(Some));
            let text = serde_json::json!({
                "apiVersion": "v1", "kind": "Config", "current-context": "corefile",
                "clusters": [{"name": "corefile", "cluster": {"server": url, "certificate-authority": ca}}],
                "users": [{"name": "corefile", "user": {"client-certificate": certificate, "client-key": key}}],
                "contexts": [{"name": "corefile", "context": {"cluster": "corefile", "user": "corefile"}}],
            });
            let kubeconfig = serde_json::from_value(text).map_err(unreachable)?;
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unreachable)?
        }
        (None, None) => kube::Config::infer().await.map_err(unreachable)?,
    };
    kube::Client::try_from(config).map_err(unreachable)
}

/// The events of the objects in files; the stream does not end.
fn from_objects(objects: &Objects, key: &FeedKey) -> BoxStream<'static, Input> {
    let (services, slices, kind) = match key.imports {
        true => (&objects.imports, &objects.imported_slices, ServiceImport::KIND),
        false => (&objects.services, &objects.slices, Service::KIND),
    };
    let slices = if key.endpoints { &slices[..] } else { &[] };
    let (labels, of_namespaces) = (&key.labels, &key.namespace_labels);
    let inputs = [
        selected(objects, &objects.namespaces, (Namespace::KIND, of_namespaces), Input::Namespace),
        selected(objects, services, (kind, labels), Input::Service),
        selected(objects, slices, (EndpointSlice::KIND, labels), Input::Slice),
        selected(objects, &objects.pods, (Pod::KIND, &None), Input::Pod),
    ];
    stream::iter(inputs.into_iter().flatten()).chain(stream::pending()).boxed()
}

/// The events of the objects that a selector matches, and the end of their list.
fn selected<T: Object>(
    objects: &Objects,
    list: &[T],
    (kind, selector): (&'static str, &Option<Selector>),
    input: fn(Event<T>) -> Input,
) -> Vec<Input> {
    let finds = |object: &&T| {
        let labels = || objects.labels(kind, object.metadata());
        selector.as_ref().is_none_or(|selector| selector.meaning.matches(labels()))
    };
    list.iter().filter(finds).cloned().map(Event::Apply).chain([Event::Synced]).map(input).collect()
}
