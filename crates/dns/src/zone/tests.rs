//! A table that followed events is equal to one made of the objects that are left.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use service::Event;
use service::objects::Namespace;

use super::*;
use crate::names::{Input, Names};

/// The objects that there are, by kind and name.
type Objects = BTreeMap<(u8, usize), Value>;

/// A pseudo-random number below `below`; the same sequence in each run (Marsaglia's xorshift).
fn random(state: &mut u64, below: usize) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 11) as usize % below
}

fn names() -> Names {
    Names::new(RecordOptions::default(), false)
}

fn namespaced(kind: &str, name: usize) -> Value {
    json!({"name": format!("{kind}{name}"), "namespace": format!("ns{}", name % 3)})
}

/// A Service (kind 0), EndpointSlice (1) or Namespace (2), with random contents.
fn object(kind: u8, name: usize, state: &mut u64) -> Value {
    let mut number = |below| random(state, below);
    match kind {
        0 => {
            let address = format!("10.96.0.{}", number(6));
            let spec = match number(4) {
                0 => json!({"clusterIP": "None"}),
                1 => json!({"type": "ExternalName", "externalName": "a.example"}),
                _ => json!({"clusterIP": address, "ports": [{"name": "p", "port": 1 + number(3)}]}),
            };
            json!({"metadata": namespaced("s", name), "spec": spec})
        }
        1 => {
            let mut metadata = namespaced("e", name);
            // A slice belongs to one of two Services of its namespace, which may change.
            let service = name % 3 + 3 * number(2);
            metadata["labels"] = json!({"kubernetes.io/service-name": format!("s{service}")});
            let endpoints: Vec<_> = (0..number(4))
                .map(|_| {
                    json!({"addresses": [format!("10.244.0.{}", 1 + number(5))],
                    "conditions": {"ready": number(4) > 0}})
                })
                .collect();
            json!({"metadata": metadata, "addressType": "IPv4", "ports": [{"name": "p", "port": 1}],
                "endpoints": endpoints})
        }
        _ => json!({"metadata": {"name": format!("ns{}", name % 3)}}),
    }
}

fn input(kind: u8, apply: bool, object: &Value) -> Input {
    fn event<T: DeserializeOwned>(apply: bool, object: &Value) -> Event<T> {
        let object = serde_json::from_value(object.clone()).unwrap();
        if apply { Event::Apply(object) } else { Event::Delete(object) }
    }
    match kind {
        0 => Input::Service(event(apply, object)),
        1 => Input::Slice(event(apply, object)),
        _ => Input::Namespace(event::<Namespace>(apply, object)),
    }
}

fn lists(event: fn(u8) -> Input) -> impl Iterator<Item = Input> {
    (0..3).map(event)
}

fn synced(kind: u8) -> Input {
    match kind {
        0 => Input::Service(Event::Synced),
        1 => Input::Slice(Event::Synced),
        _ => Input::Namespace(Event::Synced),
    }
}

fn relist(kind: u8) -> Input {
    match kind {
        0 => Input::Service(Event::Relist),
        1 => Input::Slice(Event::Relist),
        _ => Input::Namespace(Event::Relist),
    }
}

fn take(names: &mut Names, zone: &Table, inputs: impl IntoIterator<Item = Input>) {
    names.take(inputs).into_iter().for_each(|change| zone.apply(change, 1));
}

fn assert_same(zone: &Table, objects: &Objects, step: usize) {
    let (mut names, fresh) = (names(), Table::new());
    let all = objects.iter().map(|((kind, _), object)| input(*kind, true, object));
    take(&mut names, &fresh, all.chain(lists(synced)));
    assert_eq!(zone.read().snapshot(), fresh.read().snapshot(), "step {step}");
}

#[test]
fn random_changes_equal_a_fresh_zone() {
    let mut state = 0x9E37_79B9_7F4A_7C15;
    let (mut names, zone, mut objects) = (names(), Table::new(), Objects::new());
    take(&mut names, &zone, lists(synced));
    for step in 0..3_000 {
        let kind = random(&mut state, 3) as u8;
        let name = random(&mut state, if kind == 2 { 3 } else { 6 });
        if random(&mut state, 3) == 0 {
            if let Some(old) = objects.remove(&(kind, name)) {
                take(&mut names, &zone, [input(kind, false, &old)]);
            }
        } else {
            let object = object(kind, name, &mut state);
            take(&mut names, &zone, [input(kind, true, &object)]);
            objects.insert((kind, name), object);
        }
        if step % 50 == 0 {
            // The watch was interrupted, and objects were deleted meanwhile.
            objects.retain(|_, _| random(&mut state, 5) > 0);
            let all: Vec<_> = objects.iter().map(|((kind, _), object)| input(*kind, true, object)).collect();
            take(&mut names, &zone, lists(relist).chain(all).chain(lists(synced)));
        }
        if step % 10 == 0 {
            assert_same(&zone, &objects, step);
        }
    }
}

/// Headless Services with 100 endpoints each.
fn crowd(services: usize) -> impl Iterator<Item = Input> {
    (0..services).flat_map(|number| {
        let metadata = |kind: &str| json!({"name": format!("{kind}{number}"), "namespace": "ns"});
        let service = json!({"metadata": metadata("s"), "spec": {"clusterIP": "None"}});
        let mut slice = json!({"metadata": metadata("e"), "addressType": "IPv4",
            "ports": [{"name": "p", "port": 1, "protocol": "TCP"}]});
        slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": format!("s{number}")});
        let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
        slice["endpoints"] = (0..100)
            .map(|host| json!({"addresses": [address(number * 100 + host)], "nodeName": format!("node{}", host % 50)}))
            .collect();
        [input(0, true, &service), input(1, true, &slice)]
    })
}

#[test]
fn an_endpoint_takes_less_than_100_bytes() {
    use crate::sys::allocations::held;

    let before = held();
    let (mut names, table) = (names(), Table::new());
    take(&mut names, &table, crowd(100).chain(lists(synced)));
    let with_table = held() - before;
    drop(table);
    let model = held() - before;
    println!("model {} B, table {} B an endpoint", model / 10_000, (with_table - model) / 10_000);
    assert!(with_table / 10_000 < 100, "{with_table}");
}

#[test]
fn a_change_touches_its_own_service_only() {
    let mut names = names();
    let service = |name: usize, address: &str| {
        let object = json!({"metadata": namespaced("s", name), "spec": {"clusterIP": address}});
        input(0, true, &object)
    };
    names.take((0..1_000).map(|name| service(name, "10.96.0.1")).chain(lists(synced)));
    let changes = names.take([service(7, "10.96.0.2")]);
    assert!(matches!(&changes[..], [Change::Put(records)] if *records.key == *b"\x02s7\x03ns1"));
    assert!(names.take([service(7, "10.96.0.2")]).is_empty(), "nothing new");
}
