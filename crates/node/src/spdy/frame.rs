//! Frames: what is on the wire (SPDY draft 3.1, section 2.2 and 2.6).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Fault;

/// The version in every control frame; 3.1 changed no frame.
const VERSION: u16 = 3;
/// Set in the first bit of control frames.
const CONTROL: u16 = 0x8000;
/// The flag that ends a half of a stream.
const FIN: u8 = 1;
/// Bytes of a frame's head.
const HEAD: usize = 8;
/// The largest control frame that is read, in bytes.
const MAX_CONTROL: usize = 64 << 10;
/// Stream ids have 31 bits.
const ID: u32 = 0x7fff_ffff;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// A stream is refused without having been looked at.
pub(super) const REFUSED_STREAM: u32 = 3;
/// A stream is given up.
pub(super) const CANCEL: u32 = 5;

/// A frame, or a part of one that carries data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream, with its compressed headers.
    SynStream {
        /// The stream.
        stream: u32,
        /// Whether nothing follows.
        fin: bool,
        /// Compressed headers.
        block: Bytes,
    },
    /// Further headers, or the answer to a stream of ours. They must be read, as compression goes on from them.
    Headers {
        /// Compressed headers.
        block: Bytes,
    },
    /// A stream is given up.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// To be answered with the same number.
    Ping(u32),
    /// Data of a stream. A long frame comes in parts.
    Data {
        /// The stream.
        stream: u32,
        /// Whether nothing follows.
        fin: bool,
        /// The data.
        payload: Bytes,
    },
    /// Something that asks for nothing: settings, windows, goodbyes.
    Other,
}

/// Cuts what arrives into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    /// The data frame that is under way: its stream, whether it ends that, and the bytes that are missing.
    data: Option<(u32, bool, usize)>,
}

impl Decoder {
    /// Where arriving bytes go.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next frame; `None` until more has arrived.
    ///
    /// # Errors
    /// The bytes are no SPDY.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Fault> {
        if let Some((stream, fin, left)) = self.data.take() {
            return Ok(self.payload(stream, fin, left));
        }
        if self.buffer.len() < HEAD {
            return Ok(None);
        }
        let mut head = &self.buffer[..HEAD];
        let (first, second, flags_and_length) = (head.get_u16(), head.get_u16(), head.get_u32());
        let fin = (flags_and_length >> 24) as u8 & FIN != 0;
        let length = (flags_and_length & 0x00ff_ffff) as usize;
        if first & CONTROL == 0 {
            self.buffer.advance(HEAD);
            let stream = (u32::from(first) << 16 | u32::from(second)) & ID;
            return Ok(self.payload(stream, fin, length));
        }
        if first & !CONTROL != VERSION {
            return Err(Fault("a frame is of another version"));
        }
        if length > MAX_CONTROL {
            return Err(Fault("a control frame is too long"));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        control(second, fin, self.buffer.split_to(length).freeze()).map(Some)
    }

    fn payload(&mut self, stream: u32, fin: bool, left: usize) -> Option<Frame> {
        let part = self.buffer.len().min(left);
        if part == 0 && left > 0 {
            self.data = Some((stream, fin, left));
            return None;
        }
        if part < left {
            self.data = Some((stream, fin, left - part));
        }
        let payload = self.buffer.split_to(part).freeze();
        Some(Frame::Data { stream, fin: fin && part == left, payload })
    }
}

fn control(kind: u16, fin: bool, mut body: Bytes) -> Result<Frame, Fault> {
    let needed = match kind {
        SYN_STREAM => 10,
        RST_STREAM | WINDOW_UPDATE => 8,
        SYN_REPLY | HEADERS | PING | GOAWAY => 4,
        _ => 0,
    };
    if body.len() < needed {
        return Err(Fault("a control frame is too short"));
    }
    Ok(match kind {
        SYN_STREAM => {
            let stream = body.get_u32() & ID;
            // The associated stream, and the priority.
            body.advance(6);
            Frame::SynStream { stream, fin, block: body }
        }
        SYN_REPLY | HEADERS => {
            body.advance(4);
            Frame::Headers { block: body }
        }
        RST_STREAM => Frame::Reset { stream: body.get_u32() & ID },
        PING => Frame::Ping(body.get_u32()),
        _ => Frame::Other,
    })
}

