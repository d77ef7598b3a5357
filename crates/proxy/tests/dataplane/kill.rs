//! The proxy may be killed at any point: the next one makes the kernel hold what a fresh load gives.

mod sys;

use std::mem::ManuallyDrop;
use std::process::{Command, Stdio};

use proxy::{Config, Mode, ModeName, Sight, Touched};
use serde_json::{Value, json};
use service::{Changed, Cluster, Event};

use crate::iptables;
use crate::namespace::Namespace;
use crate::scene::{self, POD1, POD2, Scene, config, service, slice};
use crate::server::ask;
use crate::updates::pieces;
use sys::{End, run_until};

/// Says to the process that is killed which mode it has and which namespace is its node.
const TASK: &str = "PORTOLAN_TEST_TASK";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];

/// What the proxy sees, in this order: objects that come or change, and those that go.
fn life() -> Vec<(Vec<Value>, Vec<Value>)> {
    let node_port = json!({"type": "NodePort", "ports": [{"name": "http", "port": 8080, "nodePort": 31688}]});
    let sticky = |external: &str| {
        service("sticky", "10.96.0.21", json!({"sessionAffinity": "ClientIP", "externalIPs": [external]}))
    };
    let gone = [service("gone", "10.96.0.22", node_port.clone()), slice("gone-1", "gone", &BOTH)];
    vec![
        (
            [service("web", "10.96.0.20", json!({})), slice("web-1", "web", &BOTH), sticky("198.51.100.7")]
                .into_iter()
                .chain(gone.clone())
                .collect(),
            vec![],
        ),
        (vec![slice("web-1", "web", &BOTH[..1]), slice("sticky-1", "sticky", &BOTH)], vec![]),
        (vec![service("idle", "10.96.0.23", json!({}))], gone.to_vec()),
        (
            vec![
                service("web", "10.96.0.20", node_port),
                sticky("198.51.100.8"),
                slice("sticky-1", "sticky", &BOTH[1..]),
            ],
            vec![],
        ),
        (vec![slice("web-1", "web", &BOTH), slice("idle-1", "idle", &BOTH)], vec![]),
        (vec![slice("web-1", "web", &BOTH[..1])], vec![sticky("198.51.100.8"), slice("idle-1", "idle", &[])]),
        (vec![sticky("198.51.100.9"), slice("idle-1", "idle", &BOTH)], vec![]),
    ]
}

/// What somebody else does to the rules, so that a restart must write them anew.
fn damage(mode: ModeName) -> [&'static str; 2] {
    match mode {
        ModeName::Nftables => [
            "nft",
            "add chain inet portolan filter-input { type filter hook input priority 0; policy drop; }",
        ],
        _ => ["iptables-nft", "-w 5 -t nat -F KUBE-SERVICES"],
    }
}

/// A process that is killed: a proxy that follows every other change; the changes between happen while none runs,
/// and a new one finds what the one before left. At last one finds the rules damaged.
#[test]
#[ignore = "the process that other tests start and kill"]
fn live() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (mode, node) = task.split_once(' ').unwrap();
    // It belongs to the test that started this process.
    let node = ManuallyDrop::new(Namespace { name: node.to_owned() });
    let (make, mode) = modes().into_iter().find(|(_, name)| name.to_string() == mode).unwrap();
    let config = Config { mode, ..config() };
    let node_facts = scene::node_facts();
    let (mut cluster, mut changed) = (Cluster::new(), Changed::new());
    let sync = |proxy: &mut Box<dyn Mode>, cluster: &Cluster, touched: &Touched<'_>| {
        let sight = Sight { cluster, node: &node_facts, config: &config };
        proxy.sync(&sight, touched).unwrap();
    };
    let mut proxy = make(&node);
    for (round, (come, go)) in life().into_iter().enumerate() {
        scene::take_in(&mut cluster, &mut changed, &come, Event::Apply, Event::Apply);
        scene::take_in(&mut cluster, &mut changed, &go, Event::Delete, Event::Delete);
        let followed = std::mem::take(&mut changed);
        if round % 2 == 0 {
            sync(&mut proxy, &cluster, &Touched::Services(&followed));
        } else {
            proxy = make(&node);
            sync(&mut proxy, &cluster, &Touched::Everything);
        }
    }
    let [program, arguments] = damage(mode);
    let damaged = node.run(|| Command::new(program).args(arguments.split(' ')).status().unwrap());
    assert!(damaged.success());
    sync(&mut make(&node), &cluster, &Touched::Everything);
}

fn modes() -> [(scene::MakeMode, ModeName); 2] {
    [(scene::nftables, ModeName::Nftables), (iptables::mode, ModeName::Iptables)]
}

/// Starts that process; it ends by itself or before this transaction.
fn live_until(node: &Namespace, mode: ModeName, last: usize) -> End {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["kill::live", "--exact", "--ignored", "--test-threads", "1"]);
    command.env(TASK, format!("{mode} {}", node.name)).stdout(Stdio::null());
    run_until(command, last)
}

/// Kills the process before each of its transactions, and starts another proxy.
fn converges<H: PartialEq>(scene: &mut Scene, mode: ModeName, clear: fn(&Scene), held: fn(&Scene) -> H) {
    for (come, go) in life() {
        scene.apply(&come);
        scene.delete(&go);
    }
    clear(scene);
    scene.restart();
    let fresh = held(scene);
    clear(scene);
    let End::Own { status: 0, transactions } = live_until(&scene.node, mode, usize::MAX) else {
        panic!("the process fails by itself");
    };
    assert!(transactions > 10, "{transactions}");
    let mut halfway = 0;
    for last in 1..=transactions {
        clear(scene);
        assert_eq!(live_until(&scene.node, mode, last), End::Killed);
        halfway += usize::from(held(scene) != fresh);
        scene.restart();
        assert!(
            held(scene) == fresh,
            "killed before transaction {last}, the next proxy leaves something else"
        );
        assert_eq!(ask(&scene.pod2, "10.96.0.20:8080").unwrap().server, "pod1");
    }
    println!("killed before each of {transactions} transactions; {halfway} times something was missing");
    assert!(halfway > transactions / 2);
}

#[test]
fn a_start_after_a_kill_before_any_transaction_leaves_what_a_fresh_load_gives() {
    let Some(mut scene) = Scene::new() else { return };
    let clear = |scene: &Scene| {
        proxy::cleanup(&mut scene.node.run(|| nfnetlink::Socket::open().unwrap())).unwrap();
    };
    let held = |scene: &Scene| {
        let tables = scene.nft("list tables");
        let listing = if tables.contains("inet portolan") { scene.listing() } else { String::new() };
        let mut pieces: Vec<_> = pieces(&listing).into_iter().map(str::to_owned).collect();
        pieces.push(tables);
        pieces
    };
    converges(&mut scene, ModeName::Nftables, clear, held);
}

#[test]
fn a_start_after_a_kill_before_any_transaction_leaves_what_a_fresh_load_gives_in_iptables_mode() {
    let Some(mut scene) = iptables::scene() else { return };
    let clear = |scene: &Scene| proxy::iptables::cleanup(&iptables::place(&scene.node)).unwrap();
    let held = |scene: &Scene| {
        ["iptables-nft-save", "ip6tables-nft-save"].map(|save| iptables::held(&scene.node, save))
    };
    converges(&mut scene, ModeName::Iptables, clear, held);
}
