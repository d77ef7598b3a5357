//! A pod's volumes: folders and files on this machine, and where containers mount them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, HostPathVolumeSource, KeyToPath, Pod, Volume, VolumeMount};
use rustix::{
    fs::{Gid, chown},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

use super::{
    downward::{self, Facts},
    env::{Environment, Sources, expand},
    quantity,
};
use crate::cri::messages::{Mount, MountPropagation};

mod atomic;

use atomic::{File, inside};

/// Permission bits of files from objects, when a volume names none.
const DEFAULT_MODE: i32 = 0o644;

/// Files of a volume made from objects: path below the volume, contents, permission bits.
type Files = Vec<(String, Vec<u8>, i32)>;

/// Makes every volume of the pod below `dir`; returns where each is. A sentence says what is wrong, also for
/// kinds of volumes that this node does not have.
pub(super) fn prepare(
    pod: &Pod,
    facts: &Facts,
    sources: &Sources,
    dir: &Path,
) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut places = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let place = prepare_one(pod, volume, facts, sources, &dir.join(&volume.name))
            .map_err(|error| format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name))?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

/// Brings the volumes that are made from objects up to date, as far as [`prepare`] has made them. A volume
/// whose object is gone keeps what it has.
pub(super) fn refresh(pod: &Pod, facts: &Facts, sources: &Sources, dir: &Path) {
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let place = dir.join(&volume.name);
        let is_of_objects = volume.host_path.is_none() && volume.empty_dir.is_none();
        if is_of_objects
            && place.exists()
            && let Err(error) = prepare_one(pod, volume, facts, sources, &place)
        {
            tracing::info!(pod = pod.metadata.name, volume = volume.name, "a volume stays as it is: {error}");
        }
    }
}

fn prepare_one(
    pod: &Pod,
    volume: &Volume,
    facts: &Facts,
    sources: &Sources,
    place: &Path,
) -> Result<PathBuf, String> {
    if let Some(host) = &volume.host_path {
        return host_path(host);
    }
    let failed = |error: io::Error| format!("cannot write {}: {error}", place.display());
    if let Some(empty) = &volume.empty_dir {
        let size = empty.size_limit.as_ref().and_then(|size| quantity::scaled(size, 1.0));
        empty_dir(pod, place, empty.medium.as_deref() == Some("Memory"), size).map_err(failed)?;
        return Ok(place.to_owned());
    }
    let files = files_of(pod, volume, facts, sources)?;
    let mut wanted = atomic::Files::new();
    for (path, contents, mode) in files {
        wanted.insert(inside(&path)?.to_owned(), File { contents, mode: mode.cast_unsigned() & 0o777 });
    }
    atomic::write(place, wanted, fs_group(pod)).map_err(failed)?;
    Ok(place.to_owned())
}

fn host_path(host: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&host.path);
    let failed = |error: io::Error| format!("cannot create {}: {error}", path.display());
    match host.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => fs::create_dir_all(path).map_err(failed)?,
        "FileOrCreate" => {
            fs::File::options().append(true).create(true).open(path).map_err(failed)?;
        }
        "Directory" if !path.is_dir() => {
            return Err(format!("hostPath type check failed: {} is not a directory", host.path));
        }
        "File" if !path.is_file() => {
            return Err(format!("hostPath type check failed: {} is not a file", host.path));
        }
        _ => {}
    }
    Ok(path.to_owned())
}

/// An empty folder, in memory on demand. With an fsGroup it belongs to that group and hands it on.
fn empty_dir(pod: &Pod, place: &Path, in_memory: bool, size: Option<i64>) -> io::Result<()> {
    if place.exists() {
        return Ok(());
    }
    fs::create_dir_all(place)?;
    if in_memory {
        let options = size.map(|size| format!("size={size}")).unwrap_or_default();
        let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), options.as_c_str())?;
    }
    let group = fs_group(pod);
    if group.is_some() {
        chown(place, None, group)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    fs::set_permissions(place, fs::Permissions::from_mode(mode))
}

/// The group to which a pod's volumes belong.
fn fs_group(pod: &Pod) -> Option<Gid> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok().map(Gid::from_raw)
}

