//! A ruleset value prints as `nft list table` prints the kernel's, and reads back as what was loaded.

use nfnetlink::{Batch, Family, Ruleset, Socket, Table, Transaction};

use crate::namespace::{in_namespace, nft, nft_list};

/// kube-proxy's layout and ours, and one of every expression, in `nft`'s language.
const RULESETS: [(Family, &str, &str); 3] = [
    (Family::Ip, "kube-proxy", include_str!("listing/ip.nft")),
    (Family::Ip6, "kube-proxy", include_str!("listing/ip6.nft")),
    (Family::Inet, "t", include_str!("listing/inet.nft")),
];

/// Lines with the elements of each list sorted, and without the time that passes.
pub(crate) fn normal(text: &str) -> Vec<String> {
    let joined = text.replace(",\n\t\t\t     ", ", ");
    joined.lines().map(sort_elements).collect()
}

fn sort_elements(line: &str) -> String {
    let Some((head, tail)) = line.split_once("{ ") else { return line.to_owned() };
    let Some((list, tail)) = tail.rsplit_once(" }") else { return line.to_owned() };
    let mut elements: Vec<_> = list.split(", ").map(without_expiry).collect();
    elements.sort_unstable();
    format!("{head}{{ {} }}{tail}", elements.join(", "))
}

fn without_expiry(element: &str) -> String {
    match element.split_once(" expires ") {
        None => element.to_owned(),
        Some((before, after)) => {
            format!("{before}{}", after.find(' ').map_or("", |end| &after[end..]))
        }
    }
}

#[test]
fn a_ruleset_prints_as_nft_prints_it() {
    for (index, (family, name, rules)) in RULESETS.into_iter().enumerate() {
        in_namespace(&format!("list{index}"), || {
            nft(rules);
            let ruleset = Socket::open().unwrap().ruleset(&Table::new(family, name)).unwrap();
            let (ours, theirs) = (ruleset.to_string(), nft_list());
            let (ours, theirs) = (normal(&ours), normal(&theirs));
            let different: Vec<_> = ours.iter().zip(&theirs).filter(|(one, two)| one != two).collect();
            assert!(different.is_empty(), "{different:#?}");
            assert_eq!(ours.len(), theirs.len());
        });
    }
}

#[test]
fn what_is_read_and_loaded_elsewhere_is_the_same() {
    for (index, (family, name, rules)) in RULESETS.into_iter().enumerate() {
        in_namespace(&format!("copy{index}"), || {
            nft(rules);
            let mut socket = Socket::open().unwrap();
            let table = Table::new(family, name);
            let read = socket.ruleset(&table).unwrap();
            let mut value = Ruleset::new();
            read.replay(&mut value);
            value.check().unwrap();
            assert_eq!(value, read);
            let mut batch = Batch::new();
            batch.delete_table(&table);
            read.replay(&mut batch);
            socket.commit(batch).unwrap();
            let again = socket.ruleset(&table).unwrap();
            assert_eq!(again, read);
            assert_eq!(normal(&again.to_string()), normal(&nft_list()));
        });
    }
}
