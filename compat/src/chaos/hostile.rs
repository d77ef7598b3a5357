//! What a hostile client and a hostile pod do.

use std::fs;
use std::time::Duration;

use anyhow::{Context, ensure};
use kube::client::ConfigExt;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::api::config;
use super::ground::{Ground, HERE, eventually};

/// The hostile client has an address of its own, as another machine would.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 66], 0);
/// Connections of each kind.
const CONNECTIONS: usize = 50;
/// The list that nobody reads: so many objects of so many bytes.
const LIST: (usize, usize) = (12, 400_000);
/// How long things are held.
const HOLD: Duration = Duration::from_secs(4);
/// The server may stop reading and accepting at any time.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what is right may take.
const SOON: Duration = Duration::from_secs(30);

/// Connections with half of a body, and connections whose answers are not read.
pub(crate) fn hog(ground: &mut Ground) -> anyhow::Result<String> {
    let bulk = "/api/v1/namespaces/chaos/configmaps";
    for number in 0..LIST.0 {
        let data = json!({"x": "y".repeat(LIST.1)});
        let map =
            json!({"metadata": {"name": format!("bulk-{number}"), "labels": {"bulk": ""}}, "data": data});
        ground.good("POST", bulk, Some(&map))?;
    }
    let before = ground.sandbox.memory();
    let wire = ground.runtime.block_on(Wire::new(ground))?;
    let half = [
        format!("POST {bulk} HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n").as_bytes(),
        b"content-length: 2900000\r\n\r\n{\"data\":{\"x\":\"",
        &vec![b'y'; 1_400_000],
    ]
    .concat();
    let list = format!("GET {bulk} HTTP/1.1\r\nhost: server\r\n\r\n").into_bytes();
    let held = ground.runtime.block_on(async {
        let tasks = (0..2 * CONNECTIONS).map(|number| {
            let (wire, bytes) = (wire.clone(), if number % 2 == 0 { half.clone() } else { list.clone() });
            tokio::spawn(async move {
                let mut stream = timeout(PATIENCE, wire.connect()).await.ok()?.ok()?;
                drop(timeout(PATIENCE, stream.write_all(&bytes)).await);
                Some(stream)
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut held = Vec::new();
        for task in tasks {
            held.extend(task.await.ok().flatten());
        }
        sleep(HOLD).await;
        held
    });
    let peak = ground.sandbox.memory();
    let count = held.len();
    drop(held);
    eventually("the large objects can be deleted", SOON, || {
        ground.good("DELETE", &format!("{bulk}?labelSelector=bulk"), None).map(drop)
    })?;
    Ok(format!("{count} connections held; {before} MiB before, {peak} MiB meanwhile"))
}

/// Strategic patches to many ports, some at a time.
pub(crate) fn patches(ground: &mut Ground) -> anyhow::Result<String> {
    let count = ground.random.usize(3_000..=14_000);
    let ports: Vec<Value> = (1..=count).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    let body = json!({"spec": {"ports": ports}}).to_string();
    let request = [
        format!("PATCH {HERE}/services/patched?dryRun=All HTTP/1.1\r\nhost: server\r\n"),
        format!("content-type: application/strategic-merge-patch+json\r\ncontent-length: {}\r\n", body.len()),
        format!("connection: close\r\n\r\n{body}"),
    ]
    .concat();
    let codes = ground.runtime.block_on(async {
        let wire = Wire::new(ground).await?;
        let tasks = (0..3).map(|_| {
            let (wire, request) = (wire.clone(), request.clone());
            tokio::spawn(async move {
                let answer = async {
                    let mut stream = wire.connect().await?;
                    stream.write_all(request.as_bytes()).await?;
                    let mut head = [0; 12];
                    stream.read_exact(&mut head).await?;
                    anyhow::Ok(String::from_utf8_lossy(&head[9..]).into_owned())
                };
                timeout(2 * SOON, answer).await.context("a patch is not answered")?
            })
        });
        let mut codes = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            codes.push(task.await??);
        }
        anyhow::Ok(codes)
    })?;
    ensure!(codes.iter().all(|code| !code.starts_with('5')), "patches are answered with {codes:?}");
    Ok(format!("3 patches of {count} ports are answered with {}", codes.join(", ")))
}

/// A pod exchanges parts of its volumes with links to a folder of the node and leaves pipes there, while its ConfigMap
/// changes and another container, which mounts such a part, starts again and again.
pub(crate) fn pod(ground: &mut Ground) -> anyhow::Result<String> {
    let prey = ground.sandbox.folder().join("prey");
    fs::create_dir_all(&prey)?;
    let map = format!("{HERE}/configmaps/volume");
    let keys = |value: usize| {
        let keys: serde_json::Map<String, Value> =
            (0..200).map(|key| (format!("k{key}"), json!(value.to_string()))).collect();
        json!({"metadata": {"name": "volume"}, "data": keys})
    };
    ground.good("POST", &format!("{HERE}/configmaps"), Some(&keys(0)))?;
    let node = ground.any_node();
    let node = ground.sandbox.machine_name(&node);
    ground.good("POST", &format!("{HERE}/pods"), Some(&hostile(&node, &prey.display().to_string())))?;
    let exec =
        |script: &str| ground.sandbox.kubectl(&["exec", "hostile", "-c", "a", "--", "sh", "-c", script]);
    eventually("the hostile pod runs", SOON, || exec("true").map(drop))?;
    let rounds = 8;
    for round in 1..=rounds {
        ground.good("PUT", &map, Some(&keys(round)))?;
        drop(exec("cd /map; mkfifo ..data/pipe k0.new; ln -sfn / ..data_tmp; mv ..data ..old; rm -f k1"));
        std::thread::sleep(Duration::from_millis(300));
    }
    let arrived = eventually("the change of the ConfigMap arrives", SOON, || {
        let found = exec("cat /map/k0 /map/k199")?;
        ensure!(found == format!("{rounds}{rounds}"), "{found:?}");
        Ok(())
    })?;
    let escaped: Vec<_> = fs::read_dir(&prey)?.flatten().map(|file| file.file_name()).collect();
    ensure!(escaped.is_empty(), "the pod has written to the node: {escaped:?}");
    let pod = ground.good("GET", &format!("{HERE}/pods/hostile"), None)?;
    let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    let restarts = statuses.iter().filter_map(|status| status["restartCount"].as_u64()).max();
    Ok(format!("{} restarts, the last change came after {arrived:.1?}", restarts.unwrap_or(0)))
}

/// Takes the hostile pod away.
pub(crate) fn remove_pod(ground: &mut Ground) -> anyhow::Result<()> {
    let pod = format!("{HERE}/pods/hostile");
    drop(ground.call("DELETE", &format!("{pod}?gracePeriodSeconds=0"), None));
    drop(ground.call("DELETE", &format!("{HERE}/configmaps/volume"), None));
    eventually("the hostile pod is gone", SOON, || {
        let code = ground.call("GET", &pod, None)?.code;
        ensure!(code == 404, "it is answered with {code}");
        Ok(())
    })?;
    Ok(())
}

fn hostile(node: &str, prey: &str) -> Value {
    let flip = format!(
        "cd /empty; while true; do mkdir -p part; mkfifo part/pipe; ln -sfn {prey} link; rm -rf part; mv link part; \
         usleep 2000; rm -f part; done"
    );
    let stray = "while true; do echo out > /part/escaped; usleep 10000; done & sleep 1";
    json!({
        "metadata": {"name": "hostile"},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {"name": "a", "image": "busybox", "command": ["sh", "-c", flip], "volumeMounts": [
                    {"name": "map", "mountPath": "/map"}, {"name": "empty", "mountPath": "/empty"}]},
                {"name": "b", "image": "busybox", "command": ["sh", "-c", stray], "volumeMounts": [
                    {"name": "empty", "mountPath": "/part", "subPath": "part"}]}
            ],
            "volumes": [{"name": "map", "configMap": {"name": "volume"}}, {"name": "empty", "emptyDir": {}}]
        }
    })
}

/// Connections on which a client can do what a library would not.
#[derive(Clone)]
struct Wire {
    tls: TlsConnector,
    server: std::net::SocketAddr,
}

impl Wire {
    async fn new(ground: &Ground) -> anyhow::Result<Self> {
        let config = config(&ground.sandbox.kubeconfig()).await?;
        let host = config.cluster_url.authority().context("the kubeconfig names no server")?;
        let server = host.as_str().parse()?;
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols.clear();
        Ok(Self { tls: TlsConnector::from(std::sync::Arc::new(tls)), server })
    }

    async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(ADDRESS.into())?;
        let stream = socket.connect(self.server).await?;
        Ok(self.tls.connect(ServerName::IpAddress(self.server.ip().into()), stream).await?)
    }
}

/// Removes the certificate of the cluster's authority from a namespace, which must get it back.
pub(crate) fn certificate(ground: &mut Ground) -> anyhow::Result<String> {
    let map = format!("{HERE}/configmaps/kube-root-ca.crt");
    ground.good("DELETE", &map, None)?;
    let took = eventually("kube-root-ca.crt is back", SOON, || ground.good("GET", &map, None).map(drop))?;
    Ok(format!("back after {took:.1?}"))
}