/// The files of a volume that is made from API objects.
fn files_of(pod: &Pod, volume: &Volume, facts: &Facts, sources: &Sources) -> Result<Files, String> {
    let mode = |mode: Option<i32>| mode.unwrap_or(DEFAULT_MODE);
    if let Some(map) = &volume.config_map {
        let data = config_map(sources, &map.name, map.optional)?;
        return select(data, map.items.as_deref(), mode(map.default_mode), map.optional);
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let data = secret_data(sources, name, secret.optional)?;
        return select(data, secret.items.as_deref(), mode(secret.default_mode), secret.optional);
    }
    if let Some(downward) = &volume.downward_api {
        return downward_files(pod, facts, downward.items.as_deref(), mode(downward.default_mode));
    }
    let Some(projected) = &volume.projected else {
        return Err("this node has no volumes of this kind".into());
    };
    let mode = mode(projected.default_mode);
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        if let Some(map) = &source.config_map {
            let data = config_map(sources, &map.name, map.optional)?;
            files.extend(select(data, map.items.as_deref(), mode, map.optional)?);
        }
        if let Some(secret) = &source.secret {
            let data = secret_data(sources, &secret.name, secret.optional)?;
            files.extend(select(data, secret.items.as_deref(), mode, secret.optional)?);
        }
        if let Some(downward) = &source.downward_api {
            files.extend(downward_files(pod, facts, downward.items.as_deref(), mode)?);
        }
        if source.service_account_token.is_some() {
            tracing::warn!(volume = volume.name, "this node does not write service account tokens");
        }
    }
    Ok(files)
}

type Data = BTreeMap<String, Vec<u8>>;

fn config_map(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let Some(map) = sources.config_maps.get(name) else {
        return if optional == Some(true) {
            Ok(Data::new())
        } else {
            Err(format!("configmap \"{name}\" not found"))
        };
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    Ok(text.chain(binary).collect())
}

fn secret_data(sources: &Sources, name: &str, optional: Option<bool>) -> Result<Data, String> {
    let Some(secret) = sources.secrets.get(name) else {
        return if optional == Some(true) {
            Ok(Data::new())
        } else {
            Err(format!("secret \"{name}\" not found"))
        };
    };
    Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect())
}

/// All keys as files, or those that `items` name.
fn select(
    mut data: Data,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: Option<bool>,
) -> Result<Files, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, value)| (key, value, mode)).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.remove(&item.key) {
            Some(value) => files.push((item.path.clone(), value, item.mode.unwrap_or(mode))),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(files)
}

