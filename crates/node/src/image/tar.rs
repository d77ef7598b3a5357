//! Reading and writing tar archives, as far as image archives need it (POSIX.1-1988 ustar).

use std::io::{self, Read, Seek, SeekFrom};

/// Size of a header, and the unit in which contents are padded.
const BLOCK: usize = 512;

/// Writes a tar archive in memory. Times and owners are zero, so equal contents make equal archives.
#[derive(Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds a folder.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.header(&format!("{path}/"), mode, 0, b'5', "");
    }

    /// Adds a regular file.
    pub(super) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.header(path, mode, contents.len(), b'0', "");
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    /// Adds a symbolic link at `path` to `target`.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        self.header(path, 0o777, 0, b'2', target);
    }

    /// The archive, with its two final empty blocks.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }

    fn header(&mut self, path: &str, mode: u32, size: usize, kind: u8, link: &str) {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, &path.as_bytes()[..path.len().min(100)]);
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, &link.as_bytes()[..link.len().min(100)]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&header);
    }
}

/// The contents of the first regular file named `name`, if it is not larger than `limit` bytes.
pub(super) fn read_file(
    mut archive: impl Read + Seek,
    name: &str,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0u8; BLOCK];
    loop {
        match archive.read_exact(&mut header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let size = octal(&header[124..136])?;
        if text(&header[..100]).trim_start_matches("./") == name {
            if size > limit {
                return Err(io::Error::other(format!("{name} has {size} bytes, more than {limit}")));
            }
            let mut contents = Vec::new();
            archive.by_ref().take(size).read_to_end(&mut contents)?;
            return Ok(Some(contents));
        }
        let skip = i64::try_from(size.next_multiple_of(BLOCK as u64)).map_err(io::Error::other)?;
        archive.seek(SeekFrom::Current(skip))?;
    }
}

fn text(field: &[u8]) -> &str {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end]).unwrap_or_default()
}

/// A size: octal digits, or a big-endian number after a set top bit (GNU, for sizes of 8 GiB and more).
fn octal(field: &[u8]) -> io::Result<u64> {
    if field[0] & 0x80 != 0 {
        let low: [u8; 8] = field[4..12].try_into().map_err(io::Error::other)?;
        return Ok(u64::from_be_bytes(low) & (u64::MAX >> 1));
    }
    let digits = text(field).trim();
    u64::from_str_radix(digits, 8)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "this is no tar archive"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn sample() -> Vec<u8> {
        let mut tar = Writer::default();
        tar.directory("bin", 0o755);
        tar.file("bin/a", 0o755, &[7; 700]);
        tar.symlink("bin/b", "a");
        tar.file("manifest.json", 0o644, b"[]");
        tar.finish()
    }

    #[test]
    fn a_file_is_found_behind_others() {
        assert_eq!(read_file(Cursor::new(sample()), "manifest.json", 10).unwrap().unwrap(), b"[]");
    }

    #[test]
    fn a_missing_file_is_none_and_a_large_one_is_refused() {
        assert!(read_file(Cursor::new(sample()), "index.json", 10).unwrap().is_none());
        assert!(read_file(Cursor::new(sample()), "bin/a", 10).is_err());
    }

    #[test]
    fn what_is_no_archive_is_an_error_and_not_a_panic() {
        assert!(read_file(Cursor::new(vec![b'x'; 2000]), "a", 10).is_err());
        assert!(read_file(Cursor::new(vec![b'x'; 20]), "a", 10).unwrap().is_none());
    }

    #[test]
    fn an_archive_is_whole_blocks_with_a_checksum_in_each_header() {
        let tar = sample();
        assert_eq!(tar.len() % BLOCK, 0);
        let stored = u32::from_str_radix(text(&tar[148..154]), 8).unwrap();
        let sum: u32 = tar[..BLOCK].iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = tar[148..156].iter().map(|&byte| u32::from(byte)).sum();
        assert_eq!(stored, sum - own + 8 * u32::from(b' '));
    }
}
