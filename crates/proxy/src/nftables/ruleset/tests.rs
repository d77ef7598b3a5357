//! Differences add up to the whole, whatever happens in whatever order.

use std::time::Duration;

use nfnetlink::Ruleset as Table;
use service::objects::Protocol;
use service::{Cidr, Family, ServiceName};

use super::*;
use crate::explain::outcome;
use crate::nftables::balance::Load;
use crate::nftables::kernel::{Chains, Wanted};
use crate::nftables::layout::{edits, table};
use crate::nftables::{Chooser, Settings, Surroundings, Way};
use crate::nftables::{Walker, compile, compile_rules, scene};
use crate::packet::Tracer;
use crate::{Config, NodeFacts, Sight};

fn settings() -> Settings {
    let config = Config::new("node", vec!["10.244.0.0/16".parse().unwrap()]);
    let (cluster, node) = (service::Cluster::new(), NodeFacts::default());
    Settings::of(&Sight { cluster: &cluster, node: &node, config: &config })
}

/// A kernel that follows differences. As strict as the real one: it refuses to add what is there, to delete what is
/// not, and to remove what is used.
struct Kernel {
    settings: Settings,
    chains: Chains,
    table: Table,
}

impl Kernel {
    fn new() -> Self {
        let settings = settings();
        let table = Wanted::new(&settings, &Surroundings::default(), &[]).ruleset();
        Self { settings, chains: Chains::default(), table }
    }

    fn apply(&mut self, changes: &[Change]) -> usize {
        let edits = edits(changes);
        let step = self.chains.follow(&edits);
        self.table.commit(|held| step.before(&self.settings, &table(), held)).unwrap();
        self.table.commit(|held| step.with(&edits, &table(), held)).unwrap();
        edits.len()
    }
}

/// Numbers that look random and are the same each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn name(number: u64) -> ServiceName {
    ServiceName::new("ns", format!("s{number}"))
}

fn front(number: u64) -> Front {
    let (protocol, port) = (if number.is_multiple_of(2) { Protocol::Tcp } else { Protocol::Udp }, 80);
    match number % 3 {
        0 => Front::NodePort { family: Family::V4, protocol, port: 30_000 + number as u16 },
        1 => Front::ServiceIp { address: IpAddr::from([10, 96, 0, number as u8]), protocol, port },
        _ => Front::ServiceIp {
            address: IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number as u16]),
            protocol,
            port,
        },
    }
}

fn value(way: Way, comment: &str) -> FrontValue {
    FrontValue {
        rank: 0,
        way,
        chooser: Chooser::Chance,
        affinity: None,
        sources: None,
        slots: Arc::new([]),
        serving: Arc::new([]),
        comment: comment.into(),
    }
}

/// Something a Service may want. Few fronts for many Services, so that they clash.
fn wish(numbers: &mut Numbers, before: Option<&Fragment>) -> Fragment {
    let mut fragment = Fragment::default();
    for _ in 0..numbers.below(4) {
        let front = front(numbers.below(12));
        let mut list = || -> Vec<SocketAddr> {
            (0..6)
                .filter(|_| numbers.below(2) == 0)
                .map(|n| match front.family() {
                    Family::V4 => SocketAddr::from(([10, 244, 0, n], 8080)),
                    Family::V6 => SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0x244, u16::from(n)], 8080)),
                })
                .collect()
        };
        let (local, cluster) = (list(), list());
        let old = before.and_then(|before| before.front(&front)).map(|value| value.slots.clone());
        let old = old.unwrap_or_default();
        let sticky = numbers.below(3) == 0;
        let plan = match sticky {
            true => Plan::apart(&local, &cluster, &old),
            false => Plan::new(&local, &cluster, &old),
        };
        let timeout = Duration::from_secs(1 + numbers.below(2));
        let sources: [Arc<[Cidr]>; 2] =
            ["203.0.113.0/25", "203.0.113.0/24"].map(|range| [range.parse().unwrap()].into());
        let guarded = matches!(front, Front::ServiceIp { .. });
        let sources = sources.into_iter().nth(numbers.below(4) as usize).filter(|_| guarded);
        let way = match numbers.below(4) {
            _ if cluster.is_empty() => Way::Reject,
            0 => Way::Drop,
            1 => Way::Split { inside: plan.cluster, outside: plan.local },
            choice => Way::Serve { range: plan.cluster, masquerade: choice == 2 },
        };
        let served = !matches!(way, Way::Drop | Way::Reject);
        let slots = if served { plan.slots } else { Vec::new() };
        let value = FrontValue {
            rank: numbers.below(2) as u8,
            chooser: if numbers.below(2) == 0 { Chooser::Chance } else { Chooser::ClientHash },
            affinity: (sticky && served).then_some(timeout),
            sources,
            slots: slots.into(),
            ..value(way, "ns/s")
        };
        fragment.fronts.push((front, Arc::new(value)));
        fragment.cluster_ips = vec![IpAddr::from([10, 96, 0, numbers.below(3) as u8])];
        fragment.hairpins =
            vec![(SocketAddr::from(([10, 244, 0, numbers.below(3) as u8], 80)), Protocol::Tcp)];
    }
    fragment.tidy();
    fragment
}

