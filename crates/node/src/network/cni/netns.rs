//! Working inside another network namespace.

use std::{fs::File, os::fd::AsFd, path::Path, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Runs `work` on a thread of its own inside the namespace at `path`; the caller stays where it is.
pub(crate) fn within<T: Send>(
    path: &Path,
    work: impl FnOnce() -> Result<T, String> + Send,
) -> Result<T, String> {
    let namespace = File::open(path)
        .map_err(|error| format!("cannot open the network namespace {}: {error}", path.display()))?;
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| format!("cannot enter the network namespace {}: {error}", path.display()))?;
            work()
        });
        thread.join().unwrap_or_else(|_| Err("the thread in the network namespace failed".into()))
    })
}
