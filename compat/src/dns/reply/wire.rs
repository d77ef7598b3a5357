//! From bytes to a reply (RFC 1035, section 4.1; RFC 6891, section 6.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{BITS, Outcome, Record, Reply, Section};
use crate::dns::question::{Edns, Question, hexadecimal};
use crate::dns::{codes, name};

/// Reads a message that answers this question.
pub fn decode(message: &[u8], question: &Question) -> Outcome {
    reply(message, question).map_or(Outcome::Garbage, Outcome::Reply)
}

fn reply(message: &[u8], question: &Question) -> Option<Reply> {
    let mut reader = Reader { message, at: 2 };
    let head = reader.u16()?;
    let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
    if head & 0x8000 == 0 {
        return None;
    }
    let mut reply = Reply {
        rcode: head & 0x000f,
        opcode: (head >> 11 & 0x0f) as u8,
        flags: BITS.map(|bit| head & bit != 0),
        ..Reply::default()
    };
    let mut echo = Vec::new();
    for _ in 0..counts[0] {
        let name = reader.name()?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        echo.push(format!("{name} {} {}", codes::class_word(class), codes::type_word(kind)));
    }
    let echo = echo.join(", ");
    let asked = question.proper().map_or_else(String::new, |proper| {
        // Compared as the wire has it, which cuts nothing and escapes alike.
        let name = name::decode(&name::encode(&proper.name), &mut 0).unwrap_or_default();
        format!("{name} {} {}", codes::class_word(proper.class), codes::type_word(proper.kind))
    });
    reply.echo = (echo != asked).then_some(echo);
    let sections = [Section::Answer, Section::Authority, Section::Additional];
    for (section, count) in sections.into_iter().zip(&counts[1..]) {
        for _ in 0..*count {
            let name = reader.name()?;
            let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
            let length = usize::from(reader.u16()?);
            let end = reader.at + length;
            if end > message.len() {
                return None;
            }
            if kind == codes::OPT {
                reply.rcode |= (ttl >> 24 << 4) as u16;
                reply.edns = Some(Edns {
                    size: class,
                    version: (ttl >> 16) as u8,
                    dnssec: ttl & 0x8000 != 0,
                    options: message[reader.at..end].to_vec(),
                });
            } else {
                let data = reader.data(kind, end)?;
                reply.records.push(Record { section, name, kind, class, ttl, data });
            }
            reader.at = end;
        }
    }
    Some(reply)
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at + count)?;
        self.at += count;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn name(&mut self) -> Option<String> {
        name::decode(self.message, &mut self.at)
    }

    /// What a record says, as text.
    fn data(&mut self, kind: u16, end: usize) -> Option<String> {
        Some(match kind {
            codes::A => Ipv4Addr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?).to_string(),
            codes::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?).to_string(),
            codes::NS | codes::CNAME | codes::PTR => self.name()?,
            codes::MX => format!("{} {}", self.u16()?, self.name()?),
            codes::SRV => format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?),
            codes::SOA => {
                let (server, mail, _serial) = (self.name()?, self.name()?, self.u32()?);
                format!("{server} {mail} * {} {} {} {}", self.u32()?, self.u32()?, self.u32()?, self.u32()?)
            }
            codes::TXT => {
                let mut words = Vec::new();
                while self.at < end {
                    let length = usize::from(self.take(1)?[0]);
                    words.push(format!("{:?}", String::from_utf8_lossy(self.take(length)?)));
                }
                words.join(" ")
            }
            _ => format!("\\# {}", hexadecimal(self.message.get(self.at..end)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_apart() {
        let question = Question::new("a.", codes::SOA);
        let mut message = question.encode(7);
        message[2..4].copy_from_slice(&[0x84, 0x03]);
        message[7..12].copy_from_slice(&[1, 0, 0, 0, 1]);
        message.extend(b"\xc0\x0c\0\x06\0\x01\0\0\0\x05\0\x1b\xc0\x0c\x02m.\xc0\x0c");
        message.extend([[0_u8, 0, 0, 9], [0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 3], [0, 0, 0, 4]].concat());
        message.extend(b"\0\0\x29\x04\xd0\x01\0\x80\0\0\0");
        let Outcome::Reply(reply) = decode(&message, &question) else { panic!("{message:x?}") };
        assert_eq!((reply.rcode, reply.is("aa"), reply.is("ra"), &reply.echo), (19, true, false, &None));
        assert_eq!(reply.records[0].data, "a. m\\046.a. * 1 2 3 4");
        assert_eq!(reply.edns, Some(Edns { size: 1232, version: 0, dnssec: true, options: vec![] }));
        assert_eq!(decode(&message[..message.len() - 1], &question), Outcome::Garbage);
    }
}
