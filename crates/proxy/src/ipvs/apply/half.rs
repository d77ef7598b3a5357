//! One family's sets and rules of iptables in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use nfnetlink::Socket;
use nfnetlink::ipset::Entry;

use super::failure::Failure;
use crate::ipvs::chains::JUMPS;
use crate::ipvs::rules::{Change, Rules};
use crate::ipvs::sets::Set;
use crate::xtables::Place;
use crate::xtables::Programs;
use crate::xtables::Script;
use crate::xtables::same;
use crate::xtables::text::Rule;

/// One family, as compiled and as the kernel holds it.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) rules: Rules,
    programs: Programs,
}

impl Half {
    pub(super) fn new(rules: Rules, programs: Programs) -> Self {
        Self { rules, programs }
    }

    /// Makes the sets, and adds to a change what differs between them and the kernel's.
    pub(super) fn read_sets(&self, socket: &mut Socket, change: &mut Change) -> Result<(), Failure> {
        for set in Set::all() {
            let ip_set = set.ip_set(self.rules.family());
            let held = match socket.ipset_entries(&ip_set).map_err(Failure::NoSets)? {
                Some(held) => held.into_iter().collect(),
                None => BTreeSet::new(),
            };
            socket.create_ipset(&ip_set).map_err(Failure::NoSets)?;
            let wanted: BTreeSet<_> = self.rules.set_entries(set).into_iter().collect();
            let differing = held.symmetric_difference(&wanted);
            change.entries.retain(|(other, _)| *other != set);
            change.entries.extend(differing.map(|entry| (set, *entry)));
        }
        Ok(())
    }

    /// Ports of the sets of NodePorts: of each protocol, those that some proxy opened.
    pub(super) fn held_node_ports(&self, socket: &mut Socket) -> Result<BTreeSet<(u8, u16)>, Failure> {
        node_ports(socket, self.rules.family())
    }

    /// Adds the entries of a change that are wanted; returns how many.
    pub(super) fn add_entries(&self, socket: &mut Socket, change: &Change) -> Result<usize, Failure> {
        let wanted = self.by_set(change, true);
        for (set, entries) in &wanted {
            socket.add_ipset_entries(&set.ip_set(self.rules.family()), entries)?;
        }
        Ok(wanted.values().map(Vec::len).sum())
    }

    /// Deletes the others.
    pub(super) fn delete_entries(&self, socket: &mut Socket, change: &Change) -> Result<usize, Failure> {
        let unwanted = self.by_set(change, false);
        for (set, entries) in &unwanted {
            socket.delete_ipset_entries(&set.ip_set(self.rules.family()), entries)?;
        }
        Ok(unwanted.values().map(Vec::len).sum())
    }

    fn by_set(&self, change: &Change, wanted: bool) -> BTreeMap<Set, Vec<Entry>> {
        let mut sets: BTreeMap<Set, Vec<Entry>> = BTreeMap::new();
        for (set, entry) in &change.entries {
            if self.rules.has_entry(*set, entry) == wanted {
                sets.entry(*set).or_default().push(*entry);
            }
        }
        sets
    }

    /// Writes the rules of iptables; returns how many lines those are. With `full`, whatever the kernel holds.
    pub(super) fn write_chains(&self, place: &Place, full: bool) -> Result<usize, Failure> {
        let mut script = self.rules.script().clone();
        if full {
            self.lead_in(place, &mut script)?;
        }
        let restored = self.programs.restore(place, &script);
        restored.map_err(|failure| if full { failure.of_whole() } else { failure })?;
        Ok(script.len())
    }

    /// Leads from built-in chains into ours where nothing does so far.
    fn lead_in(&self, place: &Place, script: &mut Script) -> Result<(), Failure> {
        let held = self.programs.tables(place)?;
        for jump in JUMPS {
            let wanted = Rule::new(jump.to_string());
            let chain = held.chain(jump.table, jump.from);
            if !chain.is_some_and(|chain| chain.rules.iter().any(|rule| same(rule, &wanted))) {
                script.section(jump.table).rules.line(format_args!("-I {} {wanted}", jump.from));
            }
        }
        Ok(())
    }
}

/// Protocols and ports of the sets of NodePorts of a family, as the kernel holds them.
pub(super) fn node_ports(
    socket: &mut Socket,
    family: service::Family,
) -> Result<BTreeSet<(u8, u16)>, Failure> {
    let mut found = BTreeSet::new();
    for (set, protocol) in [(Set::NodePortTcp, 6), (Set::NodePortUdp, 17), (Set::NodePortSctp, 132)] {
        let held = socket.ipset_entries(&set.ip_set(family)).map_err(Failure::NoSets)?;
        found.extend(held.into_iter().flatten().filter_map(|entry| match entry {
            Entry::Port(port) | Entry::IpPort(_, _, port) => Some((protocol, port)),
            _ => None,
        }));
    }
    Ok(found)
}
