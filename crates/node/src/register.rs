//! The Node object and its Lease: how the cluster knows this node, and that it lives.

use std::{collections::BTreeMap, time::Duration};

use follow::{Event, Selection};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
            NodeStatus, NodeSystemInfo,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, OwnerReference, Time},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use service::Cidr;
use tokio::sync::watch;

use crate::{
    Config, Error,
    cri::messages::Image,
    health::Health,
    image::{ARCHITECTURE, Imported},
    machine::Machine,
};

/// The version of Kubernetes whose node agent this one behaves like, and who it is.
const VERSION: &str = concat!("v1.36.0+portolan.", env!("CARGO_PKG_VERSION"));
/// Where the Leases of nodes are.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// A node whose Lease is older than this is taken for dead, in seconds (KEP-589).
const LEASE_DURATION: i32 = 40;
/// How often the Lease is renewed (KEP-589).
const RENEWAL: Duration = Duration::from_secs(10);
/// Pods that a node takes.
const MAX_PODS: u32 = 110;
/// How many images the Node object tells of (the kubelet's `nodeStatusMaxImages`).
const MAX_IMAGES: usize = 50;
/// How many names of each, unless it has more tags (the kubelet's `MaxNamesPerImageInNodeStatus`).
const MAX_NAMES: usize = 5;
/// How long a failed request to the API server waits before it is repeated.
const RETRY: Duration = Duration::from_millis(500);

/// What the Node object tells.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The machine.
    pub(crate) machine: Machine,
    /// `containerd://1.6.20`; empty while the runtime is not up.
    pub(crate) runtime_version: String,
    /// The port of the node's API.
    pub(crate) port: u16,
    /// Images that are here.
    pub(crate) images: Vec<ContainerImage>,
}

/// The runtime's images as the Node object tells them: those that came from archives, which somebody may wait for, and
/// of the others the largest, as the kubelet does.
pub(crate) fn images(mut all: Vec<Image>, imported: &Imported) -> Vec<ContainerImage> {
    let is_imported = |image: &Image| image.repo_tags.iter().any(|name| imported.contains(name));
    all.sort_by_key(|image| (!is_imported(image), std::cmp::Reverse(image.size)));
    let count = all.iter().filter(|image| is_imported(image)).count().max(MAX_IMAGES);
    let told = all.into_iter().take(count).map(|image| {
        let room = MAX_NAMES.saturating_sub(image.repo_tags.len()).max(1);
        let digests = image.repo_digests.into_iter().take(room);
        ContainerImage {
            names: Some(digests.chain(image.repo_tags).collect()),
            size_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
        }
    });
    told.collect()
}

