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

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It ends before its end, as a file does that is still being written.
    #[error("it ends in the middle; is it still being written?")]
    Incomplete,
    /// It is something else, or would lead out of its folder.
    #[error("{0}")]
    Refused(String),
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
}

impl Fault {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// The largest extended header (pax, or GNU's long names) that is read, in bytes.
const MAX_EXTENSION: u64 = 64 << 10;
/// More entries than this has no archive of images.
const MAX_ENTRIES: usize = 1 << 16;

/// One entry of an archive that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The path, without `./` before it: inside, whatever was written.
    pub(super) path: String,
    /// Bytes of contents.
    pub(super) size: u64,
    /// Where the contents begin.
    offset: u64,
    /// Whether it is a regular file.
    pub(super) is_file: bool,
}

/// Reads an archive from one entry to the next. Nothing of what others have written is believed: paths and links must
/// stay inside, sizes within the file, and only folders, files and links are taken.
#[derive(Debug)]
pub(super) struct Reader<R> {
    archive: R,
    length: u64,
    at: u64,
    entries: usize,
}

impl<R: Read + Seek> Reader<R> {
    /// A reader from the beginning.
    pub(super) fn new(mut archive: R) -> Result<Self, Fault> {
        let length = archive.seek(SeekFrom::End(0))?;
        Ok(Self { archive, length, at: 0, entries: 0 })
    }

    /// The next entry; `None` at the archive's end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let (mut long_path, mut long_link, mut long_size) = (None, None, None);
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header[156];
            let offset = self.at + BLOCK as u64;
            let size = match long_size.filter(|_| !matches!(kind, b'L' | b'K' | b'x' | b'g')) {
                Some(size) => size,
                None => octal(&header[124..136])?,
            };
            let end = size.checked_next_multiple_of(BLOCK as u64).and_then(|size| offset.checked_add(size));
            let end = end.filter(|end| *end <= self.length).ok_or(Fault::Incomplete)?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(Fault::refused(format!("it has more than {MAX_ENTRIES} entries")));
            }
            match kind {
                b'L' => long_path = Some(long(&self.contents(offset, size, MAX_EXTENSION)?)?),
                b'K' => long_link = Some(long(&self.contents(offset, size, MAX_EXTENSION)?)?),
                b'x' => {
                    for (key, value) in pax(&self.contents(offset, size, MAX_EXTENSION)?)? {
                        match key.as_str() {
                            "path" => long_path = Some(value),
                            "linkpath" => long_link = Some(value),
                            "size" => {
                                let size =
                                    value.parse().map_err(|_| Fault::refused("a size is no number"))?;
                                long_size = Some(size);
                            }
                            _ => {}
                        }
                    }
                }
                b'g' => {}
                _ => {
                    self.at = end;
                    let path = long_path.map_or_else(|| short_path(&header), Ok)?;
                    let path = inside("", &path)?;
                    let link = long_link.map_or_else(|| text(&header[157..257]).map(str::to_owned), Ok)?;
                    match kind {
                        b'0' | b'\0' | b'7' | b'5' => {}
                        b'1' => drop(inside("", &link)?),
                        b'2' => drop(inside(path.rsplit_once('/').map_or("", |(folder, _)| folder), &link)?),
                        _ => {
                            return Err(Fault::refused(format!(
                                "{path} is neither file nor folder nor link"
                            )));
                        }
                    }
                    let is_file = matches!(kind, b'0' | b'\0' | b'7') && !path.is_empty();
                    return Ok(Some(Entry { path, size, offset, is_file }));
                }
            }
            self.at = end;
        }
    }

    /// The contents of an entry, which may be no larger than `limit`.
    pub(super) fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, Fault> {
        self.contents(entry.offset, entry.size, limit)
    }

    fn contents(&mut self, offset: u64, size: u64, limit: u64) -> Result<Vec<u8>, Fault> {
        if size > limit {
            return Err(Fault::refused(format!(
                "a part of {size} bytes is more than the {limit} that it may have"
            )));
        }
        self.archive.seek(SeekFrom::Start(offset))?;
        let mut contents = Vec::new();
        self.archive.by_ref().take(size).read_to_end(&mut contents)?;
        Ok(contents)
    }

    /// The header where we are; `None` for the empty block that ends an archive.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, Fault> {
        let mut header = [0u8; BLOCK];
        self.archive.seek(SeekFrom::Start(self.at))?;
        if self.length - self.at.min(self.length) < BLOCK as u64 {
            return Err(Fault::Incomplete);
        }
        self.archive.read_exact(&mut header)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
        let own: u32 = header[148..156].iter().map(|&byte| u32::from(byte)).sum();
        if octal(&header[148..156])? != u64::from(sum - own + 8 * u32::from(b' ')) {
            return Err(Fault::refused(NO_TAR));
        }
        Ok(Some(header))
    }
}

