//! Pods that want out, or want to look in. What a process of a pod could do to the pod's files, these tests do through
//! `/proc/PID/root`, which has the mounts that the process sees.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, mkfifoat, renameat_with};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, is_ready, main_process, pod, pod_path, prepare, waiting},
    api::Api,
    place::Place,
};

const OBJECTS: &str = "/api/v1/namespaces/default";
/// The user and group `nobody`.
const NOBODY: u32 = 65534;

/// What the main process of a container sees as `/`.
fn root_of(api: &Arc<Api>, path: &str, container: usize) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", main_process(api, path, container)))
}

fn sleeper(name: &str, mounts: Value) -> Value {
    let script = "trap 'exit 0' TERM; while true; do sleep 1 & wait; done";
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", script], "volumeMounts": mounts})
}

fn keys(count: usize, value: &str) -> Value {
    let keys: serde_json::Map<String, Value> =
        (0..count).map(|key| (format!("k{key:04}"), json!(value))).collect();
    json!({"data": keys})
}

/// Something that goes on in a thread of its own until it is dropped.
struct Meanwhile(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Meanwhile {
    fn repeat(mut work: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                work();
            }
        });
        Self(over, Some(thread))
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

/// A ConfigMap of 800 keys; each folder that the agent makes for it is exchanged with a link to a folder of the host,
/// and a FIFO lies among its files.
pub(crate) fn a_pod_cannot_write_to_the_node() {
    let place = Place::new("escape");
    let config = prepare(&place);
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let map = format!("{OBJECTS}/configmaps/many");
        api.put(&map, keys(800, "0"));
        let mounts = json!([{"name": "v", "mountPath": "/v", "readOnly": false},
            {"name": "v", "mountPath": "/part", "subPath": "k0001"}]);
        let path = pod_path("hostile");
        let volumes = json!([{"name": "v", "configMap": {"name": "many"}}]);
        api.put(&path, pod(json!({"containers": [sleeper("c", mounts)], "volumes": volumes})));
        api.wait(&path, is_ready).await;
        let root = root_of(&api, &path, 0);
        let volume = root.join("v");
        assert_eq!(fs::read_to_string(root.join("part")).unwrap(), "0", "a part of the volume is there");

        let (mut taken, dir, target) = (0, volume.clone(), outside.clone());
        let exchange = Meanwhile::repeat(move || {
            let current = fs::read_link(dir.join("..data")).unwrap_or_default();
            let trap = dir.join(format!("..trap{taken}"));
            let _ = symlink(&target, &trap);
            for folder in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let name = folder.file_name();
                let is_new = name.as_encoded_bytes().starts_with(b"..1") && name != current;
                // The link takes the new folder's name, once.
                if is_new && folder.file_type().is_ok_and(|kind| kind.is_dir()) {
                    taken += usize::from(
                        renameat_with(CWD, folder.path(), CWD, &trap, RenameFlags::EXCHANGE).is_ok(),
                    );
                }
            }
        });
        for round in 1..=5 {
            api.put(&map, keys(800 + round, &round.to_string()));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        drop(exchange);
        let escaped: Vec<_> =
            fs::read_dir(&outside).unwrap().flatten().map(|file| file.file_name()).collect();
        assert!(escaped.is_empty(), "{} files of the pod are on the host", escaped.len());
        assert_eq!(fs::read_to_string(volume.join("k0804")).unwrap(), "5", "changes arrive");
        assert_eq!(fs::read_link(volume.join("k0804")).unwrap(), PathBuf::from("..data/k0804"));

        // Should the agent, which is on this thread, read the FIFO, the other thread sees the clock stand still.
        let (fifo, clock) = (volume.join("..data/fifo"), Arc::new(AtomicU64::new(0)));
        let _ = mkfifoat(CWD, &fifo, Mode::RWXU);
        let stood = Arc::new(AtomicBool::new(false));
        let watched = (clock.clone(), stood.clone());
        let watch = Meanwhile::repeat(move || {
            let before = watched.0.load(Ordering::Relaxed);
            thread::sleep(Duration::from_secs(3));
            if watched.0.load(Ordering::Relaxed) == before {
                watched.1.store(true, Ordering::Relaxed);
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                let _ = fs::File::options().write(true).custom_flags(flags).open(&fifo);
            }
        });
        api.put(&map, keys(800, "6"));
        for _ in 0..400 {
            clock.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(watch);
        assert!(!stood.load(Ordering::Relaxed), "the agent has waited for a FIFO of the pod");
        assert_eq!(fs::read_to_string(volume.join("k0001")).unwrap(), "6");
        let denied = fs::write(volume.join("new"), "").unwrap_err();
        assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// The folder that a subPath names takes turns with a link to a folder of the host, while containers start.
pub(crate) fn a_sub_path_never_leads_out() {
    let place = Place::new("subpath");
    let config = prepare(&place);
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("key"), "of the host").unwrap();
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let path = pod_path("hostile");
        let whole = json!([{"name": "work", "mountPath": "/work"}]);
        let part = json!([{"name": "work", "mountPath": "/part", "subPath": "part"}]);
        let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
        let parts = names.iter().map(|name| sleeper(name, part.clone()));
        let first = json!({"name": "first", "image": "busybox", "restartPolicy": "Always",
            "command": ["sh", "-c", "mkdir -p /work/part; echo ok > /work/part/mine; sleep 100000"],
            "startupProbe": {"exec": {"command": ["test", "-f", "/work/go"]}, "periodSeconds": 1, "failureThreshold": 60},
            "volumeMounts": whole});
        let spec = json!({"initContainers": [first], "containers": parts.collect::<Vec<_>>(),
            "volumes": [{"name": "work", "emptyDir": {}}], "terminationGracePeriodSeconds": 1});
        api.put(&path, pod(spec));
        let running = |pod: &Value| !pod["status"]["initContainerStatuses"][0]["state"]["running"].is_null();
        api.wait(&path, running).await;
        let mine = glob(&config, "work").join("part/mine");
        while !mine.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let volume = glob(&config, "work");
        let (part, link) = (volume.join("part"), volume.join("link"));
        symlink(&outside, &link).unwrap();
        let turns = Meanwhile::repeat(move || {
            let _ = renameat_with(CWD, &part, CWD, &link, RenameFlags::EXCHANGE);
            thread::sleep(Duration::from_millis(7));
            let _ = renameat_with(CWD, &part, CWD, &link, RenameFlags::EXCHANGE);
            thread::sleep(Duration::from_millis(7));
        });
        fs::write(volume.join("go"), "").unwrap();
        let all_tried = |pod: &Value| {
            let statuses = pod["status"]["containerStatuses"].as_array();
            statuses.is_some_and(|statuses| {
                let tried = |status: &Value| {
                    !status["state"]["running"].is_null()
                        || status["state"]["waiting"]["reason"].as_str().is_some_and(|why| why.contains("Error"))
                };
                statuses.len() == names.len() && statuses.iter().all(tried)
            })
        };
        let tried = api.wait(&path, all_tried).await;
        drop(turns);
        let statuses = tried["status"]["containerStatuses"].as_array().unwrap();
        let mut seen = 0;
        for (number, status) in statuses.iter().enumerate() {
            if status["state"]["running"].is_null() {
                let message = status["state"]["waiting"]["message"].as_str().unwrap();
                assert!(message.contains("subPath \"part\""), "{message}");
                continue;
            }
            let part = root_of(&api, &path, number).join("part");
            assert!(!part.join("key").exists(), "{} sees the host's folder", status["name"]);
            assert!(part.join("mine").exists());
            seen += 1;
        }
        println!("{seen} of {} containers began while the folder was there", names.len());
        // Now that the folder stays, the others come too.
        let ready = api.wait(&path, is_ready).await;
        assert_eq!(waiting(&ready), "");
        let bound = || fs::read_to_string("/proc/self/mountinfo").unwrap().matches("/sub-paths/").count();
        assert_eq!(bound(), names.len());
        // The agent dies, and the pod is gone before there is another.
        agent.crash().await;
        api.delete(&path, 0);
        let agent = Agent::start(&client, &config).await;
        while fs::read_dir(config.data_dir.join("pod-files")).unwrap().next().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(bound(), 0);
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// The emptyDir of the only pod.
fn glob(config: &node::Config, volume: &str) -> PathBuf {
    let pod = fs::read_dir(config.data_dir.join("pod-files")).unwrap().next().unwrap().unwrap();
    pod.path().join("volumes").join(volume)
}

/// Secrets are never on a disk, and only those whom the pod lets read them.
pub(crate) fn secrets_are_in_memory_and_closed_to_others() {
    let place = Place::new("secret");
    let config = prepare(&place);
    fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        api.put(&format!("{OBJECTS}/secrets/key"), json!({"data": {"token": "c2VjcmV0"}}));
        let path = pod_path("keeper");
        let mounts = json!([{"name": "closed", "mountPath": "/closed"}, {"name": "open", "mountPath": "/open"},
            {"name": "all", "mountPath": "/all"}, {"name": "fast", "mountPath": "/fast"}]);
        let items = json!([{"key": "token", "path": "deep/token", "mode": 0o440}]);
        let volumes = json!([
            {"name": "closed", "secret": {"secretName": "key", "defaultMode": 0o400}},
            {"name": "open", "secret": {"secretName": "key", "items": items}},
            {"name": "all", "projected": {"sources": [{"secret": {"name": "key"}}]}},
            {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
        let spec = json!({"containers": [sleeper("c", mounts)], "volumes": volumes, "terminationGracePeriodSeconds": 1});
        api.put(&path, pod(spec));
        api.wait(&path, is_ready).await;
        let root = root_of(&api, &path, 0);
        for (file, mode) in [("closed/token", 0o400), ("open/deep/token", 0o440), ("all/token", 0o644)] {
            let file = root.join(file);
            assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, mode, "{}", file.display());
            let kind = rustix::fs::statfs(&file).unwrap().f_type;
            assert_eq!(kind, 0x0102_1994, "{} is in memory (TMPFS_MAGIC)", file.display());
        }
        let full = fs::write(root.join("fast/large"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(fs::metadata(root.join("fast")).unwrap().mode() & 0o7777, 0o777);

        let mounts = json!([{"name": "key", "mountPath": "/key"}, {"name": "token", "mountPath": "/token"},
            {"name": "disk", "mountPath": "/disk"}, {"name": "fast", "mountPath": "/fast"}]);
        let token = json!({"serviceAccountToken": {"path": "token", "audience": "vault"}});
        let volumes = json!([{"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}},
            {"name": "token", "projected": {"sources": [token]}},
            {"name": "disk", "emptyDir": {}}, {"name": "fast", "emptyDir": {"medium": "Memory"}}]);
        let context = json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000});
        let spec = json!({"containers": [sleeper("c", mounts)], "volumes": volumes, "securityContext": context,
            "terminationGracePeriodSeconds": 1});
        let grouped = pod_path("grouped");
        api.put(&grouped, pod(spec));
        api.wait(&grouped, is_ready).await;
        let of_group = root_of(&api, &grouped, 0);
        assert_eq!(fs::read_to_string(of_group.join("token/token")).unwrap(), "token for [\"vault\"]");
        for (file, owner, mode) in [("key/token", 0, 0o440), ("token/token", 1000, 0o640), ("disk", 0, 0o2777),
            ("fast", 0, 0o2777), ("key", 0, 0o2755)]
        {
            let found = fs::metadata(of_group.join(file)).unwrap();
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (owner, 2000, mode), "{file}");
        }
        let exec = |command: &[&str]| {
            let mut all = vec!["nsenter", "-t"];
            let pid = main_process(&api, &grouped, 0).to_string();
            all.extend([pid.as_str(), "-m", "-S", "1000", "-G", "2000", "--"]);
            all.extend(command);
            Command::new(all[0]).args(&all[1..]).output().unwrap().status.success()
        };
        assert!(exec(&["cat", "/key/token"]) && exec(&["touch", "/disk/new"]) && !exec(&["touch", "/key/new"]));
        api.delete(&grouped, 1);
        api.wait(&grouped, Value::is_null).await;

        let nobody = Command::new("find").arg(config.data_dir.join("pod-files")).uid(NOBODY).gid(NOBODY).output();
        let found = String::from_utf8(nobody.unwrap().stdout).unwrap();
        assert!(found.lines().count() <= 1, "nobody finds {found}");

        let memory = || {
            let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let dir = config.data_dir.join("pod-files").display().to_string();
            mounts.lines().filter(|line| line.contains(&dir) && line.contains(" tmpfs ")).count()
        };
        assert_eq!(memory(), 2, "one for all objects, one for the emptyDir");
        agent.crash().await;
        let agent = Agent::start(&client, &config).await;
        api.put(&format!("{OBJECTS}/secrets/key"), json!({"data": {"token": "bmV3"}}));
        for _ in 0..500 {
            if fs::read_to_string(root.join("closed/token")).unwrap() == "new" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(fs::read_to_string(root.join("closed/token")).unwrap(), "new", "an adopted pod is kept up to date");
        assert_eq!(memory(), 2);
        api.delete(&path, 1);
        api.wait(&path, Value::is_null).await;
        assert_eq!(memory(), 0);
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// The API takes every number of seconds up to 2^63 - 1.
pub(crate) fn a_pod_with_the_longest_times_comes_and_goes() {
    let place = Place::new("longest");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let path = pod_path("patient");
        let mut container = sleeper("c", json!([]));
        let probe = json!({"exec": {"command": ["true"]}, "timeoutSeconds": i32::MAX, "periodSeconds": i32::MAX,
            "failureThreshold": i32::MAX, "terminationGracePeriodSeconds": i64::MAX});
        container["readinessProbe"] = probe.clone();
        container["readinessProbe"].as_object_mut().unwrap().remove("terminationGracePeriodSeconds");
        container["startupProbe"] = probe.clone();
        container["livenessProbe"] = probe;
        container["livenessProbe"]["initialDelaySeconds"] = json!(i32::MAX);
        container["lifecycle"] = json!({"postStart": {"sleep": {"seconds": 0}}, "preStop": {"sleep": {"seconds": 1}}});
        let longest = json!({"containers": [container], "terminationGracePeriodSeconds": i64::MAX,
            "activeDeadlineSeconds": i64::MAX});
        api.put(&path, pod(longest));
        api.wait(&path, is_ready).await;
        api.delete(&path, i64::MAX);
        api.wait(&path, Value::is_null).await;
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}
