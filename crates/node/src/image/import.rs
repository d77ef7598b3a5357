//! Importing image archives into containerd: each content once, whenever it comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{inspect, normalize, pause, tar::Fault};
use crate::{
    Config, Error,
    cri::{Client, events::CONTAINERD_NAMESPACE},
    disk,
};

/// Where a node remembers what it has imported, in its data directory.
pub(crate) const BOOK: &str = "imported.json";
/// How long the runtime may take to show an imported image, and how often it is asked meanwhile.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(5);
const NOTICE_STEP: Duration = Duration::from_millis(5);
/// Archives that are imported at the same time.
const AT_ONCE: usize = 4;
/// A file that cannot be imported is complained about when it has not changed for this long: it may be half written.
pub(super) const STILL: Duration = Duration::from_secs(2);
/// How much of a file is read at once, in bytes.
const CHUNK: usize = 1 << 20;

/// The names of the images that came from archives. Whoever put an archive there decided what the name
/// means on this node, so such an image is used as it is, whatever its pull policy says.
#[derive(Clone, Debug, Default)]
pub struct Imported(Arc<RwLock<BTreeSet<String>>>);

impl Imported {
    /// Whether the image `name`, as a pod writes it, came from an archive.
    pub fn contains(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&normalize(name))
    }

    /// These names.
    #[cfg(test)]
    pub(crate) fn of(names: &[&str]) -> Self {
        let imported = Self::default();
        imported.replace(names.iter().map(|name| normalize(name)).collect());
        imported
    }

    fn replace(&self, names: BTreeSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self { size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()), inode: meta.ino() })
    }
}

/// What is remembered of an imported archive, to know it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    stamp: Stamp,
    /// SHA-256 of the contents, in hexadecimal digits.
    digest: String,
    names: Vec<String>,
}

/// An archive that could not be imported.
#[derive(Clone, Debug)]
struct Doubtful {
    stamp: Stamp,
    since: Instant,
    reason: String,
    told: bool,
}

/// What a look at the folders has brought.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Whether the images are others than before.
    pub(crate) news: bool,
    /// Sentences about archives that cannot be imported, each told once.
    pub(crate) complaints: Vec<String>,
    /// Whether some archive is not still yet.
    pub(crate) undecided: bool,
}

/// Imports what lies in the node's folders of images.
#[derive(Debug)]
pub(crate) struct Importer {
    socket: PathBuf,
    book: PathBuf,
    pause: PathBuf,
    folders: [PathBuf; 2],
    records: BTreeMap<PathBuf, Record>,
    doubtful: BTreeMap<PathBuf, Doubtful>,
    imported: Imported,
}

/// Imports the pause image and every archive of the node's two image folders that is new or has changed.
/// Returns the names of all images that came from archives. An archive that cannot be imported is logged
/// and left out; only the pause image is indispensable.
pub async fn import_all(config: &Config, runtime: &Client) -> Result<Imported, Error> {
    let mut importer = Importer::open(config)?;
    importer.begin(runtime).await?;
    Ok(importer.imported())
}

/// Whether the node that keeps its data in `data_dir` has imported the archive at `path` as it is now.
pub fn has_imported(data_dir: &Path, path: &Path) -> bool {
    let records = read_book(&data_dir.join(BOOK));
    Stamp::of(path).is_ok_and(|stamp| records.values().any(|record| record.stamp == stamp))
}

