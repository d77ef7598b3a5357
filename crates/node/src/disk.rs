//! Work with files, beside the node's thread: that thread proxies and reports, and never waits for a disk.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

/// Permission bits of the pods' folders: what pods see of them is mounted, and nobody else has to see more.
pub(crate) const PRIVATE: u32 = 0o750;

/// Runs `work` on a thread that may wait, to its end.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is ending, and whoever waits with it.
        Err(_) => std::future::pending().await,
    }
}

/// Makes a folder and those above it, closed to others. What is there already stays as it is.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(dir)
}

/// Opens a file that a pod may have had in its hands. Neither a link nor a FIFO, a socket or a device in its
/// place leads astray or makes the caller wait: they are errors.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is no regular file", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "x").unwrap();
        symlink("file", path("link")).unwrap();
        mkfifoat(CWD, path("fifo"), Mode::RWXU).unwrap();
        assert!(open_regular(&path("file")).is_ok());
        for other in ["link", "fifo", "."] {
            assert!(open_regular(&path(other)).is_err(), "{other}");
        }
    }

    #[test]
    fn the_pods_folders_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        make_private(&dir.path().join("a/b")).unwrap();
        for folder in ["a", "a/b"] {
            let mode = dir.path().join(folder).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o027, 0, "{folder}: {mode:o}");
        }
    }
}
