//! The ruleset as a value: what the kernel is to hold, and what changed since it was last told.

mod slots;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use service::ServiceName;
use service::objects::Protocol;

use super::front::Front;
use super::wish::{Fragment, FrontValue};

pub use slots::{Plan, Range};
use tally::Tally;

/// A difference between what the kernel was told and what it should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A front leads elsewhere. `old` is what the kernel holds, `new` what it should hold.
    Front {
        /// The front.
        front: Front,
        /// What it led to.
        old: Option<Arc<FrontValue>>,
        /// What it is to lead to.
        new: Option<Arc<FrontValue>>,
    },
    /// A cluster IP came or went.
    ClusterIp {
        /// The address.
        address: IpAddr,
        /// Whether it is there now.
        present: bool,
    },
    /// An endpoint that may meet itself came or went.
    Hairpin {
        /// The endpoint.
        endpoint: SocketAddr,
        /// Its protocol.
        protocol: Protocol,
        /// Whether it is there now.
        present: bool,
    },
}

/// All that the kernel is to hold.
///
/// Two Services may want the same front, by mistake or in passing (one address freed and given away, the
/// events out of order). Then one of them has it, whatever the order in which they came: the lower rank, then
/// the lesser name. The other gets it when the first lets go.
#[derive(Debug, Default)]
pub struct Ruleset {
    services: HashMap<ServiceName, Fragment>,
    /// Who wants each front, the one that has it first.
    fronts: HashMap<Front, Vec<(ServiceName, Arc<FrontValue>)>>,
    cluster_ips: Tally<IpAddr>,
    hairpins: Tally<(SocketAddr, Protocol)>,
    /// Fronts touched since the last [`Ruleset::take_changes`], with what they led to then.
    touched: BTreeMap<Front, Option<Arc<FrontValue>>>,
}

impl Ruleset {
    /// A ruleset without Services.
    pub fn new() -> Self {
        Self::default()
    }

    /// The Services that want anything.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// What a Service wants so far.
    pub fn fragment(&self, name: &ServiceName) -> Option<&Fragment> {
        self.services.get(name)
    }

    /// What a front leads to.
    pub fn front(&self, front: &Front) -> Option<&Arc<FrontValue>> {
        self.fronts.get(front)?.first().map(|(_, value)| value)
    }

    /// All fronts and what they lead to.
    pub fn fronts(&self) -> impl Iterator<Item = (&Front, &Arc<FrontValue>)> {
        self.fronts.iter().filter_map(|(front, claims)| Some((front, &claims.first()?.1)))
    }

    /// Whether an address is a cluster IP.
    pub fn has_cluster_ip(&self, address: IpAddr) -> bool {
        self.cluster_ips.contains(&address)
    }

    /// Replaces what a Service wants; an empty fragment removes it.
    pub fn replace(&mut self, name: &ServiceName, fragment: Fragment) {
        let old = self.services.remove(name).unwrap_or_default();
        for (front, _) in &old.fronts {
            if fragment.front(front).is_none() {
                self.claim(front, name, None);
            }
        }
        for (front, value) in &fragment.fronts {
            if old.front(front) != Some(value) {
                self.claim(front, name, Some(value));
            }
        }
        self.cluster_ips.replace(&old.cluster_ips, &fragment.cluster_ips);
        self.hairpins.replace(&old.hairpins, &fragment.hairpins);
        if fragment != Fragment::default() {
            self.services.insert(name.clone(), fragment);
        }
    }

    /// Notes that a Service wants this of a front, or nothing any more.
    fn claim(&mut self, front: &Front, name: &ServiceName, value: Option<&Arc<FrontValue>>) {
        let holds = self.front(front).cloned();
        self.touched.entry(*front).or_insert(holds);
        // Seldom more than one wants it.
        let claims = self.fronts.entry(*front).or_insert_with(|| Vec::with_capacity(1));
        claims.retain(|(other, _)| other != name);
        if let Some(value) = value {
            let place = claims.partition_point(|(other, held)| (held.rank, other) < (value.rank, name));
            claims.insert(place, (name.clone(), value.clone()));
        }
        if claims.is_empty() {
            self.fronts.remove(front);
        }
    }

    /// The differences since the last call, each thing once.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Vec::new();
        for (front, old) in touched {
            let new = self.front(&front).cloned();
            if old != new {
                changes.push(Change::Front { front, old, new });
            }
        }
        changes.extend(
            self.cluster_ips
                .take_changes()
                .into_iter()
                .map(|(address, present)| Change::ClusterIp { address, present }),
        );
        changes.extend(
            self.hairpins.take_changes().into_iter().map(|((endpoint, protocol), present)| Change::Hairpin {
                endpoint,
                protocol,
                present,
            }),
        );
        changes
    }

    /// The difference to a kernel that holds nothing; forgets the smaller ones.
    pub fn take_all(&mut self) -> Vec<Change> {
        self.take_changes();
        let fronts = self.fronts().map(|(front, value)| Change::Front {
            front: *front,
            old: None,
            new: Some(value.clone()),
        });
        let cluster_ips =
            self.cluster_ips.iter().map(|address| Change::ClusterIp { address: *address, present: true });
        let hairpins = self.hairpins.iter().map(|(endpoint, protocol)| Change::Hairpin {
            endpoint: *endpoint,
            protocol: *protocol,
            present: true,
        });
        fronts.chain(cluster_ips).chain(hairpins).collect()
    }
}

#[cfg(test)]
mod tests;
