//! The whole node agent against a Kubernetes API in memory.

use std::{sync::Arc, time::Instant};

use node::{Config, image};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{api::Api, place::Place, runtime::get};

pub(crate) const NODE: &str = "/api/v1/nodes/node1";

pub(crate) fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

pub(crate) fn pod(mut spec: Value) -> Value {
    spec["nodeName"] = json!("node1");
    spec["restartPolicy"] = json!("Always");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod"});
    pod["spec"] = spec;
    pod
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// A running node agent.
pub(crate) struct Agent {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), node::Error>>,
}

impl Agent {
    pub(crate) async fn start(client: &kube::Client, config: &Config) -> Self {
        let (ready, is_ready) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            let _ = stopped.await;
        };
        let mut task = tokio::spawn(node::run(client.clone(), config.clone(), ready, stopped));
        tokio::select! {
            ready = is_ready => ready.unwrap(),
            ended = &mut task => panic!("the agent ended: {ended:?}"),
        }
        Self { stop, task }
    }

    /// Ends it as a kill would: nothing is told to end first.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// A configuration with images, and two client certificates for the node's API: `client.pem` of one who may do
/// everything, and `jane.pem` of one who must be asked about.
pub(crate) fn prepare(place: &Place) -> Config {
    let mut config = place.config();
    for (name, group) in [("jane", "dev"), ("client", "system:masters")] {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.distinguished_name.push(rcgen::DnType::OrganizationName, group);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        config.client_ca_pem += &pem;
        std::fs::write(place.path(&format!("{name}.pem")), pem + &key.serialize_pem()).unwrap();
    }
    image::write_stand_ins(&config.images_dir).unwrap();
    config
}