/// What an earlier process has imported; nothing when it cannot be read, so that it is imported again.
fn read_book(book: &Path) -> BTreeMap<PathBuf, Record> {
    fs::read(book).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

impl Importer {
    /// Remembers what an earlier process has imported, and makes the pause image.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let book = config.data_dir.join(BOOK);
        Ok(Self {
            socket: config.runtime_socket(),
            records: read_book(&book),
            book,
            pause: write_pause(config)?,
            folders: [config.images_dir.clone(), config.data_dir.join("images")],
            doubtful: BTreeMap::new(),
            imported: Imported::default(),
        })
    }

    /// The names of the images that came from archives, also those to come.
    pub(crate) fn imported(&self) -> Imported {
        self.imported.clone()
    }

    /// The folders whose archives are imported.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The first look, after which the pause image must be there.
    pub(crate) async fn begin(&mut self, runtime: &Client) -> Result<(), Error> {
        let looked = self.look(runtime).await;
        looked.complaints.iter().for_each(|complaint| tracing::warn!("{complaint}"));
        match self.doubtful.get(&self.pause) {
            Some(Doubtful { reason, .. }) => {
                Err(Error::Import { archive: self.pause.clone(), reason: reason.clone() })
            }
            None => Ok(()),
        }
    }

    /// Imports what is new in the folders.
    pub(crate) async fn look(&mut self, runtime: &Client) -> Looked {
        let mut found = BTreeMap::from_iter(self.folders.iter().flat_map(|dir| archives_in(dir)));
        if let Ok(stamp) = Stamp::of(&self.pause) {
            found.insert(self.pause.clone(), stamp);
        }
        let before: BTreeSet<String> = self.names();
        self.records.retain(|path, _| found.contains_key(path));
        self.doubtful.retain(|path, doubtful| found.get(path) == Some(&doubtful.stamp));
        let fresh: Vec<(PathBuf, Stamp)> = found
            .into_iter()
            .filter(|(path, stamp)| {
                let known = self.records.get(path).is_some_and(|record| record.stamp == *stamp);
                !known && !self.doubtful.contains_key(path)
            })
            .collect();
        let has_fresh = !fresh.is_empty();
        let known: BTreeSet<String> = self.records.values().map(|record| record.digest.clone()).collect();
        let socket = &self.socket;
        let import = |(path, stamp): (PathBuf, Stamp)| {
            let known = &known;
            async move { (import_one(&path, stamp, socket, known).await, path, stamp) }
        };
        let done: Vec<_> = stream::iter(fresh).map(import).buffer_unordered(AT_ONCE).collect().await;
        for (result, path, stamp) in done {
            match result {
                Ok(record) => drop(self.records.insert(path, record)),
                Err(reason) => {
                    let doubtful = Doubtful { stamp, since: Instant::now(), reason, told: false };
                    self.doubtful.insert(path, doubtful);
                }
            }
        }
        let names = self.names();
        let news = names != before || has_fresh;
        if news {
            self.write_book().await;
            wait_until_known(runtime, &names).await;
        }
        self.imported.replace(names);
        Looked { news, complaints: self.complaints(), undecided: self.doubtful.values().any(|one| !one.told) }
    }

    /// What is to be said about archives that are still and cannot be imported.
    fn complaints(&mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (path, doubtful) in &mut self.doubtful {
            // One that was there long before was never being written.
            let age = std::time::UNIX_EPOCH + Duration::from_secs(doubtful.stamp.modified.0.unsigned_abs());
            let old = age.elapsed().is_ok_and(|age| age > STILL + Duration::from_secs(1));
            if !doubtful.told && (old || doubtful.since.elapsed() >= STILL) {
                doubtful.told = true;
                let (archive, reason) = (path.clone(), doubtful.reason.clone());
                complaints.push(Error::Import { archive, reason }.to_string());
            }
        }
        complaints
    }

    fn names(&self) -> BTreeSet<String> {
        self.records.values().flat_map(|record| record.names.iter().cloned()).collect()
    }

    /// What cannot be written is imported again by the next process.
    async fn write_book(&self) {
        let (book, bytes) = (self.book.clone(), serde_json::to_vec_pretty(&self.records).unwrap_or_default());
        let write = move || {
            let partial = book.with_extension("partial");
            fs::write(&partial, bytes)?;
            fs::rename(partial, book)
        };
        if let Err(error) = disk::run(write).await {
            tracing::warn!("cannot remember which archives are imported: {error}");
        }
    }
}

