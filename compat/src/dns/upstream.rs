//! A server for the names that are not the cluster's, which always answers alike.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::Context;

use crate::dns::servers::free_port;
use crate::dns::{codes, name};

/// Records: owner, type and data; an owner with no type exists without records.
const RECORDS: [(&str, u16, &str); 20] = [
    ("www.example.com.", codes::A, "198.51.100.10"),
    ("www.example.com.", codes::A, "198.51.100.11"),
    ("www.example.com.", codes::AAAA, "2001:db8:5::10"),
    ("example.com.", codes::A, "198.51.100.12"),
    ("example.com.", codes::MX, "10 mail.example.com."),
    ("example.com.", codes::TXT, "portolan"),
    ("example.com.", codes::NS, "ns.example.com."),
    ("only-v6.example.com.", codes::AAAA, "2001:db8:5::13"),
    ("alias.example.com.", codes::CNAME, "www.example.com."),
    ("far.example.com.", codes::CNAME, "alias.example.com."),
    ("dangling.example.com.", codes::CNAME, "missing.example.com."),
    ("_sip._tcp.example.com.", codes::SRV, "1 2 5060 www.example.com."),
    ("a.stub.test.", codes::A, "198.51.100.20"),
    ("web-0.stub.test.", codes::A, "198.51.100.21"),
    ("one.com.", codes::A, "198.51.100.30"),
    ("two.com.", codes::A, "198.51.100.31"),
    ("10.100.51.198.in-addr.arpa.", codes::PTR, "www.example.com."),
    ("9.9.9.10.in-addr.arpa.", codes::PTR, "outside.example.com."),
    ("old.example.net.", codes::A, "198.51.100.40"),
    ("empty.example.com.", 0, ""),
];
/// An owner with this many addresses, more than a UDP message takes.
const MANY: (&str, u8) = ("many.example.com.", 120);
/// Names that are answered with an error.
const BROKEN: [(&str, u8); 2] = [("servfail.example.com.", 2), ("refused.example.com.", 5)];
const TTL: u32 = 300;
const ZONE: &str = "example.com.";
/// How many answers one run may need; a loop of questions ends here.
const MOST_QUERIES: usize = 1_000_000;

/// Serves on a port of 127.0.0.1 in the network namespace of the calling thread, until the process ends.
///
/// # Errors
/// No port is free.
pub fn serve() -> anyhow::Result<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())?));
    let udp = UdpSocket::bind(address).with_context(|| format!("UDP {address}"))?;
    let tcp = TcpListener::bind(address).with_context(|| format!("TCP {address}"))?;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        for _ in 0..MOST_QUERIES {
            let Ok((length, peer)) = udp.recv_from(&mut buffer) else { return };
            if let Some(reply) = answer(&buffer[..length], false) {
                let _ = udp.send_to(&reply, peer);
            }
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming().take(MOST_QUERIES).flatten() {
            thread::spawn(move || converse(stream));
        }
    });
    Ok(address)
}

fn converse(mut stream: TcpStream) -> Option<()> {
    for _ in 0..MOST_QUERIES {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).ok()?;
        let reply = answer(&query, true)?;
        stream.write_all(&(reply.len() as u16).to_be_bytes()).ok()?;
        stream.write_all(&reply).ok()?;
    }
    None
}

/// The reply to a query.
fn answer(query: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let asked = name::decode(query, &mut at)?.to_ascii_lowercase();
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    let question = query.get(12..at + 4)?;
    let size = edns_size(query.get(at + 4..)?);
    let (rcode, answers) = find(&asked, kind);
    let mut reply = query.get(..2)?.to_vec();
    let head = 0x8400 | u16::from(query[2] & 1) << 8 | 0x80 | u16::from(rcode);
    reply.extend(head.to_be_bytes());
    let negative = answers.last().is_none_or(|(_, kind, _)| *kind == codes::CNAME && rcode == 3);
    let counts = [1, answers.len() as u16, u16::from(negative), u16::from(size.is_some())];
    reply.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    reply.extend(question);
    for (owner, kind, data) in &answers {
        record(&mut reply, owner, *kind, data);
    }
    if negative {
        record(&mut reply, ZONE, codes::SOA, "");
    }
    if !tcp && reply.len() > usize::from(size.unwrap_or(512).max(512)) {
        reply.truncate(12 + question.len());
        reply[2] |= 2;
        reply[6..10].fill(0);
    }
    if size.is_some() {
        reply.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
    }
    Some(reply)
}

