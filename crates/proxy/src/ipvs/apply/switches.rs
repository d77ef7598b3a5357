//! Settings of the kernel (`Documentation/networking/ipvs-sysctl`, `ip-sysctl`), with kube-proxy's values.

use std::fs;
use std::io;

use super::failure::Failure;

/// A file below `/proc/sys/net/ipv4`, and what is to be in it.
type Switch = (&'static str, &'static str);

const ALWAYS: [Switch; 4] = [
    // Translated packets are known to connection tracking, so that they can be masqueraded.
    ("/proc/sys/net/ipv4/vs/conntrack", "1"),
    // Connections to a real server that is gone end at once.
    ("/proc/sys/net/ipv4/vs/expire_nodest_conn", "1"),
    // So does the persistence of clients whose real server takes no more connections.
    ("/proc/sys/net/ipv4/vs/expire_quiescent_template", "1"),
    ("/proc/sys/net/ipv4/ip_forward", "1"),
];
/// The node answers ARP for an address only where it is, which is nowhere for those of Services.
const STRICT_ARP: [Switch; 2] =
    [("/proc/sys/net/ipv4/conf/all/arp_ignore", "1"), ("/proc/sys/net/ipv4/conf/all/arp_announce", "2")];
/// A client's port that is used again keeps its real server: otherwise kernels before 5.9 lose a second for each
/// such connection (Kubernetes issue 93297).
const REUSE: Switch = ("/proc/sys/net/ipv4/vs/conn_reuse_mode", "0");
/// Since this version, and until that one.
const REUSE_VERSIONS: ((u32, u32), (u32, u32)) = ((4, 1), (5, 9));

/// Makes the settings, in the network namespace of the calling thread.
pub(super) fn set(strict_arp: bool) -> Result<(), Failure> {
    let (since, until) = REUSE_VERSIONS;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let reuse = version(&release).is_some_and(|version| version >= since && version < until);
    let strict = STRICT_ARP.iter().filter(|_| strict_arp);
    for (path, value) in ALWAYS.iter().chain(strict).chain(reuse.then_some(&REUSE)) {
        write(path, value).map_err(|error| Failure::Setting { path, value, error })?;
    }
    Ok(())
}

fn write(path: &str, value: &str) -> io::Result<()> {
    if fs::read_to_string(path)?.trim() == value { Ok(()) } else { fs::write(path, value) }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_version_is_read() {
        assert_eq!(version("6.1.0-44-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.205-generic"), Some((5, 10)));
        assert_eq!(version("nonsense"), None);
    }
}
