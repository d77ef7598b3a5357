//! Which snapshotter the file system below containerd's root can carry.

use std::{fs, io, path::Path};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// How containerd stacks the layers of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Snapshotter {
    /// overlayfs: layers are shared, a container costs nothing until it writes.
    Overlayfs,
    /// Full copies: slow and large, but works on every file system.
    Native,
}

impl Snapshotter {
    /// containerd's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overlayfs => "overlayfs",
            Self::Native => "native",
        }
    }
}

/// Chooses by trying: file systems differ in whether they can be the upper layer of an overlay (another
/// overlay, for example, cannot).
pub(super) fn choose(root: &Path) -> Snapshotter {
    match try_overlay(root) {
        Ok(()) => Snapshotter::Overlayfs,
        Err(error) => {
            tracing::warn!(
                "{} cannot carry overlayfs ({error}); images are copied in full for each container",
                root.display()
            );
            Snapshotter::Native
        }
    }
}

fn try_overlay(root: &Path) -> io::Result<()> {
    let trial = root.join("overlay-trial");
    let parts = ["lower", "upper", "work", "merged"].map(|part| trial.join(part));
    for part in &parts {
        fs::create_dir_all(part)?;
    }
    let [lower, upper, work, merged] = &parts;
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let mounted = std::ffi::CString::new(options).map_err(io::Error::other).and_then(|options| {
        Ok(mount("overlay", merged, "overlay", MountFlags::empty(), options.as_c_str())?)
    });
    let unmounted = match mounted {
        Ok(()) => unmount(merged, UnmountFlags::DETACH).map_err(io::Error::from),
        Err(_) => Ok(()),
    };
    fs::remove_dir_all(&trial)?;
    mounted.and(unmounted)
}
