//! The parts below the pod: containerd, images, CNI plugin and CRI, without a Kubernetes API.

use std::{fs, time::Duration};

use futures::StreamExt;
use node::{
    cni,
    containerd::{Containerd, Paths},
    cri::{
        Client,
        events::{self, Heard},
        messages::*,
    },
    image,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::Place;

pub(crate) fn a_pod_is_run_reached_watched_and_removed() {
    let place = Place::new("cri");
    let config = place.config();
    image::write_stand_ins(&config.images_dir).unwrap();
    let paths = Paths::of(&config);
    fs::create_dir_all(&paths.cni_bin).unwrap();
    fs::create_dir_all(&paths.cni_conf).unwrap();
    for plugin in [cni::PLUGIN, "loopback"] {
        std::os::unix::fs::symlink(&config.program, paths.cni_bin.join(plugin)).unwrap();
    }
    let list = cni::config_list("node1", "10.244.7.0/24".parse().unwrap(), &config.cni_dir().join("ipam"));
    fs::write(paths.cni_conf.join("10-portolan.conflist"), list).unwrap();

    place.run(async || {
        let containerd = Containerd::start(&paths, &config.runtime_environment).await.unwrap();
        let client = Client::new(&paths.socket).unwrap();
        let imported = image::import_all(&config, &client).await.unwrap();
        assert!(imported.contains("httpd"));
        let mut events = events::subscribe(&client);
        let listening = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
        assert_eq!(listening.unwrap(), Some(Heard::Listening), "before anything has happened");

        let sandbox_config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: "web".into(),
                uid: "u1".into(),
                namespace: "default".into(),
                attempt: 0,
            }),
            log_directory: place.path("logs").display().to_string(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: config.cgroup_parent.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let request =
            RunPodSandboxRequest { config: Some(sandbox_config.clone()), runtime_handler: String::new() };
        let pod_sandbox_id = client.run_pod_sandbox(request).await.unwrap().pod_sandbox_id;
        let request = PodSandboxStatusRequest { pod_sandbox_id: pod_sandbox_id.clone(), verbose: false };
        let status = client.pod_sandbox_status(request).await.unwrap().status.unwrap();
        let address = status.network.unwrap().ip;
        assert_eq!(address, "10.244.7.2");

        let request = CreateContainerRequest {
            pod_sandbox_id: pod_sandbox_id.clone(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata { name: "httpd".into(), attempt: 0 }),
                image: Some(ImageSpec { image: "httpd".into(), ..Default::default() }),
                log_path: "httpd/0.log".into(),
                linux: Some(LinuxContainerConfig {
                    security_context: Some(LinuxContainerSecurityContext {
                        namespace_options: Some(NamespaceOption {
                            pid: NamespaceMode::Container.into(),
                            ..Default::default()
                        }),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            sandbox_config: Some(sandbox_config),
        };
        fs::create_dir_all(place.path("logs/httpd")).unwrap();
        let container_id = client.create_container(request).await.unwrap().container_id;
        client.start_container(StartContainerRequest { container_id: container_id.clone() }).await.unwrap();

        assert!(get(&address, 80).await.contains("It works!"));
        let ls = ["ls", "/www"].map(String::from);
        let ran = client.exec_sync(&container_id, &ls, Duration::from_secs(30)).await.unwrap();
        assert_eq!((ran.exit_code, ran.stdout.as_slice()), (0, &b"index.html\n"[..]));
        let kill = ["kill", "1"].map(String::from);
        client.exec_sync(&container_id, &kill, Duration::from_secs(30)).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(30), events.next()).await.unwrap();
        let Some(Heard::Event(event)) = heard else { panic!("{heard:?}") };
        assert_eq!(event.container_id, container_id);
        assert!(matches!(event.kind, events::EventKind::Exited(Some(exit)) if exit.code == 0), "{event:?}");

        let log = fs::read_to_string(place.path("logs/httpd/0.log")).unwrap();
        assert!(log.contains("response:200"), "{log}");
        // containerd 1.6 may fail while the shim of the container that ended goes away.
        let mut stopped = Err(String::new());
        for _ in 0..100 {
            let request = StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() };
            stopped = client.stop_pod_sandbox(request).await.map_err(|error| error.to_string());
            if stopped.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stopped.unwrap();
        client.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id }).await.unwrap();
        containerd.stop().await;
    });
    assert!(!place.traces(&config).is_empty());
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}

/// The answer to `GET /` of an HTTP server that may take a moment to listen.
pub(crate) async fn get(address: &str, port: u16) -> String {
    for _ in 0..100 {
        let Ok(mut stream) = tokio::net::TcpStream::connect((address, port)).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        return answer;
    }
    panic!("{address}:{port} does not answer");
}
