//! A folder of files that changes all at once: what a volume made from API objects is.
//!
//! ```text
//! place/..1700000000   the files
//! place/..data         leads to it; replaced by renaming, so that readers see all old or all new files
//! place/NAME           leads to ..data/NAME
//! ```
//! Programs that wait for changes of a mounted ConfigMap watch `..data`; the layout is the kubelet's.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{Gid, chown};

const DATA: &str = "..data";
/// Permission bits that a volume's files have for the pod's fsGroup.
const GROUP_MAY_READ: u32 = 0o440;

/// What a file holds, and its permission bits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
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
    if path.components().all(plain) {
        Ok(path)
    } else {
        Err(format!("{path:?} must be a relative path without .."))
    }
}

/// Makes `place` hold exactly these files, readable for `group` too. Returns whether anything changed.
pub(super) fn write(place: &Path, mut files: Files, group: Option<Gid>) -> io::Result<bool> {
    if group.is_some() {
        files.values_mut().for_each(|file| file.mode |= GROUP_MAY_READ);
    }
    fs::create_dir_all(place)?;
    let data = place.join(DATA);
    if fs::symlink_metadata(&data).is_ok() && held(&data)? == files {
        return Ok(false);
    }
    let version = OsString::from(format!("..{}", Timestamp::now().as_nanosecond()));
    for (path, file) in &files {
        let path = place.join(&version).join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.contents)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if group.is_some() {
            chown(&path, None, group)?;
        }
    }
    fs::create_dir_all(place.join(&version))?;
    let next = place.join("..data_tmp");
    absent_is_fine(fs::remove_file(&next))?;
    symlink(&version, &next)?;
    fs::rename(&next, &data)?;
    let tops = files.keys().filter_map(|path| path.components().find(|part| *part != Component::CurDir));
    let tops: BTreeSet<OsString> = tops.map(|top| top.as_os_str().to_owned()).collect();
    for entry in fs::read_dir(place)? {
        let name = entry?.file_name();
        let is_current =
            name == DATA || name == version || links_to_data(place, &name) && tops.contains(&name);
        if !is_current {
            remove(&place.join(name))?;
        }
    }
    for top in tops.iter().filter(|top| !links_to_data(place, top)) {
        symlink(Path::new(DATA).join(top), place.join(top))?;
    }
    Ok(true)
}

fn links_to_data(place: &Path, name: &OsString) -> bool {
    fs::read_link(place.join(name)).is_ok_and(|target| target == Path::new(DATA).join(name))
}

/// The files below a folder.
fn held(dir: &Path) -> io::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                let mode = entry.metadata()?.permissions().mode() & 0o777;
                files.insert(path, File { contents: fs::read(entry.path())?, mode });
            }
        }
    }
    Ok(files)
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |text: &str| File { contents: text.as_bytes().to_vec(), mode: 0o644 };
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
        let place = dir.path().join("v");
        assert!(write(&place, files(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!(names(&place), ["..data", "a", "d"]);
        let before = fs::read_link(place.join(DATA)).unwrap();
        let open = fs::File::open(place.join("d/b")).unwrap();
        assert!(write(&place, files(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "3");
        assert_eq!(names(&place), ["..data", "a", "c"], "what is gone from the object is gone here");
        assert!(!place.join(before).exists());
        assert_eq!(io::read_to_string(open).unwrap(), "2", "a reader keeps what it has opened");
    }

    #[test]
    fn the_same_files_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let same = || files(&[("a", "1"), ("d/b", "2")]);
        write(dir.path(), same(), None).unwrap();
        let before = fs::read_link(dir.path().join(DATA)).unwrap();
        assert!(!write(dir.path(), same(), None).unwrap());
        assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), before);
        assert!(write(dir.path(), Files::new(), None).unwrap());
        assert_eq!(names(dir.path()), ["..data"]);
    }

    #[test]
    fn no_path_leads_out_of_a_volume() {
        assert!(inside("a/b").is_ok());
        for bad in ["../x", "a/../../x", "/etc", "..data/x"] {
            assert!(inside(bad).is_err(), "{bad}");
        }
    }
}