#[test]
fn any_sequence_of_differences_equals_one_fresh_load() {
    for seed in 1..=40 {
        let mut numbers = Numbers(seed);
        let (mut ruleset, mut kernel) = (Ruleset::new(), Kernel::new());
        for _ in 0..60 {
            for _ in 0..=numbers.below(3) {
                let name = name(numbers.below(5));
                let fragment = wish(&mut numbers, ruleset.fragment(&name));
                ruleset.replace(&name, fragment);
            }
            kernel.apply(&ruleset.take_changes());
        }
        // Chains outlive their last user by one transaction.
        kernel.apply(&[]);
        let whole = |ruleset: &mut Ruleset| {
            Wanted::new(&settings(), &Surroundings::default(), &ruleset.take_all()).ruleset()
        };
        assert!(kernel.table == whole(&mut ruleset), "seed {seed}: the differences tell all of it");

        let mut fresh = Ruleset::new();
        for number in (0..5).rev() {
            fresh.replace(&name(number), ruleset.fragment(&name(number)).cloned().unwrap_or_default());
        }
        assert!(kernel.table == whole(&mut fresh), "seed {seed}: the order of Services does not matter");
    }
}

#[test]
fn a_cluster_that_was_followed_sends_packets_as_one_that_was_loaded_afresh() {
    for seed in 1..=6 {
        let mut numbers = scene::Numbers(seed);
        let mut scene = scene::Scene::new(&[]);
        let mut kernel = Kernel { settings: Settings::of(&scene.sight()), ..Kernel::new() };
        kernel.table = compile_rules(&scene.sight());
        let mut ruleset = Ruleset::new();
        for _ in 0..40 {
            let number = numbers.below(6);
            for object in numbers.service(number) {
                for name in scene.apply(&object) {
                    let sight = scene.sight();
                    let before = ruleset.fragment(&name);
                    let fragment = compile(&sight.ports(&name), &scene.node, &Load::default(), before);
                    ruleset.replace(&name, fragment);
                }
            }
            kernel.apply(&ruleset.take_changes());
        }
        let fresh = compile_rules(&scene.sight());
        let [followed, fresh] = [&kernel.table, &fresh].map(|table| Walker::new([table], &scene.node));
        for packet in scene::packets(6) {
            let [followed, fresh] =
                [&followed, &fresh].map(|walker| outcome(&walker.trace(&packet).unwrap()));
            assert_eq!(followed, fresh, "seed {seed}: {packet:?}");
        }
    }
}

#[test]
fn the_lesser_claim_waits_until_the_better_one_goes() {
    let value = |rank, comment: &str| Arc::new(FrontValue { rank, ..value(Way::Reject, comment) });
    let wants = |value: Arc<FrontValue>| Fragment { fronts: vec![(front(1), value)], ..Fragment::default() };
    let mut ruleset = Ruleset::new();
    ruleset.replace(&name(1), wants(value(1, "an external IP")));
    ruleset.replace(&name(2), wants(value(0, "a cluster IP")));
    assert_eq!(&*ruleset.front(&front(1)).unwrap().comment, "a cluster IP");
    ruleset.take_changes();
    ruleset.replace(&name(2), Fragment::default());
    let changes = ruleset.take_changes();
    assert!(
        matches!(&changes[..], [Change::Front { new: Some(new), .. }] if &*new.comment == "an external IP")
    );
    ruleset.replace(&name(2), wants(value(0, "a cluster IP")));
    ruleset.replace(&name(2), Fragment::default());
    assert!(ruleset.take_changes().is_empty(), "what comes and goes between two transactions is no change");
}

#[test]
fn one_endpoint_of_a_thousand_is_a_few_elements() {
    let endpoints: Vec<SocketAddr> =
        (0..1000u32).map(|number| SocketAddr::from((std::net::Ipv4Addr::from(number + 1), 80))).collect();
    let fragment = |endpoints: &[SocketAddr], before: &[SocketAddr]| {
        let plan = Plan::new(&[], endpoints, before);
        let way = Way::Serve { range: plan.cluster, masquerade: false };
        let value = FrontValue { slots: plan.slots.into(), ..value(way, "ns/s") };
        Fragment { fronts: vec![(front(1), Arc::new(value))], ..Fragment::default() }
    };
    let (mut ruleset, mut kernel) = (Ruleset::new(), Kernel::new());
    let all = fragment(&endpoints, &[]);
    ruleset.replace(&name(1), all.clone());
    kernel.apply(&ruleset.take_changes());
    let mut fewer = endpoints.clone();
    fewer.remove(500);
    ruleset.replace(&name(1), fragment(&fewer, &all.fronts[0].1.slots));
    // The hole changes (delete and add), the last slot goes.
    assert_eq!(kernel.apply(&ruleset.take_changes()), 3);
}
