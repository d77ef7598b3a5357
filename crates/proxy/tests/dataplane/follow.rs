//! The whole proxy behind an API server.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proxy::Error;
use proxy::configuration::Duties;
use serde_json::json;
use tokio::sync::oneshot;

use crate::api::Api;
use crate::scene::{POD1, POD2, Scene, service, slice};
use crate::server::ask;

const VIP: &str = "10.96.0.20:8080";

/// A proxy at work on a thread of its own.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn start(scene: &Scene, api: &Api, duties: Duties) -> Self {
        let (mode, config) = (scene.new_mode(), scene.config());
        let url = format!("http://{}", api.address).parse().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
                let shutdown = async {
                    let _ = stopped.await;
                };
                proxy::run(client, config, duties, mode, shutdown).await
            })
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap().unwrap();
    }
}

/// Asks until this server answers; returns how long that took.
pub(crate) fn wait_for(scene: &Scene, front: &str, server: &str) -> Duration {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if ask(&scene.client, front).is_ok_and(|answer| answer.server == server) {
            return start.elapsed();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{server} did not answer at {front}");
}

#[test]
fn the_rules_follow_the_api_server_even_over_a_lost_and_an_outdated_watch() {
    let Some(scene) = Scene::new() else { return };
    let api = Api::start();
    api.put(service("web", "10.96.0.20", json!({})));
    api.put(slice("web-1", "web", &[(POD1, "node")]));

    let proxy = Running::start(&scene, &api, Duties::none());
    println!("first answer after {:?}", wait_for(&scene, VIP, "pod1"));

    api.put(slice("web-1", "web", &[(POD2, "node")]));
    println!("change after {:?}", wait_for(&scene, VIP, "pod2"));

    api.cut_watches();
    api.put(slice("web-1", "web", &[(POD1, "node")]));
    println!("change over a lost watch after {:?}", wait_for(&scene, VIP, "pod1"));

    api.outdate_watches();
    api.put(slice("web-1", "web", &[(POD2, "node")]));
    println!("change over an outdated watch after {:?}", wait_for(&scene, VIP, "pod2"));
    assert!(api.refused() > 0, "a watch from an old version was tried");

    proxy.stop();
    assert_eq!(ask(&scene.client, VIP).unwrap().server, "pod2", "the rules stay when the proxy stops");
}

#[test]
fn the_first_rules_wait_for_the_nodes_addresses_but_not_for_ever() {
    let api = Api::start();
    api.put(service("web", "10.96.0.20", json!({})));
    api.put(slice("web-1", "web", &[(POD1, "node")]));
    let first_rules = |scene: Scene| {
        let start = Instant::now();
        let proxy = Running::start(&scene, &api, Duties::none());
        while !scene.nft("list ruleset").contains("10.96.0.20") {
            assert!(start.elapsed() < Duration::from_secs(60), "there are no rules");
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = start.elapsed();
        proxy.stop();
        took
    };
    api.hold("nodes");
    let Some(scene) = Scene::new() else { return };
    let without = first_rules(scene);
    assert!(without >= Duration::from_secs(1), "they came without them after {without:?}");
    api.release();
    let scenes = std::iter::from_fn(Scene::new).take(5);
    let with: Vec<_> = scenes.map(first_rules).take(5).collect();
    assert!(with.iter().any(|took| *took < Duration::from_secs(1)), "they wait for more: {with:?}");
}
