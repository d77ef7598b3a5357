//! The protobuf wire format (<https://protobuf.dev/programming-guides/encoding/>): tags and payloads.

/// One field's payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Payload<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Reads fields off a message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and payload; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Payload<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).ok().filter(|tag| *tag > 0);
        let tag = tag.ok_or_else(|| "a field has an illegal number".to_owned())?;
        let payload = match key & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
                let (bytes, rest) = self.rest.split_at(length.ok_or_else(unexpected_end)?);
                self.rest = rest;
                Payload::Bytes(bytes)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("field {tag} has the unsupported wire type {other}")),
        };
        Ok(Some((tag, payload)))
    }

    /// A bare varint, as packed lists hold them; `None` at the end.
    pub(super) fn next_packed(&mut self) -> Result<Option<u64>, String> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or_else(unexpected_end)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits".to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(unexpected_end)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

fn unexpected_end() -> String {
    "unexpected end of the message".to_owned()
}

/// Writes fields of a message.
#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn varint(&mut self, tag: u32, value: u64) {
        self.raw_varint(u64::from(tag) << 3);
        self.raw_varint(value);
    }

    pub(super) fn fixed64(&mut self, tag: u32, value: u64) {
        self.raw_varint(u64::from(tag) << 3 | 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, tag: u32, value: &[u8]) {
        self.raw_varint(u64::from(tag) << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_round_trip() {
        let mut writer = Writer::default();
        writer.varint(1, 300);
        writer.bytes(200, b"abc");
        writer.fixed64(3, 7);
        writer.varint(4, u64::MAX);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        let mut fields = Vec::new();
        while let Some(field) = reader.next().unwrap() {
            fields.push(field);
        }
        let expected = [
            (1, Payload::Varint(300)),
            (200, Payload::Bytes(b"abc")),
            (3, Payload::Fixed64(7)),
            (4, Payload::Varint(u64::MAX)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn broken_messages_are_errors() {
        let table: [&[u8]; 6] = [
            b"\x08",
            b"\x0a\x05ab",
            b"\x0b",
            b"\x00\x00",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\x01",
        ];
        for bytes in table {
            let mut reader = Reader::new(bytes);
            assert!(reader.next().is_err(), "{bytes:?}");
        }
    }
}