/// Waits until the runtime's CRI side has noticed the imported images, which it does a moment later and
/// without saying so.
async fn wait_until_known(runtime: &Client, names: &BTreeSet<String>) {
    let known = async {
        for name in names {
            while !matches!(runtime.image_status(name).await, Ok(Some(_))) {
                tokio::time::sleep(NOTICE_STEP).await;
            }
        }
    };
    if tokio::time::timeout(NOTICE_TIMEOUT, known).await.is_err() {
        tracing::warn!("the container runtime does not show all imported images");
    }
}

fn write_pause(config: &Config) -> Result<PathBuf, Error> {
    let path = config.data_dir.join("pause.tar");
    let archive = pause::image().to_archive();
    if fs::read(&path).ok().as_ref() != Some(&archive) {
        fs::write(&path, archive).map_err(Error::file("write", path.clone()))?;
    }
    Ok(path)
}

fn archives_in(dir: &Path) -> Vec<(PathBuf, Stamp)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let archives = entries.filter(|path| path.extension().is_some_and(|extension| extension == "tar"));
    archives.filter_map(|path| Some((path.clone(), Stamp::of(&path).ok()?))).collect()
}

/// Imports one archive, unless its content is among the `known`. The error is a sentence.
async fn import_one(
    path: &Path,
    stamp: Stamp,
    socket: &Path,
    known: &BTreeSet<String>,
) -> Result<Record, String> {
    let own = path.to_owned();
    let looked = move || -> Result<(Vec<String>, String), Fault> { Ok((inspect(&own)?, digest(&own)?)) };
    let (names, digest) = disk::run(looked).await.map_err(|fault| fault.to_string())?;
    if !known.contains(&digest) {
        give(path, socket).await?;
    }
    Ok(Record { stamp, digest, names })
}

/// The SHA-256 of a file's contents, in hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => context.update(&chunk[..count]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Gives an archive to containerd by its own client program. Layers are unpacked when a container first needs them.
async fn give(archive: &Path, socket: &Path) -> Result<(), String> {
    let output = tokio::process::Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", CONTAINERD_NAMESPACE, "images", "import", "--no-unpack"])
        .arg(archive)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::MissingProgram { program: "ctr", package: "containerd" }.to_string()
            }
            _ => error.to_string(),
        })?;
    if output.status.success() {
        tracing::info!(archive = %archive.display(), "imported");
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_image_is_known_by_its_short_name_also_when_it_came_later() {
        let imported = Imported::default();
        let seen_by_others = imported.clone();
        imported.replace(["docker.io/library/httpd:latest".to_owned()].into());
        assert!(seen_by_others.contains("httpd"));
        assert!(!seen_by_others.contains("httpd:2.4"));
    }

    #[test]
    fn a_file_that_is_half_written_is_complained_about_once_and_only_when_it_is_still() {
        let stamp = |modified| Stamp { size: 1, modified: (modified, 0), inode: 1 };
        let now = jiff::Timestamp::now().as_second();
        let doubtful = |modified| Doubtful {
            stamp: stamp(modified),
            since: Instant::now(),
            reason: "it ends in the middle".into(),
            told: false,
        };
        let config = crate::config::tests::config(tempfile::tempdir().unwrap().keep().to_str().unwrap());
        let mut importer = Importer::open(&config).unwrap();
        importer.doubtful.insert("/new.tar".into(), doubtful(now));
        importer.doubtful.insert("/old.tar".into(), doubtful(now - 60));
        let complaints = importer.complaints();
        assert_eq!(complaints, ["cannot import the image archive /old.tar: it ends in the middle"]);
        importer.doubtful.get_mut(Path::new("/new.tar")).unwrap().since -= STILL;
        assert_eq!(importer.complaints().len(), 1);
        assert!(importer.complaints().is_empty());
        fs::remove_dir_all(config.data_dir).unwrap();
    }
}
