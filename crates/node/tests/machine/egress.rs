//! Packets of pods that leave the node.

use std::{net::IpAddr, time::Duration};

use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    agent::{Agent, is_ready, pod, pod_path, prepare},
    api::Api,
    place::Place,
};

/// What `ipMasq` of the CNI bridge plugin does: a pod has its node's address outside of the cluster, and its
/// own towards nodes and pods.
pub(crate) fn pods_leave_under_their_nodes_address() {
    let place = Place::new("egress");
    let outside = place.outside();
    let config = prepare(&place);
    place.run(async || {
        let (api, client) = Api::start().await;
        let agent = Agent::start(&client, &config).await;
        // The listener closes what it accepts, which ends nc.
        let call = |to: &str| format!("while :; do nc -w 1 {to}; sleep 0.2; done");
        let call = format!("({}) & {}", call("198.51.100.1 7000"), call("192.0.2.254 7001"));
        let caller = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", call]});
        api.put(&pod_path("caller"), pod(json!({"containers": [caller]})));
        let ready = api.wait(&pod_path("caller"), is_ready).await;
        let pod_ip: IpAddr = ready["status"]["podIP"].as_str().unwrap().parse().unwrap();
        let node_ip = config.internal_ip;

        let far = TcpListener::from_std(outside.listen(7000)).unwrap();
        let near = TcpListener::from_std(outside.listen(7001)).unwrap();
        expect(&far, node_ip).await;
        expect(&near, node_ip).await;

        let addresses = json!([{"type": "InternalIP", "address": "192.0.2.254"}]);
        let spec = json!({"podCIDR": "10.244.8.0/24"});
        api.put("/api/v1/nodes/node2", json!({"spec": spec, "status": {"addresses": addresses}}));
        expect(&near, pod_ip).await;
        expect(&far, node_ip).await;
        let table = place.nft(&["list", "table", "inet", "portolan-pods"]);
        for line in [
            "comment \"the way out for pods of node node1\"",
            "elements = { 10.244.9.0/24 }",
            "elements = { 10.244.8.0/23, 192.0.2.1,",
            "192.0.2.254, 224.0.0.0/4,",
            "type nat hook postrouting priority srcnat; policy accept;",
            "ip saddr @own-pods ip daddr != @cluster masquerade fully-random",
        ] {
            assert!(table.contains(line), "{line} is not in\n{table}");
        }

        let ruleset = place.nft(&["list", "ruleset"]);
        // Somebody else's hand in our rules.
        for damage in
            [["flush", "ruleset"].as_slice(), &["flush", "chain", "inet", "portolan-pods", "postrouting"]]
        {
            place.nft(damage);
            let begun = std::time::Instant::now();
            while place.nft(&["list", "ruleset"]) != ruleset {
                assert!(begun.elapsed() < Duration::from_secs(5), "{}", place.nft(&["list", "ruleset"]));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            expect(&far, node_ip).await;
        }

        agent.stop().await;
        expect(&far, node_ip).await;
        let agent = Agent::start(&client, &config).await;
        expect(&near, pod_ip).await;
        agent.stop().await;
        node::remove_all(&config).await.unwrap();
        assert_eq!(place.nft(&["list", "tables"]), "");
    });
}

/// Waits for a connection from this address. Some from another may come before, from before a change.
async fn expect(listener: &TcpListener, from: IpAddr) {
    let mut seen = Vec::new();
    let arrives = async {
        while seen.last() != Some(&from) {
            seen.push(listener.accept().await.unwrap().1.ip());
        }
    };
    let timely = tokio::time::timeout(Duration::from_secs(10), arrives).await;
    assert!(timely.is_ok(), "connections came from {seen:?} instead of {from}");
}
