//! Copying records of other messages into a reply.

use std::collections::HashMap;

use super::{HEADER, LAST_POINTED, Name, Record, Reply, Section, kind, names_inside, pointer};

/// Copies records into a reply and compresses their names (RFC 1035, 4.1.4).
#[derive(Debug)]
pub(crate) struct Copier<'r, 'a> {
    reply: &'r mut Reply<'a>,
    /// The name of the question.
    asked: Name,
    /// The offsets of names in the reply, by name in wire form with the case in which they were written there.
    places: HashMap<Box<[u8]>, u16>,
}

impl<'r, 'a> Copier<'r, 'a> {
    /// A copier into the reply to a query for the name `asked`.
    pub(crate) fn new(reply: &'r mut Reply<'a>, asked: &Name) -> Self {
        Self { reply, asked: asked.clone(), places: HashMap::new() }
    }

    /// Copies a record of class IN. Returns whether it fit, as [`Reply::record`] does.
    pub(crate) fn record(&mut self, section: Section, record: &Record) -> bool {
        let mut owner = Vec::new();
        // The name of the question keeps the case in which the client wrote it.
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

    /// The data of a record for the offset `at` of the reply, and the names in it with their offsets. Names are
    /// compressed in the types of RFC 1035 only; in other types that is not allowed (RFC 3597, 4).
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

    /// Appends a name. If the reply has a name with the same end, a pointer takes the place of that end.
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

    /// Remembers the offset of a name in wire form, and those of its parent names up to the first that is known.
    pub(crate) fn learn(&mut self, name: &[u8], at: usize) {
        for start in labels(name) {
            if at + start > LAST_POINTED || self.places.contains_key(&name[start..]) {
                return;
            }
            self.places.insert(name[start..].into(), (at + start) as u16);
        }
    }
}

/// The offsets of the labels of a name in wire form, without the root.
fn labels(name: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(0), |start| Some(start + 1 + usize::from(name[*start])))
        .take_while(|start| name[*start] != 0)
}

/// The length in bytes of the name that `bytes` begins with.
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
    fn compressed_names_point_to_equal_names_and_are_read_back() {
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
        // The first record is a pointer, ten bytes and the target of the alias; the second begins with a pointer to
        // that target.
        assert_eq!(out[question + 12 + 11..][..2], pointer(question + 12));
        let sizes = [12 + 11, 12 + 4, 12 + 4, 12 + 6 + 17, 12 + 16, 12 + 2 + 2 * (3 + 2 + 2) + 20, 11 + 2];
        assert_eq!(out.len(), question + sizes.iter().sum::<usize>());
    }

    #[test]
    fn records_that_can_be_read_are_read_back_from_the_copy() {
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
    fn the_case_of_data_is_kept_and_the_name_of_the_question_is_as_the_client_wrote_it() {
        let target: &[u8] = b"\x03WWW\x07Example\0";
        let records =
            [record("a.example", kind::CNAME, target), record("a.example", kind::PTR, &name("b.example"))];
        let out = copied("A.Example", &records);
        let read = Message::read(&out).unwrap().records().unwrap();
        assert_eq!((&*read[0].1.data, &*read[1].1.data), (target, &*name("b.example")));
        assert_eq!(out[HEADER + 11 + 4..][..2], pointer(HEADER));
    }

    #[test]
    fn names_at_offsets_too_large_for_a_pointer_are_not_pointed_to() {
        let filler = record("a.example", kind::TXT, &[0; 17_000]);
        let late = record("late.example", kind::A, &[0; 4]);
        let out = copied("a.example", &[filler, late.clone(), late]);
        assert_eq!(Message::read(&out).unwrap().records().unwrap().len(), 3);
    }
}