fn downward_files(
    pod: &Pod,
    facts: &Facts,
    items: Option<&[k8s_openapi::api::core::v1::DownwardAPIVolumeFile]>,
    mode: i32,
) -> Result<Files, String> {
    let mut files = Files::new();
    for item in items.unwrap_or_default() {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, facts, field)?,
            (None, Some(resource)) => {
                let name = resource.container_name.as_deref().unwrap_or_default();
                let container =
                    pod.spec.iter().flat_map(|spec| &spec.containers).find(|other| other.name == name);
                let container = container.ok_or_else(|| format!("container {name:?} does not exist"))?;
                downward::resource(container, facts, resource)?
            }
            (None, None) => return Err(format!("{:?} has neither fieldRef nor resourceFieldRef", item.path)),
        };
        files.push((item.path.clone(), text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(files)
}

/// The mounts of a container: its volumes, and the pod's /etc/hosts unless it mounts its own.
pub(super) fn mounts(
    pod: &Pod,
    container: &Container,
    places: &BTreeMap<String, PathBuf>,
    environment: &Environment,
    hosts: &Path,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for wanted in container.volume_mounts.iter().flatten() {
        let place = places.get(&wanted.name).ok_or_else(|| {
            format!("volume \"{}\" of mount {} does not exist", wanted.name, wanted.mount_path)
        })?;
        mounts.push(Mount {
            container_path: absolute(&wanted.mount_path),
            host_path: sub_path(pod, place, wanted, environment)?.display().to_string(),
            readonly: wanted.read_only == Some(true),
            propagation: match wanted.mount_propagation.as_deref() {
                Some("HostToContainer") => MountPropagation::HostToContainer,
                Some("Bidirectional") => MountPropagation::Bidirectional,
                _ => MountPropagation::Private,
            }
            .into(),
            ..Default::default()
        });
    }
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    if !host_network && !mounts.iter().any(|mount| mount.container_path == "/etc/hosts") {
        mounts.push(Mount {
            container_path: "/etc/hosts".into(),
            host_path: hosts.display().to_string(),
            ..Default::default()
        });
    }
    Ok(mounts)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The part of a volume that a mount wants; a missing folder is made. Links in the volume, which containers may
/// have put there, are followed as long as they stay inside.
fn sub_path(
    pod: &Pod,
    place: &Path,
    wanted: &VolumeMount,
    environment: &Environment,
) -> Result<PathBuf, String> {
    let expression = wanted.sub_path_expr.as_deref().map(|expression| expand(expression, environment));
    let Some(sub) = expression.as_deref().or(wanted.sub_path.as_deref()).filter(|sub| !sub.is_empty()) else {
        return Ok(place.to_owned());
    };
    let failed = |error: io::Error| {
        format!("failed to prepare subPath {sub:?} for pod {:?}: {error}", pod.metadata.name)
    };
    let root = place.canonicalize().map_err(failed)?;
    let mut path = root.clone();
    for part in inside(sub)?.components() {
        path.push(part);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => path = path.canonicalize().map_err(failed)?,
        }
        if !path.starts_with(&root) {
            return Err(format!("subPath {sub:?} leads out of the volume {:?}", wanted.name));
        }
    }
    Ok(path)
}

/// Removes what [`prepare`] made below `dir`. What hostPath volumes name stays.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Only a volume in memory is a mount point; the others answer EINVAL.
        let _ = unmount(entry.path(), UnmountFlags::DETACH);
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::downward::tests::facts;

    fn pod(volumes: serde_json::Value) -> Pod {
        let mut pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": []}})).unwrap();
        pod.spec.as_mut().unwrap().volumes = serde_json::from_value(volumes).unwrap();
        pod
    }

    #[test]
    fn config_map_keys_become_files_by_item_path_and_mode() {
        let map = serde_json::from_value(json!({"data": {"a": "1", "b": "2"}})).unwrap();
        let sources = Sources { config_maps: [("m".into(), map)].into(), ..Default::default() };
        let dir = tempfile::tempdir().unwrap();
        let volumes = json!([
            {"name": "all", "configMap": {"name": "m"}},
            {"name": "some", "configMap": {"name": "m", "items": [{"key": "b", "path": "x/y", "mode": 0o600}]}}]);
        let places = prepare(&pod(volumes), &facts(), &sources, dir.path()).unwrap();
        assert_eq!(fs::read(places["all"].join("a")).unwrap(), b"1");
        let file = places["some"].join("x/y");
        assert_eq!(fs::read(&file).unwrap(), b"2");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_missing_object_and_an_unknown_kind_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let error = |volumes| prepare(&pod(volumes), &facts(), &Sources::default(), dir.path()).unwrap_err();
        let missing = error(json!([{"name": "v", "secret": {"secretName": "s"}}]));
        assert_eq!(missing, "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found");
        assert!(error(json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}])).contains("of this kind"));
    }

    #[test]
    fn a_volume_follows_its_object_and_keeps_what_it_has_when_that_is_gone() {
        let sources = |value: &str| {
            let map = serde_json::from_value(json!({"data": {"a": value}})).unwrap();
            Sources { config_maps: [("m".into(), map)].into(), ..Default::default() }
        };
        let dir = tempfile::tempdir().unwrap();
        let pod = pod(json!([{"name": "v", "configMap": {"name": "m"}}, {"name": "e", "emptyDir": {}}]));
        refresh(&pod, &facts(), &sources("0"), dir.path());
        assert!(!dir.path().join("v").exists(), "what was not made is not refreshed");
        prepare(&pod, &facts(), &sources("1"), dir.path()).unwrap();
        for (sources, held) in [(sources("2"), "2"), (Sources::default(), "2"), (sources("3"), "3")] {
            refresh(&pod, &facts(), &sources, dir.path());
            assert_eq!(fs::read_to_string(dir.path().join("v/a")).unwrap(), held);
        }
    }

    #[test]
    fn a_sub_path_stays_in_its_volume_whatever_links_a_container_has_made() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir_all(volume.join("real")).unwrap();
        std::os::unix::fs::symlink("real", volume.join("fine")).unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("out")).unwrap();
        let sub = |path: &str| {
            let wanted = json!({"name": "v", "mountPath": "/m", "subPath": path});
            let found = sub_path(&pod(json!([])), &volume, &serde_json::from_value(wanted).unwrap(), &vec![]);
            found.map(|found| found.strip_prefix(volume.canonicalize().unwrap()).unwrap().to_owned())
        };
        assert_eq!(sub("fine/new").unwrap(), Path::new("real/new"));
        for out in ["out", "out/ssh", "../x"] {
            assert!(sub(out).is_err(), "{out}");
        }
        assert!(!Path::new("/etc/new").exists());
    }

    #[test]
    fn a_container_sees_the_pods_hosts_file_unless_it_brings_its_own() {
        let container = |path: &str| {
            serde_json::from_value::<Container>(
                json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": path}]}),
            )
            .unwrap()
        };
        let places = BTreeMap::from([("v".to_owned(), PathBuf::from("/v"))]);
        let paths = |container: &Container| {
            let mounts = mounts(&pod(json!([])), container, &places, &vec![], Path::new("/h")).unwrap();
            mounts.into_iter().map(|mount| (mount.host_path, mount.container_path)).collect::<Vec<_>>()
        };
        let own = |host: &str, inside: &str| (host.to_owned(), inside.to_owned());
        assert_eq!(paths(&container("data")), [own("/v", "/data"), own("/h", "/etc/hosts")]);
        assert_eq!(paths(&container("/etc/hosts")), [own("/v", "/etc/hosts")]);
    }
}
