//! The names of `hosts`, looked up by name and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::HostsOptions;
use crate::wire::{CLASS_IN, HEADER, Name, Query, Reply, Section, flag, kind, pointer, rcode};
use crate::zone::reverse_address;

/// The most names that are kept. If there are more, that is logged.
const MOST_NAMES: usize = 1_000_000;

/// The names of a file and of lines in the Corefile.
#[derive(Debug)]
pub(crate) struct HostNames {
    options: HostsOptions,
    names: RwLock<Arc<Entries>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Entries {
    addresses: HashMap<Box<[u8]>, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Name>>,
}

impl HostNames {
    /// Reads the names.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn new(options: HostsOptions) -> std::io::Result<Self> {
        let hosts = Self { options, names: RwLock::default() };
        hosts.refresh()?;
        Ok(hosts)
    }

    /// Reads the file again. Returns whether names changed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn refresh(&self) -> std::io::Result<bool> {
        let file = self.options.file.as_deref().map_or(Ok(String::new()), read)?;
        let lines = self.options.lines.iter().map(String::as_str);
        let names = Entries::parse(file.lines().chain(lines), &self.options.zones);
        let mut own = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if **own == names {
            return Ok(false);
        }
        *own = Arc::new(names);
        Ok(true)
    }

    /// The interval in which the file should be read again; `None` means never.
    pub(crate) fn interval(&self) -> Option<std::time::Duration> {
        Some(self.options.reload).filter(|every| !every.is_zero() && self.options.file.is_some())
    }

    /// Writes the reply of at most `limit` bytes. Returns false if the name is left to the next plugin.
    ///
    /// As in CoreDNS a missing name that does not fall through is a failure (SERVFAIL), because a negative answer
    /// needs an SOA record. Missing addresses are always left to the next plugin, whatever the zones.
    pub(crate) fn answer(&self, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        if query.class != CLASS_IN {
            return false;
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner).clone();
        if query.kind == kind::PTR {
            return self.pointers(&names, query, limit, out);
        }
        if !below_any(&query.name, &self.options.zones) {
            return false;
        }
        let Some(addresses) = names.addresses.get(query.name.wire()) else {
            let falls = self.options.fall_through.as_ref();
            if falls.is_some_and(|zones| below_any(&query.name, zones)) {
                return false;
            }
            Reply::to(query, limit, out).finish(rcode::SERVFAIL);
            return true;
        };
        let mut reply = Reply::to(query, limit, out);
        reply.set(flag::AA);
        for address in addresses {
            let (kind, data) = match address {
                IpAddr::V4(v4) => (kind::A, &v4.octets()[..]),
                IpAddr::V6(v6) => (kind::AAAA, &v6.octets()[..]),
            };
            if kind == query.kind {
                reply.record(Section::Answer, &[&pointer(HEADER)], kind, self.options.ttl, &[data]);
            }
        }
        reply.finish(rcode::NOERROR);
        true
    }

    fn pointers(&self, names: &Entries, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let address = reverse_address(&query.name).filter(|_| self.options.reverse);
        let Some(found) = address.and_then(|address| names.names.get(&address)) else { return false };
        let mut reply = Reply::to(query, limit, out);
        reply.set(flag::AA);
        for name in found {
            reply.record(Section::Answer, &[&pointer(HEADER)], kind::PTR, self.options.ttl, &[name.wire()]);
        }
        reply.finish(rcode::NOERROR);
        true
    }
}

fn below_any(name: &Name, zones: &[Name]) -> bool {
    zones.iter().any(|zone| name.below(zone).is_some())
}

fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

impl Entries {
    fn parse<'a>(lines: impl Iterator<Item = &'a str>, zones: &[Name]) -> Self {
        let mut names = Self::default();
        for line in lines {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
            let Some(address) = address else { continue };
            for name in words.filter_map(|word| Name::from_text(word).ok()) {
                if names.addresses.len() == MOST_NAMES {
                    tracing::warn!(most = MOST_NAMES, "the hosts file has more names than are kept");
                    return names;
                }
                if !below_any(&name, zones) {
                    continue;
                }
                let back = names.names.entry(address).or_default();
                if !back.contains(&name) {
                    back.push(name.clone());
                }
                let addresses = names.addresses.entry(name.wire().into()).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Message;

    fn hosts(lines: &str, fall_through: bool) -> HostNames {
        let root = vec![Name::root()];
        let options = HostsOptions {
            file: None,
            zones: root.clone(),
            lines: lines.lines().map(str::to_owned).collect(),
            ttl: 60,
            reverse: true,
            reload: std::time::Duration::ZERO,
            fall_through: fall_through.then_some(root),
        };
        HostNames::new(options).unwrap()
    }

    /// The response code and the data of the answer's records.
    fn ask(hosts: &HostNames, name: &str, kind: u16) -> Option<(u16, Vec<Vec<u8>>)> {
        let packet = Query::packet(Name::from_text(name).unwrap().wire(), kind, CLASS_IN);
        let mut out = Vec::new();
        hosts.answer(&Query::decode(&packet).unwrap(), 512, &mut out).then(|| {
            let message = Message::read(&out).unwrap();
            let data = message.records().unwrap().into_iter().map(|(_, record)| record.data.to_vec());
            (message.rcode(), data.collect())
        })
    }

    #[test]
    fn names_lead_to_all_their_addresses_and_back() {
        let hosts = hosts(
            "192.0.2.1 One one.example # comment\n192.0.2.2 one.example\n2001:db8::1 one.example\nx y",
            false,
        );
        assert_eq!(
            ask(&hosts, "ONE.example", kind::A),
            Some((0, vec![vec![192, 0, 2, 1], vec![192, 0, 2, 2]]))
        );
        assert_eq!(
            ask(&hosts, "one.example", kind::TXT),
            Some((0, vec![])),
            "the name exists without records of this type"
        );
        let (code, names) = ask(&hosts, "1.2.0.192.in-addr.arpa", kind::PTR).unwrap();
        assert_eq!((code, names.len(), &names[0][..]), (0, 2, &b"\x03one\0"[..]));
    }

    #[test]
    fn coredns_missing_names_fail_without_fallthrough_and_missing_addresses_fall_through() {
        assert_eq!(ask(&hosts("192.0.2.1 a", true), "b", kind::A), None);
        let alone = hosts("192.0.2.1 a", false);
        assert_eq!(ask(&alone, "b", kind::A), Some((rcode::SERVFAIL, vec![])));
        assert_eq!(ask(&alone, "2.2.0.192.in-addr.arpa", kind::PTR), None);
        assert_eq!(ask(&alone, "a", kind::PTR), None, "a name that is no address");
        assert_eq!(ask(&alone, "1.2.0.192.in-addr.arpa", kind::A), Some((rcode::SERVFAIL, vec![])));
    }

    #[test]
    fn coredns_names_outside_the_zones_are_not_in_the_file() {
        let mut hosts = hosts("192.0.2.1 a.example b.test", false);
        hosts.options.zones = vec![Name::from_text("example").unwrap()];
        hosts.refresh().unwrap();
        assert_eq!(ask(&hosts, "b.test", kind::A), None);
        let (_, names) = ask(&hosts, "1.2.0.192.in-addr.arpa", kind::PTR).unwrap();
        assert_eq!(names, [b"\x01a\x07example\0".to_vec()]);
    }
}
