//! A pod's volumes: folders and files on this machine, and where containers mount them.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, Volume, VolumeMount};
use rustix::{fs::Gid, mount::MountFlags};

use super::{
    disk,
    downward::Facts,
    env::{Environment, Sources, expand},
};
use crate::{
    cri::messages::{Mount, MountPropagation},
    mounts,
};

mod atomic;
mod content;
mod local;
mod sub_path;

use atomic::{Published, inside};

/// Where a name leads below a volume, if it may be used at all.
#[cfg(feature = "fuzz")]
pub(crate) fn inside_volume(text: &str) -> Option<&Path> {
    inside(text).ok()
}

/// Where a volume is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A folder (of hostPath: a file too) that containers mount itself.
    Plain(PathBuf),
    /// The home of files that are made from API objects, see [`atomic`].
    Objects(PathBuf),
}

/// Places by the names of volumes.
pub(super) type Places = BTreeMap<String, Place>;

/// The folders of one pod's volumes, below the pod's folder. Containers see what is mounted of them, and none sees
/// the folders themselves.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    pod: PathBuf,
}

impl Folders {
    /// The folders below `pod`, which need not exist.
    pub(super) fn new(pod: &Path) -> Self {
        Self { pod: pod.to_owned() }
    }

    /// Where emptyDir volumes are.
    fn empty_dirs(&self) -> PathBuf {
        self.pod.join("volumes")
    }

    /// Where volumes made from objects are: one file system in memory, so that no secret is ever on a disk.
    fn objects(&self) -> PathBuf {
        self.pod.join("objects")
    }

    /// Where parts of volumes are bound for a container's mount.
    fn sub_path(&self, container: &str, mount: usize) -> PathBuf {
        self.pod.join("sub-paths").join(container).join(mount.to_string())
    }
}

/// Makes every volume of the pod; returns where each is. `memory` is the machine's, in bytes. A sentence says what is
/// wrong, also for kinds of volumes that this node does not have.
pub(super) fn prepare(
    pod: &Pod,
    facts: &Facts,
    sources: &Sources,
    folders: &Folders,
    memory: u64,
) -> Result<Places, String> {
    if volumes(pod).any(is_of_objects) {
        objects_in_memory(&folders.objects())
            .map_err(|error| format!("cannot mount memory at {}: {error}", folders.objects().display()))?;
    }
    fill(pod, facts, sources, folders, memory)
}

/// As [`prepare`], wherever the folder of objects lies.
fn fill(
    pod: &Pod,
    facts: &Facts,
    sources: &Sources,
    folders: &Folders,
    memory: u64,
) -> Result<Places, String> {
    let mut places = Places::new();
    for volume in volumes(pod) {
        let place = prepare_one(pod, volume, facts, sources, folders, memory)
            .map_err(|error| format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name))?;
        places.insert(volume.name.clone(), place);
    }
    Ok(places)
}

/// Brings the volumes that are made from objects up to date, as far as [`prepare`] has made them. A volume
/// whose object is gone keeps what it has.
///
/// # Errors
/// The system's, from writing: worth another try.
pub(super) fn refresh(pod: &Pod, facts: &Facts, sources: &Sources, folders: &Folders) -> io::Result<()> {
    let mut outcome = Ok(());
    for volume in volumes(pod).filter(|volume| is_of_objects(volume)) {
        let home = folders.objects().join(&volume.name);
        if !home.exists() {
            continue;
        }
        match content::files_of(pod, volume, facts, sources) {
            Ok(files) => outcome = publish(pod, &home, files).and(outcome),
            Err(error) => {
                tracing::info!(
                    pod = pod.metadata.name,
                    volume = volume.name,
                    "a volume stays as it is: {error}"
                );
            }
        }
    }
    outcome
}

