//! All that the mode asks of the kernel in one family, kept by Service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use nfnetlink::ipset::Entry;
use nfnetlink::ipvs::Front;
use service::{Family, ServiceName};

use super::chains::{BUILT_IN, JUMPS, script};
use super::claims::Claims;
use super::fragment::{Fragment, Server};
use super::sets::Set;
use super::settings::Settings;
use super::state::State;
use crate::conntrack::stale;
use crate::mode::Touched;
use crate::sight::Sight;
use crate::xtables::Platform;
use crate::xtables::Script;
use crate::xtables::text::{Rule, Tables};

/// Virtual servers, addresses, sets and rules of one family. Prints as `ipvsadm -Sn`, `ipset save` and
/// `iptables-save` do.
#[derive(Debug, Clone)]
pub struct Rules {
    family: Family,
    platform: Platform,
    settings: Option<Settings>,
    fragments: BTreeMap<ServiceName, Fragment>,
    fronts: Claims<Front>,
    entries: Claims<(Set, Entry)>,
    addresses: Claims<IpAddr>,
    closed: Claims<Front>,
    script: Script,
}

/// What an update touched. It names things; whether they are wanted now, the rules know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Change {
    /// Virtual servers.
    pub(crate) fronts: BTreeSet<Front>,
    /// Entries of sets.
    pub(crate) entries: BTreeSet<(Set, Entry)>,
    /// Addresses of our interface.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Whether rules of iptables changed.
    pub(crate) chains: bool,
    /// Services whose UDP connections may lead to endpoints that are gone.
    pub(crate) flows: BTreeSet<ServiceName>,
}

impl Rules {
    /// No Service. What Services share is read from the sight of the first update.
    pub(crate) fn new(family: Family, platform: Platform) -> Self {
        Self {
            family,
            platform,
            settings: None,
            fragments: BTreeMap::new(),
            fronts: Claims::default(),
            entries: Claims::default(),
            addresses: Claims::default(),
            closed: Claims::default(),
            script: Script::default(),
        }
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Looks at Services again; some of them may be gone. Looks at all if what they share changed.
    pub(crate) fn update(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Change {
        let mut change = Change::default();
        let settings = Settings::of(sight, self.family, self.platform);
        match touched {
            Touched::Services(changed) if self.settings.as_ref() == Some(&settings) => {
                changed.iter().for_each(|name| self.look(sight, name, &settings, &mut change));
            }
            _ => {
                let mut names: BTreeSet<_> = self.fragments.keys().cloned().collect();
                names.extend(sight.cluster.names().cloned());
                names.iter().for_each(|name| self.look(sight, name, &settings, &mut change));
            }
        }
        let closed: Vec<_> = self.closed.keys().copied().collect();
        let script = script(&settings, |set| self.fills(set), &closed);
        change.chains = script != self.script;
        self.script = script;
        self.settings = Some(settings);
        change
    }

    /// Looks at one Service.
    fn look(&mut self, sight: &Sight<'_>, name: &ServiceName, settings: &Settings, change: &mut Change) {
        let new = Fragment::compile(sight, name, settings);
        let old = match &new {
            Some(new) => self.fragments.insert(name.clone(), new.clone()),
            None => self.fragments.remove(name),
        };
        if old == new {
            return;
        }
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        for front in old.servers.keys().filter(|front| !new.servers.contains_key(front)) {
            self.fronts.release(*front, name);
            change.fronts.insert(*front);
        }
        for (front, server) in &new.servers {
            self.fronts.claim(*front, name);
            if old.servers.get(front) != Some(server) {
                change.fronts.insert(*front);
            }
        }
        differ(&old.entries, &new.entries, name, &mut self.entries, &mut change.entries);
        differ(&old.addresses, &new.addresses, name, &mut self.addresses, &mut change.addresses);
        differ(&old.closed, &new.closed, name, &mut self.closed, &mut BTreeSet::new());
        for address in old.addresses.symmetric_difference(&new.addresses) {
            change.entries.insert((Set::IpvsIps, Entry::Ip(*address)));
        }
        if old.flows != new.flows {
            change.flows.insert(name.clone());
        }
    }

    /// The virtual server that is wanted at a front.
    pub fn server(&self, front: &Front) -> Option<&Server> {
        self.fragments.get(self.fronts.owner(front)?)?.servers.get(front)
    }

    /// All virtual servers, in order of their fronts.
    pub fn servers(&self) -> impl Iterator<Item = (&Front, &Server)> {
        self.fronts.keys().filter_map(|front| Some((front, self.server(front)?)))
    }

    /// Addresses of the interface `kube-ipvs0`.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// Whether an address is wanted on the interface.
    pub(crate) fn has_address(&self, address: &IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// Whether an entry is wanted in a set. One set holds what the interface has.
    pub(crate) fn has_entry(&self, set: Set, entry: &Entry) -> bool {
        match (set, entry) {
            (Set::IpvsIps, Entry::Ip(address)) => self.has_address(address),
            _ => self.entries.contains(&(set, *entry)),
        }
    }

    /// The entries of a set, in order.
    pub(crate) fn set_entries(&self, set: Set) -> Vec<Entry> {
        if set == Set::IpvsIps {
            return self.addresses().map(Entry::Ip).collect();
        }
        let first = (set, Entry::Ip(Ipv4Addr::UNSPECIFIED.into()));
        let own = self.entries.range(first..).take_while(|(other, _)| *other == set);
        own.map(|(_, entry)| *entry).collect()
    }

    fn fills(&self, set: Set) -> bool {
        let first = (set, Entry::Ip(Ipv4Addr::UNSPECIFIED.into()));
        self.entries.range(first..).next().is_some_and(|(other, _)| *other == set)
    }

    /// Our chains and their rules, for `iptables-restore`.
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// All that a kernel holds once this is loaded.
    pub fn state(&self) -> State {
        State {
            family: self.family,
            servers: self.servers().map(|(front, server)| (*front, server.clone())).collect(),
            sets: Set::all().map(|set| (set, self.set_entries(set).into_iter().collect())).collect(),
            addresses: self.addresses().collect(),
            tables: self.tables(),
        }
    }

    /// All tables as they are once loaded, with the rules of built-in chains that lead to ours.
    pub fn tables(&self) -> Tables {
        let mut tables = Tables::new();
        for (table, chains) in BUILT_IN {
            for chain in chains {
                tables.table_mut(table).chain_mut(chain).policy = Some("ACCEPT".to_owned());
            }
        }
        for jump in JUMPS {
            let chain = tables.table_mut(jump.table).chain_mut(jump.from);
            chain.rules.insert(0, Rule::new(jump.to_string()));
        }
        self.script.load_into(&mut tables);
        tables
    }

    /// Where UDP connections come in to these Services.
    pub(crate) fn flows<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a ServiceName>,
    ) -> impl Iterator<Item = &'a stale::Front> {
        names.into_iter().filter_map(|name| self.fragments.get(name)).flat_map(|fragment| &fragment.flows)
    }
}

/// Notes in claims what a Service asks for now, and what of that changed.
fn differ<K: Ord + Copy>(
    old: &BTreeSet<K>,
    new: &BTreeSet<K>,
    name: &ServiceName,
    claims: &mut Claims<K>,
    changed: &mut BTreeSet<K>,
) {
    for key in old.difference(new) {
        claims.release(*key, name);
        changed.insert(*key);
    }
    for key in new.difference(old) {
        claims.claim(*key, name);
        changed.insert(*key);
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state())
    }
}
