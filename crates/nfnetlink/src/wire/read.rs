//! Reading messages and attributes; malformed input ends the iteration, it never panics.

use std::time::Duration;

use super::{ATTRIBUTE, HEADER, NFGENMSG, align};
use crate::uapi::netlink::NLA_TYPE_MASK;

/// One netlink message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// All that follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes after the `nfgenmsg` of a netfilter message.
    pub fn attributes(&self) -> Attributes<'a> {
        self.attributes_after(NFGENMSG)
    }

    /// The attributes after so many bytes that another netlink protocol puts in front of them.
    pub fn attributes_after(&self, front: usize) -> Attributes<'a> {
        Attributes(self.payload.get(front..).unwrap_or_default())
    }

    /// Address family in the `nfgenmsg` of a netfilter message.
    pub fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or_default()
    }
}

/// The messages of one received datagram.
#[derive(Debug, Clone, Copy)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Reads the messages in `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = u32_at(self.0, 0)? as usize;
        let message = self.0.get(..length)?;
        let payload = message.get(HEADER..)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            payload,
        })
    }
}

/// A sequence of attributes.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Reads the attributes in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first attribute of this type.
    pub fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        Iterator::find(&mut self, |attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & NLA_TYPE_MASK;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Type, without the nesting and byte-order flags.
    pub kind: u16,
    /// The bytes it holds.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside this one.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }

    /// A 32-bit number in network byte order; `None` if the length differs.
    pub fn be32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A 64-bit number in network byte order; `None` if the length differs.
    pub fn be64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A time in milliseconds; `None` if the length differs.
    pub fn milliseconds(&self) -> Option<Duration> {
        self.be64().map(Duration::from_millis)
    }

    /// A 32-bit number in the machine's byte order; `None` if the length differs.
    pub fn ne32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A 16-bit number in the machine's byte order; `None` if the length differs.
    pub fn ne16(&self) -> Option<u16> {
        Some(u16::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// A 16-bit number in network byte order; `None` if the length differs.
    pub fn be16(&self) -> Option<u16> {
        Some(u16::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A string up to its NUL; `None` if it is not UTF-8.
    pub fn string(&self) -> Option<&'a str> {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).ok()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Writer;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::new();
        for sequence in 7..9 {
            writer.message(0x0a03, 0x400, sequence, 1, 0, |message| {
                message.string(1, "name");
                message.nest(4, |hook| hook.be32(1, 5));
            });
        }
        let read: Vec<_> = Messages::new(writer.bytes()).collect();
        assert_eq!(read.iter().map(|message| message.sequence).collect::<Vec<_>>(), [7, 8]);
        let message = read[1];
        assert_eq!((message.kind, message.flags, message.family()), (0x0a03, 0x401, 1));
        assert_eq!(message.attributes().find(1).unwrap().string(), Some("name"));
        assert_eq!(message.attributes().find(4).unwrap().nested().find(1).unwrap().be32(), Some(5));
    }

    #[test]
    fn malformed_input_ends_the_iteration() {
        let mut writer = Writer::new();
        writer.message(1, 0, 1, 0, 0, |message| message.be32(1, 5));
        let good = writer.bytes().to_vec();
        for cut in 0..good.len() {
            assert_eq!(Messages::new(&good[..cut]).count(), 0, "cut at {cut}");
        }
        assert_eq!(Messages::new(&[0; 64]).count(), 0, "a length of zero does not loop");
        assert_eq!(Attributes::new(&[0; 64]).count(), 0);
        assert_eq!(Attributes::new(&[255, 255, 1, 0, 1]).count(), 0);
    }
}
