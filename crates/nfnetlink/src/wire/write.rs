//! Appending messages and attributes to a buffer.

use std::time::Duration;

use super::{HEADER, align};
use crate::uapi::netlink::{NLA_F_NESTED, NLM_F_REQUEST};

/// Appends netlink messages to one buffer; attributes go to the message begun last.
///
/// Lengths are patched in when a message or a nest ends, so nothing is copied twice.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The messages written so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes one netfilter message: header, `nfgenmsg` with address family and resource id, and what `body`
    /// appends. `NLM_F_REQUEST` is added to `flags`.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Self),
    ) {
        let [high, low] = resource.to_be_bytes();
        self.headed(kind, flags, sequence, &[family, 0, high, low], body);
    }

    /// Writes one message of any netlink protocol: header, what the protocol puts in front of attributes, and
    /// what `body` appends. `NLM_F_REQUEST` is added to `flags`.
    pub fn headed(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        front: &[u8],
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        debug_assert_eq!(self.bytes.len() - start, HEADER);
        self.bytes.extend_from_slice(front);
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sets flag bits of the message that starts at `offset`.
    pub(crate) fn add_flags(&mut self, offset: usize, flags: u16) {
        let at = offset + 6;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    /// An attribute with raw bytes.
    pub fn raw(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |writer| writer.bytes.extend_from_slice(value));
    }

    /// An attribute with a 32-bit number in network byte order, as nf_tables wants all of its numbers.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// An attribute with a 64-bit number in network byte order.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.raw(kind, &value.to_be_bytes());
    }

    /// An attribute with a time in milliseconds, in network byte order.
    pub fn milliseconds(&mut self, kind: u16, value: Duration) {
        self.be64(kind, u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }

    /// An attribute with a NUL-terminated string.
    pub fn string(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |writer| {
            writer.bytes.extend_from_slice(value.as_bytes());
            writer.bytes.push(0);
        });
    }

    /// An attribute that holds the attributes `body` appends.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.attribute(kind | NLA_F_NESTED, body);
    }

    fn attribute(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "an attribute is at most 64 KiB long");
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.resize(start + align(length), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_exclude_padding_and_attributes_start_on_four_bytes() {
        let mut writer = Writer::new();
        writer.message(0x0a00, 0, 1, 1, 0, |message| {
            message.string(1, "t");
            message.nest(2, |nest| nest.raw(3, &[7]));
        });
        let expected = [
            40u8, 0, 0, 0, 0x00, 0x0a, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, // headers
            6, 0, 1, 0, b't', 0, 0, 0, // string
            12, 0, 2, 0x80, 5, 0, 3, 0, 7, 0, 0, 0, // nest
        ];
        assert_eq!(writer.bytes(), expected);
    }
}
