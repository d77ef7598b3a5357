//! The messages of a zone transfer (RFC 5936).

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::wire::{HEADER, LARGEST_TCP, Name, Query, Reply, Section, flag, kind, pointer, rcode};
use crate::zone::{AddressSource, OWN_NAME, Reading, RecordFilter, Records, SVC, SrvTarget, View};

/// A pointer to the name of the zone: the question, which all messages repeat.
const APEX: [u8; 2] = pointer(HEADER);

/// The messages with a zone of the cluster: the SOA record, all other records, and the SOA record again.
///
/// The records are those that queries for their names get. Reverse zones have PTR records, other zones have the rest.
pub(crate) fn messages(view: &View, query: &Query<'_>) -> Vec<Vec<u8>> {
    let reading = view.read();
    let mut zone = Zone { query, messages: Vec::new(), records: Vec::new(), length: 0 };
    let (soa_ttl, soa) = crate::answer::soa_at_question(view);
    zone.put(&APEX, kind::SOA, soa_ttl, &soa);
    let servers = view.name_servers(&reading);
    for name in servers.iter().map(|(name, _)| name).collect::<BTreeSet<_>>() {
        zone.put(&APEX, kind::NS, view.ttl, &[name, &APEX[..]].concat());
    }
    if query.name.is_reverse() {
        for (name, address) in &servers {
            zone.address(&[name, &APEX[..]].concat(), *address, view.ttl);
        }
        zone.pointers(view, &reading);
    } else {
        for address in servers.iter().map(|(_, address)| *address).collect::<BTreeSet<_>>() {
            zone.address(&[OWN_NAME, &APEX].concat(), address, view.ttl);
        }
        zone.put(&[&b"\x0bdns-version"[..], &APEX].concat(), kind::TXT, 28_800, b"\x051.1.0");
        for records in reading.services().filter(|records| view.shows_service(&reading, records)) {
            zone.service(view, records);
        }
    }
    zone.put(&APEX, kind::SOA, soa_ttl, &soa);
    zone.flush();
    zone.messages
}

/// Messages that are being filled.
struct Zone<'a> {
    query: &'a Query<'a>,
    messages: Vec<Vec<u8>>,
    /// The records of the next message: owner name, type, TTL and data.
    records: Vec<(Vec<u8>, u16, u32, Vec<u8>)>,
    length: usize,
}

impl Zone<'_> {
    fn put(&mut self, name: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        let length = name.len() + 10 + data.len();
        if self.length + length > LARGEST_TCP - 512 {
            self.flush();
        }
        self.length += length;
        self.records.push((name.to_vec(), kind, ttl, data.to_vec()));
    }

    fn flush(&mut self) {
        let mut message = Vec::with_capacity(self.length + 512);
        let mut reply = Reply::to(self.query, LARGEST_TCP, &mut message);
        reply.set(flag::AA);
        for (name, kind, ttl, data) in self.records.drain(..) {
            reply.record(Section::Answer, &[&name], kind, ttl, &[&data]);
        }
        reply.finish(rcode::NOERROR);
        self.length = 0;
        self.messages.push(message);
    }

    fn address(&mut self, name: &[u8], address: IpAddr, ttl: u32) {
        match address {
            IpAddr::V4(v4) => self.put(name, kind::A, ttl, &v4.octets()),
            IpAddr::V6(v6) => self.put(name, kind::AAAA, ttl, &v6.octets()),
        }
    }

    /// Adds the records of a Service.
    fn service(&mut self, view: &View, records: &Records) {
        let own = [&records.key[..], SVC, &APEX].concat();
        match &records.source {
            AddressSource::Nothing => return,
            AddressSource::Alias(target) => return self.put(&own, kind::CNAME, view.ttl, target),
            AddressSource::ClusterIp | AddressSource::Endpoints => {}
        }
        let v4 = records.v4.iter().copied().map(IpAddr::from);
        for address in v4.chain(records.v6.iter().copied().map(IpAddr::from)) {
            self.address(&own, address, view.ttl);
        }
        let everything = RecordFilter::default();
        self.srv_targets(view, records, &everything, &own);
        for port in records.all_ports().filter(|port| !port.name.is_empty()).collect::<BTreeSet<_>>() {
            let filter = RecordFilter { host: None, port: Some((&port.name, port.protocol)) };
            let protocol = port.protocol.to_string().to_ascii_lowercase();
            let labels = [&*port.name, protocol.as_bytes()];
            let labels = labels.map(|label| [&[label.len() as u8 + 1, b'_'][..], label].concat());
            self.srv_targets(view, records, &filter, &[&labels.concat()[..], &own].concat());
        }
        let mut buffer = [0; 64];
        let labels = records.subsets.iter().flat_map(|subset| subset.labels(None));
        for label in labels.collect::<BTreeSet<_>>() {
            let name = [label.wire(&mut buffer), &own].concat();
            records.addresses_of(label).for_each(|address| self.address(&name, address, view.ttl));
            self.srv_targets(view, records, &RecordFilter { host: Some(label), port: None }, &name);
        }
    }

    /// Adds the SRV records of a name.
    fn srv_targets(&mut self, view: &View, records: &Records, filter: &RecordFilter<'_>, owner: &[u8]) {
        let mut buffer = [0; 64];
        let weight = (100 / records.srv_targets(filter).count().max(1)).max(1) as u16;
        for SrvTarget { port, label, .. } in records.srv_targets(filter) {
            let label = label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
            let target = [label, &records.key, SVC, self.query.name.wire()].concat();
            if Name::read(&target, 0).is_ok() {
                let data = [&[0, 0], &weight.to_be_bytes()[..], &port.number.to_be_bytes(), &target].concat();
                self.put(owner, kind::SRV, view.ttl, &data);
            }
        }
    }

    /// Adds the PTR records of the addresses in this zone.
    fn pointers(&mut self, view: &View, reading: &Reading<'_>) {
        let mut buffer = [0; 64];
        for address in reading.addresses() {
            let Ok(name) = Name::of_address(address) else { continue };
            let Some(front) = name.below(&self.query.name) else { continue };
            let owner = [name.span(0, front), &APEX].concat();
            for pointer in view.pointers(reading, address) {
                let label = pointer.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
                let target = [label, pointer.key, SVC, view.domain().wire()].concat();
                self.put(&owner, kind::PTR, view.ttl, &target);
            }
        }
    }
}
