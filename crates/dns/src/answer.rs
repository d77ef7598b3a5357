//! Answering queries from the names of a cluster.

mod authority;
mod srv;
mod write;

use crate::wire::{Copier, HEADER, Name, Query, Record, Reply, Section, flag, kind, rcode};
use crate::zone::{Found, Reading, View, ZoneMatch};

pub(crate) use authority::soa_at_question;

use write::Owner;

/// The most aliases that are followed inside the cluster. More are taken for a circle.
const LONGEST_CHAIN: usize = 10;

/// What the cluster answers to a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClusterAnswer {
    /// The reply was written.
    Written,
    /// Nothing is answered: the name is not in the cluster.
    Foreign,
    /// The name is an alias of this name outside the cluster, in wire form. Its addresses must be asked for, and then
    /// the query answered once more with them.
    NeedsTarget(Box<[u8]>),
}

/// What is known of the target of an alias that leads outside the cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AliasTarget<'a> {
    /// Nothing yet: it was not asked for.
    NotAsked,
    /// Nothing: it could not be resolved.
    Unknown,
    /// Its addresses.
    Resolved {
        /// The target, in wire form.
        name: &'a [u8],
        /// Its address records and the aliases that lead to them.
        records: &'a [Record],
        /// The response code of the reply about the target.
        rcode: u16,
    },
}

/// How replies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyOptions {
    /// Whether this server resolves names outside the cluster too (flag RA).
    pub(crate) recursion: bool,
    /// Whether the addresses of a Service come in another order for each query.
    pub(crate) balance: bool,
}

/// Answers a query of class IN from the names of a cluster, with a reply of at most `limit` bytes. `external` is the
/// target of the alias, if it was asked for.
pub(crate) fn answer(
    view: &View,
    query: &Query<'_>,
    limit: usize,
    external: AliasTarget<'_>,
    options: ReplyOptions,
    out: &mut Vec<u8>,
) -> ClusterAnswer {
    let Some(zone) = view.zone_of(&query.name) else { return ClusterAnswer::Foreign };
    let reading = view.read();
    let available = if options.recursion { flag::RA } else { 0 };
    let mut reply = Reply::to(query, limit, out);
    reply.set(available);
    if !view.table().synced() {
        reply.finish(rcode::SERVFAIL);
        return ClusterAnswer::Written;
    }
    reply.set(flag::AA);
    let turn = if options.balance { usize::from(query.id) } else { 0 };
    let follower = AliasFollower { view, reading: &reading, turn };
    match follower.follow((&query.name, zone), query.kind, external, &mut reply) {
        Ok(Some(rcode::SERVFAIL)) => {
            // Aliases in a circle are of no use to a client, so the reply begins anew without them.
            let mut reply = Reply::to(query, limit, out);
            reply.set(available | flag::AA);
            reply.finish(rcode::SERVFAIL);
            ClusterAnswer::Written
        }
        Ok(Some(code)) => {
            reply.finish(code);
            ClusterAnswer::Written
        }
        Ok(None) => ClusterAnswer::Foreign,
        Err(target) => ClusterAnswer::NeedsTarget(target),
    }
}

/// Follows aliases through a view of the cluster.
#[derive(Debug, Clone, Copy)]
struct AliasFollower<'a> {
    view: &'a View,
    reading: &'a Reading<'a>,
    /// The number of the address that comes first.
    turn: usize,
}

impl AliasFollower<'_> {
    /// Follows aliases from a name to the records asked for.
    ///
    /// Returns the response code of the last name of the chain (RFC 6604), or `None` if the name is not in the
    /// cluster.
    fn follow(
        self,
        (asked, zone): (&Name, ZoneMatch<'_>),
        kind: u16,
        external: AliasTarget<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Option<u16>, Box<[u8]>> {
        let (mut alias, mut at) = (None, HEADER);
        for _ in 0..LONGEST_CHAIN {
            let (name, lookup) = match &alias {
                None => (asked, self.view.find_within(zone, self.reading, asked)),
                Some(alias) => (alias, self.view.find(self.reading, alias)),
            };
            let owner = Owner { name, at, below: lookup.below, ttl: self.view.ttl };
            let target = match lookup.found {
                Found::Foreign => return Ok(None),
                Found::Alias(target) => target,
                found => return Ok(Some(write::records(self, &owner, &found, kind, reply))),
            };
            let next = owner.alias(target, reply).and_then(|at| Some((Name::read(target, 0).ok()?.0, at)));
            let Some(next) = next.filter(|_| matches!(kind, kind::A | kind::AAAA)) else {
                return Ok(Some(rcode::NOERROR));
            };
            if matches!(self.view.find(self.reading, &next.0).found, Found::Foreign) {
                let mut copier = Copier::new(reply, asked);
                copier.learn(target, next.1);
                return resolved(target, external, &mut copier).map(Some);
            }
            (alias, at) = (Some(next.0), next.1);
        }
        Ok(Some(rcode::SERVFAIL))
    }
}

/// Completes a chain of aliases that leads outside the cluster. If the target could not be resolved, the aliases alone
/// are the answer.
fn resolved(target: &[u8], external: AliasTarget<'_>, copier: &mut Copier<'_, '_>) -> Result<u16, Box<[u8]>> {
    match external {
        AliasTarget::NotAsked => Err(target.into()),
        AliasTarget::Resolved { name, records, rcode } if name == target => {
            for record in records {
                copier.record(Section::Answer, record);
            }
            Ok(rcode)
        }
        AliasTarget::Unknown | AliasTarget::Resolved { .. } => Ok(rcode::NOERROR),
    }
}

#[cfg(test)]
mod tests;
