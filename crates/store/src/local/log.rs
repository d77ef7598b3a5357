//! The log on disk: one table from revision to record, in a kept embedded database.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use super::acknowledged::Acknowledged;
use super::format::{self, Entry, FORMAT, FORMAT_VERSION, LOG, META, RECORDS, STATE, State};
use super::index::Index;
use crate::Revision;

/// Memory for pages of the file. Reads are served by the index, so it only helps writes.
const PAGE_CACHE_BYTES: usize = 4 << 20;
/// Only the owner reads and writes the file: it holds every Secret of the cluster.
const MODE: u32 = 0o600;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the file open.
    #[error("the store {} is in use by another process; stop that one first, or choose another --data-dir", .0.display())]
    InUse(PathBuf),
    /// The file is not a store, or was damaged.
    #[error(
        "the store {} is damaged ({reason}). It is not served, since what it says may be wrong. Put back a copy of \
         it; or, to start with an empty cluster, move it and {} away",
        file.display(), Acknowledged::path(file).display()
    )]
    Damaged {
        /// The store's file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is sound, but older than what was acknowledged to clients.
    #[error(
        "the store {} ends at revision {found}, but writes up to revision {acknowledged} were acknowledged: it was \
         damaged, or is an old copy. Put back a newer copy; or, to go on without those writes, remove {}",
        file.display(), Acknowledged::path(file).display()
    )]
    WritesAreMissing {
        /// The store's file.
        file: PathBuf,
        /// The newest revision in the file.
        found: Revision,
        /// The newest revision that was acknowledged.
        acknowledged: Revision,
    },
    /// A newer program has written the file.
    #[error("the store {} has format {found}, this program reads formats up to {FORMAT_VERSION}; start the version that wrote it", file.display())]
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

impl OpenError {
    /// Whether room on the disk is what is missing.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_disk_full(source))
    }
}

/// Whether the disk, or what the user may have of it, is full.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why the log could not be written.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum AppendError {
    /// The disk, or what the user may have of it, is full.
    #[error("the disk is full")]
    DiskFull,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Records that a compaction removes, and up to where the history then is gone.
pub(super) struct Compaction {
    /// The history up to this revision goes.
    pub(super) through: Revision,
    /// The revisions in it that are not the present state of any key.
    pub(super) superseded: Vec<Revision>,
}

/// The open file.
pub(super) struct Log {
    file: PathBuf,
    database: Database,
    state: State,
}

