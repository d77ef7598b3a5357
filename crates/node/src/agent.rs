//! The node agent as a whole: starts its parts in order, and ends them in the reverse order.

use std::{convert::Infallible, fs, os::unix::fs::DirBuilderExt, pin::pin, sync::Arc, time::Duration};

use follow::{EventType, Recorder};
use futures::{FutureExt, StreamExt, future::OptionFuture};
use k8s_openapi::api::core::v1::{Node, ObjectReference};
use kube::{Client, Resource};
use service::Cidr;
use tokio::{
    sync::{Notify, broadcast, oneshot, watch},
    task::JoinSet,
};

use crate::{
    Config, Error, config,
    containerd::{Containerd, Paths},
    cri::{
        self,
        events::{self, Heard},
        messages::{ListImagesRequest, VersionRequest},
    },
    health::{self, Health},
    image::{self, Importer, Looked},
    machine::Machine,
    network::{self, HostPorts, OwnObject},
    pod::{self, Context, News, Registry},
    register::{self, Facts},
    server::Server,
};

/// Container events that a slow worker may be behind before it must look at the runtime's lists.
const NEWS: usize = 1024;
/// How long the runtime may take to notice the network configuration before the cluster is told that it has not.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the node's status is written even when nothing changed, as with the kubelet.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// Images that come one after the other are reported together after this long.
const GROUP: Duration = Duration::from_millis(100);
/// A part that failed is started again after this long.
const RESTART: Duration = Duration::from_secs(1);

/// Runs the node until `shutdown` resolves or something indispensable fails. Sends on `ready` when the Node
/// object says Ready.
///
/// Must be called in the node's network namespace, on the thread of a current-thread tokio runtime: sockets
/// and child processes inherit the namespace of that thread. Pods go on running afterwards; the next run with
/// the same `data_dir` adopts them.
pub async fn run(
    client: Client,
    mut config: Config,
    ready: oneshot::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    // Other programs are told these paths.
    config.data_dir =
        std::path::absolute(&config.data_dir).map_err(Error::file("find", config.data_dir.clone()))?;
    for dir in [config.data_dir.clone(), config.data_dir.join("images"), config.runtime_dir()] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(Error::file("create the folder", dir))?;
    }
    // Before anything else is made there: only a folder with this file is ever removed.
    if !config::is_data_dir(&config.data_dir) {
        fs::write(config.record(), format!("{{\"node\":{:?}}}\n", config.name))
            .map_err(Error::file("write", config.record()))?;
    }
    network::prepare_namespace().await?;
    network::install_plugins(&config)?;
    let mut containerd = None;
    let outcome = tokio::select! {
        outcome = serve(client, &config, &mut containerd, ready) => outcome,
        () = shutdown => Ok(()),
    };
    if let Some(containerd) = containerd {
        containerd.stop().await;
    }
    outcome
}

