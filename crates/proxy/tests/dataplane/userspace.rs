//! userspace mode: the same connections, by a proxy in this process.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proxy::iptables::{self, Iptables};
use proxy::userspace::{self, Userspace};
use proxy::xtables::Place;
use proxy::{Config, Mode, ModeName, Touched};
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::scene::{
    MakeMode, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, TARGET, config, service, slice, slice_of,
};
use crate::server::{Asker, Connection, ask};

const VIP: &str = "10.96.0.20";
const FRONT: &str = "10.96.0.20:8080";
const NODE_PORT: &str = "192.0.2.1:31688";
const EXTERNAL: &str = "198.51.100.7:8080";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];
/// An address of a pod's network that nobody has.
const NOBODY: &str = "10.244.2.99";

fn place(node: &Namespace) -> Place {
    Place::namespace(File::open(format!("/run/netns/{}", node.name)).unwrap())
}

pub(crate) fn mode(node: &Namespace) -> Box<dyn Mode> {
    Box::new(Userspace::new(place(node)))
}

/// A node with old tables in use, as a kubelet shows it.
fn legacy(node: &Namespace) -> Box<dyn Mode> {
    run(node, "iptables-legacy", "-w 5 -t mangle -N KUBE-IPTABLES-HINT");
    mode(node)
}

fn scene() -> Option<Scene> {
    scene_of(mode)
}

fn scene_of(make: MakeMode) -> Option<Scene> {
    if Command::new("iptables-restore").arg("--version").output().is_err() {
        println!("skipped: the package iptables is not installed");
        return None;
    }
    let scene = Scene::in_mode(make, Config { mode: ModeName::Userspace, ..config() })?;
    scene.client.ip(&format!("route add 198.51.100.7 via {NODE}"));
    Some(scene)
}

/// Runs a program in the namespace; returns what it prints.
fn run(node: &Namespace, program: &str, arguments: &str) -> String {
    let output = node.run(|| Command::new(program).args(arguments.split(' ')).output().unwrap());
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn web(spec: Value) -> Value {
    let mut fields = json!({
        "type": "NodePort", "ports": [{"name": "http", "port": 8080, "nodePort": 31688}],
        "externalIPs": ["198.51.100.7"]
    });
    for (field, value) in spec.as_object().unwrap() {
        fields[field] = value.clone();
    }
    service("web", VIP, fields)
}

#[test]
fn tcp_reaches_all_endpoints_from_everywhere_with_both_kinds_of_tables_and_they_see_the_node() {
    for make in [mode as MakeMode, legacy] {
        let Some(mut scene) = scene_of(make) else { return };
        scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
        for from in [&scene.pod1, &scene.node, &scene.client] {
            for front in [FRONT, NODE_PORT, EXTERNAL] {
                let spread = scene.spread(from, front, 10);
                assert_eq!(
                    spread.values().collect::<Vec<_>>(),
                    [&5, &5],
                    "{} -> {front}: in turn",
                    from.name
                );
            }
        }
        assert_eq!(scene.spread(&scene.node, "127.0.0.1:31688", 4).len(), 2, "localhost");
        for from in [&scene.pod2, &scene.client] {
            let client = ask(from, FRONT).unwrap().client.to_string();
            assert!(["10.244.1.1", "10.244.2.1"].contains(&client.as_str()), "{client}");
        }
    }
}

#[test]
fn udp_reaches_endpoints_from_everywhere_and_leaves_those_that_go() {
    let Some(mut scene) = scene() else { return };
    let ports = json!([{"name": "http", "port": 8080, "nodePort": 31688, "protocol": "UDP"}]);
    scene.apply(&[web(json!({"ports": ports})), slice_of("web-1", "web", TARGET, "UDP", &BOTH[..1])]);
    let mut askers = Vec::new();
    for from in [&scene.pod2, &scene.node, &scene.client] {
        for front in [FRONT, NODE_PORT, EXTERNAL] {
            let asker = Asker::new(from, front);
            let answer = asker.ask().unwrap_or_else(|error| panic!("{} -> {front}: {error}", from.name));
            assert_eq!(answer.server, "pod1");
            askers.push(asker);
        }
    }
    let asker = Asker::new(&scene.node, "127.0.0.1:31688");
    assert_eq!(asker.ask().unwrap().server, "pod1", "localhost");
    scene.apply(&[slice_of("web-1", "web", TARGET, "UDP", &BOTH[1..])]);
    for asker in &askers {
        assert_eq!(asker.ask_on().unwrap().server, "pod2");
    }
    // Clients that go on sending find the proxy ports of the next process.
    scene.restart();
    for asker in &askers {
        assert_eq!(asker.ask_on().unwrap().server, "pod2");
    }
}

#[test]
fn udp_passes_over_an_endpoint_that_does_not_listen() {
    let Some(mut scene) = scene() else { return };
    let ports = json!([{"name": "http", "port": 53, "protocol": "UDP"}]);
    scene.apply(&[
        service("dns", VIP, json!({"ports": ports})),
        slice_of("dns-1", "dns", TARGET, "UDP", &BOTH[..1]),
        slice_of("dns-2", "dns", 81, "UDP", &BOTH[1..]),
    ]);
    for _ in 0..6 {
        let asker = Asker::new(&scene.client, &format!("{VIP}:53"));
        assert_eq!(asker.ask().unwrap().server, "pod1");
    }
}

#[test]
fn a_client_stays_with_its_endpoint_for_the_time_of_its_affinity() {
    let Some(mut scene) = scene() else { return };
    let affinity = json!({
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}
    });
    scene.apply(&[web(affinity), slice("web-1", "web", &BOTH)]);
    assert_eq!(scene.spread(&scene.client, FRONT, 10).len(), 1);
    assert_eq!(scene.spread(&scene.pod1, FRONT, 10).len(), 1);
    let before = ask(&scene.client, FRONT).unwrap().server;
    let _takes_a_turn = ask(&scene.pod2, FRONT).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    let mut after = vec![ask(&scene.client, FRONT).unwrap().server];
    std::thread::sleep(Duration::from_millis(1200));
    after.push(ask(&scene.client, FRONT).unwrap().server);
    assert!(after.iter().any(|server| *server != before), "{before} {after:?}");
}

