//! From a packet to what is to be done about it.

mod authority;
mod write;

use crate::wire::{HEADER, Name, Query, Record, Reject, Reply, Section, flag, kind, rcode};
use crate::zone::{Found, Zone};

use write::Subject;

/// How long our records may be remembered, in seconds: what CoreDNS' `kubernetes` plugin says by default.
const TTL: u32 = 5;
/// How many aliases are followed inside the cluster before they are taken for a circle.
const LONGEST_CHAIN: usize = 10;

/// How a query came, which decides how large its reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In one datagram.
    Udp,
    /// On a connection.
    Tcp,
}

impl Transport {
    /// The largest reply to a query, in bytes.
    pub(crate) fn limit(self, query: &Query<'_>) -> usize {
        match self {
            Self::Udp => query.udp_limit(),
            Self::Tcp => crate::wire::LARGEST_TCP,
        }
    }
}

/// What is to be done about a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the reply that was written.
    Reply,
    /// Nothing.
    Silence,
    /// Ask an upstream resolver the same question.
    Forward,
    /// Ask an upstream resolver for the addresses of this name, in wire form, and answer once more.
    Resolve(Box<[u8]>),
}

/// What is known of the name outside the cluster that an alias leads to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outside<'a> {
    /// Nothing yet; it may be asked for.
    Unasked,
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

/// Answers a packet from the zone, as far as that goes.
pub(crate) fn answer(
    zone: &Zone,
    packet: &[u8],
    transport: Transport,
    outside: Outside<'_>,
    recursion: bool,
    out: &mut Vec<u8>,
) -> Step {
    let query = match Query::decode(packet) {
        Ok(query) => query,
        Err(Reject::Silence) => return Step::Silence,
        Err(Reject::Header { id, flags, rcode }) => {
            Reply::header_only(id, flags, rcode, out);
            return Step::Reply;
        }
    };
    let mut reply = Reply::to(&query, transport.limit(&query), out);
    if recursion {
        reply.set(flag::RA);
    }
    if query.edns.is_some_and(|edns| edns.version != 0) {
        reply.finish(rcode::BADVERS);
        return Step::Reply;
    }
    if query.class != crate::wire::CLASS_IN || matches!(query.kind, kind::AXFR | kind::IXFR) {
        reply.finish(rcode::REFUSED);
        return Step::Reply;
    }
    let place = zone.find(&query.name);
    if matches!(place.found, Found::Foreign) {
        if recursion {
            return Step::Forward;
        }
        reply.finish(rcode::REFUSED);
        return Step::Reply;
    }
    if !zone.synced() {
        reply.finish(rcode::SERVFAIL);
        return Step::Reply;
    }
    reply.set(flag::AA);
    let outcome = follow(zone, &query.name, query.kind, outside, &mut reply);
    match outcome {
        Ok(code) => {
            reply.finish(code);
            Step::Reply
        }
        Err(target) => Step::Resolve(target),
    }
}

/// Follows aliases from a name of the cluster to the records asked for.
///
/// Returns the response code, which is that of the last name of the chain (RFC 6604), or as an error the name
/// outside the cluster whose addresses must be asked for first.
fn follow(
    zone: &Zone,
    name: &Name,
    kind: u16,
    outside: Outside<'_>,
    reply: &mut Reply<'_>,
) -> Result<u16, Box<[u8]>> {
    let (mut name, mut at) = (name.clone(), HEADER);
    for _ in 0..LONGEST_CHAIN {
        let place = zone.find(&name);
        let subject = Subject { name: &name, at, below: place.below };
        let Found::Alias(target) = place.found else {
            return Ok(write::records(zone, &subject, &place.found, kind, reply));
        };
        let next = subject.alias(target, reply).and_then(|at| Some((Name::read(target, 0).ok()?.0, at)));
        let Some(next) = next.filter(|_| matches!(kind, kind::A | kind::AAAA)) else {
            return Ok(rcode::NOERROR);
        };
        if matches!(zone.find(&next.0).found, Found::Foreign) {
            return resolved(target, outside, reply);
        }
        (name, at) = next;
    }
    Ok(rcode::SERVFAIL)
}

/// Completes a chain that leads outside the cluster. The alias stands even when nobody can say where to.
fn resolved(target: &[u8], outside: Outside<'_>, reply: &mut Reply<'_>) -> Result<u16, Box<[u8]>> {
    match outside {
        Outside::Unasked => Err(target.into()),
        Outside::Resolved { name, records, rcode } if name == target => {
            for record in records {
                let parts = (&[&*record.name][..], &[&*record.data][..]);
                reply.record(Section::Answer, parts.0, record.kind, record.ttl, parts.1);
            }
            Ok(rcode)
        }
        Outside::Unknown | Outside::Resolved { .. } => Ok(rcode::NOERROR),
    }
}

#[cfg(test)]
mod tests;
