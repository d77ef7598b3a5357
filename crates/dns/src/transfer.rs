//! A zone sent whole (RFC 5936).

use std::net::IpAddr;

use crate::wire::{HEADER, LARGEST_TCP, Name, Query, Reply, Section, flag, kind, pointer, rcode};
use crate::zone::{Behind, Filter, Reading, Records, View};

/// The name of the zone, where all messages repeat the question.
const APEX: [u8; 2] = pointer(HEADER);

/// The messages that carry a zone of the cluster: its SOA record, all others, and the SOA record again.
///
/// Each record is that of a query for its name; the zones of addresses have PTR records, the others the rest.
pub(crate) fn messages(view: &View, query: &Query<'_>) -> Vec<Vec<u8>> {
    let reading = view.read();
    let mut zone = Zone { query, messages: Vec::new(), records: Vec::new(), length: 0 };
    let soa = crate::answer::start_of_authority(view);
    zone.put(&APEX, kind::SOA, view.ttl, &soa);
    zone.put(&APEX, kind::NS, view.ttl, &[&b"\x02ns\x03dns"[..], &APEX].concat());
    for address in view.servers() {
        zone.address(&[&b"\x02ns\x03dns"[..], &APEX].concat(), *address, view.ttl);
    }
    if query.name.is_reverse() {
        zone.pointers(view, &reading);
    } else {
        zone.put(&[&b"\x0bdns-version"[..], &APEX].concat(), kind::TXT, 28_800, b"\x051.1.0");
        for records in reading.services().filter(|records| view.shows_service(&reading, records)) {
            zone.service(view, records);
        }
    }
    zone.put(&APEX, kind::SOA, view.ttl, &soa);
    zone.flush();
    zone.messages
}

/// Messages being filled.
struct Zone<'a> {
    query: &'a Query<'a>,
    messages: Vec<Vec<u8>>,
    /// Records of the next message, ready to be copied into it.
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

    /// The records under the name of a Service.
    fn service(&mut self, view: &View, records: &Records) {
        let own = [&records.key[..], b"\x03svc", &APEX].concat();
        match &records.behind {
            Behind::Nothing => return,
            Behind::Alias(target) => return self.put(&own, kind::CNAME, view.ttl, target),
            Behind::ClusterIp | Behind::Endpoints => {}
        }
        let v4 = records.v4.iter().copied().map(IpAddr::from);
        for address in v4.chain(records.v6.iter().copied().map(IpAddr::from)) {
            self.address(&own, address, view.ttl);
        }
        let everything = Filter::default();
        let mut buffer = [0; 64];
        let locations: Vec<_> = records.locations(&everything).collect();
        for (port, label) in &locations {
            let same = locations
                .iter()
                .filter(|(other, _)| (&other.name, other.protocol) == (&port.name, port.protocol));
            let weight = (100 / same.count().max(1)).max(1) as u16;
            let label = label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
            let target = [label, &records.key, b"\x03svc", view.domain().wire()].concat();
            if port.name.is_empty() || Name::read(&target, 0).is_err() {
                continue;
            }
            let protocol = port.protocol.to_string().to_ascii_lowercase();
            let front = [
                &[port.name.len() as u8 + 1, b'_'][..],
                &port.name,
                &[protocol.len() as u8 + 1, b'_'],
                protocol.as_bytes(),
            ];
            let data = [&[0, 0], &weight.to_be_bytes()[..], &port.number.to_be_bytes(), &target].concat();
            self.put(&[&front.concat()[..], &own].concat(), kind::SRV, view.ttl, &data);
        }
        for (label, address) in records.groups.iter().flat_map(|group| group.hosts()) {
            self.address(&[label.wire(&mut buffer), &own].concat(), address, view.ttl);
        }
    }

    /// The names that addresses lead back to, as far as they are in this zone.
    fn pointers(&mut self, view: &View, reading: &Reading<'_>) {
        let mut buffer = [0; 64];
        for address in reading.addresses() {
            let Ok(name) = Name::of_address(address) else { continue };
            let Some(front) = name.below(&self.query.name) else { continue };
            let owner = [name.span(0, front), &APEX].concat();
            for pointer in reading.pointers(address) {
                let label = pointer.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
                let target = [label, pointer.key, b"\x03svc", view.domain().wire()].concat();
                self.put(&owner, kind::PTR, view.ttl, &target);
            }
        }
    }
}
