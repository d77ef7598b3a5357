//! kube-proxy's own layout of nftables mode, for audit: the tables `ip kube-proxy` and `ip6 kube-proxy` as
//! Kubernetes 1.36 lays them out, with its names, comments and order of rules.
//!
//! It is loaded whole with each change, since it has a set for each Service and none of ours that follow single
//! endpoints. Ways of balancing and weights are not part of it.

mod base;
mod name;
mod port;
mod writer;

use std::time::Instant;

use nfnetlink::{Batch, Ruleset, Socket, Table, Transaction};
use service::Family;

use crate::conntrack::stale;
use crate::error::Error;
use crate::mode::{Mode, Report, Touched};
use crate::sight::Sight;
use writer::Writer;

/// The rules of one family.
pub fn compile(sight: &Sight<'_>, family: Family) -> Ruleset {
    let mut writer = Writer::new(table(family), family);
    base::write(sight, &mut writer);
    for view in sight.all_ports().iter().filter(|view| view.family == family) {
        port::write(sight, view, &mut writer);
    }
    writer.finish()
}

/// kube-proxy's table of this family.
fn table(family: Family) -> Table {
    let family = match family {
        Family::V4 => nfnetlink::Family::Ip,
        Family::V6 => nfnetlink::Family::Ip6,
    };
    Table { comment: "rules for kube-proxy".to_owned(), ..Table::new(family, "kube-proxy") }
}

/// nftables mode with kube-proxy's layout at work.
#[derive(Debug)]
pub struct KubeProxy {
    socket: Socket,
}

impl KubeProxy {
    /// Nothing is written before the first [`Mode::sync`].
    pub fn new(socket: Socket) -> Self {
        Self { socket }
    }
}

impl Mode for KubeProxy {
    fn sync(&mut self, sight: &Sight<'_>, _touched: &Touched<'_>) -> Result<Report, Error> {
        let mut batch = Batch::new();
        let mut elements = 0;
        for family in Family::ALL {
            let ruleset = compile(sight, family);
            elements += ruleset.sets().map(|set| set.elements().count()).sum::<usize>();
            batch.add_table(&table(family));
            batch.delete_table(&table(family));
            ruleset.replay(&mut batch);
        }
        self.socket.commit(batch).map_err(Error::load)?;
        let fronts: Vec<_> = sight.all_ports().iter().filter_map(stale::Front::of).collect();
        let since = Instant::now();
        let flows = stale::forget(&mut self.socket, &fronts, sight.node).unwrap_or_else(stale::not_forgotten);
        let flows_took = Some(since.elapsed());
        Ok(Report { elements, full: true, flows, flows_took, ..Report::default() })
    }
}

/// Removes kube-proxy's tables from the network namespace of the socket, whoever wrote them. It is no error if there
/// are none.
///
/// # Errors
/// [`Error::Cleanup`] says what the kernel did not like.
pub fn cleanup(socket: &mut Socket) -> Result<(), Error> {
    let mut batch = Batch::new();
    for family in Family::ALL {
        batch.add_table(&table(family));
        batch.delete_table(&table(family));
    }
    socket.commit(batch).map_err(Error::Cleanup)
}

#[cfg(test)]
mod tests;
