//! Reading a log as `kubectl logs` wants it: from where, how much, with times or without, following or not.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

use jiff::Timestamp;

use super::line::Line;
use crate::disk;

/// How much of a log is read at once, in bytes.
const CHUNK: usize = 64 << 10;
/// A record longer than this is no log record; the runtime cuts lines at 16 KiB.
const MAX_RECORD: usize = 1 << 20;

/// The choices of the `containerLogs` request (PodLogOptions of the API).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Only the last so many lines.
    pub(crate) tail_lines: Option<usize>,
    /// Only lines from this time on.
    pub(crate) since: Option<Timestamp>,
    /// Each line begins with its time.
    pub(crate) timestamps: bool,
    /// At most so many bytes.
    pub(crate) limit_bytes: Option<usize>,
}

/// A log that is being read.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    options: Options,
    rest: Vec<u8>,
    line_begins: bool,
    left: usize,
}

impl Reader {
    /// Opens a log and goes to where `options` want to begin.
    pub(crate) fn open(path: &Path, options: Options) -> io::Result<Self> {
        let mut file = disk::open_regular(path)?;
        if let Some(lines) = options.tail_lines {
            let start = tail_start(&mut file, lines)?;
            file.seek(SeekFrom::Start(start))?;
        }
        let left = options.limit_bytes.unwrap_or(usize::MAX);
        Ok(Self { file, options, rest: Vec::new(), line_begins: true, left })
    }

    /// The next part of the log, in the form it is sent; `None` at its present end. After the byte limit
    /// everything is the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut chunk = vec![0; CHUNK];
        while self.left > 0 {
            let count = self.file.read(&mut chunk)?;
            if count == 0 {
                return Ok(None);
            }
            self.rest.extend_from_slice(&chunk[..count]);
            let mut out = self.render();
            if self.rest.len() > MAX_RECORD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the log has a record without end"));
            }
            out.truncate(self.left);
            self.left -= out.len();
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        Ok(None)
    }

    /// The file that is read.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Device and inode of the file that is read.
    pub(super) fn id(&self) -> io::Result<(u64, u64)> {
        let meta = self.file.metadata()?;
        Ok((meta.dev(), meta.ino()))
    }

    /// Goes on at the beginning of the file at `path`, if that is the one with this device and inode. A record that
    /// the old file has only the beginning of is never completed: the runtime writes records whole.
    pub(super) fn go_on(&mut self, path: &Path, id: (u64, u64)) -> io::Result<bool> {
        let file = match disk::open_regular(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let meta = file.metadata()?;
        let is_it = (meta.dev(), meta.ino()) == id;
        if is_it {
            self.file = file;
            self.rest.clear();
        }
        Ok(is_it)
    }

    /// Whether the byte limit is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes all whole records out of `rest`.
    fn render(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|&byte| byte == b'\n') {
            let record = &self.rest[begin..begin + length];
            begin += length + 1;
            let Some(line) = Line::parse(record) else { continue };
            if self.options.since.is_some_and(|since| line.time < since) {
                continue;
            }
            if self.options.timestamps && self.line_begins {
                out.extend_from_slice(line.stamp.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.text);
            if !line.partial {
                out.push(b'\n');
            }
            self.line_begins = !line.partial;
        }
        self.rest.drain(..begin);
        out
    }
}

/// Where the last `lines` lines begin. Parts of a line count as one with its end.
fn tail_start(file: &mut File, lines: usize) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut later = Vec::new();
    // Records are looked at from the last to the first, a chunk at a time.
    while end > 0 {
        let size = end.min(CHUNK as u64);
        let start = end - size;
        file.seek(SeekFrom::Start(start))?;
        let mut chunk = vec![0; usize::try_from(size).unwrap_or(CHUNK)];
        file.read_exact(&mut chunk)?;
        chunk.extend_from_slice(&later);
        let mut to = chunk.len();
        while let Some(newline) = chunk[..to.saturating_sub(1)].iter().rposition(|&byte| byte == b'\n') {
            let record = chunk[newline + 1..to].strip_suffix(b"\n").unwrap_or(&chunk[newline + 1..to]);
            let is_whole = Line::parse(record).is_none_or(|line| !line.partial);
            if is_whole && found == lines {
                return Ok(start + to as u64);
            }
            found += usize::from(is_whole);
            to = newline + 1;
        }
        later = chunk[..to].to_vec();
        end = start;
    }
    let first = later.strip_suffix(b"\n").unwrap_or(&later);
    let is_whole = Line::parse(first).is_none_or(|line| !line.partial);
    Ok(if is_whole && found == lines { later.len() as u64 } else { 0 })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n\
                       2026-01-01T00:00:02Z stdout P tw\n\
                       2026-01-01T00:00:02Z stdout F o\n\
                       2026-01-01T00:00:03Z stderr F three\n";

    fn read(options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let mut reader = Reader::open(&path, options).unwrap();
        let mut out = Vec::new();
        while let Some(part) = reader.next().unwrap() {
            out.extend(part);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parts_are_joined_to_lines() {
        assert_eq!(read(Options::default()), "one\ntwo\nthree\n");
    }

    #[test]
    fn the_tail_counts_lines_and_not_parts() {
        let tail = |lines| read(Options { tail_lines: Some(lines), ..Default::default() });
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "three\n");
        assert_eq!(tail(2), "two\nthree\n");
        assert_eq!(tail(3), "one\ntwo\nthree\n");
        assert_eq!(tail(9), "one\ntwo\nthree\n");
    }

    #[test]
    fn times_limit_and_prefix_lines() {
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        let text = read(Options { since, timestamps: true, ..Default::default() });
        assert_eq!(text, "2026-01-01T00:00:03Z three\n");
    }

    #[test]
    fn a_byte_limit_cuts() {
        assert_eq!(read(Options { limit_bytes: Some(5), ..Default::default() }), "one\nt");
    }

    #[test]
    fn a_log_that_grows_is_read_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let mut reader = Reader::open(&path, Options::default()).unwrap();
        assert!(reader.next().unwrap().is_some());
        assert!(reader.next().unwrap().is_none());
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"2026-01-01T00:00:04Z stdout F fo").unwrap();
        assert!(reader.next().unwrap().is_none());
        file.write_all(b"ur\n").unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), b"four\n");
    }
}
