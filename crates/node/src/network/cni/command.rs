//! The plugin's commands: ADD, DEL, CHECK, GC, STATUS, VERSION.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};

use super::{
    bridge::{self, Attach},
    ipam::{Ipam, IpamError},
    netns,
    protocol::{Failure, NetworkConfig, PLUGIN, VERSIONS, add_result, version_result},
};
use service::Cidr;

/// What every command on an attachment is told by its environment.
struct Request {
    container_id: String,
    ifname: String,
    netns: Option<PathBuf>,
}

/// Runs the command that the environment names, with the configuration `config` in JSON. `Null` is success
/// without an answer.
pub(super) fn run(env: impl Fn(&str) -> Option<String>, config: &str) -> Result<Value, Failure> {
    let command = env("CNI_COMMAND").unwrap_or_default();
    if command == "VERSION" {
        return Ok(version_result());
    }
    let config: NetworkConfig = serde_json::from_str(config)
        .map_err(|error| Failure::decode(format!("the network configuration cannot be read: {error}")))?;
    if !VERSIONS.contains(&config.cni_version.as_str()) {
        return Err(Failure::version(&config.cni_version));
    }
    if config.kind == "loopback" {
        return loopback(&command, &request(&env)?, &config.cni_version);
    }
    let network = Network::new(&config)?;
    match command.as_str() {
        "ADD" => network.add(&request(&env)?, &config),
        "DEL" => network.delete(&request(&env)?),
        "CHECK" => network.check(&request(&env)?),
        "GC" => network.collect(&config),
        "STATUS" => Ok(Value::Null),
        other => Err(Failure::environment(format!("CNI_COMMAND {other:?} is not known"))),
    }
}

fn request(env: &impl Fn(&str) -> Option<String>) -> Result<Request, Failure> {
    let need = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty() && !value.contains('/') && !value.contains(char::is_whitespace))
            .ok_or_else(|| Failure::environment(format!("{name} is missing or not valid")))
    };
    Ok(Request {
        container_id: need("CNI_CONTAINERID")?,
        ifname: need("CNI_IFNAME")?,
        netns: env("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from),
    })
}

fn loopback(command: &str, request: &Request, version: &str) -> Result<Value, Failure> {
    let (Some(netns), "ADD") = (&request.netns, command) else { return Ok(Value::Null) };
    netns::within(netns, bridge::loopback_up_here).map_err(Failure::network)?;
    let interface = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns});
    Ok(add_result(version, &interface, ([127, 0, 0, 1].into(), 8), None))
}

/// The node's pod network.
struct Network {
    pod_cidr: Cidr,
    ipam: Ipam,
}

impl Network {
    fn new(config: &NetworkConfig) -> Result<Self, Failure> {
        if config.kind != PLUGIN {
            return Err(Failure::config(format!("this plugin is no {:?}", config.kind)));
        }
        let (Some(pod_cidr), Some(dir)) = (config.pod_cidr, &config.ipam_dir) else {
            return Err(Failure::config("the network configuration needs podCIDR and ipamDir"));
        };
        Ok(Self { pod_cidr, ipam: Ipam::new(dir, pod_cidr) })
    }

    fn gateway(&self) -> Result<std::net::IpAddr, Failure> {
        let gateway = self.pod_cidr.nth(1);
        gateway.ok_or_else(|| Failure::config(format!("podCIDR {} has no room for a bridge", self.pod_cidr)))
    }

    fn add(&self, request: &Request, config: &NetworkConfig) -> Result<Value, Failure> {
        let netns =
            request.netns.as_ref().ok_or_else(|| Failure::environment("CNI_NETNS is missing for ADD"))?;
        let gateway = self.gateway()?;
        let address =
            self.ipam.allocate(&request.container_id, &request.ifname).map_err(|error| match error {
                IpamError::Full(_) => Failure::later(error.to_string()),
                IpamError::Io(_) => Failure::io(error.to_string()),
            })?;
        let attach = Attach {
            node: &config.node,
            netns,
            ifname: &request.ifname,
            veth: &bridge::veth_name(&request.container_id, &request.ifname),
            address,
            prefix: self.pod_cidr.prefix(),
            gateway,
        };
        if let Err(error) = attach.run() {
            // The specification leaves cleaning up to the plugin when ADD fails.
            let _ = self.ipam.release(&request.container_id, &request.ifname);
            return Err(Failure::network(error));
        }
        let mac = bridge::mac_of(address);
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let interface = json!({"name": request.ifname, "mac": mac, "sandbox": netns});
        Ok(add_result(&config.cni_version, &interface, (address, self.pod_cidr.prefix()), Some(gateway)))
    }

    /// Idempotent, and works when the namespace is gone already.
    fn delete(&self, request: &Request) -> Result<Value, Failure> {
        let veth = bridge::veth_name(&request.container_id, &request.ifname);
        bridge::delete_veth(&veth).map_err(Failure::network)?;
        self.ipam
            .release(&request.container_id, &request.ifname)
            .map_err(|error| Failure::io(error.to_string()))?;
        Ok(Value::Null)
    }

    fn check(&self, request: &Request) -> Result<Value, Failure> {
        let held = self.ipam.held().map_err(|error| Failure::io(error.to_string()))?;
        let owner = (request.container_id.clone(), request.ifname.clone());
        if !held.iter().any(|(_, holder)| *holder == owner) {
            return Err(Failure::unknown_container("the sandbox holds no address of this network"));
        }
        let veth = bridge::veth_name(&request.container_id, &request.ifname);
        match bridge::link_exists(&veth) {
            Ok(true) => Ok(Value::Null),
            Ok(false) => Err(Failure::unknown_container(format!("the sandbox's interface {veth} is gone"))),
            Err(error) => Err(Failure::network(error)),
        }
    }

    fn collect(&self, config: &NetworkConfig) -> Result<Value, Failure> {
        let valid: BTreeSet<(&str, &str)> = config
            .valid_attachments
            .iter()
            .map(|attachment| (attachment.container_id.as_str(), attachment.ifname.as_str()))
            .collect();
        self.ipam
            .retain(|container, ifname| valid.contains(&(container, ifname)))
            .map_err(|error| Failure::io(error.to_string()))?;
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn version_needs_no_configuration() {
        let answer = run(env(&[("CNI_COMMAND", "VERSION")]), "").unwrap();
        assert!(answer["supportedVersions"].as_array().unwrap().contains(&json!("1.0.0")));
    }

    #[test]
    fn bad_input_gets_the_specifications_error_codes() {
        let add = [("CNI_COMMAND", "ADD")];
        let good =
            r#"{"cniVersion":"1.0.0","type":"portolan","podCIDR":"10.0.0.0/24","ipamDir":"/nonexistent"}"#;
        assert_eq!(run(env(&add), "{").unwrap_err().code, 6);
        assert_eq!(run(env(&add), r#"{"cniVersion":"9.0.0","type":"portolan"}"#).unwrap_err().code, 1);
        assert_eq!(run(env(&add), r#"{"cniVersion":"1.0.0","type":"portolan"}"#).unwrap_err().code, 7);
        assert_eq!(run(env(&add), good).unwrap_err().code, 4);
        assert_eq!(run(env(&[("CNI_COMMAND", "FROB")]), good).unwrap_err().code, 4);
    }
}
