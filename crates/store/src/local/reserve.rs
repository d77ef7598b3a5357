//! Room on the disk that is held back for deletes.
//!
//! A log grows even when objects are deleted, until it is compacted. So that a full disk can be emptied
//! through the API, a file of some size lies beside the log. It is given up for the moment in which a delete
//! needs its room, and filled again at once with what is left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

/// The largest reserve, in bytes: the deletes of several of the largest objects.
const LARGEST: u64 = 16 << 20;
/// On a small disk the reserve is this part of it.
const PART_OF_DISK: u64 = 16;
/// What is written at once where the file system cannot allocate.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The file that holds the room.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// The reserve of the log in `log`: `store.reserve` beside `store.redb`. It is not made yet.
    pub(super) fn of(log: &Path) -> Self {
        Self(log.with_extension("reserve"))
    }

    /// Holds as much of the room as there is. Returns whether the disk has room: for the whole reserve, and
    /// as much besides.
    pub(super) fn fill(&self) -> bool {
        self.try_fill().unwrap_or_else(|error| {
            tracing::warn!(%error, "no room can be held back on the disk for deletes");
            true
        })
    }

    /// Gives the room up. Returns whether there was any.
    pub(super) fn give_up(&self) -> bool {
        let held = fs::metadata(&self.0).is_ok_and(|file| file.len() > 0);
        held && fs::remove_file(&self.0).is_ok()
    }

    fn try_fill(&self) -> io::Result<bool> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.0)?;
        let disk = fstatvfs(&file)?;
        let whole = LARGEST.min(disk.f_blocks.saturating_mul(disk.f_frsize) / PART_OF_DISK);
        let held = file.metadata()?.len();
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = whole.min(held.saturating_add(free));
        if wanted > held {
            allocate(&file, held, wanted - held)?;
        }
        let left = free.saturating_sub(wanted.saturating_sub(held));
        Ok(wanted.max(held) >= whole && left >= whole)
    }
}

fn allocate(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from, bytes) {
        // Somebody else was faster; the next time there may be more.
        Ok(()) | Err(Errno::NOSPC | Errno::DQUOT) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => fill_with_zeros(file, from, bytes),
        Err(error) => Err(error.into()),
    }
}

fn fill_with_zeros(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    let mut at = from;
    while at < from + bytes {
        let length = (from + bytes - at).min(ZEROS.len() as u64);
        match file.write_all_at(&ZEROS[..length as usize], at) {
            Err(error) if super::log::is_disk_full(&error) => break,
            written => written?,
        }
        at += length;
    }
    file.sync_all()
}
