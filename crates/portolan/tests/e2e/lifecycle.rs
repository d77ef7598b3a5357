//! Starting, stopping, crashing, continuing, removing.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use crate::harness::{Cluster, PATIENCE, PROGRAM, Process, eventually, may_run, run, start_ready};

#[test]
fn a_cluster_continues_where_it_was_after_a_crash_and_after_a_stop() {
    if !may_run("continue") {
        return;
    }
    let cluster = Arc::new(Cluster::new());
    cluster.start();
    let space = cluster.space("kept");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    space.wait_for_endpoints("httpd-svc", 4);
    let ip = space.value("svc/httpd-svc", ".spec.clusterIP");
    let containers = || {
        let ids = space.value("pod", ".items[*].status.containerStatuses[0].containerID");
        let mut ids: Vec<String> = ids.split_whitespace().map(str::to_owned).collect();
        ids.sort();
        ids
    };
    let before = containers();
    assert_eq!(before.len(), 4);
    for signal in [Signal::KILL, Signal::TERM] {
        cluster.end(signal);
        // Nobody watches over them, yet the pods and the rules are there.
        assert!(cluster.curl("node1", &format!("http://{ip}:8080")).good().contains("It works!"));
        cluster.start();
        space.wait_for_endpoints("httpd-svc", 4);
        assert_eq!(containers(), before, "pods that still run are adopted, not started again");
        let restarts = space.value("pod", ".items[*].status.containerStatuses[0].restartCount");
        assert_eq!(restarts, "0 0 0 0");
        assert!(cluster.curl("node2", &format!("http://{ip}:8080")).good().contains("It works!"));
    }
    space.kubectl(&["scale", "deployment", "httpd", "--replicas=1"]).good();
    space.wait_for_endpoints("httpd-svc", 1);
}