/// Issue steps 1 and 5: a pod runs, is reached, restarts when its process is killed, survives the agent's
/// restart, and goes when it is deleted.
pub(crate) fn a_pod_lives_restarts_is_adopted_and_goes() {
    let place = Place::new("agent");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let begun = Instant::now();
        let agent = Agent::start(&client, &config).await;
        println!("node ready after {:?}", begun.elapsed());
        let node = api.get(NODE).unwrap();
        assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
        assert!(api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node1").is_some());

        let begun = Instant::now();
        let path = pod_path("web");
        api.put(&path, pod(json!({"containers": [{"name": "httpd", "image": "httpd"}]})));
        let ready = api.wait(&path, is_ready).await;
        println!("pod ready after {:?}", begun.elapsed());
        let ip = ready["status"]["podIP"].as_str().unwrap().to_owned();
        assert_eq!(ip, "10.244.9.2");
        assert!(get(&ip, 80).await.contains("It works!"));
        assert_eq!(ready["status"]["phase"], "Running");

        assert!(place.ip(&["-d", "link", "show", "master", "cni0"]).contains("hairpin on"));
        let other_node = "/api/v1/nodes/node2";
        let addresses = json!([{"type": "InternalIP", "address": "192.0.2.2"}]);
        let spec = json!({"podCIDR": "10.244.8.0/24"});
        api.put(other_node, json!({"spec": spec, "status": {"addresses": addresses}}));
        let route = |there: bool| {
            let place = &place;
            async move {
                for _ in 0..100 {
                    if place.ip(&["route"]).contains("10.244.8.0/24 via 192.0.2.2 dev up0") == there {
                        return;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                panic!("route there: {there}; {}", place.ip(&["route"]));
            }
        };
        route(true).await;
        api.delete(other_node, 0);
        route(false).await;

        kill(&api, &path).await;
        let again = api.wait(&path, |pod| is_ready(pod) && restarts(pod) == 1).await;
        let status = &again["status"]["containerStatuses"][0];
        assert_eq!(status["lastState"]["terminated"]["exitCode"], 137, "{status:#}");
        kill(&api, &path).await;
        let looping = api.wait(&path, |pod| waiting(pod) == "CrashLoopBackOff").await;
        assert!(!is_ready(&looping));
        api.put(&pod_path("other"), pod(json!({"containers": [{"name": "c", "image": "httpd"}]})));
        let other = api.wait(&pod_path("other"), is_ready).await;

        agent.stop().await;
        let other_ip = other["status"]["podIP"].as_str().unwrap();
        assert!(get(other_ip, 80).await.contains("It works!"), "pods run on without the agent");
        let agent = Agent::start(&client, &config).await;
        let adopted = api.wait(&pod_path("other"), is_ready).await;
        assert_eq!(restarts(&adopted), 0);
        assert_eq!(
            adopted["status"]["containerStatuses"][0]["containerID"],
            other["status"]["containerStatuses"][0]["containerID"]
        );

        let begun = Instant::now();
        api.delete(&pod_path("other"), 30);
        api.wait(&pod_path("other"), Value::is_null).await;
        println!("pod deleted after {:?}", begun.elapsed());
        // Forced: the object is gone before the pod is.
        api.delete(&path, 0);
        for _ in 0..500 {
            if std::fs::read_dir(config.data_dir.join("pods")).unwrap().next().is_none() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(std::fs::read_dir(config.data_dir.join("pods")).unwrap().next().is_none());
        let events = api.all("/api/v1/namespaces/default/events/");
        for reason in ["Pulled", "Created", "Started", "Killing", "BackOff"] {
            assert!(events.iter().any(|event| event["reason"] == reason), "{reason}");
        }
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// Issue step 4: logs, exec, and everything else that a pod's specification can ask for.
pub(crate) fn a_pod_has_what_its_specification_asks_for() {
    let place = Place::new("spec");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let objects = "/api/v1/namespaces/default";
        api.put(&format!("{objects}/configmaps/settings"), json!({"data": {"color": "blue"}}));
        api.put(&format!("{objects}/secrets/key"), json!({"data": {"token": "c2VjcmV0"}}));
        let service = json!({"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 8080}]}});
        api.put(&format!("{objects}/services/shop"), service);
        let script = "echo shop=$SHOP_SERVICE_HOST:$SHOP_SERVICE_PORT; echo color=$COLOR token=$(cat /keys/token) me=$ME $(cat /work/from-init); \
                      echo host=$(hostname); cat /etc/resolv.conf; grep web /etc/hosts; \
                      trap 'exit 0' TERM; while true; do sleep 1 & wait; done";
        let path = pod_path("web");
        api.put(
            &path,
            pod(json!({
                "hostname": "web", "subdomain": "sub", "terminationGracePeriodSeconds": 5,
                "initContainers": [{"name": "init", "image": "busybox", "command": ["sh", "-c", "echo init > /work/from-init"],
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}]}],
                "containers": [{"name": "main", "image": "busybox", "command": ["sh", "-c", script],
                    "env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "readinessProbe": {"exec": {"command": ["test", "-f", "/tmp/ready"]}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "keys", "mountPath": "/keys", "readOnly": true}]}],
                "volumes": [{"name": "work", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "key"}}],
            })),
        );
        let started = api.wait(&path, |pod| pod["status"]["phase"] == "Running").await;
        assert!(!is_ready(&started), "the readiness probe has not succeeded");
        assert_eq!(started["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0);

        let node_api = |path: &str| format!("https://192.0.2.1:10250{path}");
        let mut log = String::new();
        for _ in 0..100 {
            log = curl(&place, &[&node_api("/containerLogs/default/web/main")]).await;
            if log.contains("nameserver") && log.contains("web.sub") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(log.contains("shop=10.96.0.7:8080\n"), "{log}");
        assert!(log.contains("color=blue token=secret me=web init\nhost=web\n"), "{log}");
        assert!(log.contains("search default.svc.cluster.local svc.cluster.local cluster.local"), "{log}");
        assert!(log.contains("nameserver 10.96.0.10\n") && log.contains("options ndots:5\n"), "{log}");
        assert!(log.contains("10.244.9.2\tweb.sub.default.svc.cluster.local\tweb"), "{log}");
        let tail = curl(&place, &[&node_api("/containerLogs/default/web/main?tailLines=1&timestamps=true")]).await;
        assert_eq!(tail.lines().count(), 1);
        assert!(curl(&place, &[&node_api("/containerLogs/default/web/none")]).await.contains("is not valid for pod"));
        assert!(curl(&place, &[&node_api("/healthz")]).await.contains("ok"));

        let as_whom = async |cert: &str, path: &str| {
            let certificate = place.path(cert).display().to_string();
            let status = ["-o", "/dev/stdout", "-w", " %{http_code}", "--cert", &certificate];
            curl(&place, &[status.as_slice(), &[&node_api(path)]].concat()).await
        };
        assert!(as_whom("jane.pem", "/pods").await.ends_with(" 200"), "the API consents to nodes/pods");
        let refused = "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[proxy]) 403";
        assert_eq!(as_whom("jane.pem", "/containerLogs/default/web/main").await, refused);
        assert_eq!(as_whom("jane.pem", "/exec/default/web/main?command=id").await, refused);
        let nobody = ["-k", "-s", "-w", " %{http_code}", &node_api("/pods")];
        let nobody = tokio::process::Command::new("curl").args(nobody).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&nobody.stdout), "Unauthorized 401");

        let exec = node_api("/exec/default/web/main?command=touch&command=/tmp/ready&output=1&error=1");
        let spdy = ["Upgrade: SPDY/3.1", "Connection: Upgrade", "X-Stream-Protocol-Version: v4.channel.k8s.io"];
        let spdy: Vec<&str> = spdy.iter().flat_map(|header| ["-H", header]).collect();
        let answer = curl(&place, &[&["-i", "-X", "POST", "-m", "2"], spdy.as_slice(), &[&exec]].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols"), "{answer}");
        assert!(answer.to_lowercase().contains("x-stream-protocol-version: v4.channel.k8s.io"), "{answer}");
        let websocket = ["-i", "-H", "Upgrade: websocket", "-H", "Connection: Upgrade", &exec];
        assert!(curl(&place, &websocket).await.starts_with("HTTP/1.1 400"));

        let follow = node_api("/containerLogs/default/web/main?follow=true&tailLines=0");
        let following = async { curl(&place, &["-N", &follow]).await };
        let deleting = async {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            api.delete(&path, 5);
            api.wait(&path, Value::is_null).await;
        };
        tokio::join!(following, deleting);
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// containerd and agent may be killed at any moment: containers go on, what ended meanwhile is noticed, and
/// removal needs neither.
pub(crate) fn crashes_lose_nothing_and_removal_needs_no_one() {
    let place = Place::new("crash");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        api.put(&pod_path("web"), pod(json!({"containers": [{"name": "httpd", "image": "httpd"}]})));
        let before = api.wait(&pod_path("web"), is_ready).await;
        let once = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", "echo done; exit 0"]});
        let mut job = pod(json!({"containers": [once]}));
        job["spec"]["restartPolicy"] = json!("Never");
        api.put(&pod_path("job"), job);
        let done = api.wait(&pod_path("job"), |pod| pod["status"]["phase"] == "Succeeded").await;
        assert_eq!(done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
        let log = curl(&place, &["https://192.0.2.1:10250/containerLogs/default/job/c"]).await;
        assert_eq!(log, "done\n", "a finished pod keeps its log");

        // The agent dies without a chance to stop containerd; the next one takes it over.
        let containerd = containerd_pid(&config);
        agent.task.abort();
        let _ = agent.task.await;
        let agent = Agent::start(&client, &config).await;
        assert_eq!(containerd_pid(&config), containerd);

        // containerd dies, and while it is away so does a container.
        let pid = rustix::process::Pid::from_raw(containerd).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        kill(&api, &pod_path("web")).await;
        let after = api.wait(&pod_path("web"), |pod| restarts(pod) == 1 && is_ready(pod)).await;
        assert_eq!(after["status"]["podIP"], before["status"]["podIP"], "the sandbox stayed");
        assert_ne!(containerd_pid(&config), containerd);
        agent.task.abort();
    });
    let pid = rustix::process::Pid::from_raw(containerd_pid(&config)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert!(place.traces(&config).iter().any(|trace| trace.contains("containerd-shim")));
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// A log of more than 10 MiB is set aside within ten seconds; a reader that follows goes on with the new one.
pub(crate) fn a_large_log_is_begun_anew() {
    let place = Place::new("log");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let script = "yes 0123456789abcdef | head -n 400000; trap 'exit 0' TERM; \
                      n=0; while true; do n=$((n+1)); echo line $n; sleep 0.2 & wait; done";
        let chatty = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", script]});
        let created = api.put(&pod_path("web"), pod(json!({"containers": [chatty]})));
        let uid = created["metadata"]["uid"].as_str().unwrap();
        let dir = config.data_dir.join("pods").join(format!("default_web_{uid}")).join("c");
        api.wait(&pod_path("web"), is_ready).await;
        let follow = "https://192.0.2.1:10250/containerLogs/default/web/c?follow=true&tailLines=1";
        let following = async { curl(&place, &["-N", "-m", "14", follow]).await };
        let text = following.await;
        let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        let numbers = text.lines().filter_map(|line| line.strip_prefix("line ")?.parse::<u32>().ok());
        let numbers: Vec<u32> = numbers.collect();
        assert!(numbers.len() > 55, "{} lines", numbers.len());
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "no line is lost: {numbers:?}");
        agent.stop().await;
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

pub(crate) fn containerd_pid(config: &Config) -> i32 {
    let pid = std::fs::read_to_string(config.data_dir.join("containerd/containerd.pid")).unwrap();
    pid.trim().parse().unwrap()
}

/// Asks the node's API from inside the namespace; the answer's text.
pub(crate) async fn curl(place: &Place, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("curl")
        .args(["-sk", "-m", "30", "--cert"])
        .arg(place.path("client.pem"))
        .args(arguments)
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn restarts(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(-1)
}

pub(crate) fn waiting(pod: &Value) -> &str {
    pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str().unwrap_or_default()
}

/// The main process of a pod's container, by the container's place in the status.
pub(crate) fn main_process(api: &Arc<Api>, path: &str, container: usize) -> i32 {
    let pod = api.get(path).unwrap();
    let id = pod["status"]["containerStatuses"][container]["containerID"].as_str().unwrap();
    let id = id.rsplit('/').next().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        cgroup.contains(id).then_some(pid)
    });
    pids.min().unwrap()
}

/// Kills the main process of a pod's first container from outside.
pub(crate) async fn kill(api: &Arc<Api>, path: &str) {
    let pid = rustix::process::Pid::from_raw(main_process(api, path, 0)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
