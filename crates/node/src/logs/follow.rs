//! Following a log across rotations: `0.log` is renamed to `0.log.<time>`, and the runtime begins a new `0.log`.
//!
//! A file is left for its successor only when nothing more can come: it was closed by its writer, or another has been
//! begun after its successor. So nothing is lost and nothing is told twice, as long as rotated files are kept.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::inotify;
use tokio::time::Instant;

use super::read::{Options, Reader};
use crate::{disk, sys::Readable};

/// How long a log that was set aside may still grow when nobody tells of its writer's end: the runtime changes over to
/// the new file within one call.
const LINGER: Duration = Duration::from_secs(1);
/// How often a chain is looked at anew that is changed meanwhile.
const TRIES: usize = 100;

/// Which file: device and inode.
type Id = (u64, u64);

/// A log that is followed.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    /// Out for as long as a thread reads.
    reader: Option<Reader>,
    growth: Option<Growth>,
    /// When the file that is read was found to have a successor.
    left_at: Option<Instant>,
    /// The container has ended: nothing grows any more.
    ended: bool,
}

/// What a look at the files has brought.
enum Found {
    Part(Vec<u8>),
    /// The present end. Whether the file has a successor, which may be the newest.
    End(Option<Next>),
}

/// The file after the one that is read.
struct Next {
    path: PathBuf,
    id: Id,
    /// Whether it is the one that is written now.
    newest: bool,
}

impl Follower {
    /// Opens the log at `path` and goes to where `options` want to begin. Without `follow` its present end is the end.
    pub(crate) async fn open(path: &Path, options: Options, follow: bool) -> io::Result<Self> {
        let own = path.to_owned();
        let reader = disk::run(move || Reader::open(&own, options)).await?;
        // What has grown until here is read anyway.
        let growth = if follow { Some(Growth::watch(path, reader.file())?) } else { None };
        Ok(Self { path: path.to_owned(), reader: Some(reader), growth, left_at: None, ended: false })
    }

    /// Tells that the container has ended and its log is complete.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether there can be more: it is followed, its container runs, and the byte limit is not reached.
    pub(crate) fn is_open(&self) -> bool {
        let full = self.reader.as_ref().is_some_and(Reader::is_full);
        self.growth.is_some() && !self.ended && !full
    }

    /// The next part, from whatever file it is in; `None` at the present end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // Asked before the file is read to its end: only then is that the end.
            let complete = self.is_complete();
            let (path, follow) = (self.path.clone(), self.growth.is_some());
            let next = match self.with_reader(move |reader| look(reader, &path, follow)).await? {
                Found::Part(part) => return Ok(Some(part)),
                Found::End(None) => return Ok(None),
                Found::End(Some(next)) => next,
            };
            let first = *self.left_at.get_or_insert_with(Instant::now);
            if complete {
                self.go_on(next).await?;
            } else if !next.newest || first.elapsed() >= LINGER {
                self.close();
            } else {
                return Ok(None);
            }
        }
    }

    /// Whether it is known that the file that is read does not grow any more.
    fn is_complete(&self) -> bool {
        self.ended || self.growth.as_ref().is_none_or(|growth| growth.closed)
    }

    /// Notes that the file that is read does not grow any more.
    fn close(&mut self) {
        if let Some(growth) = &mut self.growth {
            growth.closed = true;
        }
    }

    /// Leaves the file that is read for the next one, unless that has been set aside meanwhile: then it is found under
    /// its new name.
    async fn go_on(&mut self, next: Next) -> io::Result<()> {
        if self.with_reader(move |reader| reader.go_on(&next.path, next.id)).await? {
            self.left_at = None;
            if let (Some(growth), Some(reader)) = (&mut self.growth, &self.reader) {
                growth.turn_to(reader.file())?;
            }
        }
        Ok(())
    }

    /// Does something with the reader on a thread that may wait for a disk.
    async fn with_reader<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reader) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut reader = self.reader.take().ok_or_else(|| io::Error::other("the log was given up"))?;
        let (reader, done) = disk::run(move || work(&mut reader).map(|done| (reader, done))).await?;
        self.reader = Some(reader);
        Ok(done)
    }

    /// Waits until there may be more.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        let Some(growth) = &mut self.growth else { return std::future::pending().await };
        match self.left_at {
            None => growth.changed().await,
            Some(first) => tokio::time::timeout_at(first + LINGER, growth.changed()).await.unwrap_or(Ok(())),
        }
    }
}

