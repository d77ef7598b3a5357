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
    /// The zones of the cluster, with reverse zones. The first that is not a reverse zone is the domain of the
    /// cluster.
    pub(crate) zones: Vec<Name>,
    /// Those of the zones that have ServiceImports (KEP-1645) instead of Services.
    pub(crate) multicluster: Vec<Name>,
    /// Where the API server is.
    pub(crate) api: ApiServer,
    /// The namespaces whose names are served; none means all.
    pub(crate) namespaces: Vec<String>,
    /// A selector of the namespaces whose names are served.
    pub(crate) namespace_labels: Option<Selector>,
    /// A selector of Services and EndpointSlices.
    pub(crate) labels: Option<Selector>,
    /// Which pod records there are.
    pub(crate) pods: PodRecords,
    /// Whether endpoints without a hostname have the name of their pod as label.
    pub(crate) endpoint_pod_names: bool,
    /// Whether EndpointSlices are ignored. Headless Services have no names then.
    pub(crate) no_endpoints: bool,
    /// Whether Services without ready endpoints have no name (`ignore empty_service`).
    pub(crate) ignore_empty: bool,
    /// The TTL of records in seconds, 0 to 3600.
    pub(crate) ttl: u32,
    /// Zones whose missing names are left to the next plugin; `None` means that there are no such zones.
    pub(crate) fall_through: Option<Vec<Name>>,
    /// How long a reload waits for the first lists before the new configuration is used.
    pub(crate) startup: Duration,
}

impl KubernetesOptions {
    /// The defaults.
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

    /// As kubeadm configures it: with pod records and reverse zones. Missing reverse names fall through, as they may
    /// be those of the network around the cluster.
    pub(crate) fn of_cluster(domain: Name) -> Self {
        let reverse = || [Name::reverse_v4(), Name::reverse_v6()];
        let zones = [domain].into_iter().chain(reverse()).collect();
        Self { pods: PodRecords::Insecure, fall_through: Some(reverse().into()), ..Self::of_zones(zones) }
    }
}

/// Where the API server is. If nothing is given, the command line or the environment of the pod says it.
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

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SelectorError(String);

/// A label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    /// The text, for the API server.
    pub(crate) text: String,
    /// Its meaning, for objects that come from files.
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
    /// There are no pod records.
    Disabled,
    /// Each address has one in each existing namespace, whether there is such a pod or not.
    Insecure,
    /// Only addresses of pods have one, in the namespace of the pod.
    Verified,
}