/// Makes the Node object, or updates the labels of an older one. The node is not ready yet. `pod_cidr` is what
/// an object that was deleted had, whose pods' network is still set up. Repeats until the API server takes it.
pub(crate) async fn register(
    client: &Client,
    config: &Config,
    facts: &Facts,
    pod_cidr: Option<Cidr>,
) -> Node {
    let nodes = Api::<Node>::all(client.clone());
    let labels = labels(config);
    loop {
        let node = Node {
            metadata: ObjectMeta {
                name: Some(config.name.clone()),
                labels: Some(labels.clone()),
                ..Default::default()
            },
            spec: Some(NodeSpec {
                pod_cidr: pod_cidr.map(|cidr| cidr.to_string()),
                pod_cidrs: pod_cidr.map(|cidr| vec![cidr.to_string()]),
                ..Default::default()
            }),
            status: Some(status(config, facts, &Health::default(), &[])),
        };
        let made = match nodes.create(&PostParams::default(), &node).await {
            Err(kube::Error::Api(answer)) if answer.code == 409 => {
                let patch = json!({"metadata": {"labels": labels}});
                nodes.patch(&config.name, &PatchParams::default(), &Patch::Merge(patch)).await
            }
            made => made,
        };
        match made {
            Ok(node) => return node,
            Err(error) => tracing::warn!("cannot register node {}, trying again: {error}", config.name),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Writes the node's status.
pub(crate) async fn report(
    client: &Client,
    config: &Config,
    facts: &Facts,
    health: &Health,
) -> Result<(), kube::Error> {
    let nodes = Api::<Node>::all(client.clone());
    let old = nodes.get(&config.name).await?.status.and_then(|status| status.conditions).unwrap_or_default();
    let patch = json!({"status": status(config, facts, health, &old)});
    nodes.patch_status(&config.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

/// Waits for the node's podCIDR, which a controller gives out.
pub(crate) async fn pod_cidr(client: &Client, name: &str) -> Result<Cidr, Error> {
    use futures::StreamExt;
    let events = follow::objects::<Node>(client.clone(), Selection::named(name));
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        let Event::Apply(node) = event else { continue };
        if let Some(cidr) = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_ref()) {
            return cidr
                .parse()
                .map_err(|error| Error::Network(format!("spec.podCIDR of node {name}: {error}")));
        }
        tracing::info!("waiting for node {name} to be given a podCIDR");
    }
    Err(Error::Network(format!("the watch of node {name} ended before it had a podCIDR")))
}

/// Renews the Lease of the newest Node object for ever, except while the node's link is down: an API server in the same
/// process must not believe more than one that is reached over that link.
pub(crate) async fn keep_lease(
    client: Client,
    node: watch::Receiver<Node>,
    mut health: watch::Receiver<Health>,
) {
    let leases = Api::<Lease>::namespaced(client, LEASE_NAMESPACE);
    let name = node.borrow().name_any();
    let mut ticks = tokio::time::interval(RENEWAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if health.wait_for(|health| health.link.is_none()).await.is_err() {
            return;
        }
        let renewed = json!({"spec": {"renewTime": MicroTime(Timestamp::now())}});
        let result = match leases.patch(&name, &PatchParams::default(), &Patch::Merge(renewed)).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => {
                let lease = lease(&node.borrow());
                leases.create(&PostParams::default(), &lease).await
            }
            patched => patched,
        };
        if let Err(error) = result {
            tracing::warn!("cannot renew the Lease of node {name}: {error}");
            ticks.reset_after(RETRY);
        }
    }
}

fn lease(node: &Node) -> Lease {
    let now = MicroTime(Timestamp::now());
    let owner = OwnerReference {
        api_version: Node::api_version(&()).into(),
        kind: Node::kind(&()).into(),
        name: node.name_any(),
        uid: node.uid().unwrap_or_default(),
        ..Default::default()
    };
    Lease {
        metadata: ObjectMeta {
            name: Some(node.name_any()),
            namespace: Some(LEASE_NAMESPACE.into()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node.name_any()),
            lease_duration_seconds: Some(LEASE_DURATION),
            renew_time: Some(now),
            ..Default::default()
        }),
    }
}

/// The well-known labels of a node, and the configured ones.
fn labels(config: &Config) -> BTreeMap<String, String> {
    let known = [
        ("kubernetes.io/hostname", config.name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", ARCHITECTURE),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", ARCHITECTURE),
    ];
    let known = known.map(|(key, value)| (key.to_owned(), value.to_owned()));
    known.into_iter().chain(config.labels.clone()).collect()
}

fn status(config: &Config, facts: &Facts, health: &Health, old: &[NodeCondition]) -> NodeStatus {
    let machine = &facts.machine;
    let resources: BTreeMap<String, Quantity> = [
        ("cpu", machine.cpus.to_string()),
        ("memory", format!("{}Ki", machine.memory / 1024)),
        ("ephemeral-storage", format!("{}Ki", machine.storage / 1024)),
        ("pods", MAX_PODS.to_string()),
    ]
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .into();
    let address = |type_: &str, address: String| NodeAddress { type_: type_.into(), address };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.internal_ip.to_string()),
            address("Hostname", config.name.clone()),
        ]),
        capacity: Some(resources.clone()),
        images: Some(facts.images.clone()),
        allocatable: Some(resources),
        conditions: Some(conditions(health.problems().as_deref(), old, Timestamp::now())),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(facts.port) }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: ARCHITECTURE.into(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: facts.runtime_version.clone(),
            kernel_version: machine.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: VERSION.into(),
            machine_id: machine.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.machine_id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The node's conditions; it is not ready because of `problem`.
fn conditions(problem: Option<&str>, old: &[NodeCondition], now: Timestamp) -> Vec<NodeCondition> {
    let ready = match problem {
        None => ("Ready", "True", "KubeletReady", "the node agent is posting ready status"),
        Some(problem) => ("Ready", "False", "KubeletNotReady", problem),
    };
    let well = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "the node has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "the node has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "the node has sufficient PIDs available"),
    ];
    let condition = |(type_, status, reason, message): (&str, &str, &str, &str)| NodeCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: old
            .iter()
            .find(|old| old.type_ == type_ && old.status == status)
            .and_then(|old| old.last_transition_time.clone())
            .or(Some(Time(now))),
    };
    well.into_iter().chain([ready]).map(condition).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    #[test]
    fn a_condition_keeps_its_transition_time_while_its_status_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = conditions(Some("the runtime is down"), &[], at(1));
        assert_eq!(first.last().unwrap().message.as_deref(), Some("the runtime is down"));
        let second = conditions(None, &first, at(2));
        let time = |type_: &str| {
            second.iter().find(|condition| condition.type_ == type_).unwrap().last_transition_time.clone()
        };
        assert_eq!(time("MemoryPressure"), Some(Time(at(1))));
        assert_eq!(time("Ready"), Some(Time(at(2))));
    }

    #[test]
    fn configured_labels_join_the_well_known_ones() {
        let mut config = config("/d");
        config.labels.insert("zone".into(), "a".into());
        let labels = labels(&config);
        assert_eq!((labels["kubernetes.io/hostname"].as_str(), labels["zone"].as_str()), ("node1", "a"));
    }

    #[test]
    fn images_from_archives_are_all_told_and_of_the_others_the_largest() {
        let image = |name: String, size| Image { repo_tags: vec![name], size, ..Default::default() };
        let mut all: Vec<Image> =
            (0..60).map(|number| image(format!("pulled{number}:1"), 100 + number)).collect();
        all.push(image("docker.io/library/small:latest".into(), 1));
        let told = images(all, &Imported::of(&["small"]));
        assert_eq!(told.len(), MAX_IMAGES);
        assert_eq!(told[0].names.as_deref().unwrap(), ["docker.io/library/small:latest"]);
        assert_eq!((told[1].size_bytes, told[49].size_bytes), (Some(159), Some(111)));
    }
}