/// Reads on; at the end looks for the next file.
fn look(reader: &mut Reader, path: &Path, follow: bool) -> io::Result<Found> {
    if let Some(part) = reader.next()? {
        return Ok(Found::Part(part));
    }
    if !follow || reader.is_full() {
        return Ok(Found::End(None));
    }
    successor(reader.id()?, path).map(Found::End)
}

/// The file that was begun after the one with this id, among `path` and what was set aside from it. The oldest when
/// the file itself is gone: it was the oldest before. `None` while it is the newest, or the next is just being made.
fn successor(own: Id, path: &Path) -> io::Result<Option<Next>> {
    let id = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    for _ in 0..TRIES {
        let newest = id(path)?;
        if newest == Some(own) {
            return Ok(None);
        }
        let mut chain = Vec::new();
        for aside in set_aside_from(path)? {
            if let Some(id) = id(&aside)? {
                chain.push((aside, id));
            }
        }
        // Between two equal looks at the newest no file was set aside that the list could have missed.
        if id(path)? != newest {
            continue;
        }
        let after = chain.iter().position(|(_, id)| *id == own).map_or(0, |at| at + 1);
        if let Some((path, id)) = chain.into_iter().nth(after) {
            return Ok(Some(Next { path, id, newest: false }));
        }
        return Ok(newest.map(|id| Next { path: path.to_owned(), id, newest: true }));
    }
    Ok(None)
}

/// The logs that were set aside from `path`, the oldest first.
///
/// # Errors
/// The folder cannot be read.
pub(crate) fn set_aside_from(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let prefix = format!("{}.", name.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Tells when a file grows, is moved away or is closed by its writer, and when another takes its name (inotify(7)).
#[derive(Debug)]
struct Growth {
    news: Readable,
    file: i32,
    /// Whether the file's writer has closed it.
    closed: bool,
}

impl Growth {
    /// Watches a file, and the folder of `path`.
    fn watch(path: &Path, file: &File) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        if let Some(dir) = path.parent() {
            inotify::add_watch(&fd, dir, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO)?;
        }
        let file = add(&fd, file)?;
        Ok(Self { news: Readable::new(fd)?, file, closed: false })
    }

    /// Watches another file instead.
    fn turn_to(&mut self, file: &File) -> io::Result<()> {
        let fd = self.news.fd();
        // The kernel has forgotten a watch whose file is deleted.
        let _ = inotify::remove_watch(fd, self.file);
        self.file = add(fd, file)?;
        self.closed = false;
        Ok(())
    }

    /// Waits until something has happened since the last call.
    async fn changed(&mut self) -> io::Result<()> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let (file, news) = (self.file, &self.news);
        let closed = news
            .read(|fd| {
                let mut closed = false;
                let mut reader = inotify::Reader::new(fd, &mut buffer);
                loop {
                    let event = reader.next()?;
                    closed |= event.wd() == file && event.events().contains(inotify::ReadFlags::CLOSE_WRITE);
                    if reader.is_buffer_empty() {
                        return Ok(closed);
                    }
                }
            })
            .await?;
        self.closed |= closed;
        Ok(())
    }
}

