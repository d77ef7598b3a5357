//! A cluster that stands still: objects from text, looked at from a node.

use std::net::IpAddr;
use std::sync::Arc;

use service::manifest::Objects;
use service::objects::{Node, Pod};
use service::{Changed, Cluster, Event};

use crate::config::Config;
use crate::sight::{NodeFacts, Sight};

/// Objects that do not change, and the node and configuration they are looked at with.
#[derive(Debug)]
pub struct Still {
    cluster: Cluster,
    node: NodeFacts,
    config: Config,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    problems: Vec<String>,
}

impl Still {
    /// Looks at these objects from the node that the configuration names. What the node has is taken from its Node
    /// object; `interface_addresses` are those that its interfaces have, as far as they are known.
    pub fn new(objects: Objects, config: Config, interface_addresses: Vec<IpAddr>) -> Self {
        let problems = problems(&objects);
        let mut cluster = Cluster::new();
        let mut changed = Changed::new();
        for service in objects.services {
            cluster.service_event(Event::Apply(service), &mut changed);
        }
        for slice in objects.slices {
            cluster.slice_event(Event::Apply(slice), &mut changed);
        }
        let service_cidrs = objects.service_cidrs.iter().flat_map(|object| object.cidrs.iter().copied());
        let mut node = NodeFacts {
            service_cidrs: service_cidrs.collect(),
            interface_addresses,
            ..NodeFacts::unknown(&config)
        };
        if let Some(object) = objects.nodes.iter().find(|node| node.metadata.name == config.node_name) {
            node.see(object);
        }
        if node.interface_addresses.is_empty() {
            node.interface_addresses.clone_from(&node.addresses);
        }
        Self { cluster, node, config, nodes: objects.nodes, pods: objects.pods, problems }
    }

    /// What a mode compiles.
    pub fn sight(&self) -> Sight<'_> {
        Sight { cluster: &self.cluster, node: &self.node, config: &self.config }
    }

    /// The Nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The Pods.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// What the objects say that cannot be meant, each with the object's name.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

fn problems(objects: &Objects) -> Vec<String> {
    let named = |kind: &str, namespace: &Arc<str>, name: &Arc<str>, problem: &str| {
        format!("{kind} {namespace}/{name}: {problem}")
    };
    let services = objects.services.iter().flat_map(|service| {
        let metadata = &service.metadata;
        service.problems.iter().map(|problem| named("Service", &metadata.namespace, &metadata.name, problem))
    });
    let slices = objects.slices.iter().flat_map(|slice| {
        let metadata = &slice.metadata;
        slice
            .problems
            .iter()
            .map(|problem| named("EndpointSlice", &metadata.namespace, &metadata.name, problem))
    });
    services.chain(slices).collect()
}
