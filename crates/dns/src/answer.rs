//! From a packet to what is to be done about it.

mod authority;
mod srv;
mod write;

use crate::wire::{Copier, HEADER, Name, Query, Record, Reply, Section, flag, kind, rcode};
use crate::zone::{Found, Reading, View, ZoneMatch};

pub(crate) use authority::soa_at_question;

use write::Owner;

/// How many aliases are followed inside the cluster before they are taken for a circle.
const LONGEST_CHAIN: usize = 10;

/// What the cluster has to say to a query.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClusterAnswer {
    /// The reply was written.
    Written,
    /// Nothing was written: the name is not the cluster's.
    Foreign,
    /// The name is an alias of this name outside the cluster, in wire form. Its addresses must be asked for, and then
    /// the query answered once more with them.
    NeedsTarget(Box<[u8]>),
}

/// What is known of the name outside the cluster that an alias leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AliasTarget<'a> {
    /// Nothing yet; it may be asked for.
    NotAsked,
    /// Nothing, and there is nobody to ask or nobody answered.
    Unknown,
    /// What an upstream resolver says.
    Resolved {
        /// The name that was asked for, in wire form.
        name: &'a [u8],
        /// Its addresses and the aliases that lead to them.
        records: &'a [Record],
        /// The response code.
        rcode: u16,
    },
}

/// How replies are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyOptions {
    /// Whether names outside the cluster can be asked here too.
    pub(crate) recursion: bool,
    /// Whether addresses come in another order each time.
    pub(crate) balance: bool,
}

/// Answers a query of class IN from the names of a cluster, as far as that goes, with a reply of at most `limit`
/// bytes.
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
            // Aliases that lead nowhere are of no use to anyone, and a circle of them would be told again and again.
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

/// What records are written from.
#[derive(Debug, Clone, Copy)]
struct AliasFollower<'a> {
    view: &'a View,
    reading: &'a Reading<'a>,
    /// Which of several addresses comes first.
    turn: usize,
}

impl AliasFollower<'_> {
    /// Follows aliases from a name to the records asked for.
    ///
    /// Returns the response code, which is that of the last name of the chain (RFC 6604), nothing if the name is
    /// foreign, or as an error the name outside the cluster whose addresses must be asked for first.
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

/// Completes a chain that leads outside the cluster. The alias stands even when nobody can say where to.
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
