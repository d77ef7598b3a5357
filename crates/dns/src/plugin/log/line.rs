//! A line of the log, as CoreDNS writes it.

use std::net::IpAddr;

use super::LoggedQuery;
use crate::client::Transport;
use crate::wire::{LARGEST_TCP, Message, PLAIN_UDP, Query, class, flag, kind, rcode};

/// The flags of a reply, in the order in which they are written.
const FLAGS: [(u16, &str); 8] = [
    (flag::QR, "qr"),
    (flag::AA, "aa"),
    (flag::TC, "tc"),
    (flag::RD, "rd"),
    (flag::RA, "ra"),
    (1 << 6, "z"),
    (flag::AD, "ad"),
    (flag::CD, "cd"),
];

/// The line of a query, in the common log format of CoreDNS.
pub(super) fn of_query(answered: &LoggedQuery<'_>, query: &Query<'_>, reply: Message<'_>) -> String {
    let client = answered.client;
    let host = match client.address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let (protocol, size) = match client.transport {
        Transport::Udp => ("udp", query.udp_limit(LARGEST_TCP).max(PLAIN_UDP)),
        Transport::Tcp => ("tcp", LARGEST_TCP),
    };
    let flags: Vec<_> =
        FLAGS.iter().filter(|(bit, _)| reply.flags() & bit != 0).map(|(_, word)| *word).collect();
    let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
    format!(
        "[INFO] {host}:{port} - {id} \"{kind} {class} {name} {protocol} {asked} {dnssec_ok} {size}\" \
         {rcode} {flags} {length} {took}s",
        port = client.port,
        id = query.id,
        kind = word("TYPE", query.kind, kind::name),
        class = word("CLASS", query.class, class::name),
        name = query.name,
        asked = answered.packet.len(),
        rcode = word("", reply.rcode(), rcode::name),
        flags = flags.join(","),
        length = answered.reply.len(),
        took = answered.took.as_secs_f64(),
    )
}

/// The name of a number; the number behind a prefix if it has none (RFC 3597).
fn word(prefix: &str, number: u16, name: fn(u16) -> Option<&'static str>) -> String {
    name(number).map_or_else(|| format!("{prefix}{number}"), str::to_owned)
}
