//! Archives that are dropped into the folders of images while the node runs.

use std::{io, mem::MaybeUninit, time::Duration};

use rustix::fs::inotify;

use super::import::{Importer, Looked, STILL};
use crate::{cri::Client, sys::Readable};

/// Files come in groups: so long is waited for the rest of one.
const SETTLE: Duration = Duration::from_millis(50);

/// Imports what is dropped into the folders, until they cannot be watched. `tell` is given what each look has brought.
///
/// # Errors
/// The folders cannot be watched.
pub(crate) async fn follow(
    importer: &mut Importer,
    runtime: &Client,
    tell: impl Fn(Looked),
) -> io::Result<()> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    for folder in importer.folders() {
        use inotify::WatchFlags;
        // A hard link is made whole, and nobody closes it.
        let what = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::DELETE;
        std::fs::create_dir_all(folder)?;
        inotify::add_watch(&fd, folder, what | WatchFlags::MOVED_FROM | WatchFlags::ATTRIB)?;
    }
    let news = Readable::new(fd)?;
    loop {
        let looked = importer.look(runtime).await;
        let undecided = looked.undecided;
        tell(looked);
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let change = news.read(|fd| {
            let mut reader = inotify::Reader::new(fd, &mut buffer);
            loop {
                reader.next()?;
                if reader.is_buffer_empty() {
                    return Ok(());
                }
            }
        });
        if undecided {
            // Nothing tells that nothing happens.
            tokio::time::timeout(STILL, change).await.unwrap_or(Ok(()))?;
        } else {
            change.await?;
        }
        tokio::time::sleep(SETTLE).await;
    }
}
