//! What a Service promises, asked for by kubectl and checked by packets.

use std::collections::BTreeSet;
use std::process::Command;

use crate::harness::{Cluster, eventually, may_run, run};

const PAGE: &str = "<html><body><h1>It works!</h1></body></html>";

#[test]
fn a_deployment_spreads_its_pods_and_each_answers_at_its_own_address() {
    if !may_run("deployment") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("deployment");
    space.deploy(4);
    let pods = space.kubectl(&["get", "pod", "-o", "wide", "--no-headers"]).good();
    let rows: Vec<Vec<&str>> = pods.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 4, "{pods}");
    let column = |n: usize| rows.iter().map(|row| row[n]).collect::<BTreeSet<_>>();
    assert_eq!(column(1), BTreeSet::from(["1/1"]), "{pods}");
    assert_eq!(column(2), BTreeSet::from(["Running"]), "{pods}");
    assert_eq!(column(5).len(), 4, "each pod has an address of its own: {pods}");
    assert_eq!(column(6).len(), 3, "the pods are spread over all nodes: {pods}");
    for address in column(5) {
        assert_eq!(cluster.curl("node1", &format!("http://{address}")).good(), PAGE);
    }
}

#[test]
fn a_cluster_ip_reaches_every_pod_from_nodes_and_pods() {
    if !may_run("cluster-ip") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("cluster-ip");
    space.deploy(4);
    assert_eq!(space.apply_example("httpd-service.yaml"), "service/httpd-svc created");
    let addresses = space.wait_for_endpoints("httpd-svc", 4);
    let listed =
        space.kubectl(&["get", "endpoints", "httpd-svc", "-o", "jsonpath={.subsets[0].addresses[*].ip}"]);
    let mut listed: Vec<String> = listed.good().split_whitespace().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(listed, addresses);
    let described = space.kubectl(&["describe", "svc", "httpd-svc"]).good();
    assert!(described.contains("Selector:                 app=httpd"), "{described}");
    assert!(described.contains("TargetPort:               80/TCP"), "{described}");
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    assert!(ip.starts_with("10.96."), "{ip}");
    let kubernetes = cluster.kubectl(&["get", "svc", "kubernetes", "--no-headers"]).good();
    assert!(kubernetes.contains("10.96.0.1") && kubernetes.contains("443/TCP"), "{kubernetes}");

    let loops =
        format!("for n in $(seq 200); do curl -sS --max-time 5 http://{ip}:8080 || echo failed; done");
    let answers = cluster.on("node1", &["sh", "-c", &loops]).good();
    assert_eq!(answers.lines().filter(|line| *line == PAGE).count(), 200, "{answers}");
    let pods = space.kubectl(&["get", "pod", "-l", "app=httpd", "-o", "name"]).good();
    for pod in pods.lines() {
        let served = space.kubectl(&["logs", pod]).good();
        assert!(served.lines().count() > 0, "{pod} was not reached by any of 200 requests");
    }
    let shell = space.shell();
    assert_eq!(space.exec(&shell, &format!("timeout 5 wget -qO- http://{ip}:8080")).good(), PAGE);
    // A pod reaches itself through its own Service.
    let pod = pods.lines().next().expect("there are pods");
    for _ in 0..12 {
        assert_eq!(space.exec(pod, &format!("timeout 5 wget -qO- http://{ip}:8080")).good(), PAGE);
    }
}

#[test]
fn a_node_port_is_open_at_every_node_to_those_outside() {
    if !may_run("node-port") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("node-port");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    assert_eq!(space.apply_example("httpd-nodeport.yaml"), "service/httpd-svc configured");
    space.wait_for_endpoints("httpd-svc", 4);
    let row = space.kubectl(&["get", "svc", "httpd-svc", "--no-headers"]).good();
    assert!(row.contains("NodePort") && row.contains("8080:31688/TCP"), "{row}");
    let nodes =
        ["get", "node", "-o", "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}"];
    let nodes = cluster.kubectl(&nodes).good();
    assert_eq!(nodes.split_whitespace().count(), 3);
    for node in nodes.split_whitespace() {
        eventually(&format!("{node}:31688 answers"), || {
            let said = cluster.curl("client", &format!("http://{node}:31688"));
            if said.out == PAGE { Ok(()) } else { Err(said.err) }
        });
    }
    let taken =
        space.kubectl(&["create", "service", "nodeport", "taken", "--tcp=80", "--node-port=31688"]).bad();
    assert!(
        taken.contains("spec.ports[0].nodePort: Invalid value: 31688: provided port is already allocated"),
        "{taken}"
    );
    space.kubectl(&["create", "service", "nodeport", "any", "--tcp=80"]).good();
    let chosen: u16 = space.value("svc/any", ".spec.ports[0].nodePort").parse().expect("a number");
    assert!((30000..=32767).contains(&chosen), "{chosen}");
    // Back to ClusterIP: the port is closed and free again.
    assert_eq!(space.apply_example("httpd-service.yaml"), "service/httpd-svc configured");
    let row = space.kubectl(&["get", "svc", "httpd-svc", "--no-headers"]).good();
    assert!(row.contains("ClusterIP") && !row.contains("31688"), "{row}");
    space.kubectl(&["create", "service", "nodeport", "taken", "--tcp=80", "--node-port=31688"]).good();
}

