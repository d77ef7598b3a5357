//! The functions that read bytes from outside, for the fuzzer. None of them needs a machine.

use std::{io::Cursor, path::Path};

use bytes::Bytes;

use crate::{
    image, logs, pod,
    spdy::{Decoder, Frame, Inflater},
};

/// The paths in an archive and the names of its images, as far as it is one.
pub fn archive(bytes: &[u8]) -> (Option<Vec<String>>, Option<Vec<String>>) {
    (image::paths(Cursor::new(bytes)).ok(), image::names(Cursor::new(bytes)).ok())
}

/// Where a key or an `items[].path` of a volume leads, below the volume, if it may be used at all.
pub fn volume_path(text: &str) -> Option<&Path> {
    pod::inside_volume(text)
}

/// The stamp and the text of a record of a log, if it is one.
pub fn log_line(record: &[u8]) -> Option<(&str, &[u8])> {
    logs::Line::parse(record).map(|line| (line.stamp, line.text))
}

/// What a client of SPDY has sent, told frame by frame, when it arrives in pieces of this size. Data that follows on
/// data of the same stream is told with it.
pub fn spdy(bytes: &[u8], piece: usize) -> Vec<String> {
    let (mut decoder, mut inflater) = (Decoder::default(), Inflater::default());
    let mut told: Vec<String> = Vec::new();
    let mut data: Option<(u32, Vec<u8>)> = None;
    for piece in bytes.chunks(piece.max(1)) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            let frame = match decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(fault) => {
                    told.extend(data.map(|data| format!("{data:?}")));
                    told.push(fault.to_string());
                    return told;
                }
            };
            if let Frame::Data { stream, fin, payload } = &frame {
                let same = data.take_if(|(other, _)| other == stream);
                told.extend(data.take().map(|data| format!("{data:?}")));
                let mut all = same.map(|(_, all)| all).unwrap_or_default();
                all.extend_from_slice(payload);
                data = Some((*stream, all));
                if *fin {
                    told.extend(data.take().map(|data| format!("{data:?} and its end")));
                }
                continue;
            }
            told.extend(data.take().map(|data| format!("{data:?}")));
            let block = match &frame {
                Frame::SynStream { block, .. } | Frame::Headers { block } => block.clone(),
                _ => Bytes::new(),
            };
            let headers = if block.is_empty() { None } else { Some(inflater.read(&block)) };
            let broken = matches!(headers, Some(Err(_)));
            told.push(format!("{frame:?} {headers:?}"));
            if broken {
                return told;
            }
        }
    }
    told.extend(data.map(|data| format!("{data:?}")));
    told
}
