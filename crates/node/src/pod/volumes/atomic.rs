//! A folder of files that changes all at once: what a volume made from API objects is.
//!
//! ```text
//! home/shown/..1700000000   the files
//! home/shown/..data         leads to it; replaced by renaming, so that readers see all old or all new files
//! home/shown/NAME           leads to ..data/NAME
//! home/record               what is shown
//! ```
//! Containers mount `shown`, read-only; programs that wait for changes of a mounted ConfigMap watch its `..data`.
//! The layout of `shown` is the kubelet's.
//!
//! No container sees `home`. What is to be shown is made there, complete and with its final modes, and moved into
//! `shown` by its name; what is shown no longer is moved out by its name before it is taken apart. Nothing in
//! `shown` is ever read, walked through or written to, so that whatever a container could do there would stay there
//! (kind of CVE-2017-1002102).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{
    AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid, chown, flock, openat, openat2,
    renameat, unlinkat,
};
use serde::{Deserialize, Serialize};

const DATA: &str = "..data";
/// Permission bits that a volume's files have for the pod's fsGroup.
const GROUP_MAY_READ: u32 = 0o440;
/// Permission bits of folders that containers see.
const FOLDER: u32 = 0o755;
/// What is made in a folder belongs to the folder's group.
const SET_GROUP: u32 = 0o2000;

/// What a file holds, its permission bits, and the user to whom it belongs if that is not root.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct File {
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: Option<u32>,
}

/// Files by their path below the volume, which has passed [`inside`].
pub(super) type Files = BTreeMap<PathBuf, File>;

/// A relative path that does not lead out of where it begins, nor into what this module keeps there.
pub(super) fn inside(path: &str) -> Result<&Path, String> {
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b".."),
        other => other == Component::CurDir,
    };
    let path = Path::new(path);
    if path.components().all(plain) && path.components().any(|part| part != Component::CurDir) {
        Ok(path)
    } else {
        Err(format!("{path:?} must be a relative path without .."))
    }
}

/// The volume kept at a folder that no container sees.
#[derive(Debug)]
pub(super) struct Published {
    home: PathBuf,
    /// Held while something changes: a task that was given up may still be at work when its successor comes.
    lock: OwnedFd,
}

/// What is shown, as far as it is known without looking.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Of the files; none while they are being changed.
    digest: Option<String>,
    /// Folders that may be shown, the newest last.
    versions: Vec<String>,
    /// Names that may be shown.
    names: BTreeSet<String>,
}

impl Published {
    /// The volume at `home`, which is made if it is not there, for files of `group`.
    pub(super) fn open(home: &Path, group: Option<Gid>) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(home)?;
        let lock = openat(CWD, home, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let volume = Self { home: home.to_owned(), lock };
        if !volume.shown().exists() {
            let next = volume.next()?;
            make_folder(&next, group)?;
            fs::rename(next, volume.shown())?;
        }
        Ok(volume)
    }

    /// The folder that containers mount.
    pub(super) fn shown(&self) -> PathBuf {
        self.home.join("shown")
    }

    /// Makes the volume hold exactly these files, readable for `group` too. Returns whether anything changed.
    pub(super) fn write(&self, mut files: Files, group: Option<Gid>) -> io::Result<bool> {
        if group.is_some() {
            files.values_mut().for_each(|file| file.mode |= GROUP_MAY_READ);
        }
        let digest = digest(&files, group);
        let before = self.record();
        if before.digest.as_ref() == Some(&digest) {
            return Ok(false);
        }
        let next = self.next()?;
        make_folder(&next, group)?;
        files.iter().try_for_each(|(path, file)| write_file(&next, path, file, group))?;
        let version = version(&before);
        let tops = files.keys().filter_map(|path| path.components().find(|part| *part != Component::CurDir));
        let tops: BTreeSet<String> = tops.map(|top| top.as_os_str().to_string_lossy().into_owned()).collect();
        // Should this end halfway, the next time knows what may be there.
        let record = Record {
            digest: None,
            versions: before.versions.iter().cloned().chain([version.clone()]).collect(),
            names: before.names.union(&tops).cloned().collect(),
        };
        self.note(&record)?;
        let shown = self.open_shown()?;
        renameat(CWD, &next, &shown, &version)?;
        self.show_link(&shown, Path::new(&version), DATA)?;
        let gone = record.names.difference(&tops);
        gone.chain(&before.versions).try_for_each(|name| self.withdraw(&shown, name))?;
        // After an interruption any may be missing.
        let is_there = |top: &&String| before.digest.is_some() && before.names.contains(*top);
        let links = tops.iter().filter(|top| !is_there(top));
        links.into_iter().try_for_each(|top| self.show_link(&shown, &Path::new(DATA).join(top), top))?;
        self.note(&Record { digest: Some(digest), versions: vec![version], names: tops })?;
        Ok(true)
    }

