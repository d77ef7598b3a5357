//! The directory in which a cluster keeps its data: whose it is, who may enter it, and what in it is Portolan's.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::record::{self, Record};

/// The files that a cluster makes, in the order in which they are removed: the record goes last, so that a removal
/// that was broken off can be tried again.
const FILES: [&str; 7] = [
    "pki/ca.key",
    "pki/ca.crt",
    "store.redb",
    "store.acknowledged",
    "store.reserve",
    "store.new",
    record::IN_DATA_DIR,
];
/// Folders that go when nothing else is in them. Those of nodes are removed with the nodes.
const FOLDERS: [&str; 3] = ["pki", "nodes", "images"];
/// What tells a directory that an earlier program has made without a record.
const STORE: &str = "store.redb";
/// What users may put there before a cluster starts.
const WELCOME: [&str; 2] = ["images", "demo"];
/// Only the owner enters.
const MODE: u32 = 0o700;

/// Makes the directory for the cluster `name`, or takes the one that is there; returns the record in it.
/// A directory that is Portolan's is closed to others.
///
/// # Errors
/// It belongs to another cluster, or cannot be made.
pub(super) fn claim(data_dir: &Path, name: &str) -> anyhow::Result<Option<Record>> {
    let record = Record::in_data_dir(data_dir)?;
    if let Some(record) = &record
        && record.name != name
    {
        bail!(
            "{} holds the data of cluster {}; start that with --name {}, or choose another --data-dir",
            data_dir.display(),
            record.name,
            record.name
        );
    }
    let failed = || format!("the data directory {} cannot be used", data_dir.display());
    apiserver::pki::create_private_dir(data_dir).with_context(failed)?;
    // Nodes' files are closed to others also where the directory above is the user's own.
    apiserver::pki::create_private_dir(&data_dir.join("nodes")).with_context(failed)?;
    if record.is_some() || is_ours(data_dir).with_context(failed)? {
        close(data_dir).with_context(failed)?;
    }
    close(&data_dir.join("nodes")).with_context(failed)?;
    Ok(record)
}

fn is_ours(data_dir: &Path) -> io::Result<bool> {
    let mut only_welcome = true;
    for entry in fs::read_dir(data_dir)? {
        let name = entry?.file_name();
        if name == STORE {
            return Ok(true);
        }
        only_welcome &= name == "nodes" || WELCOME.iter().any(|welcome| name == *welcome);
    }
    Ok(only_welcome)
}

fn close(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode() & 0o777;
    if mode == MODE { Ok(()) } else { fs::set_permissions(folder, fs::Permissions::from_mode(MODE)) }
}

/// Removes the files that Portolan has made, and the directory if nothing is left in it. Returns what is left.
///
/// # Errors
/// What could not be removed.
pub(super) fn remove(data_dir: &Path) -> Result<Vec<PathBuf>, Vec<anyhow::Error>> {
    let mut errors = Vec::new();
    let mut note = |path: &Path, result: io::Result<()>| match result {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            errors.push(anyhow::Error::new(error).context(format!("{} cannot be removed", path.display())));
        }
        _ => {}
    };
    for file in FILES {
        let file = data_dir.join(file);
        note(&file, fs::remove_file(&file));
    }
    for folder in FOLDERS {
        let folder = data_dir.join(folder);
        note(&folder, fs::remove_dir(&folder));
    }
    // A link that leads to the directory is the user's.
    note(data_dir, fs::canonicalize(data_dir).and_then(fs::remove_dir));
    if errors.is_empty() { Ok(left(data_dir)) } else { Err(errors) }
}

/// What is in the directory, and in its folders that nobody else has made.
fn left(data_dir: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let is_folder_of_ours = |path: &PathBuf| FOLDERS.iter().any(|folder| path == &data_dir.join(folder));
    list(data_dir)
        .into_iter()
        .flat_map(|path| if is_folder_of_ours(&path) { list(&path) } else { vec![path] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_that_is_ours_is_closed_to_others_and_that_of_the_user_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old, users) =
            (folder.path().join("new"), folder.path().join("old"), folder.path().join("users"));
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join(STORE), "").unwrap();
        fs::create_dir_all(&users).unwrap();
        fs::write(users.join("notes"), "").unwrap();
        for folder in [&old, &users] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for folder in [&new, &old, &users] {
            assert!(claim(folder, "c").unwrap().is_none());
            assert_eq!(mode(&folder.join("nodes")), 0o700);
        }
        assert_eq!((mode(&new), mode(&old), mode(&users)), (0o700, 0o700, 0o755));
    }

    #[test]
    fn what_others_have_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        for name in ["pki/ca.key", "store.redb", "images/mine.tar", "notes/a", "nodes/other/x"] {
            let file = data_dir.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let left = remove(&data_dir).unwrap();
        let names: Vec<_> =
            left.iter().map(|path| path.strip_prefix(&data_dir).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["images/mine.tar", "nodes/other", "notes"]);
        for name in ["images/mine.tar", "notes", "nodes/other"] {
            let path = data_dir.join(name);
            drop(fs::remove_dir_all(&path));
            drop(fs::remove_file(&path));
        }
        assert_eq!(remove(&data_dir).unwrap(), Vec::<PathBuf>::new());
        assert!(!data_dir.exists());
    }

    #[test]
    fn a_link_to_the_directory_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::create_dir_all(real.join("pki")).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(remove(&link).unwrap(), Vec::<PathBuf>::new());
        assert!(!real.exists() && fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(remove(&link).unwrap(), Vec::<PathBuf>::new(), "another time nothing is left to do");
    }
}
