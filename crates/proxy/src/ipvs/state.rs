//! All that one family has in a kernel: as it was compiled, or as it is held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::IpAddr;

use nfnetlink::ipset::{Entry, IpSet};
use nfnetlink::ipvs::Front;
use service::Family;

use super::fragment::Server;
use super::sets::Set;
use crate::iptables::Difference;
use crate::xtables::Platform;
use crate::xtables::text::Tables;

/// Our interface, which has the addresses of Services.
pub(crate) const INTERFACE: &str = "kube-ipvs0";

/// How many lines a difference shows around each change.
const CONTEXT: usize = 0;

/// Virtual servers, sets, addresses and tables of iptables. Prints as `ipvsadm -Sn`, `ipset save` and `iptables-save`
/// do.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) family: Family,
    /// Virtual servers.
    pub(super) servers: BTreeMap<Front, Server>,
    /// The entries of those sets that are there.
    pub(super) sets: BTreeMap<Set, BTreeSet<Entry>>,
    /// Addresses of the interface `kube-ipvs0`.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// All tables of iptables.
    pub(super) tables: Tables,
}

impl State {
    /// What would be changed where `before` is: virtual servers, sets and addresses as lines that go and come, rules
    /// as far as they are ours. Empty for nothing.
    pub fn difference(&self, before: &Self) -> String {
        let (was, is) = (before.lines(), self.lines());
        let lines = similar::TextDiff::from_lines(&was, &is);
        let mut text = lines.unified_diff().context_radius(CONTEXT).to_string();
        let rules = Difference::new(&before.tables, &self.tables);
        if !rules.is_empty() {
            // Writing to a String does not fail.
            let _ = write!(text, "# {}\n{rules}", self.family);
        }
        text
    }

    /// What the one who loaded this knew of the machine.
    pub(crate) fn platform(&self) -> Platform {
        Platform::of(&self.tables)
    }

    /// Everything but the tables, a line for each thing.
    fn lines(&self) -> String {
        let mut text = String::new();
        let _ = self.write_servers(&mut text).and_then(|()| self.write_sets(&mut text));
        for address in &self.addresses {
            let _ = writeln!(text, "ip address add {address} dev {INTERFACE}");
        }
        text
    }

    fn write_servers(&self, out: &mut impl Write) -> fmt::Result {
        for (front, server) in &self.servers {
            let option = match front.protocol {
                6 => "-t",
                17 => "-u",
                _ => "--sctp-service",
            };
            write!(out, "-A {option} {} -s {}", front.address, server.sharing.scheduler)?;
            if let Some(timeout) = server.sharing.persistence {
                write!(out, " -p {}", timeout.as_secs())?;
            }
            if server.sharing.hash_port {
                write!(out, " -b mh-port")?;
            }
            writeln!(out)?;
            for (address, weight) in &server.real {
                writeln!(out, "-a {option} {} -r {address} -m -w {weight}", front.address)?;
            }
        }
        Ok(())
    }

    fn write_sets(&self, out: &mut impl Write) -> fmt::Result {
        for (set, entries) in &self.sets {
            let ip_set: IpSet = set.ip_set(self.family);
            writeln!(out, "{ip_set}")?;
            for entry in entries {
                writeln!(out, "add {} {entry}", ip_set.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_servers(f)?;
        self.write_sets(f)?;
        write!(f, "{}", self.tables)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::iptables::scene::{COUNTING, Scene, service, slice};
    use crate::ipvs::{State, compile};

    fn state(ip: &str, endpoints: &[(&str, Option<&str>)]) -> State {
        let objects = [service("ns1", "svc1", ip, json!({})), slice("ns1", "svc1", endpoints)];
        compile(&Scene::new(&objects).sight(), service::Family::V4, COUNTING).state()
    }

    #[test]
    fn an_endpoint_that_comes_is_a_real_server_more() {
        let (one, two) = (("10.180.0.1", None), ("10.180.0.2", None));
        let difference = state("172.30.0.41", &[one, two]).difference(&state("172.30.0.41", &[one]));
        let changed: Vec<_> = difference.lines().filter(|line| !line.starts_with('@')).collect();
        assert_eq!(changed, ["+-a -t 172.30.0.41:80 -r 10.180.0.2:80 -m -w 1"]);
        assert_eq!(state("172.30.0.41", &[one]).difference(&state("172.30.0.41", &[one])), "");
    }

    #[test]
    fn an_address_that_goes_is_named_with_all_that_knew_it() {
        let endpoints = [("10.180.0.1", None)];
        let mut before = state("172.30.0.41", &endpoints);
        let difference = state("172.30.0.42", &endpoints).difference(&before);
        for line in ["--A -t 172.30.0.41:80 -s rr", "-ip address add 172.30.0.41 dev kube-ipvs0"] {
            assert!(difference.lines().any(|other| other == line), "{line} in\n{difference}");
        }
        before.tables.table_mut("nat").chain_mut("PREROUTING").rules.clear();
        let lost = state("172.30.0.41", &endpoints).difference(&before);
        assert!(lost.contains("+-A PREROUTING") && !lost.contains("172.30.0.41"), "{lost}");
    }
}
