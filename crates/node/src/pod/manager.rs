//! The pods of this node: a worker for each Pod object, and the removal of what no Pod object wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::Duration,
};

use follow::{Event, EventType, Listing, Selection};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use tokio::{sync::watch, task::JoinSet};

use super::{
    context::{Context, full_name, remove_files, remove_sandbox},
    disk, names,
    observed::{self, Lists},
    supervise,
    worker::{Wish, Worker},
};
use crate::{
    Config, cni,
    cri::{
        self,
        messages::{Container, PodSandbox},
    },
};

/// How long to wait before a runtime that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// Watches the pods of this node and keeps a worker for each, for ever. Adopts what the runtime has at start.
pub(crate) async fn manage(context: Arc<Context>) {
    let mut left = what_is_there(&context.runtime).await;
    let (config, known) = (context.config.clone(), known_sandboxes(&left));
    disk::run(move || {
        free_addresses(&config, &known);
        if let Err(error) = close_files(&config) {
            tracing::error!("the pods' files are not closed to others: {error}");
        }
    })
    .await;
    let selector = format!("spec.nodeName={}", context.config.name);
    let pods = follow::objects::<Pod>(context.client.clone(), Selection::all().fields(&selector));
    pin_mut!(pods);
    let mut workers: BTreeMap<String, watch::Sender<Wish>> = BTreeMap::new();
    let mut tasks: JoinSet<String> = JoinSet::new();
    let mut listing = Listing::default();
    // Pods of the first list; the workers of those that have ended may be gone when it is complete.
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    loop {
        let event = tokio::select! {
            event = pods.next() => event,
            Some(ended) = tasks.join_next() => {
                if let Ok(uid) = ended {
                    workers.remove(&uid);
                }
                continue;
            }
        };
        match event {
            Some(Event::Relist) => listing.start(workers.keys().cloned()),
            Some(Event::Apply(pod)) => {
                let uid = names::uid(&pod);
                listing.seen(&uid);
                if !listing.complete() {
                    wanted.insert(uid);
                }
                apply(&context, pod, &mut workers, &mut tasks, &mut left);
            }
            Some(Event::Delete(pod)) => {
                if let Some(worker) = workers.get(&names::uid(&pod)) {
                    worker.send_replace(Wish::Gone(Arc::new(pod)));
                }
            }
            Some(Event::Synced) => {
                let first = !listing.complete();
                for uid in listing.finish() {
                    if let Some(worker) = workers.get(&uid) {
                        worker.send_modify(|wish| *wish = Wish::Gone(wish.pod().clone()));
                    }
                }
                if first {
                    let (left, wanted) = (std::mem::take(&mut left), std::mem::take(&mut wanted));
                    tokio::spawn(remove_orphans(context.clone(), left, wanted));
                }
            }
            None => return,
        }
    }
}

/// What the runtime has, as soon as it says so: it may just be starting again.
async fn what_is_there(runtime: &cri::Client) -> Lists {
    loop {
        match observed::list_all(runtime).await {
            Ok(lists) => return lists,
            Err(error) => {
                tracing::warn!("cannot ask the container runtime for its pods, trying again: {error}");
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn apply(
    context: &Arc<Context>,
    pod: Pod,
    workers: &mut BTreeMap<String, watch::Sender<Wish>>,
    tasks: &mut JoinSet<String>,
    left: &mut Lists,
) {
    let uid = names::uid(&pod);
    let pod = Arc::new(pod);
    if let Some(worker) = workers.get(&uid) {
        context.pods.update(&pod);
        worker.send_replace(Wish::Present(pod));
        return;
    }
    let (sender, wishes) = watch::channel(Wish::Present(pod));
    workers.insert(uid.clone(), sender);
    let lists = left.remove(&uid).unwrap_or_default();
    tasks.spawn(work(context.clone(), uid, wishes, lists));
}

/// Runs a pod's worker to its end, and another in its place should it panic. Returns the pod's uid.
async fn work(
    context: Arc<Context>,
    uid: String,
    wishes: watch::Receiver<Wish>,
    lists: (Vec<PodSandbox>, Vec<Container>),
) -> String {
    let mut known = Some(lists);
    let start = || {
        let (context, wishes, known) = (context.clone(), wishes.clone(), known.take());
        let uid = uid.clone();
        async move {
            let lists = match known {
                Some(lists) => lists,
                None => what_is_there(&context.runtime).await.remove(&uid).unwrap_or_default(),
            };
            Worker::new(context, wishes).run(lists).await;
        }
    };
    let tell = |panic: &str| {
        let pod = wishes.borrow().pod().clone();
        let sentence = format!("The node's work on this pod failed and begins anew: {panic}");
        tracing::error!(pod = full_name(&pod), "{sentence}");
        context.record(&pod, EventType::Warning, "WorkerFailed", sentence);
    };
    supervise::to_the_end(supervise::FIRST, start, tell).await;
    uid
}

/// Lets no one but root and its group into the folder of the pods' files, whoever made it.
fn close_files(config: &Config) -> std::io::Result<()> {
    let dir = names::all_files(config);
    disk::make_private(&dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(disk::PRIVATE))
}

fn known_sandboxes(lists: &Lists) -> BTreeSet<String> {
    lists.values().flat_map(|(sandboxes, _)| sandboxes).map(|sandbox| sandbox.id.clone()).collect()
}

/// Takes back the addresses of sandboxes that the runtime no longer has, as after a boot of the machine.
fn free_addresses(config: &Config, known: &BTreeSet<String>) {
    let books = fs::read_dir(config.cni_dir().join("ipam")).into_iter().flatten().flatten();
    for book in books {
        let kept = cni::ipam::retain(&book.path(), |container, _| known.contains(container));
        kept.unwrap_or_else(|error| tracing::warn!("cannot tidy the pods' address book: {error}"));
    }
}

/// Removes what no Pod object wants: sandboxes with their containers, volumes, logs.
async fn remove_orphans(context: Arc<Context>, orphans: Lists, wanted: BTreeSet<String>) {
    for (uid, (sandboxes, _)) in orphans {
        for sandbox in sandboxes {
            tracing::info!(uid, sandbox = sandbox.id, "removing a sandbox whose pod is gone");
            if let Err(error) = remove_sandbox(&context.runtime, &sandbox.id).await {
                tracing::warn!("cannot remove sandbox {}: {error}", sandbox.id);
            }
        }
    }
    context.host_ports.tidy();
    disk::run(move || remove_unwanted(&context.config, &wanted)).await;
}

/// Removes the folders of all pods but those with these uids.
fn remove_unwanted(config: &Config, wanted: &BTreeSet<String>) {
    let is_wanted = |name: &str| wanted.contains(name.rsplit('_').next().unwrap_or(name));
    for dir in [config.pods_dir(), names::all_files(config)] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_none_or(is_wanted)
                && let Err(error) = remove_files(&entry.path())
            {
                tracing::warn!("cannot remove {}: {error}", entry.path().display());
            }
        }
    }
}
