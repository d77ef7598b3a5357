//! Named network namespaces, as `ip netns` shows them.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Error, sys};

/// Where named namespaces are (ip-netns(8)).
const FOLDER: &str = "/run/netns";
/// The calling thread's own network namespace.
const OWN: &str = "/proc/thread-self/ns/net";

/// A network namespace with a name. It stays when the value is dropped; [`Namespace::delete`] removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: Arc<str>,
    handle: Arc<File>,
}

impl Namespace {
    /// Makes a namespace, or opens the one that is there.
    ///
    /// # Errors
    /// Not permitted, or the system refuses.
    pub fn ensure(name: &str) -> Result<Self, Error> {
        prepare_folder()?;
        let path = path_of(name);
        if is_namespace(&path) {
            return Self::open(name);
        }
        let failed = |source| Error::Namespace { name: name.to_owned(), what: "made", source };
        File::create(&path).map_err(failed)?;
        let made = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                sys::unshare_network()?;
                mount_bind(OWN, &path).map_err(io::Error::from)
            });
            thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
        });
        if let Err(error) = made {
            drop(fs::remove_file(&path));
            return Err(failed(error));
        }
        Self::open(name)
    }

    /// Opens a namespace that is there.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn open(name: &str) -> Result<Self, Error> {
        let handle = File::open(path_of(name)).map_err(|source| Error::Namespace {
            name: name.to_owned(),
            what: "opened",
            source,
        })?;
        Ok(Self { name: name.into(), handle: Arc::new(handle) })
    }

    /// The names of all namespaces that start with `prefix`.
    pub fn list(prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its file, for those who enter it by path.
    pub fn path(&self) -> PathBuf {
        path_of(&self.name)
    }

    /// Its handle, for those who move something into it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Moves the calling thread into it. Sockets that the thread opens and processes that it starts
    /// are in there, wherever they are used later.
    ///
    /// # Errors
    /// Not permitted.
    pub fn enter(&self) -> Result<(), Error> {
        let failed = |source: rustix::io::Errno| Error::Namespace {
            name: self.name.to_string(),
            what: "entered",
            source: source.into(),
        };
        move_into_link_name_space(self.fd(), Some(LinkNameSpaceType::Network)).map_err(failed)
    }

    /// Runs `work` inside, on a thread of its own, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                Ok(work())
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Removes the name; the namespace goes with the last process and socket in it. One that is not
    /// there is no error.
    ///
    /// # Errors
    /// The system refuses.
    pub fn delete(name: &str) -> Result<(), Error> {
        let path = path_of(name);
        let failed = |source| Error::Namespace { name: name.to_owned(), what: "removed", source };
        match unmount(&path, UnmountFlags::DETACH) {
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(failed(error.into())),
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// A file in the folder is a namespace once something is mounted on it.
fn is_namespace(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| Path::new(point) == path)
}

/// The folder is a shared mount, so that a removed namespace goes in every mount namespace.
fn prepare_folder() -> Result<(), Error> {
    let folder = Path::new(FOLDER);
    let failed = |source| Error::Folder { folder: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    if mount_change(folder, shared).is_ok() {
        return Ok(());
    }
    mount_bind_recursive(folder, folder).map_err(|error| failed(error.into()))?;
    mount_change(folder, shared).map_err(|error| failed(error.into()))
}