#[test]
fn a_node_whose_object_is_deleted_comes_back_and_runs_pods() {
    if !may_run("node") {
        return;
    }
    let cluster = Arc::new(Cluster::new());
    cluster.start();
    let space = cluster.space("again");
    let node = format!("{}-node2", cluster.name);
    let pod_cidr = space.value(&format!("node/{node}"), ".spec.podCIDR");
    space.deploy(4);
    space.kubectl(&["delete", "node", &node]).good();
    eventually("the node is ready again", || {
        let said = space.kubectl(&["get", "node", &node, "--no-headers"]);
        if said.out.contains(" Ready ") { Ok(()) } else { Err(said.out + &said.err) }
    });
    assert_eq!(space.value(&format!("node/{node}"), ".spec.podCIDR"), pod_cidr);
    space.wait_for_rollout();
    let there = format!(r#"{{"spec":{{"nodeName":"{node}"}}}}"#);
    space.kubectl(&["run", "p", "--image=httpd", "--overrides", &there]).good();
    space.kubectl(&["wait", "pod/p", "--for=condition=Ready", "--timeout=30s"]).good();
    let ip = space.value("pod/p", ".status.podIP");
    assert!(cluster.curl("node1", &format!("http://{ip}")).good().contains("It works!"));
}

#[test]
fn a_node_whose_link_is_down_is_not_ready_and_its_endpoints_go_and_come_back() {
    if !may_run("link") {
        return;
    }
    let cluster = Arc::new(Cluster::new());
    cluster.start();
    let space = cluster.space("link");
    space.deploy(4);
    space.apply_example("httpd-service.yaml");
    let all = space.wait_for_endpoints("httpd-svc", 4);
    let node = format!("node/{}-node2", cluster.name);
    let ready = |what: &str| space.value(&node, &format!(".status.conditions[?(@.type==\"Ready\")].{what}"));
    let routes = || cluster.on("node2", &["ip", "route"]).good();
    let before = routes();
    assert!(before.contains("default via 172.30.0.1 dev eth0") && before.contains("10.244."), "{before}");
    let here = space.value("pod", &format!(".items[?(@.spec.nodeName==\"{}\")].status.podIP", &node[5..]));
    assert!(!here.is_empty(), "a pod of the four is on node2");

    cluster.on("node2", &["ip", "link", "set", "eth0", "down"]).good();
    eventually("the node says why it is not ready", || match (ready("status"), ready("message")) {
        (status, message) if status == "False" && message == "network link eth0 is down" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // As with a machine that is gone, after the 40 s of its Lease.
    space.wait_for_endpoints("httpd-svc", 4 - here.split_whitespace().count());
    cluster.on("node2", &["ip", "link", "set", "eth0", "up"]).good();
    let begun = std::time::Instant::now();
    while routes() != before {
        assert!(begun.elapsed().as_secs() < 1, "{}\nwas\n{before}", routes());
    }
    assert_eq!(space.wait_for_endpoints("httpd-svc", 4), all);
    eventually("the node is ready again", || {
        if ready("status") == "True" { Ok(()) } else { Err(String::new()) }
    });
    for ip in here.split_whitespace() {
        assert!(cluster.curl("node1", &format!("http://{ip}")).good().contains("It works!"));
    }
}

#[test]
fn an_image_is_loaded_to_all_nodes_by_command() {
    if !may_run("image") {
        return;
    }
    let cluster = Cluster::shared();
    let busybox = std::fs::read("/bin/busybox").expect("busybox is there");
    let image = |name: &str, said: &str| {
        let file =
            |path: &str, mode, contents| node::image::File::Regular { path: path.into(), mode, contents };
        let image = node::image::Image {
            names: vec![name.into()],
            entrypoint: vec!["/busybox".into(), "cat".into(), "/said".into()],
            command: vec![],
            env: vec![],
            files: vec![file("busybox", 0o755, busybox.clone()), file("said", 0o644, said.into())],
        };
        let path = cluster.folder.path().join("loaded.tar");
        std::fs::write(&path, image.to_archive()).expect("a file can be written");
        path
    };
    let load = |path: &std::path::Path| {
        run(Command::new(PROGRAM).args(["image", "load", "--name", &cluster.name]).arg(path))
    };
    let space = cluster.space("image");
    // The second has the same name and other contents.
    for said in ["first", "second"] {
        let out = load(&image("loaded:1", said)).good();
        assert!(out.contains("loaded.tar: docker.io/library/loaded:1"), "{out}");
        assert!(out.contains("waiting for 3 nodes"), "{out}");
        for node in 1..=3 {
            assert!(out.contains(&format!("{}-node{node} has them after ", cluster.name)), "{out}");
        }
        space.kubectl(&["run", said, "--image=loaded:1", "--restart=Never"]).good();
        eventually("the image runs", || {
            let logs = space.kubectl(&["logs", said]);
            if logs.out == said { Ok(()) } else { Err(logs.out + &logs.err) }
        });
    }
    let broken = cluster.folder.path().join("broken.tar");
    std::fs::write(&broken, "no archive").expect("a file can be written");
    let said = load(&broken).bad();
    assert!(said.contains("broken.tar is no archive of images that could be loaded: "), "{said}");
    let nowhere = run(Command::new(PROGRAM).args(["image", "load", "--name", "nosuch"]).arg(&broken)).bad();
    assert!(nowhere.contains("there is no cluster nosuch"), "{nowhere}");
}

#[test]
fn down_removes_every_trace_also_after_a_crash() {
    if !may_run("down") {
        return;
    }
    let cluster = Arc::new(Cluster::new());
    cluster.start();
    let space = cluster.space("gone");
    space.deploy(2);
    cluster.end(Signal::KILL);
    let said = cluster.down().good();
    assert!(said.starts_with(&format!("cluster {} is removed", cluster.name)), "{said}");
    let namespaces = run(Command::new("ip").args(["netns", "list"])).good();
    assert!(!namespaces.contains(&cluster.name), "{namespaces}");
    let images = ["images/busybox.tar", "images/httpd.tar"].map(|name| cluster.data_dir().join(name));
    assert_eq!(files(&cluster.data_dir()), images, "only what the test has put there is left");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
    let folder = cluster.folder.path().to_string_lossy().into_owned();
    assert!(!mounts.contains(&folder), "{mounts}");
    for process in std::fs::read_dir("/proc").expect("processes can be listed").flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        assert!(!line.contains(&folder), "a process is left: {line}");
    }
    assert_no_cgroup_of(&cluster.name);
    assert!(cluster.down().good().contains("nothing was removed"));
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// A cgroup is left as long as a process is in it.
fn assert_no_cgroup_of(name: &str) {
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("cgroups can be listed").flatten() {
        for group in std::fs::read_dir(hierarchy.path()).into_iter().flatten().flatten() {
            let found = group.file_name().to_string_lossy().into_owned();
            assert!(!found.contains(name), "a cgroup is left: {found}");
        }
    }
}

#[test]
fn a_port_or_a_data_directory_in_use_is_a_sentence() {
    if !may_run("in-use") {
        return;
    }
    let cluster = Cluster::shared();
    let other = Cluster::new();
    let mut command = Command::new(PROGRAM);
    command.args([
        "up",
        "--sandbox",
        "1",
        "--name",
        &other.name,
        "--bind",
        &format!("127.0.0.1:{}", cluster.port),
    ]);
    let said = run(command.arg("--data-dir").arg(other.data_dir())).bad();
    assert!(said.contains("is another server running there? choose another address with --bind"), "{said}");
    let mut command = Command::new(PROGRAM);
    command.args([
        "up",
        "--sandbox",
        "1",
        "--name",
        &other.name,
        "--bind",
        &format!("127.0.0.1:{}", other.port),
    ]);
    let said = run(command.arg("--data-dir").arg(cluster.data_dir())).bad();
    assert!(said.contains(&format!("holds the data of cluster {}", cluster.name)), "{said}");
}

#[test]
fn a_demo_removes_no_cluster_but_its_own() {
    if !may_run("demo") {
        return;
    }
    let name = format!("e{}demo", std::process::id());
    let folder = std::path::Path::new("/var/lib/portolan").join(&name);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    std::fs::write(folder.join("store.redb"), "precious").expect("a file can be written");
    let said = run(Command::new(PROGRAM).args(["demo", "--exit", "--name", &name]));
    let kept = std::fs::read_to_string(folder.join("store.redb"));
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    assert!(said.bad().contains("is a cluster that no demo has made"));
    assert_eq!(kept.expect("the file is still there"), "precious");
}

#[test]
fn a_missing_runtime_is_a_sentence() {
    if !may_run("no-runtime") {
        return;
    }
    let cluster = Cluster::new();
    let said = run(cluster.up().env("PATH", "/nonexistent")).bad();
    assert!(
        said.contains("containerd was not found on PATH; install it (apt-get install containerd)"),
        "{said}"
    );
}

#[test]
fn the_service_manager_is_told_when_everything_serves() {
    if !may_run("notify") {
        return;
    }
    let cluster = Cluster::new();
    let path = cluster.folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket can be made");
    manager.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let mut up = cluster.up();
    let started = start_ready(up.env("NOTIFY_SOCKET", &path), &cluster.folder.path().join("log"));
    let (process, _) = started.unwrap_or_else(|log| panic!("the cluster does not start:\n{log}"));
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).expect("a message comes");
    assert_eq!(&buffer[..length], b"READY=1");
    *cluster.process.lock().expect("no test has panicked with it") = Some(process);
    cluster.end(Signal::TERM);
    let length = manager.recv(&mut buffer).expect("a message comes");
    assert_eq!(&buffer[..length], b"STOPPING=1");
}

#[test]
fn without_a_sandbox_the_machine_itself_is_the_node() {
    if !may_run("solo") {
        return;
    }
    // A namespace plays the machine, so that the real one is left alone.
    let cluster = Cluster::new();
    let machine = testbed::Sandbox::ensure(&cluster.name, 1).expect("a namespace can be made");
    let within = |program: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", machine.nodes[0].namespace.path().display())).arg(program);
        command.env("KUBECONFIG", cluster.data_dir().join("kubeconfig")).env("HOME", cluster.folder.path());
        command
    };
    let mut up = within(PROGRAM);
    up.args(["up", "--name", &format!("{}solo", cluster.name), "--data-dir"]).arg(cluster.data_dir());
    let started = start_ready(&mut up, &cluster.folder.path().join("log"));
    let (process, _) = started.unwrap_or_else(|log| panic!("the cluster does not start:\n{log}"));
    let kubectl = |arguments: &[&str]| run(within("kubectl").args(arguments));
    kubectl(&["apply", "-f", &crate::harness::example("httpd-deployment.yaml")]).good();
    kubectl(&["apply", "-f", &crate::harness::example("httpd-service.yaml")]).good();
    kubectl(&["rollout", "status", "deployment/httpd", "--timeout=60s"]).good();
    eventually("a pod reaches the Service by its name", || {
        let asked = ["exec", "deployment/httpd", "--", "wget", "-qO-", "http://httpd-svc:8080"];
        let said = kubectl(&asked);
        if said.out.contains("It works!") { Ok(()) } else { Err(said.err) }
    });
    drop(process);
    let mut down = within(PROGRAM);
    down.args(["down", "--name", &format!("{}solo", cluster.name), "--data-dir"]).arg(cluster.data_dir());
    run(&mut down).good();
    let links = run(within("ip").args(["-brief", "link"])).good();
    assert!(!links.contains("cni0") && !links.contains("veth"), "{links}");
    assert_eq!(run(within("nft").args(["list", "tables"])).good(), "");
    let routes = run(within("ip").args(["route", "show", "table", "local"])).good();
    assert!(!routes.contains("10.96.0.10"), "{routes}");
}

#[test]
fn the_parts_work_as_single_processes() {
    if !may_run("parts") {
        return;
    }
    let cluster = Cluster::new();
    let sandbox = testbed::Sandbox::ensure(&cluster.name, 1).expect("a sandbox can be made");
    let underlay = format!("{}-underlay", cluster.name);
    let node = format!("{}-node1", cluster.name);
    let kubeconfig = cluster.data_dir().join("kubeconfig");
    let within = |namespace: &str, arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg(PROGRAM).args(arguments);
        command.env("KUBECONFIG", &kubeconfig).env("HOME", cluster.folder.path());
        command
    };
    let log = |name: &str| cluster.folder.path().join(name);
    let data_dir = cluster.data_dir();
    let bind = format!("{}:6443", sandbox.address);
    let ready = |mut command: Command, name: &str| {
        start_ready(&mut command, &log(name)).unwrap_or_else(|log| panic!("{name}:\n{log}")).0
    };
    let mut api = within(&underlay, &["apiserver", "--bind", &bind, "--data-dir"]);
    api.arg(&data_dir);
    let _api = ready(api, "apiserver");
    let spawn = |mut command: Command, name: &str| {
        let log = std::fs::File::create(log(name)).expect("a log can be made");
        Process(command.stderr(log).spawn().expect("the part can be started"))
    };
    let _controllers = spawn(within(&underlay, &["controllers"]), "controllers");
    let dns = within(
        &underlay,
        &["dns", "--bind", &format!("{}:53", sandbox.address), "--upstream", "127.0.0.1:9"],
    );
    let _dns = ready(dns, "dns");
    let node_data = data_dir.join("nodes").join(&node);
    let mut agent = within(&node, &["node", "--hostname-override", &node, "--data-dir"]);
    agent.arg(&node_data);
    std::fs::create_dir_all(&node_data).expect("a folder can be made");
    node::image::write_stand_ins(&node_data.join("images")).expect("images can be made");
    let agent = ready(agent, "node");
    let _proxy = spawn(within(&node, &["proxy", "--hostname-override", &node]), "proxy");
    let kubectl = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{underlay}")).arg("kubectl").args(arguments);
        run(command.env("KUBECONFIG", &kubeconfig).env("HOME", cluster.folder.path()))
    };
    kubectl(&["apply", "-f", &crate::harness::example("httpd-deployment.yaml")]).good();
    kubectl(&["apply", "-f", &crate::harness::example("httpd-service.yaml")]).good();
    kubectl(&["rollout", "status", "deployment/httpd", "--timeout=60s"]).good();
    let ip = kubectl(&["get", "svc", "httpd-svc", "-o", "jsonpath={.spec.clusterIP}"]).good();
    eventually("the Service answers", || {
        let said = cluster.curl("node1", &format!("http://{ip}:8080"));
        if said.out.contains("It works!") { Ok(()) } else { Err(said.err) }
    });
    let name = ["dig", "+short", &format!("@{}", sandbox.address), "httpd-svc.default.svc.cluster.local"];
    assert_eq!(cluster.on("node1", &name).good(), ip);
    drop(agent);
    run(&mut within(
        &node,
        &["node", "--hostname-override", &node, "--cleanup", "--data-dir", &node_data.to_string_lossy()],
    ))
    .good();
    let images = ["images/busybox.tar", "images/httpd.tar"].map(|name| node_data.join(name));
    assert_eq!(files(&node_data), images, "only what the test has put there is left");
    assert_no_cgroup_of(&node);
}