/// Makes the volume at `home` hold these files.
fn publish(pod: &Pod, home: &Path, files: atomic::Files) -> io::Result<()> {
    let group = fs_group(pod);
    Published::open(home, group)?.write(files, group).map(drop)
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

fn is_of_objects(volume: &Volume) -> bool {
    volume.host_path.is_none() && volume.empty_dir.is_none()
}

/// Only root comes into the folder of objects; in it, the modes are the volumes'.
fn objects_in_memory(dir: &Path) -> io::Result<()> {
    disk::make_private(dir)?;
    if mounts::is_mounted(dir)? {
        return Ok(());
    }
    mounts::memory(dir, MountFlags::NOSUID | MountFlags::NODEV, "mode=0700")
}

fn prepare_one(
    pod: &Pod,
    volume: &Volume,
    facts: &Facts,
    sources: &Sources,
    folders: &Folders,
    memory: u64,
) -> Result<Place, String> {
    if inside(&volume.name)?.components().count() != 1 {
        return Err("the volume's name is no name of a folder".into());
    }
    if let Some(host) = &volume.host_path {
        return local::host_path(host).map(Place::Plain);
    }
    if let Some(empty) = &volume.empty_dir {
        let place = folders.empty_dirs().join(&volume.name);
        let made = disk::make_private(&folders.empty_dirs());
        made.and_then(|()| local::empty_dir(pod, empty, &place, memory))
            .map_err(|error| format!("cannot make {}: {error}", place.display()))?;
        return Ok(Place::Plain(place));
    }
    let files = content::files_of(pod, volume, facts, sources)?;
    let home = folders.objects().join(&volume.name);
    publish(pod, &home, files).map_err(|error| format!("cannot write {}: {error}", home.display()))?;
    Ok(Place::Objects(home))
}

/// The group to which a pod's volumes belong.
fn fs_group(pod: &Pod) -> Option<Gid> {
    let group = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok().map(Gid::from_raw)
}

/// The mounts of a container: its volumes, and the pod's /etc/hosts unless it mounts its own.
pub(super) fn mounts(
    pod: &Pod,
    container: &Container,
    places: &Places,
    environment: &Environment,
    hosts: &Path,
    folders: &Folders,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (index, wanted) in container.volume_mounts.iter().flatten().enumerate() {
        let place = places.get(&wanted.name).ok_or_else(|| {
            format!("volume \"{}\" of mount {} does not exist", wanted.name, wanted.mount_path)
        })?;
        let bound = folders.sub_path(&container.name, index);
        mounts.push(Mount {
            container_path: absolute(&wanted.mount_path),
            host_path: source(pod, place, wanted, environment, &bound)?.display().to_string(),
            // What is made from objects is the agent's to write, whatever the mount says.
            readonly: wanted.read_only == Some(true) || matches!(place, Place::Objects(_)),
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

/// What a mount shows: the volume, or the part of it that the mount wants, which is then bound at `bound`.
fn source(
    pod: &Pod,
    place: &Place,
    wanted: &VolumeMount,
    environment: &Environment,
    bound: &Path,
) -> Result<PathBuf, String> {
    let expression = wanted.sub_path_expr.as_deref().map(|expression| expand(expression, environment));
    let sub = expression.as_deref().or(wanted.sub_path.as_deref()).filter(|sub| !sub.is_empty());
    let failed = |error: io::Error| {
        let (sub, pod) = (sub.unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        format!("failed to prepare subPath {sub:?} of volume {:?} for pod {pod:?}: {error}", wanted.name)
    };
    let Some(sub) = sub else {
        return match place {
            Place::Plain(path) => Ok(path.clone()),
            Place::Objects(home) => Published::open(home, None).map(|volume| volume.shown()).map_err(failed),
        };
    };
    let part = match place {
        Place::Plain(root) => sub_path::open(root, inside(sub)?),
        Place::Objects(home) => part_of_objects(home, inside(sub)?),
    };
    part.and_then(|part| sub_path::bind(&part, bound)).map_err(failed)
}

/// A part of a volume made from objects: of the files that are shown now, as links are not followed. What the
/// objects do not have is an empty folder.
fn part_of_objects(home: &Path, sub: &Path) -> io::Result<std::os::fd::OwnedFd> {
    let volume = Published::open(home, None)?;
    sub_path::find(&volume.current()?, sub).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => sub_path::find(&volume.nothing()?, Path::new(".")),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn a_failure_names_the_volume_and_no_name_leads_out_of_the_pods_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(&dir.path().join("u"));
        let error = |volumes| fill(&pod(volumes), &facts(), &Sources::default(), &folders, 1).unwrap_err();
        let missing = error(json!([{"name": "v", "secret": {"secretName": "s"}}]));
        assert_eq!(missing, "MountVolume.SetUp failed for volume \"v\" : secret \"s\" not found");
        for name in ["../../x", "..", "a/b", "."] {
            assert!(error(json!([{"name": name, "emptyDir": {}}])).contains("MountVolume.SetUp"), "{name}");
        }
        assert!(!dir.path().join("x").exists());
    }

    #[test]
    fn a_volume_follows_its_object_and_keeps_what_it_has_when_that_is_gone() {
        let sources = |value: &str| {
            let map = serde_json::from_value(json!({"data": {"a": value}})).unwrap();
            Sources { config_maps: [("m".into(), map)].into(), ..Default::default() }
        };
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders::new(dir.path());
        let pod = pod(json!([{"name": "v", "configMap": {"name": "m"}}, {"name": "e", "emptyDir": {}}]));
        refresh(&pod, &facts(), &sources("0"), &folders).unwrap();
        assert!(!dir.path().join("objects/v").exists(), "what was not made is not refreshed");
        fill(&pod, &facts(), &sources("1"), &folders, 1).unwrap();
        for (sources, held) in [(sources("2"), "2"), (Sources::default(), "2"), (sources("3"), "3")] {
            refresh(&pod, &facts(), &sources, &folders).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("objects/v/shown/a")).unwrap(), held);
        }
    }

    #[test]
    fn a_container_sees_the_pods_hosts_file_unless_it_brings_its_own() {
        let container = |path: &str| {
            serde_json::from_value::<Container>(
                json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": path}]}),
            )
            .unwrap()
        };
        let places = Places::from([("v".to_owned(), Place::Plain("/v".into()))]);
        let paths = |container: &Container| {
            let folders = Folders::new(Path::new("/nowhere"));
            let mounts =
                mounts(&pod(json!([])), container, &places, &vec![], Path::new("/h"), &folders).unwrap();
            mounts.into_iter().map(|mount| (mount.host_path, mount.container_path)).collect::<Vec<_>>()
        };
        let own = |host: &str, inside: &str| (host.to_owned(), inside.to_owned());
        assert_eq!(paths(&container("data")), [own("/v", "/data"), own("/h", "/etc/hosts")]);
        assert_eq!(paths(&container("/etc/hosts")), [own("/v", "/etc/hosts")]);
    }

    #[test]
    fn what_is_made_from_objects_is_read_only_whatever_the_mount_says() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("v");
        let container: Container = serde_json::from_value(json!({"name": "c", "volumeMounts": [
            {"name": "v", "mountPath": "/v", "readOnly": false}, {"name": "w", "mountPath": "/w"},
            {"name": "w", "mountPath": "/r", "readOnly": true}]}))
        .unwrap();
        let places =
            [("v".into(), Place::Objects(home.clone())), ("w".into(), Place::Plain("/w".into()))].into();
        let folders = Folders::new(dir.path());
        let mounts =
            mounts(&pod(json!([])), &container, &places, &vec![], Path::new("/h"), &folders).unwrap();
        let read_only: Vec<bool> = mounts.iter().map(|mount| mount.readonly).collect();
        assert_eq!(read_only, [true, false, true, false]);
        assert_eq!(
            mounts[0].host_path,
            home.join("shown").display().to_string(),
            "and not what is around it"
        );
    }

    #[test]
    fn a_part_of_a_volume_of_objects_is_a_file_of_the_shown_version_or_an_empty_folder() {
        let dir = tempfile::tempdir().unwrap();
        let map = serde_json::from_value(json!({"data": {"a": "1"}})).unwrap();
        let sources = Sources { config_maps: [("m".into(), map)].into(), ..Default::default() };
        let pod = pod(json!([{"name": "v", "configMap": {"name": "m"}}]));
        let places = fill(&pod, &facts(), &sources, &Folders::new(dir.path()), 1).unwrap();
        let Place::Objects(home) = &places["v"] else { panic!("{places:?}") };
        let kind = |sub: &str| {
            let part = part_of_objects(home, Path::new(sub)).unwrap();
            rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(part).unwrap().st_mode)
        };
        assert_eq!(kind("a"), rustix::fs::FileType::RegularFile);
        assert_eq!(kind("none"), rustix::fs::FileType::Directory);
    }
}
