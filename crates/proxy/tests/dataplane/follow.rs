//! The whole proxy behind an API server.

use std::time::{Duration, Instant};

use proxy::configuration::Duties;
use serde_json::json;

use crate::api::Api;
use crate::scene::{POD1, POD2, Scene, config, service, slice};
use crate::server::ask;

const VIP: &str = "10.96.0.20:8080";

/// Asks until this server answers; returns how long that took.
fn wait_for(scene: &Scene, server: &str) -> Duration {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if ask(&scene.client, VIP).is_ok_and(|answer| answer.server == server) {
            return start.elapsed();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{server} did not answer");
}

#[test]
fn the_rules_follow_the_api_server_even_over_a_lost_watch() {
    let Some(scene) = Scene::new() else { return };
    let api = Api::start();
    api.put(service("web", "10.96.0.20", json!({})));
    api.put(slice("web-1", "web", &[(POD1, "node")]));

    let mode = scene.new_mode();
    let url = format!("http://{}", api.address).parse().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let proxy = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
            let shutdown = async {
                let _ = stopped.await;
            };
            proxy::run(client, config(), Duties::none(), mode, shutdown).await
        })
    });
    println!("first answer after {:?}", wait_for(&scene, "pod1"));

    api.put(slice("web-1", "web", &[(POD2, "node")]));
    println!("change after {:?}", wait_for(&scene, "pod2"));

    api.cut_watches();
    api.put(slice("web-1", "web", &[(POD1, "node")]));
    println!("change over a lost watch after {:?}", wait_for(&scene, "pod1"));

    stop.send(()).unwrap();
    proxy.join().unwrap().unwrap();
    assert_eq!(ask(&scene.client, VIP).unwrap().server, "pod1", "the rules stay when the proxy stops");
}
