//! Faults of what is around the agent: a runtime that stands still, a link that goes down.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    agent::{Agent, NODE, containerd_pid, curl, is_ready, kill, pod, pod_path, prepare, restarts},
    api::Api,
    place::Place,
};

/// What the node says of its readiness: status and message.
fn readiness(node: &Value) -> (&str, &str) {
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    let text = |key: &str| ready.and_then(|ready| ready[key].as_str()).unwrap_or_default();
    (text("status"), text("message"))
}

/// While containerd stands still the node is not ready and exec says why; afterwards what happened meanwhile is
/// noticed, and the new run of a container keeps its probes whatever is told late of the run before.
pub(crate) fn a_runtime_that_stands_still_is_told_and_caught_up_with() {
    let place = Place::new("frozen");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let path = pod_path("web");
        let probe = json!({"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 1});
        let web = json!({"name": "c", "image": "httpd", "readinessProbe": probe});
        api.put(&path, pod(json!({"containers": [web]})));
        api.wait(&path, is_ready).await;
        assert_eq!(readiness(&api.get(NODE).unwrap()).0, "True");

        let containerd = Pid::from_raw(containerd_pid(&config)).unwrap();
        for round in 1..=2 {
            kill_process(containerd, Signal::STOP).unwrap();
            kill(&api, &path).await;
            let down = "container runtime is down: it has not answered since ";
            let node = api.wait(NODE, |node| readiness(node).0 == "False").await;
            assert!(readiness(&node).1.starts_with(down), "{node:#}");
            let exec = "https://192.0.2.1:10250/exec/default/web/c?command=id&output=1";
            let spdy =
                ["-X", "POST", "-m", "3", "-H", "Upgrade: SPDY/3.1", "-H", "Connection: Upgrade", exec];
            let said = curl(&place, &spdy).await;
            assert!(said.starts_with(down), "{said}");
            kill_process(containerd, Signal::CONT).unwrap();
            api.wait(NODE, |node| readiness(node).0 == "True").await;
            api.wait(&path, |pod| is_ready(pod) && restarts(pod) == round).await;
        }
        agent.stop().await;
    });
}

/// A link that was down has its routes back within a second, and the node is ready only while it is up. What is taken
/// away under the node while the link is up comes back, too.
pub(crate) fn a_link_that_was_down_has_its_routes_back_within_a_second() {
    let place = Place::new("link");
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        let addresses = json!([{"type": "InternalIP", "address": "192.0.2.2"}]);
        let spec = json!({"podCIDR": "10.244.8.0/24"});
        api.put("/api/v1/nodes/node2", json!({"spec": spec, "status": {"addresses": addresses}}));
        place.ip(&["route", "add", "198.51.100.0/24", "via", "192.0.2.253"]);
        place.ip(&["address", "add", "2001:db8::1/64", "dev", "up0", "nodad"]);
        place.ip(&["route", "add", "2001:db8:1::/64", "via", "2001:db8::2"]);
        place.ip(&["route", "add", "default", "via", "2001:db8::2"]);
        let needed = [
            "default via 192.0.2.254 dev up0",
            "10.244.8.0/24 via 192.0.2.2 dev up0",
            "198.51.100.0/24 via 192.0.2.253 dev up0",
            "2001:db8:1::/64 via 2001:db8::2 dev up0",
            "default via 2001:db8::2 dev up0",
        ];
        let routes = || place.ip(&["-4", "route"]) + &place.ip(&["-6", "route"]);
        let all_there = async || {
            let begun = Instant::now();
            while let Some(missing) = needed.iter().find(|route| !routes().contains(*route)) {
                assert!(begun.elapsed() < Duration::from_secs(1), "{missing} is not in\n{}", routes());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        all_there().await;
        // The agent has seen them.
        tokio::time::sleep(Duration::from_millis(500)).await;

        for (cable, problem) in
            [("up0", "network link up0 is down"), ("up1", "network link up0 has no carrier")]
        {
            place.ip(&["link", "set", cable, "down"]);
            let node = api.wait(NODE, |node| readiness(node).0 == "False").await;
            assert_eq!(readiness(&node).1, problem);
            place.ip(&["link", "set", cable, "up"]);
            all_there().await;
            api.wait(NODE, |node| readiness(node).0 == "True").await;
        }
        // Faster than anyone can look.
        for _ in 0..3 {
            place.ip(&["link", "set", "up0", "down"]);
            place.ip(&["link", "set", "up0", "up"]);
        }
        all_there().await;
        place.ip(&["route", "del", "default"]);
        place.ip(&["route", "del", "10.244.8.0/24"]);
        all_there().await;
        place.ip(&["address", "del", "192.0.2.1/24", "dev", "up0"]);
        let begun = Instant::now();
        while !place.ip(&["address"]).contains("inet 192.0.2.1/24") || !routes().contains(needed[0]) {
            assert!(begun.elapsed() < Duration::from_secs(1), "{}", routes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        place.ip(&["route", "replace", "default", "via", "192.0.2.252"]);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(
            routes().contains("default via 192.0.2.252") && !routes().contains(needed[0]),
            "{}",
            routes()
        );
        agent.stop().await;
    });
}
