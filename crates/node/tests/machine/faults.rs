//! Faults of what is around the agent: a runtime that stands still.

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
