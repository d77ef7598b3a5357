//! Making the node ready for pods' packets: kernel parameters, CNI plugin and its configuration.

use service::Cidr;
use std::{fs, io, os::unix::fs::symlink, path::Path};

use super::cni;
use crate::{Config, Error, containerd::Paths};

/// Kernel parameters of the node's network namespace, and whether the node works without.
const PARAMETERS: [(&str, &str); 6] = [
    // A packet that leaves by the interface it came in by is no mistake of its sender: the Service proxy
    // has sent it there. Redirects would only use up the kernel's allowance of ICMP messages.
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    // Pods' packets are forwarded.
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    // Packets between two pods on the bridge pass the Service proxy's rules, so that answers find their way
    // back through its address translation.
    ("net/bridge/bridge-nf-call-iptables", "1"),
    ("net/bridge/bridge-nf-call-ip6tables", "1"),
];

/// Sets the kernel parameters of the calling thread's network namespace, and brings its loopback interface
/// up. Parameters that this kernel does not have are left out.
pub(crate) async fn prepare_namespace() -> Result<(), Error> {
    for (name, value) in PARAMETERS {
        let path = Path::new("/proc/sys").join(name);
        match fs::read_to_string(&path) {
            Ok(now) if now.trim() == value => {}
            Ok(_) => fs::write(&path, value).map_err(Error::file("set", path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::debug!("this kernel has no {}", path.display());
            }
            Err(error) => return Err(Error::file("read", path)(error)),
        }
    }
    let up = async || cni::loopback_up(&cni::netlink().map_err(|error| error.to_string())?).await;
    up().await.map_err(Error::Network)
}

/// Installs our program as CNI plugins `portolan` and `loopback`.
pub(crate) fn install_plugins(config: &Config) -> Result<(), Error> {
    let bin = Paths::of(config).cni_bin;
    fs::create_dir_all(&bin).map_err(Error::file("create the folder", bin.clone()))?;
    for name in [cni::PLUGIN, "loopback"] {
        let link = bin.join(name);
        if fs::read_link(&link).is_ok_and(|target| target == config.program) {
            continue;
        }
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("replace", link)(error));
            }
            _ => symlink(&config.program, &link).map_err(Error::file("create", link))?,
        }
    }
    Ok(())
}

/// Writes the network configuration, once the node's podCIDR is known. containerd notices by itself.
pub(crate) fn write_config(config: &Config, pod_cidr: Cidr) -> Result<(), Error> {
    let path = Paths::of(config).cni_conf.join("10-portolan.conflist");
    let list = cni::config_list(&config.name, pod_cidr, &config.cni_dir().join("ipam").join(cni::PLUGIN));
    if fs::read_to_string(&path).is_ok_and(|old| old == list) {
        return Ok(());
    }
    // containerd must never see half a file.
    let partial = path.with_extension("partial");
    fs::write(&partial, list).map_err(Error::file("write", partial.clone()))?;
    fs::rename(&partial, &path).map_err(Error::file("write", path))
}
