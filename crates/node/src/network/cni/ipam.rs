//! Addresses of pods, written down in files: one per address, named after it, holding its owner.
//!
//! A lock file makes allocations of concurrent plugins exclusive. The address after the one given last comes
//! next, so that a new pod does not take over the address of one that has just gone.

use std::{
    fs::{self, File},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use service::Cidr;

/// Remembers the address given last.
const LAST: &str = "last";
/// Locked while addresses are given or taken back.
const LOCK: &str = "lock";

/// No address can be given.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// Every address is in use.
    #[error("all pod addresses of {0} are in use; delete pods, or give nodes larger podCIDRs")]
    Full(Cidr),
    /// A file of the address book cannot be read or written.
    #[error("the pods' address book cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// The address book of one node.
#[derive(Debug)]
pub struct Ipam {
    dir: PathBuf,
    cidr: Cidr,
}

impl Ipam {
    /// The address book in folder `dir` for the addresses of `cidr`.
    pub fn new(dir: &Path, cidr: Cidr) -> Self {
        Self { dir: dir.to_owned(), cidr }
    }

    /// Gives an address to interface `ifname` of a sandbox; the one it has, if it has one. The first address
    /// (network), the second (bridge) and an IPv4 block's last (broadcast) are never given.
    pub fn allocate(&self, container: &str, ifname: &str) -> Result<IpAddr, IpamError> {
        let _lock = lock(&self.dir)?;
        let owner = format!("{container}\n{ifname}\n");
        for (address, (held_by, on)) in self.held()? {
            if held_by == container && on == ifname {
                return Ok(address);
            }
        }
        let usable = self.cidr.size() - u64::from(self.cidr.address().is_ipv4());
        let last = fs::read_to_string(self.dir.join(LAST)).ok();
        let last = last.and_then(|text| self.cidr.index(text.trim().parse().ok()?)).unwrap_or(1);
        let candidates = (last + 1..usable).chain(2..usable.min(last + 1));
        for address in candidates.filter_map(|index| self.cidr.nth(index)) {
            let path = self.dir.join(address.to_string());
            match File::create_new(&path) {
                Ok(_) => {
                    fs::write(&path, &owner)?;
                    fs::write(self.dir.join(LAST), address.to_string())?;
                    return Ok(address);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(IpamError::Full(self.cidr))
    }

    /// Takes the address of an interface back. Idempotent.
    pub fn release(&self, container: &str, ifname: &str) -> io::Result<()> {
        self.retain(|held_by, on| held_by != container || on != ifname)
    }

    /// Takes back every address whose owner (sandbox, interface) is not to be kept.
    pub fn retain(&self, keep: impl Fn(&str, &str) -> bool) -> io::Result<()> {
        retain(&self.dir, keep)
    }

    /// Every address in use with its owner: sandbox and interface.
    pub fn held(&self) -> io::Result<Vec<(IpAddr, (String, String))>> {
        held(&self.dir)
    }
}

/// Takes back every address in the book `dir` whose owner (sandbox, interface) is not to be kept.
pub fn retain(dir: &Path, keep: impl Fn(&str, &str) -> bool) -> io::Result<()> {
    let _lock = lock(dir)?;
    for (address, (container, ifname)) in held(dir)? {
        if !keep(&container, &ifname) {
            fs::remove_file(dir.join(address.to_string()))?;
        }
    }
    Ok(())
}

fn held(dir: &Path) -> io::Result<Vec<(IpAddr, (String, String))>> {
    let mut held = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(address) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let text = fs::read_to_string(entry.path())?;
        let mut lines = text.lines().map(str::to_owned);
        held.push((address, (lines.next().unwrap_or_default(), lines.next().unwrap_or_default())));
    }
    Ok(held)
}

fn lock(dir: &Path) -> io::Result<File> {
    fs::create_dir_all(dir)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(cidr: &str) -> (tempfile::TempDir, Ipam) {
        let dir = tempfile::tempdir().unwrap();
        let ipam = Ipam::new(dir.path(), cidr.parse().unwrap());
        (dir, ipam)
    }

    #[test]
    fn a_new_pod_gets_a_new_address_even_when_an_old_one_is_free() {
        let (_dir, ipam) = book("10.244.1.0/24");
        assert_eq!(ipam.allocate("a", "eth0").unwrap().to_string(), "10.244.1.2");
        ipam.release("a", "eth0").unwrap();
        assert_eq!(ipam.allocate("b", "eth0").unwrap().to_string(), "10.244.1.3");
    }

    #[test]
    fn asking_again_gives_the_same_address() {
        let (_dir, ipam) = book("10.244.1.0/24");
        assert_eq!(ipam.allocate("a", "eth0").unwrap(), ipam.allocate("a", "eth0").unwrap());
    }

    #[test]
    fn addresses_wrap_around_and_run_out_before_the_broadcast_address() {
        let (_dir, ipam) = book("10.0.0.0/29");
        let given: Vec<_> =
            (0..5).map(|n| ipam.allocate(&format!("c{n}"), "eth0").unwrap().to_string()).collect();
        assert_eq!(given, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert!(matches!(ipam.allocate("x", "eth0"), Err(IpamError::Full(_))));
        ipam.release("c1", "eth0").unwrap();
        assert_eq!(ipam.allocate("x", "eth0").unwrap().to_string(), "10.0.0.3");
    }

    #[test]
    fn releasing_twice_is_no_error_and_strangers_keep_theirs() {
        let (_dir, ipam) = book("10.244.1.0/24");
        ipam.allocate("a", "eth0").unwrap();
        ipam.release("b", "eth0").unwrap();
        ipam.release("b", "eth0").unwrap();
        assert_eq!(ipam.held().unwrap().len(), 1);
    }
}