#[test]
fn a_dead_endpoint_is_tried_and_the_client_does_not_notice() {
    let Some(mut scene) = scene() else { return };
    // One whose port is closed, one that never answers, one that serves.
    scene.apply(&[
        web(json!({})),
        slice("web-1", "web", &[(POD1, "node"), (NOBODY, "node")]),
        slice_of("web-2", "web", 81, "TCP", &BOTH[1..]),
    ]);
    for _ in 0..6 {
        let start = Instant::now();
        assert_eq!(ask(&scene.client, FRONT).unwrap().server, "pod1");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    scene.apply(&[slice("web-1", "web", &[])]);
    let error = ask(&scene.client, FRONT).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

#[test]
fn policies_and_source_ranges_are_kept() {
    let Some(mut scene) = scene() else { return };
    let local = [(POD1, "node"), (POD2, "elsewhere")];
    scene.apply(&[web(json!({"externalTrafficPolicy": "Local"})), slice("web-1", "web", &local)]);
    for front in [NODE_PORT, EXTERNAL] {
        assert_eq!(scene.spread(&scene.client, front, 6).keys().collect::<Vec<_>>(), ["pod1"]);
        assert_eq!(scene.spread(&scene.pod1, front, 6).len(), 2, "pods get any endpoint");
        assert_eq!(scene.spread(&scene.node, front, 6).len(), 2, "and so does the node");
    }
    scene.apply(&[slice("web-1", "web", &local[1..])]);
    assert_eq!(ask(&scene.client, NODE_PORT).unwrap_err().kind(), ErrorKind::TimedOut, "dropped");
    assert_eq!(ask(&scene.pod1, NODE_PORT).unwrap().server, "pod2");
    scene.apply(&[slice("web-1", "web", &[])]);
    for (from, front) in [(&scene.client, NODE_PORT), (&scene.pod1, FRONT), (&scene.node, FRONT)] {
        assert_eq!(ask(from, front).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{front}");
    }
    let mut balanced = web(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.244.1.0/24"]}));
    balanced["spec"]["externalIPs"] = json!([]);
    balanced["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}});
    scene.apply(&[balanced, slice("web-1", "web", &BOTH)]);
    assert!(ask(&scene.pod1, EXTERNAL).is_ok());
    assert_eq!(ask(&scene.client, EXTERNAL).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn nobody_gets_in_past_the_rules() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let rules = run(&scene.node, "iptables-save", "-t nat");
    let (_, behind) = rules.split_once("--to-ports ").unwrap();
    let proxy_port = behind.lines().next().unwrap().trim();
    for from in [&scene.client, &scene.pod1] {
        let error = ask(from, &format!("{NODE}:{proxy_port}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn ipv6_works_like_ipv4() {
    let Some(mut scene) = scene() else { return };
    let ports = json!([
        {"name": "http", "port": 8080, "nodePort": 31688},
        {"name": "dns", "port": 53, "nodePort": 31653, "protocol": "UDP"}
    ]);
    let mut slice_of_both = slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")]);
    slice_of_both["ports"] = json!([
        {"name": "http", "port": TARGET, "protocol": "TCP"}, {"name": "dns", "port": TARGET, "protocol": "UDP"}
    ]);
    scene.apply(&[
        web(json!({"clusterIPs": [VIP, "fd00:96::20"], "ports": ports, "externalIPs": []})),
        slice_of_both,
    ]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        for front in ["[fd00:96::20]:8080", "[2001:db8::1]:31688"] {
            assert_eq!(scene.spread(from, front, 4).len(), 2, "{} -> {front}", from.name);
        }
        assert!(Asker::new(from, "[fd00:96::20]:53").ask().is_ok(), "{}", from.name);
    }
    assert!(ask(&scene.node, "[::1]:31688").is_ok());
    assert!(Asker::new(&scene.node, "[::1]:31653").ask().is_ok());
    // Now the node has an address of this family, so the proxy ports of UDP move there.
    scene.node_facts.addresses.push("2001:db8::1".parse().unwrap());
    scene.restart();
    for (from, front) in [
        (&scene.pod1, "[fd00:96::20]:53"),
        (&scene.node, "[fd00:96::20]:53"),
        (&scene.client, "[2001:db8::1]:31653"),
        (&scene.node, "[::1]:31653"),
    ] {
        assert!(Asker::new(from, front).ask().is_ok(), "{} -> {front}", from.name);
    }
}

/// Serves each connection at a port of the namespace by `work`.
fn serve_with(namespace: &Namespace, port: u16, work: fn(TcpStream)) {
    let listener = namespace.run(|| TcpListener::bind(("0.0.0.0", port))).unwrap();
    namespace.spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || work(stream));
        }
    });
}

fn connect(from: &Namespace, to: &str) -> TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    let stream = from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2))).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Says how many bytes came, and their sum, once the sender has ended its direction.
fn count_and_say(mut stream: TcpStream) {
    let (mut count, mut sum, mut buffer) = (0_u64, 0_u64, vec![0; 1 << 16]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        count += length as u64;
        sum = buffer[..length]
            .iter()
            .fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
    let _ = write!(stream, "{count} {sum}");
}

fn echo(mut stream: TcpStream) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let _ = std::io::copy(&mut stream, &mut writer);
    let _ = writer.shutdown(Shutdown::Write);
}

#[test]
fn one_direction_may_end_before_the_other() {
    let Some(mut scene) = scene() else { return };
    serve_with(&scene.pod1, 90, count_and_say);
    scene.apply(&[web(json!({})), slice_of("web-1", "web", 90, "TCP", &BOTH[..1])]);
    let mut stream = connect(&scene.client, FRONT);
    stream.write_all(b"ab").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("2 {}", 97 * 31 + 98));
}

#[test]
fn a_hundred_megabytes_come_through_intact_both_ways() {
    const BYTES: usize = 100_000_000;
    let Some(mut scene) = scene() else { return };
    serve_with(&scene.pod1, 91, echo);
    scene.apply(&[web(json!({})), slice_of("web-1", "web", 91, "TCP", &BOTH[..1])]);
    let byte = |place: usize| (place.wrapping_mul(2_654_435_761) >> 13) as u8;
    let mut stream = connect(&scene.client, FRONT);
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        for start in (0..BYTES).step_by(100_000) {
            let chunk: Vec<_> = (start..start + 100_000).map(byte).collect();
            writer.write_all(&chunk).unwrap();
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let (mut place, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let length = stream.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        assert!(buffer[..length].iter().enumerate().all(|(at, found)| *found == byte(place + at)), "{place}");
        place += length;
    }
    sender.join().unwrap();
    assert_eq!(place, BYTES);
}

#[test]
fn a_reader_that_is_slow_makes_the_writer_wait() {
    let Some(mut scene) = scene() else { return };
    serve_with(&scene.pod1, 92, |stream| {
        std::thread::sleep(Duration::from_secs(30));
        drop(stream);
    });
    scene.apply(&[web(json!({})), slice_of("web-1", "web", 92, "TCP", &BOTH[..1])]);
    let mut stream = connect(&scene.client, FRONT);
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let chunk = vec![0; 1 << 20];
    // All buffers on the way together hold far less than this.
    let stopped = (0..200).find_map(|_| stream.write_all(&chunk).err());
    assert_eq!(stopped.unwrap().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_thousand_connections_live_side_by_side() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let mut connections: Vec<_> =
        (0..1000).map(|_| Connection::open(&scene.client, FRONT).unwrap()).collect();
    for _ in 0..2 {
        for connection in &mut connections {
            connection.ask().unwrap();
        }
    }
}

/// Asks once from the namespace of this thread.
fn ask_here(to: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to.parse().unwrap(), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0])
}

#[test]
fn endpoints_change_under_traffic_and_no_connection_fails() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let mut lasting = Connection::open(&scene.client, FRONT).unwrap();
    let first = lasting.ask().unwrap().server;
    let stop = Arc::new(AtomicBool::new(false));
    let (report, reported) = std::sync::mpsc::channel();
    let stopped = stop.clone();
    scene.client.spawn(move || {
        let mut asked = 0;
        let mut outcome = Ok(());
        while outcome.is_ok() && !stopped.load(Ordering::Relaxed) {
            outcome = ask_here(FRONT);
            asked += 1;
        }
        report.send((asked, outcome)).unwrap();
    });
    for round in 0..30 {
        scene.apply(&[slice("web-1", "web", &BOTH[round % 2..][..1])]);
        std::thread::sleep(Duration::from_millis(10));
    }
    stop.store(true, Ordering::Relaxed);
    let (asked, outcome) = reported.recv_timeout(Duration::from_secs(10)).unwrap();
    outcome.unwrap();
    assert!(asked > 30, "{asked}");
    assert_eq!(lasting.ask().unwrap().server, first, "an open connection goes on");
}

