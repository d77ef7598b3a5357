//! What a node reads from others: archives of images, logs of containers, frames of clients.

use std::path::Component;

use flate2::{Compress, Compression, FlushCompress};
use node::{fuzz, image};

/// An archive: paths that stay inside, and names.
pub(crate) fn archive(data: &[u8]) {
    let (paths, names) = fuzz::archive(data);
    for path in paths.iter().flatten() {
        assert!(!path.starts_with('/'), "{path:?} is absolute");
        assert!(!path.split('/').any(|part| part == ".."), "{path:?} leads out");
    }
    assert!(names.is_none() || paths.is_some(), "an archive of images is an archive");
    for name in names.iter().flatten() {
        assert_eq!(&image::normalize(name), name, "a full name");
    }
}

pub(crate) fn archives() -> Vec<Vec<u8>> {
    let index = r#"{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"a:1"}}]}"#;
    let entry = |path: &str, kind: u8, link: &str, contents: &[u8]| {
        let mut header = [0u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{:011o}\0", contents.len()).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut entry = [&header, contents].concat();
        entry.resize(entry.len().next_multiple_of(512), 0);
        entry
    };
    let oci = [
        entry("x", b'L', "", b"blobs/sha256/long\0"),
        entry("short", b'0', "", b"{}"),
        entry("x", b'x', "", b"12 path=a/b\n12 size=512\n"),
        entry("a", b'0', "", &[1; 512]),
        entry("a/c", b'2', "../b", b""),
        entry("index.json", b'0', "", index.as_bytes()),
        vec![0; 1024],
    ];
    vec![image::pause::image().to_archive(), oci.concat()]
}

/// A name in a volume: a file below it, and none of those by which the volume changes.
pub(crate) fn volume_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(path) = fuzz::volume_path(text) else { return };
    assert!(path.is_relative(), "{path:?}");
    let mut names = 0;
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                names += 1;
                assert!(
                    !name.as_encoded_bytes().starts_with(b".."),
                    "{path:?} has a name of the volume's own"
                );
            }
            Component::CurDir => {}
            other => panic!("{path:?} leads out by {other:?}"),
        }
    }
    assert!(names > 0, "{path:?} is the volume itself");
}

pub(crate) fn volume_names() -> Vec<Vec<u8>> {
    let names = [
        "key",
        "a/b.conf",
        "./a",
        "../a",
        "a/../../b",
        "/etc/passwd",
        "..data",
        "..2026/x",
        ".",
        "a/",
        "a//b",
    ];
    names.map(|name| name.as_bytes().to_vec()).into()
}

/// A record of a log: its stamp is its beginning and its text is its end.
pub(crate) fn log_line(data: &[u8]) {
    for record in data.split(|&byte| byte == b'\n') {
        if let Some((stamp, text)) = fuzz::log_line(record) {
            assert!(record.starts_with(stamp.as_bytes()) && record.ends_with(text));
            assert!(stamp.len() + text.len() < record.len());
        }
    }
}

pub(crate) fn log_lines() -> Vec<Vec<u8>> {
    let lines = "2016-10-06T00:17:09.669794202Z stdout F a  b\n2016-10-06T02:17:09+02:00 stderr P:x half\n\
                 2016-10-06T00:17:09Z stdout F\n";
    vec![lines.as_bytes().to_vec()]
}

/// A client's frames are the same however they are cut; the first byte says how.
pub(crate) fn spdy(data: &[u8]) {
    let Some((piece, wire)) = data.split_first() else { return };
    let whole = fuzz::spdy(wire, wire.len());
    let pieces = fuzz::spdy(wire, usize::from(*piece));
    assert_eq!(whole, pieces);
}

pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut compress = Compress::new(Compression::fast(), true);
    let mut syn_stream = |id: u8, headers: &[(&str, &str)]| {
        let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend((text.len() as u32).to_be_bytes());
            plain.extend(text.bytes());
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        drop(compress.compress_vec(&plain, &mut block, FlushCompress::Sync));
        let length = (10 + block.len()) as u32;
        [b"\x80\x03\0\x01", &length.to_be_bytes()[..], &[0, 0, 0, id, 0, 0, 0, 0, 0, 0], &block].concat()
    };
    let wire = [
        syn_stream(1, &[("streamType", "error"), ("port", "80"), ("requestID", "0")]),
        b"\0\0\0\x01\x01\0\0\0".to_vec(),
        syn_stream(3, &[("streamType", "data"), ("port", "80"), ("requestID", "0")]),
        b"\0\0\0\x03\0\0\0\x05hello\0\0\0\x03\x01\0\0\x01!".to_vec(),
        b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x07".to_vec(),
        b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x03\0\0\0\x05".to_vec(),
        b"\x80\x03\0\x07\0\0\0\x08\0\0\0\0\0\0\0\0".to_vec(),
    ]
    .concat();
    [1, 3, 200].map(|piece| [&[piece], wire.as_slice()].concat()).into()
}
