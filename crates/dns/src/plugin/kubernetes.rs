//! `kubernetes`: the names of a cluster.

mod handler;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use api::selector::LabelSelector;

use crate::wire::Name;

pub(super) use handler::handler;
pub(super) use read::read;

/// The directive `kubernetes`.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesOptions {
    /// The zones whose names are the cluster's, among them reverse ones; the first that is not reverse is the
    /// cluster's domain.
    pub(crate) zones: Vec<Name>,
    /// Those zones that hold ServiceImports (KEP-1645) instead of Services.
    pub(crate) multicluster: Vec<Name>,
    /// Where the API server is.
    pub(crate) api: ApiServer,
    /// Only these namespaces; none means all.
    pub(crate) namespaces: Vec<String>,
    /// Only namespaces with these labels.
    pub(crate) namespace_labels: Option<Selector>,
    /// Only Services and EndpointSlices with these labels.
    pub(crate) labels: Option<Selector>,
    /// Which pod records there are.
    pub(crate) pods: PodRecords,
    /// Endpoints without a hostname are named after their pod.
    pub(crate) endpoint_pod_names: bool,
    /// There are no endpoints, and so no headless Services.
    pub(crate) no_endpoints: bool,
    /// A Service without ready endpoints is no name.
    pub(crate) ignore_empty: bool,
    /// How long a record may be remembered, in seconds, 0 to 3600.
    pub(crate) ttl: u32,
    /// Names in these zones that do not exist are left to what comes next; `None` keeps all.
    pub(crate) fall_through: Option<Vec<Name>>,
    /// How long queries wait for the first lists, before they fail.
    pub(crate) startup: Duration,
}

impl KubernetesOptions {
    /// As an empty directive means it.
    pub(crate) fn of_zones(zones: Vec<Name>) -> Self {
        Self {
            zones,
            multicluster: Vec::new(),
            api: ApiServer::default(),
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            pods: PodRecords::Disabled,
            endpoint_pod_names: false,
            no_endpoints: false,
            ignore_empty: false,
            ttl: 5,
            fall_through: None,
            startup: Duration::from_secs(5),
        }
    }

    /// As kubeadm writes it: with the reverse zones, whose names may be those of the network around the cluster.
    pub(crate) fn of_cluster(domain: Name) -> Self {
        let reverse = || [Name::reverse_v4(), Name::reverse_v6()];
        let zones = [domain].into_iter().chain(reverse()).collect();
        Self { pods: PodRecords::Insecure, fall_through: Some(reverse().into()), ..Self::of_zones(zones) }
    }
}

/// Where the API server is. With nothing told, the command line or the pod that this runs in says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApiServer {
    /// `endpoint`.
    pub(crate) url: Option<String>,
    /// `kubeconfig FILE`.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// `kubeconfig FILE CONTEXT`.
    pub(crate) context: Option<String>,
    /// `tls CERT KEY CA`, for `endpoint`.
    pub(crate) tls: Option<[PathBuf; 3]>,
}

/// A text is no label selector; the error says why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SelectorError(String);

/// A label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// As the API server takes it.
    pub(crate) text: String,
    /// What it means, for objects that no API server selects.
    pub(crate) meaning: LabelSelector,
}

impl Selector {
    /// Reads the grammar of `kubectl get --selector`.
    ///
    /// # Errors
    /// [`SelectorError`] when the text does not follow it.
    pub(crate) fn parse(text: &str) -> Result<Self, SelectorError> {
        let meaning = LabelSelector::parse(text).map_err(|status| SelectorError(status.message))?;
        Ok(Self { text: text.to_owned(), meaning })
    }
}

/// The option `pods`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodRecords {
    /// None.
    Disabled,
    /// Every address in an existing namespace has one.
    Insecure,
    /// Only the addresses of pods have one.
    Verified,
}
