//! The highest revision whose write was acknowledged, in a small file beside the log.
//!
//! The database of the log goes back to its last sound state when the newest pages of its file cannot be
//! read. That is right for a write that a crash cut off, and wrong for one that was acknowledged and then
//! damaged; only a witness outside of the file can tell the two apart. The witness is written after the log
//! is durable and before writers are answered, without a sync of its own: it outlives the process, and after
//! a loss of power it may be behind the log but never ahead of it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Revision;

/// The two slots are written in turn, each in a sector of its own, so that a torn write leaves the other.
const SLOT_BYTES: u64 = 512;
/// What a slot begins with.
const MAGIC: &[u8; 4] = b"ptla";
/// Magic, revision, CRC-32 of both.
const CONTENT_BYTES: usize = 16;

/// The open file.
#[derive(Debug)]
pub(super) struct Acknowledged {
    file: File,
    revision: Revision,
    next_slot: u64,
}

impl Acknowledged {
    /// The witness of the log in `log`: `store.acknowledged` beside `store.redb`.
    pub(super) fn path(log: &Path) -> PathBuf {
        log.with_extension("acknowledged")
    }

    /// Reads the witness of `log`; none if there is none, or nothing in it that can be read.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn read(log: &Path) -> io::Result<Option<Revision>> {
        let file = match File::open(Self::path(log)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let read = |slot: u64| {
            let mut content = [0; CONTENT_BYTES];
            file.read_exact_at(&mut content, slot * SLOT_BYTES).ok()?;
            decode(&content)
        };
        Ok((0..2).filter_map(read).max())
    }

    /// Opens the witness of `log` for writing, and has it say `revision`.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub(super) fn open(log: &Path, revision: Revision) -> io::Result<Self> {
        let path = Self::path(log);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() < 2 * SLOT_BYTES {
            file.write_all_at(&[0; 2 * SLOT_BYTES as usize], 0)?;
        }
        let mut witness = Self { file, revision, next_slot: 0 };
        witness.write(revision)?;
        witness.write(revision)?;
        witness.file.sync_all()?;
        Ok(witness)
    }

    /// Notes that all writes up to `revision` are about to be acknowledged.
    ///
    /// # Errors
    /// The file cannot be written; it then says what it said before.
    pub(super) fn write(&mut self, revision: Revision) -> io::Result<()> {
        self.file.write_all_at(&encode(revision), self.next_slot * SLOT_BYTES)?;
        self.revision = revision;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// What the file says.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }
}

fn encode(revision: Revision) -> [u8; CONTENT_BYTES] {
    let mut content = [0; CONTENT_BYTES];
    content[..4].copy_from_slice(MAGIC);
    content[4..12].copy_from_slice(&revision.to_le_bytes());
    let sum = crc32fast::hash(&content[..12]);
    content[12..].copy_from_slice(&sum.to_le_bytes());
    content
}

fn decode(content: &[u8; CONTENT_BYTES]) -> Option<Revision> {
    let (rest, sum) = content.split_last_chunk::<4>()?;
    let (magic, revision) = rest.split_first_chunk::<4>()?;
    let sound = magic == MAGIC && u32::from_le_bytes(*sum) == crc32fast::hash(rest);
    sound.then(|| revision.try_into().map(Revision::from_le_bytes).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_witness_says_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("store.redb");
        assert_eq!(Acknowledged::read(&log).unwrap(), None);
        let mut witness = Acknowledged::open(&log, 3).unwrap();
        for revision in 4..9 {
            witness.write(revision).unwrap();
            assert_eq!(Acknowledged::read(&log).unwrap(), Some(revision));
        }
    }

    #[test]
    fn a_torn_slot_leaves_what_the_other_says() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("store.redb");
        let mut witness = Acknowledged::open(&log, 3).unwrap();
        witness.write(4).unwrap();
        witness.write(5).unwrap();
        let slot_of_5 = (1 - witness.next_slot) * SLOT_BYTES;
        witness.file.write_all_at(&[0xff; 6], slot_of_5 + 3).unwrap();
        assert_eq!(Acknowledged::read(&log).unwrap(), Some(4));
    }
}
