//! Records of other messages, copied.

use std::collections::HashMap;

use super::{HEADER, LAST_POINTED, Name, Record, Reply, Section, kind, names_inside, pointer};

/// Copies records into a reply, with names that point back to what is there already (RFC 1035, 4.1.4).
#[derive(Debug)]
pub(crate) struct Copier<'r, 'a> {
    reply: &'r mut Reply<'a>,
    /// The name asked for, as owners are compared with it.
    asked: Name,
    /// Where names are that others may end with, in the letters in which they stand there.
    places: HashMap<Box<[u8]>, u16>,
}

impl<'r, 'a> Copier<'r, 'a> {
    /// Copies into the reply to a query for a name.
    pub(crate) fn new(reply: &'r mut Reply<'a>, asked: &Name) -> Self {
        Self { reply, asked: asked.clone(), places: HashMap::new() }
    }

    /// Copies a record of class IN, as [`Reply::record`] adds one.
    pub(crate) fn record(&mut self, section: Section, record: &Record) -> bool {
        let mut owner = Vec::new();
        // The letters of the client's own name are the client's.
        let asked = *record.name == *self.asked.wire();
        if asked {
            owner.extend_from_slice(&pointer(HEADER));
        } else {
            self.shorten(&record.name, &mut owner);
        }
        let at = self.reply.place();
        let (data, names) = self.data(record, at + owner.len() + 10);
        let fits = self.reply.record(section, &[&owner], record.kind, record.ttl, &[&data]);
        if fits {
            if !asked {
                self.learn(&record.name, at);
            }
            names.into_iter().for_each(|(name, at)| self.learn(name, at));
        }
        fits
    }

    /// The data of a record that will stand at a place, and where in the message its names are. Names are shortened
    /// in the types of RFC 1035 alone; in others that is not allowed (RFC 3597, 4).
    fn data<'d>(&self, record: &'d Record, at: usize) -> (Vec<u8>, Vec<(&'d [u8], usize)>) {
        let (before, count) = names_inside(record.kind).unwrap_or((record.data.len(), 0));
        let shortened = !matches!(record.kind, kind::SRV | kind::DNAME);
        let (start, mut rest) = record.data.split_at(before);
        let (mut data, mut names) = (start.to_vec(), Vec::new());
        for _ in 0..count {
            let (name, after) = rest.split_at(length(rest));
            names.push((name, at + data.len()));
            if shortened {
                self.shorten(name, &mut data);
            } else {
                data.extend_from_slice(name);
            }
            rest = after;
        }
        data.extend_from_slice(rest);
        (data, names)
    }

    /// Appends a name, its end as a pointer if it is there already.
    fn shorten(&self, name: &[u8], out: &mut Vec<u8>) {
        for start in labels(name) {
            if let Some(place) = self.places.get(&name[start..]) {
                out.extend_from_slice(&name[..start]);
                out.extend_from_slice(&pointer(usize::from(*place)));
                return;
            }
        }
        out.extend_from_slice(name);
    }

    /// Remembers that a name in wire form stands at a place, up to the end of it that was there before.
    pub(crate) fn learn(&mut self, name: &[u8], at: usize) {
        for start in labels(name) {
            if at + start > LAST_POINTED || self.places.contains_key(&name[start..]) {
                return;
            }
            self.places.insert(name[start..].into(), (at + start) as u16);
        }
    }
}

/// Where the labels of a name in wire form begin, without the root.
fn labels(name: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0), |start| Some(start + 1 + usize::from(name[*start])))
        .take_while(|start| name[*start] != 0)
}

