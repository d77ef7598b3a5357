//! The kernel's side: carrying changes out, as one transaction each.

mod adopt;

use std::collections::HashMap;
use std::sync::Arc;

use nfnetlink::{Batch, Error as NetlinkError, Socket, Table, Transaction};

use crate::conntrack;
use crate::error::Error;
use crate::mode::Report;
use crate::nftables::layout::{self, Edits, PickChain};
use crate::nftables::ruleset::{Change, FrontValue, Ruleset};
use crate::nftables::settings::Settings;

/// The table in the kernel of the network namespace that the socket belongs to.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    /// What the table in the kernel was written for; `None` before the first load.
    settings: Option<Settings>,
    /// Our table, marked with layout and settings.
    table: Table,
    /// How many fronts use each chain that picks endpoints. All chains in the kernel are here; one without
    /// users goes with the next transaction.
    chains: HashMap<PickChain, usize>,
}

impl Kernel {
    /// Nothing is read or written yet; the first [`Kernel::sync`] goes on with the table that an earlier run left,
    /// or replaces it in one transaction. Connections live in the kernel's connection table and go on either way.
    pub fn new(socket: Socket) -> Self {
        Self { socket, settings: None, table: layout::table(), chains: HashMap::new() }
    }

    /// Makes the next [`Kernel::sync`] compare what the kernel holds with the ruleset.
    pub fn trust_nothing(&mut self) {
        self.settings = None;
    }

    /// Makes the kernel hold what the ruleset says.
    ///
    /// A refused change is followed by a full load: somebody else may have changed the table.
    ///
    /// # Errors
    /// [`Error::Load`] when the full load was refused too. The next call tries again.
    pub fn sync(&mut self, settings: &Settings, ruleset: &mut Ruleset) -> Result<Report, Error> {
        if self.settings.as_ref() == Some(settings) {
            let changes = ruleset.take_changes();
            match self.change(settings, &changes) {
                Ok(elements) => {
                    let flows = self.forget_flows(ruleset, &changes);
                    return Ok(Report { elements, full: false, flows });
                }
                Err(error) => {
                    tracing::warn!(%error, "a change of the Service rules failed; loading all of them again");
                }
            }
        }
        self.settings = None;
        self.table = adopt::marked_table(settings);
        let all = ruleset.take_all();
        let adopted = self.adopt(settings, &all).unwrap_or_else(|error| {
            tracing::info!(%error, "the Service rules that were there cannot be used; replacing them");
            None
        });
        let full = adopted.is_none();
        let elements = match adopted {
            Some(elements) => elements,
            None => self.load(settings, &all).map_err(Error::Load)?,
        };
        self.settings = Some(settings.clone());
        let flows = self.forget_flows(ruleset, &all);
        Ok(Report { elements, full, flows })
    }

    /// Goes on with the table in the kernel; `None` if that is not as we would write it.
    fn adopt(&mut self, settings: &Settings, all: &[Change]) -> Result<Option<usize>, NetlinkError> {
        self.chains.clear();
        let wanted = self.count_chains(all);
        let Some(held) = adopt::Held::read(&mut self.socket, &self.table, settings, &wanted)? else {
            return Ok(None);
        };
        let made: Vec<_> = wanted.iter().filter(|chain| !held.has(chain)).copied().collect();
        let idle = held.idle_chains(&wanted);
        let mut chains = Batch::new();
        self.add_chains(settings, &mut chains, &made);
        self.socket.commit(chains)?;

        let mut batch = Batch::new();
        let elements = self.add_edits(&mut batch, &held.difference(layout::edits(all)));
        self.socket.commit(batch)?;

        let mut clean = Batch::new();
        self.delete_chains(&mut clean, idle.iter().map(String::as_str));
        self.socket.commit(clean)?;
        Ok(Some(elements))
    }

