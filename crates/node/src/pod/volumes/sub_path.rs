//! `subPath`: a part of a volume, found without following a link and bound by its descriptor, so that nothing that a
//! container changes meanwhile leads out of the volume (kind of CVE-2021-25741).

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, openat2, statat,
    },
    io::Errno,
    process::geteuid,
};

use super::super::disk;
use crate::mounts;

/// Opens the part `sub` of the volume at `root`, for a mount. Folders that are missing are made, with the modes of
/// the volume itself. A symbolic link on the way is an error, wherever it leads.
pub(super) fn open(root: &Path, sub: &Path) -> io::Result<OwnedFd> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, root, folder, Mode::empty())?;
    let mode = Mode::from_raw_mode(fstat(&at)?.st_mode & 0o7777);
    for part in sub.components() {
        let Component::Normal(name) = part else { continue };
        at = match beneath(&at, Path::new(name)) {
            Err(Errno::NOENT) => {
                make(&at, Path::new(name), mode)?;
                beneath(&at, Path::new(name))
            }
            found => found,
        }
        .map_err(|error| match error {
            Errno::LOOP => {
                io::Error::other("a symbolic link is on the way, and links of a volume are not followed")
            }
            other => other.into(),
        })?;
    }
    Ok(at)
}

/// Opens what is there at `sub` below `root`; nothing is made.
pub(super) fn find(root: &Path, sub: &Path) -> io::Result<OwnedFd> {
    let at = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(beneath(&at, sub)?)
}

fn beneath(at: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let found = openat2(at, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    // With O_PATH and O_NOFOLLOW a link itself would be opened.
    match FileType::from_raw_mode(fstat(&found)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(found),
    }
}

/// Makes a folder with exactly this mode, which the process's umask would cut.
fn make(at: &OwnedFd, name: &Path, mode: Mode) -> io::Result<()> {
    match mkdirat(at, name, Mode::RWXU) {
        Ok(()) => {}
        // Someone else was quicker; what it is will be seen.
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let made = openat2(at, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)?;
    // Only what is still ours: another folder may have taken the name meanwhile.
    let found = fstat(&made)?;
    if found.st_uid == geteuid().as_raw() && found.st_mode & 0o777 == 0o700 {
        fchmod(&made, mode)?;
    }
    Ok(())
}

/// Mounts `part` at `place`, which no container sees, in the place of what an earlier run had there.
pub(super) fn bind(part: &OwnedFd, place: &Path) -> io::Result<PathBuf> {
    if let Some(parent) = place.parent() {
        disk::make_private(parent)?;
    }
    mounts::detach(place)?;
    let is_folder = FileType::from_raw_mode(fstat(part)?.st_mode) == FileType::Directory;
    match statat(CWD, place, AtFlags::SYMLINK_NOFOLLOW).map(|found| FileType::from_raw_mode(found.st_mode)) {
        Ok(FileType::Directory) if is_folder => {}
        Ok(FileType::RegularFile) if !is_folder => {}
        Ok(FileType::Directory) => fs::remove_dir(place)?,
        Ok(_) => fs::remove_file(place)?,
        Err(_) => {}
    }
    match is_folder {
        true => disk::make_private(place)?,
        false => drop(fs::File::options().create(true).append(true).open(place)?),
    }
    fs::set_permissions(place, fs::Permissions::from_mode(0o700))?;
    mounts::bind(part.as_fd(), place)?;
    Ok(place.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{MetadataExt, symlink},
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::{RenameFlags, mkfifoat, renameat_with};

    use super::*;

    #[test]
    fn missing_folders_are_made_with_the_modes_of_the_volume_and_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        open(dir.path(), Path::new("a/b")).unwrap();
        for made in ["a", "a/b"] {
            assert_eq!(dir.path().join(made).metadata().unwrap().mode() & 0o7777, 0o777, "{made}");
        }
        fs::write(dir.path().join("a/file"), "x").unwrap();
        let file = open(dir.path(), Path::new("a/./file")).unwrap();
        assert_eq!(fstat(&file).unwrap().st_ino, dir.path().join("a/file").metadata().unwrap().ino());
        assert!(find(dir.path(), Path::new("a/none")).is_err());
    }

    #[test]
    fn no_link_is_followed_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        for (target, name) in
            [("real", "near"), ("/etc", "far"), ("/proc/self/root", "magic"), ("gone", "to-be")]
        {
            symlink(target, dir.path().join(name)).unwrap();
        }
        for bad in ["near", "near/x", "far", "far/ssh", "magic/etc", "to-be"] {
            let error = open(dir.path(), Path::new(bad)).unwrap_err();
            assert!(error.to_string().contains("symbolic link"), "{bad}: {error}");
        }
        assert!(!dir.path().join("gone").exists() && !dir.path().join("real/x").exists());
        mkfifoat(CWD, dir.path().join("fifo"), Mode::RWXU).unwrap();
        assert!(open(dir.path(), Path::new("fifo")).is_ok(), "a FIFO may be mounted, and is not waited for");
    }

    #[test]
    fn a_link_that_takes_turns_with_a_folder_never_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("v"), dir.path().join("outside"));
        fs::create_dir_all(volume.join("a/b")).unwrap();
        fs::create_dir_all(outside.join("b")).unwrap();
        symlink(&outside, volume.join("link")).unwrap();
        let stop = AtomicBool::new(false);
        let forbidden = [outside.metadata().unwrap().ino(), outside.join("b").metadata().unwrap().ino()];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ =
                        renameat_with(CWD, volume.join("a"), CWD, volume.join("link"), RenameFlags::EXCHANGE);
                }
            });
            for _ in 0..5000 {
                for sub in ["a", "a/b", "a/c"] {
                    if let Ok(part) = open(&volume, Path::new(sub)) {
                        assert!(!forbidden.contains(&fstat(&part).unwrap().st_ino));
                    }
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(!outside.join("c").exists());
    }
}