    /// The folder with the files that are shown.
    pub(super) fn current(&self) -> io::Result<PathBuf> {
        let record = self.record();
        let version = record.versions.last().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.shown().join(version))
    }

    /// An empty folder, for mounts of what the volume does not have.
    pub(super) fn nothing(&self) -> io::Result<PathBuf> {
        let dir = self.home.join("nothing");
        if !dir.exists() {
            make_folder(&dir, None)?;
        }
        Ok(dir)
    }

    fn open_shown(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.lock, "shown", flags, Mode::empty(), resolve)?)
    }

    /// A name in `home` at which nothing is: what an interruption has left is removed.
    fn next(&self) -> io::Result<PathBuf> {
        let next = self.home.join("next");
        remove(&next)?;
        Ok(next)
    }

    /// Shows a symbolic link; one that is there under this name gives way at once.
    fn show_link(&self, shown: &OwnedFd, target: &Path, name: &str) -> io::Result<()> {
        let next = self.next()?;
        symlink(target, &next)?;
        Ok(renameat(CWD, &next, shown, name)?)
    }

    /// Moves out of `shown` what has this name, and removes it where no container reaches it.
    fn withdraw(&self, shown: &OwnedFd, name: &str) -> io::Result<()> {
        if unlinkat(shown, name, AtFlags::empty()).is_ok() {
            return Ok(());
        }
        let next = self.next()?;
        absent_is_fine(renameat(shown, name, CWD, &next).map_err(io::Error::from))?;
        remove(&next)
    }

    /// Without a record, or with one that cannot be read, nothing is known.
    fn record(&self) -> Record {
        let text = fs::read(self.home.join("record")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn note(&self, record: &Record) -> io::Result<()> {
        let next = self.home.join("record.next");
        fs::write(&next, serde_json::to_vec(record)?)?;
        fs::rename(next, self.home.join("record"))
    }
}

/// A folder's name that was not used in this volume.
fn version(record: &Record) -> String {
    let now = Timestamp::now().as_nanosecond();
    let mut names = (now..).map(|time| format!("..{time}"));
    names.find(|name| !record.versions.contains(name)).unwrap_or_default()
}

/// Makes a folder as containers see it.
fn make_folder(path: &Path, group: Option<Gid>) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    if group.is_some() {
        chown(path, None, group)?;
    }
    let mode = if group.is_some() { FOLDER | SET_GROUP } else { FOLDER };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Writes one file below `dir`. It is ours alone until it is complete.
fn write_file(dir: &Path, path: &Path, file: &File, group: Option<Gid>) -> io::Result<()> {
    let mut parent = dir.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        parent.push(part);
        match make_folder(&parent, group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let path = dir.join(path);
    let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    new.write_all(&file.contents)?;
    if group.is_some() || file.owner.is_some() {
        chown(&path, file.owner.map(Uid::from_raw), group)?;
    }
    new.set_permissions(fs::Permissions::from_mode(file.mode))
}

/// What tells two sets of files apart, with their modes and their group.
fn digest(files: &Files, group: Option<Gid>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    part(format!("{:?}", group.map(Gid::as_raw)).as_bytes());
    for (path, file) in files {
        part(path.as_os_str().as_encoded_bytes());
        part(&file.mode.to_le_bytes());
        part(format!("{:?}", file.owner).as_bytes());
        part(&file.contents);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Removes a file, a link (not what it leads to) or a folder with all that is in it.
fn remove(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{RenameFlags, mkfifoat, renameat_with};

    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { contents: text.as_bytes().to_vec(), mode: 0o644, owner: None };
        list.iter().map(|(path, text)| (PathBuf::from(path), file(text))).collect()
    }

    fn names(place: &Path) -> Vec<String> {
        let entries = fs::read_dir(place).unwrap().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| !name.starts_with("..1"));
        names.sort();
        names
    }

    #[test]
    fn files_are_reached_through_one_link_that_changes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Published::open(&dir.path().join("v"), None).unwrap();
        let shown = volume.shown();
        assert!(volume.write(files(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!(names(&shown), ["..data", "a", "d"]);
        let before = fs::read_link(shown.join(DATA)).unwrap();
        let open = fs::File::open(shown.join("d/b")).unwrap();
        assert!(volume.write(files(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(shown.join("a")).unwrap(), "3");
        assert_eq!(names(&shown), ["..data", "a", "c"], "what is gone from the object is gone here");
        assert!(!shown.join(before).exists());
        assert_eq!(io::read_to_string(open).unwrap(), "2", "a reader keeps what it has opened");
        assert_eq!(volume.current().unwrap(), shown.join(fs::read_link(shown.join(DATA)).unwrap()));
    }

    #[test]
    fn the_same_files_change_nothing_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let same = || files(&[("a", "1"), ("d/b", "2")]);
        let write = |files| Published::open(dir.path(), None).unwrap().write(files, None).unwrap();
        assert!(write(same()));
        let data = dir.path().join("shown").join(DATA);
        let before = fs::read_link(&data).unwrap();
        assert!(!write(same()));
        assert_eq!(fs::read_link(data).unwrap(), before);
        assert!(write(Files::new()));
        assert_eq!(names(&dir.path().join("shown")), ["..data"]);
    }

    #[test]
    fn what_an_interruption_has_left_is_tidied_by_the_next_change() {
        let dir = tempfile::tempdir().unwrap();
        let volume = Published::open(dir.path(), None).unwrap();
        let shown = volume.shown();
        volume.write(files(&[("a", "1"), ("b", "1")]), None).unwrap();
        let version = fs::read_link(shown.join(DATA)).unwrap().display().to_string();
        // As if the agent had been killed before it showed what is new: one folder more, one name less.
        fs::create_dir(dir.path().join("next")).unwrap();
        fs::create_dir(shown.join("..12")).unwrap();
        let names_then = ["a", "b", "c"].map(String::from).into();
        let record = Record { digest: None, versions: vec![version, "..12".into()], names: names_then };
        volume.note(&record).unwrap();
        assert!(volume.write(files(&[("a", "2"), ("c", "2")]), None).unwrap());
        assert_eq!(names(&shown), ["..data", "a", "c"]);
        assert_eq!(fs::read_dir(&shown).unwrap().count(), 4, "and one folder of files");
        assert_eq!(fs::read_to_string(shown.join("c")).unwrap(), "2");
    }

    #[test]
    fn no_path_leads_out_of_a_volume() {
        assert!(inside("a/b").is_ok());
        for bad in ["../x", "a/../../x", "/etc", "..data/x", "", "."] {
            assert!(inside(bad).is_err(), "{bad}");
        }
    }

    /// Containers cannot write to a volume of objects; if one could, this is what it would do.
    #[test]
    fn what_is_changed_in_the_shown_folder_leads_nowhere_and_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (home, outside) = (dir.path().join("v"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        let volume = Published::open(&home, None).unwrap();
        let shown = volume.shown();
        let (trap, stop) = (shown.join("trap"), AtomicBool::new(false));
        symlink(&outside, &trap).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for entry in fs::read_dir(&shown).unwrap().flatten() {
                        let name = entry.file_name();
                        if name.as_encoded_bytes().starts_with(b"..1") {
                            let _ = renameat_with(CWD, entry.path(), CWD, &trap, RenameFlags::EXCHANGE);
                        }
                    }
                    let _ = mkfifoat(CWD, shown.join("a"), Mode::RWXU);
                }
            });
            for round in 0..200 {
                let text = round.to_string();
                let many: Vec<String> = (0..40).map(|key| format!("k{key}")).collect();
                let many: Vec<_> = many.iter().map(|key| (key.as_str(), text.as_str())).collect();
                let _ = volume.write(files(&many), None);
            }
            stop.store(true, Ordering::Relaxed);
        });
        let left: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["kept"], "nothing was written or removed where the link leads");
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    }

    #[test]
    fn files_are_closed_to_others_from_their_first_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = File { contents: b"key".to_vec(), mode: 0o400, owner: None };
        let volume = Published::open(&dir.path().join("v"), None).unwrap();
        volume.write(Files::from([("d/k".into(), file)]), None).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode("v"), 0o700, "no one else comes past the folder in which files are made");
        assert_eq!((mode("v/shown"), mode("v/shown/d"), mode("v/shown/d/k")), (0o755, 0o755, 0o400));
    }
}