    fn load(&mut self, settings: &Settings, all: &[Change]) -> Result<usize, NetlinkError> {
        let mut batch = Batch::new();
        // The first makes sure that there is something to delete.
        batch.add_table(&self.table);
        batch.delete_table(&self.table);
        batch.add_table(&self.table);
        layout::base(&mut batch, settings);
        self.chains.clear();
        let made = self.count_chains(all);
        self.add_chains(settings, &mut batch, &made);
        let elements = self.add_edits(&mut batch, &layout::edits(all));
        self.socket.commit(batch)?;
        Ok(elements)
    }

    /// Chains come in a transaction before the one whose elements lead to them, and go in one after it: a packet
    /// that meets the commit may find the element on one side of it and the rules of the chain on the other.
    fn change(&mut self, settings: &Settings, changes: &[Change]) -> Result<usize, NetlinkError> {
        let idle: Vec<PickChain> = self.idle_chains().collect();
        let made = self.count_chains(changes);
        let mut chains = Batch::new();
        self.add_chains(settings, &mut chains, &made);
        self.socket.commit(chains)?;

        let mut batch = Batch::new();
        let elements = self.add_edits(&mut batch, &layout::edits(changes));
        let unused = idle.iter().filter(|chain| self.chains.get(chain) == Some(&0)).map(PickChain::name);
        let unused: Vec<_> = unused.collect();
        self.delete_chains(&mut batch, unused.iter().map(String::as_str));
        self.socket.commit(batch)?;
        self.chains.retain(|chain, users| *users > 0 || !idle.contains(chain));
        Ok(elements)
    }

    fn add_chains(&self, settings: &Settings, batch: &mut Batch, chains: &[PickChain]) {
        for chain in chains {
            batch.add_chain(&self.table, &chain.chain());
            chain.rules(settings).iter().for_each(|rule| batch.add_rule(&self.table, rule));
        }
    }

    fn delete_chains<'a>(&self, batch: &mut Batch, chains: impl Iterator<Item = &'a str>) {
        for chain in chains {
            batch.flush_chain(&self.table, chain);
            batch.delete_chain(&self.table, chain);
        }
    }

    /// Deletes elements, then adds them; returns how many.
    fn add_edits(&self, batch: &mut Batch, edits: &Edits) -> usize {
        for (set, elements) in &edits.delete {
            batch.delete_elements(&self.table, set, elements);
        }
        for (set, elements) in &edits.add {
            batch.add_elements(&self.table, set, elements);
        }
        edits.len()
    }

    fn idle_chains(&self) -> impl Iterator<Item = PickChain> + '_ {
        self.chains.iter().filter(|(_, users)| **users == 0).map(|(chain, _)| *chain)
    }

    /// Counts the users of chains anew; returns the chains that do not exist so far.
    fn count_chains(&mut self, changes: &[Change]) -> Vec<PickChain> {
        let mut made = Vec::new();
        for change in changes {
            let Change::Front { front, old, new } = change else { continue };
            let chain = |value: &Option<Arc<FrontValue>>| PickChain::new(front, value.as_ref()?.way);
            if let Some(chain) = chain(new) {
                let users = self.chains.entry(chain).or_insert_with(|| {
                    made.push(chain);
                    0
                });
                *users += 1;
            }
            if let Some(users) = chain(old).and_then(|chain| self.chains.get_mut(&chain)) {
                *users -= 1;
            }
        }
        made
    }

    /// Makes the kernel forget UDP connections to endpoints that are gone, so that their next packet finds
    /// another. A failure only leaves those connections to time out.
    fn forget_flows(&mut self, ruleset: &Ruleset, changes: &[Change]) -> usize {
        if !conntrack::concerned(changes) {
            return 0;
        }
        conntrack::forget(&mut self.socket, ruleset, changes).unwrap_or_else(|error| {
            tracing::warn!(%error, "UDP connections to endpoints that are gone were not forgotten");
            0
        })
    }
}

/// Removes the proxy's table from the network namespace of the socket. It is no error if there is none.
///
/// # Errors
/// [`Error::Cleanup`] says what the kernel did not like.
pub fn cleanup(socket: &mut Socket) -> Result<(), Error> {
    let table = layout::table();
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.delete_table(&table);
    socket.commit(batch).map_err(Error::Cleanup)
}
