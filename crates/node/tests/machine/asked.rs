//! Fields of a pod that its containers see, or that stand between them and the node.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::{
    agent::{Agent, is_ready, pod, pod_path, prepare, waiting},
    api::Api,
    place::Place,
    runtime::get,
};

/// A pod that says something once: what its command writes is its message.
fn saying(script: &str, mut spec: Value) -> Value {
    spec["containers"] = json!([{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]);
    let mut pod = pod(spec);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

pub(crate) fn fields_are_carried_out_or_refused() {
    let place = Place::new("asked");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;

        // A server that needs 0.7 s does not wait for the next period of ten.
        let mut server = json!({"name": "c", "image": "busybox",
            "command": ["sh", "-c", "trap 'exit 0' TERM; mkdir /www; echo ok > /www/index.html; sleep 0.7; httpd -p 80 -h /www; \
                         while true; do sleep 1 & wait; done"],
            "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 10}});
        let begun = Instant::now();
        api.put(&pod_path("slow"), pod(json!({"containers": [server.clone()]})));
        api.wait(&pod_path("slow"), is_ready).await;
        println!("a server that needs 0.7 s is ready after {:?}", begun.elapsed());
        assert!(begun.elapsed().as_secs_f64() < 3.0);
        // What only accepts connections does not speak gRPC's health protocol.
        server["readinessProbe"] = json!({"grpc": {"port": 80}, "periodSeconds": 1});
        api.put(&pod_path("no-grpc"), pod(json!({"containers": [server]})));

        let ipc = fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
        let first = fs::read_to_string("/proc/1/comm").unwrap();
        let full = json!({"hostname": "web", "subdomain": "sub", "setHostnameAsFQDN": true});
        for (name, script, spec, message) in [
            ("full-name", "hostname", full, "web.sub.default.svc.cluster.local"),
            ("other-name", "hostname", json!({"hostnameOverride": "db.example.org"}), "db.example.org"),
            ("shared", "cat /proc/1/comm", json!({"shareProcessNamespace": true}), "pause"),
            ("own", "cat /proc/1/comm", json!({}), "cat"),
            ("host-pid", "cat /proc/1/comm", json!({"hostPID": true}), first.trim()),
            ("host-ipc", "readlink /proc/self/ns/ipc", json!({"hostIPC": true}), &ipc),
        ] {
            let path = pod_path(name);
            api.put(&path, saying(&format!("{script} > /dev/termination-log"), spec));
            let done = api.wait(&path, |pod| pod["status"]["phase"] == "Succeeded").await;
            let ended = &done["status"]["containerStatuses"][0]["state"]["terminated"];
            assert_eq!(ended["message"].as_str().unwrap_or_default().trim(), message, "{name}");
        }

        // A port of the node, from the node and from outside.
        let ports = json!([{"containerPort": 80, "hostPort": 8080}]);
        let server = || pod(json!({"containers": [{"name": "c", "image": "httpd", "ports": ports}]}));
        api.put(&pod_path("port"), server());
        api.wait(&pod_path("port"), is_ready).await;
        assert!(get("192.0.2.1", 8080).await.contains("It works!"));
        let outside = place.outside();
        assert!(outside.curl("http://192.0.2.1:8080/").contains("It works!"));
        place.nft(&["flush", "ruleset"]);
        while !place.nft(&["list", "ruleset"]).contains("portolan-host-ports") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert!(outside.curl("http://192.0.2.1:8080/").contains("It works!"), "the port is back after a flush");
        api.put(&pod_path("second"), server());
        let taken = "Failed to create pod sandbox: host port 8080 is taken by pod default/port";
        let is_taken = |event: &Value| event["message"] == taken;
        while !api.all("/api/v1/namespaces/default/events/").iter().any(is_taken) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        agent.crash().await;
        api.delete(&pod_path("second"), 0);
        let agent = Agent::start(&client, &config).await;
        assert!(get("192.0.2.1", 8080).await.contains("It works!"), "an adopted pod keeps its port");
        api.delete(&pod_path("port"), 1);
        api.wait(&pod_path("port"), Value::is_null).await;
        assert!(!place.nft(&["list", "ruleset"]).contains("portolan-host-ports"));

        let path = pod_path("limited");
        let mut limited = saying("trap 'exit 0' TERM; while true; do sleep 1 & wait; done", json!({"activeDeadlineSeconds": 2}));
        limited["spec"]["restartPolicy"] = json!("Always");
        let begun = Instant::now();
        api.put(&path, limited);
        let over = api.wait(&path, |pod| pod["status"]["phase"] == "Failed").await;
        println!("a pod with activeDeadlineSeconds 2 has failed after {:?}", begun.elapsed());
        assert_eq!(over["status"]["reason"], "DeadlineExceeded");
        assert!(!over["status"]["containerStatuses"][0]["state"]["terminated"].is_null());
        assert!((2.0..6.0).contains(&begun.elapsed().as_secs_f64()));

        let path = pod_path("refused");
        api.put(&path, saying("true", json!({"hostUsers": false})));
        let refused = api.wait(&path, |pod| waiting(pod) == "CreateContainerConfigError").await;
        let message = &refused["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
        assert_eq!(message, "spec.hostUsers cannot be carried out: this node has no user namespaces for pods");
        api.put(&pod_path("without"), saying("true", json!({"imagePullSecrets": [{"name": "key"}]})));
        api.wait(&pod_path("without"), |pod| pod["status"]["phase"] == "Succeeded").await;
        assert!(!is_ready(&api.get(&pod_path("no-grpc")).unwrap()));
        // Deletion needs nothing that was refused.
        api.delete(&path, 1);
        api.wait(&path, Value::is_null).await;
        agent.stop().await;
        let events = api.all("/api/v1/namespaces/default/events/");
        for (reason, part) in [
            ("DeadlineExceeded", "active on the node longer"),
            ("Failed", "spec.hostUsers cannot be carried out"),
            ("NotCarriedOut", "spec.imagePullSecrets is not carried out"),
            ("Unhealthy", "Readiness probe failed: error: "),
        ] {
            let is = |event: &Value| event["reason"] == reason && event["message"].as_str().unwrap().contains(part);
            assert!(events.iter().any(is), "{reason}: {part}");
        }
    });
    place.run(async || node::remove_all(&config).await).unwrap();
    assert_eq!(place.traces(&config), Vec::<String>::new());
}
