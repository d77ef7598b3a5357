//! Environment variables that tell a container about Services ("service links").
//!
//! Names and forms are those of Docker's old container links, which Kubernetes keeps: for a Service `web` with
//! port 80, `WEB_SERVICE_HOST`, `WEB_SERVICE_PORT`, `WEB_PORT`, `WEB_PORT_80_TCP` and its parts.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{Api, Client, api::ListParams};

use super::env::Environment;

/// The Service that every container learns of, wherever its pod is.
const MASTER: &str = "kubernetes";
/// That Service's namespace.
const MASTER_NAMESPACE: &str = "default";

/// The Services that a pod's containers learn of: those of its namespace, unless `enableServiceLinks` is
/// false, and always the API server's.
pub(super) async fn fetch(client: &Client, pod: &Pod) -> Result<Vec<Service>, kube::Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let wanted = pod.spec.as_ref().is_none_or(|spec| spec.enable_service_links != Some(false));
    let mut services = Vec::new();
    if wanted {
        let all = Api::<Service>::namespaced(client.clone(), namespace);
        services = all.list(&ListParams::default()).await?.items;
    }
    if !(wanted && namespace == MASTER_NAMESPACE) {
        let master = Api::<Service>::namespaced(client.clone(), MASTER_NAMESPACE);
        services.extend(master.get_opt(MASTER).await?);
    }
    Ok(services)
}

/// The variables of Services with a cluster IP.
pub(super) fn variables(services: &[Service]) -> Environment {
    services.iter().flat_map(of_one).collect()
}

fn of_one(service: &Service) -> Environment {
    let mut variables = Environment::new();
    let spec = service.spec.as_ref();
    let ip = spec.and_then(|spec| spec.cluster_ip.as_deref()).filter(|ip| !ip.is_empty() && *ip != "None");
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let (Some(ip), Some(first), Some(name)) = (ip, ports.first(), &service.metadata.name) else {
        return variables;
    };
    let name = shout(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let url = |protocol: &str, port: i32| format!("{}://{host}:{port}", protocol.to_lowercase());
    let mut set = |name: String, value: String| variables.push((name, value));
    set(format!("{name}_SERVICE_HOST"), ip.into());
    set(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            set(format!("{name}_SERVICE_PORT_{}", shout(port_name)), port.port.to_string());
        }
    }
    let protocol_of =
        |port: &k8s_openapi::api::core::v1::ServicePort| port.protocol.clone().unwrap_or("TCP".into());
    set(format!("{name}_PORT"), url(&protocol_of(first), first.port));
    for port in ports {
        let protocol = protocol_of(port);
        let prefix = format!("{name}_PORT_{}_{protocol}", port.port);
        set(prefix.clone(), url(&protocol, port.port));
        set(format!("{prefix}_PROTO"), protocol.to_lowercase());
        set(format!("{prefix}_PORT"), port.port.to_string());
        set(format!("{prefix}_ADDR"), ip.into());
    }
    variables
}

/// A name as part of a variable's: capitals, with underscores for dashes.
fn shout(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn service(spec: &serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "httpd-svc"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_service_is_told_by_host_port_and_url() {
        let ports = json!([{"name": "web-ui", "port": 8080}, {"port": 53, "protocol": "UDP"}]);
        let service = service(&json!({"clusterIP": "10.96.1.2", "ports": ports}));
        let variables: BTreeMap<String, String> = variables(&[service]).into_iter().collect();
        for (name, value) in [
            ("HTTPD_SVC_SERVICE_HOST", "10.96.1.2"),
            ("HTTPD_SVC_SERVICE_PORT", "8080"),
            ("HTTPD_SVC_SERVICE_PORT_WEB_UI", "8080"),
            ("HTTPD_SVC_PORT", "tcp://10.96.1.2:8080"),
            ("HTTPD_SVC_PORT_53_UDP", "udp://10.96.1.2:53"),
            ("HTTPD_SVC_PORT_53_UDP_ADDR", "10.96.1.2"),
            ("HTTPD_SVC_PORT_8080_TCP_PROTO", "tcp"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }

    #[test]
    fn headless_services_have_no_variables() {
        assert!(variables(&[service(&json!({"clusterIP": "None", "ports": [{"port": 1}]}))]).is_empty());
    }
}