/// How many bytes the name has that some bytes begin with.
fn length(bytes: &[u8]) -> usize {
    labels(bytes).last().map_or(0, |last| last + 1 + usize::from(bytes[last])) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{CLASS_IN, Message, Query};

    fn name(text: &str) -> Box<[u8]> {
        Name::from_text(text).unwrap().wire().into()
    }

    fn record(owner: &str, kind: u16, data: &[u8]) -> Record {
        Record { name: name(owner), kind, ttl: 30, data: data.into() }
    }

    fn copied(asked: &str, records: &[Record]) -> Vec<u8> {
        let packet = Query::packet(&name(asked), kind::A, CLASS_IN);
        let query = Query::decode(&packet).unwrap();
        let mut out = Vec::new();
        let mut reply = Reply::to(&query, 65_535, &mut out);
        let mut copier = Copier::new(&mut reply, &query.name);
        assert!(records.iter().all(|record| copier.record(Section::Answer, record)));
        reply.finish(0);
        out
    }

    /// RFC 1035, 4.1.4.
    #[test]
    fn names_point_to_where_they_were_written_and_read_the_same() {
        let soa = [&name("ns.x.example")[..], &name("me.x.example"), &[0; 20]].concat();
        let location = [&[0; 6][..], &name("web-0.b.example")].concat();
        let records = [
            record("a.example", kind::CNAME, &name("b.example")),
            record("b.example", kind::A, &[192, 0, 2, 1]),
            record("b.example", kind::A, &[192, 0, 2, 2]),
            record("b.example", kind::SRV, &location),
            record("web-0.b.example", kind::AAAA, &[1; 16]),
            record("x.example", kind::SOA, &soa),
            record(".", kind::TXT, &[1, b'x']),
        ];
        let out = copied("a.example", &records);
        let read: Vec<_> = Message::read(&out).unwrap().records().unwrap();
        assert_eq!(
            read.iter().map(|(_, record)| record).collect::<Vec<_>>(),
            records.iter().collect::<Vec<_>>()
        );
        let question = HEADER + 11 + 4;
        // Pointer, ten bytes and the target; then two pointers with their addresses; then the location as it is.
        assert_eq!(out[question + 12 + 11..][..2], pointer(question + 12));
        let sizes = [12 + 11, 12 + 4, 12 + 4, 12 + 6 + 17, 12 + 16, 12 + 2 + 2 * (3 + 2 + 2) + 20, 11 + 2];
        assert_eq!(out.len(), question + sizes.iter().sum::<usize>());
    }

    #[test]
    fn whatever_can_be_read_is_copied_as_it_was_read() {
        let soa = [&name("ns.x.example")[..], &name("me.x.example"), &[0; 20]].concat();
        let whole = copied(
            "a.example",
            &[
                record("a.example", kind::CNAME, &name("b.example")),
                record("b.example", kind::SRV, &[&[0; 6][..], &name("web-0.b.example")].concat()),
                record("b.example", kind::MX, &[&[0; 2][..], &name("b.example")].concat()),
                record("x.example", kind::SOA, &soa),
            ],
        );
        let read = |packet: &[u8]| {
            let records = Message::read(packet)?.records()?;
            Ok::<Vec<_>, crate::wire::Malformed>(records.into_iter().map(|(_, record)| record).collect())
        };
        let (mut readable, bits) = (0, whole.len() * 8);
        for bit in HEADER * 8..bits {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(records) = read(&flipped) else { continue };
            readable += 1;
            assert_eq!(read(&copied("a.example", &records)).unwrap(), records, "bit {bit}");
        }
        assert!(readable > bits / 4, "{readable} of {bits}");
    }

    #[test]
    fn letters_of_data_stay_and_the_clients_name_has_the_clients() {
        let target: &[u8] = b"\x03WWW\x07Example\0";
        let records =
            [record("a.example", kind::CNAME, target), record("a.example", kind::PTR, &name("b.example"))];
        let out = copied("A.Example", &records);
        let read = Message::read(&out).unwrap().records().unwrap();
        assert_eq!((&*read[0].1.data, &*read[1].1.data), (target, &*name("b.example")));
        assert_eq!(out[HEADER + 11 + 4..][..2], pointer(HEADER));
    }

    #[test]
    fn nothing_points_behind_what_a_pointer_can_tell() {
        let filler = record("a.example", kind::TXT, &[0; 17_000]);
        let late = record("late.example", kind::A, &[0; 4]);
        let out = copied("a.example", &[filler, late.clone(), late]);
        assert_eq!(Message::read(&out).unwrap().records().unwrap().len(), 3);
    }
}
