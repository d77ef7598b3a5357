//! Volumes of this machine: emptyDir and hostPath.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, HostPathVolumeSource, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use rustix::{fs::chown, mount::MountFlags};

use super::{super::quantity, fs_group};
use crate::mounts;

/// An empty folder that everyone in the pod may write to, in memory on demand. With an fsGroup it belongs to that
/// group and hands it on. What is there already stays as it is.
pub(super) fn empty_dir(
    pod: &Pod,
    empty: &EmptyDirVolumeSource,
    place: &Path,
    memory: u64,
) -> io::Result<()> {
    let group = fs_group(pod);
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    if empty.medium.as_deref() == Some("Memory") {
        super::super::disk::make_private(place)?;
        if mounts::is_mounted(place)? {
            return Ok(());
        }
        let size = memory_limit(pod, empty, memory);
        let group = group.map(|group| format!(",gid={}", group.as_raw())).unwrap_or_default();
        return mounts::memory(place, MountFlags::empty(), &format!("mode={mode:o},size={size}{group}"));
    }
    if place.exists() {
        return Ok(());
    }
    // Complete before it has its name, so that an interruption leaves none with other modes.
    let mut next = place.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    if next.exists() {
        fs::remove_dir(&next)?;
    }
    fs::DirBuilder::new().mode(0o700).create(&next)?;
    if group.is_some() {
        chown(&next, None, group)?;
    }
    fs::set_permissions(&next, fs::Permissions::from_mode(mode))?;
    fs::rename(next, place)
}

/// How much a volume in memory holds, in bytes: its own limit, and no more than the pod's containers may have
/// together or the machine has (KEP-1967).
fn memory_limit(pod: &Pod, empty: &EmptyDirVolumeSource, memory: u64) -> u64 {
    let bytes =
        |quantity: &Quantity| quantity::scaled(quantity, 1.0).and_then(|bytes| u64::try_from(bytes).ok());
    let own = empty.size_limit.as_ref().and_then(bytes).filter(|&bytes| bytes > 0);
    let limit = |container: &Container| bytes(container.resources.as_ref()?.limits.as_ref()?.get("memory")?);
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    // One without a limit may have all.
    let of_pod = containers.map(limit).try_fold(0_u64, |sum, limit| Some(sum.saturating_add(limit?)));
    [own, of_pod.filter(|&sum| sum > 0)].into_iter().flatten().fold(memory, u64::min)
}

/// The folder, file or device of the machine that a volume names, once it is what the volume says.
pub(super) fn host_path(host: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&host.path);
    let failed = |error: io::Error| format!("cannot create {}: {error}", path.display());
    // Nothing is opened: a pod with a part of the same folder may have put a FIFO there.
    let found = fs::metadata(path).map(|found| found.file_type());
    let is = |check: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(check);
    let must_be = |right: bool, what: &str| {
        if right { Ok(()) } else { Err(format!("hostPath type check failed: {} is not {what}", host.path)) }
    };
    match host.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" if found.is_err() => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
        }
        "FileOrCreate" if found.is_err() => {
            fs::File::create_new(path).map_err(failed)?;
        }
        "Directory" | "DirectoryOrCreate" => must_be(is(fs::FileType::is_dir), "a directory")?,
        "File" | "FileOrCreate" => must_be(is(fs::FileType::is_file), "a file")?,
        "Socket" => must_be(is(FileTypeExt::is_socket), "a socket file")?,
        "CharDevice" => must_be(is(FileTypeExt::is_char_device), "a character device")?,
        "BlockDevice" => must_be(is(FileTypeExt::is_block_device), "a block device")?,
        _ => {}
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkfifoat};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_host_path_is_what_its_type_says_and_a_fifo_stops_nobody() {
        let dir = tempfile::tempdir().unwrap();
        mkfifoat(CWD, dir.path().join("fifo"), Mode::RWXU).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let check = |name: &str, type_: &str| {
            let path = dir.path().join(name).display().to_string();
            host_path(&HostPathVolumeSource { path, type_: Some(type_.into()) })
        };
        for (name, type_) in [
            ("file", "File"),
            ("file", "FileOrCreate"),
            (".", "Directory"),
            ("new", "FileOrCreate"),
            ("d/e", "DirectoryOrCreate"),
            ("none", ""),
        ] {
            assert!(check(name, type_).is_ok(), "{name} {type_}");
        }
        assert!(dir.path().join("new").is_file() && dir.path().join("d/e").is_dir());
        for (name, type_) in [
            ("fifo", "FileOrCreate"),
            ("fifo", "File"),
            ("file", "Directory"),
            ("file", "Socket"),
            ("file", "DirectoryOrCreate"),
            ("none", "CharDevice"),
            (".", "BlockDevice"),
        ] {
            assert!(
                check(name, type_).unwrap_err().starts_with("hostPath type check failed"),
                "{name} {type_}"
            );
        }
    }

    #[test]
    fn a_volume_in_memory_holds_no_more_than_its_limit_the_pods_and_the_machine() {
        let size = |limit: serde_json::Value, containers: serde_json::Value| {
            let pod = serde_json::from_value(json!({"spec": {"containers": containers}})).unwrap();
            memory_limit(&pod, &serde_json::from_value(json!({"sizeLimit": limit})).unwrap(), 1000)
        };
        let limited = |bytes: &str| json!({"name": "c", "resources": {"limits": {"memory": bytes}}});
        assert_eq!(size(json!(null), json!([{"name": "c"}])), 1000);
        assert_eq!(size(json!("64"), json!([{"name": "c"}])), 64);
        assert_eq!(size(json!("500"), json!([limited("100"), limited("200")])), 300);
        assert_eq!(size(json!("500"), json!([limited("100"), {"name": "d"}])), 500);
        assert_eq!(size(json!("1E"), json!([])), 1000);
    }

    #[test]
    fn an_empty_dir_has_its_modes_from_the_start_and_keeps_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("v");
        let pod = Pod::default();
        let make = || empty_dir(&pod, &EmptyDirVolumeSource::default(), &place, 1).unwrap();
        fs::create_dir(dir.path().join("v.next")).unwrap();
        make();
        assert_eq!(place.metadata().unwrap().permissions().mode() & 0o7777, 0o777);
        fs::write(place.join("x"), "").unwrap();
        make();
        assert!(place.join("x").exists());
    }
}
