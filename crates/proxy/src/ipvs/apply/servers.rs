//! Virtual servers in the kernel, brought from what they are to what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use nfnetlink::Error;
use nfnetlink::ipvs::{Front, Ipvs, RealServer, VirtualServer};

use super::difference::{Held, Step, steps};
use crate::ipvs::fragment::Server;

/// What the kernel lacks is replaced by the one that is always there.
const FALLBACK: &str = "rr";

/// The virtual servers of a network namespace, with what is known of them.
#[derive(Debug)]
pub(super) struct Servers {
    ipvs: Ipvs,
    held: BTreeMap<Front, Held>,
    /// Real servers that wait for the end of their connections.
    draining: BTreeSet<(Front, SocketAddr)>,
    /// Schedulers that the kernel lacks.
    lacking: BTreeSet<String>,
}

impl Servers {
    pub(super) fn new(ipvs: Ipvs) -> Self {
        Self { ipvs, held: BTreeMap::new(), draining: BTreeSet::new(), lacking: BTreeSet::new() }
    }

    /// Reads all from the kernel, whoever made them.
    pub(super) fn read(&mut self) -> Result<(), Error> {
        self.held.clear();
        self.draining.clear();
        for VirtualServer { front, sharing } in self.ipvs.virtual_servers()? {
            let real = self.ipvs.real_servers(&front)?;
            let real = real.into_iter().map(|held| (held.server.address, held.server.weight)).collect();
            self.held.insert(front, Held { sharing, real });
        }
        Ok(())
    }

    /// Where there are virtual servers.
    pub(super) fn fronts(&self) -> Vec<Front> {
        self.held.keys().copied().collect()
    }

    /// Whether any real server waits for the end of its connections.
    pub(super) fn is_draining(&self) -> bool {
        !self.draining.is_empty()
    }

    /// Makes one virtual server as it is wanted; returns how many changes that took.
    pub(super) fn bring(&mut self, front: Front, wanted: Option<&Server>) -> Result<usize, Error> {
        let wanted = wanted.cloned().map(|mut wanted| {
            if self.lacking.contains(&wanted.sharing.scheduler) {
                wanted.sharing.scheduler = FALLBACK.to_owned();
            }
            wanted
        });
        if let Some(wanted) = &wanted {
            self.draining.retain(|(other, address)| *other != front || !wanted.real.contains_key(address));
        }
        let mut changes = 0;
        for step in steps(front, wanted.as_ref(), self.held.get(&front)) {
            changes += usize::from(self.take(front, step)?);
        }
        Ok(changes)
    }

    /// Takes one step; says whether it changed anything.
    fn take(&mut self, front: Front, step: Step) -> Result<bool, Error> {
        match step {
            Step::Add(server) => {
                let server = self.with_known_scheduler(server, Ipvs::add)?;
                self.held.insert(front, Held { sharing: server.sharing, real: BTreeMap::new() });
            }
            Step::Set(server) => {
                let server = self.with_known_scheduler(server, Ipvs::set)?;
                if let Some(held) = self.held.get_mut(&front) {
                    held.sharing = server.sharing;
                }
            }
            Step::Delete(front) => {
                self.ipvs.delete(&front)?;
                self.held.remove(&front);
                self.draining.retain(|(other, _)| *other != front);
            }
            Step::AddReal(server) => {
                self.ipvs.add_real(&front, &server)?;
                self.note(front, server);
            }
            Step::SetReal(server) => {
                self.ipvs.set_real(&front, &server)?;
                self.note(front, server);
            }
            Step::DeleteReal(address) => self.delete_real(front, address)?,
            Step::Drain(address) => return self.drain(front, address),
        }
        Ok(true)
    }

    /// Gives a scheduler that the kernel lacks up for the one that is always there.
    fn with_known_scheduler(
        &mut self,
        mut server: VirtualServer,
        make: fn(&mut Ipvs, &VirtualServer) -> Result<(), Error>,
    ) -> Result<VirtualServer, Error> {
        match make(&mut self.ipvs, &server) {
            Err(Error::Refused(refusals)) if server.sharing.scheduler != FALLBACK => {
                let lacking = std::mem::replace(&mut server.sharing.scheduler, FALLBACK.to_owned());
                make(&mut self.ipvs, &server)?;
                let why = Error::Refused(refusals);
                tracing::warn!(%why, scheduler = lacking, "the kernel does not take a scheduler; {FALLBACK} is used");
                self.lacking.insert(lacking);
            }
            done => done?,
        }
        Ok(server)
    }

    fn drain(&mut self, front: Front, address: SocketAddr) -> Result<bool, Error> {
        if self.connections(front, address)? == 0 {
            self.delete_real(front, address)?;
            return Ok(true);
        }
        let known = self.held.get(&front).and_then(|held| held.real.get(&address));
        let waits = known == Some(&0);
        if !waits {
            let server = RealServer { address, weight: 0 };
            self.ipvs.set_real(&front, &server)?;
            self.note(front, server);
        }
        self.draining.insert((front, address));
        Ok(!waits)
    }

    /// Removes real servers whose connections have ended.
    pub(super) fn remove_drained(&mut self) -> Result<(), Error> {
        for (front, address) in self.draining.clone() {
            if self.connections(front, address)? == 0 {
                self.delete_real(front, address)?;
            }
        }
        Ok(())
    }

    /// How many connections a real server has; none if it is gone.
    fn connections(&mut self, front: Front, address: SocketAddr) -> Result<u64, Error> {
        let held = self.ipvs.real_servers(&front)?;
        let server = held.iter().find(|held| held.server.address == address);
        Ok(server.map_or(0, |held| held.connections))
    }

    fn delete_real(&mut self, front: Front, address: SocketAddr) -> Result<(), Error> {
        self.ipvs.delete_real(&front, address)?;
        self.draining.remove(&(front, address));
        if let Some(held) = self.held.get_mut(&front) {
            held.real.remove(&address);
        }
        Ok(())
    }

    fn note(&mut self, front: Front, server: RealServer) {
        if let Some(held) = self.held.get_mut(&front) {
            held.real.insert(server.address, server.weight);
        }
    }
}
