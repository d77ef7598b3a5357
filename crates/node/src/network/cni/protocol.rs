//! The words of the CNI specification: configuration, results and errors.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use service::Cidr;

/// The plugin's type, and the name of its program.
pub const PLUGIN: &str = "portolan";
/// The bridge's name; every node has a network namespace of its own.
pub const BRIDGE: &str = "cni0";
/// Versions of the specification that the plugin speaks.
pub(super) const VERSIONS: [&str; 5] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.3.0"];

/// The network configuration that containerd hands to the plugin on standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    /// Version of the specification that the caller speaks.
    #[serde(default = "oldest_version")]
    pub cni_version: String,
    /// Name of the network.
    #[serde(default)]
    pub name: String,
    /// `portolan`, or `loopback`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node's share of the cluster's pod addresses; the bridge has its first address.
    #[serde(rename = "podCIDR", default)]
    pub pod_cidr: Option<Cidr>,
    /// Where addresses in use are written down.
    #[serde(default)]
    pub ipam_dir: Option<PathBuf>,
    /// Name of the node; the bridge carries it as alias.
    #[serde(default)]
    pub node: String,
    /// The attachments that still exist, for GC (CNI 1.1.0).
    #[serde(rename = "cni.dev/valid-attachments", default, skip_serializing)]
    pub valid_attachments: Vec<Attachment>,
}

/// An attachment of a container to the network (CNI 1.1.0).
#[derive(Clone, Debug, Deserialize)]
pub struct Attachment {
    /// The sandbox.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface in it.
    pub ifname: String,
}

fn oldest_version() -> String {
    "0.3.0".into()
}

/// The configuration list that is written into containerd's CNI folder.
pub fn config_list(node: &str, pod_cidr: Cidr, ipam_dir: &Path) -> String {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": PLUGIN,
        "plugins": [{"type": PLUGIN, "podCIDR": pod_cidr, "ipamDir": ipam_dir, "node": node}],
    });
    format!("{list:#}\n")
}

/// The answer to ADD: an interface with an address (and its prefix length), and the way to everywhere else.
pub(super) fn add_result(
    version: &str,
    interface: &Value,
    address: (std::net::IpAddr, u8),
    gateway: Option<std::net::IpAddr>,
) -> Value {
    let mut ip = json!({"address": format!("{}/{}", address.0, address.1), "interface": 0});
    let mut routes = Vec::new();
    if let Some(gateway) = gateway {
        ip["gateway"] = json!(gateway);
        let everywhere = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
        routes.push(json!({"dst": everywhere, "gw": gateway}));
    }
    if version.starts_with("0.") {
        ip["version"] = json!(if address.0.is_ipv4() { "4" } else { "6" });
    }
    json!({"cniVersion": version, "interfaces": [interface], "ips": [ip], "routes": routes, "dns": {}})
}

/// The answer to VERSION.
pub(super) fn version_result() -> Value {
    json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS})
}

/// A failure with one of the specification's error codes.
#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Failure {
    /// 1: the version is not spoken.
    pub(super) fn version(version: &str) -> Self {
        Self { code: 1, message: format!("CNI version {version} is not supported; {VERSIONS:?} are") }
    }

    /// 3: the container does not exist, or has lost its attachment.
    pub(super) fn unknown_container(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    /// 4: an environment variable is missing or wrong.
    pub(super) fn environment(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }

    /// 5: reading or writing failed.
    pub(super) fn io(message: impl Into<String>) -> Self {
        Self { code: 5, message: message.into() }
    }

    /// 6: the configuration cannot be decoded.
    pub(super) fn decode(message: impl Into<String>) -> Self {
        Self { code: 6, message: message.into() }
    }

    /// 7: the configuration is not valid.
    pub(super) fn config(message: impl Into<String>) -> Self {
        Self { code: 7, message: message.into() }
    }

    /// 11: try again later, as when no address is free.
    pub(super) fn later(message: impl Into<String>) -> Self {
        Self { code: 11, message: message.into() }
    }

    /// 100 and above are the plugin's own: the kernel refused a change.
    pub(super) fn network(message: impl Into<String>) -> Self {
        Self { code: 100, message: message.into() }
    }

    /// The error as JSON, in the version of the configuration `config` as far as that can be read.
    pub(super) fn to_json(&self, config: &str) -> Value {
        let version = serde_json::from_str::<Value>(config)
            .ok()
            .and_then(|config| config["cniVersion"].as_str().map(str::to_owned))
            .unwrap_or_else(oldest_version);
        json!({"cniVersion": version, "code": self.code, "msg": self.message})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_version_0_x_tells_the_address_family() {
        let result = |version| {
            add_result(
                version,
                &json!({"name": "eth0"}),
                ([10, 244, 0, 2].into(), 24),
                Some([10, 244, 0, 1].into()),
            )
        };
        assert_eq!(result("0.4.0")["ips"][0]["version"], "4");
        assert!(result("1.0.0")["ips"][0].get("version").is_none());
        assert_eq!(result("1.0.0")["ips"][0]["address"], "10.244.0.2/24");
    }

    #[test]
    fn a_written_configuration_is_read_again() {
        let list: Value =
            serde_json::from_str(&config_list("n1", "10.244.1.0/24".parse().unwrap(), Path::new("/d")))
                .unwrap();
        let plugin: NetworkConfig = serde_json::from_value(list["plugins"][0].clone()).unwrap();
        assert_eq!(plugin.kind, PLUGIN);
        assert_eq!(plugin.pod_cidr.unwrap().to_string(), "10.244.1.0/24");
    }
}