#[test]
fn a_new_process_replaces_rules_that_lead_to_a_dead_one() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    scene.restart();
    for front in [FRONT, NODE_PORT] {
        assert_eq!(scene.spread(&scene.client, front, 6).len(), 2);
    }
}

#[test]
fn a_change_between_iptables_and_userspace_mode_leaves_no_rule_and_breaks_no_connection() {
    let Some(mut scene) = scene() else { return };
    scene.note_only(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let mut before = Iptables::new(place(&scene.node));
    scene.with_sight(|sight| before.sync(sight, &Touched::Everything)).unwrap();
    let kernel_rules = |scene: &Scene| run(&scene.node, "iptables-save", "-t nat").contains("KUBE-SERVICES");
    let portals = |scene: &Scene| run(&scene.node, "iptables-save", "-t nat").contains("KUBE-PORTALS");
    let mut lasting = Connection::open(&scene.client, FRONT).unwrap();
    lasting.ask().unwrap();

    scene.restart();
    iptables::cleanup(&place(&scene.node)).unwrap();
    assert!(portals(&scene) && !kernel_rules(&scene));
    assert_eq!(scene.spread(&scene.client, FRONT, 10).values().collect::<Vec<_>>(), [&5, &5]);
    lasting.ask().unwrap();

    scene.with_sight(|sight| before.sync(sight, &Touched::Everything)).unwrap();
    let mut proxied = Connection::open(&scene.client, NODE_PORT).unwrap();
    userspace::cleanup(&place(&scene.node)).unwrap();
    assert!(!portals(&scene) && kernel_rules(&scene));
    for connection in [&mut lasting, &mut proxied] {
        connection.ask().unwrap();
    }
    assert!(ask(&scene.client, FRONT).is_ok());
}

#[test]
fn rules_that_somebody_removed_come_back() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    run(&scene.node, "iptables", "-w 5 -t nat -F PREROUTING");
    assert!(ask(&scene.client, NODE_PORT).is_err());
    scene.tend();
    assert!(ask(&scene.client, NODE_PORT).is_ok());
}