/// What follows the question may be an OPT record.
fn edns_size(rest: &[u8]) -> Option<u16> {
    let rest = rest.strip_prefix(b"\0\0\x29")?;
    Some(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?))
}

type Answers = Vec<(String, u16, String)>;

fn find(asked: &str, kind: u16) -> (u8, Answers) {
    if let Some((_, rcode)) = BROKEN.iter().find(|(name, _)| *name == asked) {
        return (*rcode, Vec::new());
    }
    if asked == MANY.0 {
        let addresses = (1..=MANY.1).map(|host| (asked.to_owned(), codes::A, format!("198.51.101.{host}")));
        return (0, if kind == codes::A { addresses.collect() } else { Vec::new() });
    }
    let mut answers = Answers::new();
    let mut owner = asked;
    // No chain of the table is longer than the table.
    for _ in RECORDS {
        let mut of_owner = RECORDS.iter().filter(|(name, ..)| *name == owner).peekable();
        if of_owner.peek().is_none() {
            return (3, answers);
        }
        let mut target = None;
        for (_, other, data) in of_owner {
            if *other == kind || *other == codes::CNAME {
                answers.push((owner.to_owned(), *other, (*data).to_owned()));
            }
            if *other == codes::CNAME && kind != codes::CNAME {
                target = Some(*data);
            }
        }
        match target {
            Some(target) => owner = target,
            None => break,
        }
    }
    (0, answers)
}

fn record(reply: &mut Vec<u8>, owner: &str, kind: u16, data: &str) {
    reply.extend(name::encode(owner));
    reply.extend(kind.to_be_bytes());
    reply.extend(codes::IN.to_be_bytes());
    reply.extend(TTL.to_be_bytes());
    let data = encode(kind, data);
    reply.extend((data.len() as u16).to_be_bytes());
    reply.extend(data);
}

fn encode(kind: u16, data: &str) -> Vec<u8> {
    let numbers = |words: &[&str]| -> Vec<u8> {
        let numbers = words.iter().map(|word| word.parse::<u16>().unwrap_or_default());
        numbers.flat_map(u16::to_be_bytes).collect()
    };
    let words: Vec<_> = data.split(' ').collect();
    match kind {
        codes::A => data.parse::<Ipv4Addr>().map(|ip| ip.octets().to_vec()).unwrap_or_default(),
        codes::AAAA => data.parse::<std::net::Ipv6Addr>().map(|ip| ip.octets().to_vec()).unwrap_or_default(),
        codes::TXT => [&[data.len() as u8], data.as_bytes()].concat(),
        codes::MX | codes::SRV => {
            let (target, before) = words.split_last().unwrap_or((&"", &[]));
            [numbers(before), name::encode(target)].concat()
        }
        codes::SOA => {
            let names = [name::encode("ns.example.com."), name::encode("hostmaster.example.com.")].concat();
            let numbers = [1_u32, 7200, 1800, 86_400, 60].map(u32::to_be_bytes).concat();
            [names, numbers].concat()
        }
        _ => name::encode(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::question::Question;
    use crate::dns::reply::{Outcome, decode};

    fn ask(name: &str, kind: u16) -> crate::dns::reply::Reply {
        let question = Question::new(name, kind);
        match decode(&answer(&question.encode(1), false).unwrap(), &question) {
            Outcome::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn aliases_are_followed_to_their_end() {
        let reply = ask("Far.example.com.", codes::A);
        let data: Vec<_> = reply.records.iter().map(|record| record.data.as_str()).collect();
        assert_eq!(data, ["alias.example.com.", "www.example.com.", "198.51.100.10", "198.51.100.11"]);
        let dangling = ask("dangling.example.com.", codes::A);
        assert_eq!((dangling.rcode, dangling.records.len()), (3, 2));
    }

    #[test]
    fn what_is_too_long_is_truncated() {
        assert!(ask("many.example.com.", codes::A).is("tc"));
        assert_eq!(ask("many.example.com.", codes::AAAA).records.len(), 1);
        assert_eq!(ask("servfail.example.com.", codes::A).rcode, 2);
    }
}
