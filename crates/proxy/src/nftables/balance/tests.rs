//! Shares of slots.

use std::collections::BTreeMap;

use super::*;

fn endpoints(weights: &[u8]) -> Vec<Endpoint> {
    let address = |index: usize| SocketAddr::from(([10, 244, (index >> 8) as u8, index as u8], 80));
    let endpoint = |(index, weight): (usize, &u8)| Endpoint {
        address: address(index),
        ready: true,
        serving: true,
        terminating: false,
        node: None,
        hints: None,
        weight: *weight,
    };
    weights.iter().enumerate().map(endpoint).collect()
}

fn tally(slots: &[SocketAddr]) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    slots.iter().for_each(|slot| *counts.entry(*slot).or_default() += 1);
    counts.into_values().collect()
}

fn counted(weights: &[u8], balance: Balance, load: &Load) -> Vec<usize> {
    tally(&slots(&endpoints(weights), balance, Protocol::Tcp, load))
}

#[test]
fn weights_are_repeated_slots_divided_by_what_they_have_in_common() {
    let cases: [(&[u8], &[usize]); 6] = [
        (&[1, 1, 1], &[1, 1, 1]),
        (&[50, 50], &[1, 1]),
        (&[10, 30, 0], &[1, 3]),
        (&[0, 0], &[1, 1]),
        (&[], &[]),
        (&[100, 99, 98], &[86, 85, 85]),
    ];
    for (weights, expected) in cases {
        assert_eq!(counted(weights, Balance::Random, &Load::default()), expected, "{weights:?}");
    }
}

#[test]
fn a_long_list_has_one_slot_each() {
    let mut weights = vec![1; MOST_SLOTS + 1];
    weights[0] = 100;
    assert_eq!(counted(&weights, Balance::Random, &Load::default()), vec![1; MOST_SLOTS + 1]);
}

#[test]
fn endpoints_with_connections_get_fewer_new_ones() {
    let list = endpoints(&[1, 1]);
    let load = Load::of(&[(list[0].address, 3)]);
    assert_eq!(counted(&[1, 1], Balance::LeastConnections, &Load::default()), [1, 1]);
    let counts = counted(&[1, 1], Balance::LeastConnections, &load);
    assert_eq!(counts.iter().sum::<usize>(), MOST_SLOTS);
    assert!(counts[1].abs_diff(4 * counts[0]) <= 4, "{counts:?}");
    assert_eq!(counted(&[1, 1], Balance::Random, &load), [1, 1], "others do not look");
}

#[test]
fn maglev_fills_its_table_by_weight() {
    let counts = counted(&[1, 1, 2], Balance::Maglev, &Load::default());
    assert_eq!(counts.iter().sum::<usize>(), 251);
    assert!(counts[0].abs_diff(63) <= 1 && counts[2].abs_diff(125) <= 1, "{counts:?}");
    assert_eq!(counted(&[1; 200], Balance::Maglev, &Load::default()).iter().sum::<usize>(), 2039);
    assert!(counted(&[], Balance::Maglev, &Load::default()).is_empty());
}

#[test]
fn maglev_moves_few_clients_when_an_endpoint_goes() {
    let all = endpoints(&[1; 10]);
    let mut fewer = all.clone();
    let gone = fewer.remove(4).address;
    let [before, after] =
        [&all, &fewer].map(|list| slots(list, Balance::Maglev, Protocol::Tcp, &Load::default()));
    let moved =
        before.iter().zip(&after).filter(|(before, after)| before != after && **before != gone).count();
    assert!(moved < before.len() / 5, "{moved} of {} slots changed hands without need", before.len());
}

#[test]
fn tables_follow_from_the_list_alone() {
    let list = endpoints(&[1, 2, 3]);
    for balance in [Balance::SourceHash, Balance::Maglev] {
        let table = slots(&list, balance, Protocol::Tcp, &Load::default());
        assert_eq!(table, slots(&list, balance, Protocol::Tcp, &Load::of(&[(list[0].address, 9)])));
    }
}