#[test]
fn names_resolve_in_ones_own_namespace_and_in_others() {
    if !may_run("names") {
        return;
    }
    let cluster = Cluster::shared();
    let (space, other) = (cluster.space("names"), cluster.space("names-other"));
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    let endpoints = space.wait_for_endpoints("httpd-svc", 4);
    let (near, far) = (space.shell(), other.shell());
    assert_eq!(space.exec(&near, "timeout 5 wget -qO- http://httpd-svc:8080").good(), PAGE);
    assert_eq!(space.exec(&near, "timeout 5 wget -qO- http://httpd-svc.names:8080").good(), PAGE);
    assert_eq!(other.exec(&far, "timeout 5 wget -qO- http://httpd-svc.names:8080").good(), PAGE);
    assert!(!other.exec(&far, "timeout 5 wget -qO- http://httpd-svc:8080").ok);
    let resolv = other.exec(&far, "cat /etc/resolv.conf").good();
    assert!(resolv.contains("nameserver 10.96.0.10"), "{resolv}");
    assert!(
        resolv.contains("search names-other.svc.cluster.local svc.cluster.local cluster.local"),
        "{resolv}"
    );
    assert!(resolv.contains("options ndots:5"), "{resolv}");

    let dig = |name: &str, kind: &str| {
        let mut lines: Vec<String> = cluster
            .on("node1", &["dig", "+short", "+time=2", "@10.96.0.10", name, kind])
            .good()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    assert_eq!(dig("httpd-svc.names.svc.cluster.local", "A"), std::slice::from_ref(&ip));
    let tcp = ["dig", "+short", "+tcp", "@10.96.0.10", "httpd-svc.names.svc.cluster.local"];
    assert_eq!(cluster.on("node2", &tcp).good(), ip);
    space.apply_example("httpd-headless.yaml");
    space.wait_for_endpoints("httpd-headless", 4);
    eventually("the headless name resolves to the pods", || {
        let found = dig("httpd-headless.names.svc.cluster.local", "A");
        if found == endpoints { Ok(()) } else { Err(format!("{found:?}")) }
    });
    space.apply_example("external-name.yaml");
    eventually("the external name is an alias", || {
        let found = dig("partner.names.svc.cluster.local", "CNAME");
        if found == ["api.example.com."] { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn endpoints_follow_pods_that_go_and_a_client_sees_no_failure() {
    if !may_run("follow") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("follow");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    let before = space.wait_for_endpoints("httpd-svc", 4);
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    let victim = space.value("pod", ".items[0].metadata.name");
    let address = space.value(&format!("pod/{victim}"), ".status.podIP");
    space.kubectl(&["delete", "pod", &victim]).good();
    let after = space.wait_for_endpoints("httpd-svc", 4);
    assert!(!after.contains(&address), "the new pod has a new address: {before:?} {after:?}");
    let loops = format!(
        "for n in $(seq 100); do curl -sS --max-time 5 -o /dev/null http://{ip}:8080 || exit 1; done"
    );
    cluster.on("node1", &["sh", "-c", &loops]).good();

    // A process that dies is restarted in its pod.
    let other = space.value("pod", ".items[0].metadata.name");
    let address = space.value(&format!("pod/{other}"), ".status.podIP");
    space.exec(&other, "kill 1");
    eventually("the container is restarted", || {
        let count = space.value(&format!("pod/{other}"), ".status.containerStatuses[0].restartCount");
        if count == "1" { Ok(()) } else { Err(count) }
    });
    assert_eq!(space.value(&format!("pod/{other}"), ".status.podIP"), address);
    space.wait_for_endpoints("httpd-svc", 4);
    cluster.on("node1", &["sh", "-c", &loops]).good();
}

#[test]
fn a_service_without_pods_refuses_at_once() {
    if !may_run("scale") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("scale");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    space.kubectl(&["scale", "deployment", "httpd", "--replicas=8"]).good();
    space.wait_for_endpoints("httpd-svc", 8);
    space.kubectl(&["scale", "deployment", "httpd", "--replicas=0"]).good();
    space.wait_for_endpoints("httpd-svc", 0);
    eventually("connections are refused", || {
        let said = cluster.on("node1", &["curl", "-sS", "--max-time", "2", &format!("http://{ip}:8080")]);
        if said.err.contains("refused") || said.err.contains("Couldn't connect") {
            Ok(())
        } else {
            Err(said.err)
        }
    });
    space.kubectl(&["scale", "deployment", "httpd", "--replicas=4"]).good();
    space.wait_for_endpoints("httpd-svc", 4);
    eventually("it answers again", || {
        let said = cluster.curl("node1", &format!("http://{ip}:8080"));
        if said.out == PAGE { Ok(()) } else { Err(said.err) }
    });
}

#[test]
fn hand_made_endpoints_lead_to_a_server_that_is_no_pod() {
    if !may_run("external") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("external");
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("index.html"), "from outside").expect("a file can be written");
    let client = format!("{}-client", cluster.name);
    let server = Command::new("ip")
        .args(["netns", "exec", &client, "busybox", "httpd", "-f", "-p", "9376", "-h"])
        .arg(folder.path())
        .spawn()
        .expect("a server can be started");
    let _server = crate::harness::Process(server);
    space.apply_example("external-service.yaml");
    let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=external-web", "--no-headers"];
    eventually("the Endpoints are mirrored", || {
        let rows = space.kubectl(&slices).out;
        if rows.contains("9376") && rows.contains("172.30.0.200") { Ok(()) } else { Err(rows) }
    });
    let ip = space.value("svc/external-web", ".spec.clusterIP");
    eventually("the server answers through the Service", || {
        let said = cluster.curl("node1", &format!("http://{ip}:80"));
        if said.out == "from outside" { Ok(()) } else { Err(said.err) }
    });
    let shell = space.shell();
    assert_eq!(space.exec(&shell, "timeout 5 wget -qO- http://external-web").good(), "from outside");
}

#[test]
fn a_chosen_cluster_ip_is_honoured_and_a_wrong_one_refused() {
    if !may_run("chosen") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("chosen");
    let create = |name: &str, ip: &str| {
        space.kubectl(&["create", "service", "clusterip", name, "--tcp=80", &format!("--clusterip={ip}")])
    };
    create("mine", "10.96.0.77").good();
    assert_eq!(space.value("svc/mine", ".spec.clusterIP"), "10.96.0.77");
    let taken = create("yours", "10.96.0.77").bad();
    assert!(
        taken.contains("Service \"yours\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: failed to allocate IP 10.96.0.77: provided IP is already allocated"),
        "{taken}"
    );
    let outside = create("far", "10.10.0.1").bad();
    assert!(
        outside.contains(
            "the provided IP (10.10.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"
        ),
        "{outside}"
    );
    space.kubectl(&["delete", "svc", "mine"]).good();
    create("yours", "10.96.0.77").good();
}

#[test]
fn the_rules_in_the_kernel_can_be_read() {
    if !may_run("rules") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("rules");
    space.apply_example("httpd-service.yaml");
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    eventually("the Service is in the kernel", || {
        let name = format!("{}-node1", cluster.name);
        let table = run(
            Command::new("ip").args(["netns", "exec", &name, "nft", "list", "table", "inet", "portolan"])
        );
        if table.out.contains(&ip) && table.out.contains("rules/httpd-svc") {
            Ok(())
        } else {
            Err(table.out + &table.err)
        }
    });
}

#[test]
fn a_new_template_rolls_out_without_a_failed_request() {
    if !may_run("rollout") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("rollout");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    space.wait_for_endpoints("httpd-svc", 4);
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    let name = format!("{}-node2", cluster.name);
    let loops = format!(
        "n=0; while [ $n -lt 2000 ] && [ ! -e $0 ]; do curl -sS --max-time 5 -o /dev/null http://{ip}:8080 || exit 1; n=$((n+1)); done"
    );
    let stop = cluster.folder.path().join("rolled-out");
    let client = Command::new("ip").args(["netns", "exec", &name, "sh", "-c", &loops]).arg(&stop).spawn();
    let mut client = crate::harness::Process(client.expect("a client can be started"));
    space.kubectl(&["set", "image", "deployment/httpd", "httpd=httpd:2.4"]).good();
    space.wait_for_rollout();
    let images = space.value("pod", ".items[*].spec.containers[0].image");
    assert_eq!(images.split_whitespace().filter(|image| *image == "httpd:2.4").count(), 4, "{images}");
    std::fs::write(&stop, "").expect("a file can be written");
    assert!(client.0.wait().expect("the client ends").success(), "a request failed during the rollout");
    space.kubectl(&["rollout", "undo", "deployment/httpd"]).good();
    space.wait_for_rollout();
}

#[test]
fn a_deleted_namespace_takes_its_content_along() {
    if !may_run("namespace") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("doomed");
    space.deploy(2);
    space.apply_example("httpd-service.yaml");
    cluster.kubectl(&["delete", "namespace", "doomed", "--timeout=60s"]).good();
    let left = cluster.kubectl(&["get", "pods,services,endpointslices", "-n", "doomed", "-o", "name"]).good();
    assert_eq!(left, "");
    let said = space.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\n").bad();
    assert!(said.contains("namespaces \"doomed\" not found"), "{said}");
}
