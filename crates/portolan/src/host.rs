//! Facts about this machine that commands need.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, bail};
use rustix::process::{Resource, getrlimit, setrlimit};

/// A documentation address (RFC 5737): nothing is ever sent there, only its route is looked up.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The address by which this machine is known to others: that of its default route.
pub(crate) fn own_address() -> anyhow::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(ELSEWHERE).context(
        "this machine has no default route, so its own address is not known; give it with --node-ip",
    )?;
    Ok(socket.local_addr()?.ip())
}

/// This machine's name as a node: its host name in lower case.
pub(crate) fn own_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}

/// The resolvers of this machine.
pub(crate) fn resolvers() -> Vec<SocketAddr> {
    parse_resolvers(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn parse_resolvers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    servers.filter_map(|rest| Some(SocketAddr::new(rest.trim().parse().ok()?, DNS_PORT))).collect()
}

/// Refuses early what would fail later: namespaces, containers and kernel rules need root.
pub(crate) fn require_root(command: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("`portolan {command}` makes network namespaces, containers and kernel rules; run it as root");
    }
    Ok(())
}

/// Lets this process open as many descriptors as the system allows it: shells give few, and each connection, watch
/// and pod takes some.
pub(crate) fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the number of open files stays as it is");
    }
}

/// Refuses early when there is no container runtime to start.
pub(crate) fn require_containerd() -> anyhow::Result<()> {
    for (program, package) in [("containerd", "containerd"), ("runc", "runc")] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|folder| is_program(&folder.join(program))) {
            bail!(
                "{program} was not found on PATH; install it (apt-get install {package}), or name a running \
                 container runtime with --container-runtime-endpoint"
            );
        }
    }
    Ok(())
}

fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolvers_are_those_of_resolv_conf() {
        let text =
            "# a comment\nnameserver 192.0.2.53\nsearch example.org\nnameserver 2001:db8::53\nnameserver x\n";
        let found: Vec<String> = parse_resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53:53", "[2001:db8::53]:53"]);
    }
}