const NO_TAR: &str = "this is no tar archive";

/// A path from `folder`, without what means nothing, if it stays inside.
fn inside(folder: &str, path: &str) -> Result<String, Fault> {
    if path.starts_with('/') {
        return Err(Fault::refused(format!("{path:?} is an absolute path")));
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // A path has no business with it; a link may say it as long as it stays inside.
            ".." if folder.is_empty() || parts.pop().is_none() => {
                return Err(Fault::refused(format!("{path:?} leads out of the archive")));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A path in a header: at most 100 bytes, and 155 before them (POSIX.1-1988).
fn short_path(header: &[u8; BLOCK]) -> Result<String, Fault> {
    let name = text(&header[..100])?;
    let is_posix = &header[257..263] == b"ustar\0";
    Ok(match text(&header[345..500])? {
        prefix if is_posix && !prefix.is_empty() => format!("{prefix}/{name}"),
        _ => name.to_owned(),
    })
}

/// A name in contents of its own.
fn long(contents: &[u8]) -> Result<String, Fault> {
    text(contents).map(str::to_owned)
}

/// Records of a pax header: `LENGTH KEY=VALUE` and a line feed (POSIX.1-2001).
fn pax(mut contents: &[u8]) -> Result<Vec<(String, String)>, Fault> {
    let broken = || Fault::refused("an extended header cannot be read");
    let mut records = Vec::new();
    while !contents.is_empty() {
        let space = contents.iter().position(|&byte| byte == b' ').ok_or_else(broken)?;
        let length =
            std::str::from_utf8(&contents[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let length = length.filter(|&length| length > space + 1).ok_or_else(broken)?;
        let record = contents.get(space + 1..length).ok_or_else(broken)?;
        let record = record.strip_suffix(b"\n").ok_or_else(broken)?;
        let split = record.iter().position(|&byte| byte == b'=').ok_or_else(broken)?;
        let key = String::from_utf8_lossy(&record[..split]).into_owned();
        // Values that nobody asks for may be any bytes.
        if matches!(key.as_str(), "path" | "linkpath" | "size") {
            records.push((key, text(&record[split + 1..])?.to_owned()));
        }
        contents = &contents[length..];
    }
    Ok(records)
}

fn text(field: &[u8]) -> Result<&str, Fault> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    std::str::from_utf8(&field[..end]).map_err(|_| Fault::refused("a name is no UTF-8"))
}

/// A number: octal digits, or a big-endian one after a set top bit (GNU, for sizes of 8 GiB and more).
fn octal(field: &[u8]) -> Result<u64, Fault> {
    if field[0] & 0x80 != 0 {
        let low = field.last_chunk::<8>().copied().ok_or_else(|| Fault::refused(NO_TAR))?;
        return Ok(u64::from_be_bytes(low) & (u64::MAX >> 1));
    }
    let digits = text(field).map_err(|_| Fault::refused(NO_TAR))?.trim();
    u64::from_str_radix(digits, 8).map_err(|_| Fault::refused(NO_TAR))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use super::*;

    /// The contents of the file named `name`.
    pub(in super::super) fn read_file(archive: &[u8], name: &str) -> Option<Vec<u8>> {
        let mut reader = Reader::new(Cursor::new(archive)).unwrap();
        while let Some(entry) = reader.next().unwrap() {
            if entry.path == name {
                return Some(reader.read(&entry, 1 << 20).unwrap());
            }
        }
        None
    }

    fn sample() -> Vec<u8> {
        let mut tar = Writer::default();
        tar.directory("bin", 0o755);
        tar.file("./bin/a", 0o755, &[7; 700]);
        tar.symlink("bin/b", "a");
        tar.file("manifest.json", 0o644, b"[]");
        tar.finish()
    }

    fn all(archive: &[u8]) -> Result<Vec<String>, Fault> {
        let mut reader = Reader::new(Cursor::new(archive))?;
        let mut paths = Vec::new();
        while let Some(entry) = reader.next()? {
            paths.push(entry.path);
        }
        Ok(paths)
    }

    /// A header with contents, sum included.
    fn raw(path: &str, kind: u8, link: &str, contents: &[u8]) -> Vec<u8> {
        let mut tar = Writer::default();
        tar.header(path, 0o644, contents.len(), kind, link);
        tar.bytes.extend_from_slice(contents);
        tar.bytes.resize(tar.bytes.len().next_multiple_of(BLOCK), 0);
        tar.bytes
    }

    #[test]
    fn a_file_is_found_behind_others() {
        assert_eq!(read_file(&sample(), "manifest.json").unwrap(), b"[]");
        assert_eq!(all(&sample()).unwrap(), ["bin", "bin/a", "bin/b", "manifest.json"]);
        assert_eq!(read_file(&sample(), "index.json"), None);
    }

    #[test]
    fn long_names_are_read_in_both_forms() {
        let long = format!("{}/layer.tar", "d".repeat(200));
        let record = format!(" path={long}\n");
        let pax = format!("{}{record}", record.len() + 3);
        for (kind, contents) in [(b'L', long.clone() + "\0"), (b'x', pax)] {
            let archive =
                [raw("x", kind, "", contents.as_bytes()), raw("short", b'0', "", b"a"), vec![0; BLOCK]];
            assert_eq!(all(&archive.concat()).unwrap(), [long.as_str()], "{}", char::from(kind));
        }
    }

    #[test]
    fn paths_and_links_that_lead_out_are_refused() {
        let pax = b"17 path=../../etc\n";
        for (path, kind, link) in [
            ("../a", b'0', ""),
            ("a/../../b", b'0', ""),
            ("/etc/passwd", b'0', ""),
            ("a", b'2', "/etc/passwd"),
            ("a", b'2', "../etc"),
            ("a/b", b'2', "../../etc"),
            ("a", b'1', "../etc"),
            ("a", b'1', "/etc"),
            ("a", b'3', ""),
            ("a", b'6', ""),
            ("a", b'S', ""),
        ] {
            let archive = [raw(path, kind, link, b""), vec![0; BLOCK]].concat();
            assert!(matches!(all(&archive), Err(Fault::Refused(_))), "{path} {link}");
        }
        let archive = [raw("x", b'x', "", pax), raw("short", b'0', "", b"a"), vec![0; BLOCK]].concat();
        assert!(matches!(all(&archive), Err(Fault::Refused(_))));
        let within = [raw("a/layer.tar", b'2', "../b/layer.tar", b""), vec![0; BLOCK]].concat();
        assert_eq!(all(&within).unwrap(), ["a/layer.tar"], "as docker save writes layers that images share");
    }

    #[test]
    fn what_was_cut_off_is_incomplete_wherever_it_was() {
        let whole = sample();
        assert!(all(&whole[..whole.len() - BLOCK]).is_ok(), "one empty block is an end");
        for length in (0..whole.len() - 2 * BLOCK + 1).step_by(100).chain([1, BLOCK, whole.len() - 2 * BLOCK])
        {
            assert!(matches!(all(&whole[..length]), Err(Fault::Incomplete)), "{length}");
        }
    }

    #[test]
    fn huge_sizes_and_what_is_no_archive_are_errors() {
        assert!(matches!(all(&[b'x'; 2000]), Err(Fault::Refused(_))));
        let mut huge = raw("a", b'0', "", b"");
        for (at, byte) in [(124, 0x80), (125, 0xff), (128, 0xff)] {
            huge[at] = byte;
        }
        huge[148..156].fill(b' ');
        let sum: u32 = huge.iter().map(|&byte| u32::from(byte)).sum();
        huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(matches!(all(&huge), Err(Fault::Incomplete)));
        let mut reader = Reader::new(Cursor::new(sample())).unwrap();
        let entry =
            std::iter::from_fn(|| reader.next().unwrap()).find(|entry| entry.path == "bin/a").unwrap();
        assert!(matches!(reader.read(&entry, 699), Err(Fault::Refused(_))));
        assert_eq!(reader.read(&entry, 700).unwrap(), [7; 700]);
    }
}
