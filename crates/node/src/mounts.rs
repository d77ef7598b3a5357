//! Mounts: which there are below a folder, and taking them away.

use std::{
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx},
    io::Errno,
    mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount},
};

/// Mount points at or below any of `dirs`, the last mounted first. The kernel names them without symbolic links;
/// links in `dirs` are resolved before.
pub(crate) fn below(dirs: &[&Path]) -> io::Result<Vec<PathBuf>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let resolved = dirs.iter().map(|dir| dir.canonicalize().unwrap_or_else(|_| (*dir).to_owned()));
    let mut mounts = mount_points(&mountinfo, &resolved.collect::<Vec<_>>());
    mounts.reverse();
    Ok(mounts)
}

/// Takes away every mount at or below `dir`. What uses one keeps it until it ends.
pub(crate) fn detach_below(dir: &Path) -> io::Result<()> {
    below(&[dir])?.iter().try_for_each(|mount| detach(mount))
}

/// Takes away the mount at `place`, if there is one.
pub(crate) fn detach(place: &Path) -> io::Result<()> {
    match unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // Nothing is mounted there, or nothing is there.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether something is mounted at `place` itself.
pub(crate) fn is_mounted(place: &Path) -> io::Result<bool> {
    let found = statx(CWD, place, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Mounts a file system in memory at `place` with the kernel's `options` (tmpfs(5)), and without swap where the
/// kernel knows that (Linux 6.4).
pub(crate) fn memory(place: &Path, flags: MountFlags, options: &str) -> io::Result<()> {
    let attempt = |options: String| {
        let options = std::ffi::CString::new(options)?;
        mount("tmpfs", place, "tmpfs", flags, options.as_c_str()).map_err(io::Error::from)
    };
    attempt(format!("{options},noswap")).or_else(|_| attempt(options.to_owned()))
}

/// Mounts what the descriptor `source` is also at `place`, which is a folder or a file as that is. No name is
/// looked up on the way.
pub(crate) fn bind(source: impl AsFd, place: &Path) -> io::Result<()> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(source, "", flags)?;
    Ok(move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

fn mount_points(mountinfo: &str, dirs: &[PathBuf]) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape);
    points.filter(|point| dirs.iter().any(|dir| point.starts_with(dir))).collect()
}

/// Undoes the octal escapes of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
fn unescape(field: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_nodes_folders_are_its_own() {
        let info =
            "1 2 0:1 / /data/n1/a\\040b rw - x x rw\n1 2 0:1 / /data/n10 rw - x x rw\n1 2 0:1 / /data/n1 rw";
        assert_eq!(
            mount_points(info, &[PathBuf::from("/data/n1")]),
            [PathBuf::from("/data/n1/a b"), PathBuf::from("/data/n1")]
        );
    }

    #[test]
    fn what_is_no_mount_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted(dir.path()).unwrap());
        detach_below(dir.path()).unwrap();
        assert!(dir.path().exists());
        assert!(is_mounted(Path::new("/proc")).unwrap());
    }
}