fn frame(kind: u16, fin: bool, length: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u16(CONTROL | VERSION);
    frame.put_u16(kind);
    head_end(&mut frame, fin, length);
    frame
}

fn head_end(frame: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).unwrap_or(0) & 0x00ff_ffff;
    frame.put_u32(u32::from(if fin { FIN } else { 0 }) << 24 | length);
}

/// The answer to a new stream.
pub(super) fn syn_reply(stream: u32, block: &[u8]) -> Bytes {
    let mut frame = frame(SYN_REPLY, false, 4 + block.len());
    frame.put_u32(stream);
    frame.extend_from_slice(block);
    frame.freeze()
}

/// Data of a stream: at most 16 MiB less a byte.
pub(super) fn data(stream: u32, fin: bool, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + payload.len());
    frame.put_u32(stream & ID);
    head_end(&mut frame, fin, payload.len());
    frame.extend_from_slice(payload);
    frame.freeze()
}

/// Gives a stream up.
pub(super) fn reset(stream: u32, status: u32) -> Bytes {
    pair(RST_STREAM, stream, status)
}

/// Says that so many bytes were taken; stream 0 is the connection.
pub(super) fn window_update(stream: u32, bytes: usize) -> Bytes {
    pair(WINDOW_UPDATE, stream, u32::try_from(bytes).unwrap_or(ID) & ID)
}

fn pair(kind: u16, first: u32, second: u32) -> Bytes {
    let mut frame = frame(kind, false, 8);
    frame.put_u32(first);
    frame.put_u32(second);
    frame.freeze()
}

/// The answer to a ping.
pub(super) fn ping(number: u32) -> Bytes {
    let mut frame = frame(PING, false, 4);
    frame.put_u32(number);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next().unwrap()).collect()
    }

    #[test]
    fn frames_are_read_wherever_they_are_cut() {
        let wire = [
            &b"\x80\x03\0\x01\x01\0\0\x0d\0\0\0\x05\0\0\0\0\0\0abc"[..],
            &data(5, true, b"hello"),
            &ping(7),
            &reset(5, CANCEL),
            b"\x80\x03\0\x04\0\0\0\x04\0\0\0\0",
            &data(7, false, b""),
        ]
        .concat();
        let whole = [
            Frame::SynStream { stream: 5, fin: true, block: Bytes::from_static(b"abc") },
            Frame::Data { stream: 5, fin: true, payload: Bytes::from_static(b"hello") },
            Frame::Ping(7),
            Frame::Reset { stream: 5 },
            Frame::Other,
            Frame::Data { stream: 7, fin: false, payload: Bytes::new() },
        ];
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&wire);
        assert_eq!(read(&mut decoder), whole);
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for byte in &wire {
            decoder.buffer().extend_from_slice(&[*byte]);
            frames.extend(read(&mut decoder));
        }
        let ends = frames.iter().filter(|frame| matches!(frame, Frame::Data { fin: true, .. })).count();
        let text: Vec<u8> = frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::Data { stream: 5, payload, .. } => Some(payload.to_vec()),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!((ends, text.as_slice()), (1, &b"hello"[..]));
        frames.retain(|frame| !matches!(frame, Frame::Data { .. }));
        assert_eq!(frames, [whole[0].clone(), whole[2].clone(), whole[3].clone(), Frame::Other]);
    }

    #[test]
    fn other_versions_and_wrong_lengths_are_faults() {
        for wire in [
            &b"\x80\x02\0\x01\0\0\0\0"[..],
            b"\x80\x03\0\x01\0\0\0\x04\0\0\0\0",
            b"\x80\x03\0\x06\0\0\0\0",
            b"\x80\x03\0\x01\0\xff\xff\xff",
        ] {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(wire);
            assert!(decoder.next().is_err(), "{wire:?}");
        }
    }
}
