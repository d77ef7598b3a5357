//! The kernel's side: carrying changes out, as one transaction each.

mod chains;
mod clients;
mod difference;
mod flows;
mod wanted;

use std::time::Instant;

use nfnetlink::{
    Batch, Error as NetlinkError, Generation, Monitor, Ruleset as Held, Socket, Table, Transaction,
};

use crate::conntrack;
use crate::error::Error;
use crate::mode::Report;
use crate::nftables::layout;
use crate::nftables::ruleset::{Change, Ruleset};
use crate::nftables::settings::{Settings, Surroundings};
pub(super) use chains::Chains;
use difference::Difference;
pub(super) use wanted::Wanted;

/// The table in the kernel of the network namespace that the socket belongs to.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    /// What the rules in the kernel were written for; `None` when nothing is known of the kernel.
    settings: Option<Settings>,
    /// What the kernel was told of node and configuration.
    surroundings: Surroundings,
    chains: Chains,
}

impl Kernel {
    /// Nothing is read or written yet; the first [`Kernel::sync`] goes on with the table that an earlier run left,
    /// or replaces it. Connections live in the kernel's connection table and go on either way.
    pub fn new(socket: Socket) -> Self {
        Self { socket, settings: None, surroundings: Surroundings::default(), chains: Chains::default() }
    }

    /// The socket, for what else is to be asked of the kernel.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// What hears of changes that others make to the table, in the network namespace of the calling thread. It does
    /// not listen yet.
    ///
    /// # Errors
    /// Those of [`Monitor::open`].
    pub fn monitor(&self) -> Result<Monitor, NetlinkError> {
        Monitor::deaf(&layout::table(), &[self.socket.port()?])
    }

    /// How often the rules of the network namespace were changed; `None` if the kernel does not say.
    pub(super) fn generation(&mut self) -> Option<Generation> {
        let generation = self.socket.generation();
        generation.inspect_err(|error| tracing::debug!(%error, "the generation of the rules is unknown")).ok()
    }

    /// Makes the next [`Kernel::sync`] compare what the kernel holds with the ruleset.
    pub fn trust_nothing(&mut self) {
        self.settings = None;
    }

    /// Makes the kernel hold what the ruleset says.
    ///
    /// A refused change is followed by a comparison of everything: somebody else may have changed the table.
    ///
    /// # Errors
    /// [`Error::Load`] or [`Error::Lacking`] when the kernel refused that too. The next call tries again.
    pub fn sync(
        &mut self,
        settings: &Settings,
        surroundings: &Surroundings,
        ruleset: &mut Ruleset,
    ) -> Result<Report, Error> {
        let mut misfits = 0;
        if self.settings.as_ref() == Some(settings) {
            let changes = ruleset.take_changes();
            match self.change(settings, surroundings, &changes) {
                Ok(elements) => {
                    if clients::concerned(&changes) {
                        self.forget_clients(ruleset);
                    }
                    let report = Report { elements, ..Report::default() };
                    return Ok(self.forget_flows(ruleset, &changes, report));
                }
                Err(error) => {
                    tracing::warn!(%error, "a change of the Service rules failed; comparing all of them");
                    misfits = 1;
                }
            }
        }
        self.settings = None;
        let all = ruleset.take_all();
        let (elements, full) = self.establish(settings, surroundings, &all).map_err(Error::load)?;
        self.settings = Some(settings.clone());
        self.surroundings = surroundings.clone();
        self.forget_clients(ruleset);
        if elements > 0 {
            self.forget_untranslated(ruleset);
        }
        let report = Report { elements, full, misfits, ..Report::default() };
        Ok(self.forget_flows(ruleset, &all, report))
    }

    /// Goes on with the table in the kernel, or replaces it. Returns how many elements that took, and whether all
    /// was written anew.
    fn establish(
        &mut self,
        settings: &Settings,
        surroundings: &Surroundings,
        all: &[Change],
    ) -> Result<(usize, bool), NetlinkError> {
        let wanted = Wanted::new(settings, surroundings, all);
        self.chains = wanted.chains();
        let table = layout::table();
        let tables = self.socket.tables()?;
        let is_there =
            |name: &str| tables.iter().any(|held| held.family == table.family && held.name == name);
        if is_there(&layout::bridge_table().name) {
            self.remove_table(&layout::bridge_table())?;
        }
        if !is_there(&table.name) {
            return Ok((self.load(&table, &wanted, None)?, true));
        }
        let held = self.socket.ruleset(&table);
        match &held {
            Ok(held) => {
                if let Some(difference) = Difference::between(held, &wanted.ruleset()) {
                    return Ok((self.repair(&difference)?, false));
                }
            }
            Err(error) => tracing::warn!(%error, "the Service rules that were there cannot be read"),
        }
        tracing::info!("the Service rules that were there are of another kind; replacing them");
        Ok((self.replace(&table, &wanted, held.ok().as_ref())?, true))
    }

