//! Services that several clusters have together.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Metadata, Object, Service};

/// A ServiceImport of the Multi-Cluster Services API (KEP-1645), as the Service that it stands for in its zone:
/// with the addresses of `spec.ips`, or headless.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct ServiceImport(pub Service);

impl Object for ServiceImport {
    const KIND: &'static str = "ServiceImport";
    const GROUP: &'static str = "multicluster.x-k8s.io";
    const VERSION: &'static str = "v1alpha1";
    const PLURAL: &'static str = "serviceimports";

    fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }
}

impl TryFrom<Value> for ServiceImport {
    type Error = serde_json::Error;

    fn try_from(mut import: Value) -> Result<Self, Self::Error> {
        let spec = import["spec"].take();
        let headless = spec["type"] == "Headless";
        let addresses = if headless { json!(["None"]) } else { spec["ips"].clone() };
        import["spec"] = json!({"clusterIP": addresses[0], "clusterIPs": addresses, "ports": spec["ports"]});
        serde_json::from_value(import).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ClusterIps;

    #[test]
    fn an_import_is_a_service_with_its_addresses_or_a_headless_one() {
        let import = |spec: Value| -> Service {
            let object = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
            serde_json::from_value::<ServiceImport>(object).unwrap().0
        };
        let shared = import(json!({
            "type": "ClusterSetIP", "ips": ["10.42.42.42"], "ports": [{"name": "http", "port": 80}]
        }));
        assert_eq!(shared.cluster_ips()[0].to_string(), "10.42.42.42");
        assert_eq!(shared.ports.len(), 1);
        let headless = import(json!({"type": "Headless"}));
        assert_eq!(headless.cluster_ips, ClusterIps::Headless);
    }
}
