//! The log on disk: one table from revision to record, in a kept embedded database.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use super::index::Index;
use crate::{Record, Revision};

/// Revision to encoded [`Entry`].
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
/// Facts about the log itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// In [`META`]: the history up to this revision has been compacted.
const COMPACTED: &str = "compacted";
/// In [`META`]: the layout of this file.
const FORMAT: &str = "format";
/// The layout that this program writes.
const FORMAT_VERSION: u64 = 1;

/// Memory for pages of the file. Reads are served by the index, so it only helps writes.
const PAGE_CACHE_BYTES: usize = 4 << 20;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error("the store {} is in use by another process; stop that one first, or choose another --data-dir", .0.display())]
    InUse(PathBuf),
    /// The file is not a store, or was damaged.
    #[error("the store {} is damaged ({reason}); restore it from a backup, or move the file away to start empty", file.display())]
    Damaged {
        /// The store's file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program has written the file.
    #[error("the store {} has format {found}, this program reads format {FORMAT_VERSION}; start the version that wrote it", file.display())]
    Format {
        /// The store's file.
        file: PathBuf,
        /// The file's format.
        found: u64,
    },
    /// The file or its folder cannot be used.
    #[error("the store {} cannot be opened: {source}; check the path, its permissions and the free space", file.display())]
    Io {
        /// The store's file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The committer thread could not be started.
    #[error("the store's thread could not be started: {0}")]
    Thread(io::Error),
}

/// One change as the log holds it.
pub(super) struct Entry {
    /// The key's new record.
    pub(super) record: Record,
    /// Whether the key went.
    pub(super) deleted: bool,
}

impl Entry {
    /// `flags:u8 key_length:u32 key value`; integers are little-endian.
    fn encode(&self) -> Vec<u8> {
        let (key, value) = (self.record.key.as_bytes(), &self.record.value);
        let mut bytes = Vec::with_capacity(5 + key.len() + value.len());
        bytes.push(u8::from(self.deleted));
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        bytes
    }

    fn decode(revision: Revision, bytes: &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_first()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (key, value) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
        let deleted = match flags {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(Self { record: Record { key, revision, value: Bytes::copy_from_slice(value) }, deleted })
    }
}

/// The open file.
pub(super) struct Log {
    file: PathBuf,
    database: Database,
}

impl Log {
    /// Opens `file` and reads it into an index.
    pub(super) fn open(file: &Path) -> Result<(Self, Index), OpenError> {
        let io = |source| OpenError::Io { file: file.to_owned(), source };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let database = open_database(file)?;
        let log = Self { file: file.to_owned(), database };
        let index = log.replay().map_err(|error| log.damaged(error))??;
        Ok((log, index))
    }

    /// Opens the file again after a failed write, and returns what it holds after `head`: a write
    /// whose outcome was unknown may have reached the disk after all.
    pub(super) fn reopen(file: &Path, head: Revision) -> Result<(Self, Vec<Entry>), OpenError> {
        let log = Self { file: file.to_owned(), database: open_database(file)? };
        let entries = log.entries_after(head).map_err(|error| log.damaged(error))?;
        Ok((log, entries))
    }

    /// The file's path.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Appends entries and removes superseded revisions in one durable transaction.
    pub(super) fn append(
        &self,
        entries: &[Entry],
        compaction: Option<(Revision, &[Revision])>,
    ) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for entry in entries {
                records.insert(entry.record.revision, entry.encode().as_slice())?;
            }
            if let Some((through, superseded)) = compaction {
                for revision in superseded {
                    records.remove(revision)?;
                }
                transaction.open_table(META)?.insert(COMPACTED, through)?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn replay(&self) -> Result<Result<Index, OpenError>, redb::Error> {
        let setup = self.database.begin_write()?;
        let (format, compacted) = {
            setup.open_table(RECORDS)?;
            let mut meta = setup.open_table(META)?;
            let format = meta.get(FORMAT)?.map(|value| value.value());
            if format.is_none() {
                meta.insert(FORMAT, FORMAT_VERSION)?;
            }
            (format, meta.get(COMPACTED)?.map_or(0, |value| value.value()))
        };
        if format.is_none() {
            setup.commit()?;
        } else {
            setup.abort()?;
        }
        if let Some(found) = format
            && found != FORMAT_VERSION
        {
            return Ok(Err(OpenError::Format { file: self.file.clone(), found }));
        }
        let mut index = Index::starting_at(compacted);
        for entry in self.entries_after(0)? {
            if entry.record.revision <= compacted {
                index.restore(entry.record, entry.deleted);
            } else if entry.record.revision == index.head() + 1 {
                index.apply(entry.record, entry.deleted);
            } else {
                let reason = format!("revision {} is missing", index.head() + 1);
                return Ok(Err(OpenError::Damaged { file: self.file.clone(), reason }));
            }
        }
        Ok(Ok(index))
    }

    fn entries_after(&self, revision: Revision) -> Result<Vec<Entry>, redb::Error> {
        let records = self.database.begin_read()?.open_table(RECORDS)?;
        let mut entries = Vec::new();
        for row in records.range(revision + 1..)? {
            let (key, bytes) = row?;
            let entry = Entry::decode(key.value(), bytes.value())
                .ok_or_else(|| redb::Error::Corrupted(format!("record {} cannot be read", key.value())))?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn damaged(&self, error: redb::Error) -> OpenError {
        match error {
            redb::Error::Io(source) => OpenError::Io { file: self.file.clone(), source },
            other => OpenError::Damaged { file: self.file.clone(), reason: other.to_string() },
        }
    }
}

/// Opens the database; the library panics on some kinds of damage, which is an error like others.
fn open_database(file: &Path) -> Result<Database, OpenError> {
    let opened =
        std::panic::catch_unwind(|| Database::builder().set_cache_size(PAGE_CACHE_BYTES).create(file));
    let damaged = |reason: String| OpenError::Damaged { file: file.to_owned(), reason };
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => Err(OpenError::InUse(file.to_owned())),
        Ok(Err(DatabaseError::Storage(StorageError::Io(source))))
            if source.kind() != io::ErrorKind::InvalidData =>
        {
            Err(OpenError::Io { file: file.to_owned(), source })
        }
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("its pages contradict each other".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_its_encoding() {
        let record = Record { key: "/a/ü".into(), revision: 9, value: "{}".into() };
        let bytes = Entry { record: record.clone(), deleted: true }.encode();
        let entry = Entry::decode(9, &bytes).unwrap();
        assert_eq!((entry.record, entry.deleted), (record, true));
    }

    #[test]
    fn a_cut_entry_is_refused() {
        let record = Record { key: "/a".into(), revision: 1, value: Bytes::new() };
        let bytes = Entry { record, deleted: false }.encode();
        for cut in 0..bytes.len() {
            assert!(Entry::decode(1, &bytes[..cut]).is_none());
        }
    }
}