impl Log {
    /// Opens `file` and reads it into an index. What is read is verified.
    pub(super) fn open(file: &Path) -> Result<(Self, Index), OpenError> {
        let io = |source| OpenError::Io { file: file.to_owned(), source };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(io)?;
        }
        let acknowledged = Acknowledged::read(file).map_err(io)?;
        if !fs::exists(file).map_err(io)? {
            if let Some(acknowledged) = acknowledged {
                return Err(OpenError::WritesAreMissing { file: file.to_owned(), found: 0, acknowledged });
            }
            create(file)?;
        }
        guarded(file, || {
            let log = Self::open_existing(file)?;
            let index = log.replay()?;
            Ok((log, index))
        })
        .and_then(|(log, index)| log.has_all(acknowledged).map(|log| (log, index)))
    }

    /// Opens the file again after a failed write, and returns what it holds after `head`: a write
    /// whose outcome was unknown may have reached the disk after all.
    pub(super) fn reopen(file: &Path, head: Revision) -> Result<(Self, Vec<Entry>), OpenError> {
        guarded(file, || {
            let log = Self::open_existing(file)?;
            let mut entries = Vec::new();
            log.read_after(head, |entry, _| {
                entries.push(entry);
                Ok(())
            })?;
            Ok((log, entries))
        })
        .and_then(|(log, entries)| log.has_all(Some(head)).map(|log| (log, entries)))
    }

    fn open_existing(file: &Path) -> Result<Self, OpenError> {
        let mut database = open_database(file, OpenOptions::new())?;
        match database.check_integrity() {
            Ok(true) => {}
            Ok(false) => tracing::warn!(file = %file.display(), "the store's file was repaired"),
            Err(error) => return Err(damaged(file, error)),
        }
        bring_forward(file, &database)?;
        let state = read_state(&database).map_err(|error| of_database(file, error))?;
        let state = state.ok_or_else(|| damaged(file, "its state cannot be read"))?;
        Ok(Self { file: file.to_owned(), database, state })
    }

    /// Refuses a log in which acknowledged writes are missing.
    fn has_all(self, acknowledged: Option<Revision>) -> Result<Self, OpenError> {
        let (file, found) = (&self.file, self.state.head);
        match acknowledged {
            Some(acknowledged) if acknowledged > found => {
                Err(OpenError::WritesAreMissing { file: file.clone(), found, acknowledged })
            }
            _ => Ok(self),
        }
    }

    /// The file's path.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The revision up to which the history is gone.
    pub(super) fn compacted(&self) -> Revision {
        self.state.compacted
    }

    /// Appends entries and removes superseded records in one durable transaction. After a failure it is
    /// unknown whether they are on the disk; the log must then be opened anew.
    pub(super) fn append(
        &mut self,
        entries: &[Entry],
        compaction: Option<&Compaction>,
    ) -> Result<(), AppendError> {
        match catch_unwind(AssertUnwindSafe(|| self.transact(entries, compaction))) {
            Ok(Ok(state)) => {
                self.state = state;
                Ok(())
            }
            Ok(Err(redb::Error::Io(error))) if is_disk_full(&error) => Err(AppendError::DiskFull),
            Ok(Err(error)) => Err(AppendError::Other(error.to_string())),
            Err(_) => Err(AppendError::Other("the pages of its file contradict each other".to_owned())),
        }
    }

    /// Gives room in the file that nothing uses back to the disk. After a failure the log must be opened anew.
    pub(super) fn shrink(&mut self) -> Result<(), AppendError> {
        catch_unwind(AssertUnwindSafe(|| self.database.compact()))
            .map_err(|_| AppendError::Other("the pages of its file contradict each other".to_owned()))?
            .map(|_| ())
            .map_err(|error| AppendError::Other(error.to_string()))
    }

    fn transact(&self, entries: &[Entry], compaction: Option<&Compaction>) -> Result<State, redb::Error> {
        let mut state = self.state;
        let transaction = self.database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for entry in entries {
                let encoded = entry.encode();
                records.insert(entry.record.revision, encoded.as_slice())?;
                state.add(entry.record.revision, &encoded);
            }
            if let Some(Compaction { through, superseded }) = compaction {
                for revision in superseded {
                    if let Some(record) = records.remove(revision)? {
                        state.remove(record.value());
                    }
                }
                state.compacted = *through;
            }
            transaction.open_table(STATE)?.insert(LOG, state.encode().as_slice())?;
        }
        transaction.commit()?;
        Ok(state)
    }

    fn replay(&self) -> Result<Index, OpenError> {
        let damaged = |reason: String| damaged(&self.file, reason);
        let compacted = self.state.compacted;
        let mut index = Index::starting_at(compacted);
        let mut found = State { compacted, head: compacted, ..State::default() };
        self.read_after(0, |entry, encoded| {
            found.add(entry.record.revision, encoded);
            if entry.record.revision <= compacted {
                index.restore(entry.record, entry.deleted);
            } else if entry.record.revision == index.head() + 1 {
                index.apply(entry.record, entry.deleted);
            } else {
                return Err(damaged(format!("revision {} is missing", index.head() + 1)));
            }
            Ok(())
        })?;
        if found != self.state {
            return Err(damaged("its records do not add up to what was written".to_owned()));
        }
        Ok(index)
    }

    /// Hands over the records after `revision`, each also as it lies in the file.
    fn read_after(
        &self,
        revision: Revision,
        mut take: impl FnMut(Entry, &[u8]) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        let of_database = |error: redb::Error| of_database(&self.file, error);
        let transaction = self.database.begin_read().map_err(|error| of_database(error.into()))?;
        let records = transaction.open_table(RECORDS).map_err(|error| of_database(error.into()))?;
        for row in records.range(revision + 1..).map_err(|error| of_database(error.into()))? {
            let (key, bytes) = row.map_err(|error| of_database(error.into()))?;
            let entry = Entry::decode(key.value(), bytes.value()).ok_or_else(|| {
                damaged(&self.file, format!("record {} is not as it was written", key.value()))
            })?;
            take(entry, bytes.value())?;
        }
        Ok(())
    }
}

