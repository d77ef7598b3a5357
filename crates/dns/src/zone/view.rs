//! The names of a cluster as one server block serves them.

use std::net::IpAddr;
use std::sync::Arc;

use super::reverse::{self, ReverseName};
use super::{Found, OWN_NAME, Reading, Records, Table};
use crate::plugin::kubernetes::{KubernetesOptions, PodRecords};
use crate::wire::Name;

/// The names of a cluster as one server block serves them: in which zones, and which of them.
#[derive(Debug)]
pub(crate) struct View {
    table: Arc<Table>,
    zones: Vec<Zone>,
    /// The zone of the names that PTR records lead to.
    domain: Name,
    pub(super) pods: PodRecords,
    /// Namespaces that are shown, as labels in wire form; none means all.
    namespaces: Vec<Box<[u8]>>,
    /// Whether only listed namespaces are shown, because they were selected by their labels.
    selected: bool,
    /// The TTL of records, in seconds.
    pub(crate) ttl: u32,
    fall_through: Vec<Name>,
    /// The addresses of this server, for NS records.
    servers: Vec<IpAddr>,
    /// Whether endpoints have the name of their cluster behind their own (KEP-1645).
    pub(super) multicluster: bool,
}

/// A zone of the cluster.
#[derive(Debug)]
struct Zone {
    name: Name,
    reverse: bool,
}

/// The zone that a name is in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZoneMatch<'a> {
    zone: &'a Zone,
    /// How many labels the name has in front of the apex.
    below: usize,
}

/// What was found for a name.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    /// What the name is.
    pub(crate) found: Found<'a>,
    /// How many labels the name has in front of the apex of its zone.
    pub(crate) below: usize,
}

impl View {
    /// A view of a table.
    pub(crate) fn new(table: Arc<Table>, kubernetes: &KubernetesOptions, servers: Vec<IpAddr>) -> Self {
        let own = kubernetes.zones.iter().filter(|zone| !kubernetes.multicluster.contains(zone));
        Self::of_zones(own, table, kubernetes, servers)
    }

    /// A view of a table of ServiceImports, in the multicluster zones.
    pub(crate) fn of_imports(
        table: Arc<Table>,
        kubernetes: &KubernetesOptions,
        servers: Vec<IpAddr>,
    ) -> Self {
        let multicluster = true;
        let view = Self::of_zones(kubernetes.multicluster.iter(), table, kubernetes, servers);
        Self { multicluster, pods: PodRecords::Disabled, ..view }
    }

    fn of_zones<'a>(
        zones: impl Iterator<Item = &'a Name>,
        table: Arc<Table>,
        kubernetes: &KubernetesOptions,
        servers: Vec<IpAddr>,
    ) -> Self {
        let zones: Vec<_> =
            zones.map(|name| Zone { name: name.clone(), reverse: name.is_reverse() }).collect();
        let domain = zones.iter().find(|zone| !zone.reverse).map_or(Name::root(), |zone| zone.name.clone());
        Self {
            table,
            zones,
            domain,
            pods: kubernetes.pods,
            namespaces: kubernetes.namespaces.iter().map(|namespace| super::label(namespace)).collect(),
            selected: kubernetes.namespace_labels.is_some(),
            ttl: kubernetes.ttl,
            fall_through: kubernetes.fall_through.clone().unwrap_or_default(),
            servers,
            multicluster: false,
        }
    }

    /// The table as it is now.
    pub(crate) fn read(&self) -> Reading<'_> {
        self.table.read()
    }

    /// The table.
    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// How many labels a name has in front of the longest zone of this view that it is in.
    pub(crate) fn below(&self, name: &Name) -> Option<usize> {
        self.zone_of(name).map(|within| within.below)
    }

    /// The longest zone of this view that a name is in.
    pub(crate) fn zone_of(&self, name: &Name) -> Option<ZoneMatch<'_>> {
        let zones =
            self.zones.iter().filter_map(|zone| Some(ZoneMatch { zone, below: name.below(&zone.name)? }));
        zones.min_by_key(|within| within.below)
    }

    /// Looks up a name. Names outside of all zones are foreign, and so are missing names that fall through.
    pub(crate) fn find<'a>(&'a self, reading: &'a Reading<'_>, name: &'a Name) -> Lookup<'a> {
        match self.zone_of(name) {
            Some(within) => self.find_within(within, reading, name),
            None => Lookup { found: Found::Foreign, below: 0 },
        }
    }

    /// Looks up a name in its zone. Missing names that fall through are foreign.
    pub(crate) fn find_within<'a>(
        &'a self,
        ZoneMatch { zone, below }: ZoneMatch<'_>,
        reading: &'a Reading<'_>,
        name: &'a Name,
    ) -> Lookup<'a> {
        let found = match zone.reverse {
            true => self.address(reading, name, below),
            false => self.in_domain(reading, name, below),
        };
        let missing = matches!(found, Found::Missing) && self.table.synced();
        let foreign = missing && self.fall_through.iter().any(|zone| name.below(zone).is_some());
        Lookup { found: if foreign { Found::Foreign } else { found }, below }
    }

    fn address<'a>(&self, reading: &Reading<'_>, name: &Name, below: usize) -> Found<'a> {
        match reverse::address(name) {
            _ if below == 0 => Found::Apex,
            None if below == 2 && name.span(0, 2) == OWN_NAME => Found::Server,
            Some(address) if self.knows(reading, address) => Found::Address(address),
            _ => Found::Missing,
        }
    }

    /// Whether a Service that is shown has this address.
    fn knows(&self, reading: &Reading<'_>, address: IpAddr) -> bool {
        reading.knows(address) && (self.shows_all() || self.pointers(reading, address).next().is_some())
    }

    /// The reverse names of an address: those of Services that are shown and of their endpoints.
    pub(crate) fn pointers<'a>(
        &'a self,
        reading: &'a Reading<'_>,
        address: IpAddr,
    ) -> impl Iterator<Item = ReverseName<'a>> {
        let shown = |pointer: &ReverseName<'_>| self.shows(reading, super::namespace(pointer.key));
        reading.pointers(address).filter(move |pointer| self.shows_all() || shown(pointer))
    }

    /// Whether every namespace is shown.
    pub(super) fn shows_all(&self) -> bool {
        self.namespaces.is_empty() && !self.selected
    }

    /// Whether the namespace with this label in wire form is shown.
    pub(super) fn shows(&self, reading: &Reading<'_>, namespace: &[u8]) -> bool {
        let named = self.namespaces.is_empty() || self.namespaces.iter().any(|shown| **shown == *namespace);
        named && if self.selected { reading.declares(namespace) } else { reading.namespace(namespace) }
    }

    /// Whether the namespace of a Service is shown.
    pub(crate) fn shows_service(&self, reading: &Reading<'_>, records: &Records) -> bool {
        self.shows(reading, super::namespace(&records.key))
    }

    /// The zone of the names that PTR records lead to.
    pub(crate) fn domain(&self) -> &Name {
        &self.domain
    }

    /// Addresses of this server.
    pub(crate) fn servers(&self) -> &[IpAddr] {
        &self.servers
    }
}