    /// Replaces the table. A packet that is on its way through it may find half of it gone, so the same rules stand
    /// beside it meanwhile.
    fn replace(
        &mut self,
        table: &Table,
        wanted: &Wanted<'_>,
        held: Option<&Held>,
    ) -> Result<usize, NetlinkError> {
        let bridge = layout::bridge_table();
        self.load(&bridge, wanted, held)?;
        let elements = self.load(table, wanted, held)?;
        self.remove_table(&bridge)?;
        Ok(elements)
    }

    /// Writes a table anew, with the clients that `held` remembers.
    fn load(
        &mut self,
        table: &Table,
        wanted: &Wanted<'_>,
        held: Option<&Held>,
    ) -> Result<usize, NetlinkError> {
        let mut batch = Batch::new();
        // The first makes sure that there is something to delete.
        batch.add_table(table);
        batch.delete_table(table);
        wanted.write(table, &mut batch);
        if let Some(held) = held {
            clients::carry_over(held, table, &mut batch);
        }
        self.socket.commit(batch)?;
        Ok(wanted.edits.len())
    }

    fn repair(&mut self, difference: &Difference<'_>) -> Result<usize, NetlinkError> {
        let (mut prepared, mut edited, mut cleaned) = (Batch::new(), Batch::new(), Batch::new());
        difference.prepare(&mut prepared);
        difference.edit(&mut edited);
        difference.clean(&mut cleaned);
        for batch in [prepared, edited, cleaned] {
            self.socket.commit(batch)?;
        }
        Ok(difference.len())
    }

    fn remove_table(&mut self, table: &Table) -> Result<(), NetlinkError> {
        let mut batch = Batch::new();
        batch.delete_table(table);
        self.socket.commit(batch)
    }

    fn change(
        &mut self,
        settings: &Settings,
        surroundings: &Surroundings,
        changes: &[Change],
    ) -> Result<usize, NetlinkError> {
        let mut edits = layout::edits(changes);
        edits.surround(&self.surroundings, surroundings);
        let step = self.chains.follow(&edits);
        let (mut before, mut with) = (Batch::new(), Batch::new());
        step.before(settings, &layout::table(), &mut before);
        step.with(&edits, &layout::table(), &mut with);
        self.socket.commit(before)?;
        self.socket.commit(with)?;
        self.surroundings = surroundings.clone();
        Ok(edits.len())
    }

    /// Makes the kernel forget UDP connections to endpoints that are gone, so that their next packet finds
    /// another, and adds that to the report. A failure only leaves those connections to time out.
    fn forget_flows(&mut self, ruleset: &Ruleset, changes: &[Change], report: Report) -> Report {
        if !conntrack::concerned(changes) {
            return report;
        }
        let since = Instant::now();
        let flows = conntrack::forget(&mut self.socket, ruleset, changes, &self.surroundings.own)
            .unwrap_or_else(conntrack::stale::not_forgotten);
        Report { flows, flows_took: Some(since.elapsed()), ..report }
    }

    /// Makes the kernel forget connections that began while rules were missing. A failure only leaves them to time
    /// out.
    fn forget_untranslated(&mut self, ruleset: &Ruleset) {
        match flows::forget_untranslated(&mut self.socket, ruleset, &self.surroundings.own) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "connections that began without rules were forgotten"),
            Err(error) => {
                tracing::warn!(%error, "connections that began without rules were not forgotten");
            }
        }
    }

    /// Makes the kernel forget which clients stay with endpoints that are gone. A failure only leaves them to time
    /// out.
    fn forget_clients(&mut self, ruleset: &Ruleset) {
        if let Err(error) = clients::forget(&mut self.socket, ruleset) {
            tracing::warn!(%error, "clients of endpoints that are gone were not forgotten");
        }
    }
}

/// Removes the proxy's tables from the network namespace of the socket. It is no error if there are none.
///
/// # Errors
/// [`Error::Cleanup`] says what the kernel did not like.
pub fn cleanup(socket: &mut Socket) -> Result<(), Error> {
    let mut batch = Batch::new();
    for table in [layout::table(), layout::bridge_table()] {
        batch.add_table(&table);
        batch.delete_table(&table);
    }
    socket.commit(batch).map_err(Error::Cleanup)
}