/// Has inotify watch an open file, whatever its name is by now.
fn add(inotify: impl AsFd, file: &File) -> io::Result<i32> {
    use inotify::WatchFlags;
    let what = WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::CLOSE_WRITE;
    Ok(inotify::add_watch(inotify, format!("/proc/self/fd/{}", file.as_raw_fd()), what)?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Writes as the runtime does: whole records, long lines in parts, and after a rotation the last of what was under
    /// way into the old file, although the new one is there already.
    struct Writer {
        path: PathBuf,
        file: File,
        rotations: usize,
        lines: usize,
    }

    impl Writer {
        fn new(path: &Path) -> Self {
            Self { path: path.to_owned(), file: Self::create(path), rotations: 0, lines: 0 }
        }

        fn create(path: &Path) -> File {
            File::options().create_new(true).append(true).open(path).unwrap()
        }

        fn record(file: &mut File, tag: char, text: &str) {
            file.write_all(format!("2026-01-01T00:00:00Z stdout {tag} {text}\n").as_bytes()).unwrap();
        }

        fn line(&mut self) {
            self.lines += 1;
            Self::record(&mut self.file, 'F', &format!("line {}", self.lines));
        }

        /// A line whose parts are in the old file and in the new.
        fn rotate(&mut self) {
            self.rotations += 1;
            self.lines += 1;
            Self::record(&mut self.file, 'P', "line ");
            fs::rename(&self.path, self.path.with_extension(format!("log.{:05}", self.rotations))).unwrap();
            let mut new = Self::create(&self.path);
            Self::record(&mut self.file, 'P', &self.lines.to_string());
            self.file = new.try_clone().unwrap();
            Self::record(&mut new, 'F', " split");
        }
    }

    fn expected(lines: usize, is_split: impl Fn(usize) -> bool) -> String {
        let line = |n: usize| format!("line {n}{}\n", if is_split(n) { " split" } else { "" });
        (1..=lines).map(line).collect()
    }

    /// So many bytes, however long they take.
    async fn read(follower: &mut Follower, length: usize) -> String {
        let mut text = Vec::new();
        while text.len() < length {
            match follower.next().await.unwrap() {
                Some(part) => text.extend(part),
                None => follower.changed().await.unwrap(),
            }
        }
        String::from_utf8(text).unwrap()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn a_hundred_rotations_under_a_fast_writer_lose_no_line_and_split_none() {
        const EACH: usize = 200;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = Writer::new(&path);
        writer.line();
        let text = run(async {
            let mut follower = Follower::open(&path, Options::default(), true).await.unwrap();
            let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
            let writing = std::thread::spawn(move || {
                for _ in 0..100 {
                    (0..EACH - 1).for_each(|_| writer.line());
                    writer.rotate();
                }
                writer.line();
                drop(done);
                writer
            });
            let mut text = Vec::new();
            loop {
                while let Some(part) = follower.next().await.unwrap() {
                    text.extend(part);
                }
                if !follower.is_open() {
                    break;
                }
                tokio::select! {
                    changed = follower.changed() => changed.unwrap(),
                    _ = &mut is_done => follower.end(),
                }
            }
            assert_eq!(writing.join().unwrap().rotations, 100);
            String::from_utf8(text).unwrap()
        });
        let wanted = expected(100 * EACH + 2, |n| n > 1 && (n - 1) % EACH == 0 && n < 100 * EACH + 2);
        if let Some((at, (has, should))) =
            text.lines().zip(wanted.lines()).enumerate().find(|(_, (has, should))| has != should)
        {
            panic!("line {at} is {has:?} instead of {should:?}");
        }
        assert_eq!(text.len(), wanted.len());
    }

    #[test]
    fn several_rotations_between_two_looks_lose_nothing_and_the_rest_of_an_old_file_is_read_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = Writer::new(&path);
        run(async {
            let mut follower = Follower::open(&path, Options::default(), true).await.unwrap();
            writer.line();
            assert_eq!(follower.next().await.unwrap().unwrap(), b"line 1\n");
            for _ in 0..3 {
                writer.line();
                writer.rotate();
            }
            let wanted = expected(7, |n| n > 1 && n % 2 == 1);
            assert_eq!("line 1\n".to_owned() + &read(&mut follower, wanted.len() - 7).await, wanted);
        });
    }

    #[test]
    fn a_file_is_not_left_while_its_writer_may_go_on_and_not_waited_for_forever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = Writer::new(&path);
        writer.line();
        run(async {
            let mut follower = Follower::open(&path, Options::default(), true).await.unwrap();
            assert!(follower.next().await.unwrap().is_some());
            let mut old = writer.file.try_clone().unwrap();
            writer.rotate();
            assert_eq!(follower.next().await.unwrap().unwrap(), b"line 2", "what the old file has");
            assert_eq!(follower.next().await.unwrap(), None, "somebody can still write to it");
            Writer::record(&mut old, 'F', " late");
            assert_eq!(follower.next().await.unwrap().unwrap(), b" late\n");
            assert_eq!(read(&mut follower, 7).await, " split\n");
        });
    }

    #[test]
    fn the_oldest_that_is_kept_follows_a_file_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = Writer::new(&path);
        run(async {
            let mut follower = Follower::open(&path, Options::default(), true).await.unwrap();
            for _ in 0..3 {
                writer.rotate();
            }
            fs::remove_file(path.with_extension("log.00001")).unwrap();
            let wanted = "line 1 split\nline 2 split\nline 3 split\n";
            assert_eq!(read(&mut follower, wanted.len()).await, wanted);
        });
    }
}