#[test]
fn cleanup_leaves_rules_of_others() {
    let Some(mut scene) = scene() else { return };
    run(&scene.node, "iptables", "-w 5 -t nat -N CNI-HOSTPORT");
    run(&scene.node, "iptables", "-w 5 -t nat -A PREROUTING -p tcp --dport 7 -j CNI-HOSTPORT");
    run(&scene.node, "iptables", "-w 5 -A FORWARD -s 10.9.0.0/16 -j DROP");
    let rules = |node: &Namespace| -> Vec<String> {
        let saved = run(node, "iptables-save", "-t nat") + &run(node, "iptables-save", "-t filter");
        let saved = saved.lines().filter(|line| line.starts_with("-A") || line.starts_with(":KUBE"));
        saved.map(str::to_owned).collect()
    };
    let before = rules(&scene.node);
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    assert_ne!(rules(&scene.node), before);
    userspace::cleanup(&place(&scene.node)).unwrap();
    assert_eq!(rules(&scene.node), before);
    userspace::cleanup(&place(&scene.node)).unwrap();
}

#[test]
#[ignore = "prints figures"]
fn throughput_beside_a_direct_connection() {
    const BYTES: usize = 2_000_000_000;
    let Some(mut scene) = scene() else { return };
    serve_with(&scene.pod1, 93, count_and_say_fast);
    scene.apply(&[web(json!({})), slice_of("web-1", "web", 93, "TCP", &BOTH[..1])]);
    scene.client.ip(&format!("route replace {POD1} via {NODE}"));
    let measure = |to: &str| {
        let mut stream = connect(&scene.client, to);
        let (chunk, start) = (vec![7; 1 << 18], Instant::now());
        for _ in 0..BYTES / chunk.len() {
            stream.write_all(&chunk).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_string(&mut String::new()).unwrap();
        BYTES as f64 * 8.0 / 1e9 / start.elapsed().as_secs_f64()
    };
    for _ in 0..3 {
        let (direct, proxied) = (measure(&format!("{POD1}:93")), measure(FRONT));
        println!("direct {direct:.1} Gbit/s, through the proxy {proxied:.1}: {:.2}", proxied / direct);
    }
    scene.apply(&[slice("web-1", "web", &BOTH[..1])]);
    let rate = |to: &str| {
        let start = Instant::now();
        (0..2000).for_each(|_| drop(ask(&scene.client, to).unwrap()));
        2000.0 / start.elapsed().as_secs_f64()
    };
    let (direct, proxied) = (rate(&format!("{POD1}:{TARGET}")), rate(FRONT));
    println!("direct {direct:.0} connections/s, through the proxy {proxied:.0}: {:.2}", proxied / direct);
}

#[test]
#[ignore = "prints times and takes a while"]
fn thousands_of_services_have_doors_and_a_new_endpoint_costs_no_rule() {
    const SERVICES: u16 = 5000;
    let Some(mut scene) = scene() else { return };
    let objects: Vec<_> = (0..SERVICES)
        .flat_map(|number| {
            let [high, low] = number.to_be_bytes();
            let name = format!("svc{number}");
            let endpoints = [1, 2, 3].map(|pod| format!("10.245.{high}.{}", low.wrapping_add(pod)));
            let endpoints = endpoints.each_ref().map(|address| (address.as_str(), "elsewhere"));
            let slice = slice(&format!("{name}-1"), &name, &endpoints);
            [service(&name, &format!("10.97.{high}.{low}"), json!({})), slice]
        })
        .collect();
    println!("{SERVICES} Services with 3 endpoints each: {}", scene.timed(&objects));
    println!("one more Service: {}", scene.timed(&[web(json!({})), slice("web-1", "web", &BOTH[..1])]));
    assert_eq!(ask(&scene.client, FRONT).unwrap().server, "pod1");
    println!("one endpoint changes: {}", scene.timed(&[slice("web-1", "web", &BOTH[1..])]));
    assert_eq!(ask(&scene.client, FRONT).unwrap().server, "pod2");
    let start = Instant::now();
    scene.tend();
    println!("a look at whether all is there: {:?}", start.elapsed());
}

fn count_and_say_fast(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 18];
    while let Ok(1..) = stream.read(&mut buffer) {}
    let _ = stream.write_all(b".");
}
