//! Differences add up to the whole, whatever happens in whatever order.

use std::time::Duration;

use nfnetlink::Ruleset as Table;
use service::objects::Protocol;
use service::{Cidr, Family, ServiceName};

use super::*;
use crate::nftables::kernel::{Chains, Wanted};
use crate::nftables::layout::{edits, table};
use crate::nftables::{Affinity, Chooser, ServiceKey, Settings, Surroundings, Way};
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
        let (mut first, mut then) = (Recorded::default(), Recorded::default());
        self.chains.carry_out(&edits, &self.settings, &table(), &mut first, &mut then);
        for recorded in [first, then] {
            self.table.commit(|table| recorded.0.into_iter().for_each(|step| step(table))).unwrap();
        }
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

/// Something a Service may want. Few fronts for many Services, so that they clash.
fn wish(numbers: &mut Numbers, before: Option<&Fragment>) -> Fragment {
    let mut fragment = Fragment::default();
    for _ in 0..numbers.below(4) {
        let front = front(numbers.below(12));
        let mut list = || -> Vec<SocketAddr> {
            (0..6)
                .filter(|_| numbers.below(2) == 0)
                .map(|n| SocketAddr::from(([10, 244, 0, n], 8080)))
                .collect()
        };
        let (local, cluster) = (list(), list());
        let old = before.and_then(|before| before.front(&front)).map(|value| value.slots.clone());
        let plan = Plan::new(&local, &cluster, &old.unwrap_or_default());
        let way = match numbers.below(4) {
            _ if cluster.is_empty() => Way::Reject,
            0 => Way::Drop,
            1 => Way::Split { inside: plan.cluster, outside: plan.local },
            choice => Way::Serve { range: plan.cluster, masquerade: choice == 2 },
        };
        let slots = if PickChain::new(&front, way).is_some() { plan.slots } else { Vec::new() };
        let value = FrontValue {
            rank: numbers.below(2) as u8,
            way,
            slots: slots.into(),
            serving: Arc::new([]),
            comment: "ns/s".into(),
        };
        if fragment.front(&front).is_none() {
            fragment.fronts.push((front, Arc::new(value)));
        }
        fragment.cluster_ips = vec![IpAddr::from([10, 96, 0, numbers.below(3) as u8])];
        fragment.hairpins =
            vec![(SocketAddr::from(([10, 244, 0, numbers.below(3) as u8], 80)), Protocol::Tcp)];
    }
    fragment
}

#[test]
fn any_sequence_of_differences_equals_one_fresh_load() {
    for seed in 1..=40 {
        let mut numbers = Numbers(seed);
        let (mut ruleset, mut sets) = (Ruleset::new(), Sets::default());
        for _ in 0..60 {
            for _ in 0..=numbers.below(3) {
                let name = name(numbers.below(5));
                let fragment = wish(&mut numbers, ruleset.fragment(&name));
                ruleset.replace(&name, fragment);
            }
            sets.apply(&ruleset.take_changes());
        }
        let mut same = Sets::default();
        same.apply(&ruleset.take_all());
        assert_eq!(sets, same, "seed {seed}: the differences tell all of it");

        let mut fresh = Ruleset::new();
        for number in (0..5).rev() {
            fresh.replace(&name(number), ruleset.fragment(&name(number)).cloned().unwrap_or_default());
        }
        let mut loaded = Sets::default();
        loaded.apply(&fresh.take_changes());
        assert_eq!(sets, loaded, "seed {seed}: the order of Services does not matter");
    }
}

#[test]
fn the_lesser_claim_waits_until_the_better_one_goes() {
    let value = |rank, comment: &str| {
        let slots = Arc::new([]);
        Arc::new(FrontValue { rank, way: Way::Reject, slots, serving: Arc::new([]), comment: comment.into() })
    };
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
        let (slots, serving) = (plan.slots.into(), Arc::new([]) as Arc<[SocketAddr]>);
        let value = FrontValue { rank: 0, way, slots, serving, comment: "ns/s".into() };
        Fragment { fronts: vec![(front(1), Arc::new(value))], ..Fragment::default() }
    };
    let (mut ruleset, mut sets) = (Ruleset::new(), Sets::default());
    let all = fragment(&endpoints, &[]);
    ruleset.replace(&name(1), all.clone());
    sets.apply(&ruleset.take_changes());
    let mut fewer = endpoints.clone();
    fewer.remove(500);
    ruleset.replace(&name(1), fragment(&fewer, &all.fronts[0].1.slots));
    // The way and the hole change (delete and add each), the last slot goes.
    assert_eq!(sets.apply(&ruleset.take_changes()), 5);
}
