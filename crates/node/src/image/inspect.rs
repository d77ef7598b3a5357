//! What an image archive is, before anyone is given it: its images' names, or why it is none.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;
use serde::Deserialize;

use super::{
    normalize,
    tar::{Fault, Reader},
};

/// The largest manifest or index of an archive that is read, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// Reads the archive at `path` through: the full names of its images (docker's `manifest.json`, or the annotations of
/// an OCI `index.json`).
///
/// # Errors
/// It is no image archive, is not complete, or leads out of its folder.
pub fn inspect(path: &Path) -> Result<Vec<String>, Fault> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Fault::Refused("it is no regular file".into()));
    }
    names(BufReader::new(file))
}

/// The same of an archive that is open.
pub(crate) fn names(archive: impl Read + Seek) -> Result<Vec<String>, Fault> {
    let mut reader = Reader::new(archive)?;
    let (mut manifest, mut index) = (None, None);
    // To the end, so that all of it is known to be well.
    while let Some(entry) = reader.next()? {
        let place = match entry.path.as_str() {
            "manifest.json" if entry.is_file => &mut manifest,
            "index.json" if entry.is_file => &mut index,
            _ => continue,
        };
        if place.replace(reader.read(&entry, MAX_MANIFEST)?).is_some() {
            return Err(Fault::Refused(format!("it has {} twice", entry.path)));
        }
    }
    let unreadable = |what: &str, error| Fault::Refused(format!("its {what} cannot be read: {error}"));
    if let Some(manifest) = manifest {
        let images: Vec<DockerImage> =
            serde_json::from_slice(&manifest).map_err(|error| unreadable("manifest.json", error))?;
        return Ok(images
            .iter()
            .flat_map(|image| image.repo_tags.iter().flatten())
            .map(|name| normalize(name))
            .collect());
    }
    let missing = "it has neither a manifest.json nor an index.json; is it an image archive?";
    let index = index.ok_or_else(|| Fault::Refused(missing.into()))?;
    let index: OciIndex = serde_json::from_slice(&index).map_err(|error| unreadable("index.json", error))?;
    let name = |manifest: &OciDescriptor| {
        let annotations = manifest.annotations.as_ref()?;
        ["io.containerd.image.name", "org.opencontainers.image.ref.name"]
            .iter()
            .find_map(|key| annotations.get(*key))
            .map(|name| normalize(name))
    };
    Ok(index.manifests.iter().flatten().filter_map(name).collect())
}

/// The paths in an archive.
#[cfg(feature = "fuzz")]
pub(crate) fn paths(archive: impl Read + Seek) -> Result<Vec<String>, Fault> {
    let mut reader = Reader::new(archive)?;
    let mut paths = Vec::new();
    while let Some(entry) = reader.next()? {
        paths.push(entry.path);
    }
    Ok(paths)
}

#[derive(Deserialize)]
struct DockerImage {
    #[serde(rename = "RepoTags")]
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct OciIndex {
    manifests: Option<Vec<OciDescriptor>>,
}

#[derive(Deserialize)]
struct OciDescriptor {
    annotations: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::image::{pause, tar::Writer};

    fn of(files: &[(&str, &str)]) -> Result<Vec<String>, Fault> {
        let mut tar = Writer::default();
        files.iter().for_each(|(name, text)| tar.file(name, 0o644, text.as_bytes()));
        names(Cursor::new(tar.finish()))
    }

    #[test]
    fn a_docker_archive_names_its_images() {
        assert_eq!(names(Cursor::new(pause::image().to_archive())).unwrap(), [pause::NAME]);
        assert_eq!(
            of(&[("manifest.json", r#"[{"RepoTags": null}, {"RepoTags": ["a"]}]"#)]).unwrap(),
            [normalize("a")]
        );
    }

    #[test]
    fn an_oci_archive_names_its_images() {
        let index = r#"{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "a:1"}}, {}]}"#;
        assert_eq!(of(&[("oci-layout", "{}"), ("index.json", index)]).unwrap(), ["docker.io/library/a:1"]);
    }

    #[test]
    fn an_archive_of_something_else_is_refused_with_a_sentence() {
        for (files, part) in [
            (&[][..], "is it an image archive?"),
            (&[("manifest.json", "{")], "its manifest.json cannot be read"),
            (&[("index.json", "[]")], "its index.json cannot be read"),
            (&[("manifest.json", "[]"), ("./manifest.json", "[]")], "twice"),
        ] {
            let error = of(files).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let error = inspect(Path::new("/dev/null")).unwrap_err().to_string();
        assert_eq!(error, "it is no regular file");
    }
}