/// Starts everything, then keeps it running. Ends only with an error.
async fn serve(
    client: Client,
    config: &Config,
    containerd: &mut Option<Containerd>,
    ready: oneshot::Sender<()>,
) -> Result<(), Error> {
    let server = Server::bind(config).await?;
    let machine = Machine::look(&config.data_dir);
    let port = server.port();
    let facts = Facts { machine: machine.clone(), runtime_version: String::new(), port, images: Vec::new() };
    // The cluster gives out the podCIDR while the runtime starts.
    let registration = async {
        let node = register::register(&client, config, &facts, None).await;
        let pod_cidr = register::pod_cidr(&client, &config.name).await?;
        network::write_config(config, pod_cidr)?;
        Ok((node, pod_cidr))
    };
    let ((node, pod_cidr), (runtime, importer)) =
        futures::future::try_join(registration, start_runtime(config, containerd)).await?;
    let unusable = |source| Error::Runtime { socket: config.runtime_socket(), source };
    let version = runtime.version(VersionRequest::default()).await.map_err(unusable)?;
    let runtime_version = format!("{}://{}", version.runtime_name, version.runtime_version);
    let facts = Facts { runtime_version, ..facts };

    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    let (recorder, events) = Recorder::new(client.clone(), "kubelet", Some(&config.name));
    let machine_dns = pod::parse_resolv_conf(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    let health = Arc::new(watch::Sender::new(Health::default()));
    let context = Arc::new(Context {
        client: client.clone(),
        runtime: runtime.clone(),
        runtime_name: version.runtime_name,
        config: config.clone(),
        imported: importer.imported(),
        recorder: recorder.clone(),
        health: health.subscribe(),
        news: broadcast::Sender::new(NEWS),
        machine_dns,
        machine,
        pods: Registry::default(),
        host_ports: HostPorts::new(&config.name),
    });
    tasks.spawn(events.map(Ok));
    let images = Arc::new(Notify::new());
    tasks.spawn(relay(context.clone(), images.clone()).map(Ok));
    tasks.spawn(import(context.clone(), importer, node.object_ref(&()), images.clone()).map(Ok));
    tasks.spawn(follow_runtime(context.clone(), health.clone()).map(Ok));
    tasks.spawn(pod::manage(context.clone()).map(Ok));
    tasks.spawn({
        let context = context.clone();
        async move { context.host_ports.follow().await }.map(Ok)
    });
    tasks.spawn(pod::rotate_logs(context.clone()).map(Ok));
    tasks.spawn(server.serve(context.clone()));
    let identity = Identity { object: watch::Sender::new(node.clone()), pod_cidr, own: OwnObject::default() };
    let lease = register::keep_lease(client.clone(), identity.object.subscribe(), health.subscribe());
    tasks.spawn(lease.map(Ok));
    let (nodes_client, name, own) = (client.clone(), config.name.clone(), identity.own.clone());
    let (changed, changes) = watch::channel(());
    let link = network::follow_uplink(config.internal_ip, health.clone(), changed);
    tasks.spawn(async move {
        link.await;
        Ok(())
    });
    tasks.spawn(async move { network::follow_nodes(nodes_client, &name, &own, changes).await });
    recorder.record(node.object_ref(&()), EventType::Normal, "Starting", "Starting the node agent.".into());
    tokio::select! {
        outcome = report(&context, &facts, &identity, &images, ready) => outcome,
        Some(ended) = tasks.join_next() => ended.unwrap_or_else(|panic| {
            Err(Error::Network(format!("a part of the node agent failed: {panic}")))
        }),
        never = supervise(config, containerd) => match never {},
    }
}

/// What the cluster knows this node by.
struct Identity {
    /// The Node object as we made it last.
    object: watch::Sender<Node>,
    pod_cidr: Cidr,
    own: OwnObject,
}

/// Starts or takes over the runtime and gives it the images of the archives.
async fn start_runtime(
    config: &Config,
    containerd: &mut Option<Containerd>,
) -> Result<(cri::Client, Importer), Error> {
    let socket = config.runtime_socket();
    let unusable = |source| Error::Runtime { socket: socket.clone(), source };
    if config.runtime_endpoint.is_none() {
        *containerd = Some(Containerd::start(&Paths::of(config), &config.runtime_environment).await?);
    }
    tracing::info!(socket = %socket.display(), "the container runtime answers");
    let runtime = cri::Client::new(&socket).map_err(unusable)?;
    let mut importer = Importer::open(config)?;
    match importer.begin(&runtime).await {
        // A foreign runtime has a sandbox image of its own, and perhaps no way to import.
        Err(error) if config.runtime_endpoint.is_some() => tracing::warn!("{error}"),
        begun => begun?,
    }
    tracing::info!("the images are there");
    Ok((runtime, importer))
}

/// Imports archives as they come, and says what cannot be imported.
async fn import(context: Arc<Context>, mut importer: Importer, node: ObjectReference, images: Arc<Notify>) {
    let tell = |looked: Looked| {
        if looked.news {
            images.notify_one();
        }
        for complaint in looked.complaints {
            tracing::warn!("{complaint}");
            context.recorder.record(node.clone(), EventType::Warning, "FailedImport", complaint);
        }
    };
    loop {
        if let Err(error) = image::follow(&mut importer, &context.runtime, tell).await {
            let folder = context.config.images_dir.display();
            tracing::warn!("cannot watch {folder} for archives: {error}; trying again");
        }
        tokio::time::sleep(RESTART).await;
    }
}

/// Starts containerd again when it ends. Containers do not notice.
async fn supervise(config: &Config, containerd: &mut Option<Containerd>) -> Infallible {
    while let Some(running) = containerd {
        running.ended().await;
        tracing::warn!("containerd ended; starting it again");
        tokio::time::sleep(RESTART).await;
        // Until it is there the node says that its runtime is down.
        *containerd = loop {
            match Containerd::start(&Paths::of(config), &config.runtime_environment).await {
                Ok(started) => break Some(started),
                Err(error) => tracing::error!("{error}; trying again"),
            }
            tokio::time::sleep(RESTART).await;
        };
    }
    std::future::pending().await
}

/// Passes the runtime's events on to the workers, and to whoever reports its `images`, for ever.
async fn relay(context: Arc<Context>, images: Arc<Notify>) {
    let tell = |news| {
        // No worker is no mistake.
        let _ = context.news.send(news);
    };
    loop {
        let mut told = events::subscribe(&context.runtime);
        let mut again = pin!(OptionFuture::default());
        loop {
            tokio::select! {
                heard = told.next() => match heard {
                    Some(Heard::Event(event)) => tell(News::Event(event)),
                    Some(Heard::Images) => images.notify_one(),
                    Some(Heard::Listening) => {
                        tell(News::Resync);
                        again.set(Some(tokio::time::sleep(RESTART)).into());
                    }
                    None => break,
                },
                // The lists may have been behind.
                Some(()) = &mut again => {
                    again.set(None.into());
                    tell(News::Resync);
                }
            }
        }
        tokio::time::sleep(RESTART).await;
        tell(News::Resync);
    }
}

/// Follows the runtime's health, and has the workers look at it again when it was silent: events may be late or lost.
async fn follow_runtime(context: Arc<Context>, health: Arc<watch::Sender<Health>>) {
    let news = context.news.clone();
    let compare = || {
        let news = news.clone();
        tokio::spawn(async move {
            let _ = news.send(News::Resync);
            // The lists may have been behind.
            tokio::time::sleep(RESTART).await;
            let _ = news.send(News::Resync);
        });
    };
    health::watch_runtime(context.runtime.clone(), &health, compare).await;
}

/// Reports the node's status: once it is ready, whenever its health changes, and as a heartbeat.
async fn report(
    context: &Context,
    facts: &Facts,
    identity: &Identity,
    images: &Notify,
    ready: oneshot::Sender<()>,
) -> Result<(), Error> {
    let (client, config) = (&context.client, &context.config);
    let mut facts = facts.clone();
    let mut ready = Some(ready);
    let mut told = None;
    let mut health = context.health.clone();
    let _ = tokio::time::timeout(NETWORK_TIMEOUT, health.wait_for(Health::is_ready)).await;
    loop {
        let now = health.borrow_and_update().clone();
        // A runtime that does not answer has the images that it had.
        if now.runtime.is_none()
            && let Ok(list) = context.runtime.list_images(ListImagesRequest {}).await
        {
            facts.images = register::images(list.images, &context.imported);
        }
        match register::report(client, config, &facts, &now).await {
            Ok(()) => {
                if now.is_ready()
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(());
                }
                if told.replace(now.is_ready()) != Some(now.is_ready()) {
                    tell_readiness(context, identity, now.is_ready());
                }
                tokio::select! {
                    changed = health.changed() => if changed.is_err() {
                        std::future::pending::<()>().await;
                    },
                    () = identity.own.deleted.notified() => {}
                    // A node that says itself what is wrong with it has nothing to add.
                    () = identity.own.doubted.notified(), if now.is_ready() => tokio::time::sleep(GROUP).await,
                    // They come in groups.
                    () = images.notified() => tokio::time::sleep(GROUP).await,
                    () = tokio::time::sleep(HEARTBEAT) => {}
                }
            }
            // Someone deleted the Node object; as long as we run, there is one.
            Err(kube::Error::Api(answer)) if answer.code == 404 => {
                let node = register::register(client, config, &facts, Some(identity.pod_cidr)).await;
                identity.object.send_replace(node);
            }
            Err(error) => {
                tracing::warn!("cannot report the status of node {}: {error}", config.name);
                tokio::time::sleep(RESTART).await;
            }
        }
    }
}

fn tell_readiness(context: &Context, identity: &Identity, is_ready: bool) {
    let reason = if is_ready { "NodeReady" } else { "NodeNotReady" };
    let sentence = format!("Node {} status is now: {reason}", context.config.name);
    context.recorder.record(identity.object.borrow().object_ref(&()), EventType::Normal, reason, sentence);
}