/// Makes a new log under another name and moves it into place when it is whole, so that an empty file under
/// the log's own name is always damage.
fn create(file: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { file: file.to_owned(), source };
    let new = file.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let database = open_database(&new, OpenOptions::new().create(true).clone())?;
    let setup = || -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        transaction.open_table(RECORDS)?;
        transaction.open_table(STATE)?.insert(LOG, State::default().encode().as_slice())?;
        transaction.open_table(META)?.insert(FORMAT, FORMAT_VERSION)?;
        transaction.commit()?;
        Ok(())
    };
    setup().map_err(|error| of_database(file, error))?;
    // A link and not a rename: two processes that start at once must not replace each other's log.
    fs::hard_link(&new, file).map_err(io)?;
    fs::remove_file(&new).map_err(io)?;
    if let Some(folder) = file.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// Brings an older file to the format of today; a newer one is refused.
fn bring_forward(file: &Path, database: &Database) -> Result<(), OpenError> {
    let upgrade = || -> Result<u64, redb::Error> {
        let transaction = database.begin_write()?;
        let found = transaction.open_table(META)?.get(FORMAT)?.map(|row| row.value());
        match found {
            Some(1) => {
                format::upgrade_from_1(&transaction)?;
                transaction.commit()?;
                tracing::info!(file = %file.display(), "the store was brought to format {FORMAT_VERSION}");
                Ok(FORMAT_VERSION)
            }
            Some(found) => transaction.abort().map(|()| found).map_err(Into::into),
            None => Err(redb::Error::Corrupted("it does not name its format".to_owned())),
        }
    };
    match upgrade().map_err(|error| of_database(file, error))? {
        FORMAT_VERSION => Ok(()),
        found => Err(OpenError::Format { file: file.to_owned(), found }),
    }
}

fn read_state(database: &Database) -> Result<Option<State>, redb::Error> {
    let row = database.begin_read()?.open_table(STATE)?.get(LOG)?;
    Ok(row.and_then(|row| State::decode(row.value())))
}

fn open_database(file: &Path, mut options: OpenOptions) -> Result<Database, OpenError> {
    let io = |source| OpenError::Io { file: file.to_owned(), source };
    let opened = options.read(true).write(true).mode(MODE).open(file).map_err(io)?;
    let metadata = opened.metadata().map_err(io)?;
    if metadata.permissions().mode() & 0o777 != MODE {
        opened.set_permissions(fs::Permissions::from_mode(MODE)).map_err(io)?;
    }
    let is_new = file.extension().is_some_and(|extension| extension == "new");
    if metadata.len() == 0 && !is_new {
        return Err(damaged(file, "it is empty"));
    }
    match Builder::new().set_cache_size(PAGE_CACHE_BYTES).create_file(opened) {
        Ok(database) => Ok(database),
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(OpenError::InUse(file.to_owned())),
        Err(DatabaseError::Storage(StorageError::Io(source)))
            if !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Err(io(source))
        }
        Err(error) => Err(damaged(file, error)),
    }
}

/// The database panics on some kinds of damage, which is an error like others.
fn guarded<T>(file: &Path, work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(damaged(file, "its pages contradict each other")))
}

fn of_database(file: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            OpenError::Io { file: file.to_owned(), source }
        }
        other => damaged(file, other),
    }
}

fn damaged(file: &Path, reason: impl ToString) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), reason: reason.to_string() }
}
