//! Importing image archives into containerd when the node starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, UNIX_EPOCH},
};

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use super::{normalize, pause, tar};
use crate::{
    Config, Error,
    cri::{Client, events::CONTAINERD_NAMESPACE},
};

/// The largest manifest or index of an archive that is read.
const MAX_MANIFEST: u64 = 4 << 20;

/// How long the runtime may take to show an imported image, and how often it is asked meanwhile.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(5);
const NOTICE_STEP: Duration = Duration::from_millis(5);

/// The names of the images that came from archives. Whoever put an archive there decided what the name
/// means on this node, so such an image is used as it is, whatever its pull policy says.
#[derive(Clone, Debug, Default)]
pub struct Imported(BTreeSet<String>);

impl Imported {
    /// Whether the image `name`, as a pod writes it, came from an archive.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(&normalize(name))
    }
}

/// What is remembered of an imported archive, to know it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    size: u64,
    /// Nanoseconds since the epoch.
    modified: u128,
    names: Vec<String>,
}

/// Imports the pause image and every archive of the node's two image folders that is new or has changed.
/// Returns the names of all images that came from archives. An archive that cannot be imported is logged
/// and left out; only the pause image is indispensable.
pub async fn import_all(config: &Config, runtime: &Client) -> Result<Imported, Error> {
    let socket = &config.runtime_socket();
    let book = config.data_dir.join("imported.json");
    let mut records: BTreeMap<PathBuf, Record> =
        fs::read(&book).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let pause = write_pause(config)?;
    let own_images = config.data_dir.join("images");
    let archives: Vec<PathBuf> =
        [&config.images_dir, &own_images].into_iter().flat_map(|dir| archives_in(dir)).collect();
    let found: BTreeSet<PathBuf> = archives.into_iter().chain([pause.clone()]).collect();
    let fresh = found.iter().filter_map(|path| {
        let record = describe(path).inspect_err(|error| tracing::warn!("{error}")).ok()?;
        (records.get(path) != Some(&record)).then_some((path, record))
    });
    let import = |(path, record): (&PathBuf, Record)| {
        let (path, pause) = (path.clone(), &pause);
        async move {
            match import_one(&path, socket).await {
                Ok(()) => Ok(Some((path, record))),
                Err(error) if path == *pause => Err(error),
                Err(error) => {
                    tracing::warn!("{error}");
                    Ok(None)
                }
            }
        }
    };
    let done = try_join_all(fresh.map(import).collect::<Vec<_>>()).await?;
    records.extend(done.into_iter().flatten());
    records.retain(|path, _| found.contains(path));
    let bytes = serde_json::to_vec_pretty(&records).unwrap_or_default();
    fs::write(&book, bytes).map_err(Error::file("write", book))?;
    let names: BTreeSet<String> = records.into_values().flat_map(|record| record.names).collect();
    wait_until_known(runtime, &names).await;
    Ok(Imported(names))
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

fn archives_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "tar")).collect()
}

fn describe(path: &Path) -> Result<Record, Error> {
    let read = || -> io::Result<Record> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Record { size: meta.len(), modified, names: names(path)? })
    };
    read().map_err(|error| Error::Import { archive: path.to_owned(), reason: error.to_string() })
}

/// The images' full names, from `manifest.json` (docker) or the annotations of `index.json` (OCI).
fn names(path: &Path) -> io::Result<Vec<String>> {
    let read = |name| tar::read_file(io::BufReader::new(fs::File::open(path)?), name, MAX_MANIFEST);
    if let Some(manifest) = read("manifest.json")? {
        let images: Vec<DockerImage> = serde_json::from_slice(&manifest)?;
        return Ok(images.iter().flat_map(|image| &image.repo_tags).map(|name| normalize(name)).collect());
    }
    let index = read("index.json")?.ok_or_else(|| {
        io::Error::other("it has neither a manifest.json nor an index.json; is it an image archive?")
    })?;
    let index: OciIndex = serde_json::from_slice(&index)?;
    let name = |manifest: &OciDescriptor| {
        let annotations = &manifest.annotations;
        ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .iter()
            .find_map(|key| annotations.get(*key))
            .map(|name| normalize(name))
    };
    Ok(index.manifests.iter().filter_map(name).collect())
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "RepoTags", default)]
    repo_tags: Vec<String>,
}

#[derive(Deserialize)]
struct OciIndex {
    #[serde(default)]
    manifests: Vec<OciDescriptor>,
}

#[derive(Deserialize)]
struct OciDescriptor {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Imports one archive through containerd's own client program. Layers are unpacked when a container first
/// needs them.
async fn import_one(archive: &Path, socket: &Path) -> Result<(), Error> {
    let output = tokio::process::Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", CONTAINERD_NAMESPACE, "images", "import", "--no-unpack"])
        .arg(archive)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::MissingProgram { program: "ctr", package: "containerd" },
            _ => Error::Import { archive: archive.to_owned(), reason: error.to_string() },
        })?;
    if output.status.success() {
        tracing::info!(archive = %archive.display(), "imported");
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Import { archive: archive.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_archive_names_its_images() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pause.tar");
        fs::write(&path, pause::image().to_archive()).unwrap();
        assert_eq!(names(&path).unwrap(), [pause::NAME]);
    }

    #[test]
    fn an_archive_of_something_else_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.tar");
        fs::write(&path, tar::Writer::default().finish()).unwrap();
        let error = describe(&path).unwrap_err().to_string();
        assert!(error.contains("is it an image archive?"), "{error}");
    }

    #[test]
    fn an_imported_image_is_known_by_its_short_name() {
        let imported = Imported(["docker.io/library/httpd:latest".to_owned()].into());
        assert!(imported.contains("httpd"));
        assert!(!imported.contains("httpd:2.4"));
    }
}
