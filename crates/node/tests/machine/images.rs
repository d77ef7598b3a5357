//! Archives that are dropped into the folder of images while the node runs.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use node::image::{File, Image};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, NODE, is_ready, pod, pod_path, prepare},
    api::Api,
    place::Place,
};

fn has(node: &Value, name: &str) -> bool {
    let images = node["status"]["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    images.iter().any(|image| {
        let names = image["names"].as_array().map(Vec::as_slice).unwrap_or_default();
        names.iter().any(|other| other == name) && image["sizeBytes"].as_u64().is_some_and(|size| size > 0)
    })
}

/// An archive is imported within a second, once for each content, and complained about only when it is still.
pub(crate) fn an_archive_that_is_dropped_in_is_imported_within_a_second() {
    let place = Place::new("images");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        api.wait(NODE, |node| has(node, "docker.io/library/httpd:latest")).await;

        let busybox = fs::read("/bin/busybox").unwrap();
        let image = Image {
            names: vec!["dropped".into()],
            entrypoint: vec!["/busybox".into(), "sleep".into(), "600".into()],
            command: vec![],
            env: vec![],
            files: vec![File::Regular { path: "busybox".into(), mode: 0o755, contents: busybox }],
        };
        let archive = image.to_archive();
        let path = config.images_dir.join("dropped.tar");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(&archive[..archive.len() / 2]).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        file.write_all(&archive[archive.len() / 2..]).unwrap();
        drop(file);
        let begun = Instant::now();
        let name = "docker.io/library/dropped:latest";
        api.wait(NODE, |node| has(node, name)).await;
        println!("imported and told after {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        // The tag is latest, so that the policy is Always: what came from an archive is used all the same.
        api.put(&pod_path("web"), pod(json!({"containers": [{"name": "c", "image": "dropped"}]})));
        api.wait(&pod_path("web"), is_ready).await;

        fs::copy(&path, config.images_dir.join("again.tar")).unwrap();
        let book = || fs::read_to_string(config.data_dir.join("imported.json")).unwrap();
        let again = |count| {
            let book: Value = serde_json::from_str(&book()).unwrap();
            let records = book.as_object().unwrap().values();
            records.filter(|record| record["names"][0] == name).count() == count
        };
        for _ in 0..100 {
            if again(2) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(again(2), "{}", book());

        fs::write(config.images_dir.join("half.tar"), &archive[..archive.len() / 2]).unwrap();
        let complaints = || {
            let events = api.all("/api/v1/namespaces/default/events/");
            let failed = events.into_iter().filter(|event| event["reason"] == "FailedImport");
            failed.map(|event| event["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(complaints().is_empty(), "it may still be being written: {:?}", complaints());
        let path = config.images_dir.join("half.tar");
        let sentence = format!(
            "cannot import the image archive {}: it ends in the middle; is it still being written?",
            path.display()
        );
        for _ in 0..500 {
            if !complaints().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(complaints(), [sentence]);
        agent.stop().await;
    });
}
